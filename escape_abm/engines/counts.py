"""The counts engine: the law for all cells of a state at once, from one cell to 1e13, in a compiled kernel.

Cells in the same state meet the same hazards, so what happens to n of them in a tick is a sum of n independent draws
of the law's one-cell distribution: binomial for who leaves or dies out, negative binomial for how many descendants the
others have. Nothing is approximated by lumping as long as the world is well mixed, cells of a state are alike, and all
decide against the same frozen surroundings; it stops being exact with space, sequential updates, or traits that differ
from cell to cell. How the sum is drawn is exact for small numbers and nearly so for large ones (`chance`).

Counts are 64-bit integers. A burden above the size limit ends the run with its own stop code, long before they wrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from escape_abm.engines import chance
from escape_abm.engines.chance import LARGE, Luck
from escape_abm.engines.recording import Goal, Seen
from escape_abm.law import hazards as law
from escape_abm.law.rates import Rates
from escape_abm.law.states import EFFECTOR, EXHAUSTED, MEMORY

# Why an engine returned; until then it goes on.
GOES_ON, REACHED_DAY, REACHED_TARGET, EXTINCT, REACHED_LIMIT, TOO_LARGE = range(-1, 5)

LONGEST_TICK_DAYS = 1.0
LONGEST_TICK_OF_GROWTH = 1 / 16
"""The same on the way to a size, as a share of the days to come; if that is longer."""
MOST = 2**61
"""Cells that grow beyond this in one tick count as so many: more than any size limit, so that the run stops there."""
FEW_LEAVERS = 5
"""So many cells that leave a state choose their ways one by one, which is cheaper than a draw for each way."""


@njit(cache=True, error_model="numpy")
def occupied(cells: NDArray[np.int64], out: NDArray[np.int64]) -> int:
    """Put the states that have cells into `out`; returns how many they are."""
    n = 0
    for i in range(cells.shape[0]):
        if cells[i] > 0:
            out[n] = i
            n += 1
    return n


@njit(cache=True, error_model="numpy")
def newcomers(cells: NDArray[np.int64], inflow: NDArray[np.int64], out: NDArray[np.int64]) -> int:
    """The same of states whose cells all came just now."""
    n = 0
    for i in range(cells.shape[0]):
        if inflow[i] > 0 and inflow[i] == cells[i]:
            out[n] = i
            n += 1
    return n


@intrinsic
def _borrowed(typing: Any, value: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out = args[0]
        where_arrays: list[tuple[int, ...]] = [()]
        if not isinstance(value, types.Array):  # a named tuple
            where_arrays = [(i,) for i, member in enumerate(value.types) if isinstance(member, types.Array)]
        for where in where_arrays:
            for owner in (0, 1):  # an array begins with its count of references and its owner
                none = builder.extract_value(out, (*where, owner)).type(None)
                out = builder.insert_value(out, none, (*where, owner))
        return out

    return value(value), build


def borrowed(value: Any) -> Any:
    """The same array, or named tuple of arrays, as whoever calls the kernel holds it.

    numba counts references to arrays at each call, which took a third of the time of a tick. What is borrowed is not
    counted.
    """
    return value


@overload(borrowed)
def _compile_borrowed(value: Any) -> Callable[[Any], Any]:
    def compiled(value: Any) -> Any:
        return _borrowed(value)  # type: ignore[call-arg]

    return compiled


@njit(cache=True, error_model="numpy")
def moments_of_one(gone: float, more: float) -> tuple[float, float, float]:
    """Mean, variance and third central moment of the descendants of one cell, from what `law.kendall` says."""
    one = 1.0 / (1.0 - more)
    mean = (1.0 - gone) * one
    square, cube = mean * (1.0 + more) * one, mean * (1.0 + more * (4.0 + more)) * one * one
    return mean, mean * (more + gone) * one, cube - mean * (3.0 * square - 2.0 * mean * mean)


# Not cached on its own: what calls the law or chance is compiled with the kernel, whose cache knows their fingerprints.
@njit(nogil=True, error_model="numpy")
def descendants(luck: Luck, n: int, birth: float, death: float, days: float) -> int:
    """Number of living descendants of n cells after a time at constant hazards (Kendall's law).

    One number where n and its variance are large, else who has any, and how many those have.
    """
    gone, more = law.kendall(birth, death, days)
    if n >= LARGE:
        mean, variance, third = moments_of_one(gone, more)
        if n * mean >= MOST:
            return MOST
        if n * variance >= LARGE:
            return chance.near_normal(chance.uniform(luck), n * mean, n * variance, n * third)
    left = n - chance.binomial(luck, n, gone)
    if left > 0 and left >= MOST * (1.0 - more):
        return MOST
    return left + chance.negative_binomial(luck, left, more)


@njit(nogil=True, error_model="numpy")
def live(luck: Luck, cells: NDArray[np.int64], here: NDArray[np.int64], hazards: law.Hazards, days: float) -> float:
    """Let leukaemic cells have descendants; changes `cells` in place. Returns how many CAR T cells kill per day."""
    kills = 0.0
    for i in here:
        birth, death = hazards.birth[i], hazards.death[i]
        if hazards.kill[i] > 0.0:
            kills += hazards.kill[i] * cells[i] * law.average_growth(birth - death, days)
        cells[i] = descendants(luck, cells[i], birth, death, days)
    return kills


@njit(nogil=True, error_model="numpy")
def way_of(luck: Luck, route: NDArray[np.float64], first: int, leave: float) -> int:
    """Which of these routes, from the first on, one leaver takes; `leave` is the sum of their hazards."""
    share = leave * chance.coarse(luck)
    for way in range(first, route.shape[0] - 1):
        share -= route[way]
        if share < 0.0:
            return way
    return route.shape[0] - 1


@njit(nogil=True, error_model="numpy")
def leave_one_by_one(
    luck: Luck,
    n: int,
    leave: float,
    days: float,
    route: NDArray[np.float64],
    to: NDArray[np.int64],
    inflow: NDArray[np.int64],
) -> int:
    """Let those of n cells leave their state at which the clock rings; returns how many."""
    to_come, each, left = n, leave * days, 0
    while luck["wait"] < to_come * each:
        to_come -= min(to_come, int(luck["wait"] / each) + 1)  # those passed by, and the one who leaves
        inflow[to[way_of(luck, route, 0, leave)]] += 1
        left += 1
        luck["wait"] = chance.exponential(luck)
    luck["wait"] -= to_come * each
    return left


@njit(nogil=True, error_model="numpy")
def leave_together(
    luck: Luck,
    n: int,
    leave: float,
    days: float,
    route: NDArray[np.float64],
    to: NDArray[np.int64],
    inflow: NDArray[np.int64],
) -> int:
    """Draw how many of n cells leave their state, and how many of them each way; the last few choose one by one."""
    left = leaving = chance.binomial(luck, n, -math.expm1(-leave * days))
    way, last = 0, route.shape[0] - 1
    while leaving > FEW_LEAVERS and way < last:
        taken = chance.binomial(luck, leaving, route[way] / leave)
        inflow[to[way]] += taken
        leaving -= taken
        leave -= route[way]
        way += 1
    if way == last:
        inflow[to[last]] += leaving
        return left
    for _ in range(leaving):
        inflow[to[way_of(luck, route, way, leave)]] += 1
    return left


@njit(nogil=True, error_model="numpy")
def switch(
    luck: Luck,
    cells: NDArray[np.int64],
    here: NDArray[np.int64],
    hazards: law.Hazards,
    first: NDArray[np.int64],
    to: NDArray[np.int64],
    inflow: NDArray[np.int64],
    days: float,
) -> None:
    """Let each leukaemic cell leave its state at most once; changes `cells` in place.

    Where few are expected to leave, the hazards of all cells for these days are laid end to end, and the clock of
    `luck` runs along them. A cell leaves if it rings within its own hazard: with chance 1 - exp(-hazard x days),
    whatever the others do. So nothing is drawn until somebody leaves.
    """
    inflow[:] = 0
    for i in here:
        n, leave = cells[i], hazards.leave[i]
        expected = n * leave * days
        if expected < FEW_LEAVERS and expected < luck["wait"]:
            luck["wait"] -= expected
            continue
        route, where = hazards.route[first[i] : first[i + 1]], to[first[i] : first[i + 1]]
        if expected < FEW_LEAVERS:
            cells[i] -= leave_one_by_one(luck, n, leave, days, route, where, inflow)
        else:
            cells[i] -= leave_together(luck, n, leave, days, route, where, inflow)
    cells += inflow


@njit(nogil=True, error_model="numpy")
def switch_car_t(luck: Luck, car_t: NDArray[np.int64], hazards: law.Hazards, to_memory: float, days: float) -> None:
    """Let each CAR T cell change its phenotype at most once; changes `car_t` in place."""
    for s in range(car_t.shape[0]):
        tired = hazards.exhaustion[s]
        activated = chance.binomial(luck, car_t[s, MEMORY], -math.expm1(-hazards.activation[s] * days))
        leaving = chance.binomial(luck, car_t[s, EFFECTOR], -math.expm1(-(to_memory + tired) * days))
        resting = chance.binomial(luck, leaving, to_memory / (to_memory + tired)) if leaving > 0 else 0
        car_t[s, MEMORY] += resting - activated
        car_t[s, EFFECTOR] += 2 * activated - leaving
        car_t[s, EXHAUSTED] += leaving - resting


@njit(nogil=True, error_model="numpy")
def tick_length(
    rates: Rates,
    around: law.Surroundings,
    fastest: float,
    cells: NDArray[np.int64],
    day: float,
    until: float,
    tolerance: float,
    target: float,
) -> float:
    """Days of the next tick: as long as the fastest hazard allows, and not beyond the day or the size to stop at.

    On the way to a size ticks are longer than a day while many days of growth are still to come: what they leave out
    of switching forth and back is made up for till then.
    """
    if target <= 0:
        days = law.tick_days(fastest, tolerance, LONGEST_TICK_DAYS)
        return min(days, math.floor(day) + 1.0 - day, until - day)
    total = 0.0
    for n in cells:
        total += n
    growth, to_come = around.division - rates.death, math.inf
    if growth > 0:
        to_come = max(math.log(target / total) / growth, 2.0**-6)  # the last ticks land on the target
    longest = max(LONGEST_TICK_DAYS, min(to_come * LONGEST_TICK_OF_GROWTH, 32.0))
    return min(law.tick_days(fastest, tolerance, longest), to_come, until - day)


@njit(cache=True, error_model="numpy")
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


def _compile(law_fingerprint: str, chance_fingerprint: str) -> Callable[..., Any]:
    """Compile the kernel. The fingerprints are free variables and so part of the key in numba's cache."""

    @njit(cache=True, nogil=True, error_model="numpy")
    def advance(
        luck: Luck,
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
            luck: Source of all chance.
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
        law_fingerprint, chance_fingerprint  # noqa: B018  (keeps them free variables)
        rates, seen = borrowed(rates), borrowed(seen)
        cells, car_t, sanctuary = borrowed(cells), borrowed(car_t), borrowed(sanctuary)
        states, classes = cells.shape[0], car_t.shape[0]
        everyone, inflow = np.zeros(states, dtype=np.int64), np.zeros(states, dtype=np.int64)
        room = law.no_hazards(states, rates.route_to.shape[0], classes)
        hazards = borrowed(room)  # of `room`, which each tick uses and so keeps
        ticks = 0
        while day < until:
            since = day - lymphodepleted
            around = law.surroundings(rates, cells, car_t, float(b_cells), since)
            fastest = law.fastest_hazard(rates, around)
            days = tick_length(rates, around, fastest, cells, day, until, tolerance, goal.target)
            around = law.midway(rates, around, cells, car_t, float(b_cells), since, days)
            here = everyone[: occupied(cells, everyone)]
            law.find_hazards(rates, around, here, room)
            switch(luck, cells, here, hazards, rates.route_first, rates.route_to, inflow, 0.5 * days)
            switch_car_t(luck, car_t, hazards, rates.to_memory, 0.5 * days)
            law.find_hazards(rates, around, everyone[: newcomers(cells, inflow, everyone)], room)
            here = everyone[: occupied(cells, everyone)]
            kills = live(luck, cells, here, hazards, days)
            if classes > 0:  # normal B cells matter only to CAR T cells
                killed_b = law.kill_hazard_b(rates, around)
                hazard_b = rates.b_death + killed_b
                kills += killed_b * b_cells * law.average_growth(-hazard_b, days)
                lost = law.happens(hazard_b, days)
                b_cells += chance.poisson(luck, rates.b_source * lost / hazard_b) - chance.binomial(luck, b_cells, lost)
            for s in range(classes):
                gone = law.car_t_death(rates, s, EFFECTOR)
                car_t[s, EFFECTOR] = descendants(luck, car_t[s, EFFECTOR], hazards.effector_birth[s], gone, days)
                for rests in (MEMORY, EXHAUSTED):
                    lost = law.happens(law.car_t_death(rates, s, rests), days)
                    car_t[s, rests] -= chance.binomial(luck, car_t[s, rests], lost)
            switch(luck, cells, here, hazards, rates.route_first, rates.route_to, inflow, 0.5 * days)
            switch_car_t(luck, car_t, hazards, rates.to_memory, 0.5 * days)
            ticks += 1
            began, day = day, day + days
            code = end_tick(cells, car_t, b_cells, kills, began, day, goal, seen, sanctuary)
            if code != GOES_ON:
                return code, day, b_cells, ticks
        return REACHED_DAY, day, b_cells, ticks

    return advance


advance = _compile(law.FINGERPRINT, chance.FINGERPRINT)
