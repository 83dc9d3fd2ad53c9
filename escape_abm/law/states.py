"""What a leukaemic cell can be, and the routes between states: the alphabet of the law, generated as data.

A state is lineage x, for each antigen, the intact alleles and the surface expression x progenitor-like or committed x
niche x origin. The alphabet is not listed by hand: it is what the open routes can reach from the founder cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from escape_abm.inputs.biology import Biology

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

    def progenitor(becomes: bool) -> Callable[[State], State | None]:
        return lambda s: s._replace(progenitor=becomes) if s.lineage == B_LINEAGE and s.progenitor != becomes else None

    def niche(becomes: str) -> Callable[[State], State | None]:
        return lambda s: s._replace(niche=becomes) if s.niche != becomes else None

    def switch(s: State) -> State | None:
        gone = tuple(AntigenState(0, "lost") for _ in s.antigens)
        return None if s.lineage == MYELOID else State(MYELOID, gone, False, s.niche, s.origin)

    def fixed(parameter: str) -> Callable[[State], str]:
        return lambda _: parameter

    # Frequent routes first: an engine that shares those who leave among the routes is then soon done.
    yield Route("sanctuary_exit", PER_DAY, fixed("leukaemia.sanctuary_exit_per_day"), niche(MARROW))
    for i, (name, _) in enumerate(antigens):
        back = fixed(f"antigens.{name}.brightening_per_day")
        yield Route(f"{name}_brightening", PER_DAY, back, show(i, ("dim",), "high"), i)
    yield Route("progenitor_exit", PER_DAY, fixed("leukaemia.progenitor_exit_per_day"), progenitor(False))
    yield Route("sanctuary_entry", PER_DAY, fixed("leukaemia.sanctuary_entry_per_day"), niche(SANCTUARY))
    for i, (name, _) in enumerate(antigens):
        path = f"antigens.{name}."

        def hit_rate(s: State, i: int = i, path: str = path) -> str:
            return path + ("first_hit_per_division" if s.antigens[i].alleles == 2 else "last_hit_per_division")

        strip, silence = fixed("killing.stripping_per_contact"), fixed(path + "silencing_per_division")
        yield Route(f"{name}_stripping", PER_CONTACT, strip, show(i, ("high",), "dim"), i)
        yield Route(f"{name}_dimming", PER_DAY, fixed(path + "dimming_per_day"), show(i, ("high",), "dim"), i)
        yield Route(f"{name}_allele_loss", PER_DIVISION, hit_rate, hit(i), i)
        yield Route(f"{name}_silencing", PER_DIVISION, silence, show(i, ("high", "dim"), "silenced"), i)
        shown_again = show(i, ("silenced",), "high")
        yield Route(f"{name}_reactivation", PER_DAY, fixed(path + "reactivation_per_day"), shown_again, i)
    yield Route("lineage_switch", PER_DIVISION, fixed("leukaemia.lineage_switch_per_division"), switch)
    # Last, and not rare: what rounding leaves over falls to the last route.
    yield Route("progenitor_entry", PER_DIVISION, fixed("leukaemia.progenitor_entry_per_division"), progenitor(True))


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

    @cached_property
    def route_from(self) -> NDArray[np.int64]:
        """(R,) the state that each route leaves."""
        return np.repeat(np.arange(len(self)), np.diff(self.route_first))

    @cached_property
    def hemizygous(self) -> NDArray[np.bool_]:
        """(S, A) whether an allele is gone, but the antigen is not."""
        most = np.array([[a.alleles for a in s.antigens] for s in self.states])
        return most < most[0]

    @cached_property
    def dim(self) -> NDArray[np.bool_]:
        """(S, A) whether an antigen is dim."""
        return self._shows("dim")

    @cached_property
    def absent(self) -> NDArray[np.bool_]:
        """(S, A) whether the surface does not show an antigen."""
        return self._shows("lost", "silenced")

    @cached_property
    def progenitor(self) -> NDArray[np.bool_]:
        """(S,) whether a state is progenitor-like."""
        return np.array([s.progenitor for s in self.states])

    @cached_property
    def myeloid(self) -> NDArray[np.bool_]:
        """(S,) whether a state has switched lineage."""
        return np.array([s.lineage == MYELOID for s in self.states])

    @cached_property
    def gone(self) -> NDArray[np.bool_]:
        """(S, A) whether a cell of the B lineage has lost every allele of an antigen."""
        none = np.array([[a.alleles == 0 for a in s.antigens] for s in self.states])
        return none & ~self.myeloid[:, None]

    @cached_property
    def phenotypes(self) -> NDArray[np.str_]:
        """(S,) the phenotype of each state for a reader."""
        return np.array([phenotype(s, self.antigens) for s in self.states])

    @cached_property
    def signs(self) -> NDArray[np.str_]:
        """(S, A) what flow cytometry calls each antigen: "+", "dim" or "-"; "" for a myeloid cell."""
        each = range(len(self.antigens))
        return np.array([["" if s.lineage == MYELOID else shown_sign(s, i) for i in each] for s in self.states])

    def _shows(self, *what: str) -> NDArray[np.bool_]:
        return np.array([[a.shown in what for a in s.antigens] for s in self.states])

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


@lru_cache
def _rates_of(kind: Any) -> tuple[str, ...]:
    """Names of the parameters of this kind that are rates, by which routes are open or closed."""
    return tuple(name for name in kind.model_fields if "_per_" in name)


def alphabet_of(biology: Biology) -> Alphabet:
    """The alphabet of a biology: its antigens and its open routes."""
    parts = [("leukaemia", biology.leukaemia), ("killing", biology.killing)]
    parts += [(f"antigens.{name}", antigen) for name, antigen in biology.antigens.items()]
    zero = [f"{place}.{p}" for place, part in parts for p in _rates_of(type(part)) if getattr(part, p) == 0]
    antigens = tuple((name, a.hits_to_loss) for name, a in biology.antigens.items())
    return alphabet(antigens, frozenset(biology.routes_off), frozenset(zero))
