"""A virtual trial: the same patients under every product, in parallel, and the tables that come of it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import pandas as pd
from joblib.externals.loky import get_reusable_executor

from escape_abm.cohort import sample_patient
from escape_abm.endpoints import RELAPSE_KINDS, patient_row
from escape_abm.law import CAR_T_PHENOTYPES
from escape_abm.leukaemia import grow_leukaemia
from escape_abm.settings import DAYS_PER_MONTH, Settings
from escape_abm.simulation import Trajectory, simulate
from escape_abm.states import phenotype
from escape_abm.survival import (
    Estimate,
    cumulative_incidence_at,
    paired_difference,
    proportion,
    survival_at,
)

TEXT_COLUMNS = ("arm", "relapse_kind", "relapse_phenotype", "relapse_mechanism", "cause_of_death", "stop")
MAYBE_COLUMNS = ("car_t_lost_at_relapse", "b_cell_aplasia_at_relapse")
MONTHS = (1, 3, 6, 12, 18, *range(24, 241, 12))


@dataclass(frozen=True)
class TrialResult:
    """Tables of a virtual trial.

    Attributes:
        patients: A row per patient and arm: covariates and every endpoint.
        trajectories: Long table `patient, arm, day, group, cells` of the patients whose courses were kept.
        summary: Tidy `arm, endpoint, month, estimate, lower, upper, n`.
        contrasts: Each comparator against the product, over the same patients.
    """

    patients: pd.DataFrame
    trajectories: pd.DataFrame
    summary: pd.DataFrame
    contrasts: pd.DataFrame

    def files(self) -> dict[str, pd.DataFrame]:
        """The tables by the names of their files; no file of courses if none was kept."""
        kept = {"trajectories.parquet": self.trajectories} if len(self.trajectories) else {}
        tables = {"patients.parquet": self.patients, "summary.csv": self.summary, "contrasts.csv": self.contrasts}
        return tables | kept


def run_patient(index: int, settings: Settings) -> tuple[list[dict[str, Any]], list[pd.DataFrame]]:
    """One patient under every arm: rows of endpoints, and courses if they are kept.

    The leukaemia is grown once: every product meets the same clones.
    """
    fraction, settings = settings.sample_fraction, settings.sampled()
    patient = sample_patient(index, settings.seed, settings.cohort, settings.biology)
    leukaemia = grow_leukaemia(patient, settings.engine)
    rows, courses = [], []
    for product in settings.arms:
        path = simulate(
            patient,
            product,
            settings.regimen,
            settings.clinic,
            follow_up_days=settings.follow_up_days,
            engine=settings.engine,
            leukaemia=leukaemia,
        )
        head = {"patient": index, "arm": product.name, "sample_fraction": fraction} | patient.covariates()
        rows.append(head | patient_row(path, settings.clinic, settings.follow_up_days, settings.regimen.transplant))
        if index < settings.trajectories.patients:
            courses.append(course(path, settings.trajectories.every_days))
    return rows, courses


def course(path: Trajectory, every_days: int = 1) -> pd.DataFrame:
    """A trajectory as a long table `patient, arm, day, group, cells`, in groups that a reader knows.

    Groups: leukaemic phenotypes that occur, leukaemia in sanctuaries, CAR T cells by receptors and by phenotype, normal
    B and T cells. The last day is always kept.
    """
    keep = np.unique(np.append(np.arange(0, path.day.size, every_days), path.day.size - 1))
    names = np.array([phenotype(s, path.alphabet.antigens) for s in path.alphabet.states])
    groups: dict[str, Any] = {}
    for name in dict.fromkeys(names):
        cells = path.cells[keep][:, names == name].sum(axis=1)
        if cells.any():
            groups[str(name)] = cells
    groups["leukaemia"] = path.cells[keep].sum(axis=1)
    groups["leukaemia in sanctuary"] = path.sanctuary[keep]
    for label in dict.fromkeys(c.label for c in path.classes):
        mine = [i for i, c in enumerate(path.classes) if c.label == label]
        groups[label] = path.car_t[keep][:, mine].sum(axis=(1, 2))
    for i, name in enumerate(CAR_T_PHENOTYPES):
        groups[f"CAR T {name}"] = path.car_t[keep][:, :, i].sum(axis=1)
    groups["CAR T"] = path.car_t[keep].sum(axis=(1, 2))
    groups["normal B cells"] = path.b_cells[keep]
    groups["normal T cells"] = np.rint(path.t_cells[keep]).astype(np.int64)
    table = pd.DataFrame(groups).assign(day=path.day[keep].astype(int))
    long = table.melt(id_vars="day", var_name="group", value_name="cells")
    long.insert(0, "arm", path.product.name)
    long.insert(0, "patient", path.patient.index)
    return long


def _run_chunk(indices: range, settings: Settings) -> list[tuple[list[dict[str, Any]], list[pd.DataFrame]]]:
    return [run_patient(i, settings) for i in indices]


def run_trial(settings: Settings, on_progress: Callable[[int], None] | None = None) -> TrialResult:
    """Run every patient under every arm on `settings.workers` processes, and tabulate.

    Args:
        settings: What to run.
        on_progress: Called with the number of patients done since the last call.
    """
    workers = settings.workers or os.cpu_count() or 1
    workers = min(workers, settings.cohort.size)
    size = max(1, min(10, settings.cohort.size // (4 * workers)))
    chunks = [range(i, min(i + size, settings.cohort.size)) for i in range(0, settings.cohort.size, size)]
    if workers > 1:
        run_patient(0, settings.model_copy(update={"comparators": {}}))  # compile once, here
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator", batch_size=1)
    rows: list[dict[str, Any]] = []
    courses: list[pd.DataFrame] = []
    for done in parallel(joblib.delayed(_run_chunk)(chunk, settings) for chunk in chunks):
        for patient_rows, patient_courses in done:
            rows += patient_rows
            courses += patient_courses
        if on_progress is not None:
            on_progress(len(done))
    if workers > 1:
        get_reusable_executor().shutdown()  # idle workers hold memory that the pictures need
    patients = pd.DataFrame(rows)
    patients = patients.astype(dict.fromkeys(TEXT_COLUMNS, "string") | dict.fromkeys(MAYBE_COLUMNS, "boolean"))
    arms = [p.name for p in settings.arms]
    if courses:
        trajectories = pd.concat(courses, ignore_index=True)
        trajectories = trajectories.astype({"arm": "string", "group": "string"})
    else:
        empty = {"patient": "int64", "arm": "string", "day": "int64", "group": "string", "cells": "int64"}
        trajectories = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in empty.items()})
    return TrialResult(
        patients=patients,
        trajectories=trajectories,
        summary=summarise(patients, arms, settings.follow_up_months, settings.assessment_month),
        contrasts=contrast(patients, arms, settings.follow_up_months, settings.assessment_month),
    )


# ---------------------------------------------------------------------------------------------------------- tables


def months_of(follow_up_months: float) -> tuple[float, ...]:
    """Months at which endpoints are read: the usual ones, as far as follow-up goes."""
    return tuple(m for m in MONTHS if m <= follow_up_months)


def causes_of_failure(patients: pd.DataFrame) -> pd.DataFrame:
    """Competing events of patients in CR: `duration_days` and `cause` (0 none, 1.. kinds of relapse, last: death)."""
    cause = np.zeros(len(patients), dtype=int)
    for i, kind in enumerate(RELAPSE_KINDS, start=1):
        cause[(patients["relapse_kind"] == kind).fillna(False).to_numpy(dtype=bool)] = i
    died = patients["day_death"].notna().to_numpy() & (cause == 0)
    cause[died] = len(RELAPSE_KINDS) + 1
    days = patients["day_relapse"].fillna(patients["day_last"]).to_numpy()
    return pd.DataFrame({"duration_days": days, "cause": cause}, index=patients.index)


def _endpoints(p: pd.DataFrame, months: Iterable[float], assess_month: int) -> Iterable[tuple[str, float, Estimate]]:
    n = len(p)
    yield "complete_remission", assess_month, proportion(int(p["complete_remission"].sum()), n)
    yield "mrd_negative", assess_month, proportion(int(p["mrd_negative"].sum()), n)
    yield "mrd_negative_ngs", assess_month, proportion(int(p["mrd_negative_ngs"].sum()), n)
    yield "crs_grade_3_or_higher", math.nan, proportion(int(p["crs_grade_3_or_higher"].sum()), n)
    died = p["day_death"].notna()
    event_days, event = p["day_event"].fillna(p["day_last"]), p["day_event"].notna()
    treatment = (p["cause_of_death"] == "treatment").fillna(False).to_numpy(dtype=bool)
    other = event.to_numpy() & ~treatment
    r = p[p["complete_remission"]]
    failing = causes_of_failure(r)
    days, cause = failing["duration_days"].to_numpy(), failing["cause"].to_numpy()
    relapse_or_death = r["day_relapse"].notna() | r["day_death"].notna()
    lost = r["day_car_t_lost"].notna() & (r["day_car_t_lost"] <= r["day_watched"])
    lost_days = r["day_car_t_lost"].where(lost, r["day_watched"])
    recovered = r["day_b_cell_recovery"].notna()
    recovery_days = r["day_b_cell_recovery"].where(recovered, r["day_watched"])
    any_relapse = np.where((cause > 0) & (cause <= len(RELAPSE_KINDS)), 1, np.where(cause > 0, 2, 0))
    for month in months:
        day = month * DAYS_PER_MONTH
        yield "overall_survival", month, survival_at(p["day_last"], died, day)
        yield "event_free_survival", month, survival_at(event_days, event, day)
        yield "relapse_free_survival", month, survival_at(days, relapse_or_death, day)
        yield "cumulative_incidence_relapse", month, cumulative_incidence_at(days, any_relapse, 1, day)
        for i, kind in enumerate(("antigen_negative", "antigen_positive", "lineage_switch"), start=1):
            yield f"cumulative_incidence_{kind}", month, cumulative_incidence_at(days, cause, i, day)
        nrm = np.where(treatment, 1, np.where(other, 2, 0))
        yield "non_relapse_mortality", month, cumulative_incidence_at(event_days, nrm, 1, day)
        yield "car_t_persistence", month, survival_at(lost_days, lost, day)
        yield "b_cell_aplasia", month, survival_at(recovery_days, recovered, day)


def estimate(patients: pd.DataFrame, arm: str, endpoint: str, month: float, assessment_month: int = 1) -> Estimate:
    """One endpoint of one arm at any month (the month is ignored where none applies)."""
    read = _endpoints(patients[patients["arm"] == arm], [month], assessment_month)
    return next(value for name, _, value in read if name == endpoint)


def summarise(
    patients: pd.DataFrame, arms: Iterable[str], follow_up_months: float, assessment_month: int = 1
) -> pd.DataFrame:
    """Endpoints of each arm with 95 % intervals: `arm, endpoint, month, estimate, lower, upper, n`.

    Relapse, relapse-free survival, persistence and aplasia are of patients in CR; the others of all patients.
    """
    lines = [
        (arm, endpoint, month, *estimate)
        for arm in arms
        for endpoint, month, estimate in _endpoints(
            patients[patients["arm"] == arm], months_of(follow_up_months), assessment_month
        )
    ]
    return pd.DataFrame(lines, columns=["arm", "endpoint", "month", "estimate", "lower", "upper", "n"])


def contrast(
    patients: pd.DataFrame, arms: Iterable[str], follow_up_months: float, assessment_month: int = 1
) -> pd.DataFrame:
    """Each arm minus the first, over the same patients.

    Outcomes are of all patients (not of responders, who differ between arms) by the last month read, when every
    patient's outcome is known. `unpaired_n` is how many patients an arm of a trial without pairing would need for the
    same precision.

    Returns:
        `arm, reference, endpoint, month, difference, lower, upper, n, unpaired_n`.
    """
    names = list(arms)
    month = max(months_of(follow_up_months), default=math.nan)
    day = month * DAYS_PER_MONTH

    def outcomes(arm: str) -> dict[str, pd.Series[bool]]:
        p = patients[patients["arm"] == arm].set_index("patient").sort_index()
        by_then = p["day_relapse"] <= day
        kinds = {
            f"{kind.replace('-', '_').replace(' ', '_')}_relapse": by_then
            & (p["relapse_kind"] == kind).fillna(False).astype(bool)
            for kind in RELAPSE_KINDS
        }
        alive = {"complete_remission": p["complete_remission"], "mrd_negative": p["mrd_negative"]}
        return (
            alive
            | {"relapse": by_then}
            | kinds
            | {"death": p["day_death"] <= day, "failure_or_death": p["day_event"] <= day}
        )

    first = outcomes(names[0]) if names else {}
    lines = []
    for arm in names[1:]:
        for endpoint, values in outcomes(arm).items():
            at = assessment_month if endpoint in ("complete_remission", "mrd_negative") else month
            lines.append((arm, names[0], endpoint, at, *paired_difference(values, first[endpoint])))
    columns = ["arm", "reference", "endpoint", "month", "difference", "lower", "upper", "n", "unpaired_n"]
    return pd.DataFrame(lines, columns=columns)
