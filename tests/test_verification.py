"""The counts engine, run as users run it, against exact laws of branching processes.

Each law has a *check*: a function that simulates a `Setting` and returns a z-score against the theory for the law's
true setting. `test_law_holds` simulates the true setting. `test_wrong_rate_is_noticed` makes one rate 15 % too large in
the simulation alone, and the same check must reject: so no law passes for want of power.

Every statistical test fails by chance with probability FALSE_ALARM. Tolerances are standard errors, from theory. Seeds
are fixed. Replicates are chosen so that the expected z under a wrong rate is at least LIMIT + 3.1 (power 99.9 %). What a
law leaves out (relative order u and 1 / M) and what ticks add is given with each setting, in standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import exact
import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray
from scipy import stats

from escape_abm import counts, law, simulation
from escape_abm.clinic import Clinic
from escape_abm.cohort import Patient
from escape_abm.parameters import Antigen, Biology, CarT, Host, Killing, Leukaemia
from escape_abm.products import Component, Construct, Product, car_classes
from escape_abm.regimen import Regimen
from escape_abm.settings import Engine
from escape_abm.simulation import grow_leukaemia, simulate

FALSE_ALARM = 1e-4
"""Chance that a statistical test fails although the engine is right."""
LIMIT = float(stats.norm.isf(FALSE_ALARM / 2))
"""Largest absolute z-score of a two-sided test (3.89)."""
WRONG = 1.15
"""Factor of a rate that is made wrong on purpose."""
SEED = 20_250_101

Numbers = NDArray[np.int64]


# ------------------------------------------------------------------------------------------ what is simulated


@dataclass(frozen=True)
class Setting:
    """Rates of a leukaemia with one antigen and of CAR T cells that only kill and fade; all else is switched off.

    Rates are per day, hits per division. With a first hit, two hits lose the antigen, otherwise one.
    """

    birth: float
    death: float
    first_hit: float = 0.0
    last_hit: float = 0.0
    kill: float = 0.0
    memory_loss: float = 0.0

    def biology(self) -> Biology:
        """Parameters as a user would give them. The capacity is so large that births do not feel it."""
        return Biology(
            leukaemia=Leukaemia(
                net_growth_per_day=self.birth - self.death,
                death_per_day=self.death,
                carrying_capacity_cells=1e15,
            ),
            antigens={
                "cd19": Antigen(
                    hits_to_loss=2 if self.first_hit > 0 else 1,
                    first_hit_per_division=self.first_hit,
                    last_hit_per_division=self.last_hit,
                )
            },
            killing=Killing(
                kill_per_day=self.kill,
                half_saturation_cells=CAR_T_CELLS,
                kills_per_car_t_per_day=1000,
            ),
            car_t=CarT(memory_fraction=1, memory_activation_per_day=0, memory_loss_per_day=self.memory_loss),
            host=Host(b_cell_source_per_day=0, b_cells_at_start_cells=0),
            routes_off=ALL_BUT_ALLELE_LOSS,
        )

    def patient(self, index: int, burden: float) -> Patient:
        """A patient with this biology; each index has its own stream of chance."""
        return Patient(
            index=index,
            seed=SEED,
            biology=self.biology(),
            burden_cells=burden,
            weight_kg=30,
            kmt2a=False,
            negative_antigen="cd19",
            negative_fraction=0,
            clones="grown",
            rejection_day=math.inf,
        )


CAR_T_CELLS = 1e10
"""Infused, all memory: so many that the share of them lost in a time is sharp to 1e-5. Also their half-saturation."""
ALL_BUT_ALLELE_LOSS = (
    "cd19_silencing",
    "cd19_reactivation",
    "cd19_dimming",
    "cd19_brightening",
    "cd19_stripping",
    "progenitor_entry",
    "progenitor_exit",
    "lineage_switch",
    "sanctuary_entry",
    "sanctuary_exit",
)
CD19_CAR = Product(
    name="cd19", label="CD19", components={"cd19": Component(constructs={"cd19": Construct(antigen="cd19")})}
)


def cells_without_antigen(setting: Setting, cells: Numbers) -> int:
    """Cells that lost CD19, of an array of counts by state."""
    states = law.alphabet_of(setting.biology()).states
    return int(sum(n for n, state in zip(cells, states, strict=True) if state.antigens[0].shown == "lost"))


def one_founder(setting: Setting, cells: int = 1) -> Numbers:
    """An array of counts by state with this many cells of the founder's state."""
    letters = law.alphabet_of(setting.biology())
    hits = 2 if setting.first_hit > 0 else 1
    out = np.zeros(len(letters), dtype=np.int64)
    out[letters.index(law.founder((("cd19", hits),)))] = cells
    return out


@cache
def descendants_of_one_cell(setting: Setting, days: float, tolerance: float, replicates: int) -> Numbers:
    """Cells after these days, from one cell, in each of many replicates."""
    biology = setting.biology()
    rates, letters, engine = law.make_rates(biology), law.alphabet_of(biology), Engine(tolerance=tolerance)
    rng = np.random.default_rng([SEED, round(1 / tolerance)])
    out = np.zeros(replicates, dtype=np.int64)
    for i in range(replicates):
        cells = one_founder(setting)
        simulation._advance(rng, rates, letters, cells, (0.0, days), engine)
        out[i] = cells.sum()
    return out


@cache
def days_to_size(setting: Setting, size: float, replicates: int) -> NDArray[np.float64]:
    """Days from one cell to a size, of lines that reach it, as `grow_leukaemia` grows them."""
    biology = setting.biology()
    rates, letters, engine = law.make_rates(biology), law.alphabet_of(biology), Engine()
    rng = np.random.default_rng([SEED, 7])
    out = np.zeros(replicates)
    for i in range(replicates):
        stop = counts.EXTINCT
        while stop != counts.REACHED_TARGET:
            cells = one_founder(setting)
            stop, out[i], _, _ = simulation._advance(rng, rates, letters, cells, (0.0, 1e6), engine, target=size)
    return out


@cache
def mutants_in_grown_leukaemias(setting: Setting, size: float, tolerance: float, replicates: int) -> Numbers:
    """Cells without the antigen in leukaemias grown from one cell to a size."""
    engine = Engine(tolerance=tolerance)
    patients = (setting.patient(i, size) for i in range(replicates))
    return np.array([cells_without_antigen(setting, grow_leukaemia(p, engine)) for p in patients])


@cache
def leukaemia_after_car_t(
    setting: Setting, cells: int, days: int, tolerance: float, replicates: int
) -> tuple[Numbers, Numbers]:
    """Cells with and without the antigen, some days after the CAR T cells meet so many cells that all have it."""
    engine = Engine(tolerance=tolerance, stop_at_failure=False)
    regimen = Regimen(dose_cells=CAR_T_CELLS, lymphodepletion=False)
    kept, lost = np.zeros((2, replicates), dtype=np.int64)
    for i in range(replicates):
        course = simulate(
            setting.patient(i, cells),
            CD19_CAR,
            regimen,
            Clinic(),
            follow_up_days=days,
            engine=engine,
            leukaemia=one_founder(setting, cells),
        )
        lost[i] = cells_without_antigen(setting, course.cells[-1])
        kept[i] = course.cells[-1].sum() - lost[i]
    return kept, lost


def proportion_z(successes: NDArray[np.bool_], probability: float) -> float:
    """Observed against expected proportion, in standard errors of the expected one."""
    error = math.sqrt(probability * (1 - probability) / successes.size)
    return float((successes.mean() - probability) / error)


# -------------------------------------------------------------------------------- 1: descendants of one cell

ONE_CELL = Setting(birth=0.5, death=0.4)
ONE_CELL_DAYS = 4.0
ONE_CELL_REPLICATES = 40_000
"""Kendall's law is what a tick draws, so ticks add no error."""


def one_cell_sample(simulated: Setting) -> Numbers:
    return descendants_of_one_cell(simulated, ONE_CELL_DAYS, 0.5, ONE_CELL_REPLICATES)


def extinction_z(simulated: Setting) -> float:
    """Chance that one cell is extinct (Kendall 1948)."""
    expected = exact.extinct(ONE_CELL.birth, ONE_CELL.death, ONE_CELL_DAYS)
    return proportion_z(one_cell_sample(simulated) == 0, expected)


def mean_z(simulated: Setting) -> float:
    """Mean number of descendants of one cell."""
    true = ONE_CELL.birth, ONE_CELL.death, ONE_CELL_DAYS
    error = math.sqrt(exact.variance_descendants(*true) / ONE_CELL_REPLICATES)
    return float((one_cell_sample(simulated).mean() - exact.mean_descendants(*true)) / error)


def variance_z(simulated: Setting) -> float:
    """Variance of the number of descendants of one cell, about the exact mean."""
    true = ONE_CELL.birth, ONE_CELL.death, ONE_CELL_DAYS
    variance = exact.variance_descendants(*true)
    error = math.sqrt((exact.fourth_central_moment_descendants(*true) - variance**2) / ONE_CELL_REPLICATES)
    observed = np.mean((one_cell_sample(simulated) - exact.mean_descendants(*true)) ** 2)
    return float((observed - variance) / error)


# ----------------------------------------------------------------- 2: extinction under a kill hazard that fades

FADING_KILL = Setting(birth=0.5, death=0.3, kill=2.0, memory_loss=0.3)
FADING_KILL_CELLS = 20
FADING_KILL_DAYS = 6
FADING_KILL_REPLICATES = 3_000
FADING_KILL_TOLERANCE = 0.01
"""A tick freezes the CAR T cells at its start, an error of first order in the tick: 0.09 standard errors at 2^-7 d."""


def recognised_by_car() -> float:
    """Chance that a contact with a CD19 cell of full density is recognised."""
    antigen = Antigen()
    return 1 / (1 + (antigen.half_density_molecules / antigen.blast_density_molecules) ** Killing().hill)


def fading_kill_hazard(days: NDArray[np.float64]) -> NDArray[np.float64]:
    """g P C / (k_B + C): the leukaemia is too small to count as a target beside k_B."""
    car_t = CAR_T_CELLS * np.exp(-FADING_KILL.memory_loss * days)
    return FADING_KILL.kill * recognised_by_car() * car_t / (CAR_T_CELLS + car_t)


def extinction_under_kill_z(simulated: Setting) -> float:
    """Chance that a few cells are extinct under CAR T cells that fade (Kendall 1948, hazards that change in time)."""
    one = exact.extinct_under_kill(FADING_KILL.birth, FADING_KILL.death, fading_kill_hazard, FADING_KILL_DAYS)
    kept, lost = leukaemia_after_car_t(
        simulated, FADING_KILL_CELLS, FADING_KILL_DAYS, FADING_KILL_TOLERANCE, FADING_KILL_REPLICATES
    )
    return proportion_z(kept + lost == 0, one**FADING_KILL_CELLS)


# --------------------------------------------------------------------- 3, 4: one hit while the leukaemia grows

ONE_HIT = Setting(birth=0.5, death=0.4, last_hit=8e-6)
ONE_HIT_SIZE = 1e5
ONE_HIT_REPLICATES = 5_000
ONE_HIT_TOLERANCE = 0.2
"""Ticks of h = 0.25 d put mutations on their ends, a trapezoid sum: (b h)^2 / 24 of ln P, 0.04 standard errors."""


def one_hit_sample(simulated: Setting) -> Numbers:
    return mutants_in_grown_leukaemias(simulated, ONE_HIT_SIZE, ONE_HIT_TOLERANCE, ONE_HIT_REPLICATES)


def no_mutant_z(simulated: Setting) -> float:
    """Chance of no mutant at size M (Iwasa, Nowak and Michor 2006)."""
    expected = exact.no_mutant_at_size(ONE_HIT.birth, ONE_HIT.death, ONE_HIT.last_hit, ONE_HIT_SIZE)
    return proportion_z(one_hit_sample(simulated) == 0, expected)


def median_mutants_z(simulated: Setting) -> float:
    """Chance of at most the median number of mutants at size M, from the inverted generating function."""
    chances = exact.mutants_at_size(ONE_HIT.birth, ONE_HIT.death, ONE_HIT.last_hit, ONE_HIT_SIZE, 1024).cumsum()
    median = int(np.searchsorted(chances, 0.5))
    return proportion_z(one_hit_sample(simulated) <= median, float(chances[median]))


# ------------------------------------------------------------------------- 5: two hits while the leukaemia grows

TWO_HITS = Setting(birth=0.5, death=0.4, first_hit=2e-5, last_hit=1e-4)
TWO_HITS_SIZE = 1e7
TWO_HITS_REPLICATES = 6_500
TWO_HITS_TOLERANCE = 0.25
"""Ticks of 0.5 d."""


def no_double_mutant_z(simulated: Setting) -> float:
    """Chance of no cell with both hits at size M."""
    true = TWO_HITS.birth, TWO_HITS.death, TWO_HITS.first_hit, TWO_HITS.last_hit, TWO_HITS_SIZE
    sample = mutants_in_grown_leukaemias(simulated, TWO_HITS_SIZE, TWO_HITS_TOLERANCE, TWO_HITS_REPLICATES)
    return proportion_z(sample == 0, exact.no_double_mutant_at_size(*true))


# ----------------------------------------------------------- 6: escape while the CAR T cells clear the leukaemia

DECLINE = Setting(birth=0.5, death=0.2, last_hit=2.4e-5, kill=1.8)
DECLINE_CELLS = 100_000
DECLINE_DAYS = 40
"""By then all unmutated cells are gone and every mutant line is either large or gone, but for a share of 1e-4."""
DECLINE_REPLICATES = 4_500
DECLINE_TOLERANCE = 0.2
"""Ticks of 0.125 d: 0.01 standard errors."""


def none_survives_decline_z(simulated: Setting) -> float:
    """Chance that no line without the antigen arises and survives while the others are killed."""
    kill = DECLINE.kill * recognised_by_car() / 2  # as many CAR T cells as their half-saturation
    expected = exact.no_mutant_survives_decline(DECLINE.birth, DECLINE.death, DECLINE.last_hit, DECLINE_CELLS, kill)
    kept, lost = leukaemia_after_car_t(simulated, DECLINE_CELLS, DECLINE_DAYS, DECLINE_TOLERANCE, DECLINE_REPLICATES)
    return proportion_z(kept + lost == 0, expected)


# -------------------------------------------------------------------------------------------- 7: time to a size

SIZE = 1e5
DAYS_REPLICATES = 4_000
"""The last tick overshoots the size by at most 1/64 d, 0.08 standard errors."""


def mean_days_z(simulated: Setting) -> float:
    """Mean time to a size."""
    mean, sd = exact.time_to_size(ONE_CELL.birth, ONE_CELL.death, SIZE)
    return float((days_to_size(simulated, SIZE, DAYS_REPLICATES).mean() - mean) / (sd / math.sqrt(DAYS_REPLICATES)))


def spread_of_days_z(simulated: Setting) -> float:
    """Standard deviation of the time to a size."""
    mean, sd = exact.time_to_size(ONE_CELL.birth, ONE_CELL.death, SIZE)
    observed = math.sqrt(np.mean((days_to_size(simulated, SIZE, DAYS_REPLICATES) - mean) ** 2))
    return (observed - sd) / (sd * math.sqrt((exact.GUMBEL_KURTOSIS - 1) / (4 * DAYS_REPLICATES)))


# ------------------------------------------------------------------------------------------- noise of large clones

LARGE_CLONE = 10**12
LARGE_CLONE_REPLICATES = 20_000


@cache
def large_clone_after_a_tick(setting: Setting) -> NDArray[np.float64]:
    """Cells one day, in one tick, after there were 1e12; the mean is taken away before digits are lost."""
    biology = setting.biology()
    rates, letters, engine = law.make_rates(biology), law.alphabet_of(biology), Engine(tolerance=1)
    rng = np.random.default_rng([SEED, 12])
    out = np.zeros(LARGE_CLONE_REPLICATES)
    for i in range(LARGE_CLONE_REPLICATES):
        cells = one_founder(setting, LARGE_CLONE)
        *_, ticks = simulation._advance(rng, rates, letters, cells, (0.0, 1.0), engine)
        assert ticks == 1
        out[i] = cells.sum()
    return out


def large_clone_birth() -> float:
    """Births per day at 1e12 cells, which the capacity of 1e15 lowers by a thousandth of the net growth."""
    return ONE_CELL.birth - (ONE_CELL.birth - ONE_CELL.death) * LARGE_CLONE / 1e15


def large_clone_mean_z(simulated: Setting) -> float:
    """Mean number of descendants of 1e12 cells, to seven digits."""
    true = large_clone_birth(), ONE_CELL.death, 1.0
    error = math.sqrt(LARGE_CLONE * exact.variance_descendants(*true) / LARGE_CLONE_REPLICATES)
    return float((large_clone_after_a_tick(simulated) - LARGE_CLONE * exact.mean_descendants(*true)).mean() / error)


def large_clone_variance_z(simulated: Setting) -> float:
    """Variance of the number of descendants of 1e12 cells, which is normal."""
    true = large_clone_birth(), ONE_CELL.death, 1.0
    variance = LARGE_CLONE * exact.variance_descendants(*true)
    deviation = large_clone_after_a_tick(simulated) - LARGE_CLONE * exact.mean_descendants(*true)
    return float((np.mean(deviation**2) / variance - 1) / math.sqrt(2 / LARGE_CLONE_REPLICATES))


# --------------------------------------------------------------------------------------------------- the tests


class Law(NamedTuple):
    """A check, the setting for which its theory is true, and the rates that it must tell from wrong ones."""

    z: Callable[[Setting], float]
    true: Setting
    rates: tuple[str, ...]


LAWS = {
    "extinct": Law(extinction_z, ONE_CELL, ("birth", "death")),
    "mean": Law(mean_z, ONE_CELL, ("birth", "death")),
    "variance": Law(variance_z, ONE_CELL, ("birth", "death")),
    "extinct under a fading kill": Law(extinction_under_kill_z, FADING_KILL, ("death", "kill", "memory_loss")),
    "no mutant": Law(no_mutant_z, ONE_HIT, ("birth", "last_hit")),
    "median number of mutants": Law(median_mutants_z, ONE_HIT, ("birth", "last_hit")),
    "no double mutant": Law(no_double_mutant_z, TWO_HITS, ("first_hit", "last_hit")),
    "none survives decline": Law(none_survives_decline_z, DECLINE, ("death", "last_hit", "kill")),
    "mean time to a size": Law(mean_days_z, ONE_CELL, ("birth",)),
    "spread of the time to a size": Law(spread_of_days_z, ONE_CELL, ("birth",)),
    "mean of a large clone": Law(large_clone_mean_z, ONE_CELL, ("birth", "death")),
    "variance of a large clone": Law(large_clone_variance_z, ONE_CELL, ("birth", "death")),
}


@pytest.mark.statistical
@pytest.mark.parametrize("name", LAWS)
def test_law_holds(name: str) -> None:
    check = LAWS[name]
    z = check.z(check.true)
    print(f"{name}: z = {z:.2f}")
    assert abs(z) < LIMIT


@pytest.mark.statistical
@pytest.mark.parametrize(("name", "rate"), [(name, rate) for name, check in LAWS.items() for rate in check.rates])
def test_wrong_rate_is_noticed(name: str, rate: str) -> None:
    check = LAWS[name]
    z = check.z(replace(check.true, **{rate: WRONG * getattr(check.true, rate)}))
    print(f"{name}, {rate}: z = {z:.2f}")
    assert abs(z) > LIMIT
