"""The law: what a cell can be, what may happen to it, and how fast. Written once, without randomness.

Both engines read it: `states` and routes are data, hazards are small compiled functions of the surroundings. A tick is
Strang's splitting of switching and of birth and death, with surroundings frozen at its start:

    1. half a tick of switching: each cell leaves its state at most once,
    2. a whole tick of birth and death at constant hazards: Kendall's exact law of the number of its descendants,
    3. half a tick of switching for each of them.

What one cell becomes within a tick is thus one distribution, the same whether it is drawn for each cell or, cells in
the same state being alike, for all cells of a state at once. A mutation is a switch at the rate of division times its
probability per division: one of the two daughters carries it. Time is in days, hazards are per day, cells are counts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from escape_abm.parameters import Antigen, Biology
from escape_abm.products import CarClass

FINGERPRINT = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
"""Changes with this file, so that no stale compiled law is ever read from a cache."""

# ---------------------------------------------------------------------------------------------- states and routes

PER_DIVISION, PER_DAY, PER_CONTACT = 0, 1, 2
MARROW, SANCTUARY = "marrow", "sanctuary"
B_LINEAGE, MYELOID = "B", "myeloid"
LINEAGE_SWITCH = "lineage switch"
MEMORY, EFFECTOR, EXHAUSTED = 0, 1, 2
CAR_T_PHENOTYPES = ("memory", "effector", "exhausted")


class AntigenState(NamedTuple):
    """One antigen on one cell: alleles still intact, and what the surface shows (high, dim, silenced, lost)."""

    alleles: int
    shown: str


class State(NamedTuple):
    """A leukaemic state.

    `origin` tells when a heritable escape (antigen lost or silenced, lineage switched) arose: "founder" for cells
    without one and for those that had it at the first infusion, "acquired" for those that got it after.
    """

    lineage: str
    antigens: tuple[AntigenState, ...]
    progenitor: bool
    niche: str
    origin: str


class Route(NamedTuple):
    """A way from one state to another: `effect(state)` is the new state, or None where the route does not apply."""

    name: str
    clock: int
    rate: Callable[[State], str]
    effect: Callable[[State], State | None]
    antigen: int = -1


def founder(antigens: tuple[tuple[str, int], ...]) -> State:
    """The cell that the leukaemia grows from: every antigen intact and high, committed, in the marrow."""
    return State(B_LINEAGE, tuple(AntigenState(hits, "high") for _, hits in antigens), False, MARROW, "founder")


def lose_antigen(state: State, antigen: int) -> State:
    """The same cell without this antigen."""
    kept = list(state.antigens)
    kept[antigen] = AntigenState(0, "lost")
    return state._replace(antigens=tuple(kept))


def escapes(state: State) -> int:
    """Number of heritable escapes that the cell carries: antigens lost or silenced, and a switched lineage."""
    if state.lineage == MYELOID:
        return len(state.antigens) + 1
    return sum(a.shown in ("lost", "silenced") for a in state.antigens)


def shown_sign(state: State, antigen: int) -> str:
    """What flow cytometry would call one antigen of a B-lineage cell: "+", "dim" or "-"."""
    shown = state.antigens[antigen].shown
    if shown in ("lost", "silenced"):
        return "-"
    return "dim" if shown == "dim" or state.progenitor else "+"


def phenotype(state: State, antigens: tuple[str, ...]) -> str:
    """Phenotype of a state for a reader, for example "CD19-CD22+"; a myeloid cell is a "lineage switch"."""
    if state.lineage == MYELOID:
        return LINEAGE_SWITCH
    return "".join(name.upper() + shown_sign(state, i) for i, name in enumerate(antigens))


def _routes(antigens: tuple[tuple[str, int], ...]) -> Iterator[Route]:
    def show(i: int, before: tuple[str, ...], after: str) -> Callable[[State], State | None]:
        def effect(s: State) -> State | None:
            if s.lineage == MYELOID or s.antigens[i].shown not in before:
                return None
            kept = list(s.antigens)
            kept[i] = AntigenState(kept[i].alleles, after)
            return s._replace(antigens=tuple(kept))

        return effect

    def hit(i: int) -> Callable[[State], State | None]:
        def effect(s: State) -> State | None:
            if s.lineage == MYELOID or s.antigens[i].alleles == 0:
                return None
            if s.antigens[i].alleles == 1:
                return lose_antigen(s, i)
            kept = list(s.antigens)
            kept[i] = AntigenState(1, kept[i].shown)
            return s._replace(antigens=tuple(kept))

        return effect

    for i, (name, _) in enumerate(antigens):
        path = f"antigens.{name}."

        def hit_rate(s: State, i: int = i, path: str = path) -> str:
            return path + ("first_hit_per_division" if s.antigens[i].alleles == 2 else "last_hit_per_division")

        def fixed(parameter: str) -> Callable[[State], str]:
            return lambda _: parameter

        yield Route(f"{name}_allele_loss", PER_DIVISION, hit_rate, hit(i), i)
        yield Route(
            f"{name}_silencing",
            PER_DIVISION,
            fixed(path + "silencing_per_division"),
            show(i, ("high", "dim"), "silenced"),
            i,
        )
        yield Route(
            f"{name}_reactivation", PER_DAY, fixed(path + "reactivation_per_day"), show(i, ("silenced",), "high"), i
        )
        yield Route(f"{name}_dimming", PER_DAY, fixed(path + "dimming_per_day"), show(i, ("high",), "dim"), i)
        yield Route(f"{name}_brightening", PER_DAY, fixed(path + "brightening_per_day"), show(i, ("dim",), "high"), i)
        yield Route(
            f"{name}_stripping", PER_CONTACT, fixed("killing.stripping_per_contact"), show(i, ("high",), "dim"), i
        )

    def progenitor(becomes: bool) -> Callable[[State], State | None]:
        return lambda s: s._replace(progenitor=becomes) if s.lineage == B_LINEAGE and s.progenitor != becomes else None

    def niche(becomes: str) -> Callable[[State], State | None]:
        return lambda s: s._replace(niche=becomes) if s.niche != becomes else None

    def switch(s: State) -> State | None:
        gone = tuple(AntigenState(0, "lost") for _ in s.antigens)
        return None if s.lineage == MYELOID else State(MYELOID, gone, False, s.niche, s.origin)

    yield Route("progenitor_entry", PER_DIVISION, lambda _: "leukaemia.progenitor_entry_per_division", progenitor(True))
    yield Route("progenitor_exit", PER_DAY, lambda _: "leukaemia.progenitor_exit_per_day", progenitor(False))
    yield Route("lineage_switch", PER_DIVISION, lambda _: "leukaemia.lineage_switch_per_division", switch)
    yield Route("sanctuary_entry", PER_DAY, lambda _: "leukaemia.sanctuary_entry_per_day", niche(SANCTUARY))
    yield Route("sanctuary_exit", PER_DAY, lambda _: "leukaemia.sanctuary_exit_per_day", niche(MARROW))


@dataclass(frozen=True, eq=False)
class Alphabet:
    """All states that a leukaemia can reach, and the routes between them as arrays.

    A state that no open route leads to is not in it. Routes are sorted by the state that they leave; `route_first[i]`
    to `route_first[i + 1]` are those of state i. A route that makes a heritable escape leads to the "founder" copy of
    its target before the first infusion (`to_before`) and to the "acquired" copy after it (`to_after`).
    """

    antigens: tuple[str, ...]
    states: tuple[State, ...]
    route_names: tuple[str, ...]
    route_first: NDArray[np.int64]
    to_before: NDArray[np.int64]
    to_after: NDArray[np.int64]
    route_clock: NDArray[np.int8]
    route_antigen: NDArray[np.int64]
    route_parameter: NDArray[np.int64]
    parameters: tuple[str, ...]
    sanctuary: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.states)

    def index(self, state: State) -> int:
        """Place of a state in every array of counts."""
        return self.states.index(state)


@lru_cache(maxsize=64)
def alphabet(
    antigens: tuple[tuple[str, int], ...], closed_routes: frozenset[str], rateless: frozenset[str]
) -> Alphabet:
    """Generate the alphabet by following every open route from the founder.

    Args:
        antigens: Name and number of hits to loss of each antigen.
        closed_routes: Names of routes that are switched off.
        rateless: Parameters that are zero; a route with such a rate is closed too.
    """
    routes = [r for r in _routes(antigens) if r.name not in closed_routes]
    first = founder(antigens)
    # Cells without an antigen may also be put in by hand (a measured negative fraction at the start).
    seeds = [first] + [lose_antigen(first, i) for i in range(len(antigens))]
    states: dict[State, int] = {s: i for i, s in enumerate(seeds)}
    found: list[tuple[int, State, State, Route, str]] = []
    queue = list(seeds)
    while queue:
        state = queue.pop(0)
        for route in routes:
            target = route.effect(state)
            if target is None or route.rate(state) in rateless:
                continue
            if escapes(target) == 0:
                target = target._replace(origin="founder")
            later = target._replace(origin="acquired") if escapes(target) > escapes(state) else target
            for new in (target, later):
                if new not in states:
                    states[new] = len(states)
                    queue.append(new)
            found.append((states[state], target, later, route, route.rate(state)))
    found.sort(key=lambda f: f[0])
    parameters = tuple(dict.fromkeys(f[4] for f in found))
    return Alphabet(
        antigens=tuple(name for name, _ in antigens),
        states=tuple(states),
        route_names=tuple(f[3].name for f in found),
        route_first=np.searchsorted([f[0] for f in found], np.arange(len(states) + 1)).astype(np.int64),
        to_before=np.array([states[f[1]] for f in found], dtype=np.int64),
        to_after=np.array([states[f[2]] for f in found], dtype=np.int64),
        route_clock=np.array([f[3].clock for f in found], dtype=np.int8),
        route_antigen=np.array([f[3].antigen for f in found], dtype=np.int64),
        route_parameter=np.array([parameters.index(f[4]) for f in found], dtype=np.int64),
        parameters=parameters,
        sanctuary=np.array([s.niche == SANCTUARY for s in states]),
    )


def alphabet_of(biology: Biology) -> Alphabet:
    """The alphabet of a biology: its antigens and its open routes."""
    antigens = tuple((name, a.hits_to_loss) for name, a in biology.antigens.items())
    zero = [f"antigens.{n}.{p}" for n, a in biology.antigens.items() for p, v in a if v == 0 and "_per_" in p]
    zero += [f"leukaemia.{p}" for p, v in biology.leukaemia if v == 0 and "_per_" in p]
    zero += [f"killing.{p}" for p, v in biology.killing if v == 0 and "_per_" in p]
    return alphabet(antigens, frozenset(biology.routes_off), frozenset(zero))


def parameter(biology: Biology, path: str) -> float:
    """Value of a dotted parameter path, for example `antigens.cd19.dim_fold`."""
    value: Any = biology
    for part in path.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return float(value)


def densities(letters: Alphabet, biology: Biology) -> NDArray[np.float64]:
    """Molecules per cell, shape (states, antigens)."""
    out = np.zeros((len(letters), len(letters.antigens)))
    for j, name in enumerate(letters.antigens):
        a: Antigen = biology.antigens[name]
        for i, state in enumerate(letters.states):
            alleles, shown = state.antigens[j]
            if shown in ("lost", "silenced"):
                continue
            fold = a.hemizygous_fold if alleles < a.hits_to_loss else 1.0
            fold *= a.dim_fold if shown == "dim" else 1.0
            fold *= biology.leukaemia.progenitor_density_fold if state.progenitor else 1.0
            out[i, j] = a.blast_density_molecules * fold
    return out


# ------------------------------------------------------------------------------------------------- rates of a run


class Rates(NamedTuple):
    """Everything a run needs, as numbers and arrays. S states, R routes, C classes of CAR T cells; hazards per day."""

    net_growth: float
    death: float
    capacity: float
    division_fold: NDArray[np.float64]  # (S,) births of a state against the founder's
    access: NDArray[np.float64]  # (S,) contacts with CAR T cells against the marrow
    kill_probability: NDArray[np.float64]  # (C, S) that a contact is recognised for killing
    stimulation: NDArray[np.float64]  # (C, S) that a contact is recognised for expansion
    kill_probability_b: NDArray[np.float64]  # (C,) the same for normal B cells
    stimulation_b: NDArray[np.float64]  # (C,)
    route_first: NDArray[np.int64]  # (S + 1,)
    route_to: NDArray[np.int64]  # (R,)
    route_clock: NDArray[np.int8]  # (R,)
    route_rate: NDArray[np.float64]  # (R,) per division, per day, or per contact that does not kill
    strip_weight: NDArray[np.float64]  # (C, R) contacts of a class that do not kill, times its stripping factor
    leave_per_division: NDArray[np.float64]  # (S,) sum over routes
    leave_per_day: NDArray[np.float64]  # (S,)
    leave_by_contact: NDArray[np.float64]  # (C, S)
    kill: float
    half_saturation: float
    kills_per_car_t: float
    effector_division: NDArray[np.float64]  # (C,)
    effector_death: float
    memory_loss: NDArray[np.float64]  # (C,)
    memory_activation: float
    to_memory: float
    exhaustion: float
    exhausted_death: float
    rejection: float
    lymphopenia_independent: float
    stimulation_half: float
    t_cell_capacity: float
    t_cell_nadir: float
    t_cell_recovery: float
    b_source: float
    b_death: float


def make_rates(biology: Biology, classes: tuple[CarClass, ...] = (), infused: bool = False) -> Rates:
    """Rates of one patient (whose biology this is) under these classes of CAR T cells.

    Args:
        biology: The patient's own parameters.
        classes: Classes of CAR T cells; none while the leukaemia grows.
        infused: Whether the first infusion has been: decides the origin of new escapes.
    """
    letters = alphabet_of(biology)
    density = densities(letters, biology)
    k, c = biology.killing, biology.car_t
    b_density = np.array([[biology.antigens[a].normal_b_density_molecules for a in letters.antigens]])
    kills, sees, kills_b, sees_b = [], [], [], []
    for car in classes:
        half = np.array([car.half_density_molecules.get(a, math.inf) for a in letters.antigens])
        far = half * c.stimulation_density_fold
        kills.append(any_receptor(hill(density, half, k.hill)))
        sees.append(any_receptor(hill(density, far, c.stimulation_hill)))
        kills_b.append(any_receptor(hill(b_density, half, k.hill))[0])
        sees_b.append(any_receptor(hill(b_density, far, c.stimulation_hill))[0])
    n_states, n_routes, n_classes = len(letters), len(letters.route_names), len(classes)
    kill_probability = np.array(kills).reshape(n_classes, n_states)

    origin_state = np.repeat(np.arange(n_states), np.diff(letters.route_first))
    values = np.array([parameter(biology, p) for p in letters.parameters])
    rate = values[letters.route_parameter] if n_routes else np.zeros(0)
    by_contact = letters.route_clock == PER_CONTACT
    strip = np.zeros((n_classes, n_routes))
    for i, car in enumerate(classes):
        fold = np.array([car.stripping_fold.get(a, 0.0) for a in letters.antigens] + [0.0])[letters.route_antigen]
        strip[i] = np.where(by_contact, rate * fold * (1 - kill_probability[i, origin_state]), 0.0)

    def leaving(rates: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(origin_state, weights=rates, minlength=n_states).astype(float)

    lost = np.array([[a.alleles == 0 and s.lineage == B_LINEAGE for a in s.antigens] for s in letters.states])
    cost = np.array([biology.antigens[a].fitness_cost_fraction for a in letters.antigens])
    return Rates(
        net_growth=biology.leukaemia.net_growth_per_day,
        death=biology.leukaemia.death_per_day,
        capacity=biology.leukaemia.carrying_capacity_cells,
        division_fold=np.prod(1 - cost * lost, axis=1),
        access=np.where(letters.sanctuary, min(k.sanctuary_access, 1.0), 1.0),
        kill_probability=kill_probability,
        stimulation=np.array(sees).reshape(n_classes, n_states),
        kill_probability_b=np.array(kills_b, dtype=float),
        stimulation_b=np.array(sees_b, dtype=float),
        route_first=letters.route_first,
        route_to=letters.to_after if infused else letters.to_before,
        route_clock=letters.route_clock,
        route_rate=rate,
        strip_weight=strip,
        leave_per_division=leaving(np.where(letters.route_clock == PER_DIVISION, rate, 0.0)),
        leave_per_day=leaving(np.where(letters.route_clock == PER_DAY, rate, 0.0)),
        leave_by_contact=np.array([leaving(s) for s in strip]).reshape(n_classes, n_states),
        kill=k.kill_per_day,
        half_saturation=k.half_saturation_cells,
        kills_per_car_t=k.kills_per_car_t_per_day,
        effector_division=np.array([c.effector_division_per_day * car.division_fold for car in classes]),
        effector_death=c.effector_death_per_day,
        memory_loss=np.array([c.memory_loss_per_day * car.memory_loss_fold for car in classes]),
        memory_activation=c.memory_activation_per_day,
        to_memory=c.effector_to_memory_per_day,
        exhaustion=c.exhaustion_per_day,
        exhausted_death=c.exhausted_death_per_day,
        rejection=0.0,
        lymphopenia_independent=c.lymphopenia_independent_fraction,
        stimulation_half=c.stimulation_half_cells,
        t_cell_capacity=biology.host.t_cell_capacity_cells,
        t_cell_nadir=biology.host.t_cell_nadir_cells,
        t_cell_recovery=biology.host.t_cell_recovery_per_day,
        b_source=biology.host.b_cell_source_per_day,
        b_death=1.0 / biology.host.b_cell_life_days,
    )


# ----------------------------------------------------------------------------------------- recognition and hazards


def hill(density: NDArray[np.float64], half: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Recognition of a density by a receptor with this half-density; an infinite half-density sees nothing."""
    with np.errstate(over="ignore"):  # a density of zero is seen by no receptor
        return 1.0 / (1.0 + (half / np.maximum(density, 1e-300)) ** exponent)


def any_receptor(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Recognition by at least one of several receptors: 1 - product of (1 - p) over the last axis."""
    return np.asarray(1.0 - np.prod(1.0 - p, axis=-1))


class Surroundings(NamedTuple):
    """What every cell of a tick meets, frozen at its start."""

    pressure: float  # kill hazard of a fully recognised marrow cell per CAR T cell
    division: float  # births per day of a founder cell
    lymphopenia: float  # 1 right after lymphodepletion, 0 when T cells have recovered


@njit(cache=True)
def killing_pressure(
    kill: float, kills_per_car_t: float, half_saturation: float, car_t: float, targets: float
) -> float:
    """Kill hazard per CAR T cell: g / (k_B + C + (g / e) T); no CAR T cell kills more than e targets a day."""
    return kill / (half_saturation + car_t + kill / kills_per_car_t * targets)


@njit(cache=True)
def division_hazard(net_growth: float, death: float, burden: float, capacity: float) -> float:
    """Births per day; they fall with the burden and equal deaths at the carrying capacity."""
    return max(0.0, death + net_growth * (1.0 - burden / capacity))


@njit(cache=True)
def endogenous_t_cells(days: float, nadir: float, capacity: float, recovery: float) -> float:
    """Normal T cells this many days after lymphodepletion (Gompertz)."""
    return capacity * math.exp(math.log(nadir / capacity) * math.exp(-recovery * days))


@njit(cache=True)
def lymphopenia(t_cells: float, car_t: float, nadir: float, capacity: float) -> float:
    """ln(K / (N + C)) / ln(K / nadir), between 0 and 1."""
    return min(1.0, max(0.0, math.log(capacity / (t_cells + car_t)) / math.log(capacity / nadir)))


@njit(cache=True)
def kendall(birth: float, death: float, days: float) -> tuple[float, float]:
    """Descendants of one cell after a time at constant hazards (Kendall 1948).

    Returns:
        The probability that there are none, and the parameter p of their geometric number otherwise:
        P(n) = (1 - p) p^(n - 1) for n = 1, 2, ...
    """
    net = birth - death
    if abs(net * days) < 1e-7:
        return death * days / (1.0 + birth * days), birth * days / (1.0 + birth * days)
    grown = math.expm1(net * days)
    bottom = net + birth * grown
    return death * grown / bottom, birth * grown / bottom


@njit(cache=True)
def happens(hazard: float, days: float) -> float:
    """Probability that something with this hazard happens within these days."""
    return -math.expm1(-hazard * days)


@njit(cache=True)
def tick_days(fastest: float, tolerance: float, longest: float) -> float:
    """Length of a tick: the longest power of two of a day in which the fastest hazard does not exceed the tolerance."""
    if fastest * longest <= tolerance:
        return longest
    return max(2.0**-10, min(longest, 2.0 ** math.floor(math.log2(tolerance / fastest))))


@njit(cache=True)
def surroundings(
    rates: Rates,
    cells: NDArray[np.int64],
    car_t: NDArray[np.int64],
    b_cells: int,
    days_since_lymphodepletion: float,
    activation: NDArray[np.float64],
) -> Surroundings:
    """Freeze the surroundings of a tick; `activation` (C,) is filled with a_s = S_s / (K + S_s) of each class."""
    n_classes = car_t.shape[0]
    burden = 0.0
    for n in cells:
        burden += n
    hunters, total = 0.0, 0.0
    for s in range(n_classes):
        hunters += car_t[s, MEMORY] + car_t[s, EFFECTOR]
        total += car_t[s, MEMORY] + car_t[s, EFFECTOR] + car_t[s, EXHAUSTED]
        activation[s] = rates.stimulation_b[s] * b_cells
    targets = 0.0
    if hunters > 0:
        for s in range(n_classes):
            share = (car_t[s, MEMORY] + car_t[s, EFFECTOR]) / hunters
            targets += share * rates.kill_probability_b[s] * b_cells
            for i in range(cells.shape[0]):
                if cells[i] > 0:
                    targets += share * cells[i] * rates.access[i] * rates.kill_probability[s, i]
    for s in range(n_classes):
        for i in range(cells.shape[0]):
            if cells[i] > 0:
                activation[s] += cells[i] * rates.access[i] * rates.stimulation[s, i]
        activation[s] = activation[s] / (rates.stimulation_half + activation[s])
    t_cells = endogenous_t_cells(
        days_since_lymphodepletion, rates.t_cell_nadir, rates.t_cell_capacity, rates.t_cell_recovery
    )
    return Surroundings(
        killing_pressure(rates.kill, rates.kills_per_car_t, rates.half_saturation, hunters, targets),
        division_hazard(rates.net_growth, rates.death, burden, rates.capacity),
        lymphopenia(t_cells, total, rates.t_cell_nadir, rates.t_cell_capacity),
    )


@njit(cache=True)
def kill_hazard(rates: Rates, around: Surroundings, car_t: NDArray[np.int64], state: int) -> float:
    """Kill hazard of a leukaemic cell in this state."""
    seen = 0.0
    for s in range(car_t.shape[0]):
        seen += (car_t[s, MEMORY] + car_t[s, EFFECTOR]) * rates.kill_probability[s, state]
    return around.pressure * rates.access[state] * seen


@njit(cache=True)
def kill_hazard_b(rates: Rates, around: Surroundings, car_t: NDArray[np.int64]) -> float:
    """Kill hazard of a normal B cell."""
    seen = 0.0
    for s in range(car_t.shape[0]):
        seen += (car_t[s, MEMORY] + car_t[s, EFFECTOR]) * rates.kill_probability_b[s]
    return around.pressure * seen


@njit(cache=True)
def birth_hazard(rates: Rates, around: Surroundings, state: int) -> float:
    """Birth hazard of a leukaemic cell in this state."""
    return around.division * rates.division_fold[state]


@njit(cache=True)
def route_hazard(rates: Rates, around: Surroundings, car_t: NDArray[np.int64], state: int, route: int) -> float:
    """Hazard of leaving this state by this route."""
    clock = rates.route_clock[route]
    if clock == PER_DAY:
        return rates.route_rate[route]
    if clock == PER_DIVISION:
        return rates.route_rate[route] * birth_hazard(rates, around, state)
    met = 0.0
    for s in range(car_t.shape[0]):
        met += (car_t[s, MEMORY] + car_t[s, EFFECTOR]) * rates.strip_weight[s, route]
    return around.pressure * rates.access[state] * met


@njit(cache=True)
def leave_hazard(rates: Rates, around: Surroundings, car_t: NDArray[np.int64], state: int) -> float:
    """Hazard of leaving this state by any route: the sum of `route_hazard` over its routes."""
    met = 0.0
    for s in range(car_t.shape[0]):
        met += (car_t[s, MEMORY] + car_t[s, EFFECTOR]) * rates.leave_by_contact[s, state]
    return (
        rates.leave_per_day[state]
        + rates.leave_per_division[state] * birth_hazard(rates, around, state)
        + around.pressure * rates.access[state] * met
    )


@njit(cache=True)
def effector_birth(rates: Rates, around: Surroundings, activation: float, car_class: int) -> float:
    """Division of an effector: rho a (w0 + (1 - w0) l)."""
    w0 = rates.lymphopenia_independent
    return rates.effector_division[car_class] * activation * (w0 + (1.0 - w0) * around.lymphopenia)


@njit(cache=True)
def fastest_hazard(
    rates: Rates, around: Surroundings, car_t: NDArray[np.int64], activation: NDArray[np.float64]
) -> float:
    """The largest hazard that changes the surroundings; it sets the length of the tick."""
    fastest, hunters = around.division, 0.0
    for s in range(car_t.shape[0]):
        hunters += car_t[s, MEMORY] + car_t[s, EFFECTOR]
        fastest = max(fastest, effector_birth(rates, around, activation[s], s), rates.memory_activation * activation[s])
    return max(fastest, around.pressure * hunters)
