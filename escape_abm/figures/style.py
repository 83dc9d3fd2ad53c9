"""The look of every figure. Nothing here simulates or reads files; only `save` writes.

One visual language: one colour for each phenotype and outcome (Okabe-Ito) and for each product (Tol's muted scheme)
everywhere. Both are safe for colour-blind readers; hatches, dashes and markers separate what greyscale print would not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from matplotlib.transforms import ScaledTranslation

from escape_abm.inputs.trial import Published
from escape_abm.law.states import LINEAGE_SWITCH
from escape_abm.patient.endpoints import ANTIGEN_NEGATIVE, ANTIGEN_POSITIVE
from escape_abm.trials.comparison import interval

BLUE, VERMILION, PURPLE, GREEN = "#0072B2", "#D55E00", "#CC79A7", "#009E73"
ORANGE, SKY, YELLOW, GREY, BLACK = "#E69F00", "#56B4E9", "#F0E442", "#8C8C8C", "#222222"

OUTCOMES = {
    "in remission": ("#E3EFEA", ""),
    "in remission, MRD-positive": ("#B5D3C7", ""),
    "antigen-positive relapse": (BLUE, ""),
    "antigen-negative relapse": (VERMILION, "////"),
    "lineage switch": (PURPLE, "...."),
    "no remission": (BLACK, ""),
    "death in remission": (GREY, "xx"),
}
# Antigen gone in warm colours, antigen still there in cool ones.
MECHANISM_STYLE = {
    "negative at entry": ("#7A2E00", ""),
    "pre-existing clone": (VERMILION, "////"),
    "acquired on therapy": (ORANGE, "\\\\\\\\"),
    LINEAGE_SWITCH: (PURPLE, "...."),
    "antigen low": (YELLOW, ""),
    "sanctuary": (SKY, "xx"),
    "CAR T lost": (BLUE, ""),
    "rejected": ("#003D66", ""),
    "exhausted": (GREEN, "--"),
    "outgrown": ("#C3D5E3", ""),
    "after transplant": (GREY, ""),
}
NO_REMISSION = "no remission"
# Marker, colour and its filling.
FAILURES = {
    ANTIGEN_NEGATIVE: ("o", VERMILION, VERMILION),
    ANTIGEN_POSITIVE: ("s", BLUE, "white"),
    LINEAGE_SWITCH: ("D", PURPLE, PURPLE),
    NO_REMISSION: ("x", BLACK, BLACK),
}
RELAPSE_STYLE = {
    ANTIGEN_POSITIVE: (BLUE, "-", "antigen-positive"),
    ANTIGEN_NEGATIVE: (VERMILION, "--", "antigen-negative"),
    LINEAGE_SWITCH: (PURPLE, ":", "lineage switch"),
}
COURSE_STYLE: dict[str, tuple[str, Any, float]] = {
    "CD19+CD22+": (BLUE, "-", 1.6),
    "CD19−CD22+": (VERMILION, (0, (5, 1.2)), 1.6),
    "CD19+CD22−": (ORANGE, (0, (4, 1.2, 1, 1.2)), 1.6),
    "CD19−CD22−": (BLACK, (0, (1.2, 0.8)), 1.8),
    "every antigen +": (BLUE, "-", 1.6),
    "an antigen −": (VERMILION, (0, (5, 1.2)), 1.6),
    "a third antigen −": (YELLOW, (0, (5, 1.2)), 1.6),
    "an antigen dim": (SKY, "-", 0.9),
    "lineage switch": (PURPLE, (0, (3, 1, 1, 1, 1, 1)), 1.6),
    "CAR T cells": (GREEN, (0, (9, 2.5)), 1.0),
    "normal B cells": (GREY, ":", 1.2),
}
# With a marker each, since dashes alone are hard to tell apart where lines are short.
COURSE_MARKER = {
    "CD19+CD22+": "o",
    "CD19−CD22+": "^",
    "CD19+CD22−": "v",
    "CD19−CD22−": "s",
    "every antigen +": "o",
    "an antigen −": "^",
    "a third antigen −": ">",
    "an antigen dim": "",
    "lineage switch": "D",
    "CAR T cells": "",
    "normal B cells": "",
}
# A colour for each way to see the antigens, a marker for each product; a variant has the colour of its kind.
PRODUCT_STYLE = {
    "cd19_fmc63": ("#88CCEE", "o"),
    "cd19_fmc63_28z": ("#88CCEE", "<"),
    "cd19_cat": ("#332288", "s"),
    "cd22_m971": ("#DDCC77", "^"),
    "cd22_sensitive": ("#DDCC77", ">"),
    "tandem": ("#CC6677", "D"),
    "tandem_28ox40": ("#CC6677", "d"),
    "car22_19": ("#CC6677", "p"),
    "bicistronic": ("#882255", "v"),
    "cotransduced": ("#44AA99", "P"),
    "auto1_22": ("#117733", "X"),
    "coadministered": ("#999933", "h"),
    "sequential": ("#AA4499", "*"),
}
OTHER_COLOUR, OTHER_MARKERS = "#AAAAAA", "os^Dv<>PXdph"
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "escape_abm",
    "hatch.linewidth": 0.6,
    "figure.dpi": 100,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
WIDTH_INCHES, COLUMN_INCHES = 7.1, 3.5  # two columns of a journal, and one


def canvas(
    height: float, rows: int = 1, columns: int = 1, *, width: float = WIDTH_INCHES, **kwargs: Any
) -> tuple[Figure, np.ndarray[Any, Any]]:
    """A figure outside pyplot's registry, so that nothing stays in memory; height and width in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def save(figure: Figure, stem: Path) -> None:
    """Write a figure as PNG and SVG, without date and with fixed identifiers: the same run gives the same bytes."""
    with mpl.rc_context(STYLE):
        figure.savefig(stem.with_suffix(".png"), dpi=200, metadata={"Software": None})
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})


def mark_products(ax: Axes, arms: Sequence[str]) -> None:
    """Put each product's own marker before its name on a vertical axis with a row for each product."""
    for row, arm in enumerate(arms):
        _mark(ax, arm, (0, row), ("axes fraction", "data"), (-6, 0))
    ax.tick_params(axis="y", length=0, pad=11)


def title_product(ax: Axes, arm: str, label: str, size: float = 8.5) -> None:
    """Title a panel with a product's name behind its own marker; size in points."""
    at: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    ax.annotate(label, (0, 1), (10, 9), **at, fontsize=size, va="center_baseline")
    _mark(ax, arm, (0, 1), "axes fraction", (3, 9))


def _mark(ax: Axes, arm: str, at: tuple[float, float], coordinates: Any, offset: tuple[float, float]) -> None:
    other = OTHER_COLOUR, OTHER_MARKERS[crc32(arm.encode()) % len(OTHER_MARKERS)]
    colour, marker = PRODUCT_STYLE.get(arm, other)
    place = ax.transAxes if coordinates == "axes fraction" else ax.get_yaxis_transform()
    shift = ScaledTranslation(offset[0] / 72, offset[1] / 72, ax.figure.dpi_scale_trans)
    ax.plot(
        *at, marker, color=colour, markersize=5.5, markeredgecolor=BLACK, markeredgewidth=0.5, clip_on=False,
        transform=place + shift, label="_",
    )  # fmt: skip


def month_ticks(follow_up: float = 12) -> MultipleLocator:
    """Ticks for an axis of so many months."""
    return MultipleLocator(3 if follow_up <= 24 else 12)


def whiskers(point: Published) -> list[list[float]] | None:
    """Distances to the bounds of a published interval, as error bars want them."""
    lower, upper = interval(point)
    if lower is None or upper is None:
        return None
    return [[point.estimate - lower], [upper - point.estimate]]


def stamp(figure: Figure, text: str) -> None:
    """A line at the foot of a picture that travels with it: what it is of."""
    with mpl.rc_context(STYLE):
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.set(rect=(0, 0.14 / figure.get_figheight(), 1, 1 - 0.14 / figure.get_figheight()))  # type: ignore[call-arg]
        figure.text(0.995, 0.02 / figure.get_figheight(), text, ha="right", va="bottom", fontsize=5.5, color="#666666")
