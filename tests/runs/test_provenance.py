"""Damaged, foreign and moved files: told by name with the way out, passed over if possible, found by `check`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import escape_abm
from escape_abm.__main__ import main as tool
from escape_abm.inputs.checks import InputError
from tests.runs.troubled import computed

HILL = "biology.killing.hill"


def empty(place: Path) -> None:
    place.write_bytes(b"")


def cut(place: Path) -> None:
    place.write_bytes(place.read_bytes()[: place.stat().st_size // 2])


def garbled(place: Path) -> None:
    """Its beginning and its end are as they were."""
    data = place.read_bytes()
    half = len(data) // 2
    place.write_bytes(data[:half] + b"\xff" * (half - 8) + data[-8:])


def foreign(place: Path) -> None:
    """A good file of its kind, of something else."""
    table = pd.DataFrame({"a": [1], "b": [2]})
    if place.suffix == ".parquet":
        table.to_parquet(place)
    else:
        place.write_text(table.to_csv(index=False) if place.suffix == ".csv" else '["of", "another", "tool"]\n')


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stored runs are made once."""
    return tmp_path_factory.mktemp("made") / "outputs"


@pytest.fixture
def stored(inside: Any, made: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A sweep of two jobs, and a run outside of it."""
    if not made.exists():
        assert inside("-m", f"{HILL}=1,2") == 0
        assert inside("seed=7") == 0
        shutil.copytree("outputs", made)
        computed(tmp_path)
    else:
        shutil.copytree(made, "outputs")
    (sweep,), (single,) = tmp_path.glob("outputs/*/*/*_sweep_*"), tmp_path.glob("outputs/*/*/*_n2_*")
    return sweep, single


def refusals() -> list[str]:
    """What each reader of outputs/ says when it refuses; an error that is none of ours ends the test."""
    out: list[str] = []

    def attempt(do: Callable[[], Any]) -> None:
        try:
            do()
        except InputError as error:
            out.append(str(error))

    runs = escape_abm.load("outputs")
    for table in (runs.patients, runs.summary, runs.trajectories):
        attempt(table)
    for run in runs.runs["run"]:
        attempt(partial(runs.result, int(run)))
    attempt(lambda: runs.where("seed = 1").plot(HILL))
    assert tool(["list", "outputs"]) == 0
    return out


@pytest.mark.parametrize(
    ("name", "damage"),
    [("provenance.json", empty), ("provenance.json", foreign), ("patients.parquet", cut), ("patients.parquet", garbled),
     ("patients.parquet", foreign), ("summary.csv", empty), ("contrasts.csv", Path.unlink)],
)  # fmt: skip
def test_a_damaged_file_of_a_run(
    name: str, damage: Any, stored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (job,), single = stored[0].glob("0_*"), stored[1]
    for folder in (job, single):
        damage(folder / name)
    out = refusals()
    assert all(name in text and "give the command of the run again" in text for text in out), out
    told = capsys.readouterr().err
    if name != "contrasts.csv" and damage is not garbled:
        assert f"{single}/{name}: " in told  # left out
        assert "Delete its folder, and give the command of the run again" in told
        left = escape_abm.load(single.parent)
        assert set((left.summary() if name == "summary.csv" else left.patients())["seed"]) == {1}
    assert tool(["check", "outputs"]) == 1
    said = capsys.readouterr().out
    assert said.count(f"{name} ") + said.count(f"{name}: ") == 2
    assert "2 faults" in said


def test_what_only_looks_like_ours(stored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The right keys with the wrong content, a folder in place of a file, and a list with other numbers."""
    (first,), (second,) = stored[0].glob("0_*"), stored[0].glob("1_*")
    about = json.loads((first / "provenance.json").read_text())
    (first / "provenance.json").write_text(json.dumps(about | {"settings": {}}))
    (second / "provenance.json").unlink()
    (second / "provenance.json").mkdir()
    about = json.loads((stored[1] / "provenance.json").read_text())
    about["settings"]["clinic"] = {"of": "an older version"}
    (stored[1] / "provenance.json").write_text(json.dumps(about))
    runs = escape_abm.load("outputs")
    assert len(runs.patients()) == 6
    with pytest.raises(InputError, match=r"provenance.json: of another version, or changed: .*clinic"):
        runs.result(2)
    jobs = stored[0] / "jobs.csv"
    jobs.write_text(jobs.read_text().replace("\n1,", "\n8,"))
    assert len(escape_abm.load("outputs")) == 1
    told = capsys.readouterr().err
    for words in ("is not what a run of ours writes", "Is a directory", "jobs.csv: is not the list of this sweep"):
        assert words in told
    assert tool(["check", "outputs"]) == 1


def test_damaged_runs_are_not_verified(stored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    cut(stored[1] / "provenance.json")
    (stored[1].parent / "foreign").mkdir()
    foreign(stored[1].parent / "foreign" / "provenance.json")
    (job,) = stored[0].glob("0_*")
    (job / "summary.csv").unlink()
    assert tool(["verify", "outputs", "--sample", "9"]) == 1
    said = capsys.readouterr().out
    assert f"{stored[1].name}: provenance.json: was cut or changed, and cannot be read" in said
    assert "provenance.json: was not written by this version of escape_abm" in said
    assert "troubled.py, which is none of" in said  # a script that is neither ours nor trusted is not run
    assert "0 of 4 runs came out the same" in said


@pytest.mark.parametrize(
    ("name", "damage"),
    [("jobs.csv", empty), ("jobs.csv", foreign), ("jobs.csv", cut), ("sweep.yaml", cut), ("sweep.yaml", Path.unlink),
     ("patients.parquet", cut), ("patients.parquet", garbled), ("summary.csv", foreign), ("summary.csv", Path.unlink)],
)  # fmt: skip
def test_a_damaged_file_of_a_sweep(
    name: str, damage: Any, stored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    damage(stored[0] / name)
    assert refusals() == []
    runs = escape_abm.load("outputs")
    assert (len(runs), len(runs.patients()), runs.summary()["run"].nunique()) == (3, 6, 3)
    capsys.readouterr()
    assert tool(["check", "outputs"]) == 1
    assert name in capsys.readouterr().out


def test_the_same_command_mends_a_run(
    inside: Any, stored: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged run counts as none: it is computed again, and the rest is left alone."""
    (first,), (second,) = stored[0].glob("0_*"), stored[0].glob("1_*")
    whole = (second / "patients.parquet").read_bytes()
    empty(first / "provenance.json")
    cut(second / "patients.parquet")
    empty(stored[1] / "summary.csv")
    assert inside("-m", f"{HILL}=1,2") == 0
    assert inside("seed=7") == 0
    assert "a file of it is damaged; it goes on in" in capsys.readouterr().out
    assert computed(tmp_path) == [1, 1, 7]
    assert (second / "patients.parquet").read_bytes() == whole
    assert tool(["check", "outputs"]) == 0


def test_what_cannot_be_joined_is_named_and_the_rest_is(
    inside: Any, stored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (job,) = stored[0].glob("0_*")
    for damage, name in ((garbled, "patients.parquet"), (foreign, "summary.csv")):
        damage(job / name)
        assert inside("-m", f"{HILL}=1,2") == 1
        said = capsys.readouterr().err
        assert f"{job.name}/{name}: " in said
        assert "Delete its folder, and give the command of the run again" in said
        assert pd.read_csv(stored[0] / "jobs.csv")["status"].tolist() == ["failed", "done"]
        assert set(pd.read_parquet(stored[0] / "patients.parquet")["job"]) == {1}
        shutil.rmtree(job)
        assert inside("-m", f"{HILL}=1,2") == 0


def test_a_sweep_by_hand_survives_its_record(inside: Any, tmp_path: Path) -> None:
    """The folder tells what it holds when `sweep.yaml` does not; a stranger is refused all the same."""
    words = ("-m", "seed=3,4", "hydra.sweep.dir=mine")
    assert inside(*words) == 0
    empty(tmp_path / "mine" / "sweep.yaml")
    assert "holds another sweep" in str(inside("-m", "seed=5,6", "hydra.sweep.dir=mine"))
    (tmp_path / "mine" / "sweep.yaml").unlink()
    assert inside(*words) == 0
    assert computed(tmp_path) == [3, 4]
    assert sorted(p.name for p in (tmp_path / "mine").iterdir() if p.is_dir()) == ["0", "1"]


def test_a_run_by_hand_with_damaged_provenance_is_not_overwritten(inside: Any, tmp_path: Path) -> None:
    assert inside("hydra.run.dir=mine") == 0
    cut(tmp_path / "mine" / "provenance.json")
    said = str(inside("hydra.run.dir=mine"))
    assert "mine/provenance.json: was cut or changed" in said
    assert "choose another folder" in said


def test_a_moved_sweep_stays_whole_or_says_what_it_lacks(
    inside: Any, stored: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs that a sweep found in other folders are in its tables, with all that tells them apart."""
    assert inside("-m", f"{HILL}=1,2,3", "biology.killing.stripping_per_contact=0.02") == 0
    second = max(tmp_path.glob("outputs/*/*/*_sweep_*"))
    before = escape_abm.load(second)
    table = before.plot().table
    shutil.copytree(second, tmp_path / "away" / "copy")
    capsys.readouterr()
    moved = escape_abm.load(tmp_path / "away" / "copy")
    said = capsys.readouterr().err
    assert "copy: 2 of its 3 jobs are not whole, or not where jobs.csv says (was it moved?)" in said
    kept = [c for c in before.runs if c not in ("folder", "sweeps")]
    pd.testing.assert_frame_equal(moved.runs[kept], before.runs[kept])
    pd.testing.assert_frame_equal(moved.patients(), before.patients())
    pd.testing.assert_frame_equal(moved.summary(), before.summary())
    pd.testing.assert_frame_equal(moved.plot().table, table)
    with pytest.raises(InputError, match=r"0_n2_.*provenance.json: is missing"):
        moved.result(0)
    assert len(moved.result(2).patients) == 2
    assert tool(["check", str(tmp_path / "away")]) == 1
    assert "2 faults" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "away" / "copy" / "found")  # as sweeps of older versions are
    bare = escape_abm.load(tmp_path / "away")
    assert len(bare.patients()) == 6
    with pytest.raises(InputError, match="is not known without it"):
        bare.plot(HILL)


def test_a_foreign_list_of_jobs_hides_no_run(stored: tuple[Path, Path], tmp_path: Path) -> None:
    for place in (tmp_path / "outputs", stored[0].parent):
        (place / "jobs.csv").write_text("employer,salary\nme,1\n")
    assert len(escape_abm.load("outputs")) == 3
    assert tool(["check", "outputs"]) == 0
