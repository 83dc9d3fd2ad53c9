"""Figures are configs: every picture has one, numbers have not moved, and a figure drawn again is the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from escape_abm import gallery
from tests.update_baseline import SAMPLERS

ROOT = Path(__file__).parents[1]
STORED = Path(__file__).with_name("figures")
UPDATE = "python experiments/figures.py small=true into=tests/figures"
same_luck = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) >= "2.5.0", reason=f"stored numbers are of {SAMPLERS}"
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of every figure, of small runs, in a folder of its own."""
    place = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        room = gallery.Gallery(place / "tables", small=True, workers=1)
        for name in gallery.names():
            room.draw(name, gallery.figure_config(name))
    return place


def test_every_file_is_listed() -> None:
    files = {p.stem for p in (ROOT / "conf/figure").glob("*.yaml")} - {"all"}
    assert files == set(gallery.names())


def test_every_picture_of_the_documentation_has_a_config() -> None:
    used = {
        Path(picture).stem
        for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for picture in re.findall(r"!\[[^\]]*\]\(((?:docs/)?images/[^)]+)\)", page.read_text())
    }
    assert used <= set(gallery.names())
    assert {p.stem for p in (ROOT / "docs/images").iterdir()} <= set(gallery.names())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("figure=twin", "Did you mean 'twins'"),
        ("cohort.size=5", "Write figure=NAME too"),
        ("figure=law cohort.size=5", "not drawn from a run"),
        ("figure=twins cohort.sise=5", "Did you mean 'cohort.size'"),
        ("figure=twins --config-dir nowhere", "no such folder"),
    ],
)
def test_what_is_asked_wrongly_is_refused(words: str, told: str, command: Callable[..., str]) -> None:
    assert told in command("figures", *words.split())


def test_a_figure_of_ones_own_of_another_run(tmp_path: Path, command: Callable[..., str]) -> None:
    (tmp_path / "mine" / "figure").mkdir(parents=True)
    text = (ROOT / "conf/figure/outcomes_by_product.yaml").read_text()
    (tmp_path / "mine" / "figure" / "my_outcomes.yaml").write_text(text)
    words = ["figure=my_outcomes", "cohort.size=3", "comparators=none", "workers=1"]
    assert command("figures", "--config-dir", "mine", *words, "into=images") == ""
    table = pd.read_csv(tmp_path / "images" / "my_outcomes.csv")
    assert set(table["arm"]) == {"auto1_22"}
    assert (3 * table["fraction"] % 1).abs().max() < 1e-9


@same_luck
def test_numbers_of_figures_have_not_moved(drawn: Path) -> None:
    """A default that changed moves them; then run UPDATE and say so in CHANGELOG.md."""
    tables = {p.name: p.read_text() for p in (drawn / "tables").glob("*.csv")}
    kept = {p.name: p.read_text() for p in STORED.glob("*.csv")}
    assert sorted(tables) == sorted(kept), UPDATE
    moved = [name for name in kept if tables[name] != kept[name]]
    assert not moved, f"numbers moved in {moved}: {UPDATE}"


@same_luck
def test_a_changed_default_is_noticed(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(drawn)
    config = gallery.figure_config("outcomes_by_product")
    changed = config.model_copy(update={"small": f"{config.small} biology.killing.kill_per_day=0.2"})
    gallery.Gallery(drawn / "changed", small=True, workers=1).draw("outcomes_by_product", changed)
    name = "outcomes_by_product.csv"
    assert (drawn / "changed" / name).read_text() != (STORED / name).read_text()


def test_a_figure_drawn_again_is_the_same(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(drawn)
    monkeypatch.setattr(gallery, "do_jobs", None)  # nothing may be run
    room = gallery.Gallery(drawn / "again", small=True, workers=1)
    for name in ("twins", "design_map"):
        room.draw(name, gallery.figure_config(name))
        assert (drawn / "again" / f"{name}.csv").read_text() == (drawn / "tables" / f"{name}.csv").read_text()


MEASURED = [name for name in gallery.names() if (c := gallery.figure_config(name)).kept or c.made_by]


@pytest.mark.parametrize("name", MEASURED)
def test_what_takes_long_is_drawn_from_its_numbers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a clone without a stored run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gallery, "do_jobs", None)  # nothing may be run
    gallery.Gallery(tmp_path / "images").draw(name, gallery.figure_config(name))
    assert (tmp_path / "images" / f"{name}.png").stat().st_size > 10_000
    assert (tmp_path / "images" / f"{name}.csv").read_bytes() == (ROOT / f"docs/images/{name}.csv").read_bytes()


def test_a_picture_of_a_program_that_is_not_there_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # no browser
    said = gallery.Gallery(tmp_path / "images").draw("dashboard_start", gallery.figure_config("dashboard_start"))
    assert re.match("left out: .*(install|setup)", said)
