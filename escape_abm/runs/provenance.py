"""What finished runs and sweeps say of themselves, and whether a file is whole.

A file that was cut, emptied or put there by something else is told by its name, what it should be, and the way out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from escape_abm.inputs.checks import InputError

if TYPE_CHECKING:
    import pandas as pd

PROVENANCE, RECORD, JOBS = "provenance.json", "sweep.yaml", "jobs.csv"
SAYS = {"settings": dict, "seed": int, "experiment": str, "identity": str, "files": dict}
"""What `provenance.json` of a run must hold, and of what kind."""
RECORDS = {"experiment": str, "swept": list, "jobs": list, "files": dict}
"""What `sweep.yaml` must hold."""
AGAIN = "Delete its folder, and give the command of the run again"
PARQUET = b"PAR1"


class Damaged(InputError):
    """A stored file is missing, was cut or changed, or is not ours."""


def read_provenance(folder: Path, name: str = PROVENANCE) -> dict[str, Any]:
    """What a finished run says of itself.

    Raises:
        Damaged: it says nothing, or is not one of ours.
    """
    place = folder / name
    try:
        said = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(f"{place}: {_why(place, error)}. {AGAIN}") from None
    return _checked(place, said, SAYS, AGAIN)


def read_record(folder: Path) -> dict[str, Any]:
    """What a sweep says of itself.

    Raises:
        Damaged: it says nothing, or is not one of ours.
    """
    place, again = folder / RECORD, "Give the command of the sweep again, or delete this file"
    try:
        said = yaml.load(place.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Damaged(f"{place}: {_why(place, error)}. {again}") from None
    return _checked(place, said, RECORDS, again)


def is_finished(folder: Path) -> bool:
    """Whether a folder holds a finished run: its `provenance.json` is whole, and no table that it names is cut."""
    try:
        if not (folder / PROVENANCE).exists():
            return False
        files = read_provenance(folder)["files"]
    except (Damaged, OSError):
        return False
    tables = (folder / name for name in files if name.endswith((".csv", ".parquet")) and "/" not in name)
    return not any(map(fault, tables))


def fault(place: Path) -> str:
    """What can be seen to be wrong with a table without reading it; "" if nothing.

    The end of a file tells whether it was cut. What was changed in the middle only `check` finds.
    """
    try:
        with place.open("rb") as file:
            head, size = file.read(len(PARQUET)), place.stat().st_size
            file.seek(max(0, size - len(PARQUET)))
            tail = file.read()
    except OSError as error:
        return _why(place, error)
    if not size:
        return "is empty"
    if place.suffix == ".parquet":
        return "" if head == tail == PARQUET and size > 2 * len(PARQUET) else "was cut, or is no Parquet file"
    return "" if tail.endswith(b"\n") else "was cut: its last line has no end"


def read_table(place: Path, **how: Any) -> pd.DataFrame:
    """One table of a finished run; `how` are arguments of `pandas.read_csv`.

    Raises:
        Damaged: the file is missing or cannot be read.
    """
    import pandas as pd  # shell completion answers before it is imported

    try:
        if said := fault(place):
            raise ValueError(said)
        return pd.read_parquet(place) if place.suffix == ".parquet" else pd.read_csv(place, **how)
    except (OSError, ValueError) as error:  # of pyarrow and pandas too
        raise Damaged(f"{place}: cannot be read: {error}. {AGAIN}") from None


def _checked(place: Path, said: Any, wanted: Mapping[str, type], again: str) -> dict[str, Any]:
    lacks = [k for k, kind in wanted.items() if not isinstance(said, dict) or not isinstance(said.get(k), kind)]
    if lacks:
        raise Damaged(f"{place}: was not written by this version of escape_abm: it has no {', '.join(lacks)}. {again}")
    out: dict[str, Any] = said
    return out


def _why(place: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return "is missing" if isinstance(error, FileNotFoundError) else str(error.strerror)
    return "was cut or changed, and cannot be read" if place.stat().st_size else "is empty"
