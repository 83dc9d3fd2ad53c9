"""Virtual patients: distributions, streams, independence of order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from escape_abm.inputs.biology import Biology
from escape_abm.inputs.checks import InputError, check
from escape_abm.inputs.cohort import AGENTS, COURSE, LEUKAEMIA, READOUT, TRAITS, Cohort, sample_patient, stream
from escape_abm.inputs.products import Component, Construct, Product

FALSE_ALARM = 1e-4  # of each statistical check below


def test_a_patient_is_the_same_alone() -> None:
    cohort, biology = Cohort(), Biology()
    many = [sample_patient(i, 5, cohort, biology) for i in range(20)]
    assert sample_patient(13, 5, cohort, biology) == many[13]
    assert sample_patient(13, 6, cohort, biology) != many[13]
    assert len({p.burden_cells for p in many}) > 15


def test_cohort_size_changes_nobody() -> None:
    biology = Biology()
    assert sample_patient(3, 1, Cohort(size=4), biology) == sample_patient(3, 1, Cohort(size=4000), biology)


def test_streams_are_apart() -> None:
    draws = [stream(1, i, k).random() for i in range(50) for k in (TRAITS, LEUKAEMIA, COURSE, READOUT, AGENTS)]
    assert len(set(draws)) == len(draws)
    assert stream(1, 2, COURSE).random() == stream(1, 2, COURSE).random()
    child = np.random.SeedSequence(9).spawn(4)[3].spawn(3)[2]
    assert np.random.default_rng(child).random() == stream(9, 3, 2).random()


def test_later_spreads_leave_everyone_who_they_were() -> None:
    """Drawn last: how many infused cells engraft, how well they kill, how many turn memory. It moves no other trait."""
    now, spread = Biology(), {"engrafted_fraction_sigma": 1.0, "effector_to_memory_per_day_sigma": 0.9}
    other = now.model_copy(
        update={
            "car_t": now.car_t.model_copy(update=spread),
            "killing": now.killing.model_copy(update={"kill_per_day_sigma": 0.5}),
        }
    )
    for i in range(20):
        one, two = (sample_patient(i, 5, Cohort(), b) for b in (now, other))
        assert one.covariates() == two.covariates()
        assert one.biology.antigens == two.biology.antigens
        assert one.biology.killing.kill_per_day == now.killing.kill_per_day != two.biology.killing.kill_per_day
        for name in ("engrafted_fraction", "effector_to_memory_per_day"):
            assert getattr(one.biology.car_t, name) == getattr(now.car_t, name)
        assert two.biology.car_t.effector_to_memory_per_day != now.car_t.effector_to_memory_per_day


@pytest.mark.statistical
def test_later_spreads_are_the_ones_stated() -> None:
    """Kolmogorov-Smirnov as below; fails on a spread that is 25 % off, all but surely."""
    now = Biology()
    biology = now.model_copy(
        update={
            "car_t": now.car_t.model_copy(update={"effector_to_memory_per_day_sigma": 0.9}),
            "killing": now.killing.model_copy(update={"kill_per_day_sigma": 0.5}),
        }
    )
    patients = [sample_patient(i, 2, Cohort(), biology).biology for i in range(4000)]
    traits = (
        ([b.car_t.effector_to_memory_per_day for b in patients], now.car_t.effector_to_memory_per_day, 0.9),
        ([b.killing.kill_per_day for b in patients], now.killing.kill_per_day, 0.5),
    )
    for values, median, sigma in traits:
        assert stats.kstest(values, stats.lognorm(s=sigma, scale=median).cdf).pvalue > FALSE_ALARM
        assert stats.kstest(values, stats.lognorm(s=1.25 * sigma, scale=median).cdf).pvalue < FALSE_ALARM


@pytest.mark.statistical
def test_engrafted_fraction_is_at_most_one() -> None:
    """Lognormal below one, and as many at one as lie above it."""
    now = Biology()
    car_t = now.car_t.model_copy(update={"engrafted_fraction": 0.3, "engrafted_fraction_sigma": 1.2})
    biology = now.model_copy(update={"car_t": car_t})
    left = np.array([sample_patient(i, 2, Cohort(), biology).biology.car_t.engrafted_fraction for i in range(4000)])
    assert left.max() == 1
    above = stats.norm.sf(-math.log(0.3) / 1.2)
    assert stats.binomtest(int((left == 1).sum()), left.size, above).pvalue > FALSE_ALARM
    for fold, as_stated in ((1.0, True), (1.15, False)):
        law = stats.lognorm(s=fold * 1.2, scale=0.3)
        below = law.cdf(left[left < 1]) / law.cdf(1)
        assert bool(stats.kstest(below, "uniform").pvalue > FALSE_ALARM) == as_stated


@pytest.mark.statistical
def test_spread_is_the_one_stated() -> None:
    """Kolmogorov-Smirnov of each varied trait against its lognormal; fails on a spread that is 15 % off."""
    biology = Biology()
    cohort = Cohort(kmt2a_fraction=0)
    patients = [sample_patient(i, 2, cohort, biology) for i in range(4000)]
    traits = {
        "growth": ([p.biology.leukaemia.net_growth_per_day for p in patients], 0.097, 0.35),
        "division": ([p.biology.car_t.effector_division_per_day for p in patients], 1.03, 0.55),
        "memory loss": ([p.biology.car_t.memory_loss_per_day for p in patients], 0.0052, 0.93),
        "cd19": ([p.biology.antigens["cd19"].blast_density_molecules for p in patients], 8000, 0.6),
        "cd22": ([p.biology.antigens["cd22"].blast_density_molecules for p in patients], 3470, 0.77),
        "last hit": ([p.biology.antigens["cd19"].last_hit_per_division for p in patients], 2.6e-8, 1.5),
    }
    for name, (values, median, sigma) in traits.items():
        assert stats.kstest(values, stats.lognorm(s=sigma, scale=median).cdf).pvalue > FALSE_ALARM, name
        assert stats.kstest(values, stats.lognorm(s=1.15 * sigma, scale=median).cdf).pvalue < FALSE_ALARM, name
    burden = np.array([p.burden_cells for p in patients])
    assert burden.max() == cohort.burden_max_cells
    below = burden[burden < cohort.burden_max_cells]
    z = math.log(cohort.burden_max_cells / cohort.burden_median_cells) / cohort.burden_median_cells_sigma
    clipped = stats.binomtest(len(burden) - len(below), len(burden), stats.norm.sf(z))
    assert clipped.pvalue > FALSE_ALARM
    assert max(p.biology.killing.sanctuary_access for p in patients) == 1


@pytest.mark.statistical
def test_fractions_of_patients() -> None:
    biology = Biology()
    cohort = Cohort(kmt2a_fraction=0.3, negative_patients_fraction=0.25)
    patients = [sample_patient(i, 3, cohort, biology) for i in range(8000)]
    for count, p in (
        (sum(x.kmt2a for x in patients), 0.3),
        (sum(x.negative_fraction > 0 for x in patients), 0.25),
        (sum(math.isfinite(x.rejection_day) for x in patients), biology.car_t.rejected_fraction),
    ):
        assert stats.binomtest(count, 8000, p).pvalue > FALSE_ALARM
        assert stats.binomtest(count, 8000, 1.5 * p).pvalue < FALSE_ALARM
    days = [x.rejection_day for x in patients if math.isfinite(x.rejection_day)]
    assert min(days) >= 14
    assert max(days) <= 120


def test_kmt2a_switches_lineage_more_and_shows_less_cd22() -> None:
    biology = Biology()
    with_it = sample_patient(0, 1, Cohort(kmt2a_fraction=1), biology)
    without = sample_patient(0, 1, Cohort(kmt2a_fraction=0), biology)
    fold = with_it.biology.leukaemia.lineage_switch_per_division / without.biology.leukaemia.lineage_switch_per_division
    assert fold == pytest.approx(biology.leukaemia.lineage_switch_kmt2a_fold)
    cd22 = [p.biology.antigens["cd22"].blast_density_molecules for p in (with_it, without)]
    assert cd22[0] / cd22[1] == pytest.approx(biology.antigens["cd22"].kmt2a_density_fold)


SINGLE = {name: Construct(antigen=name) for name in ("cd19", "cd22")}
TOGETHER = {name: Component(constructs={name: construct}) for name, construct in SINGLE.items()}
TANDEM = Component(architecture="tandem", constructs=SINGLE)


def with_car_t(**change: float) -> Biology:
    biology = Biology()
    return biology.model_copy(update={"car_t": biology.car_t.model_copy(update=change)})


@pytest.mark.statistical
@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_batches_fail_as_often_as_stated(shared: float) -> None:
    """Of any architecture, by the binomial; both of a patient as often as two normals with this correlation."""
    biology = with_car_t(failed_fraction=0.2, failed_shared_fraction=shared)
    patients = [sample_patient(i, 4, Cohort(), biology) for i in range(8000)]
    first, second, tandem = (
        np.array([p.fails(part) for p in patients]) for part in (TOGETHER["cd19"], TOGETHER["cd22"], TANDEM)
    )
    for failed in (first, second, tandem):
        assert stats.binomtest(int(failed.sum()), 8000, 0.2).pvalue > FALSE_ALARM
        assert stats.binomtest(int(failed.sum()), 8000, 0.25).pvalue < FALSE_ALARM
    cut = stats.norm.ppf(0.2)
    both = 0.2 if shared == 1 else stats.multivariate_normal(cov=[[1, shared], [shared, 1]]).cdf([cut, cut])
    assert stats.binomtest(int((first & second).sum()), 8000, both).pvalue > FALSE_ALARM
    assert stats.binomtest(int((first & second).sum()), 8000, 0.7 * both).pvalue < FALSE_ALARM


@pytest.mark.statistical
def test_batches_of_adults_fail_with_these_odds() -> None:
    biology = with_car_t(failed_fraction=0.2, failed_adult_odds_fold=3.0)
    patients = [sample_patient(i, 4, Cohort(adult_fraction=0.4), biology) for i in range(8000)]
    adults = [p for p in patients if p.adult]
    assert stats.binomtest(len(adults), 8000, 0.4).pvalue > FALSE_ALARM
    failed = sum(p.fails(TANDEM) for p in adults)
    assert stats.binomtest(failed, len(adults), 3 * 0.25 / (1 + 3 * 0.25)).pvalue > FALSE_ALARM
    assert stats.binomtest(failed, len(adults), 0.2).pvalue < FALSE_ALARM


def test_a_failed_batch_divides_less_and_no_other() -> None:
    """Twins keep their luck: the CD19 batch of a patient fails under a single product if it fails in a pair."""
    biology = with_car_t(failed_fraction=0.3, failed_division_fold=0.25)
    pair = Product(name="x", label="X", components=TOGETHER)
    alone = Product(name="y", label="Y", components={"only": TOGETHER["cd19"]})
    seen = set()
    for i in range(40):
        who = sample_patient(i, 4, Cohort(), biology)
        folds = tuple(car.division_fold for car in who.car_classes(pair))
        assert folds == tuple(0.25 if who.fails(part) else 1.0 for part in TOGETHER.values())
        assert who.car_classes(alone)[0].division_fold == folds[0]
        seen.add(folds)
    assert len(seen) == 4


def test_cells_of_a_donor_do_not_fail() -> None:
    who = sample_patient(0, 1, Cohort(), with_car_t(failed_fraction=1.0))
    assert who.fails(TANDEM)
    assert not who.fails(TANDEM.model_copy(update={"donor": True}))


def test_median_above_maximum() -> None:
    with pytest.raises(InputError, match="raise the maximum"):
        check(Cohort, {"burden_median_cells": 2e12}, "cohort")
