"""What a run or a sweep does when the machine fails it; docs/faults.md lists every fault with its test."""

from __future__ import annotations

import ast
import errno
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from escape_abm.inputs.settings import Settings
from escape_abm.interface import painters
from escape_abm.runs import run_folder
from escape_abm.runs.provenance import Damaged
from escape_abm.trials import checkpoints, virtual_trial
from escape_abm.trials.virtual_trial import TrialResult
from tests.runs.troubled import ROOT, computed, the_sweep


def test_every_fault_has_a_test() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| fault"))]
    assert len(rows) >= 15
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, test in named:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> dict[int, BaseException]:
    """Errors that trials of these seeds meet."""
    errors: dict[int, BaseException] = {}
    plain = run_folder.run_trial

    def run_trial(settings: Settings, *args: Any) -> TrialResult:
        if settings.seed in errors:
            raise errors[settings.seed]
        return plain(settings, *args)

    monkeypatch.setattr(run_folder, "run_trial", run_trial)
    return errors


def test_a_job_out_of_memory_is_one_failed_job(inside: Any, breaks: dict[int, BaseException], tmp_path: Path) -> None:
    breaks[2] = MemoryError("Unable to allocate 80 GiB")
    assert inside("-m", "seed=1,2,3") == 1
    jobs = pd.read_csv(the_sweep(tmp_path) / "jobs.csv")
    assert jobs["status"].tolist() == ["done", "failed", "done"]
    assert jobs["error"][1] == "MemoryError: Unable to allocate 80 GiB"
    breaks.clear()
    assert inside("-m", "seed=1,2,3") == 0


def test_ctrl_c_stops_a_sweep_between_jobs(
    inside: Any, breaks: dict[int, BaseException], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    breaks[2] = KeyboardInterrupt()
    assert inside("-m", "seed=1,2") == 130
    assert "the same command goes on from there" in capsys.readouterr().out
    assert not list(tmp_path.rglob("jobs.csv"))
    breaks.clear()
    computed(tmp_path)
    assert inside("-m", "seed=1,2") == 0
    assert len(pd.read_parquet(the_sweep(tmp_path) / "patients.parquet")) == 4


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_request_to_end_keeps_finished_patients(
    inside: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM, as batch systems send it: a run keeps its patients, a sweep its jobs, and the command goes on."""
    plain, ended = virtual_trial.run_patient, []

    def run_patient(index: int, settings: Settings) -> Any:
        if index == 2 and not ended:
            ended.append(index)
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(index, settings)

    monkeypatch.setattr(virtual_trial, "run_patient", run_patient)
    for words in (["seed=7", "cohort.size=4"], ["-m", "seed=8,9", "cohort.size=4"]):
        ended.clear()
        assert inside(*words) == 130
        assert "the same command goes on from there" in "".join(capsys.readouterr())
        if words[0] == "-m":
            assert not list(tmp_path.rglob("jobs.csv"))
        else:
            (kept,) = tmp_path.rglob(".kept/*")
            assert sorted(checkpoints.saved(kept)) == [0, 1]
        assert inside(*words) == 0
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("name", ["patients.parquet", "trajectories.parquet", "summary.csv"])
@pytest.mark.parametrize("fault", ["cut", "empty", "missing", "foreign"])
def test_what_draws_names_a_damaged_file(name: str, fault: str, tmp_path: Path, settings: Settings) -> None:
    file = tmp_path / name
    if fault != "missing":
        file.write_bytes({"cut": b"PAR1 and no more", "empty": b"", "foreign": b"PAR1 a,b\n\x00PAR1"}[fault])
    run = painters.Made(settings, tmp_path, {})
    draw = {"summary.csv": "by_product", "trajectories.parquet": "courses", "patients.parquet": "flow"}[name]
    more = {"patients": 1, "products": 1} if draw == "courses" else {}
    with pytest.raises(Damaged, match=rf"{name}: cannot be read: .*\. Delete its folder, and give the command"):
        painters.PAINTERS[draw]([run], **more)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EDQUOT])
def test_a_disk_that_turns_away_writes(
    number: int, inside: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a run: one message, no run that counts as finished, and the same command mends it."""
    plain = os.replace

    def replace(source: Any, to: Any) -> None:
        if Path(to).name == "summary.csv":
            raise OSError(number, os.strerror(number))
        plain(source, to)

    monkeypatch.setattr(os, "replace", replace)
    said = str(inside("seed=4"))
    assert os.strerror(number) in said
    assert "make room, or choose a folder" in said
    assert not list(tmp_path.rglob("outputs/*/*/*/provenance.json"))
    monkeypatch.setattr(os, "replace", plain)
    assert inside("seed=4") == 0


def test_a_clock_set_back_hides_nothing(inside: Any, tmp_path: Path) -> None:
    """Runs of days to come are found, gone on with and not computed again."""
    assert inside("-m", "seed=1,2") == 0
    assert inside("seed=3") == 0
    (day,) = tmp_path.glob("outputs/troubled/20*")
    day.rename(day.with_name("2999-12-31"))
    (job,) = the_sweep(tmp_path).glob("1_*")
    shutil.rmtree(job)
    computed(tmp_path)
    assert inside("-m", "seed=1,2") == 0
    assert inside("seed=3") == 0
    assert computed(tmp_path) == [2]
    assert the_sweep(tmp_path).parent.name == "2999-12-31"
