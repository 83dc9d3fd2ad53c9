"""Tables of analysis data in files: SAS transport of version 5 and 8, Dataset-JSON 1.1, CSV.

Text stays text (a subject 0012 is not 12) and missing text is empty; numbers are 64-bit floats. What other readers
do with the same files is in docs/neighbours.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from escape_abm import __version__
from escape_abm.inputs.checks import InputError, suggest

FORMATS = {"xpt": ".xpt", "xpt8": ".xpt", "json": ".json", "csv": ".csv"}
"""Names and suffixes; `xpt` is version 5, the only one that regulators and most readers take."""
NAME_CHARACTERS, LABEL_CHARACTERS, TEXT_BYTES = 8, 40, 200
"""Limits of version 5. pyreadstat refuses longer names, but cuts labels and writes longer text without a word."""


def write(
    table: pd.DataFrame, folder: Path, name: str, label: str, labels: Mapping[str, str], form: str = "xpt"
) -> Path:
    """Write a table of text and floats as `folder/name` with the suffix of its format.

    Args:
        table: Columns of text or floats; missing text is empty.
        folder: Where; it is made.
        name: Of the dataset, for example ADTTE.
        label: Of the dataset.
        labels: Of every column.
        form: One of `FORMATS`.

    Raises:
        InputError: an unknown format, a package that is not installed, or what version 5 cannot hold.
    """
    if form not in FORMATS:
        raise InputError(f"format={form!r}: not known. {suggest(form, list(FORMATS))}")
    place = folder / f"{name.lower()}{FORMATS[form]}"
    if form == "xpt":
        _check_version_5(table, name, {"": label, **labels})
    if form in ("xpt", "xpt8"):
        library = _pyreadstat()
        folder.mkdir(parents=True, exist_ok=True)
        library.write_xport(
            table, place, file_label=label, column_labels=dict(labels), table_name=name,
            file_format_version=5 if form == "xpt" else 8,
        )  # fmt: skip
    elif form == "json":
        _write_json(table, place, name, label, labels)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        table.to_csv(place, index=False, lineterminator="\n")
    return place


def read(place: Path) -> pd.DataFrame:
    """A table from one of these files, told by its suffix; names of columns in capitals.

    Of CSV, every column is text, as its type is not known.

    Raises:
        InputError: another suffix, a package that is not installed, or a file that cannot be read.
    """
    readers = {".xpt": _read_xpt, ".json": _read_json, ".csv": _read_csv}
    if place.suffix.lower() not in readers:
        known = ", ".join(readers)
        raise InputError(f"{place}: cannot be read: must end in one of {known}. Save it as one of these")
    if not place.is_file():
        raise InputError(f"{place}: there is no such file")
    try:
        table = readers[place.suffix.lower()](place)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  (each library raises its own kinds)
        raise InputError(f"{place}: cannot be read as {place.suffix[1:]}: {error}") from None
    return table.rename(columns=lambda name: str(name).strip().upper())


def _pyreadstat() -> Any:
    """Imported when it is needed: it is of an extra."""
    try:
        import pyreadstat
    except ImportError:
        raise _missing("pyreadstat") from None
    return pyreadstat


def _dsjframe() -> Any:
    """Imported when it is needed: it is of an extra."""
    try:
        import dsjframe
    except ImportError:
        raise _missing("dsjframe") from None
    return dsjframe


def _missing(name: str) -> InputError:
    return InputError(f"{name} is not installed; it reads and writes this format: pip install 'escape_abm[exchange]'")


def _check_version_5(table: pd.DataFrame, name: str, labels: Mapping[str, str]) -> None:
    """Refuse what a transport file of version 5 would lose."""
    way_out = "shorten it, or use format json"
    for word in (name, *table.columns):
        if len(word) > NAME_CHARACTERS:
            raise InputError(f"{word}: names of version 5 have {NAME_CHARACTERS} characters at most; {way_out}")
    for column, label in labels.items():
        if len(label) > LABEL_CHARACTERS:
            raise InputError(f"{column}: label {label!r} is longer than {LABEL_CHARACTERS} characters; {way_out}")
    for column in map(str, table.select_dtypes(exclude="number")):
        for value in table[column].unique():
            if not value.isascii() or len(value) > TEXT_BYTES:
                raise InputError(
                    f"{column}={value!r}: text of version 5 is ASCII of {TEXT_BYTES} characters at most; {way_out}"
                )


def _write_json(table: pd.DataFrame, place: Path, name: str, label: str, labels: Mapping[str, str]) -> None:
    """Dataset-JSON; floats are `double`, since dsjframe reads `float` with seven digits only."""
    numbers = set(table.select_dtypes("number"))
    columns = [
        {"itemOID": f"IT.{name}.{c}", "name": c, "label": labels[c], "dataType": "double" if c in numbers else "string"}
        for c in table.columns
    ]
    about = {
        "itemGroupOID": f"IG.{name}",
        "name": name,
        "label": label,
        "originator": "escape_abm",
        "sourceSystem": {"name": "escape_abm", "version": __version__},
        "columns": columns,
    }
    _dsjframe().write_dataset(table, place, metadata=about)


def _read_xpt(place: Path) -> pd.DataFrame:
    table: pd.DataFrame = _pyreadstat().read_xport(place)[0]
    text = table.select_dtypes(exclude=["number", "datetime"]).columns
    return table.assign(**{c: table[c].astype(object).where(table[c].notna(), "") for c in text})


def _read_json(place: Path) -> pd.DataFrame:
    """Checked by dsjframe; the numbers are those of the file."""
    said = _dsjframe().validate_dataset(place)
    if not said["ok"]:
        raise InputError(f"{place}: is no valid Dataset-JSON 1.1: {said['message']}")
    whole = json.loads(place.read_text(encoding="utf-8"))
    kinds = {c["name"]: c["dataType"] for c in whole["columns"]}
    table = pd.DataFrame(whole["rows"], columns=list(kinds), dtype=object)
    numbers = [c for c, kind in kinds.items() if kind in ("integer", "float", "double", "decimal")]
    text = {c: table[c].where(table[c].notna(), "") for c in kinds if c not in numbers}
    return table.assign(**{c: pd.to_numeric(table[c]).astype(float) for c in numbers}, **text)


def _read_csv(place: Path) -> pd.DataFrame:
    return pd.read_csv(place, dtype=str, keep_default_na=False, encoding="utf-8-sig")
