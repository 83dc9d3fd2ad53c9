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
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from escape_abm.engines import counts
from escape_abm.inputs.biology import Antigen, Biology, CarT, Host, Killing, Leukaemia
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.products import Component, Construct, Product, car_classes
from escape_abm.inputs.regimen import Regimen
from escape_abm.inputs.settings import Engine
from escape_abm.law import exact, hazards
from escape_abm.law.states import B_LINEAGE, MARROW, MYELOID, SANCTUARY
from escape_abm.patient.course import Trajectory, simulate
from tests.engines.law_scores import (
    DECLINE,
    FADING_KILL,
    FALSE_ALARM,
    LIMIT,
    ONE_CELL,
    ONE_HIT,
    TWO_HITS,
    WRONG,
    Score,
    Setting,
    descendants_of_one_cell,
    extinction_score,
    extinction_under_kill_score,
    large_clone_mean_score,
    large_clone_variance_score,
    mean_days_score,
    mean_score,
    median_mutants_score,
    no_double_mutant_score,
    no_mutant_score,
    none_survives_decline_score,
    proportion_score,
    spread_of_days_score,
    variance_score,
)


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
    for module in (hazards, counts):
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
