"""A virtual trial: the same patients under every product, in parallel, and the resulting tables."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from joblib.externals.loky import get_reusable_executor

from escape_abm.engines.interrupt import held_back
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.cohort import sample_patient
from escape_abm.inputs.settings import Settings
from escape_abm.law.states import CAR_T_PHENOTYPES
from escape_abm.patient.course import Trajectory, simulate
from escape_abm.patient.endpoints import patient_row
from escape_abm.patient.leukaemia import grow_leukaemia
from escape_abm.trials import checkpoints, processors
from escape_abm.trials.comparison import chosen
from escape_abm.trials.estimates import contrast, summarise

TEXT_COLUMNS = (
    "arm",
    "relapse_kind",
    "relapse_phenotype",
    "relapse_mechanism",
    "relapse_site",
    "cause_of_death",
    "stop",
)
MAYBE_COLUMNS = ("car_t_lost_at_relapse", "b_cell_aplasia_at_relapse")
SAVE_SECONDS = 3.0  # of work that a killed run loses at most, but for patients under way


class WorkersLost(InputError):
    """Processes ended before their patients were done, more than once."""


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

    @classmethod
    def read(cls, folder: Path) -> TrialResult:
        """The tables of a finished run."""
        place = folder / "trajectories.parquet"
        return cls(
            patients=pd.read_parquet(folder / "patients.parquet"),
            trajectories=pd.read_parquet(place) if place.exists() else pd.DataFrame(),
            summary=pd.read_csv(folder / "summary.csv"),
            contrasts=pd.read_csv(folder / "contrasts.csv"),
        )

    def files(self) -> dict[str, pd.DataFrame]:
        """The tables by the names of their files; no file of courses if none was kept."""
        kept = {"trajectories.parquet": self.trajectories} if len(self.trajectories) else {}
        tables = {"patients.parquet": self.patients, "summary.csv": self.summary, "contrasts.csv": self.contrasts}
        return tables | kept


def treat(index: int, settings: Settings) -> Iterator[Trajectory]:
    """One patient under every arm. The leukaemia is grown once: every product meets the same clones."""
    s = settings.drawn(index).sampled()
    patient = sample_patient(index, s.seed, s.cohort, s.biology)
    leukaemia = grow_leukaemia(patient, s.engine)
    for product in s.arms:
        yield simulate(
            patient,
            product,
            s.regimen,
            s.clinic,
            follow_up_days=s.follow_up_days,
            engine=s.engine,
            leukaemia=leukaemia,
        )


def run_patient(index: int, settings: Settings) -> tuple[list[dict[str, Any]], list[pd.DataFrame]]:
    """One patient under every arm: rows of endpoints, and courses if they are kept."""
    rows, courses = [], []
    for path in treat(index, settings):
        rows.append(row_of(path, settings))
        if index < settings.trajectories.patients:
            courses.append(course(path.until(rows[-1]["day_death"]), settings.trajectories.every_days))
    return rows, courses


def row_of(path: Trajectory, settings: Settings) -> dict[str, Any]:
    """What the table of patients says of one patient under one arm."""
    index = path.patient.index
    draw = {"draw": index % settings.draw_count} if settings.draws else {}
    mine = settings.drawn(index)
    whole = {"patient": index, "arm": path.product.name} | draw | {"sample_fraction": mine.sample_fraction}
    s = mine.sampled()
    return whole | path.patient.covariates() | patient_row(path, s.clinic, s.follow_up_days, s.regimen.transplant)


def course(path: Trajectory, every_days: int = 1) -> pd.DataFrame:
    """A trajectory as a long table `patient, arm, day, group, cells`, in groups that a reader knows.

    Groups: leukaemic phenotypes that occur, leukaemia in sanctuaries, CAR T cells by receptors and by phenotype, normal
    B and T cells. The last day is always kept.
    """
    keep = np.unique(np.append(np.arange(0, path.day.size, every_days), path.day.size - 1))
    names = path.alphabet.phenotypes
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
    return pd.DataFrame(
        {
            "patient": path.patient.index,
            "arm": path.product.name,
            "day": np.tile(path.day[keep].astype(int), len(groups)),
            "group": np.repeat(list(groups), keep.size),
            "cells": np.concatenate(list(groups.values())),
        }
    )


def _run_chunk(indices: Sequence[int], settings: Settings) -> dict[int, checkpoints.Done]:
    return {i: run_patient(i, settings) for i in indices}


def refuse_conditions(settings: Settings) -> None:
    """Refuse conditions of a trial (who counts, strata) that cannot be read from a table of patients.

    Raises:
        InputError: which condition, and why.
    """
    _refuse_conditions(settings.model_copy(update={"comparators": {}, "seed": 1}).model_dump_json())


@cache  # a sweep over seeds asks the same many times
def _refuse_conditions(plain: str) -> None:
    settings = Settings.model_validate_json(plain)
    table = as_table(run_patient(0, settings)[0])
    for condition in (settings.trial.analysed, *settings.trial.strata.values()):
        chosen(table, condition)


def as_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The table of patients."""
    kinds = dict.fromkeys(TEXT_COLUMNS, "string") | dict.fromkeys(MAYBE_COLUMNS, "boolean")
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    for name in kinds:
        columns[name] = pd.Series(columns[name], dtype=kinds[name])
    return pd.DataFrame(columns)


def _compute(indices: Sequence[int], settings: Settings) -> Iterator[dict[int, checkpoints.Done]]:
    """Patients, some at a time as they are done, on `settings.workers` processes."""
    workers = min(settings.workers or processors.cores(), len(indices))
    size = max(1, min(10, len(indices) // (4 * max(workers, 1))))
    chunks = [indices[i : i + size] for i in range(0, len(indices), size)]
    if workers <= 1:
        for chunk in chunks:
            with held_back():
                done = _run_chunk(chunk, settings)
            yield done
        return
    with held_back():
        run_patient(0, settings.model_copy(update={"comparators": {}}))  # compile once, here
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
    yield from parallel(joblib.delayed(processors.serve)(os.getpid(), _run_chunk, chunk, settings) for chunk in chunks)
    get_reusable_executor().shutdown()  # idle workers hold memory that the pictures need


def _despite_losses(indices: Sequence[int], settings: Settings) -> Iterator[dict[int, checkpoints.Done]]:
    """As `_compute`; when a worker is lost, those that it and the others still had are done once more."""
    left, said = set(indices), ""
    for _ in range(2):
        try:
            for some in _compute(sorted(left), settings):
                left.difference_update(some)
                yield some
            return
        except (BrokenProcessPool, MemoryError) as error:
            codes = re.search(r"\{(.*)\}", str(error))
            said = codes[1] if codes else type(error).__name__
    raise WorkersLost(
        f"workers={settings.workers}: a worker was lost twice, most often because memory ran out ({said}). "
        f"{len(left)} patients are still to be done. What is done is kept in the folder of the run: give the same "
        "command again, with fewer workers"
    )


def run_trial(
    settings: Settings,
    on_progress: Callable[[int], None] | None = None,
    keep: Path | None = None,
    earlier: Path | None = None,
) -> TrialResult:
    """Run every patient under every arm on `settings.workers` processes, and tabulate.

    Args:
        settings: What to run.
        on_progress: Called with the number of patients done since the last call.
        keep: Folder in which patients are kept while the run goes on, also when it is stopped; those that are there
            already are not computed again. It must belong to these settings and this code.
        earlier: Finished run of the same settings and code, shorter or longer: its patients are taken from there.

    Raises:
        WorkersLost: processes were killed, twice.
    """
    size = settings.cohort.size
    done = checkpoints.of_run(earlier, size) if earlier else {}
    if keep is not None:
        done |= {i: d for i, d in checkpoints.saved(keep).items() if i < size}
    if done and on_progress is not None:
        on_progress(len(done))
    new: dict[int, checkpoints.Done] = {}
    saved = time.monotonic()
    try:
        for some in _despite_losses([i for i in range(size) if i not in done], settings):
            done |= some
            new |= some
            if on_progress is not None:
                on_progress(len(some))
            if keep is not None and time.monotonic() > saved + SAVE_SECONDS:
                checkpoints.save(keep, new)
                new, saved = {}, time.monotonic()
    except (KeyboardInterrupt, WorkersLost):
        if keep is not None and new:
            checkpoints.save(keep, new)
        raise
    return tabulate([done[i] for i in range(size)], settings)


def tabulate(done: list[checkpoints.Done], settings: Settings) -> TrialResult:
    """The tables of these patients."""
    patients = as_table([row for rows, _ in done for row in rows])
    courses = [course for _, courses in done for course in courses]
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
