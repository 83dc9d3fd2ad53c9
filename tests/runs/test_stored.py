"""Finished runs as one table: load, check, verify."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import escape_abm
from escape_abm.__main__ import main as tool
from escape_abm.inputs.checks import InputError
from tests.runs.troubled import ROOT, SMALL

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
    (place / ".partial").mkdir()  # as a run leaves it that is killed while it writes its last file
    (place / ".partial" / "provenance.json").write_text("{")
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
