"""Transplants: what they take, what they leave, whom they kill, and how much relapse they prevent."""

from __future__ import annotations

import math
from dataclasses import replace as of

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from escape_abm.inputs.biology import Biology
from escape_abm.inputs.cohort import Cohort, sample_patient
from escape_abm.inputs.products import Component
from escape_abm.inputs.regimen import Regimen, Transplant
from escape_abm.inputs.settings import Engine
from escape_abm.law.hazards import endogenous_t_cells
from escape_abm.law.states import SANCTUARY
from tests.patient.test_course import with_biology
from tests.patient.treated import (
    CD19,
    CD22,
    EARLY,
    FALSE_ALARM,
    OWN,
    WITH_DONOR,
    MakePatient,
    binomial,
    calm,
    course,
    is_kind,
    more_often,
    product,
    rows,
    treat,
    unseen,
    z,
)


def test_transplant_thins_leukaemia_own_car_t_and_b_cells_but_not_the_donors(make_patient: MakePatient) -> None:
    patient = of(make_patient(0), transplant_luck=0.0, graft_z=-1.3)
    how = Transplant(fraction=1, car_t_log10_kill=4)
    now = course(patient, WITH_DONOR, Regimen(transplant=how), unseen(patient, 1))
    now.day, now.b_cells = 69.0, 10**10
    now.cells[:], now.car_t[:] = 10**8, 10**9
    own, donors = (next(i for i, c in enumerate(now.classes) if c.component == name) for name in ("own", "graft"))
    now.transplant()
    n = now.cells.size + 4
    assert all(binomial(int(left), 1e8, 10**-how.conditioning_log10_kill, n) for left in now.cells)
    assert not binomial(now.cells.sum(), 1e8 * now.cells.size, 10 ** (-1.01 * how.conditioning_log10_kill))
    assert all(binomial(int(left), 1e9, 10**-how.car_t_log10_kill, n) for left in now.car_t[own])
    assert now.car_t[donors].tolist() == [10**9] * 3
    assert binomial(now.b_cells, 1e10, 10**-how.car_t_log10_kill, n)
    assert now.rates.graft == how.graft_kill_per_day * math.exp(-1.3 * how.graft_kill_per_day_sigma)
    assert now.day_transplant == now.lymphodepleted == 69.0


def test_nothing_happens_before_the_transplant(make_patient: MakePatient) -> None:
    for i in range(3):
        patient = of(make_patient(i), transplant_luck=0.0, burden_cells=1e9)
        host = patient.biology.host
        recovery = host.t_cell_nadir_cells, host.t_cell_capacity_cells, host.t_cell_recovery_per_day
        a, b = (treat(patient, OWN, Regimen(transplant=Transplant(fraction=f)), days=80) for f in (0, 1))
        for name in ("cells", "car_t", "b_cells", "t_cells"):  # of the end of a day, before that day's events
            assert np.array_equal(getattr(a, name)[:70], getattr(b, name)[:70]), name
        assert b.day_transplant == 69
        slow = (*recovery[:2], Transplant().t_cell_recovery_per_day)
        assert b.t_cells[[69, 70]].tolist() == [endogenous_t_cells(69.0, *recovery), endogenous_t_cells(1.0, *slow)]


@pytest.mark.parametrize("engine", [Engine(), Engine(name="cells", size_limit_cells=1e5)], ids=lambda e: e.name)
def test_transplant_and_graft_in_both_engines(make_patient: MakePatient, engine: Engine) -> None:
    """Where nothing else happens, numbers left are binomial: conditioning at once, then a graft day by day."""
    patient = of(calm(make_patient(0)), graft_z=0.5)
    how = Transplant(fraction=1, day=6, conditioning_log10_kill=0.4, car_t_log10_kill=0.6, graft_kill_per_day=0.1)
    graft = 0.1 * math.exp(0.5 * how.graft_kill_per_day_sigma)
    what = product(own=Component(constructs=CD19), graft=Component(constructs=CD22, donor=True, day=2))
    regimen = Regimen(transplant=how, dose_cells=3000, lymphodepletion=False)
    path = treat(patient, what, regimen, unseen(patient, 8000), 10, engine, EARLY)
    before = path.marrow[:7], path.car_t[:7, 0].sum(axis=1), path.b_cells[:7]
    assert [x.tolist() for x in before] == [[8000] * 7, [3000] * 7, [1000] * 7]
    for day in (7, 10):
        left = 10**-how.conditioning_log10_kill * math.exp(-graft * (day - 6))
        assert binomial(path.marrow[day], 8000, left, 4)
    assert not binomial(path.marrow[10], 8000, 10**-how.conditioning_log10_kill * math.exp(-4 * 1.5 * graft), 4)
    assert binomial(path.car_t[7, 0].sum(), 3000, 10**-how.car_t_log10_kill, 4)
    assert (path.car_t[7:, 0] == path.car_t[7, 0]).all()
    assert binomial(path.b_cells[7], 1000, 10**-how.car_t_log10_kill, 4)
    assert path.car_t[:, 1].sum(axis=1).tolist() == [0] * 9 + [3000] * 2  # the donor's: on day 8, seen on day 9


@pytest.mark.parametrize("niche", ["marrow", "sanctuary"])
def test_graft_is_one_more_death_hazard(make_patient: MakePatient, niche: str) -> None:
    """Leukaemia that no CAR sees declines as exp((b - d - graft) t), with the variance of birth and death.

    A sanctuary lets in as few of the donor's T cells as of CAR T cells.
    """
    growth, death, t = 0.1, 0.15, 30
    free = {"net_growth_per_day": growth, "death_per_day": death, "carrying_capacity_cells": 1e20}
    moves = {"sanctuary_entry_per_day": 1e-12, "sanctuary_exit_per_day": 1e-12}
    patient = with_biology(make_patient(0), leukaemia=free | moves, killing={"sanctuary_access": 0.2})
    patient = of(patient, transplant_luck=0.0, graft_z=1.0)
    how = Transplant(fraction=1, day=6, conditioning_log10_kill=0)
    regimen = Regimen(transplant=how, dose_cells=0)
    path = treat(patient, OWN, regimen, unseen(patient, 10**9, niche), 36, clinic=EARLY)
    n = int(path.cells[6].sum())

    def out_by(graft: float) -> float:
        """Standard errors from what a graft of this hazard leaves of n cells."""
        net, change = growth - graft, math.exp((growth - graft) * t)
        variance = n * (growth + 2 * death + graft) / net * change * (change - 1)
        return abs(int(path.cells[36].sum()) - n * change) / math.sqrt(variance)

    graft = how.graft_kill_per_day * math.exp(how.graft_kill_per_day_sigma) * {"marrow": 1, "sanctuary": 0.2}[niche]
    assert out_by(graft) < z(2) < out_by(1.01 * graft)
    assert (path.sanctuary[36] > 0.99 * path.cells[36].sum()) == (niche == SANCTUARY)


@pytest.mark.parametrize(
    ("cells", "niche", "given"),
    [(10**9, "marrow", True), (2 * 10**11, "marrow", False), (4 * 10**10, "sanctuary", False)],
)
def test_without_remission_neither_second_batch_nor_transplant(
    make_patient: MakePatient, cells: int, niche: str, given: bool
) -> None:
    still = {"net_growth_per_day": 0.0, "death_per_day": 0.0, "sanctuary_exit_per_day": 1e-12}
    patient = of(with_biology(make_patient(0), leukaemia=still), transplant_luck=0.0)
    regimen = Regimen(dose_cells=100, lymphodepletion=False, transplant=Transplant(fraction=1, day=50))
    second = Component(constructs=CD22, day=40, only_in_remission=True)
    what, go_on = product(own=Component(constructs=CD19), second=second), Engine(stop_at_failure=False)
    path = treat(patient, what, regimen, unseen(patient, cells, niche), engine=go_on)
    assert list(path.infused) == ["own", "second"][: 1 + given]
    assert not path.car_t[:41, 1].any()
    assert path.car_t[41, 1].any() == given
    assert (path.day_transplant == 50) == given
    assert (path.cells[51].sum() < 0.1 * cells) == given


def test_who_is_not_chosen_is_untouched() -> None:
    """Rows of patients without an event are bitwise those of a trial in which nobody has it."""
    none = rows()[:200]
    half = rows("regimen.transplant.fraction=0.5", "regimen.reinfusion.fraction=0.5", size=200)
    people = [sample_patient(i, 1, Cohort(), Biology()) for i in range(200)]
    spared = np.array([p.transplant_luck >= 0.5 and p.reinfusion_luck >= 0.5 for p in people])
    assert 25 < spared.sum() < 75
    pd.testing.assert_frame_equal(none[spared], half[spared], check_exact=True)
    assert half[~spared][["day_transplant", "day_reinfusion"]].notna().any().all()
    off = ["transplant.day=40", "transplant.death_fraction=1", "transplant.graft_kill_per_day=1"]
    off += ["reinfusion.window_days=300", "reinfusion.visit_days=10"]
    few = rows(*(f"regimen.{x}" for x in off), size=40)
    pd.testing.assert_frame_equal(few, none[:40], check_exact=True)


PUBLISHED_HAZARD_RATIO = 0.10, 0.25
"""Of relapse with consolidation: meta-analysis (parameters.yaml, HR_HSCT), observational, immortal time in some."""


@pytest.mark.statistical
def test_transplant_lowers_relapse_as_published() -> None:
    """The same patients, in remission and alive on day 69, with and without: no immortal time."""
    having = rows("regimen.transplant.fraction=1", "regimen.transplant.death_fraction=0")
    had = having["day_transplant"].notna().to_numpy()
    assert had.sum() > 250
    a, b = rows()[had], having[had]
    assert more_often(a["relapse"].to_numpy(), b["relapse"].to_numpy()) < FALSE_ALARM
    events = [int(p["relapse"].sum()) for p in (b, a)]
    at_risk = [float((p["day_relapse"].fillna(p["day_last"]) - 69).sum()) for p in (b, a)]
    ratio, error = events[0] / at_risk[0] / (events[1] / at_risk[1]), math.sqrt(sum(1 / e for e in events))
    lower, upper = (ratio * math.exp(sign * z() * error) for sign in (-1, 1))
    assert lower < PUBLISHED_HAZARD_RATIO[1] < 1, f"hazard ratio {ratio:.2f}"
    assert PUBLISHED_HAZARD_RATIO[0] < upper < 1, f"hazard ratio {ratio:.2f}"


@pytest.mark.statistical
def test_transplant_deaths_are_as_many_as_set() -> None:
    """With a graft that lets nobody relapse and no other death of treatment, they are binomial and come evenly."""
    common = ("clinic.treatment_death_fraction=0", "regimen.transplant.graft_kill_per_day=5")
    p = rows("regimen.transplant.fraction=1", "regimen.transplant.graft_kill_per_day_sigma=0", *common)
    had, died = p["day_transplant"].notna(), is_kind(p, "cause_of_death", "treatment")
    assert not p[had]["relapse"].any() | died[~had].any()
    share = Transplant().death_fraction
    assert stats.binomtest(int(died.sum()), int(had.sum()), share).pvalue > FALSE_ALARM / 2
    assert stats.binomtest(int(died.sum()), int(had.sum()), 2.5 * share).pvalue < FALSE_ALARM / 2
    days = p[died]["day_death"] - 69
    assert stats.kstest(days, stats.uniform(0, Transplant().death_last_day).cdf).pvalue > FALSE_ALARM / 2
    assert more_often(died, is_kind(rows(), "cause_of_death", "treatment")) < FALSE_ALARM
