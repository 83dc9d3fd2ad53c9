"""The marrow in a browser: one patient under one product, day by day, in Mesa's dashboard (SolaraViz).

Run `python3 start.py dashboard`, or `python -m escape_abm.interface.dashboard` where the extra `dashboard` is
installed. The page is served to this machine only and fetches nothing from elsewhere.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import errno
import io
import math
import os
import socket
import sys
import warnings
import webbrowser
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import solara
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MultipleLocator

from escape_abm.figures import marrow
from escape_abm.figures.courses import course_group
from escape_abm.figures.style import COURSE_STYLE, GREEN, GREY, STYLE
from escape_abm.inputs.settings import DAYS_PER_MONTH, Settings
from escape_abm.interface.dashboard_choices import (
    IN_TURN,
    SAMPLE,
    WatchedPatient,
    composed,
    dials,
    products,
    resolved,
    start,
)
from escape_abm.patient.course import Trajectory
from escape_abm.patient.marrow_model import ended
from escape_abm.trials.virtual_trial import course as tabulated

with warnings.catch_warnings(action="ignore"):  # Solara warns of how Mesa uses it
    from mesa.visualization import SolaraViz
    from mesa.visualization.utils import update_counter

NAME, HOST, PORT = "escape_abm: the marrow seen", "127.0.0.1", 8765
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
"""Matplotlib's own way to typeset powers takes as long as the rest of a picture."""


def marrow_now(model: WatchedPatient) -> Figure:
    """The marrow as it is now, with its legend."""
    figure = Figure(figsize=(4.4, 5.3))
    marrow.draw(figure.add_axes((0.005, 0.17, 0.99, 0.825)), model, marker_points=2.8)
    handles = marrow.legend(model.labels[: model.b_kind])
    figure.legend(handles=handles, loc="lower center", ncols=2, frameon=False, handlelength=1.3, columnspacing=1.3)
    return figure


class Curves:
    """Leukaemic cells by phenotype and CAR T cells by class over time, to draw again each day."""

    def __init__(self, settings: Settings, classes: Sequence[str]) -> None:
        """Draw what stays the same for a course with these settings and labels of classes."""
        self.figure = Figure(figsize=(5.6, 1.95))
        axes = self.figure.subplots(1, 2, sharey=True)
        self.figure.subplots_adjust(left=0.08, right=0.985, bottom=0.2, top=0.89, wspace=0.08)
        style = {
            name: (axes[0], *s) for name, s in COURSE_STYLE.items() if name not in ("CAR T cells", "normal B cells")
        }
        style |= {c: (axes[1], GREEN, dash, 1.6) for c, dash in zip(classes, ("-", "--", ":", "-."), strict=False)}
        self.lines = {}
        for name, (ax, colour, dash, width) in style.items():
            past, future = ax.plot([], [], [], [], color=colour, linestyle=dash, linewidth=width)
            past.set_label(name.removeprefix("CAR T "))
            future.set_alpha(0.25)
            self.lines[name] = past, future, ax.plot([], [], "o", color=colour, markersize=3, clip_on=False)[0]
        relapse = settings.clinic.marrow_cells(settings.clinic.relapse_blast_fraction)
        axes[0].axhline(relapse, color=GREY, linewidth=0.7)
        axes[0].annotate("5 % blasts", (0.99, relapse), xycoords=("axes fraction", "data"), fontsize=6.5,
                         color="#666666", ha="right", va="bottom")  # fmt: skip
        top = 5 * settings.biology.leukaemia.carrying_capacity_cells
        titles = ("Leukaemic cells, coloured as on the left", "CAR T cells, by what they see")
        for ax, title in zip(axes, titles, strict=True):
            ax.set(yscale="log", ylim=(0.8, top), xlim=(0, settings.follow_up_months), xlabel="Months from infusion")
            ax.set_title(title, fontsize=8, loc="left", y=1.02)
            ax.xaxis.set_major_locator(MultipleLocator(3))
            ax.yaxis.set_major_locator(LogLocator(numticks=5))
            ax.yaxis.set_major_formatter(lambda cells, _: "10" + f"{math.log10(cells):.0f}".translate(RAISED))
            ax.minorticks_off()
        axes[1].legend(loc="upper right", ncols=3, frameon=False, handlelength=1.8, columnspacing=1)

    def draw(self, path: Trajectory, today: float) -> Figure:
        """Draw a course up to today, and what comes later faint. A line ends where there are no cells."""
        table = tabulated(path)
        name = table["group"].map(lambda group: group if group in self.lines else course_group(group))
        cells = table["cells"].groupby([name, table["day"]]).sum().unstack(0)
        day, cells = cells.index, cells.where(cells > 0)
        for line in self.lines.keys() & set(cells):
            for part, when in zip(self.lines[line], (day <= today, day >= today, day == today), strict=True):
                part.set_data(day[when] / DAYS_PER_MONTH, cells[line][when])
        return self.figure


# ----------------------------------------------------------------------------------------------------------- page

CSS = """
.v-input__slider .v-input__slot { flex-direction: column; align-items: stretch; margin-bottom: 0; }
.v-input__slider .v-label { height: auto !important; white-space: normal; font-size: 0.9rem; line-height: 1.2; }
.v-slider__thumb-label-container { display: none; }
.seen .v-card__title { font-size: 1rem; padding: 8px 12px 0; }
.seen .v-card__text { font-size: 0.85rem; padding: 4px 12px 8px; }
.seen img { width: 100%; display: block; }
"""
HELP = {
    "What you see": "The marrow of one patient, cell by cell. A coloured square is a leukaemic cell, coloured by the "
    "antigens it shows; a light one is normal marrow. A dot is a CAR T cell: dark green while it attacks, pale when it "
    "rests or is exhausted. It kills what it touches, if that shows an antigen it sees. The dashed line bounds a "
    "protected niche.",
    "What to try": "Press ▶. The blue cells go, and what comes back cannot be seen by these CAR T cells. Then choose "
    "“{other}”, press Reset and ▶: the same patient and leukaemia, another product. Then try another patient, "
    "or less CD19. Controls take effect at Reset.",
    "Why two scales": "One cell in a billion decides on escape; the sample has ten thousand. So antigens are lost "
    "{folds} times as often in it. The lower curves are of all cells of this patient at the rates of the starting "
    "fit. Each slider moves both. Nothing here is calibrated: it shows how escape works and is not for decisions on "
    "patients.",
}


def show(name: str, told: str, figure: Figure) -> None:
    """Put a picture on the page. `told` is for readers who do not see it."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    solara.v.Html(tag="img", attributes={"src": source, "alt": told, "id": name})


@solara.component
def Seen(model: WatchedPatient) -> None:
    """The pictures, drawn again after each step."""
    update_counter.get()
    with IN_TURN, mpl.rc_context(STYLE):
        told, path, today = model.told(), model.trajectory(), model.course.day
        end, classes = ended(model.all_cells, model.all_settings), list(dict.fromkeys(c.label for c in model.classes))
        sample, whole = solara.use_memo(
            lambda: [Curves(s, classes) for s in (model.settings, model.all_settings)], [model]
        )
        with solara.v.Row(class_="seen", dense=True):
            with solara.v.Col(cols=12, md=5), solara.Card(f"{model.settings.product.label}, {told}", margin=0):
                show("marrow", f"The marrow on {told}", marrow_now(model))
            with solara.v.Col(cols=12, md=7):
                with solara.Card(f"This sample: up to {model.kind_at.size:,} cells, each an agent", margin=0):
                    show("sample", f"Cells in the sample up to {told}", sample.draw(path, today))
                with solara.Card("The same patient, all cells: a trillion, by the counts engine", margin=0):
                    show("whole", f"Cells in the whole patient up to {end}", whole.draw(model.all_cells, today))
                    solara.Text(f"Faint: still to come. It ends on {end}.")


@solara.component
def Page() -> None:
    """The page; each browser session has controls and a patient of its own."""
    chosen = solara.use_memo(lambda: {name: solara.Reactive(value) for name, value in start().items()}, [])
    model = solara.use_memo(_first, [])
    solara.Title(NAME)
    solara.Style(CSS)
    SolaraViz(model, components=[], model_params=controls(chosen), name=NAME)
    if resolved(chosen) != model.value.choices:
        solara.Info("The controls differ from this run. Press Reset to start anew with them.", dense=True)
    Seen(model.value)
    other = composed(*SAMPLE).arms[-1].label
    folds = " and ".join(f"{d.fold:,.0f} ({d.whose})" for d in dials().values() if d.fold != 1)
    with solara.v.Row(class_="seen", dense=True):
        for title, text in HELP.items():
            with solara.v.Col(cols=12, md=4), solara.Card(title, margin=0):
                solara.Text(text.format(other=other, folds=folds))


def controls(chosen: Mapping[str, solara.Reactive[Any]]) -> dict[str, dict[str, Any]]:
    """Mesa's description of the controls, with labels that say where they stand."""
    last, patient = composed(*SAMPLE).cohort.size - 1, chosen["patient"].value
    out: dict[str, dict[str, Any]] = {
        "product": {"type": "Select", "label": "CAR T product", "values": list(products())},
        "patient": {"type": "SliderInt", "label": f"Virtual patient {patient}: the same disease, other luck", "min": 0,
                    "max": last, "step": 1},
    }  # fmt: skip
    for path, dial in dials().items():
        limits = {"min": dial.low, "max": dial.high, "step": dial.step}
        out[path] = {"type": "SliderFloat", "label": dial.label(chosen[path].value), **limits}
    return {name: {**control, "value": chosen[name]} for name, control in out.items()}


class Nobody:
    """Who is there once a session was closed: Mesa goes on playing until it is told that there is no more."""

    running = False

    def step(self) -> None:
        """Nothing."""


def _first() -> solara.Reactive[WatchedPatient]:
    """The session's patient. A reactive never lets go of what it was made with, so that is nobody."""
    model: Any = solara.Reactive(Nobody())
    model.value = WatchedPatient()
    return model


# --------------------------------------------------------------------------------------------------------- server


def listen(wanted: int | None) -> socket.socket:
    """A socket at the port asked for, or the usual one, or any other where that is taken.

    Raises:
        SystemExit: there is no such port, or it is taken, or not for this user.
    """
    why = "a port is a number from 1 to 65535"
    for port in (PORT, 0) if wanted is None else (wanted,):
        try:
            if 0 <= port <= 65535:
                return socket.create_server((HOST, port))
        except OSError as error:
            why = "this port is taken" if error.errno == errno.EADDRINUSE else str(error.strerror)
    raise SystemExit(f"--port {wanted}: {why}; choose another, or leave it out for any that is free")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the page to this machine until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="start.py dashboard", description=NAME)
    parser.add_argument("--port", type=int, help=f"default: {PORT}, or any free one where that is taken")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    options = parser.parse_args(arguments)
    place = listen(options.port)
    os.environ["SOLARA_APP"] = "escape_abm.interface.dashboard"
    import uvicorn
    from solara.server import settings

    settings.main.mode = "production"
    settings.kernel.cull_timeout = "1h"  # of a session that lost its browser
    settings.telemetry.mixpanel_enable = settings.theme.show_banner = False
    # All assets come with solara[assets]. A missing one would be fetched from elsewhere: from nowhere, with this.
    solara.settings.assets.cdn = "none:"
    warnings.filterwarnings("ignore", "Cookies with samesite")
    WatchedPatient()  # compiles, the first time
    address = f"http://{HOST}:{place.getsockname()[1]}"
    sys.stdout.write(f"The dashboard is at {address} (Ctrl-C ends it)\n")
    sys.stdout.flush()
    if options.open:
        webbrowser.open(address)
    config = uvicorn.Config("solara.server.starlette:app", log_level="error", timeout_graceful_shutdown=1)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[place])


if __name__ == "__main__":
    main()
