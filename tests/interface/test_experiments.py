"""The main job as a user runs it: files, identical repeats, sweeps, and nothing half-written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.interface.prompt import in_front

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "experiments" / "compare_products.py")
SMALL = ("cohort.size=6", "trajectories.patients=2")


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *words], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small run of the main job, by its default folder."""
    cwd = tmp_path_factory.mktemp("main_job")
    done = run(*SMALL, "workers=2", cwd=cwd)
    assert done.returncode == 0, done.stderr
    (folder,) = cwd.glob("outputs/compare_products/*/*")
    assert str(folder) in done.stdout
    assert "auto1_22" in done.stdout
    assert "figures/relapse_by_product.png  first" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr  # colour on a terminal only
    return folder


def test_files_of_a_run(finished: Path) -> None:
    there = {str(p.relative_to(finished)) for p in finished.rglob("*") if p.is_file()}
    pictures = {
        "relapse_by_product",
        "outcomes_by_product",
        "mechanisms_by_product",
        "cumulative_incidence",
        "courses",
    }
    expected = {f"figures/{name}.{kind}" for name in pictures for kind in ("png", "svg", "csv")}
    expected |= {".hydra/config.yaml", ".hydra/overrides.yaml", ".hydra/hydra.yaml", "provenance.json"}
    expected |= {"patients.parquet", "trajectories.parquet", "summary.csv", "contrasts.csv"}
    assert expected <= there
    assert not (finished / ".partial").exists()


def test_provenance(finished: Path) -> None:
    about = json.loads((finished / "provenance.json").read_text())
    assert about["seed"] == 1
    assert about["ended"] == "completed"
    assert about["libraries"]["numpy"]
    assert about["settings"]["cohort"]["size"] == 6


def test_tables_of_a_run(finished: Path) -> None:
    patients = pd.read_parquet(finished / "patients.parquet")
    assert len(patients) == 6 * 9
    courses = pd.read_parquet(finished / "trajectories.parquet")
    assert list(courses.columns) == ["patient", "arm", "day", "group", "cells"]
    summary = pd.read_csv(finished / "summary.csv")
    columns = ["arm", "endpoint", "month", "estimate", "lower", "upper", "n", "standard_error"]
    assert list(summary.columns) == columns


def test_again_with_one_worker_gives_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    done = run(*SMALL, "workers=1", "hydra.run.dir=again", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "again")]
    assert "patients" not in done.stderr
    for name in ("patients.parquet", "trajectories.parquet", "summary.csv", "contrasts.csv", "figures/courses.svg"):
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes(), name


def test_verbose_tells_what_differs_from_the_rows(
    finished: Path, command: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # as before, when this is over
    command("compare_products", *SMALL, f"hydra.run.dir={finished}", "--verbose")
    told = " ".join(capsys.readouterr().out.split())
    assert "biology.killing.kill_per_day 5.513; 2.9" in told
    assert "cohort.size" in told


def test_a_finished_run_is_never_overwritten(finished: Path, command: Callable[..., str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.glob("*.*")}
    said = command("compare_products", "cohort.size=2", "trajectories.patients=2", f"hydra.run.dir={finished}")
    assert "already holds a finished run" in said
    assert {p: p.stat().st_mtime_ns for p in finished.glob("*.*") if p in before} == before


def interrupt(job: subprocess.Popen[str]) -> str:
    """Press Ctrl-C as a user would, again if nothing happens: a compiler may swallow the first. Gives what was said."""
    with job:
        try:
            for _ in range(20):
                job.send_signal(signal.SIGINT)
                try:
                    return job.communicate(timeout=6)[1]
                except subprocess.TimeoutExpired:
                    continue
            raise AssertionError("it did not stop")
        finally:
            job.kill()


def test_an_interrupted_run_keeps_its_patients_and_all_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("not ours")
    words = [sys.executable, SCRIPT, "cohort.size=100000", "comparators=none", "workers=1", f"hydra.run.dir={tmp_path}"]
    job = in_front(words, tmp_path)
    while not list(tmp_path.glob(".kept/*/*.json.gz")) and job.poll() is None:
        time.sleep(0.1)
    said = interrupt(job)
    assert job.returncode == 130
    assert "patients are kept: the same command goes on from there" in said
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == ["mine.txt"]


def test_a_run_interrupted_before_its_first_patients_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("not ours")
    slow = "engine=cells", "engine.sample_cells=1e5", "engine.size_limit_cells=1e6", "trajectories.patients=0"
    words = [sys.executable, SCRIPT, "comparators=none", "trial=none", "workers=1", *slow, f"hydra.run.dir={tmp_path}"]
    job = in_front(words, tmp_path)
    while not (tmp_path / ".hydra" / "overrides.yaml").exists() and job.poll() is None:
        time.sleep(0.05)
    time.sleep(1)
    said = interrupt(job)
    assert job.returncode == 130
    assert "Nothing of this run was kept" in said
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_sweep_over_two_groups(tmp_path: Path, command: Callable[..., str]) -> None:
    said = command(
        "compare_products", "-m", "product=tandem,sequential", "cohort=relapsed_ball,low_burden", "comparators=none",
        "cohort.size=2", "seed=7", "workers=1", "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert said == ""
    arms = [pd.read_csv(tmp_path / "sweep" / str(i) / "summary.csv")["arm"].unique().tolist() for i in range(4)]
    assert arms == [["tandem"], ["tandem"], ["sequential"], ["sequential"]]
    together = pd.read_csv(tmp_path / "sweep" / "summary.csv")
    assert together.groupby("job")["cohort"].first().tolist() == ["relapsed_ball", "low_burden"] * 2
