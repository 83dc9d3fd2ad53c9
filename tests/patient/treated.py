"""Patients whose treatment tests look at event by event."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace as of
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import Patient
from escape_abm.inputs.products import Component, Construct, Product
from escape_abm.inputs.regimen import Regimen
from escape_abm.inputs.settings import Engine
from escape_abm.interface.composition import compose
from escape_abm.law.states import MYELOID, alphabet_of
from escape_abm.patient.course import Course, Trajectory, simulate
from escape_abm.trials.virtual_trial import run_trial
from tests.patient.test_course import with_biology

Counts = NDArray[np.int64]
MakePatient = Callable[[int], Patient]

FALSE_ALARM = 1e-4
CD19, CD22 = ({a: Construct(antigen=a)} for a in ("cd19", "cd22"))
EARLY = Clinic(assessment_day=5)


def z(comparisons: int = 1) -> float:
    """Standard errors that one of so many two-sided comparisons passes by chance with probability FALSE_ALARM."""
    return float(stats.norm.isf(FALSE_ALARM / comparisons / 2))


def binomial(count: float, n: float, p: float, comparisons: int = 1) -> bool:
    """Whether so many of n may each have had something happen with probability p."""
    return abs(count - n * p) <= z(comparisons) * math.sqrt(n * p * (1 - p))


def product(**components: Component) -> Product:
    days = {c.day for c in components.values() if not c.donor}
    return Product(name="x", label="X", schedule="sequential" if len(days) > 1 else "together", components=components)


OWN = product(own=Component(constructs=CD19))
WITH_DONOR = product(own=Component(constructs=CD19), graft=Component(constructs=CD22, donor=True, day=10))


def calm(patient: Patient) -> Patient:
    """The same patient, chosen for every event, in a body where nothing happens to any cell by itself."""
    fates = ("effector_division", "effector_death", "memory_activation", "memory_loss", "effector_to_memory")
    still = with_biology(
        patient,
        leukaemia={"net_growth_per_day": 0.0, "death_per_day": 0.0, "sanctuary_entry_per_day": 0.0},
        killing={"kill_per_day": 0.0},
        car_t={f"{fate}_per_day": 0.0 for fate in (*fates, "exhaustion", "exhausted_death")},
        host={"b_cell_source_per_day": 0.0, "b_cell_life_days": 1e15, "b_cells_at_start_cells": 1000},
    )
    return of(still, rejection_day=math.inf, transplant_luck=0.0, reinfusion_luck=0.0)


def with_threshold(patient: Patient) -> Patient:
    """The same calm patient, in whom fewer than 2e6 normal B cells are aplasia; 1000 are there."""
    return with_biology(patient, host={"b_cell_source_per_day": 1e-8})


def unseen(patient: Patient, cells: int, niche: str = "marrow") -> Counts:
    """So many leukaemic cells that no CAR sees and that stay what they are: myeloid ones."""
    letters = alphabet_of(patient.biology)
    out = np.zeros(len(letters), dtype=np.int64)
    out[next(i for i, s in enumerate(letters.states) if s.lineage == MYELOID and s.niche == niche)] = cells
    return out


def treat(
    patient: Patient, what: Product, regimen: Regimen, leukaemia: Counts | None = None, days: int = 60,
    engine: Engine | None = None, clinic: Clinic | None = None,
) -> Trajectory:  # fmt: skip
    return simulate(patient, what, regimen, clinic or Clinic(), follow_up_days=days, engine=engine, leukaemia=leukaemia)


def course(patient: Patient, what: Product, regimen: Regimen, leukaemia: Counts) -> Course:
    return Course(patient, what, regimen, Clinic(), follow_up_days=150, engine=Engine(), entry=leukaemia.copy())


@cache
def rows(*overrides: str, size: int = 400) -> pd.DataFrame:
    """The patients table of a trial of the first patients of seed 1, a CD19 CAR unless said otherwise.

    With the values of the parameter rows: what an event does must not hang on a later calibration.
    """
    base = ["trial=none", "comparators=none", "product=cd19_fmc63", "trajectories.patients=0", "workers=1"]
    base += ["biology=starting_fit", "clinic=standard", f"cohort.size={size}"]
    return run_trial(compose([*base, *overrides])).patients


def is_kind(p: pd.DataFrame, column: str, value: str) -> NDArray[np.bool_]:
    return (p[column] == value).fillna(False).to_numpy(dtype=bool)


def more_often(after: NDArray[np.bool_], before: NDArray[np.bool_]) -> float:
    """Paired sign test: probability by chance of so many patients, of those who changed, gaining the outcome."""
    gained, changed = int((after & ~before).sum()), int((after != before).sum())
    assert changed > 0
    return float(stats.binomtest(gained, changed, alternative="greater").pvalue)
