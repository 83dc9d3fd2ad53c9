"""The marrow grid as a picture: leukaemic cells coloured by phenotype, CAR T cells on top, the niche outlined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray
from PIL import Image

from escape_abm.engines.grid import MarrowGrid
from escape_abm.figures.courses import course_group
from escape_abm.figures.style import BLACK, COURSE_STYLE, GREEN, GREY, STYLE, WIDTH_INCHES, stamp
from escape_abm.inputs.settings import DAYS_PER_MONTH
from escape_abm.patient.course import Trajectory
from escape_abm.patient.marrow_model import MarrowModel
from escape_abm.trials.virtual_trial import course as tabulated

EMPTY = "#F4F1EC"
NICHE = "#E4DDD0"
RESTING = "#8FD3BD"
"""Normal marrow; the same in the protected niche; a CAR T cell that is not an effector."""


def image(model: MarrowGrid) -> NDArray[np.float64]:
    """(side, side, 3) colours of the sites: by the phenotype of the leukaemic cell on them, or the marrow's own."""
    colours = np.array([to_rgb(_colour(label)) for label in model.labels[: model.b_kind]])
    out = np.where(model.niche[:, None], to_rgb(NICHE), to_rgb(EMPTY))
    taken = model.kind_at >= 0
    out[taken] = colours[model.kind_at[taken]]
    # Sites count down the columns of the grid: x first. In a picture x goes to the right and y up.
    return out.reshape(model.side, model.side, 3).transpose(1, 0, 2)


def _colour(label: str) -> str:
    return COURSE_STYLE[course_group(label) or "an antigen dim"][0]


def draw(ax: Axes, model: MarrowGrid, *, marker_points: float = 2.2) -> None:
    """Draw the marrow as it is now: sites as an image, CAR T cells as dots, effectors darker than the others."""
    ax.imshow(image(model), origin="lower", interpolation="nearest", extent=(0, model.side, 0, model.side))
    lacking = [k for k, label in enumerate(model.labels[: model.b_kind]) if label.startswith("CD") and "-" in label]
    x, y = np.divmod(np.flatnonzero(np.isin(model.kind_at, lacking)), model.side)
    ax.plot(x + 0.5, y + 0.5, "s", color="white", markersize=marker_points / 4, markeredgewidth=0)  # told in grey too
    niche = model.niche.reshape(model.side, model.side).T
    if niche.any():
        at = np.arange(model.side) + 0.5
        ax.contour(at, at, niche, levels=[0.5], colors=[BLACK], linewidths=0.7, linestyles="--")
    for phases, colour in ((("memory", "exhausted"), RESTING), (("effector",), GREEN)):
        crowd = [a.site for a in model.car_t_cells() if a.phase in phases]
        x, y = np.divmod(np.array(crowd, dtype=int), model.side)
        ax.plot(x + 0.5, y + 0.5, "o", color=colour, markersize=marker_points, markeredgecolor="white",
                markeredgewidth=0.2 * marker_points / 2)  # fmt: skip
    ax.set(xlim=(0, model.side), ylim=(0, model.side), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set(visible=True, color="#BBBBBB", linewidth=0.6)


def legend(labels: Iterable[str]) -> list[Patch | Line2D]:
    """Handles of a legend for the leukaemic phenotypes among these labels, CAR T cells, the marrow and its niche."""
    groups = {course_group(label) or "an antigen dim" for label in labels}
    handles: list[Patch | Line2D] = [
        Patch(
            facecolor=style[0],
            hatch="...." if "−" in name else "",
            edgecolor="white",
            linewidth=0,
            label=f"leukaemia {name}" if name.startswith("CD") else f"leukaemia, {name}",
        )
        for name, style in COURSE_STYLE.items()
        if name in groups and name not in ("CAR T cells", "normal B cells")
    ]
    for label, colour in (("CAR T effector", GREEN), ("CAR T memory or exhausted", RESTING)):
        handles.append(Line2D([], [], linestyle="", marker="o", color=colour, markersize=4, label=label))
    handles.append(Patch(facecolor=EMPTY, edgecolor="#BBBBBB", label="normal marrow"))
    handles.append(Patch(facecolor=NICHE, edgecolor=BLACK, linestyle="--", label="protected niche"))
    return handles


class View:
    """A marrow and its course so far, drawn on two axes and kept up to date frame by frame."""

    def __init__(self, marrow: Axes, course: Axes, model: MarrowModel, days: int) -> None:
        """Draw day 0.

        Args:
            marrow, course: Axes for the marrow and, below, for numbers of cells over time.
            model: What is watched.
            days: How far the time axis goes.
        """
        self.marrow, self.course, self.model = marrow, course, model
        clinic, top = model.settings.clinic, float(model.kind_at.size)
        relapse = clinic.marrow_cells(clinic.relapse_blast_fraction)
        course.axhline(relapse, color=GREY, linewidth=0.7)
        course.annotate("5 % blasts", (1, relapse), xycoords=("axes fraction", "data"), fontsize=6.5, color="#666666",
                        ha="right", va="bottom")  # fmt: skip
        course.set(yscale="log", ylim=(0.8, 1.5 * top), xlim=(0, days / DAYS_PER_MONTH), xlabel="Months from infusion")
        course.xaxis.set_major_locator(MultipleLocator(1))
        self.lines = {
            name: course.plot([], [], color=colour, linestyle=dashes, linewidth=width)[0]
            for name, (colour, dashes, width) in COURSE_STYLE.items()
            if name != "normal B cells"
        }
        self.update()

    def update(self) -> None:
        """Draw the marrow and its course as they are now."""
        self.marrow.clear()
        draw(self.marrow, self.model)
        table = course_table(self.model.trajectory())
        for name, line in self.lines.items():
            its = table[table["line"] == name]
            cells = its["cells"].where(its["cells"] > 0)
            line.set_data(its["day"] / DAYS_PER_MONTH, cells)
        self.marrow.set_title(f"{self.model.settings.product.label}\n{self.model.told()}")


def course_table(path: Trajectory) -> pd.DataFrame:
    """`day, line, cells` of a course, in the lines of the course picture."""
    table = tabulated(path)
    table["line"] = table["group"].map(course_group)
    return pd.DataFrame(table.dropna(subset="line").groupby(["line", "day"], sort=False, as_index=False)["cells"].sum())


class Film:
    """Marrows side by side, the same patient under each product: frames of a film, and stills of a few days.

    Attributes:
        stills: Name to (figure, table that it shows).
    """

    def __init__(self, models: Sequence[MarrowModel], days: int, about: str) -> None:
        """Draw day 0.

        Args:
            models: One for each product.
            days: How long to watch.
            about: One line under each picture.
        """
        self.models, self.last = models, days
        with mpl.rc_context(STYLE):
            self.figure = Figure(figsize=(3.6 * len(models), 5.8), layout="constrained")
            axes = self.figure.subplots(2, len(models), squeeze=False, height_ratios=[3, 1.15], sharey="row")
            self.views = [View(axes[0, i], axes[1, i], model, days) for i, model in enumerate(models)]
            axes[1, 0].set_ylabel("Cells in the sample")
            self.figure.legend(handles=legend(_seen(models)), loc="outside upper center", ncols=3, frameon=False)
            stamp(self.figure, about)
        self.about, self.frames = about, [self._frame()]

    def _frame(self) -> Image.Image:
        canvas: Any = FigureCanvasAgg(self.figure)
        with mpl.rc_context(STYLE):
            canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        return picture.quantize(128, dither=Image.Dither.NONE)

    def days(self, frames: int, stills: Sequence[int]) -> Iterator[int]:
        """Let each day pass, and take so many frames, and stills on these days and the last."""
        shots = {round(d) for d in np.linspace(0, self.last, frames)}
        columns = [d for d in stills if d < self.last] + [self.last]
        with mpl.rc_context(STYLE):
            sheet = Figure(figsize=(WIDTH_INCHES, 2.1 * len(self.models) + 1.0), layout="constrained")
            axes = sheet.subplots(len(self.models), len(columns), squeeze=False)
        for day in range(self.last + 1):
            running = day > 0 and any(model.running for model in self.models)
            for model in self.models:
                if day > 0 and model.running:
                    model.step()
            with mpl.rc_context(STYLE):
                for row, view in zip(axes, self.views, strict=True):
                    if day in columns:
                        draw(row[columns.index(day)], view.model, marker_points=1.1)
                        row[columns.index(day)].set_title(view.model.told().replace(": ", "\n", 1))
                        row[0].set_ylabel(view.model.settings.product.label)
            if running and (day in shots or not any(model.running for model in self.models)):
                with mpl.rc_context(STYLE):
                    for view in self.views:
                        view.update()
                self.frames.append(self._frame())
            yield day
        with mpl.rc_context(STYLE):
            sheet.legend(handles=legend(_seen(self.models)), loc="outside upper center", ncols=4, frameon=False)
            stamp(sheet, self.about)
        self.stills = {"marrow_stills": (sheet, self.courses())}

    def courses(self) -> pd.DataFrame:
        """`patient, arm, day, group, cells` of each marrow."""
        return pd.concat([tabulated(model.trajectory()) for model in self.models], ignore_index=True)

    def write(self, path: Path, frames_per_second: int) -> None:
        """Write the film as a GIF that goes round and rests on its last frame."""
        pause = [1000 // frames_per_second] * (len(self.frames) - 1) + [2500]
        first, *others = self.frames
        first.save(path, save_all=True, append_images=others, duration=pause, loop=0, optimize=True)


def _seen(models: Sequence[MarrowModel]) -> list[str]:
    """Leukaemic phenotypes that a marrow can show."""
    return list(dict.fromkeys(label for model in models for label in model.labels[: model.b_kind]))
