"""Patients of a trial from an ADTTE table: what it does not say is asked for, and what it contradicts is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from escape_abm.exchange import tables, time_to_event
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.trial import Published, Trial
from escape_abm.trials.comparison import interval
from escape_abm.trials.survival import proportion

# Like the public ADTTE of the CDISC pilot: the day of the start is day 1; a death that competes is coded 2.
ADTTE = pd.DataFrame(
    {
        "USUBJID": ["01", "02", "03", "04", "05"],
        "TRTP": ["car", "car", "car", "car", "car"],
        "PARAMCD": "TTR",
        "AVAL": [11.0, 41.0, 101.0, 201.0, 401.0],
        "STARTDT": "2024-01-01",
        "ADT": ["2024-01-11", "2024-02-10", "2024-04-10", "2024-07-19", "2025-02-04"],
        "CNSR": [0.0, 2.0, 0.0, 1.0, 1.0],
        "EVNTDESC": ["Relapse", "Death", "Relapse", "", ""],
        "CNSDTDSC": ["", "", "", "Transplant", "End of follow-up"],
    }
)


def test_days_since_the_start_and_causes() -> None:
    found = time_to_event.from_adtte(ADTTE, "TTR", competing=[2])
    assert found["days"].tolist() == [10, 40, 100, 200, 400]
    assert found["cause"].tolist() == [1, 2, 1, 0, 0]
    by_text = time_to_event.from_adtte(ADTTE.assign(CNSR=[0, 0, 0, 1, 1]), "TTR", competing=["Death"])
    assert by_text["cause"].tolist() == [1, 2, 1, 0, 0]
    months = ADTTE.assign(AVAL=(ADTTE["AVAL"]) / 30.4375)
    scaled = time_to_event.from_adtte(months, "TTR", competing=[2], unit="months")
    assert scaled["days"].tolist() == pytest.approx([10, 40, 100, 200, 400])


@pytest.mark.parametrize(
    ("change", "asked", "said"),
    [
        ({}, {"parameter": "TTX"}, "Did you mean 'TTR'"),
        ({}, {}, "CNSR=2: 0 is the event; name what else"),
        ({}, {"competing": ["Deth"]}, "Did you mean 'Death'"),
        (
            {},
            {"competing": [2], "first_day": 0},
            "AVAL=11.0 does not fit 2024-01-01 to 2024-01-11 if the start is day 0",
        ),
        ({"AVAL": 0.0, "ADT": ""}, {"competing": [2]}, "ends before it starts"),
        ({"AVAL": "x"}, {"competing": [2]}, "AVAL='x' is no number"),
        ({"USUBJID": "01"}, {"competing": [2]}, "several rows of TTR"),
        ({}, {"competing": [2], "unit": "month"}, "Did you mean 'months'"),
    ],
)
def test_what_is_not_said_or_contradicts_is_told(change: dict[str, Any], asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        time_to_event.from_adtte(ADTTE.assign(**change), **({"parameter": "TTR"} | asked))


@pytest.mark.parametrize("form", tables.FORMATS)
def test_dates_are_checked_in_every_format(tmp_path: Path, form: str) -> None:
    place = tables.write(ADTTE, tmp_path, "ADTTE", "Time to event", dict.fromkeys(ADTTE.columns, "Label"), form)
    table = tables.read(place)
    assert time_to_event.from_adtte(table, "TTR", competing=[2])["days"].tolist() == [10, 40, 100, 200, 400]
    with pytest.raises(InputError, match="if the start is day 0"):
        time_to_event.from_adtte(table, "TTR", competing=[2], first_day=0)


def test_results_have_events_and_the_exact_interval_until_somebody_is_censored() -> None:
    patients = time_to_event.from_adtte(ADTTE, "TTR", competing=[2])
    early, late = time_to_event.published(patients, "cumulative_incidence_relapse", [4, 12], "Smith 2025, Blood 145:1")
    assert (early["events"], early["n"], early["estimate"]) == (2, 5, 0.4)
    assert "lower" not in early
    assert "events" not in late
    points = [Published.model_validate(line) for line in (early, late)]
    assert interval(points[0]) == proportion(2, 5)[1:3]
    assert points[1].lower == late["lower"] < 0.4 < late["upper"]
    Trial(name="mine", label="Mine", size=5, published=tuple(points))


def test_results_of_several_arms_or_after_the_end_are_refused() -> None:
    patients = time_to_event.from_adtte(ADTTE, "TTR", competing=[2])
    for changed, endpoint, months, said in (
        (patients.assign(arm=list("aabbb")), "cumulative_incidence_relapse", [4], "a trial has one arm"),
        (patients, "cumulative_incidence_relapse", [24], "followed to month 13.1"),
        (patients, "overall_survival", [4], "with which nothing competes"),
        (patients, "complete_remission", [1], "not one that is read by months"),
    ):
        with pytest.raises(InputError, match=said):
            time_to_event.published(changed, endpoint, months, "assumed")


def test_lines_are_yaml_of_an_own_trial() -> None:
    import yaml

    patients = time_to_event.from_adtte(ADTTE.assign(CNSR=[0, 0, 0, 1, 1]), "TTR")
    lines = time_to_event.published(patients, "overall_survival", [4, 12], 'Smith: "A trial", 2025')
    curve = time_to_event.steps(patients, "overall_survival")
    assert [month for month, _ in curve] == pytest.approx([d / 30.4375 for d in (0, 10, 40, 100, 400)], abs=1e-3)
    assert [share for _, share in curve] == [1, 0.8, 0.6, 0.4, 0.4]
    read = yaml.safe_load("trial:\n" + time_to_event.as_yaml(lines, {"overall_survival": curve}))["trial"]
    assert read["published"] == lines
    trial = Trial.model_validate({"name": "mine", "label": "Mine", "size": 5, **read})
    assert trial.steps["overall_survival"] == tuple(curve)
    assert "steps" not in time_to_event.as_yaml(lines, {})
