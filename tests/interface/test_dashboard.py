"""The dashboard: its controls, its patients, and the page in a real browser."""

from __future__ import annotations

import io
import math
import os
import re
import signal
import subprocess
import sys
import warnings
import weakref
from collections.abc import Iterator
from gc import collect
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from escape_abm import compose, parameter_rows
from escape_abm.figures.style import BLUE, GREEN
from escape_abm.interface import dashboard_choices
from tests import test_start
from tests.interface import browser
from tests.interface.prompt import in_front

start = test_start.start  # start.py in an empty project
KILL, LOSS = "biology.killing.kill_per_day", "biology.antigens.cd19.last_hit_per_division"


@pytest.fixture(scope="module")
def dashboard() -> ModuleType:
    """The module; skipped where its extra is not installed."""
    with warnings.catch_warnings(action="ignore"):
        pytest.importorskip("solara", reason="the dashboard is not installed: python3 start.py setup dashboard")
        from escape_abm.interface import dashboard

        return dashboard


# ------------------------------------------------------------------------------------------------------- controls


def test_sliders_have_the_limits_of_the_rows() -> None:
    rows = {row.path: row for row in parameter_rows()}
    assert set(dashboard_choices.dials()) == set(dashboard_choices.SLIDERS)
    for path, dial in dashboard_choices.dials().items():
        row = rows[path]
        assert 10**dial.low == pytest.approx(row.plausible[0])
        assert 10**dial.high == pytest.approx(min(row.plausible[1], row.allowed[1] / dial.fold))
        assert row.plausible[0] <= row.value <= 10**dial.high
        assert dial.in_sample(dial.value(dial.high)) <= row.allowed[1]
        steps = (dial.start - dial.low) / dial.step
        assert steps == pytest.approx(round(steps))  # a browser would move one that is between two steps


def test_controls_start_where_the_configuration_does() -> None:
    film, model = compose([], "marrow"), dashboard_choices.WatchedPatient()
    assert model.settings == film.model_copy(update={"follow_up_months": 12.0}).sampled()
    for row in parameter_rows(film.biology):
        if row.path in dashboard_choices.dials():
            dial = dashboard_choices.dials()[row.path]
            assert dial.in_sample(dial.value(dial.start)) == pytest.approx(row.value, rel=1e-12)
            assert (dial.fold == 1) == ("last_hit" not in row.path)


def test_labels_say_value_and_unit() -> None:
    dial = dashboard_choices.dials()[KILL]
    assert dial.label(dial.start) == "CAR T: largest kill hazard of one target, 2.9/d"
    assert dial.label(dial.low) == "CAR T: largest kill hazard of one target, 0.5/d"
    dial = dashboard_choices.dials()[LOSS]
    assert dial.label(dial.start).endswith("2.6e-08/division (in the sample 0.01)")


def test_every_product_can_be_chosen() -> None:
    for label, name in dashboard_choices.products().items():
        model = dashboard_choices.WatchedPatient(product=label)
        assert model.settings.product.name == model.all_settings.product.name == name


# ------------------------------------------------------------------------------------------------------- patients


def test_a_slider_moves_the_sample_and_the_whole_patient() -> None:
    usual = dashboard_choices.WatchedPatient()
    model = dashboard_choices.WatchedPatient(**{KILL: math.log10(0.5), LOSS: math.log10(2.6e-7), "product": "Tandem"})
    for settings in (model.settings, model.all_settings):
        assert settings.biology.killing.kill_per_day == 0.5
        assert settings.product.label == "Tandem"
    assert model.settings.biology.antigens["cd19"].last_hit_per_division == pytest.approx(0.1)
    assert model.all_settings.biology.antigens["cd19"].last_hit_per_division == 2.6e-7
    assert model.settings.biology.car_t == usual.settings.biology.car_t
    assert model.all_cells.entry.sum() > 1e12


def test_made_again_it_is_the_same_run() -> None:
    one, two, other = (dashboard_choices.WatchedPatient(patient=i) for i in (1, 1, 2))
    for model in (one, two, other):
        for _ in range(4):
            model.step()
    assert one.course.day == 4
    assert one.numbers == two.numbers != other.numbers
    assert (one.kind_at == two.kind_at).all()
    assert (one.all_cells.cells == two.all_cells.cells).all()


def test_it_tells_how_it_ends() -> None:
    model = dashboard_choices.WatchedPatient(**{"biology.car_t.effector_death_per_day": 0.0})
    assert re.fullmatch(r"day 0: disease, \d+ % blasts", model.told())
    while model.running:
        model.step()
    assert model.told() == "day 28: no remission"


# ----------------------------------------------------------------------------------------- the page, no browser


def test_pages_have_their_own_patient_and_let_go_of_old_ones(
    dashboard: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:  # what other tests of the process still hold must not count
        mine = f"{__file__}::test_pages_have_their_own_patient_and_let_go_of_old_ones"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", mine], check=True, env=clean, cwd=Path(__file__).parents[2]
        )
        return
    import ipyvuetify
    import solara

    made: list[weakref.ref[Any]] = []

    class Known(dashboard.WatchedPatient):  # type: ignore[misc, name-defined]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            made.append(weakref.ref(self))

    monkeypatch.setattr(dashboard, "WatchedPatient", Known)
    with warnings.catch_warnings(action="ignore"):
        (_, one), (_, other) = [solara.render(solara.AppLayout(children=[dashboard.Page()])) for _ in range(2)]
        one.find(ipyvuetify.Btn, children=["Step"]).widget.click()
        assert [model().course.day for model in made] == [1, 0]  # type: ignore[union-attr]
        for _ in range(6):
            one.find(ipyvuetify.Btn, children=["Reset"]).widget.click()
        assert made[-1]().course.day == 0  # type: ignore[union-attr]
        collect()
        # Of the seven of this session, Solara keeps what a page was first drawn with, and the last two.
        assert sum(model() is not None for model in made[:1] + made[2:]) <= 4
        one.close()
        other.close()


# ------------------------------------------------------------------------------------------------- in a browser

# Runs the dashboard as a user does, and tells of every connection that it tries to make to another machine.
SERVER = """
import runpy, sys
def told(event, of):
    if event == "socket.connect" and isinstance(of[1], tuple) and of[1][0] not in ("127.0.0.1", "::1"):
        sys.stderr.write(f"CONNECTS {of[1]}\\n")
    if event == "socket.getaddrinfo" and of[0] not in ("127.0.0.1", "localhost", None):
        sys.stderr.write(f"LOOKS UP {of[0]}\\n")
sys.addaudithook(told)
sys.argv[1:] = ["--port", "0"]
runpy.run_module("escape_abm.interface.dashboard", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def server(dashboard: ModuleType) -> Iterator[subprocess.Popen[str]]:
    """The dashboard, started by its command."""
    process = in_front([sys.executable, "-c", SERVER], out=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def share(picture: bytes, colour: str) -> float:
    """Share of the pixels that have a colour."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), dtype=float)
    return float((np.abs(pixels - 255 * np.array(to_rgb(colour))).max(axis=2) < 12).mean())


@pytest.mark.slow
@pytest.mark.skipif(browser.installed() is None, reason="no Chromium here: apt-get install chromium")
def test_in_a_browser(server: subprocess.Popen[str]) -> None:
    assert server.stdout is not None
    greeting = server.stdout.readline()
    found = re.search(r"(http://127\.0\.0\.1:\d+) ", greeting)
    assert found, server.communicate(timeout=5)[1]
    with browser.Browser() as page:
        page("Page.navigate", url=found[1])

        def told() -> str:
            return str(page.js("document.querySelector('#marrow')?.alt ?? ''"))

        def day() -> int:
            return int(told().split("day ")[1].split(":")[0])

        def press(label: str) -> None:
            page.click(
                f"[...document.querySelectorAll('button')].find(b => b.innerText.trim().toUpperCase() == '{label}')"
            )

        def step_to(goal: int) -> str:
            while day() < goal:
                before = day()
                press("STEP")
                browser.wait_for("a day passes", lambda before=before: day() > before)
            return told()

        def reset() -> None:
            press("RESET")
            browser.wait_for("day 0", lambda: day() == 0)

        def marrow() -> bytes:
            return page.picture("document.querySelector('#marrow')", height=0.82)  # above the legend

        browser.wait_for("the page is drawn", lambda: page.js("document.querySelector('#whole')?.naturalWidth"))
        browser.wait_for("leukaemia is seen", lambda: share(marrow(), BLUE) > 0.08)
        assert day() == 0
        assert "differ from this run" not in page.js("document.body.innerText")
        first = marrow()
        assert share(first, GREEN) > 0

        press("▶")
        browser.wait_for("a week passes", lambda: day() >= 7)
        press("❚❚")
        browser.wait_for("it rests", lambda: page.js("document.body.innerText").count("▶") >= 1)
        assert share(marrow(), BLUE) < share(first, BLUE) / 4
        assert share(marrow(), GREEN) > 2 * share(first, GREEN)

        reset()
        assert share(marrow(), BLUE) == pytest.approx(share(first, BLUE), rel=0.02)
        usual = step_to(2)
        reset()
        assert step_to(2) == usual

        slider = "[...document.querySelectorAll('.v-input__slider')].find(s => s.innerText.includes('kill hazard'))"
        page.click(f"{slider}.querySelector('.v-slider')", across=0.02)
        browser.wait_for("the label follows", lambda: "one target, 0.5" in page.js(f"{slider}.innerText"))
        browser.wait_for("word of it", lambda: "differ from this run" in page.js("document.body.innerText"))
        reset()
        assert "differ from this run" not in page.js("document.body.innerText")
        slower = step_to(2)
        assert float(slower.split()[-3]) > float(usual.split()[-3])  # weaker CAR T cells leave more blasts

        assert page.errors == []
        others = [url for url in page.requests if not re.match(rf"(data:|blob:|{found[1]}|ws{found[1][4:]})", url)]
        assert others == []
    server.send_signal(signal.SIGINT)
    out, err = server.communicate(timeout=15)
    assert (server.returncode, out, err) == (0, "", "")


# --------------------------------------------------------------------------------------------------- the command


def test_a_port_that_is_taken(dashboard: ModuleType) -> None:
    with dashboard.listen(0) as one:
        host, taken = one.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(SystemExit, match=f"--port {taken}: this port is taken"):
            dashboard.listen(taken)
    for none in (-1, 99_999):
        with pytest.raises(SystemExit, match=f"--port {none}: a port is a number from 1 to 65535"):
            dashboard.listen(none)
    with dashboard.listen(None) as usual, dashboard.listen(None) as other:
        assert usual.getsockname() != other.getsockname()


def test_start_installs_the_dashboard_when_asked(start: ModuleType) -> None:
    assert start.main(["run"]) == 7
    assert not any("dashboard" in word for call in start.calls for word in call)
    start.calls.clear()
    assert start.main(["dashboard", "--port", "9000"]) == 7
    assert any(".[dev,dashboard]" in call for call in start.calls)
    assert start.calls[-1] == (start.tool("python"), "-m", "escape_abm.interface.dashboard", "--port", "9000")
    start.calls.clear()
    assert start.main(["dashboard"]) == 7
    assert start.calls == [(start.tool("python"), "-m", "escape_abm.interface.dashboard")]
    assert start.main(["setup", "dashboard"]) == 0
