"""The law: what may happen to a cell, and how fast. Written once, without randomness.

Both engines read it: states and routes are data (`states`), hazards are small compiled functions of the surroundings. A
tick is Strang splitting of switching and of birth and death. Surroundings are frozen for the tick at their expected
values at mid-tick, computed from the counts at its start (`expected`):

    1. half a tick of switching: each cell leaves its state at most once,
    2. a whole tick of birth and death at constant hazards: Kendall's exact law of the number of its descendants,
    3. half a tick of switching for each of them.

The fate of one cell within a tick is thus one distribution, whether it is drawn for each cell or, as cells in the same
state are identical, for all cells of a state at once. A mutation is a switch at the division rate times its probability
per division: one of the two daughters carries it. Time is in days, hazards are per day, cells are counts.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from escape_abm.law.rates import Rates
from escape_abm.law.states import (
    EFFECTOR,
    EXHAUSTED,
    MEMORY,
    PER_DAY,
    PER_DIVISION,
)

_FILES = [Path(__file__).with_name(name) for name in ("states.py", "rates.py", "hazards.py")]
FINGERPRINT = hashlib.sha256(b"".join(file.read_bytes() for file in _FILES)).hexdigest()
"""Changes with the law, so that no stale compiled one is ever read from a cache."""

MOST_GROWTH = 300.0
"""Growth of one tick is computed up to this exponent, so that no number overflows: it is above every size limit."""


class Surroundings(NamedTuple):
    """What every cell of a tick meets. C classes of CAR T cells."""

    pressure: float  # kill hazard of a fully recognised marrow cell per CAR T cell
    division: float  # births per day of a founder cell
    lymphopenia: float  # 1 right after lymphodepletion, 0 when T cells have recovered
    hunters: NDArray[np.float64]  # (C,) memory and effector cells
    activation: NDArray[np.float64]  # (C,) a_s = S_s / (K + S_s)


@njit(cache=True, error_model="numpy")
def killing_pressure(
    kill: float, kills_per_car_t: float, half_saturation: float, car_t: float, targets: float
) -> float:
    """Kill hazard per CAR T cell: g / (k_B + C + (g / e) T); no CAR T cell kills more than e targets a day."""
    return kill / (half_saturation + car_t + kill / kills_per_car_t * targets)


@njit(cache=True, error_model="numpy")
def division_hazard(net_growth: float, death: float, burden: float, capacity: float) -> float:
    """Births per day; they fall with the burden and equal deaths at the carrying capacity."""
    return max(0.0, death + net_growth * (1.0 - burden / capacity))


@njit(cache=True, error_model="numpy")
def endogenous_t_cells(days: float, nadir: float, capacity: float, recovery: float) -> float:
    """Normal T cells this many days after lymphodepletion (Gompertz)."""
    return capacity * math.exp(math.log(nadir / capacity) * math.exp(-recovery * days))


@njit(cache=True, error_model="numpy")
def lymphopenia(t_cells: float, car_t: float, nadir: float, capacity: float) -> float:
    """ln(K / (N + C)) / ln(K / nadir), between 0 and 1."""
    return min(1.0, max(0.0, math.log(capacity / (t_cells + car_t)) / math.log(capacity / nadir)))


@njit(cache=True, error_model="numpy")
def kendall(birth: float, death: float, days: float) -> tuple[float, float]:
    """Descendants of one cell after a time at constant hazards (Kendall 1948).

    Returns:
        The probability that there are none, and the parameter p of their geometric number otherwise:
        P(n) = (1 - p) p^(n - 1) for n = 1, 2, ...
    """
    net = birth - death
    if abs(net * days) < 1e-7:
        return death * days / (1.0 + birth * days), birth * days / (1.0 + birth * days)
    grown = math.expm1(min(net * days, MOST_GROWTH))
    bottom = net + birth * grown
    return death * grown / bottom, birth * grown / bottom


@njit(cache=True, error_model="numpy")
def happens(hazard: float, days: float) -> float:
    """Probability that something with this hazard happens within these days."""
    return -math.expm1(-hazard * days)


@njit(cache=True, error_model="numpy")
def average_growth(net: float, days: float) -> float:
    """Mean over a time of exp(net t): how many there are on average of one that grows at this rate."""
    exponent = min(net * days, MOST_GROWTH)
    return math.expm1(exponent) / exponent if abs(exponent) > 1e-9 else 1.0


@njit(cache=True, error_model="numpy")
def tick_days(fastest: float, tolerance: float, longest: float) -> float:
    """Length of a tick: the longest power of two of a day in which the fastest hazard does not exceed the tolerance."""
    if fastest * longest <= tolerance:
        return longest
    return max(2.0**-10, min(longest, 2.0 ** math.floor(math.log2(tolerance / fastest))))


@njit(cache=True, error_model="numpy")
def surroundings(
    rates: Rates,
    cells: NDArray[Any],
    car_t: NDArray[Any],
    b_cells: float,
    days_since_lymphodepletion: float,
) -> Surroundings:
    """What these cells are to one another.

    Args:
        rates: Rates of the patient.
        cells, car_t, b_cells: Leukaemic cells (S,), CAR T cells (C, 3) and normal B cells, counted or expected.
        days_since_lymphodepletion: Sets the number of normal T cells.
    """
    n_classes = car_t.shape[0]
    hunters, activation = np.zeros(n_classes), np.zeros(n_classes)
    seen, reach = np.zeros(n_classes), np.zeros(n_classes)
    hunting, total = 0.0, 0.0
    for s in range(n_classes):
        hunters[s] = car_t[s, MEMORY] + car_t[s, EFFECTOR]
        hunting += hunters[s]
        total += hunters[s] + car_t[s, EXHAUSTED]
        seen[s], reach[s] = rates.stimulation_b[s] * b_cells, rates.kill_probability_b[s] * b_cells
    burden = 0.0
    for i in range(cells.shape[0]):
        if cells[i] > 0:
            burden += cells[i]
            near = cells[i] * rates.access[i]
            for s in range(n_classes):
                seen[s] += near * rates.stimulation[s, i]
                reach[s] += near * rates.kill_probability[s, i]
    targets = 0.0
    for s in range(n_classes):
        activation[s] = seen[s] / (rates.stimulation_half + seen[s])
        if hunting > 0:
            targets += hunters[s] / hunting * reach[s]
    t_cells = endogenous_t_cells(
        days_since_lymphodepletion, rates.t_cell_nadir, rates.t_cell_capacity, rates.t_cell_recovery
    )
    return Surroundings(
        killing_pressure(rates.kill, rates.kills_per_car_t, rates.half_saturation, hunting, targets),
        division_hazard(rates.net_growth, rates.death, burden, rates.capacity),
        lymphopenia(t_cells, total, rates.t_cell_nadir, rates.t_cell_capacity),
        hunters,
        activation,
    )


@njit(cache=True, error_model="numpy")
def kill_hazard(rates: Rates, around: Surroundings, state: int) -> float:
    """Kill hazard of a leukaemic cell in this state."""
    seen = 0.0
    for s in range(around.hunters.shape[0]):
        seen += around.hunters[s] * rates.kill_probability[s, state]
    return around.pressure * rates.access[state] * seen


@njit(cache=True, error_model="numpy")
def death_hazard(rates: Rates, around: Surroundings, state: int) -> float:
    """Death hazard of a leukaemic cell in this state: its own death, a graft, CAR T cells."""
    return rates.death + rates.graft * rates.access[state] + kill_hazard(rates, around, state)


@njit(cache=True, error_model="numpy")
def kill_hazard_b(rates: Rates, around: Surroundings) -> float:
    """Kill hazard of a normal B cell."""
    seen = 0.0
    for s in range(around.hunters.shape[0]):
        seen += around.hunters[s] * rates.kill_probability_b[s]
    return around.pressure * seen


@njit(cache=True, error_model="numpy")
def birth_hazard(rates: Rates, around: Surroundings, state: int) -> float:
    """Birth hazard of a leukaemic cell in this state."""
    return around.division * rates.division_fold[state]


@njit(cache=True, error_model="numpy")
def route_hazard(rates: Rates, around: Surroundings, state: int, route: int) -> float:
    """Hazard of leaving this state by this route."""
    clock = rates.route_clock[route]
    if clock == PER_DAY:
        return rates.route_rate[route]
    if clock == PER_DIVISION:
        return rates.route_rate[route] * birth_hazard(rates, around, state)
    met = 0.0
    for s in range(around.hunters.shape[0]):
        met += around.hunters[s] * rates.strip_weight[s, route]
    return around.pressure * rates.access[state] * met


@njit(cache=True, error_model="numpy")
def leave_hazard(rates: Rates, around: Surroundings, state: int) -> float:
    """Hazard of leaving this state by any route: the sum of `route_hazard` over its routes."""
    met = 0.0
    for s in range(around.hunters.shape[0]):
        met += around.hunters[s] * rates.leave_by_contact[s, state]
    return (
        rates.leave_per_day[state]
        + rates.leave_per_division[state] * birth_hazard(rates, around, state)
        + around.pressure * rates.access[state] * met
    )


@njit(cache=True, error_model="numpy")
def effector_birth(rates: Rates, around: Surroundings, car_class: int) -> float:
    """Division of an effector: rho (a w0 + (1 - w0) l (a + h (1 - a))).

    In a lymphopenic host a share h of division needs no antigen (homeostatic cytokines; kimmel2021 lets all of it).
    """
    w0, a = rates.lymphopenia_independent, around.activation[car_class]
    most = rates.effector_division[car_class]
    homeostatic = most * (1.0 - w0) * around.lymphopenia * rates.homeostatic * (1.0 - a)
    return most * a * (w0 + (1.0 - w0) * around.lymphopenia) + homeostatic


@njit(cache=True, error_model="numpy")
def activation_hazard(rates: Rates, around: Surroundings, car_class: int) -> float:
    """Hazard of a memory cell of becoming two effectors."""
    return rates.memory_activation * around.activation[car_class]


@njit(cache=True, error_model="numpy")
def exhaustion_hazard(rates: Rates, around: Surroundings, car_class: int) -> float:
    """Hazard of an effector of becoming exhausted."""
    return rates.exhaustion * around.activation[car_class]


@njit(cache=True, error_model="numpy")
def car_t_death(rates: Rates, car_class: int, phenotype: int) -> float:
    """Death hazard of a CAR T cell."""
    if phenotype == MEMORY:
        return rates.memory_loss[car_class] + rates.rejection[car_class]
    if phenotype == EFFECTOR:
        return rates.effector_death + rates.rejection[car_class]
    return rates.exhausted_death + rates.rejection[car_class]


class Hazards(NamedTuple):
    """What an engine needs of the law in a tick, per day. S states, R routes, C classes of CAR T cells."""

    birth: NDArray[np.float64]  # (S,)
    death: NDArray[np.float64]  # (S,)
    kill: NDArray[np.float64]  # (S,) the share of death that is the CAR T cells'
    leave: NDArray[np.float64]  # (S,)
    route: NDArray[np.float64]  # (R,)
    activation: NDArray[np.float64]  # (C,)
    exhaustion: NDArray[np.float64]  # (C,)
    effector_birth: NDArray[np.float64]  # (C,)


@njit(cache=True, error_model="numpy")
def no_hazards(states: int, routes: int, classes: int) -> Hazards:
    """Room for hazards."""
    return Hazards(
        np.zeros(states), np.zeros(states), np.zeros(states), np.zeros(states), np.zeros(routes),
        np.zeros(classes), np.zeros(classes), np.zeros(classes),
    )  # fmt: skip


@njit(cache=True, error_model="numpy")
def find_hazards(rates: Rates, around: Surroundings, states: NDArray[np.int64], hazards: Hazards) -> None:
    """Fill in the hazards of these leukaemic states and of CAR T cells."""
    for i in states:
        hazards.birth[i] = birth_hazard(rates, around, i)
        hazards.death[i] = death_hazard(rates, around, i)
        hazards.kill[i] = kill_hazard(rates, around, i)
        hazards.leave[i] = leave_hazard(rates, around, i)
        for r in range(rates.route_first[i], rates.route_first[i + 1]):
            hazards.route[r] = route_hazard(rates, around, i, r)
    for s in range(around.hunters.shape[0]):
        hazards.activation[s] = activation_hazard(rates, around, s)
        hazards.exhaustion[s] = exhaustion_hazard(rates, around, s)
        hazards.effector_birth[s] = effector_birth(rates, around, s)


@njit(cache=True, error_model="numpy")
def fastest_hazard(rates: Rates, around: Surroundings) -> float:
    """The largest hazard that changes the surroundings; it sets the length of the tick.

    Being killed counts half: targets are only a part of what CAR T cells feel, and death at a constant hazard is exact
    in a tick of any length. Ticks are then half as many for the same error of a course (docs/accuracy.md).
    """
    fastest, hunting = around.division, 0.0
    for s in range(around.hunters.shape[0]):
        hunting += around.hunters[s]
        fastest = max(fastest, effector_birth(rates, around, s), activation_hazard(rates, around, s))
    return max(fastest, 0.5 * around.pressure * hunting)


@njit(cache=True, error_model="numpy")
def expected(
    rates: Rates, around: Surroundings, cells: NDArray[Any], car_t: NDArray[Any], b_cells: float, days: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Expected numbers a short time on, in these surroundings.

    A tick is decided in the surroundings expected at its middle, not in those at its start, which makes the coupling
    between populations second order in the tick. Switching between leukaemic states, too slow to change the
    surroundings within a tick, is left out here.

    Returns:
        Leukaemic cells (S,), CAR T cells (C, 3), normal B cells.
    """
    later = np.zeros(cells.shape[0])
    for i in range(cells.shape[0]):
        if cells[i] > 0:
            net = birth_hazard(rates, around, i) - death_hazard(rates, around, i)
            later[i] = cells[i] * math.exp(min(net * days, MOST_GROWTH))
    later_car_t = np.zeros(car_t.shape)
    for s in range(car_t.shape[0]):
        active, tired = activation_hazard(rates, around, s), exhaustion_hazard(rates, around, s)
        left = active + car_t_death(rates, s, MEMORY)
        net = effector_birth(rates, around, s) - car_t_death(rates, s, EFFECTOR) - rates.to_memory - tired
        stays, grows = math.exp(-left * days), math.exp(min(net * days, MOST_GROWTH))
        gone = car_t_death(rates, s, EXHAUSTED)
        # Memory cells that became effectors have grown as such since, on average for half of the time.
        recruits = 2.0 * car_t[s, MEMORY] * happens(active, days) * math.exp(min(0.5 * net * days, MOST_GROWTH))
        later_car_t[s, MEMORY] = car_t[s, MEMORY] * stays + car_t[s, EFFECTOR] * rates.to_memory * days
        later_car_t[s, EFFECTOR] = car_t[s, EFFECTOR] * grows + recruits
        later_car_t[s, EXHAUSTED] = car_t[s, EXHAUSTED] * math.exp(-gone * days) + car_t[s, EFFECTOR] * tired * days
    lost = rates.b_death + kill_hazard_b(rates, around)
    return later, later_car_t, b_cells * math.exp(-lost * days) + rates.b_source * happens(lost, days) / lost


@njit(cache=True, error_model="numpy")
def midway(
    rates: Rates,
    around: Surroundings,
    cells: NDArray[Any],
    car_t: NDArray[Any],
    b_cells: float,
    days_since_lymphodepletion: float,
    days: float,
) -> Surroundings:
    """Surroundings in the middle of a tick of these days that starts in `around`: those that the tick is decided in."""
    soon = expected(rates, around, cells, car_t, b_cells, 0.5 * days)
    return surroundings(rates, soon[0], soon[1], soon[2], days_since_lymphodepletion + 0.5 * days)
