"""Sweeps as a user runs them: what is missing is computed, what fails is named, no byte depends on what happened."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra

import escape_abm
from escape_abm.__main__ import main as tool
from escape_abm.inputs.checks import InputError
from escape_abm.interface.launch import launch
from escape_abm.runs.designs import Range, Sweep, plausible, points
from escape_abm.runs.executors import Executor, WorkerDied, open_workers
from escape_abm.runs.fingerprint import Experiment
from escape_abm.runs.jobs import load_task
from escape_abm.runs.run_folder import StorageError, storage, write_tables
from escape_abm.trials import checkpoints

ROOT = Path(__file__).parents[1]
SMALL = ("comparators=none", "trial=none", "cohort.size=2", "trajectories.patients=1", "workers=2")


def small(*words: str) -> list[str]:
    """These words, and those of SMALL whose keys are not among them."""
    given = {word.partition("=")[0] for word in words}
    return [*(word for word in SMALL if word.partition("=")[0] not in given), *words]


# An experiment whose jobs fail as files in the folder of the caller say.
TROUBLED = '''
"""Compares, with trouble."""
import os, signal
from pathlib import Path
from escape_abm.interface.launch import launch

def compare(settings, run):
    place = Path(os.environ["TROUBLE"])
    if (place / f"fail_{settings.seed}").exists():
        raise RuntimeError(f"trouble with seed {settings.seed}\\nand more")
    if (place / f"die_{settings.seed}").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if (place / f"die_once_{settings.seed}").exists():
        (place / f"die_once_{settings.seed}").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if not run.finished:
        with (place / "computed.txt").open("a") as log:
            log.write(f"{settings.seed}\\n")
    run.write(run.trial("patients").files(), {})

if __name__ == "__main__":
    launch(compare)
'''


@pytest.fixture
def troubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the troubled experiment in this process, in a folder of its own; gives the exit code."""
    script = tmp_path / "script" / "troubled.py"
    script.parent.mkdir()
    script.write_text(TROUBLED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TROUBLE", str(tmp_path))

    def run(*words: str) -> Any:
        load_task.cache_clear()
        task = load_task(Experiment("troubled", script, "compare"))
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["troubled.py", *small(*words)])
        try:
            launch(task)
        except SystemExit as stopped:
            return stopped.code
        return 0

    run.script = script  # type: ignore[attr-defined]
    return run


def computed(place: Path) -> list[int]:
    """Seeds in the order in which they were computed, since the last call."""
    log = place / "computed.txt"
    seeds = sorted(int(line) for line in log.read_text().split()) if log.exists() else []
    log.unlink(missing_ok=True)
    return seeds


def the_sweep(place: Path) -> Path:
    (folder,) = place.glob("outputs/troubled/*/*_sweep_*")
    return folder


def tables(folder: Path) -> dict[str, bytes]:
    names = ("patients.parquet", "trajectories.parquet", "summary.csv", "contrasts.csv")
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


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
        for done in small.rglob("provenance.json"):
            assert tool(["check", str(done.parent)]) == 0
        n = len(list(small.rglob("provenance.json")))
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


# ------------------------------------------------------------------------------------------------------------- identity


def test_the_same_run_is_found_extended_and_cut(
    troubled: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("cohort.size=3",), ("cohort.size=3", "workers=1")):
        assert troubled(*words) == 0
    assert "nothing is computed again" in capsys.readouterr().out
    assert troubled("cohort.size=7", "trajectories.patients=1") == 0
    assert "Patients are taken from" in capsys.readouterr().out
    assert troubled("cohort.size=2") == 0
    assert troubled("cohort.size=7", "hydra.run.dir=straight7") == 0
    assert troubled("cohort.size=2", "hydra.run.dir=straight2") == 0
    for n in (2, 7):
        (folder,) = tmp_path.glob(f"outputs/troubled/*/*_n{n}_*")
        assert tables(folder) == tables(tmp_path / f"straight{n}")


def test_extending_keeps_every_byte_of_a_rich_run(tmp_path: Path) -> None:
    """Transplants, earlier CAR, several arms, courses: from a shorter run and what a stopped one kept, or straight."""
    words = ["trial=eliana", "product=cd19_fmc63", "comparators=none", "+product@comparators.b=sequential"]
    settings = escape_abm.compose([*words, "cohort.size=14", "trajectories.patients=9", "workers=1"])
    straight = escape_abm.run_trial(settings)
    few = settings.model_copy(update={"cohort": settings.cohort.model_copy(update={"size": 6})})
    write_tables(tmp_path / "few", escape_abm.run_trial(few).files(), {})
    checkpoints.save(
        tmp_path / "kept", {i: escape_abm.trials.virtual_trial.run_patient(i, settings) for i in (8, 13, 40)}
    )
    (tmp_path / "kept" / "0_1_2.pkl").write_bytes(b"torn")
    told: list[int] = []
    again = escape_abm.trials.virtual_trial.run_trial(settings, told.append, tmp_path / "kept", tmp_path / "few")
    assert told[0] == 8
    assert sum(told) == 14
    write_tables(tmp_path / "straight", straight.files(), {})
    write_tables(tmp_path / "again", again.files(), {})
    assert tables(tmp_path / "straight") == tables(tmp_path / "again")


@pytest.mark.slow
def test_a_killed_run_goes_on_and_no_byte_differs(troubled: Any, tmp_path: Path) -> None:
    words = ("cohort.size=600", "trajectories.patients=4")
    line = [sys.executable, str(troubled.script), *small(*words)]
    job = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("outputs/troubled/*/*_n600_*/.kept/*/*.pkl")):
        time.sleep(0.05)
        assert job.poll() is None
    job.kill()
    job.wait()
    assert troubled(*words) == 0
    assert troubled(*words, "hydra.run.dir=straight") == 0
    (folder,) = tmp_path.glob("outputs/troubled/*/*_n600_*")
    assert tables(folder) == tables(tmp_path / "straight")
    assert not (folder / ".kept").exists()


def test_changed_code_is_said_and_nothing_is_overwritten(
    troubled: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert troubled("seed=5") == 0
    assert troubled("-m", "seed=5,6", "hydra.sweep.dir=mine") == 0
    troubled.script.write_text(TROUBLED + "# changed\n")
    from escape_abm.runs.fingerprint import code_of

    code_of.cache_clear()
    capsys.readouterr()
    assert troubled("seed=5") == 0
    assert "other code, and are computed anew beside" in capsys.readouterr().out
    assert troubled("-m", "seed=5,6", "hydra.sweep.dir=mine") == 0
    assert "2 jobs done by other code, computed beside it: troubled.py" in capsys.readouterr().out
    assert computed(tmp_path) == [5, 5, 5, 5, 6, 6]
    assert len(list((tmp_path / "mine").glob("*/provenance.json"))) == 4
    code_of.cache_clear()


def test_jobs_finished_elsewhere_are_not_computed_again(troubled: Any, tmp_path: Path) -> None:
    """More seeds extend a sweep; patients are added to each of its jobs."""
    assert troubled("-m", "seed=1,2") == 0
    assert troubled("-m", "seed=1,2,3") == 0
    assert computed(tmp_path) == [1, 2, 3]
    sweeps = sorted(tmp_path.glob("outputs/troubled/*/*_sweep_*"))
    jobs = pd.read_csv(sweeps[1] / "jobs.csv")
    assert jobs["status"].tolist() == ["found", "found", "done"]
    assert all((sweeps[1] / place / "provenance.json").exists() for place in jobs["folder"])
    assert len(pd.read_parquet(sweeps[1] / "patients.parquet")) == 6
    assert troubled("seed=2", "pictures=false") == 0
    assert computed(tmp_path) == []


def test_a_folder_of_another_sweep_is_refused(troubled: Any, tmp_path: Path) -> None:
    assert troubled("-m", "seed=1,2", "hydra.sweep.dir=mine") == 0
    assert troubled("-m", "seed=1,2,3", "hydra.sweep.dir=mine") == 0
    assert computed(tmp_path) == [1, 2, 3]
    assert "holds another sweep" in str(troubled("-m", "seed=4,5", "hydra.sweep.dir=mine"))
    assert sorted(p.name for p in (tmp_path / "mine").iterdir() if p.is_dir()) == ["0", "1", "2"]


def test_pictures_are_drawn_when_a_single_run_wants_them(tmp_path: Path) -> None:
    """A job of a sweep has none; the same settings as a single run take its patients and draw."""
    script = str(ROOT / "experiments" / "compare_products.py")

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, script, *SMALL, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        )  # fmt: skip
        return done.stdout

    run("-m", "seed=3,4")
    assert "Patients are taken from" in run("seed=3")
    (sweep,) = tmp_path.glob("outputs/*/*/*_sweep_*")
    (single,) = tmp_path.glob("outputs/*/*/*_n2_*")
    assert (single / "figures" / "courses.png").exists()
    assert tables(single) == tables(next(iter(sweep.glob("0_*"))))
    assert "nothing is computed again" in run("seed=3")


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


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("kills")


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


# -------------------------------------------------------------------------------------------------------------- designs


def test_grid_and_zip() -> None:
    axes = {"a": (1, 2), "b": ("x", "y", "z")}
    grid = points(Sweep(), axes)
    assert [(p["a"], p["b"]) for p in grid] == [(1, "x"), (1, "y"), (1, "z"), (2, "x"), (2, "y"), (2, "z")]
    assert points(Sweep(design="zip"), {"a": (1, 2), "b": (3, 4)}) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    with pytest.raises(InputError, match="a has 2, b has 3"):
        points(Sweep(design="zip"), axes)
    assert points(Sweep(), {}) == [{}]


@pytest.mark.parametrize("design", ["latin_hypercube", "sobol"])
def test_samples_fill_their_ranges(design: Any) -> None:
    axes = {"a": Range(0.0, 1.0), "b": Range(1e-6, 1.0, log=True), "c": Range(1, 4, whole=True), "d": ("x", "y")}
    found = pd.DataFrame(points(Sweep(design=design, samples=64), axes))
    assert len(found) == 128
    x = found[found["d"] == "x"]
    assert sorted((x["a"] * 64).astype(int)) == list(range(64))  # one in each part
    assert x["b"].between(1e-6, 1).all()
    assert (x["b"] < 1e-3).sum() == 32
    assert x["c"].value_counts().to_dict() == {1: 16, 2: 16, 3: 16, 4: 16}
    assert found.equals(pd.DataFrame(points(Sweep(design=design, samples=64), axes)))
    assert not found.equals(pd.DataFrame(points(Sweep(design=design, samples=64, seed=2), axes)))


def test_more_sobol_samples_go_on_with_the_same() -> None:
    axes = {"a": Range(0, 1), "b": Range(0, 1)}
    assert points(Sweep(design="sobol", samples=16), axes) == points(Sweep(design="sobol", samples=32), axes)[:16]


def test_plausible_ranges_come_from_the_rows() -> None:
    rows = {"x": (1e-17, 1e-11), "y": (0.0, 2.5)}
    assert plausible("x", rows) == Range(1e-17, 1e-11, log=True)
    assert plausible("y", rows) == Range(0.0, 2.5)
    with pytest.raises(InputError, match="no parameter row"):
        plausible("z", rows)


BAD = {
    "sweep=zip seed=1,2 cohort=relapsed_ball": None,
    "sweep=zip seed=1,2 cohort.size=1,2,3": "pairs lists of one length",
    "sweep=sobol sweep.samples=12 regimen.dose_cells=interval(1e7,1e8)": "take 8 or 16",
    "sweep=sobol seed=1,2": "no range to sample",
    "regimen.dose_cells=interval(1e7,1e8)": "this is a range",
    "biology.car_t.rejection_first_day=plausible sweep=sobol": None,
    "sweep.replicates=3 seed=1,2": "leave one out",
    "sweep.sampels=3 seed=1,2": "Did you mean 'sweep.samples'",
    "executor=dsak seed=1,2": "Choices of executor",
    "executor.batch=0 seed=1,2": "at least 1",
    "hydra/launcher=basic seed=1,2": "executor=processes",
    "hydra.sweep.subdir=x seed=1,2": "leave this out",
    "sweep=latin_hypercube regimen.dose_cells=tag(log,interval(0,1))": "from above 0 on a log scale",
    "pictures=maybe seed=1,2": "true or false",
}


@pytest.mark.parametrize(("line", "rule"), [(k, v) for k, v in BAD.items() if v])
def test_bad_sweeps_stop_at_the_door(troubled: Any, tmp_path: Path, line: str, rule: str) -> None:
    said = str(troubled("-m", *line.split()))
    assert rule in said
    assert "Nothing was run and nothing was written." in said
    assert not (tmp_path / "outputs").exists()


def test_designs_from_the_command_line(troubled: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ranges, plausible ranges and replicates, beside a group; told by a dry run, which writes nothing."""
    words = (
        "-m", "sweep=sobol", "sweep.samples=4", "sweep.replicates=2", "product=tandem,cd19_fmc63",
        "biology.leukaemia.net_growth_per_day=interval(0.08,0.12)",
        "biology.antigens.cd19.silencing_per_division=plausible", "cohort.size=1",
    )  # fmt: skip
    assert troubled(*words, "sweep.dry_run=true") == 0
    said = capsys.readouterr().out
    assert "16 jobs: 16 missing" in said
    assert "16 to compute: new" in said
    assert "16 patients to compute on 2 workers: about" in said
    assert "MB" in said
    assert not (tmp_path / "outputs").exists()
    computed(tmp_path)
    assert troubled(*words) == 0
    assert computed(tmp_path) == [1] * 8 + [2] * 8
    jobs = pd.read_csv(the_sweep(tmp_path) / "jobs.csv")
    assert jobs["biology.leukaemia.net_growth_per_day"].between(0.08, 0.12).all()
    assert jobs["biology.leukaemia.net_growth_per_day"].nunique() == 4
    assert jobs["biology.antigens.cd19.silencing_per_division"].between(1e-15, 1e-10).all()
    about = json.loads(next(iter(the_sweep(tmp_path).glob("5_*/provenance.json"))).read_text())
    row = jobs.loc[5]
    assert about["settings"]["product"]["name"] == row["product"]
    assert (
        about["settings"]["biology"]["leukaemia"]["net_growth_per_day"] == row["biology.leukaemia.net_growth_per_day"]
    )
    assert troubled(*words, "sweep.dry_run=true") == 0
    assert "Nothing would be computed" in capsys.readouterr().out


def test_sweeps_that_a_configuration_asks_for(troubled: Any, tmp_path: Path) -> None:
    """Hydra's own ways to ask: its mode and its sweeper's parameters, and every form of its grammar."""
    own = tmp_path / "own" / "cohort"
    own.mkdir(parents=True)
    head = "# @package _global_\ndefaults: [/cohort/low_burden]\n"
    (own / "mine.yaml").write_text(head + "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '1,2'}}}\n")
    assert troubled("--config-dir", str(tmp_path / "own"), "cohort=mine") == 0
    assert computed(tmp_path) == [1, 2]
    assert troubled("hydra.mode=MULTIRUN", "seed=choice(5,6)", "product=glob(cd19_f*)", "hydra.sweep.dir=a") == 0
    assert pd.read_csv(tmp_path / "a" / "jobs.csv")["product"].unique().tolist() == ["cd19_fmc63", "cd19_fmc63_28z"]
    computed(tmp_path)
    assert troubled("-m", "seed=shuffle(range(4))", "+regimen.split_days=[0],[0]", "hydra.sweep.dir=b") == 0
    assert computed(tmp_path) == [0, 0, 1, 1, 2, 2, 3, 3]


# -------------------------------------------------------------------------------------------------------------- loading


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep and a single run."""
    place = tmp_path_factory.mktemp("load")
    script = str(ROOT / "experiments" / "compare_products.py")
    for words in (["-m", "seed=1,2", "product=tandem,bicistronic"], ["seed=3", "pictures=false"]):
        subprocess.run([sys.executable, script, *SMALL, *words], cwd=place, check=True, capture_output=True)
    return place / "outputs"


def test_load(outputs: Path) -> None:
    (sweep,) = outputs.glob("*/*/*_sweep_*")
    found = escape_abm.load(sweep)
    assert len(found) == 4
    assert found.runs["product"].tolist() == ["tandem", "bicistronic"] * 2
    assert found.runs["patients"].tolist() == [2] * 4
    patients = found.patients()
    assert patients.groupby(["seed", "product"]).size().tolist() == [2] * 4
    assert found.query("SELECT count(*) AS n FROM patients JOIN runs USING (run)")["n"][0] == 8
    summary = found.summary()
    assert {"run", "seed", "product", "arm", "endpoint", "estimate", "standard_error"} <= set(summary.columns)
    courses = found.trajectories()
    assert set(courses["product"]) == {"tandem", "bicistronic"}
    assert "4 runs" in found._repr_html_()
    with pytest.raises(InputError, match="patiens"):
        found.query("SELECT * FROM patiens")

    everything = escape_abm.load(outputs)
    assert len(everything) == 5
    assert everything.runs["seed"].tolist() == [1, 1, 2, 2, 3]
    assert len(everything.patients()) == 10
    assert set(everything.patients()["seed"]) == {1, 2, 3}
    single = escape_abm.load(everything.runs["folder"][4])
    assert len(single.patients()) == 2
    joined = everything.patients().query("run == 4").drop(columns=["run"])["burden_cells"].tolist()
    assert joined == single.patients()["burden_cells"].tolist()
    with pytest.raises(InputError, match="holds no finished run"):
        escape_abm.load(outputs.parent / "nothing")


def test_one_swept_parameter_is_drawn(tmp_path: Path) -> None:
    from escape_abm.figures.trials import relapse_against

    patients = escape_abm.run_trial(escape_abm.compose(["comparators=none", "cohort.size=8", "workers=1"])).patients
    table = pd.concat([patients.assign(rate=r) for r in (1e-6, 1e-4)])
    figure, drawn = relapse_against(table, "rate", 12)
    assert drawn["rate"].tolist() == [1e-6, 1e-6, 1e-4, 1e-4]
    assert figure.axes[0].get_xscale() == "log"


def test_the_same_patients_again_make_no_interval_narrower() -> None:
    from escape_abm.figures.trials import relapse_against

    words = ["trial=none", "product=cd19_fmc63", "comparators=none", "cohort.size=30", "workers=1"]
    one = escape_abm.run_trial(escape_abm.compose(words)).patients.assign(seed=1, rate=1.0)
    other = escape_abm.run_trial(escape_abm.compose([*words, "seed=2"])).patients.assign(seed=2, rate=1.0)

    def drawn(*tables: pd.DataFrame) -> pd.DataFrame:
        return relapse_against(pd.concat(tables), "rate", 12)[1]

    pd.testing.assert_frame_equal(drawn(one, one), drawn(one))
    both, alone = (drawn(*t).query("kind == 'antigen-positive'") for t in ((one, other), (one,)))
    assert both["n"].item() > alone["n"].item()
    assert (both["upper"] - both["lower"]).item() < (alone["upper"] - alone["lower"]).item()


def test_two_swept_parameters_are_drawn_as_a_map() -> None:
    from escape_abm.figures.trials import relapse_map

    patients = escape_abm.run_trial(escape_abm.compose(["comparators=none", "cohort.size=8", "workers=1"])).patients
    table = pd.concat([patients.assign(rate=r, product=p) for r in (1e-6, 1e-4) for p in ("b", "a")])
    figure, drawn = relapse_map(table, ["rate", "product"], 12)
    assert len(drawn) == 2 * 2 * 2
    first, second, _ = figure.axes
    assert first.get_title() == "antigen-negative relapse"
    assert [t.get_text() for t in first.get_yticklabels()] == ["1e-6", "0.0001"]
    assert {t.get_text() for t in second.get_xticklabels()} == {"a", "b"}


def test_check_and_verify(outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "outputs"
    shutil.copytree(outputs, place)
    assert tool(["check", str(place)]) == 0
    assert tool(["verify", str(place), "--sample", "2"]) == 0
    assert "2 of 2 runs came out the same, byte for byte" in capsys.readouterr().out
    assert tool(["list", str(place)]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "experiment", "date", "patients", "seconds", "overrides"]
    assert len(lines) == 5
    assert max(map(len, lines)) <= 120
    assert "compare_products" in lines[0]
    assert "seed=1 product=tandem" in lines[0]
    (sweep,) = place.glob("*/*/*_sweep_*")
    broken, torn, *_ = sorted(p for p in sweep.iterdir() if p.is_dir())
    data = (broken / "patients.parquet").read_bytes()
    (broken / "patients.parquet").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (torn / "summary.csv").unlink()
    (sweep / "summary.csv").write_text("")
    capsys.readouterr()
    assert tool(["check", str(place)]) == 1
    said = capsys.readouterr().out
    assert "patients.parquet is not what was written" in said
    assert "summary.csv is missing" in said
    assert "3 faults" in said
    assert tool(["check", str(tmp_path / "none")]) == 2
