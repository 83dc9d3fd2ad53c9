"""The verbs `export` and `published`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from escape_abm.__main__ import main
from escape_abm.exchange import tables
from escape_abm.interface.composition import compose
from escape_abm.runs.fingerprint import Experiment, identify
from escape_abm.runs.run_folder import Run

SCRIPT = Path(__file__).parents[2] / "experiments" / "compare_products.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two patients."""
    place = tmp_path_factory.mktemp("run")
    words = ["cohort.size=2", "follow_up_months=3", "workers=1", "comparators=none", "trajectories.patients=0"]
    settings = compose(["trial=none", "product=tandem", *words])
    run = Run(settings, place, identify(Experiment("compare_products", SCRIPT, "compare"), settings), quiet=True)
    run.write(run.trial("virtual patients").files(), {})
    return place


def test_a_run_goes_out_and_its_table_comes_in(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(folder), "--into", str(tmp_path), "--study", "ESC001"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"adsl.xpt", "adtte.xpt", "parameters.csv"}
    assert set(tables.read(tmp_path / "adsl.xpt")["STUDYID"]) == {"ESC001"}
    capsys.readouterr()
    asked = ["--endpoint", "overall_survival", "--months", "1", "2", "--source", "assumed"]
    assert main(["published", str(tmp_path / "adtte.xpt"), "--parameter", "OS", *asked]) == 0
    assert capsys.readouterr().out.count("- {endpoint") == 2
    assert main(["published", str(tmp_path / "adtte.xpt"), *asked]) == 2
    assert "--parameter: is missing; of PARAMCD: BCA, CARTP" in capsys.readouterr().err
    assert main(["published", str(tmp_path / "adtte.xpt"), "--parameter", "OS", "--arm", "tandm", *asked]) == 2
    assert "Did you mean 'tandem'?" in capsys.readouterr().err


def test_a_curve_comes_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.DataFrame({"month": [0, 2, 4, 8], "survival": [1, 0.9, 0.8, 0.8]}).to_csv(tmp_path / "curve.csv", index=False)
    pd.DataFrame({"month": [0, 6], "at_risk": [10, 8]}).to_csv(tmp_path / "risk.csv", index=False)
    words = ["published", str(tmp_path / "curve.csv"), "--at-risk", str(tmp_path / "risk.csv")]
    asked = ["--endpoint", "overall_survival", "--months", "3", "--source", "Smith 2025, Blood 145:1"]
    assert main([*words, *asked, "--steps"]) == 0
    said = capsys.readouterr().out
    assert "month: 3.0, estimate: 0.9, events: 9, n: 10" in said
    assert "  steps:\n    overall_survival: [[0.0, 1.0], [2.0, 0.9], [4.0, 0.8], [8.0, 0.8]]" in said


def test_several_runs_are_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "--into", str(tmp_path / "made")]) == 2
    assert "holds no finished run" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
