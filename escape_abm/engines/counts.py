"""The counts engine: the law for all cells of a state at once, from one cell to 1e13, in a compiled kernel.

Cells in the same state face the same hazards, so the fate of n of them in a tick is a sum of n independent draws from
the law's one-cell distribution: binomial for the number that leaves or dies out, negative binomial for the descendants
of the others. Lumping is exact as long as the world is well mixed, cells of a state are identical, and all decide
against the same frozen surroundings. It is no longer exact with space, sequential updates, or traits that vary between
cells.

Counts are 64-bit integers. A burden above the size limit ends the run with its own stop code, long before they wrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from escape_abm.law import hazards
from escape_abm.law.rates import Rates
from escape_abm.law.states import EFFECTOR, EXHAUSTED, MEMORY

# Why an engine returned; until then it goes on.
GOES_ON, REACHED_DAY, REACHED_TARGET, EXTINCT, REACHED_LIMIT, TOO_LARGE = range(-1, 5)

LONGEST_TICK_DAYS = 1.0


class Goal(NamedTuple):
    """When an engine returns, beside the day that it runs to."""

    target: float = 0.0  # once the leukaemia has this many cells, or none (0: never)
    marrow_limit: float = math.inf  # when a whole day ends with this many leukaemic cells in the marrow
    sanctuary_limit: float = math.inf  # or in sanctuaries
    size_limit: float = math.inf  # above this many leukaemic or CAR T cells


class Seen(NamedTuple):
    """Records, a row for each whole day from day 0 on; no rows: none are kept."""

    cells: NDArray[np.int64]  # (D, S)
    car_t: NDArray[np.int64]  # (D, C, 3)
    b_cells: NDArray[np.int64]  # (D,)
    kills: NDArray[np.float64]  # (D,) largest number of targets killed per day by CAR T cells since the day before


def records(days: int, states: int, classes: int) -> Seen:
    """Empty records of so many days."""
    return Seen(
        np.zeros((days, states), dtype=np.int64),
        np.zeros((days, classes, 3), dtype=np.int64),
        np.zeros(days, dtype=np.int64),
        np.zeros(days),
    )


@njit(cache=True)
def draw(rng: np.random.Generator, n: int, p: float) -> int:
    """How many of n cells have something happen to them that each has with probability p.

    Below 1e-8 the binomial is drawn as a Poisson number. The two differ by at most p in total variation, and 1 - p
    could not be told from 1 in floating point, so that the rarest mutations would never happen.
    """
    if n <= 0 or p <= 0.0:
        return 0
    if p >= 1.0:
        return n
    if p < 1e-8:
        return min(n, rng.poisson(n * p))
    return rng.binomial(n, p)


@njit(cache=True)
def survivors(rng: np.random.Generator, cells: NDArray[np.int64], p: float) -> NDArray[np.int64]:
    """How many of each of these numbers of cells (of any shape) are left if each cell is with probability p."""
    left = np.empty_like(cells)
    for i, n in np.ndenumerate(cells):
        left[i] = draw(rng, int(n), p)
    return left


# Not cached on its own: what calls the law is compiled with the kernel, whose cache knows the fingerprint of the law.
@njit(nogil=True)
def descendants(rng: np.random.Generator, n: int, birth: float, death: float, days: float) -> int:
    """Number of living descendants of n cells after a time at constant hazards (Kendall's law)."""
    if n <= 0:
        return 0
    gone, more = hazards.kendall(birth, death, days)
    left = n - draw(rng, n, gone)
    if left <= 0 or more <= 0.0:
        return left
    return left + rng.negative_binomial(left, 1.0 - more)


@njit(nogil=True)
def switch(
    rng: np.random.Generator,
    rates: Rates,
    around: hazards.Surroundings,
    cells: NDArray[np.int64],
    car_t: NDArray[np.int64],
    inflow: NDArray[np.int64],
    days: float,
) -> None:
    """Let each cell leave its state at most once; changes `cells` and `car_t` in place."""
    inflow[:] = 0
    for i in range(cells.shape[0]):
        if cells[i] == 0:
            continue
        hazard = hazards.leave_hazard(rates, around, i)
        leaving = draw(rng, cells[i], hazards.happens(hazard, days))
        cells[i] -= leaving
        for r in range(rates.route_first[i], rates.route_first[i + 1]):
            if leaving == 0:
                break
            share = hazards.route_hazard(rates, around, i, r)
            taken = leaving if r == rates.route_first[i + 1] - 1 else draw(rng, leaving, share / hazard)
            inflow[rates.route_to[r]] += taken
            leaving -= taken
            hazard -= share
    cells += inflow
    for s in range(car_t.shape[0]):
        activated = draw(rng, car_t[s, MEMORY], hazards.happens(hazards.activation_hazard(rates, around, s), days))
        tired = hazards.exhaustion_hazard(rates, around, s)
        leaving = draw(rng, car_t[s, EFFECTOR], hazards.happens(rates.to_memory + tired, days))
        resting = draw(rng, leaving, rates.to_memory / (rates.to_memory + tired)) if leaving > 0 else 0
        car_t[s, MEMORY] += resting - activated
        car_t[s, EFFECTOR] += 2 * activated - leaving
        car_t[s, EXHAUSTED] += leaving - resting


@njit(nogil=True)
def tick_length(
    rates: Rates,
    around: hazards.Surroundings,
    fastest: float,
    cells: NDArray[np.int64],
    day: float,
    until: float,
    tolerance: float,
    target: float,
) -> float:
    """Days of the next tick: as long as the fastest hazard allows, and not beyond the day or the size to stop at."""
    days = hazards.tick_days(fastest, tolerance, LONGEST_TICK_DAYS)
    days = min(days, math.floor(day) + 1.0 - day, until - day)
    if target > 0:  # shorten the last ticks so that the leukaemia lands on its target
        total = 0.0
        for n in cells:
            total += n
        growth = around.division - rates.death
        if growth > 0:
            days = min(days, max(math.log(target / total) / growth, 2.0**-6))
    return days


@njit(cache=True)
def end_tick(
    cells: NDArray[np.int64],
    car_t: NDArray[np.int64],
    b_cells: int,
    kills: float,
    began: float,
    day: float,
    goal: Goal,
    seen: Seen,
    sanctuary: NDArray[np.bool_],
) -> int:
    """Record what is there when a tick from `began` to `day` has ended, and tell whether to go on."""
    rows, today = seen.b_cells.shape[0], math.floor(began) + 1
    if 0 <= today < rows:
        seen.kills[today] = max(seen.kills[today], kills)
    burden, hidden, immune = 0.0, 0.0, 0.0
    for i in range(cells.shape[0]):
        burden += cells[i]
        if sanctuary[i]:
            hidden += cells[i]
    for n in car_t.flat:
        immune += n
    if burden > goal.size_limit or immune > goal.size_limit:
        return TOO_LARGE
    if goal.target > 0:
        if burden >= goal.target:
            return REACHED_TARGET
        if burden == 0:
            return EXTINCT
    if day >= today:  # a whole day has ended
        if 0 <= today < rows:
            seen.cells[today] = cells
            seen.car_t[today] = car_t
            seen.b_cells[today] = b_cells
        if burden - hidden >= goal.marrow_limit or hidden >= goal.sanctuary_limit:
            return REACHED_LIMIT
    return GOES_ON


def _compile(fingerprint: str) -> Callable[..., Any]:
    """Compile the kernel. The fingerprint of the law is a free variable and so part of the key in numba's cache."""

    @njit(cache=True, nogil=True)
    def advance(
        rng: np.random.Generator,
        rates: Rates,
        cells: NDArray[np.int64],
        car_t: NDArray[np.int64],
        b_cells: int,
        day: float,
        until: float,
        lymphodepleted: float,
        tolerance: float,
        goal: Goal,
        seen: Seen,
        sanctuary: NDArray[np.bool_],
    ) -> tuple[int, float, int, int]:
        """Run ticks from `day` to `until`; changes `cells`, `car_t` and the records in place.

        Args:
            rng: Source of all chance.
            rates: The patient's rates.
            cells, car_t, b_cells: Leukaemic cells by state, CAR T cells by class and phenotype, normal B cells.
            day, until: From and to.
            lymphodepleted: Day of the last lymphodepletion.
            tolerance: Largest hazard times tick.
            goal: When to return earlier.
            seen: Records to fill.
            sanctuary: Which states are in a sanctuary.

        Returns:
            Stop code, day, normal B cells, ticks done.
        """
        fingerprint  # noqa: B018  (keeps it a free variable)
        inflow = np.zeros(cells.shape[0], dtype=np.int64)
        ticks = 0
        while day < until:
            since = day - lymphodepleted
            around = hazards.surroundings(rates, cells, car_t, float(b_cells), since)
            fastest = hazards.fastest_hazard(rates, around)
            days = tick_length(rates, around, fastest, cells, day, until, tolerance, goal.target)
            around = hazards.midway(rates, around, cells, car_t, float(b_cells), since, days)
            switch(rng, rates, around, cells, car_t, inflow, 0.5 * days)
            kills = 0.0
            for i in range(cells.shape[0]):
                if cells[i] > 0:
                    killed, birth = hazards.kill_hazard(rates, around, i), hazards.birth_hazard(rates, around, i)
                    gone = hazards.death_hazard(rates, around, i)
                    kills += killed * cells[i] * hazards.average_growth(birth - gone, days)
                    cells[i] = descendants(rng, cells[i], birth, gone, days)
            if car_t.shape[0] > 0:  # normal B cells matter only to CAR T cells
                killed_b = hazards.kill_hazard_b(rates, around)
                hazard_b = rates.b_death + killed_b
                kills += killed_b * b_cells * hazards.average_growth(-hazard_b, days)
                b_cells -= draw(rng, b_cells, hazards.happens(hazard_b, days))
                b_cells += rng.poisson(rates.b_source * hazards.happens(hazard_b, days) / hazard_b)
            for s in range(car_t.shape[0]):
                birth = hazards.effector_birth(rates, around, s)
                gone = hazards.car_t_death(rates, s, EFFECTOR)
                car_t[s, EFFECTOR] = descendants(rng, car_t[s, EFFECTOR], birth, gone, days)
                for rests in (MEMORY, EXHAUSTED):
                    car_t[s, rests] -= draw(
                        rng, car_t[s, rests], hazards.happens(hazards.car_t_death(rates, s, rests), days)
                    )
            switch(rng, rates, around, cells, car_t, inflow, 0.5 * days)
            ticks += 1
            began, day = day, day + days
            code = end_tick(cells, car_t, b_cells, kills, began, day, goal, seen, sanctuary)
            if code != GOES_ON:
                return code, day, b_cells, ticks
        return REACHED_DAY, day, b_cells, ticks

    return advance


advance = _compile(hazards.FINGERPRINT)
