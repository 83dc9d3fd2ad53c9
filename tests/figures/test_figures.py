"""Figures are configs: every picture has one, numbers have not moved, and a figure drawn again is the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import escape_abm
from escape_abm.figures import courses, style, trials
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.trial import Trial
from escape_abm.interface import catalogue

ROOT = Path(__file__).parents[2]
STORED = Path(__file__).parent
UPDATE = "python experiments/figures.py small=true into=tests/figures"
same_luck = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) >= "2.5.0", reason="NumPy resamples trials, otherwise from 2.5 on"
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of every figure, of small runs, in a folder of its own."""
    place = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        room = catalogue.Gallery(place / "tables", small=True, workers=1)
        for name in catalogue.names():
            room.draw(name, catalogue.figure_config(name))
    return place


def test_every_file_is_listed() -> None:
    files = {p.stem for p in (ROOT / "conf/figure").glob("*.yaml")} - {"all"}
    assert files == set(catalogue.names())


def test_every_picture_of_the_documentation_has_a_config() -> None:
    used = {
        Path(picture).stem
        for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for picture in re.findall(r"!\[[^\]]*\]\(((?:docs/)?images/[^)]+)\)", page.read_text())
    }
    assert used <= set(catalogue.names())
    assert {p.stem for p in (ROOT / "docs/images").iterdir()} <= set(catalogue.names())


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


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"draw": "relapse_flow"}, "Choose one of law, outcomes"),
        ({"options": {"patient": 8}}, "takes the options none, not patient"),
        ({"draw": "courses"}, "takes the options patients, products, not none"),
        ({"run": ""}, "run is missing"),
        ({"run": "compare_products.py trial=none"}, "write experiments/NAME.py first"),
        ({"draw": ""}, "needs one of draw"),
    ],
)
def test_a_faulty_figure_file_is_refused(change: dict[str, Any], told: str) -> None:
    right = {"caption": "x", "run": "experiments/compare_products.py", "draw": "outcomes"}
    catalogue.checked("mine", right)
    with pytest.raises(InputError, match=told):
        catalogue.checked("mine", right | change)


@pytest.mark.parametrize(("patients", "products", "rows"), [(2, 5, 4), (3, 9, 9), (1, 9, 3), (3, 4, 3)])
def test_every_patient_and_product_has_a_panel_of_its_own(patients: int, products: int, rows: int) -> None:
    words = ["cohort.size=12", "trial=none", "follow_up_months=5", "~product@comparators.sequential"]
    words += ["+product@comparators.o=cd19_fmc63_28z"]
    settings = escape_abm.compose([*words, "workers=1"])
    result = escape_abm.run_trial(settings)
    labels = {arm.name: arm.label for arm in settings.arms}
    figure, table = courses.courses(result.trajectories, result.patients, labels, {"x": 1e9}, patients, products)
    panels = [ax for ax in figure.axes if ax.get_visible()]
    assert len(panels) == patients * products
    assert len({ax.get_subplotspec().rowspan.start for ax in panels}) == rows
    assert table.groupby(["patient", "arm"]).ngroups == patients * products
    per_row: dict[int, set[str]] = {}
    for ax in panels:
        if ax.get_ylabel():
            per_row.setdefault(ax.get_subplotspec().rowspan.start, set()).add(ax.get_ylabel())
    assert [len(names) for names in per_row.values()] == [1] * rows


@pytest.mark.parametrize(
    ("group", "line"),
    [
        ("CD19+CD22+", "CD19+CD22+"),
        ("CD19-CD22+CD20+", "CD19−CD22+"),
        ("CD19+CD22+CD20+", "CD19+CD22+"),
        ("CD19+CD22+CD20-", "a third antigen −"),
        ("CD19+CD20-", "an antigen −"),
        ("CD19dimCD22+CD20+", "an antigen dim"),
        ("CD20+", "every antigen +"),
        ("CAR T CD19+CD22", None),
        ("leukaemia in sanctuary", None),
    ],
)
def test_every_phenotype_has_a_line(group: str, line: str | None) -> None:
    assert courses.course_group(group) == line
    assert line is None or (line in style.COURSE_STYLE and line in style.COURSE_MARKER)


def test_a_line_without_cells_on_the_days_that_are_drawn_is_left_out(tmp_path: Path) -> None:
    figure, axes = style.canvas(2)
    days = pd.DataFrame({"line": ["CD19+CD22+"] * 2 + ["an antigen dim"] * 2, "day": [0, 3] * 2, "cells": [9, 5, 0, 0]})
    courses._course(axes[0, 0], days, "in remission", {})
    style.save(figure, tmp_path / "course")
    assert len(axes[0, 0].get_lines()) == 1


def test_whole_published_curves_are_steps() -> None:
    lines = [(endpoint, month, 0.5, 0.4, 0.6) for endpoint in trials.CURVES for month in (0.0, 6.0, 12.0)]
    curves = pd.DataFrame(lines, columns=["endpoint", "month", "median", "lower", "upper"])
    steps = {"overall_survival": ((0.0, 1.0), (3.0, 0.8), (12.0, 0.8))}
    drawn = [trials.trial_curves(curves, Trial(name="mine", steps=s))[0].axes[0].lines for s in ({}, steps)]
    extra = [line for line in drawn[1] if line.get_drawstyle() == "steps-post"]
    assert len(drawn[1]) == len(drawn[0]) + 1
    assert [tuple(xy) for xy in extra[0].get_xydata()] == list(steps["overall_survival"])


def test_a_figure_of_ones_own_of_another_run(tmp_path: Path, command: Callable[..., str]) -> None:
    (tmp_path / "mine" / "figure").mkdir(parents=True)
    text = (ROOT / "conf/figure/outcomes_by_product.yaml").read_text()
    (tmp_path / "mine" / "figure" / "my_outcomes.yaml").write_text(text)
    words = ["figure=my_outcomes", "cohort.size=3", "comparators=none", "workers=1"]
    assert command("figures", "--config-dir", "mine", *words, "into=images") == ""
    table = pd.read_csv(tmp_path / "images" / "my_outcomes.csv")
    assert set(table["arm"]) == {"auto1_22"}
    thirds = 3 * table["fraction"]
    assert (thirds - thirds.round()).abs().max() < 1e-9  # tables have ten digits


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
    config = catalogue.figure_config("outcomes_by_product")
    changed = config.model_copy(update={"small": f"{config.small} biology.killing.kill_per_day=0.2"})
    catalogue.Gallery(drawn / "changed", small=True, workers=1).draw("outcomes_by_product", changed)
    name = "outcomes_by_product.csv"
    assert (drawn / "changed" / name).read_text() != (STORED / name).read_text()


def test_a_figure_drawn_again_is_the_same(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(drawn)
    monkeypatch.setattr(catalogue, "do_jobs", None)  # nothing may be run
    room = catalogue.Gallery(drawn / "again", small=True, workers=1)
    for name in ("twins", "design_map"):
        room.draw(name, catalogue.figure_config(name))
        assert (drawn / "again" / f"{name}.csv").read_text() == (drawn / "tables" / f"{name}.csv").read_text()


MEASURED = [name for name in catalogue.names() if (c := catalogue.figure_config(name)).kept or c.made_by]


@pytest.mark.parametrize("name", MEASURED)
def test_what_takes_long_is_drawn_from_its_numbers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a clone without a stored run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalogue, "do_jobs", None)  # nothing may be run
    catalogue.Gallery(tmp_path / "images").draw(name, catalogue.figure_config(name))
    assert (tmp_path / "images" / f"{name}.png").stat().st_size > 10_000
    assert (tmp_path / "images" / f"{name}.csv").read_bytes() == (ROOT / f"docs/images/{name}.csv").read_bytes()


def test_a_picture_of_a_program_that_is_not_there_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # no browser
    said = catalogue.Gallery(tmp_path / "images").draw("dashboard_start", catalogue.figure_config("dashboard_start"))
    assert re.match("left out: .*(install|setup)", said)
