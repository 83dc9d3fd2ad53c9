"""A run is found by what it is: gone on with, extended, never overwritten."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import escape_abm
from escape_abm.runs.run_folder import write_tables
from escape_abm.trials import checkpoints
from tests.runs.troubled import ROOT, SMALL, TROUBLED, computed, small, tables

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
    (tmp_path / "kept" / "0_1_2.json.gz").write_bytes(b"torn")
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
    while not list(tmp_path.glob("outputs/troubled/*/*_n600_*/.kept/*/*.json.gz")):
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
