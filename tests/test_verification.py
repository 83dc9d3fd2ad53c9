"""The counts engine, run as users run it, against exact laws of branching processes.

Each law has a *check*: a function that simulates a `Setting` and returns a score against the theory for the law's
true setting. `test_law_holds` simulates the true setting. `test_wrong_rate_is_noticed` makes one rate 15 % too large in
the simulation alone, and the same check must reject: so no law passes for want of power.

Every statistical test fails by chance with probability FALSE_ALARM. Tolerances are standard errors, from theory. Seeds
are fixed. Replicates are chosen so that the expected z under a wrong rate is at least LIMIT + 3.1 (power 99.9 %). What
a law leaves out (relative order u and 1 / M) and what ticks add is given with each setting, in standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray
from scipy import stats

from escape_abm import counts, engines, exact, law
from escape_abm.chance import Luck, binomial, luck_of
from escape_abm.clinic import Clinic
from escape_abm.cohort import Patient
from escape_abm.leukaemia import grow_leukaemia
from escape_abm.parameters import Antigen, Biology, CarT, Host, Killing, Leukaemia
from escape_abm.products import Component, Construct, Product, car_classes
from escape_abm.regimen import Regimen
from escape_abm.settings import Engine
from escape_abm.simulation import Trajectory, simulate
from escape_abm.states import B_LINEAGE, MARROW, MYELOID, SANCTUARY, alphabet_of, founder

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
    rates, letters, engine = law.make_rates(biology), alphabet_of(biology), Engine(tolerance=tolerance)
    luck = luck_of(np.random.default_rng([SEED, round(1 / tolerance)]))
    out = np.zeros(replicates, dtype=np.int64)
    for i in range(replicates):
        cells = one_founder(setting)
        engines.run(partial(counts.advance, luck), rates, letters, cells, (0.0, days), engine)
        out[i] = cells.sum()
    return out


@cache
def days_to_size(setting: Setting, size: float, replicates: int) -> NDArray[np.float64]:
    """Days from one cell to a size, of lines that reach it, as `grow_leukaemia` grows them."""
    biology = setting.biology()
    rates, letters, engine = law.make_rates(biology), alphabet_of(biology), Engine()
    advance = partial(counts.advance, luck_of(np.random.default_rng([SEED, 7])))
    out = np.zeros(replicates)
    for i in range(replicates):
        stop = counts.EXTINCT
        while stop != counts.REACHED_TARGET:
            cells = one_founder(setting)
            stop, out[i], _, _ = engines.run(advance, rates, letters, cells, (0.0, 1e6), engine, target=size)
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
    rates = law.make_rates(biology)._replace(capacity=math.inf)
    letters, engine = alphabet_of(biology), Engine(tolerance=1)
    luck = luck_of(np.random.default_rng([SEED, 12]))
    out = np.zeros(LARGE_CLONE_REPLICATES)
    for i in range(LARGE_CLONE_REPLICATES):
        cells = one_founder(setting, LARGE_CLONE)
        *_, ticks = engines.run(partial(counts.advance, luck), rates, letters, cells, (0.0, 1.0), engine)
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


# --------------------------------------------------------------------------------------------------- the tests


class Law(NamedTuple):
    """A check, the setting for which its theory is true, and the rates that it must tell from wrong ones."""

    score: Callable[[Setting], Score]
    true: Setting
    rates: tuple[str, ...]


LAWS = {
    "extinct": Law(extinction_score, ONE_CELL, ("birth", "death")),
    "mean": Law(mean_score, ONE_CELL, ("birth", "death")),
    "variance": Law(variance_score, ONE_CELL, ("birth", "death")),
    "extinct under a fading kill": Law(extinction_under_kill_score, FADING_KILL, ("death", "kill", "memory_loss")),
    "no mutant": Law(no_mutant_score, ONE_HIT, ("birth", "last_hit")),
    "median number of mutants": Law(median_mutants_score, ONE_HIT, ("birth", "last_hit")),
    "no double mutant": Law(no_double_mutant_score, TWO_HITS, ("first_hit", "last_hit")),
    "none survives decline": Law(none_survives_decline_score, DECLINE, ("death", "last_hit", "kill")),
    "mean time to a size": Law(mean_days_score, ONE_CELL, ("birth",)),
    "spread of the time to a size": Law(spread_of_days_score, ONE_CELL, ("birth",)),
    "mean of a large clone": Law(large_clone_mean_score, ONE_CELL, ("birth", "death")),
    "variance of a large clone": Law(large_clone_variance_score, ONE_CELL, ("birth",)),
}


@pytest.mark.statistical
@pytest.mark.parametrize("name", LAWS)
def test_law_holds(name: str) -> None:
    check = LAWS[name]
    z = check.score(check.true).z
    assert abs(z) < LIMIT, f"z = {z:.2f}"


@pytest.mark.statistical
@pytest.mark.parametrize(("name", "rate"), [(name, rate) for name, check in LAWS.items() for rate in check.rates])
def test_wrong_rate_is_noticed(name: str, rate: str) -> None:
    check = LAWS[name]
    z = check.score(replace(check.true, **{rate: WRONG * getattr(check.true, rate)})).z
    assert abs(z) > LIMIT, f"z = {z:.2f}"


def test_theory_agrees_with_itself() -> None:
    """Two laws of the same chance agree, and so do a constant and a changing hazard."""
    none = exact.no_mutant_at_size(0.5, 0.4, 8e-6, 1e5)
    assert exact.mutants_at_size(0.5, 0.4, 8e-6, 1e5, 1024)[0] == pytest.approx(none, abs=1e-9)
    constant = exact.extinct_under_kill(0.5, 0.3, lambda days: np.full_like(days, 0.4), 6)
    assert constant == pytest.approx(exact.extinct(0.5, 0.7, 6), rel=1e-9)
    moments = exact.fourth_central_moment_descendants(0.5, 0.4, 1e-3)
    assert moments == pytest.approx(0.9e-3, rel=0.01)  # one event at most: +-1 at rate b + d


def test_two_hits_against_brute_force() -> None:
    """The theory of two hits against cells simulated one division at a time, outside the package (6,000 runs).

    Of them 2,798 had no double mutant when M unmutated cells were reached. A first hit twice as frequent (either of two
    alleles) gives 0.220.
    """
    one_allele = exact.no_double_mutant_at_size(0.105, 0.04, 2e-3, 2e-3, 2e4)
    assert abs(proportion_score(np.arange(6_000) < 2_798, one_allele).z) < LIMIT
    assert exact.no_double_mutant_at_size(0.105, 0.04, 4e-3, 2e-3, 2e4) == pytest.approx(0.220, abs=5e-4)


# ------------------------------------------------------------------------------------- 8: co-transduced classes


def cotransduced(fraction_19: float, fraction_22: float) -> Product:
    constructs = {"cd19": Construct(antigen="cd19"), "cd22": Construct(antigen="cd22")}
    fractions = {"cd19": fraction_19, "cd22": fraction_22}
    dual = Component(architecture="cotransduced", constructs=constructs, transduced_fraction=fractions)
    return Product(name="dual", label="Dual", components={"dual": dual})


def exact_shares(fraction_19: float, fraction_22: float) -> dict[tuple[str, ...], float]:
    """Shares of the CAR+ cells by antigens seen, from Poisson numbers of copies of two vectors, m = -ln(1 - f)."""
    m19, m22 = -math.log(1 - fraction_19), -math.log(1 - fraction_22)
    of_all_cells = {
        ("cd19",): (1 - math.exp(-m19)) * math.exp(-m22),
        ("cd22",): (1 - math.exp(-m22)) * math.exp(-m19),
        ("cd19", "cd22"): (1 - math.exp(-m19)) * (1 - math.exp(-m22)),
    }
    return {seen: share / (1 - math.exp(-m19 - m22)) for seen, share in of_all_cells.items()}


FRACTIONS = [(0.59, 0.59), (0.2, 0.9), (0.001, 0.5)]


@pytest.mark.parametrize("fractions", FRACTIONS)
def test_shares_of_cotransduced_classes(fractions: tuple[float, float]) -> None:
    classes = car_classes(cotransduced(*fractions), Biology().antigens)
    shares = {tuple(sorted(c.half_density_molecules)): c.fraction for c in classes}
    assert shares == pytest.approx(exact_shares(*fractions), abs=1e-12)
    assert shares != pytest.approx(exact_shares(WRONG * fractions[0], fractions[1]), abs=1e-12)


@pytest.mark.parametrize("fractions", FRACTIONS)
def test_infused_numbers_follow_the_shares(fractions: tuple[float, float]) -> None:
    patient = replace(ONE_CELL.patient(0, 1e6), biology=Biology(), clones="none")
    dose = 6e7
    regimen = Regimen(dose_cells=dose)
    course = simulate(patient, cotransduced(*fractions), regimen, Clinic(), follow_up_days=1)
    for car, infused in zip(course.classes, course.car_t[0], strict=True):
        share = exact_shares(*fractions)[tuple(sorted(car.half_density_molecules))]
        assert abs(infused.sum() - dose * share) <= 0.5


# ------------------------------------------------------------------------------------------------- length of ticks


def shorter_ticks_p_value(simulated: Setting) -> float:
    """Chance that two samples differ this much or more: one cell's descendants with ticks of 1 d and of 0.5 d."""
    days, replicates = 8.0, 20_000
    long_ticks = descendants_of_one_cell(ONE_CELL, days, 0.5, replicates)
    short_ticks = descendants_of_one_cell(simulated, days, 0.25, replicates)
    assert not np.array_equal(long_ticks, short_ticks)
    both = np.concatenate([long_ticks, short_ticks])
    edges = np.unique(np.quantile(both[both > 0], np.linspace(0, 1, 11)))
    table = [np.bincount(np.searchsorted(edges, sample), minlength=edges.size) for sample in (long_ticks, short_ticks)]
    return float(stats.chi2_contingency(table).pvalue)


@pytest.mark.statistical
def test_shorter_ticks_leave_the_distribution() -> None:
    assert shorter_ticks_p_value(ONE_CELL) > FALSE_ALARM


@pytest.mark.statistical
@pytest.mark.parametrize("rate", ["birth", "death"])
def test_shorter_ticks_at_a_wrong_rate_are_noticed(rate: str) -> None:
    assert shorter_ticks_p_value(replace(ONE_CELL, **{rate: WRONG * getattr(ONE_CELL, rate)})) < FALSE_ALARM


# ---------------------------------------------------------------------------------------------------- rare draws


@njit
def moments_of_draws(luck: Luck, n: int, p: float, mean: float, draws: int) -> tuple[float, float]:
    """Mean and mean square of the deviation of `chance.binomial` from the expected number."""
    first, second = 0.0, 0.0
    for _ in range(draws):
        deviation = binomial(luck, n, p) - mean
        first += deviation
        second += deviation * deviation
    return first / draws, second / draws


def draws_z(n: int, p: float, factor: float, draws: int) -> tuple[float, float]:
    """z of mean and variance of draws with chance `factor` times p, against the binomial law with chance p."""
    variance = n * p * (1 - p)
    fourth = variance * (1 + 3 * variance * (1 - 2 / n) - 6 * p * (1 - p))
    first, second = moments_of_draws(luck_of(np.random.default_rng([SEED, 8])), n, factor * p, n * p, draws)
    return first / math.sqrt(variance / draws), (second - variance) / math.sqrt((fourth - variance**2) / draws)


RARE = [
    pytest.param(10**12, 1e-17, 24 * 10**7, id="1 - p is 1 in floating point"),
    pytest.param(10**12, 1e-14, 10**7, id="one in a hundred draws"),
    pytest.param(10**9, 0.999e-8, 10**6, id="ten, Poisson"),
    pytest.param(10**9, 1.001e-8, 10**6, id="ten, binomial"),
    pytest.param(10**12, 0.999e-8, 10**6, id="ten thousand, Poisson"),
    pytest.param(10**12, 1.001e-8, 10**6, id="ten thousand, binomial"),
]


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "p", "draws"), RARE)
def test_rare_draws_have_the_right_mean_and_variance(n: int, p: float, draws: int) -> None:
    both = float(stats.norm.isf(FALSE_ALARM / 4))  # two scores, half the false alarms each
    mean, variance = draws_z(n, p, 1.0, draws)
    assert abs(mean) < both, f"z = {mean:.2f}"
    assert abs(variance) < both, f"z = {variance:.2f}"
    # The same draws with a chance that is 15 % too large.
    wrong, _ = draws_z(n, p, WRONG, draws)
    assert abs(wrong) > both, f"z = {wrong:.2f}"


# ------------------------------------------------------------------------------------------ compiled against plain


def lively() -> Biology:
    """Every route open and every rate so high that a few hundred cells of a few weeks see all of them."""
    cd19 = Antigen(
        first_hit_per_division=0.1,
        last_hit_per_division=0.1,
        silencing_per_division=0.1,
        reactivation_per_day=0.05,
        dimming_per_day=0.1,
        fitness_cost_fraction=0.1,
    )
    return Biology(
        leukaemia=Leukaemia(
            carrying_capacity_cells=1e4,
            lineage_switch_per_division=0.05,
            progenitor_entry_per_division=0.1,
            sanctuary_entry_per_day=0.1,
            sanctuary_exit_per_day=0.1,
        ),
        antigens={"cd19": cd19, "cd22": cd19.model_copy(update={"hits_to_loss": 1, "first_hit_per_division": 0.0})},
        killing=Killing(kill_per_day=2, half_saturation_cells=500, stripping_per_contact=0.3),
        car_t=CarT(
            stimulation_half_cells=100, effector_to_memory_per_day=0.1, exhaustion_per_day=0.1, rejection_per_day=0.1
        ),
        host=Host(b_cell_source_per_day=20, b_cells_at_start_cells=500),
    )


def lively_course() -> Trajectory:
    """Growth from one cell to 300, bridging, lymphodepletion, three classes of CAR T cells, rejection."""
    patient = replace(ONE_CELL.patient(3, 300), biology=lively(), rejection_day=14.5)
    regimen = Regimen(
        bridging_log10_kill=0.2,
        lymphodepletion_log10_kill=0.1,
        dose_cells=300,
        split_fractions=(0.5, 0.5),
        split_days=(0, 3),
    )
    engine = Engine(stop_at_failure=False)
    return simulate(patient, cotransduced(0.5, 0.5), regimen, Clinic(), follow_up_days=28, engine=engine)


def test_compiled_and_plain_python_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One seed, one course, by the compiled kernel and by the same source as plain Python with numpy's own draws.

    numba draws by numpy's algorithms from the same stream of bits, in another compiler's arithmetic. A last digit that
    differs could in principle flip one draw and so change everything after it; here it does not.
    """
    compiled = lively_course()
    for module in (law, counts):
        for name, value in list(vars(module).items()):
            if hasattr(value, "py_func"):
                monkeypatch.setattr(module, name, value.py_func)
    plain = lively_course()
    assert not hasattr(counts.switch, "py_func")
    for name in ("day", "cells", "car_t", "b_cells", "t_cells", "kills", "entry"):
        assert np.array_equal(getattr(compiled, name), getattr(plain, name)), name
    assert (compiled.stop, compiled.ticks) == (plain.stop, plain.ticks)
    # Something happened: states of every kind were seen, and every CAR T class and phenotype.
    seen = [state for state, n in zip(compiled.alphabet.states, compiled.cells.max(axis=0), strict=True) if n > 0]
    assert {a.shown for state in seen for a in state.antigens} == {"high", "dim", "silenced", "lost"}
    assert {state.lineage for state in seen} == {B_LINEAGE, MYELOID}
    assert {state.niche for state in seen} == {MARROW, SANCTUARY}
    assert {state.origin for state in seen} == {"founder", "acquired"}
    assert {state.progenitor for state in seen} == {True, False}
    assert compiled.car_t.max(axis=0).min() > 0
