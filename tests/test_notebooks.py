"""The notebooks of docs/ are kept as sources; pytest itself runs them (`--nbmake` in pyproject.toml)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("place", NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_without_outputs(place: Path) -> None:
    """What they show is that of the code that is there, not of the day on which they were written."""
    cells = [c for c in json.loads(place.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert cells
    assert [c["id"] for c in cells if c["outputs"] or c["execution_count"] is not None] == []
