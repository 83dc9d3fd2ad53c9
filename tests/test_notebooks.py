"""Notebooks of docs/ are stored without outputs (`--nbmake` of pyproject.toml runs them); how one patient is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import escape_abm
from escape_abm import VirtualPatient, compose
from escape_abm.inputs.checks import InputError

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("place", NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_without_outputs(place: Path) -> None:
    """What they show is that of the code that is there, not of the day on which they were written."""
    cells = [c for c in json.loads(place.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert cells
    assert [c["id"] for c in cells if c["outputs"] or c["execution_count"] is not None] == []


@pytest.fixture(scope="module")
def patient() -> VirtualPatient:
    return VirtualPatient(compose(["trial=none", "product=cd19_fmc63", "comparators=none"]), 8)


def test_each_clone_has_one_row_and_its_columns_tell_its_phenotype(patient: VirtualPatient) -> None:
    clones = patient.clones
    antigens = list(patient.traits.biology.antigens)
    assert not clones.duplicated([*antigens, "maturity"]).any()
    assert {"committed", "progenitor-like"} <= set(clones["maturity"])
    sign = {"high": "+", "dim": "dim", "silenced": "-", "lost": "-"}
    for _, row in clones.iterrows():
        shown = {a: sign[row[a].removesuffix(", one allele lost")] for a in antigens}
        if row["maturity"] == "progenitor-like":
            shown = {a: "dim" if s == "+" else s for a, s in shown.items()}
        assert row["phenotype"] == "".join(a.upper() + s for a, s in shown.items())


def test_clones_are_all_cells_at_entry_and_courses_begin_after_lymphodepletion(patient: VirtualPatient) -> None:
    clones, courses = patient.clones, patient.courses
    [path] = patient.trajectories.values()
    assert clones["cells"].sum() == path.entry.sum()
    assert clones["share"].sum() == pytest.approx(1)
    first = courses.query("day == 0 and group == 'leukaemia'")["cells"].item()
    assert first == path.cells[0].sum() < clones["cells"].sum()


def test_traits_are_printed_one_a_line(patient: VirtualPatient) -> None:
    lines = repr(patient.traits).splitlines()
    assert lines[0] == "virtual patient 8 of seed 1"
    assert [line.split()[0] for line in lines[1:]] == [*patient.traits.covariates(), "rejection_day", "biology"]
    assert max(map(len, lines)) < 80


def test_what_is_asked_wrongly_of_a_result_is_told(tmp_path: Path) -> None:
    words = ["comparators=none", "trial=none", "cohort.size=2", "trajectories.patients=1", "workers=1"]
    result = escape_abm.run_trial(escape_abm.compose(words))
    for number in (2, -1, "1"):
        with pytest.raises(InputError, match=r"a whole number from 0 to 1 is wanted"):
            result.patient(number)
    with pytest.raises(InputError, match="numbered from 0"):
        escape_abm.VirtualPatient(result.settings, "1")  # type: ignore[arg-type]
    last = result.patients["patient"].iloc[-1]  # numpy's own kind of integer
    assert result.patient(last).traits.index == 1
    result.plot.outcomes().savefig(tmp_path / "outcomes.pdf")
    assert (tmp_path / "outcomes.pdf").stat().st_size
