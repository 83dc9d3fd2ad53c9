"""A run as ADSL and ADTTE, in again through every format: the same estimates to the last digit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from escape_abm.exchange import adam, tables, time_to_event
from escape_abm.inputs.trial import RATES
from escape_abm.interface.composition import compose
from escape_abm.runs.fingerprint import BESIDE
from escape_abm.trials.virtual_trial import TrialResult, run_trial

MONTHS = (1.0, 3.0, 6.0, 12.0)
MADE = {"ADSL": (adam.adsl, adam.ADSL), "ADTTE": (adam.adtte, adam.ADTTE)}


@pytest.fixture(scope="module")
def result() -> TrialResult:
    """Two arms, in which all kinds of failure occur."""
    words = ["trial=none", "cohort.size=30", "follow_up_months=12", "workers=1", "trajectories.patients=0"]
    words += ["product=tandem", "comparators=none", "+product@comparators.cd19_fmc63=cd19_fmc63"]
    return run_trial(compose([*words, "clinic.treatment_death_fraction=0.2", "cohort.negative_patients_fraction=0.3"]))


@pytest.fixture(scope="module")
def adtte(result: TrialResult) -> pd.DataFrame:
    return adam.adtte(result.patients, "ESCAPE")


def through(table: pd.DataFrame, folder: Path, name: str, form: str) -> Path:
    return tables.write(table, folder / form, name, adam.DATASETS[name], MADE[name][1], form)


@pytest.mark.parametrize("form", tables.FORMATS)
def test_estimates_come_back_to_the_last_digit(
    result: TrialResult, adtte: pd.DataFrame, tmp_path: Path, form: str
) -> None:
    back = tables.read(through(adtte, tmp_path, "ADTTE", form))
    whole = result.summary.set_index(["arm", "endpoint", "month"])
    compared = 0
    for code, about in adam.PARAMETERS.items():
        patients = time_to_event.from_adtte(back, code, competing=[adam.COMPETING])
        incidence = about.endpoint.startswith(time_to_event.INCIDENCE)
        for line in time_to_event.estimates(patients, MONTHS, incidence).itertuples():
            was = whole.loc[(line.arm, about.endpoint, line.month), ["estimate", "lower", "upper", "n"]]
            np.testing.assert_array_equal([line.estimate, line.lower, line.upper, line.n], was.to_numpy(dtype=float))
            compared += 1
    assert compared == 2 * len(RATES) * len(MONTHS)


def test_wrong_codes_or_days_move_the_estimates(result: TrialResult, adtte: pd.DataFrame) -> None:
    """The comparison above would see the mistakes that readers make."""
    was = result.summary.query("endpoint == 'event_free_survival' and arm == 'tandem' and month <= 12")["estimate"]
    for wrong in (adtte.assign(CNSR=1 - adtte["CNSR"].clip(upper=1)), adtte.assign(AVAL=adtte["AVAL"] + 40)):
        its = time_to_event.from_adtte(wrong, "EFS", competing=[2])
        found = time_to_event.estimates(its[its["arm"] == "tandem"], MONTHS)["estimate"]
        assert not np.array_equal(found, was)


def test_three_readers_see_the_same_numbers(adtte: pd.DataFrame, tmp_path: Path) -> None:
    """pyreadstat and pandas of version 5, dsjframe of Dataset-JSON, and JSON as such."""
    dsjframe = pytest.importorskip("dsjframe")
    place, plain = through(adtte, tmp_path, "ADTTE", "xpt"), through(adtte, tmp_path, "ADTTE", "json")
    seen = [pd.read_sas(place, encoding="ascii"), tables.read(place), dsjframe.read_dataset(plain, as_pandas=True)]
    rows = json.loads(plain.read_text())
    seen.append(pd.DataFrame(rows["rows"], columns=[c["name"] for c in rows["columns"]]))
    for table in seen:
        assert len(table) == len(adtte)
        np.testing.assert_array_equal(table["AVAL"], adtte["AVAL"])
        assert table["USUBJID"].tolist() == adtte["USUBJID"].tolist()
        # pandas reads 0 of a transport file as 5.4e-79, so that CNSR == 0 finds no event
        np.testing.assert_allclose(table["CNSR"], adtte["CNSR"], atol=1e-70)
    assert not (seen[0]["CNSR"] == 0).any()
    assert (seen[1]["CNSR"] == 0).sum() == (adtte["CNSR"] == 0).sum() > 0


def test_subjects_are_unique_and_those_of_adtte_are_in_adsl(result: TrialResult, adtte: pd.DataFrame) -> None:
    subjects = adam.adsl(result.patients, "ESCAPE")
    assert subjects["USUBJID"].is_unique
    assert subjects["SUBJID"].is_unique
    assert set(adtte["USUBJID"]) == set(subjects["USUBJID"])
    assert (subjects.groupby("PATNO")["TRT01P"].nunique() == 2).all()
    assert not adtte.duplicated(["USUBJID", "PARAMCD"]).any()


def test_every_event_and_every_censoring_is_told(adtte: pd.DataFrame) -> None:
    assert (adtte["EVNTDESC"].ne("") == adtte["CNSR"].ne(adam.CENSORED)).all()
    assert (adtte["CNSDTDSC"].ne("") == adtte["CNSR"].eq(adam.CENSORED)).all()
    told = adtte.groupby(["PARAMCD", "CNSR"])["EVNTDESC"].agg(set)
    assert told["NRM", 0] == {"Death from treatment"}
    assert told["OS", 0] == {"Death from treatment", "Death from leukaemia"}
    assert told["CIRPOS", 0] == {"Relapse, antigen-positive"}
    assert told["CIR", 2] == {"Death from treatment"}
    assert "No remission" in told["EFS", 0]


def test_the_day_of_infusion_is_day_1(result: TrialResult, adtte: pd.DataFrame) -> None:
    relapsed = result.patients[result.patients["relapse"].astype(bool)]
    its = adtte[(adtte["PARAMCD"] == "CIR") & (adtte["CNSR"] == 0)]
    assert sorted(its["AVAL"]) == sorted(relapsed["day_relapse"] + 1)


@pytest.mark.parametrize("name", MADE)
def test_names_labels_and_text_keep_to_version_5(result: TrialResult, name: str, tmp_path: Path) -> None:
    make, labels = MADE[name]
    table = make(result.patients, "ESCAPE")
    assert list(labels) == list(table.columns)
    assert all(len(c) <= 8 and c.isupper() and c.isascii() for c in table.columns)
    assert all(0 < len(label) <= 40 for label in [*labels.values(), *adam.DATASETS.values()])
    through(table, tmp_path, name, "xpt")  # refuses long text
    head = (tmp_path / "xpt" / f"{name.lower()}.xpt").read_bytes()[:80]
    assert head.startswith(b"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!")  # version 8 says LIBV8


def test_every_parameter_has_its_definition() -> None:
    said = adam.parameters().set_index("PARAMCD")
    assert set(said["endpoint"]) == set(RATES)
    assert said.loc["EFS", "definition"].startswith("time to no CR (an event on the assessment day), relapse or death")
    assert said.loc["CIRPOS", "definition"] == said.loc["CIRNEG", "definition"]
    assert said.loc["CIRSW", "definition"].startswith("lineage switch in patients who reached CR")


def test_what_goes_out_moves_no_result() -> None:
    assert "exchange" in BESIDE
