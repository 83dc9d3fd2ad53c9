"""Exact laws of branching processes beside the engine as users run it: settings, seeds, tolerances and scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from escape_abm.engines import counts
from escape_abm.engines.engine import run
from escape_abm.inputs.biology import Antigen, Biology, CarT, Host, Killing, Leukaemia
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import Patient
from escape_abm.inputs.products import Component, Construct, Product
from escape_abm.inputs.regimen import Regimen
from escape_abm.inputs.settings import Engine
from escape_abm.law import exact
from escape_abm.law.rates import make_rates
from escape_abm.law.states import alphabet_of, founder
from escape_abm.patient.course import simulate
from escape_abm.patient.leukaemia import grow_leukaemia

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
    states = alphabet_of(setting.biology()).states
    return int(sum(n for n, state in zip(cells, states, strict=True) if state.antigens[0].shown == "lost"))


def one_founder(setting: Setting, cells: int = 1) -> Numbers:
    """An array of counts by state with this many cells of the founder's state."""
    letters = alphabet_of(setting.biology())
    hits = 2 if setting.first_hit > 0 else 1
    out = np.zeros(len(letters), dtype=np.int64)
    out[letters.index(founder((("cd19", hits),)))] = cells
    return out


@cache
def descendants_of_one_cell(setting: Setting, days: float, tolerance: float, replicates: int) -> Numbers:
    """Cells after these days, from one cell, in each of many replicates."""
    biology = setting.biology()
    rates, letters, engine = make_rates(biology), alphabet_of(biology), Engine(tolerance=tolerance)
    rng = np.random.default_rng([SEED, round(1 / tolerance)])
    out = np.zeros(replicates, dtype=np.int64)
    for i in range(replicates):
        cells = one_founder(setting)
        run(partial(counts.advance, rng), rates, letters, cells, (0.0, days), engine)
        out[i] = cells.sum()
    return out


@cache
def days_to_size(setting: Setting, size: float, replicates: int) -> NDArray[np.float64]:
    """Days from one cell to a size, of lines that reach it, as `grow_leukaemia` grows them."""
    biology = setting.biology()
    rates, letters, engine = make_rates(biology), alphabet_of(biology), Engine()
    advance = partial(counts.advance, np.random.default_rng([SEED, 7]))
    out = np.zeros(replicates)
    for i in range(replicates):
        stop = counts.EXTINCT
        while stop != counts.REACHED_TARGET:
            cells = one_founder(setting)
            stop, out[i], _, _ = run(advance, rates, letters, cells, (0.0, 1e6), engine, target=size)
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


class Score(NamedTuple):
    """What was observed, what theory expects, and the standard error of the first by theory, of n replicates."""

    observed: float
    expected: float
    error: float
    n: int

    @property
    def z(self) -> float:
        return (self.observed - self.expected) / self.error


def proportion_score(successes: NDArray[np.bool_], probability: float) -> Score:
    """Observed against expected proportion."""
    error = math.sqrt(probability * (1 - probability) / successes.size)
    return Score(float(successes.mean()), probability, error, successes.size)


# -------------------------------------------------------------------------------- 1: descendants of one cell

ONE_CELL = Setting(birth=0.5, death=0.4)
ONE_CELL_DAYS = 4.0
ONE_CELL_REPLICATES = 40_000
"""Kendall's law is what a tick draws, so ticks add no error."""


def one_cell_sample(simulated: Setting) -> Numbers:
    return descendants_of_one_cell(simulated, ONE_CELL_DAYS, 0.5, ONE_CELL_REPLICATES)


def extinction_score(simulated: Setting) -> Score:
    """Chance that one cell is extinct (Kendall 1948)."""
    expected = exact.extinct(ONE_CELL.birth, ONE_CELL.death, ONE_CELL_DAYS)
    return proportion_score(one_cell_sample(simulated) == 0, expected)


def mean_score(simulated: Setting) -> Score:
    """Mean number of descendants of one cell."""
    true = ONE_CELL.birth, ONE_CELL.death, ONE_CELL_DAYS
    error = math.sqrt(exact.variance_descendants(*true) / ONE_CELL_REPLICATES)
    return Score(float(one_cell_sample(simulated).mean()), exact.mean_descendants(*true), error, ONE_CELL_REPLICATES)


def variance_score(simulated: Setting) -> Score:
    """Variance of the number of descendants of one cell."""
    true = ONE_CELL.birth, ONE_CELL.death, ONE_CELL_DAYS
    variance = exact.variance_descendants(*true)
    error = math.sqrt((exact.fourth_central_moment_descendants(*true) - variance**2) / ONE_CELL_REPLICATES)
    return Score(float(one_cell_sample(simulated).var(ddof=1)), variance, error, ONE_CELL_REPLICATES)


# ----------------------------------------------------------------- 2: extinction under a kill hazard that fades

FADING_KILL = Setting(birth=0.5, death=0.3, kill=2.0, memory_loss=0.3)
FADING_KILL_CELLS = 20
FADING_KILL_DAYS = 6
FADING_KILL_REPLICATES = 3_000
FADING_KILL_TOLERANCE = 0.01
"""A tick freezes the CAR T cells; in ticks of 2^-7 d the error of that is far below a standard error."""


def recognised_by_car() -> float:
    """Chance that a contact with a CD19 cell of full density is recognised."""
    antigen = Antigen()
    return 1 / (1 + (antigen.half_density_molecules / antigen.blast_density_molecules) ** Killing().hill)


def fading_kill_hazard(days: NDArray[np.float64]) -> NDArray[np.float64]:
    """g P C / (k_B + C): the leukaemia is too small to count as a target beside k_B."""
    car_t = CAR_T_CELLS * np.exp(-FADING_KILL.memory_loss * days)
    return FADING_KILL.kill * recognised_by_car() * car_t / (CAR_T_CELLS + car_t)


def extinction_under_kill_score(simulated: Setting) -> Score:
    """Chance that a few cells are extinct under CAR T cells that fade (Kendall 1948, hazards that change in time)."""
    one = exact.extinct_under_kill(FADING_KILL.birth, FADING_KILL.death, fading_kill_hazard, FADING_KILL_DAYS)
    kept, lost = leukaemia_after_car_t(
        simulated, FADING_KILL_CELLS, FADING_KILL_DAYS, FADING_KILL_TOLERANCE, FADING_KILL_REPLICATES
    )
    return proportion_score(kept + lost == 0, one**FADING_KILL_CELLS)


# --------------------------------------------------------------------- 3, 4: one hit while the leukaemia grows

ONE_HIT = Setting(birth=0.5, death=0.4, last_hit=8e-6)
ONE_HIT_SIZE = 1e5
ONE_HIT_REPLICATES = 5_000
ONE_HIT_TOLERANCE = 0.2
"""Ticks of h = 0.25 d put mutations on their ends, a trapezoid sum: (b h)^2 / 24 of ln P, 0.04 standard errors."""


def one_hit_sample(simulated: Setting) -> Numbers:
    return mutants_in_grown_leukaemias(simulated, ONE_HIT_SIZE, ONE_HIT_TOLERANCE, ONE_HIT_REPLICATES)


def no_mutant_score(simulated: Setting) -> Score:
    """Chance of no mutant at size M (Iwasa, Nowak and Michor 2006)."""
    expected = exact.no_mutant_at_size(ONE_HIT.birth, ONE_HIT.death, ONE_HIT.last_hit, ONE_HIT_SIZE)
    return proportion_score(one_hit_sample(simulated) == 0, expected)


def median_mutants_score(simulated: Setting) -> Score:
    """Chance of at most the median number of mutants at size M, from the inverted generating function."""
    chances = exact.mutants_at_size(ONE_HIT.birth, ONE_HIT.death, ONE_HIT.last_hit, ONE_HIT_SIZE, 1024).cumsum()
    median = int(np.searchsorted(chances, 0.5))
    return proportion_score(one_hit_sample(simulated) <= median, float(chances[median]))


# ------------------------------------------------------------------------- 5: two hits while the leukaemia grows

TWO_HITS = Setting(birth=0.5, death=0.4, first_hit=2e-5, last_hit=1e-4)
TWO_HITS_SIZE = 1e7
TWO_HITS_REPLICATES = 6_500
TWO_HITS_TOLERANCE = 0.25
"""Ticks of 0.5 d: 0.17 standard errors.

The law of the engine is not quite that of the theory: it switches a cell at rate b u, where the theory lets a division
make the mutant. With these u the chance of none moves by 0.02 standard errors, and counting the cells with one hit in M
by 0.10; so u is small and M large here. At u = 2e-3 and M = 2e4 the two matter (0.469 becomes 0.468 and 0.481).
"""


def no_double_mutant_score(simulated: Setting) -> Score:
    """Chance of no cell with both hits at size M."""
    true = TWO_HITS.birth, TWO_HITS.death, TWO_HITS.first_hit, TWO_HITS.last_hit, TWO_HITS_SIZE
    sample = mutants_in_grown_leukaemias(simulated, TWO_HITS_SIZE, TWO_HITS_TOLERANCE, TWO_HITS_REPLICATES)
    return proportion_score(sample == 0, exact.no_double_mutant_at_size(*true))


# ----------------------------------------------------------- 6: escape while the CAR T cells clear the leukaemia

DECLINE = Setting(birth=0.5, death=0.2, last_hit=2.4e-5, kill=1.8)
DECLINE_CELLS = 100_000
DECLINE_DAYS = 40
"""By then all unmutated cells are gone and every mutant line is either large or gone, but for a share of 1e-4."""
DECLINE_REPLICATES = 4_500
DECLINE_TOLERANCE = 0.2
"""Ticks of 0.125 d: 0.01 standard errors."""


def none_survives_decline_score(simulated: Setting) -> Score:
    """Chance that no line without the antigen arises and survives while the others are killed."""
    kill = DECLINE.kill * recognised_by_car() / 2  # as many CAR T cells as their half-saturation
    expected = exact.no_mutant_survives_decline(DECLINE.birth, DECLINE.death, DECLINE.last_hit, DECLINE_CELLS, kill)
    kept, lost = leukaemia_after_car_t(simulated, DECLINE_CELLS, DECLINE_DAYS, DECLINE_TOLERANCE, DECLINE_REPLICATES)
    return proportion_score(kept + lost == 0, expected)


# -------------------------------------------------------------------------------------------- 7: time to a size

SIZE = 1e5
DAYS_REPLICATES = 4_000
"""The last tick overshoots the size by at most 1/64 d, 0.08 standard errors."""


def mean_days_score(simulated: Setting) -> Score:
    """Mean time to a size."""
    mean, sd = exact.time_to_size(ONE_CELL.birth, ONE_CELL.death, SIZE)
    observed = float(days_to_size(simulated, SIZE, DAYS_REPLICATES).mean())
    return Score(observed, mean, sd / math.sqrt(DAYS_REPLICATES), DAYS_REPLICATES)


def spread_of_days_score(simulated: Setting) -> Score:
    """Standard deviation of the time to a size."""
    _, sd = exact.time_to_size(ONE_CELL.birth, ONE_CELL.death, SIZE)
    observed = days_to_size(simulated, SIZE, DAYS_REPLICATES).std(ddof=1)
    error = sd * math.sqrt((exact.GUMBEL_KURTOSIS - 1) / (4 * DAYS_REPLICATES))
    return Score(float(observed), sd, error, DAYS_REPLICATES)


# ------------------------------------------------------------------------------------------- noise of large clones

LARGE_CLONE = 10**12
LARGE_CLONE_REPLICATES = 20_000


@cache
def large_clone_after_a_tick(setting: Setting) -> NDArray[np.float64]:
    """Cells one day, in one tick, after there were 1e12."""
    biology = setting.biology()
    rates = make_rates(biology)._replace(capacity=math.inf)
    letters, engine = alphabet_of(biology), Engine(tolerance=1)
    rng = np.random.default_rng([SEED, 12])
    out = np.zeros(LARGE_CLONE_REPLICATES)
    for i in range(LARGE_CLONE_REPLICATES):
        cells = one_founder(setting, LARGE_CLONE)
        *_, ticks = run(partial(counts.advance, rng), rates, letters, cells, (0.0, 1.0), engine)
        assert ticks == 1
        out[i] = cells.sum()
    return out


def large_clone_mean_score(simulated: Setting) -> Score:
    """Mean number of descendants of 1e12 cells; its standard error is a hundred-millionth of it."""
    true = ONE_CELL.birth, ONE_CELL.death, 1.0
    error = math.sqrt(LARGE_CLONE * exact.variance_descendants(*true) / LARGE_CLONE_REPLICATES)
    expected = LARGE_CLONE * exact.mean_descendants(*true)
    observed = expected + float((large_clone_after_a_tick(simulated) - expected).mean())
    return Score(observed, expected, error, LARGE_CLONE_REPLICATES)


def large_clone_variance_score(simulated: Setting) -> Score:
    """Variance of the number of descendants of 1e12 cells, which is normal."""
    true = ONE_CELL.birth, ONE_CELL.death, 1.0
    variance = LARGE_CLONE * exact.variance_descendants(*true)
    observed = float(large_clone_after_a_tick(simulated).var(ddof=1))
    return Score(observed, variance, variance * math.sqrt(2 / (LARGE_CLONE_REPLICATES - 1)), LARGE_CLONE_REPLICATES)
