"""The law for one cell in a tick: whether it leaves its kind, and how many descendants it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from escape_abm.law import hazards
from escape_abm.law.hazards import Surroundings
from escape_abm.law.rates import Rates
from escape_abm.law.states import EFFECTOR, MEMORY

Floats = NDArray[np.float64]


# --------------------------------------------------------------------------- what the law says of one cell in a tick


class Chances(NamedTuple):
    """What becomes of one cell of a kind within a tick."""

    leaves: float
    """That it leaves its kind within half of the tick."""
    dies_out: float
    """That a cell of this kind at the first half's end has no descendant at the tick's end."""
    more: float
    """Otherwise: that it has one more, and one more, and one more (geometric)."""


@njit(nogil=True)
def leave_hazard(rates: Rates, around: Surroundings, kind: int) -> float:
    """Hazard of leaving this kind by any way."""
    states = rates.access.shape[0]
    if kind < states:
        return hazards.leave_hazard(rates, around, kind)
    if kind == states:
        return 0.0
    car_class, phase = (kind - states - 1) // 3, (kind - states - 1) % 3
    if phase == MEMORY:
        return hazards.activation_hazard(rates, around, car_class)
    if phase == EFFECTOR:
        return rates.to_memory + hazards.exhaustion_hazard(rates, around, car_class)
    return 0.0


@njit(nogil=True)
def birth_and_death(rates: Rates, around: Surroundings, kind: int) -> tuple[float, float]:
    """Hazards of division and of death of this kind."""
    states = rates.access.shape[0]
    if kind < states:
        return hazards.birth_hazard(rates, around, kind), hazards.death_hazard(rates, around, kind)
    if kind == states:
        return 0.0, rates.b_death + hazards.kill_hazard_b(rates, around)
    car_class, phase = (kind - states - 1) // 3, (kind - states - 1) % 3
    birth = hazards.effector_birth(rates, around, car_class) if phase == EFFECTOR else 0.0
    return birth, hazards.car_t_death(rates, car_class, phase)


@njit(nogil=True)
def one_cell(rates: Rates, around: Surroundings, kind: int, days: float) -> tuple[float, float, float]:
    """`Chances` of a kind in a tick of these days."""
    birth, death = birth_and_death(rates, around, kind)
    dies_out, more = hazards.kendall(birth, death, days)
    return hazards.happens(leave_hazard(rates, around, kind), 0.5 * days), dies_out, more


@njit(nogil=True)
def kills_per_day(rates: Rates, around: Surroundings, kind: int, days: float) -> float:
    """Expected kills per day, averaged over a tick, of one cell of this kind and its descendants."""
    states = rates.access.shape[0]
    if kind > states:
        return 0.0
    killed = hazards.kill_hazard(rates, around, kind) if kind < states else hazards.kill_hazard_b(rates, around)
    birth, death = birth_and_death(rates, around, kind)
    return killed * hazards.average_growth(birth - death, days)


@njit(nogil=True)
def shares(rates: Rates, around: Surroundings, kind: int) -> Floats:
    """Of those who leave this kind, the cumulative share of each way: routes of a state; memory and exhausted."""
    states = rates.access.shape[0]
    if kind >= states:
        tired = hazards.exhaustion_hazard(rates, around, (kind - states - 1) // 3)
        return np.array([rates.to_memory / (rates.to_memory + tired), 1.0])
    first, last = rates.route_first[kind], rates.route_first[kind + 1]
    out = np.zeros(last - first)
    for r in range(first, last):
        out[r - first] = hazards.route_hazard(rates, around, kind, r)
    out = np.cumsum(out)
    return out / out[-1]


class Compiled(NamedTuple):
    """What Python calls; compiled so that numba's cache knows the fingerprint of the law."""

    everywhere: Callable[..., tuple[Floats, Floats]]
    ways: Callable[..., Floats]


def _compile(fingerprint: str) -> Compiled:
    @njit(cache=True, nogil=True)
    def everywhere(rates: Rates, around: Surroundings, kinds: int, days: float) -> tuple[Floats, Floats]:
        """(kinds, 3) `Chances` and (kinds,) kills per day of each kind, well mixed."""
        fingerprint  # noqa: B018  (keeps it a free variable)
        out, kills = np.zeros((kinds, 3)), np.zeros(kinds)
        for kind in range(kinds):
            out[kind] = one_cell(rates, around, kind, days)
            kills[kind] = kills_per_day(rates, around, kind, days)
        return out, kills

    @njit(cache=True, nogil=True)
    def ways(rates: Rates, around: Surroundings, kind: int) -> Floats:
        """`shares`, well mixed."""
        fingerprint  # noqa: B018
        return shares(rates, around, kind)

    return Compiled(everywhere, ways)


compiled = _compile(hazards.FINGERPRINT)
