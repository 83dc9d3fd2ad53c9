"""Checkpoints: finished patients of an unfinished run, from which a stopped run resumes.

Patients are independent, so a run is the same whether its patients come from a checkpoint, from a shorter run or from
the simulator. Files appear whole or not at all, whenever the process is killed.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

Done = tuple[list[dict[str, Any]], list[pd.DataFrame]]
"""Rows of one patient, one for each arm, and the courses that are kept."""


def save(folder: Path, done: Mapping[int, Done]) -> None:
    """Keep some patients, by their number, in a file of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{min(done)}_{max(done)}_{len(done)}.pkl"
    new = place.with_suffix(f".{os.getpid()}")
    try:
        new.write_bytes(pickle.dumps(dict(done), protocol=pickle.HIGHEST_PROTOCOL))
        os.replace(new, place)
    finally:
        new.unlink(missing_ok=True)


def saved(folder: Path) -> dict[int, Done]:
    """All patients that `save` kept in a folder; a file that a failing disk damaged counts as not there."""
    done: dict[int, Done] = {}
    for place in sorted(folder.glob("*.pkl")):
        try:
            done |= pickle.loads(place.read_bytes())
        except (OSError, pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError):
            continue
    return done


def of_run(folder: Path, size: int) -> dict[int, Done]:
    """The first so many patients of a finished run."""
    table = pd.read_parquet(folder / "patients.parquet", filters=[("patient", "<", size)])
    done: dict[int, Done] = {}
    for row in table.to_dict("records"):
        done.setdefault(row["patient"], ([], []))[0].append({str(k): v for k, v in row.items()})
    place = folder / "trajectories.parquet"
    if place.exists():
        courses = pd.read_parquet(place, filters=[("patient", "<", size)])
        key: Any
        for key, course in courses.groupby(["patient", "arm"], sort=False):
            done[key[0]][1].append(course)
    return done
