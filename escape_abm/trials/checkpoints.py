"""Checkpoints: finished patients of an unfinished run, from which a stopped run resumes.

Patients are independent, so a run is the same whether its patients come from a checkpoint, from a shorter run or from
the simulator. Files appear whole or not at all, whenever the process is killed.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

Done = tuple[list[dict[str, Any]], list[pd.DataFrame]]
"""Rows of one patient, one for each arm, and the courses that are kept."""


def save(folder: Path, done: Mapping[int, Done]) -> None:
    """Keep some patients, by their number, in a file of their own: data only, so that reading one runs nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{min(done)}_{max(done)}_{len(done)}.json.gz"
    new = place.with_suffix(f".{os.getpid()}")
    plain = {i: (rows, [_plain(course) for course in courses]) for i, (rows, courses) in done.items()}
    try:
        new.write_bytes(gzip.compress(json.dumps(plain, default=_scalar).encode(), compresslevel=1))
        os.replace(new, place)
    finally:
        new.unlink(missing_ok=True)


def saved(folder: Path) -> dict[int, Done]:
    """All patients that `save` kept in a folder; a file that a failing disk damaged counts as not there."""
    done: dict[int, Done] = {}
    for place in sorted(folder.glob("*.json.gz")):
        try:
            plain = json.loads(gzip.decompress(place.read_bytes()))
            done |= {int(i): (rows, [_course(c) for c in courses]) for i, (rows, courses) in plain.items()}
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError):
            continue
    return done


def how_many(folder: Path) -> int:
    """How many patients are kept in a folder, by the names of its files."""
    return sum(int(place.name.split(".")[0].split("_")[-1]) for place in folder.glob("*.json.gz"))


def _plain(course: pd.DataFrame) -> dict[str, Any]:
    return {str(name): (str(column.dtype), column.tolist()) for name, column in course.items()}


def _course(plain: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype=kind) for name, (kind, values) in plain.items()})


def _scalar(value: Any) -> Any:
    """What JSON does not know: NumPy's numbers, and what is missing."""
    return None if value is pd.NA else value.item()


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
