"""Which jobs a sweep has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from escape_abm.inputs.checks import InputError
from escape_abm.runs.designs import Range, Sweep, plausible, points
from tests.runs.troubled import computed, the_sweep

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
