"""Densities of patients of known molecules, through files of other gain, log scale and matrix order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from escape_abm.exchange import beads, densities, density_cohort
from escape_abm.exchange.cytometry import Channel
from escape_abm.exchange.gates import Gate
from escape_abm.inputs.biology import Biology
from escape_abm.inputs.checks import InputError
from escape_abm.interface.composition import compose
from tests.exchange import fcs
from tests.exchange.fcs import Blasts, Detector

pytest.importorskip("flowio")
ANTIGENS = {"cd19": "CD19", "cd22": "APC-A"}
HALVES = {"cd19": {"cd19_fmc63": 500.0}, "cd22": {"cd22_m971": 841.0}}
FALSE_ALARM = 1e-4
PE = Channel(0, "PE-A", "CD19", 1.0, 0.0, 0.0, 262144.0, "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tubes")


@pytest.fixture(scope="module")
def known(folder: Path) -> dict[str, Blasts]:
    """Two patients, one in each kind of file, with beads and unstained cells of the same instrument."""
    rng = np.random.default_rng(3)
    both = {"linear": fcs.blasts(rng, 6000, 2500, low=0.10), "log": fcs.blasts(rng, 12000, 900, low=0.02)}
    fcs.linear_tube(folder / "linear.fcs", both["linear"])
    fcs.log_tube(folder / "log.fcs", both["log"])
    fcs.bead_table(folder / "beads.csv")
    fcs.unstained(folder / "unstained.fcs", rng)
    return both


def measure(folder: Path, *names: str, **changed: Any) -> densities.Measured:
    asked: dict[str, Any] = {"antigens": ANTIGENS, "bead_table": folder / "beads.csv", "halves": HALVES}
    asked |= {"unstained": [folder / "unstained.fcs"]} | changed
    return densities.measure([folder / f"{name}.fcs" for name in names], **asked)


@pytest.fixture(scope="module")
def measured(folder: Path, known: dict[str, Blasts]) -> densities.Measured:
    return measure(folder, *known)


def test_known_molecules_come_back(measured: densities.Measured, known: dict[str, Blasts]) -> None:
    """Medians within 2 %, the share of low blasts within its binomial error, the spread within a patient."""
    for row in measured.patients.to_dict("records"):
        antigen = str(row["antigen"])
        true = getattr(known[str(row["patient"])], antigen)
        assert row["median_molecules"] == pytest.approx(np.median(true), rel=0.02)
        product, half = next(iter(HALVES[antigen].items()))
        share = {"cd19": {"linear": (0.10, 6000), "log": (0.02, 12000)}}.get(antigen, {}).get(str(row["patient"]))
        chance = low_share(*share, half) if share else float(stats.norm.cdf(np.log(half / expected(row)) / 0.5))
        seen = round(row[f"below_{product}"] * row["events"])
        assert stats.binomtest(seen, row["events"], chance).pvalue > FALSE_ALARM
    cd22 = measured.patients[measured.patients["antigen"] == "cd22"]
    assert cd22["within_sigma"].to_numpy() == pytest.approx(0.5, rel=0.05)


def expected(row: dict[Any, Any]) -> float:
    return {"linear": 2500.0, "log": 900.0}[row["patient"]]


def low_share(low: float, median: float, half: float) -> float:
    """Of blasts whose CD19 is a twentieth in a share of them."""
    below = stats.norm.cdf(np.log(half / np.array([median, median / 20])) / 0.4)
    return float((1 - low) * below[0] + low * below[1])


def test_mistakes_of_other_readers_would_be_noticed(folder: Path, known: dict[str, Blasts]) -> None:
    """Without compensation, or with the background left in, CD22 is off by more than the test allows."""
    for changed in ({"compensate": False}, {"unstained": []}):
        found = measure(folder, *known, **changed).patients
        medians = found.loc[found["antigen"] == "cd22", "median_molecules"].to_numpy()
        assert (np.abs(medians / [np.median(its.cd22) for its in known.values()] - 1) > 0.02).all()


def test_the_cohort_is_median_and_spread_of_logarithms(measured: densities.Measured) -> None:
    its = measured.cohort.set_index("antigen").loc["cd19"]
    medians = measured.patients.loc[measured.patients["antigen"] == "cd19", "median_molecules"].to_numpy()
    assert its["median_molecules"] == pytest.approx(np.sqrt(np.prod(medians)))
    assert its["sigma"] == pytest.approx(abs(np.log(medians[0] / medians[1])) / np.sqrt(2))
    assert its["sigma_lower"] < its["sigma"] < its["sigma_upper"]


def test_intervals_of_the_spread_hold_it() -> None:
    """In 95 of 100 cohorts of ten; the bounds are those of the binomial at 1e-4."""
    rng = np.random.default_rng(8)
    inside = 0
    for _ in range(200):
        table = {
            "antigen": "cd19",
            "median_molecules": 8000 * np.exp(0.6 * rng.standard_normal(10)),
            "within_sigma": 0.4,
        }
        its = density_cohort.cohort(pd.DataFrame(table)).iloc[0]
        inside += its["sigma_lower"] < 0.6 < its["sigma_upper"]
    assert stats.binomtest(inside, 200, 0.95).pvalue > FALSE_ALARM


def test_one_patient_has_no_spread(folder: Path, known: dict[str, Blasts]) -> None:
    found = measure(folder, "log")
    assert found.cohort["sigma"].isna().all()
    assert any(note.startswith("one patient: no spread between patients") for note in found.notes)
    text = density_cohort.choice(found.cohort, Biology().antigens)
    assert "_sigma" not in text
    assert "one patient has no spread between patients: that of fitted is kept" in text


def test_background_is_taken_off_after_the_curve(tmp_path: Path) -> None:
    """With a slope other than 1 the order matters."""
    fcs.write(tmp_path / "p.fcs", [Detector("PE-A")], [[400.0]])
    fcs.write(tmp_path / "u.fcs", [Detector("PE-A")], [[100.0]])
    (tmp_path / "beads.csv").write_text("channel,fluorescence,molecules\nPE-A,10,10\nPE-A,1000,100\n")  # √(10 x)
    found = densities.measure([tmp_path / "p.fcs"], {"cd19": "PE-A"}, tmp_path / "beads.csv", {},
                              unstained=[tmp_path / "u.fcs"])  # fmt: skip
    assert found.patients["median_molecules"].iloc[0] == pytest.approx(np.sqrt(4000) - np.sqrt(1000))


def test_events_at_the_ends_stay_in_the_share(tmp_path: Path) -> None:
    """Four in ten blasts lie at 0: dropped, the share of low ones would be a twelfth instead of 45 %."""
    stored = np.array([0.0] * 40 + [5.0] * 5 + [800.0] * 50 + [1023.0] * 5)
    fcs.write(tmp_path / "p.fcs", [Detector("PE-A", top=1024)], [stored], kind="I")
    fcs.bead_table(tmp_path / "beads.csv")
    halves = {"cd19": {"cd19_fmc63": 500.0}}
    row = densities.measure([tmp_path / "p.fcs"], {"cd19": "PE-A"}, tmp_path / "beads.csv", halves).patients.iloc[0]
    assert row[["events", "at_bottom_fraction", "at_top_fraction"]].tolist() == [100, 0.40, 0.05]
    assert row["below_cd19_fmc63"] == 0.45
    assert np.isnan(row["within_sigma"])  # 16 % and more are at 0


def test_values_outside_the_beads_are_told(tmp_path: Path, known: dict[str, Blasts], folder: Path) -> None:
    table = tmp_path / "beads.csv"
    table.write_text("channel,fluorescence,molecules\nCD19,1000,4000\nCD19,2000,8000\n")
    found = measure(folder, *known, antigens={"cd19": "PE-A"}, bead_table=table)
    row = found.patients.iloc[1]
    assert not row["median_in_beads"]
    light = (known["log"].cd19 + fcs.BACKGROUND) / fcs.PER_UNIT
    assert row["above_beads_fraction"] == pytest.approx((light > 2000).mean(), abs=2e-3)
    assert "CD19: the median of log lies outside the beads and is extrapolated" in found.notes
    assert "CD19: the half-density of cd19_fmc63, 500, is below the lowest bead (4000)" in found.notes


def test_gates_choose_blasts_and_those_of_scatter_hold_for_unstained_cells(tmp_path: Path) -> None:
    detectors = [Detector("SSC-A"), Detector("PE-A", "CD19"), Detector("V450-A", "CD45")]
    fcs.write(tmp_path / "p.fcs", detectors, [[1, 1, 9, 1], [500, 700, 9000, 9000], [5, 5, 5, 90]])
    bare = [d._replace(stain="") for d in detectors]
    fcs.write(tmp_path / "u.fcs", bare, [[1, 9], [100, 8000], [0, 0]])
    gates = [Gate("SSC-A", 0, 5), Gate("CD45", 0, 10)]
    fcs.bead_table(tmp_path / "beads.csv")
    row = densities.measure([tmp_path / "p.fcs"], {"cd19": "CD19"}, tmp_path / "beads.csv", {}, gates,
                            [tmp_path / "u.fcs"]).patients.iloc[0]  # fmt: skip
    assert (row["events"], row["background_molecules"]) == (2, pytest.approx(400))
    assert row["median_molecules"] == pytest.approx(4 * 600 - 400)


def test_the_choice_has_the_densities_and_the_rest_of_its_start(folder: Path, measured: densities.Measured) -> None:
    (folder / "mine" / "biology").mkdir(parents=True)
    text = density_cohort.choice(measured.cohort, Biology().antigens)
    (folder / "mine" / "biology" / "mine.yaml").write_text(text)
    words = ["trial=none", "comparators=none", "product=tandem"]
    found, start = compose([*words, "biology=mine"], config_dir=folder / "mine").biology, compose(words).biology
    table = measured.cohort.set_index("antigen")
    for name, antigen in found.antigens.items():
        assert antigen.blast_density_molecules == pytest.approx(table.loc[name, "median_molecules"], rel=1e-3)
        assert antigen.blast_density_molecules_sigma == pytest.approx(table.loc[name, "sigma"], rel=1e-3)
        its = {
            k: getattr(start.antigens[name], k) for k in ("blast_density_molecules", "blast_density_molecules_sigma")
        }
        assert antigen.model_copy(update=its) == start.antigens[name]
    assert found.model_copy(update={"antigens": start.antigens}) == start


def test_half_densities_are_those_of_the_law() -> None:
    words = ["trial=none", "comparators=none"]
    products = [compose([*words, f"product={name}"]).product for name in ("cd19_fmc63", "tandem", "cotransduced")]
    antigens = Biology().antigens
    assert densities.half_densities(products, antigens) == {
        "cd19": {"cd19_fmc63": 500, "tandem": 750, "cotransduced": 500},
        "cd22": {"tandem": 5 * 841, "cotransduced": 841},
    }


def test_histograms_hold_every_event(measured: densities.Measured) -> None:
    table = density_cohort.histograms(measured.molecules, measured.halves)
    assert table.groupby(["patient", "antigen"])["share"].sum().to_numpy() == pytest.approx(1)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["PE-A,100,400"], r"beads of channel PE-A \(CD19\): 1; a line needs two or more"),
        (["APC-A,100,400", "APC-A,1000,4000"], r"PE-A \(CD19\): 0; a line needs two"),
        (["PE-A,100,400", "PE-A,1000,300"], "100 with 400 molecules and 1000 with 300 molecules: molecules must rise"),
        (["PE-A,100,400", "PE-A,100,500"], "molecules must rise"),
        (["PE-A,100,400", "CD19,0,0"], "row 3: fluorescence='0': must be a number above 0; leave blank beads out"),
        (["PE-A,100,400", "PE-A,1000,many"], "row 3: molecules='many': must be a number above 0"),
    ],
)
def test_beads_that_give_no_line_are_refused(tmp_path: Path, lines: list[str], said: str) -> None:
    (tmp_path / "beads.csv").write_text("\n".join(["channel,fluorescence,molecules", *lines]) + "\n")
    with pytest.raises(InputError, match=said):
        beads.curve_of(beads.read(tmp_path / "beads.csv"), PE, "p.fcs")


def test_beads_of_single_files_and_a_table_without_a_column(tmp_path: Path) -> None:
    rows = ["PE-A,100,400,a.fcs", "PE-A,1000,4000,a.fcs", "PE-A,100,800,b.fcs", "PE-A,1000,8000,b.fcs"]
    (tmp_path / "beads.csv").write_text("\n".join(["channel,fluorescence,molecules,file", *rows]) + "\n")
    table = beads.read(tmp_path / "beads.csv")
    for name, molecules in (("a.fcs", 800), ("b.fcs", 1600)):
        assert beads.curve_of(table, PE, name).molecules(np.array([200.0]))[0] == pytest.approx(molecules)
    (tmp_path / "beads.csv").write_text("channel,mfi,molecules\nPE-A,1,2\n")
    with pytest.raises(InputError, match="no column fluorescence; give a CSV table"):
        beads.read(tmp_path / "beads.csv")


def tube(place: Path, values: list[float], voltage: str = "500", **about: Any) -> Path:
    return fcs.write(place, [Detector("PE-A", "CD19", voltage=voltage, **about)], [values])


@pytest.mark.parametrize(
    ("name", "values", "dark", "said"),
    [
        ("nan.fcs", [1.0, np.nan], None, "1 events have no number"),
        ("dim.fcs", [90.0, 100.0], [150.0], "the median is -220 molecules, not more than unstained cells"),
        ("top.fcs", [5.0, 262143.0], None, "50% are at the top of the range"),
        ("same.fcs", [50.0, 60.0], [50.0, 60.0], "are the same bytes"),
    ],
)
def test_medians_that_were_not_measured_are_refused(
    tmp_path: Path, name: str, values: list[float], dark: list[float] | None, said: str
) -> None:
    files = [tube(tmp_path / name, values)]
    blank = [tube(tmp_path / "dark.fcs", dark)] if dark else []
    if name == "same.fcs":
        files, blank = [files[0], *blank], []
    with pytest.raises(InputError, match=said):
        densities.measure(files, {"cd19": "CD19"}, fcs.bead_table(tmp_path / "b.csv"), {}, unstained=blank)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    table = fcs.bead_table(tmp_path / "b.csv")
    (tmp_path / "b").mkdir()
    one, other = tube(tmp_path / "a.fcs", [100.0]), tube(tmp_path / "b" / "a.fcs", [200.0])
    third = tube(tmp_path / "c.fcs", [300.0], voltage="520")
    for files, dark, said in (
        ([one, other], [], "several files have this name"),
        ([one, third], [], r"\$PnV 500, 520: files of several detector voltages cannot share beads"),
        ([one], [third], r"\$PnV 520, stained cells 500"),
        ([one], [one, third], "2 unstained files, 1 patients"),
        ([], [], "no files"),
    ):
        with pytest.raises(InputError, match=said):
            densities.measure(files, {"cd19": "CD19"}, table, {}, unstained=dark)
    with pytest.raises(InputError, match="no beads: fluorescence is in units of one instrument"):
        densities.measure([one], {"cd19": "CD19"}, None, {})
