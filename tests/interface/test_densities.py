"""The verb `densities`: from FCS files to a choice that runs, or to a message and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from escape_abm.__main__ import main
from escape_abm.interface.composition import compose
from escape_abm.runs.run_folder import digest
from escape_abm.trials.virtual_trial import run_trial
from tests.exchange import fcs

pytest.importorskip("flowio")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients, beads and unstained cells."""
    place, rng = tmp_path_factory.mktemp("tubes"), np.random.default_rng(5)
    fcs.linear_tube(place / "one.fcs", fcs.blasts(rng, 6000, 2500, low=0.1, events=2000))
    fcs.log_tube(place / "two.fcs", fcs.blasts(rng, 12000, 900, events=2000))
    fcs.bead_table(place / "beads.csv")
    fcs.unstained(place / "dark.fcs", rng)
    return place


def words(folder: Path, *more: str, channel: str = "CD19") -> list[str]:
    files = [str(folder / name) for name in ("one.fcs", "two.fcs")]
    return ["densities", *files, "--antigen", f"cd19={channel}", "--antigen", "cd22=APC-A", "--into",
            str(folder / "mine"), *more]  # fmt: skip


def test_files_become_a_choice_that_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    also = ["--beads", str(folder / "beads.csv"), "--unstained", str(folder / "dark.fcs"), "--gate", "CD45=1:"]
    assert main(words(folder, *also, "--product", "cd19_fmc63", "tandem")) == 0
    said = capsys.readouterr().out
    assert "below_cd19_fmc63" in said
    assert "scales undone: linear, gain 2; linear, gain 0.5; log of 4.5 decades" in said
    assert said.rstrip().endswith(f"Use it: --config-dir {folder / 'mine'} biology=measured")
    made = {str(p.relative_to(folder / "mine")) for p in (folder / "mine").rglob("*.*")}
    stem = "densities/measured"
    assert made == {
        "biology/measured.yaml",
        *(f"{stem}{e}" for e in (".csv", "_histograms.csv", ".json", ".png", ".svg")),
    }
    settings = compose(
        ["trial=none", "comparators=none", "product=tandem", "biology=measured", "cohort.size=2", "follow_up_months=2",
         "workers=1", "trajectories.patients=0"],
        config_dir=folder / "mine",
    )  # fmt: skip
    assert settings.biology.antigens["cd19"].blast_density_molecules == pytest.approx(8200, rel=0.05)
    assert (run_trial(settings).patients["cd19_density_molecules"] > 0).all()
    about = json.loads((folder / "mine" / f"{stem}.json").read_text())
    assert {digest(folder / n) for n in ("one.fcs", "two.fcs", "dark.fcs", "beads.csv")} == set(
        about["sha256"].values()
    )
    assert about["gates"] == ["CD45=1:inf"]
    assert about["versions"]["flowio"].startswith("1.4")
    table = pd.read_csv(folder / "mine" / f"{stem}.csv")
    assert table[["gain", "log_decades"]].to_numpy().tolist() == [[2, 0], [0.5, 0], [1, 4.5], [1, 4.5]]


@pytest.mark.parametrize(
    ("more", "channel", "said"),
    [
        ([], "CD19", "no beads: fluorescence is in units of one instrument on one day"),
        (["--beads", "{0}/beads.csv"], "CD91", "one.fcs: 'CD91': no such channel. Did you mean 'CD19'"),
        (["--beads", "{0}/beads.csv", "--gate", "CD45=1e9:"], "CD19", "is empty: of 2000 events"),
        (["--beads", "{0}/beads.csv", "--antigen", "cd20=CD45"], "CD19", "antigen 'cd20': not of the biology"),
        (["--beads", "{0}/beads.csv", "--antigen", "cd20"], "CD19", "--antigen cd20: must be NAME=CHANNEL"),
        (["--beads", "{0}/beads.csv", "--antigen", "cd19=PE-A"], "CD19", "an antigen is given twice"),
        (["--beads", "{0}/beads.csv", "--name", "fitted"], "CD19", "is a choice of conf/biology already"),
        (["--beads", "{0}/beads.csv", "--name", "a/b"], "CD19", "letters, digits, _ and - only"),
        (["--beads", "{0}/beads.csv", "--product", "tandm"], "CD19", "tandm"),
        (["--beads", "{0}/one.fcs"], "CD19", "one.fcs: cannot be read: must end in one of .xpt"),
        (["--beads", "{0}/beads.csv", "--unstained", "{0}/beads.csv"], "CD19", "beads.csv: is no FCS file"),
    ],
)
def test_bad_input_stops_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], more: list[str], channel: str, said: str
) -> None:
    asked = words(folder, *(word.format(folder) for word in more), channel=channel)
    asked[asked.index("--into") + 1] = str(folder / "none")
    assert main(asked) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "none").exists()


def test_a_choice_that_is_there_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "own" / "biology").mkdir(parents=True)
    (folder / "own" / "biology" / "measured.yaml").write_text("# mine\n")
    asked = words(folder, "--beads", str(folder / "beads.csv"))
    asked[asked.index("--into") + 1] = str(folder / "own")
    assert main(asked) == 2
    assert "is there already, and is not overwritten; give another --name" in capsys.readouterr().err
    assert [p.name for p in (folder / "own").rglob("*.*")] == ["measured.yaml"]
