"""Sweeps as a user runs them: what is missing is computed, what fails is named, no byte depends on what happened."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from escape_abm.__main__ import main as tool
from escape_abm.runs.executors import Executor, WorkerDied, open_workers
from escape_abm.runs.run_folder import StorageError, storage
from tests.runs.troubled import SMALL, computed, small, tables, the_sweep

# -------------------------------------------------------------------------------------------------------------- failing


def test_one_bad_job(troubled: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """19 of 20 are done, the bad one is named, its error is in its folder; a second call does one job."""
    (tmp_path / "fail_7").touch()
    assert troubled("-m", "seed=range(20)") == 1
    assert computed(tmp_path) == [s for s in range(20) if s != 7]
    folder = the_sweep(tmp_path)
    (bad,) = folder.glob("7_n2_*")
    assert "RuntimeError: trouble with seed 7" in (bad / "error.txt").read_text()
    assert "Traceback" in (bad / "error.txt").read_text()
    assert "seed: 7" in (bad / ".hydra" / "config.yaml").read_text()
    said = capsys.readouterr().err
    last = said.strip().splitlines()[-1]
    assert "job 7 " in last
    assert "seed=7" in last
    assert "RuntimeError: trouble with seed 7" in last
    jobs = pd.read_csv(folder / "jobs.csv")
    assert jobs["status"].value_counts().to_dict() == {"done": 19, "failed": 1}
    assert pd.read_parquet(folder / "patients.parquet")["seed"].nunique() == 19

    assert troubled("-m", "seed=range(20)", "sweep.retry_failed=false") == 1
    assert computed(tmp_path) == []
    (tmp_path / "fail_7").unlink()
    assert troubled("-m", "seed=range(20)") == 0
    assert computed(tmp_path) == [7]
    assert not (bad / "error.txt").exists()
    assert len(pd.read_parquet(the_sweep(tmp_path) / "patients.parquet")) == 40
    assert troubled("-m", "seed=range(20)") == 0
    assert computed(tmp_path) == []


def test_fail_fast(troubled: Any, tmp_path: Path) -> None:
    (tmp_path / "fail_0").touch()
    assert troubled("-m", "seed=range(12)", "workers=1", "sweep.fail_fast=true") == 1
    assert len(computed(tmp_path)) < 11
    assert "missing" in set(pd.read_csv(the_sweep(tmp_path) / "jobs.csv")["status"])


def test_a_worker_that_dies_does_not_end_the_sweep(troubled: Any, tmp_path: Path) -> None:
    (tmp_path / "die_once_2").touch()
    (tmp_path / "die_4").touch()
    assert troubled("-m", "seed=range(6)") == 1
    jobs = pd.read_csv(the_sweep(tmp_path) / "jobs.csv")
    assert jobs["status"].tolist() == ["done"] * 4 + ["failed", "done"]
    assert "lost twice" in jobs["error"][4]
    assert "SIGKILL" in jobs["error"][4]


def test_a_full_disk_stops_the_sweep(troubled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system of half a megabyte, where mounting is allowed."""
    small = tmp_path / "outputs"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(small)]
    if os.name != "posix" or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        said = str(troubled("-m", "seed=range(40)"))
        assert "No space left on device" in said
        assert "make room" in said
        written = [p for p in small.rglob("provenance.json") if p.parent.name != ".partial"]
        for done in written:
            assert tool(["check", str(done.parent)]) == 0
        n = len(written)
        assert 0 < n < 40
        assert not list(small.rglob("jobs.csv"))
        said = str(troubled("seed=99", "trajectories.patients=2", "cohort.size=20"))
        assert "No space left on device" in said
        computed(tmp_path)
        subprocess.run(["mount", "-o", "remount,size=50m", str(small)], check=True)
        assert troubled("-m", "seed=range(40)") == 0
        assert len(computed(tmp_path)) == 40 - n
        assert len(pd.read_parquet(next(iter(small.rglob("*_sweep_*/patients.parquet"))))) == 80
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_folder_that_cannot_be_written(troubled: Any, tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file where the folder should be")
    for words in ((), ("-m", "seed=1,2")):
        said = str(troubled(*words))
        assert "Not a directory" in said or "File exists" in said
        assert "give the same command again" in said
    (tmp_path / "mine").touch()
    for key, words in {"hydra.run.dir": (), "hydra.sweep.dir": ("-m", "seed=1,2")}.items():
        assert "mine: File exists" in str(troubled(*words, f"{key}=mine"))
        if sys.platform == "linux":
            said = str(troubled(*words, f"{key}=/proc/foo"))
            assert said.startswith("/proc/foo: No such file or directory")
            assert "that can be written with hydra.run.dir" in said
    assert computed(tmp_path) == []


def test_what_the_system_refuses_is_said_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"Read-only file system.*hydra\.run\.dir"), storage(tmp_path):
        raise OSError(30, "Read-only file system")
    with pytest.raises(FileNotFoundError), storage(tmp_path):  # which is something else
        raise FileNotFoundError(2, "No such file or directory")


# ---------------------------------------------------------------------------------------------------------- concurrency


@pytest.mark.slow
def test_sweeps_at_the_same_time_do_not_mix(troubled: Any, tmp_path: Path) -> None:
    """Two of the same jobs compute each once; another one of other jobs stays apart."""
    words = [sys.executable, str(troubled.script), "-m", *SMALL]
    ranges = ("range(8)", "range(8)", "range(20,26)")
    jobs = [subprocess.Popen([*words, f"seed={r}"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) for r in ranges]
    said = [job.communicate()[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0]
    assert computed(tmp_path) == [*range(8), *range(20, 26)]
    sweeps = sorted(tmp_path.glob("outputs/troubled/*/*_sweep_*"), key=lambda p: len(list(p.iterdir())))
    assert [sorted(pd.read_csv(s / "jobs.csv")["seed"]) for s in sweeps] == [list(range(20, 26)), list(range(8))]
    assert sum("Another process works on this sweep" in text for text in said) <= 1


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_no_byte_differs(kills: Any, tmp_path: Path) -> None:
    """`benchmarks/kills.py` does the same with 40 jobs and 50 kills."""
    kills.check_kills(tmp_path, jobs=8, kills=5, size=30)


@pytest.mark.slow
def test_workers_order_and_kills_move_no_byte(kills: Any, tmp_path: Path) -> None:
    """Four ways that hold every pair; `benchmarks/kills.py` does the same with 50 configurations, eight ways each."""
    kills.check_orders(tmp_path, configs=5, half=True)


@pytest.mark.slow
def test_dask_gives_the_same_bytes_though_a_worker_dies(troubled: Any, tmp_path: Path) -> None:
    """Two worker processes of a real cluster; one is killed in the middle."""
    pytest.importorskip("distributed")
    assert troubled("-m", "seed=range(6)", "hydra.sweep.dir=here") == 0
    (tmp_path / "die_once_3").touch()
    assert troubled("-m", "seed=range(6)", "hydra.sweep.dir=there", "executor=dask") == 0
    assert not (tmp_path / "die_once_3").exists()
    for i in range(6):
        assert tables(tmp_path / "here" / str(i)) == tables(tmp_path / "there" / str(i))
    for name in ("patients.parquet", "summary.csv"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


@pytest.mark.slow
def test_slurm_gives_the_same_bytes(troubled: Any, tmp_path: Path) -> None:
    """On a cluster that is there; docs/sweeps.md says how to start one on a single machine."""
    pytest.importorskip("submitit")
    if shutil.which("sbatch") is None or subprocess.run(["sinfo"], check=False, capture_output=True).returncode:
        pytest.skip("there is no Slurm here")
    assert troubled("-m", "seed=range(6)", "hydra.sweep.dir=here") == 0
    (tmp_path / "die_once_3").touch()
    assert troubled("-m", "seed=range(6)", "hydra.sweep.dir=there", "executor=slurm", "executor.memory_gb=1") == 0
    for i in range(6):
        assert tables(tmp_path / "here" / str(i)) == tables(tmp_path / "there" / str(i))


def _double(x: int) -> int:
    if x == 3:
        os._exit(5)
    if x == 4:
        raise ValueError("four")
    return 2 * x


def test_processes_give_back_what_comes_of_each_task(tmp_path: Path) -> None:
    with open_workers(Executor(), 2, tmp_path) as workers:
        futures = workers.submit(_double, range(6))
        assert [futures[i].result() for i in (0, 1, 2, 5)] == [0, 2, 4, 10]
        with pytest.raises(WorkerDied, match="exit code 5"):
            futures[3].result()
        with pytest.raises(ValueError, match="four"):
            futures[4].result()


def test_a_killed_caller_leaves_no_worker_behind(troubled: Any, tmp_path: Path) -> None:
    words = [sys.executable, str(troubled.script), "-m", *small("cohort.size=3000", "seed=range(8)")]
    job = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "computed.txt").exists():
        time.sleep(0.1)
        assert job.poll() is None
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children")
    if not children.exists():
        job.kill()
        pytest.skip("this system does not tell the children of a process")
    mine = [
        int(p) for thread in Path(f"/proc/{job.pid}/task").iterdir() for p in (thread / "children").read_text().split()
    ]
    assert mine
    job.kill()
    job.wait()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{p}").exists() and "Z" not in Path(f"/proc/{p}/stat").read_text().split()[2] for p in mine):
        assert time.monotonic() < deadline
        time.sleep(0.1)
