"""The notebooks of docs/ are kept as sources; pytest itself runs them (`--nbmake` in pyproject.toml)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import escape_abm
from escape_abm.parameters import InputError

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("place", NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_without_outputs(place: Path) -> None:
    """What they show is that of the code that is there, not of the day on which they were written."""
    cells = [c for c in json.loads(place.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert cells
    assert [c["id"] for c in cells if c["outputs"] or c["execution_count"] is not None] == []


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
