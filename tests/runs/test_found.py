"""Runs of several sweeps as one table: each once, with all that tells it apart, and never pooled in silence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import escape_abm
from escape_abm.inputs.checks import InputError
from escape_abm.runs.fingerprint import code_of
from tests.runs.troubled import TROUBLED, the_sweep

HILL, KILL, STRIP = (f"biology.killing.{name}" for name in ("hill", "kill_per_day", "stripping_per_contact"))
LAST = 2**63 - 1


def twice(runs: escape_abm.Runs) -> int:
    """Rows of patients that SQL counts more than once."""
    said = runs.query("SELECT count(*) - count(DISTINCT (run, patient, arm)) AS n FROM patients")
    return int(said["n"][0])


def test_what_one_sweep_was_given_is_a_column_of_all(inside: Any) -> None:
    assert inside("-m", f"{HILL}=1,2") == 0
    assert inside("-m", f"{HILL}=1,2", f"{KILL}=0.1") == 0
    assert inside("cohort=low_burden", f"{HILL}=1") == 0
    runs = escape_abm.load("outputs")
    default = escape_abm.compose().biology.killing.kill_per_day
    assert runs.runs[KILL].tolist() == [default] * 2 + [0.1] * 2 + [default]
    assert runs.runs["seed"].tolist() == [1] * 5
    assert runs.runs["cohort"].tolist() == [None] * 4 + ["low_burden"]
    assert set(runs.query(f'SELECT DISTINCT "{KILL}" AS k FROM patients')["k"]) == {default, 0.1}
    two = runs.where("cohort IS NULL")
    assert set(two.plot().table.columns) >= {HILL, KILL}
    with pytest.raises(InputError, match=r"differ in cohort too.*where\("):
        runs.plot(HILL, KILL)
    with pytest.raises(InputError, match="cohort: 4 of 5 runs have no value"):
        runs.plot("cohort")
    with pytest.raises(InputError, match="holds for none of 5 runs"):
        runs.where("seed = 7")


def test_a_run_in_two_lists_is_one(inside: Any, tmp_path: Path) -> None:
    assert inside("-m", "seed=1,2") == 0
    assert inside("-m", f"{HILL}=1.5,2") == 0  # the default, found
    assert inside("seed=2") == 0
    shutil.copytree(min(tmp_path.glob("outputs/*/*/*_sweep_*")), "outputs/copy")
    runs = escape_abm.load("outputs")
    assert len(runs) == 3
    assert runs.listings.groupby("run").size().tolist() == [3, 2, 1]
    assert runs.runs["sweeps"].str.count(";").tolist() == [2, 1, 0]
    assert len(runs.patients()) == 6
    assert twice(runs) == 0
    assert runs.query("SELECT count(*) AS n FROM runs JOIN listings USING (run) WHERE sweep LIKE '%copy'")["n"][0] == 2


def test_a_run_has_what_every_list_says_of_it(inside: Any) -> None:
    """The default choice, found by the sweep that names it."""
    assert inside("seed=1") == 0
    assert inside("-m", "cohort=relapsed_ball,low_burden", f"{STRIP}=0.02") == 0
    runs = escape_abm.load("outputs")
    assert runs.runs["cohort"].tolist() == ["relapsed_ball", "low_burden"]
    assert runs.runs[STRIP].tolist() == [0.02, 0.02]
    assert len(runs.plot("cohort").table) == 4


def test_words_with_spaces_are_one_parameter(inside: Any) -> None:
    assert inside("-m", "seed=1,2", 'product.label="of a = b, c"') == 0
    runs = escape_abm.load("outputs")
    assert set(runs.parameters) == {"comparators", "trial", "cohort.size", "trajectories.patients", "product.label"}
    assert set(runs.patients()["product.label"]) == {"of a = b, c"}


def test_versions_of_code_stand_apart(inside: Any) -> None:
    """A run by other code, or under another library, is a run of its own, and is not drawn with the first."""
    assert inside("-m", f"{HILL}=1,2") == 0
    inside.script.write_text(TROUBLED + "# changed\n")
    code_of.cache_clear()
    assert inside("-m", f"{HILL}=1,2") == 0
    code_of.cache_clear()
    runs = escape_abm.load("outputs")
    assert runs.runs["code"].nunique() == 2
    counted = runs.query("SELECT code, count(*) AS n FROM patients GROUP BY code")
    assert counted["n"].tolist() == [4, 4]
    with pytest.raises(InputError, match=r"differ in code: .*\.where\(.*\.plot\('code', 'biology.killing.hill'\)"):
        runs.plot()
    assert len(runs.where(f"code = '{runs.runs['code'][0]}'").plot().table) == 4
    assert len(runs.plot("code", HILL).table) == 8


def test_experiments_stand_apart(inside: Any, tmp_path: Path) -> None:
    """One script in two files makes two experiments, whose code differs too."""
    assert inside("-m", f"{HILL}=1,2") == 0
    place = next(tmp_path.glob("outputs/troubled/*/*_sweep_*/0_*")) / "provenance.json"
    place.write_text(place.read_text().replace('"experiment": "troubled"', '"experiment": "other"'))
    runs = escape_abm.load("outputs")
    with pytest.raises(InputError, match=r"differ in experiment: other, troubled.*\.plot\('experiment'"):
        runs.plot(HILL)
    assert len(runs.plot("experiment", HILL).table) == 4


def test_a_library_that_differs_is_a_column(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from escape_abm.runs import fingerprint

    assert inside("seed=1") == 0
    here = fingerprint.library("numba")
    monkeypatch.setattr(fingerprint, "library", lambda name: "0.1" if name == "numba" else here)
    code_of.cache_clear()
    assert inside("seed=1") == 0
    code_of.cache_clear()
    assert escape_abm.load("outputs").runs["numba"].tolist() == [here, "0.1"]


def test_settings_that_differ_unsaid_are_a_column(inside: Any, tmp_path: Path) -> None:
    """One name of a biology, and two contents."""
    mine = tmp_path / "mine" / "biology" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    for rate in (0.5, 2.5):
        mine.write_text(f"defaults: [fitted, _self_]\nkilling:\n  kill_per_day: {rate}\n")
        assert inside("-m", "biology=mine", "seed=1", "--config-dir", "mine") == 0
    runs = escape_abm.load("outputs")
    assert runs.parameters[-1] == KILL
    assert runs.runs[KILL].tolist() == [0.5, 2.5]
    assert runs.runs["biology"].tolist() == ["mine", "mine"]


def test_whole_numbers_stay_whole(inside: Any) -> None:
    assert inside("-m", f"{HILL}=1,2") == 0
    assert inside("-m", f"seed={LAST - 1},{LAST}") == 0
    assert inside("trajectories.every_days=7", "engine.sample_cells=null") == 0
    runs = escape_abm.load("outputs")
    assert runs.runs["seed"].tolist() == [1, 1, LAST - 1, LAST, 1]
    assert runs.runs["seed"].dtype == "int64"
    assert runs.runs["trajectories.every_days"].dtype == "int64"
    assert runs.runs["engine.sample_cells"].isna().all()
    for table in (runs.patients(), runs.summary(), runs.trajectories()):
        assert {LAST - 1, LAST} <= set(table["seed"])
        assert table["seed"].dtype == "int64"
    answer = runs.query(f"SELECT {LAST} AS a, 1.5 AS b, sum(1) AS c UNION ALL SELECT NULL, 2, 1")
    assert answer["a"].tolist() == [LAST, pd.NA]
    assert [str(kind) for kind in answer.dtypes] == ["Int64", "float64", "int64"]


def test_sweeps_of_different_keys_are_no_map(inside: Any) -> None:
    assert inside("-m", f"{HILL}=1,2") == 0
    assert inside("-m", f"{STRIP}=0.01,0.05") == 0
    runs = escape_abm.load("outputs")
    with pytest.raises(InputError, match=r"were not varied together: 4 of 9 pairs.*\.where\("):
        runs.plot()
    with pytest.raises(InputError, match=r"not every value of biology.killing.hill was run with the same"):
        runs.plot(HILL)
    assert len(runs.where(f'"{STRIP}" = 0.02').plot().table) == 4
    assert inside("-m", f"{KILL}=2,3") == 0
    with pytest.raises(InputError, match=r"not 3: .*Pass them by name.*\.where\("):
        escape_abm.load("outputs").plot()


def test_a_longer_run_takes_the_place_of_a_shorter_in_pictures(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert inside("-m", f"{HILL}=1,2", "cohort.size=6") == 0
    alone = escape_abm.load("outputs").plot().table
    assert inside("-m", f"{HILL}=1,2", "cohort.size=3") == 0
    runs = escape_abm.load("outputs")
    assert runs.runs["patients"].tolist() == [6, 6, 3, 3]
    monkeypatch.chdir("/")  # where tables are read from is settled when they are loaded
    pd.testing.assert_frame_equal(runs.plot().table, alone)


def test_a_job_given_twice_is_computed_and_counted_once(inside: Any, tmp_path: Path) -> None:
    assert inside("-m", "seed=1,1,2", f"{HILL}=1,1.0") == 0
    sweep = the_sweep(tmp_path)
    jobs, patients = pd.read_csv(sweep / "jobs.csv"), pd.read_parquet(sweep / "patients.parquet")
    assert len(jobs) == 6
    assert patients.groupby("seed").size().to_dict() == {1: 2, 2: 2}
    assert pd.read_csv(sweep / "summary.csv").groupby("seed")["job"].nunique().to_dict() == {1: 1, 2: 1}
    runs = escape_abm.load(sweep)
    assert runs.runs["run"].tolist() == [0, 4]
    assert len(runs.listings) == 6
    assert len(runs.patients()) == 4
