"""Documentation that cannot drift: tables are those of the code, links lead somewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
from make_tables import figures_page, model_page, parameters_page  # noqa: E402

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")]


def test_parameters_page_is_that_of_the_code() -> None:
    assert (ROOT / "docs/parameters.md").read_text() == parameters_page(), "run python docs/make_tables.py"


def test_figures_page_is_that_of_the_configs() -> None:
    text = (ROOT / "docs/figures.md").read_text()
    assert text == figures_page(ROOT / "docs/images"), "run python docs/make_tables.py"


def test_routes_table_is_that_of_the_code() -> None:
    text = (ROOT / "docs/model.md").read_text()
    assert text == model_page(text), "run python docs/make_tables.py"


def test_every_output_column_is_explained() -> None:
    page = (ROOT / "docs/outputs.md").read_text()
    columns = (ROOT / "tests/baseline.csv").read_text().splitlines()[0].split(",")
    assert [c for c in columns if f"`{c}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target
    for name in re.findall(r"`((?:escape_abm|docs|experiments|tests|benchmarks|conf)/[\w./]+)`", text):
        assert (ROOT / name).exists(), name
