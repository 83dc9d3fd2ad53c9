"""Files of other programs: what they lose is refused, and what is read is what the file says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from escape_abm.exchange import tables
from escape_abm.inputs.checks import InputError

TABLE = pd.DataFrame({"USUBJID": ["0012", "1E5", "NA"], "FLAG": ["Y", "", ""], "CNSR": [0.0, 1.0, float("nan")]})
LABELS = {"USUBJID": "Subject", "FLAG": "Flag", "CNSR": "Censor"}


@pytest.mark.parametrize("form", tables.FORMATS)
def test_text_stays_text_and_zero_zero(tmp_path: Path, form: str) -> None:
    """Subject 0012 is not 12, 1E5 not 100000, NA not missing; 0 is 0, and the last row is there."""
    back = tables.read(tables.write(TABLE, tmp_path, "ADTTE", "Time to event", LABELS, form))
    assert back["USUBJID"].tolist() == ["0012", "1E5", "NA"]
    assert back["FLAG"].tolist() == ["Y", "", ""]
    cnsr = pd.to_numeric(back["CNSR"])
    assert cnsr.tolist()[:2] == [0.0, 1.0]
    assert cnsr.isna().tolist() == [False, False, True]


def test_dataset_json_keeps_all_digits(tmp_path: Path) -> None:
    """Also of columns that the file calls `float`, of which dsjframe keeps seven."""
    import dsjframe

    value = 450.8115026752405
    place = tables.write(TABLE.assign(CNSR=value), tmp_path, "ADTTE", "Time to event", LABELS, "json")
    whole = json.loads(place.read_text())
    assert [c["dataType"] for c in whole["columns"]] == ["string", "string", "double"]
    whole["columns"][2]["dataType"] = "float"
    place.write_text(json.dumps(whole))
    assert tables.read(place)["CNSR"].tolist() == [value] * 3
    seen = dsjframe.read_dataset(place, as_pandas=True)["CNSR"].astype(float)
    assert seen[0] == float(np.float32(value)) != value


def test_decimals_of_dataset_json_are_numbers(tmp_path: Path) -> None:
    """They are text in the file."""
    place = tables.write(TABLE, tmp_path, "ADTTE", "Time to event", LABELS, "json")
    whole = json.loads(place.read_text())
    whole["columns"][2] |= {"dataType": "decimal", "targetDataType": "decimal"}
    for row, value in zip(whole["rows"], ("12.50", "0.1", None), strict=True):
        row[2] = value
    place.write_text(json.dumps(whole))
    assert tables.read(place)["CNSR"].tolist()[:2] == [12.5, 0.1]


@pytest.mark.parametrize("patients", [5, 8, 16, 33])
def test_no_patient_is_lost_at_the_end(tmp_path: Path, patients: int) -> None:
    """Records shorter than 80 bytes whose last text is empty: pandas takes the last patients for padding."""
    table = pd.DataFrame({"USUBJID": [f"{i:02d}" for i in range(patients)], "CNSR": 0.0, "EVNTDESC": ""})
    table.loc[0, "EVNTDESC"] = "Death from treatment"
    place = tables.write(table, tmp_path, "ADTTE", "Time to event", dict.fromkeys(table.columns, "Label"))
    assert len(tables.read(place)) == patients
    assert len(pd.read_sas(place, encoding="ascii")) < patients


@pytest.mark.parametrize(
    ("table", "labels", "said"),
    [
        (TABLE.rename(columns={"FLAG": "LONG_NAME"}), {}, "LONG_NAME: names of version 5 have 8"),
        (TABLE, {"FLAG": "F" * 41}, "is longer than 40 characters"),
        (TABLE.assign(FLAG="x" * 201), {}, "ASCII of 200 characters at most"),
        (TABLE.assign(FLAG="CD19×CD22"), {}, "FLAG='CD19×CD22': text of version 5 is ASCII"),
    ],
)
def test_what_version_5_would_lose_is_refused(
    tmp_path: Path, table: pd.DataFrame, labels: dict[str, str], said: str
) -> None:
    names = dict.fromkeys(table.columns, "Label") | labels
    with pytest.raises(InputError, match=said) as refused:
        tables.write(table, tmp_path / "made", "ADTTE", "Time to event", names)
    assert "format json" in str(refused.value)
    assert not (tmp_path / "made").exists()


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    for name, text, said in (
        ("a.sas7bdat", "", r"must end in one of .xpt, .json, .csv"),
        ("a.xpt", "no transport file", "cannot be read as xpt"),
        ("a.json", "{}", "no valid Dataset-JSON"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=said):
            tables.read(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        tables.read(tmp_path / "none.csv")


@pytest.mark.parametrize(("form", "library"), [("xpt", "pyreadstat"), ("json", "dsjframe")])
def test_without_the_extra_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"{library} is not installed.*escape_abm\[exchange\]"):
        tables.write(TABLE, tmp_path, "ADTTE", "Time to event", LABELS, form)
