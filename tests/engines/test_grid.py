"""The marrow seen: the same course as `simulate`, pixels that say what the cells are, a film and its files."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from escape_abm import compose
from escape_abm.engines.cells import CarTCell, LeukaemicCell
from escape_abm.figures import marrow
from escape_abm.figures.style import BLUE, GREEN, VERMILION
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.cohort import sample_patient
from escape_abm.inputs.settings import Settings
from escape_abm.law.states import SANCTUARY, phenotype
from escape_abm.patient.course import simulate
from escape_abm.patient.marrow_model import MarrowModel

ROOT = Path(__file__).parents[2]
SMALL = ("engine.sample_cells=900", "follow_up_months=1")


@pytest.fixture(scope="module")
def settings() -> Settings:
    return compose(SMALL, config_name="marrow")


def test_a_day_at_a_time_is_the_same_course(settings: Settings) -> None:
    """Stepping through the days gives what `simulate` gives in one go."""
    model = MarrowModel(settings, 1)
    while model.running:
        model.step()
    s = settings.sampled()
    patient = sample_patient(1, s.seed, s.cohort, s.biology)
    path = simulate(patient, s.product, s.regimen, s.clinic, follow_up_days=s.follow_up_days, engine=s.engine)
    assert np.array_equal(model.trajectory().cells, path.cells)
    assert np.array_equal(model.trajectory().car_t, path.car_t)
    assert model.day == path.day[-1]


def test_a_marrow_stops_with_the_patient() -> None:
    """Neither the watched course nor what is told of it goes on after death."""
    model = MarrowModel(
        compose(
            [*SMALL, "clinic.treatment_death_fraction=1", "clinic.treatment_death_last_day=9"], config_name="marrow"
        )
    )
    for _ in range(12):
        model.step()
    assert not model.running
    assert 1 <= model.day_death <= 9
    assert model.trajectory().day[-1] == math.floor(model.day_death)
    assert model.course.day == math.ceil(model.day_death)
    assert model.told() == f"day {model.day_death:.0f}: death of treatment"


def test_settings_of_a_whole_patient_are_refused() -> None:
    with pytest.raises(InputError, match="choose engine=cells"):
        MarrowModel(compose(["trial=none"]))


def test_pixels_are_the_cells(settings: Settings) -> None:
    model = MarrowModel(settings, 1)
    picture = marrow.image(model)
    colour = {"CD19+CD22+": BLUE, "CD19-CD22+": VERMILION}
    drawn = 0
    for agent in model.agents_by_type[LeukaemicCell]:
        x, y = agent.cell.coordinate
        label = phenotype(agent.state, model.letters.antigens)
        if label in colour:
            assert picture[y, x] == pytest.approx(to_rgb(colour[label]))
            drawn += 1
    assert drawn > 50
    empty = ~np.array(model.kind_at >= 0).reshape(model.side, model.side).T
    niche = model.niche.reshape(model.side, model.side).T
    assert np.allclose(picture[empty & niche], to_rgb(marrow.NICHE))
    assert np.allclose(picture[empty & ~niche], to_rgb(marrow.EMPTY))


def test_car_t_cells_are_drawn_where_they_are(settings: Settings) -> None:
    model = MarrowModel(settings, 1)
    figure = Figure()
    ax = figure.subplots()
    marrow.draw(ax, model)
    dots = {line.get_color(): line.get_xydata() for line in ax.lines}
    effectors = [a for a in model.agents_by_type[CarTCell] if a.phase == "effector"]
    where = np.array([np.array(a.cell.coordinate) + 0.5 for a in effectors])
    assert np.array_equal(dots[GREEN], where)


def test_cells_in_the_niche_are_in_a_sanctuary_state(settings: Settings) -> None:
    model = MarrowModel(settings, 1)
    for _ in range(5):
        model.step()
    for agent in model.agents_by_type[LeukaemicCell]:
        assert model.niche[agent.site] == (agent.state.niche == SANCTUARY)


def test_the_film(tmp_path: Path) -> None:
    """The experiment as a user runs it: film, stills, table, provenance."""
    script = str(ROOT / "experiments" / "marrow.py")
    done = subprocess.run(
        [sys.executable, script, *SMALL, f"hydra.run.dir={tmp_path / 'run'}"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "calling model.step" not in done.stdout
    with Image.open(tmp_path / "run" / "figures" / "marrow.gif") as film:
        assert film.n_frames > 10
        assert film.size[0] >= 600
    for kind in ("png", "svg", "csv"):
        assert (tmp_path / "run" / "figures" / f"marrow_stills.{kind}").stat().st_size > 1000
    courses = pd.read_parquet(tmp_path / "run" / "courses.parquet")
    assert set(courses["arm"]) == {"cd19_fmc63", "cotransduced"}
    about = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert about["settings"]["engine"]["world"] == "grid"
