"""The verb `export-model`."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import libsbml
import pytest

from escape_abm.__main__ import main
from escape_abm.interface import models

OFF = "biology.routes_off=[cd22_dimming,cd22_stripping,cd22_silencing,cd22_allele_loss,cd19_silencing,progenitor_entry]"
QUICK = ["product=tandem", "trial=none", OFF, "cohort.size=5"]


@pytest.fixture(autouse=True)
def _one_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "read", lambda _: {"calibration": {"trials": ["eliana"]}})


def test_a_configuration_goes_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export-model", *QUICK, "cohort.burden_median_cells=1e11", "--into", str(tmp_path)]) == 0
    written = ["tandem_median.xml", "tandem_median.ant", "targets.csv", "CITATION.cff", "tandem_median.omex"]
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in written]
    assert {p.name for p in tmp_path.iterdir()} == set(written)
    model = libsbml.readSBMLFromFile(str(tmp_path / written[0])).getModel()
    cells = sum(s.getInitialAmount() for s in model.getListOfSpecies() if s.getId().startswith("b_cd19"))
    assert 1e11 <= cells < 1.3e11
    assert "median patient" in model.getName()
    with zipfile.ZipFile(tmp_path / written[-1]) as packed:
        assert packed.read(written[0]) == (tmp_path / written[0]).read_bytes()


def test_patients_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nets: list[Any] = []
    monkeypatch.setattr(models.archive, "write", lambda net, *_: nets.append(net) or [])
    for who in ("3", "4"):
        assert main(["export-model", "--patient", who, "--into", str(tmp_path), *QUICK]) == 0
    value = {net.id: next(q.value for q in net.used() if q.id == "killing_kill_per_day") for net in nets}
    assert list(value) == ["tandem_patient_3", "tandem_patient_4"]
    assert len(set(value.values())) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["product=tandm"], "tandem"),
        (["biology.killing.kil_per_day=2"], "kill_per_day"),
        (["--patient", "5", "cohort.size=5"], "numbers from 0 to 4; raise cohort.size"),
        (["-m", "product=tandem,cd19_fmc63"], "one model"),
        (["cohort.burden_median_cells=3e12", "cohort.burden_max_cells=3e12"], "lower the first"),
        (["tandem"], "KEY=VALUE"),
    ],
)
def test_bad_input_stops_before_anything_is_written(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export-model", *words, "trial=none", "--into", str(tmp_path / "made")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").write_text("x")
    assert main(["export-model", *QUICK, "--into", str(tmp_path / "there")]) == 2
    assert "is a file" in capsys.readouterr().err
