"""Re-infusion when normal B cells return."""

from __future__ import annotations

import math
from dataclasses import replace as of

import numpy as np
import pytest

from escape_abm.inputs.biology import Biology
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.products import Component
from escape_abm.inputs.regimen import Regimen, Reinfusion, Transplant
from escape_abm.inputs.settings import Engine
from escape_abm.patient.leukaemia import grow_leukaemia
from tests.patient.treated import (
    CD19,
    CD22,
    FALSE_ALARM,
    OWN,
    MakePatient,
    binomial,
    calm,
    course,
    more_often,
    product,
    treat,
    unseen,
    with_threshold,
)


def test_reinfusion_is_a_whole_dose_on_the_first_visit_with_b_cells(make_patient: MakePatient) -> None:
    """Once, on a visit in the window, with normal B cells back; the rest of the course is as without it till then."""
    back, found = Clinic().aplasia_below_cells(Biology().host), 0
    how = Reinfusion(fraction=1, visit_days=20, window_days=70, lymphodepletion=False)
    regimen = Regimen(reinfusion=how, split_fractions=(0.4, 0.6), split_days=(0, 3))
    without = regimen.model_copy(update={"reinfusion": Reinfusion()})
    for i in range(60):
        patient = of(make_patient(i), reinfusion_luck=0.0)
        path, plain = (treat(patient, OWN, r, days=150) for r in (regimen, without))
        seen = [d for d in (40, 60) if d <= path.day[-1] and path.b_cells[d] >= back > path.b_cells[:d].min()]
        seen = [d for d in seen if Clinic().in_remission(float(path.marrow[d]), float(path.sanctuary[d]))]
        assert (seen[0] if seen else None) == (None if math.isnan(path.day_reinfusion) else path.day_reinfusion)
        last = seen[0] if seen else path.day.size
        assert np.array_equal(path.car_t[: last + 1], plain.car_t[: last + 1])
        if not seen:
            assert path.stop is plain.stop
            continue
        found += 1
        now, dose = course(patient, OWN, regimen, path.entry), regimen.dose(30)
        now.follow(seen[0])
        assert now.car_t.sum() - path.car_t[seen[0]].sum() == round(0.4 * dose)
        planned = [(p[0], p[-1]) for p in now.plan if getattr(p[-1], "func", None) == now.infuse]
        assert [(day, event.args[1]) for day, event in planned] == [(seen[0] + 3, 0.6 * dose)]  # type: ignore[attr-defined]
        now.follow(150)
        assert now.day_reinfusion == seen[0]
    assert 10 < found < 60


@pytest.mark.parametrize("transplanted", [False, True])
def test_reinfusion_after_lymphodepletion(make_patient: MakePatient, transplanted: bool) -> None:
    """Lymphodepletion takes CAR T cells down as it takes normal T cells. Nobody gets it after a transplant."""
    patient = with_threshold(calm(make_patient(0)))
    left = patient.biology.host.t_cell_nadir_cells / patient.biology.host.t_cell_capacity_cells
    how = Transplant(fraction=int(transplanted), day=29)
    regimen = Regimen(dose_cells=10**8, reinfusion=Reinfusion(fraction=1), transplant=how)
    now = course(patient, OWN, regimen, unseen(patient, 10**9))
    now.follow(29)
    now.b_cells, before = 10**10, int(now.car_t.sum())
    now.follow(60)
    if transplanted:
        assert (math.isnan(now.day_reinfusion), now.car_t.sum(), now.b_cells) == (True, before, 10**10)
    else:
        assert now.day_reinfusion == 30
        assert binomial(now.car_t.sum() - 10**8, before, left)
        assert now.b_cells == 10**10


@pytest.mark.statistical
def test_reinfusion_restores_aplasia_in_some(make_patient: MakePatient) -> None:
    """Two weeks on, B cells are away again in more of the same patients.

    Published: restored in 33 of 63 (trials.yaml). The model is far below that, so only the direction is tested.
    """
    back, away = Clinic().aplasia_below_cells(Biology().host), []
    for i in range(300):
        patient = of(make_patient(i), reinfusion_luck=0.0)
        entry = grow_leukaemia(patient, Engine())
        how = [Regimen(reinfusion=Reinfusion(fraction=f, lymphodepletion=False)) for f in (1, 0)]
        a, b = (treat(patient, OWN, regimen, entry, 200) for regimen in how)
        if not math.isnan(a.day_reinfusion):
            day = int(a.day_reinfusion) + 14
            away.append([bool(p.b_cells[min(day, p.day.size - 1)] < back) for p in (a, b)])
    assert len(away) > 60
    assert more_often(*np.array(away).T) < FALSE_ALARM


def test_a_patient_whose_b_cells_never_went_is_not_infused_again(make_patient: MakePatient) -> None:
    patient = with_threshold(calm(make_patient(0)))
    now = course(patient, OWN, Regimen(dose_cells=10**6, reinfusion=Reinfusion(fraction=1)), unseen(patient, 10**9))
    now.seen.b_cells[:1] = now.b_cells = 10**10
    now.follow(100)
    assert math.isnan(now.day_reinfusion)


def test_a_sequential_product_is_infused_again_in_its_sequence(make_patient: MakePatient) -> None:
    patient = with_threshold(calm(make_patient(0)))
    what = product(own=Component(constructs=CD19), second=Component(constructs=CD22, day=10))
    now = course(patient, what, Regimen(dose_cells=10**6, reinfusion=Reinfusion(fraction=1)), unseen(patient, 10**9))
    now.follow(29)
    now.b_cells = 10**10
    now.follow(100)
    given = [np.flatnonzero(np.diff(now.seen.car_t[:100, s].sum(axis=1)) > 0).tolist() for s in (0, 1)]
    assert given == [[30], [10, 40]]
