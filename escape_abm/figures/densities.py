"""Figure of antigen densities: a histogram of molecules per cell for each patient, and what a CAR needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter
from numpy.typing import NDArray

from escape_abm.figures.style import BLACK, BLUE, OTHER_COLOUR, OTHER_MARKERS, PRODUCT_STYLE, STYLE, YELLOW, canvas

FULL, LOW, OUTSIDE = "#A9CCE3", YELLOW, "#EEEEEE"
ROW_INCHES, MOST_INCHES = 0.42, 11.0
PEAK = 0.82  # of a row
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1)), "-.")


def densities(
    table: pd.DataFrame,
    patients: pd.DataFrame,
    halves: Mapping[str, Mapping[str, float]],
    labels: Mapping[str, str] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """A panel for each antigen, a row for each patient.

    Args:
        table: `patient, antigen, from_molecules, to_molecules, share`, as `density_cohort.histograms` gives it.
        patients: A row per patient and antigen, as `densities.measure` gives it.
        halves: Half-densities by antigen and product; a blast is low below the first of its antigen.
        labels: Of the products.
    """
    names, antigens = list(patients["patient"].unique()), list(patients["antigen"].unique())
    height = min(MOST_INCHES, 1.45 + ROW_INCHES * len(names))
    with mpl.rc_context(STYLE):
        figure, axes = canvas(height, 1, len(antigens), sharey=True)
        for ax, antigen in zip(axes.flat, antigens, strict=True):
            its, those = table[table["antigen"] == antigen], patients[patients["antigen"] == antigen]
            _beads(ax, those)
            _lines(ax, list(halves.get(antigen, {}).items()))
            first, half = next(iter(halves.get(antigen, {}).items()), ("", 0.0))
            for row, name in enumerate(names):
                about = those[those["patient"] == name].iloc[0]
                _row(ax, row, its[its["patient"] == name], float(about["median_molecules"]), half)
                _share(ax, row, about, first)
            _axes(ax, antigen.upper(), its, names)
        axes.flat[0].set_ylabel("Patient")
        known = {name: (labels or {}).get(name, name) for its in halves.values() for name in its}
        figure.legend(handles=_legend(halves, known), loc="outside upper center", ncols=2, frameon=False)
    return figure, table


def _edges(its: pd.DataFrame) -> NDArray[np.float64]:
    """Edges of one patient's bins, with a place of two bins for what lies below the first, a bin apart."""
    upper = its["to_molecules"].to_numpy(dtype=float)
    step = upper[1] / upper[0]
    return np.array([upper[0] / step**3, upper[0] / step, *upper])


def _row(ax: Axes, row: int, its: pd.DataFrame, median: float, half: float) -> None:
    """The histogram of a patient: its median, and what is below the half-density in another colour."""
    edges, share = _edges(its), its["share"].to_numpy(dtype=float)
    heights = PEAK * np.insert(share, 1, 0.0) / share.max()
    cut = int(np.clip(np.searchsorted(edges, half), 1, len(heights)))  # the bin that holds it has both colours
    low = np.append(edges[:cut], half), heights[:cut], LOW
    full = np.append(half, edges[cut:]), heights[cut - 1 :], FULL
    for places, tops, colour in (low, full) if half > edges[0] else ((edges, heights, FULL),):
        ax.stairs(row - tops, places, baseline=row, fill=True, color=colour, zorder=2)
    ax.stairs(row - heights, edges, baseline=row, color=BLACK, linewidth=0.5, zorder=3)
    ax.plot([median] * 2, [row, row - PEAK], color=BLUE, linewidth=1.6, zorder=4)


def _share(ax: Axes, row: int, about: pd.Series, product: str) -> None:
    """The share of blasts below the first half-density, in figures."""
    if product:
        low = float(about[f"below_{product}"])
        text = f"{low:.1%}" if low < 0.0995 else f"{low:.0%}"
        ax.annotate(text, (0.015, row - 0.42), xycoords=("axes fraction", "data"), fontsize=7, va="center")


def _beads(ax: Axes, those: pd.DataFrame) -> None:
    """Grey where a patient's densities are not between beads."""
    background = those["background_molecules"].fillna(0)
    low = float((those["beads_from_molecules"] - background).max())
    high = float((those["beads_to_molecules"] - background).min())
    for span in ((1e-9, max(low, 1e-9)), (high, 1e12)):
        ax.axvspan(*span, color=OUTSIDE, linewidth=0, zorder=0)


def _lines(ax: Axes, halves: list[tuple[str, float]]) -> None:
    for number, (name, half) in enumerate(halves):
        colour, marker = _look(name)
        ax.axvline(half, color=BLACK, linestyle=DASHES[number % len(DASHES)], linewidth=1, zorder=5)
        ax.plot(
            half, 1.0, marker, color=colour, transform=ax.get_xaxis_transform(), clip_on=False, markersize=6,
            markeredgecolor=BLACK, markeredgewidth=0.5, zorder=6,
        )  # fmt: skip


def _look(name: str) -> tuple[str, str]:
    return PRODUCT_STYLE.get(name, (OTHER_COLOUR, OTHER_MARKERS[crc32(name.encode()) % len(OTHER_MARKERS)]))


def _axes(ax: Axes, title: str, its: pd.DataFrame, names: list[str]) -> None:
    """A logarithmic axis of whole decades, with a place for what lies below it."""
    edges = _edges(its)
    first, last = edges[2], edges[-1]
    decades = np.arange(round(np.log10(first)), np.floor(np.log10(last)) + 1)
    below = float(np.sqrt(edges[0] * edges[1]))
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator([below, *(10.0**decades)]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"<{first:,.0f}" if x < first / 1.01 else _short(x, first)))
    ax.xaxis.set_minor_locator(FixedLocator(np.outer(10.0**decades, range(2, 10)).ravel().tolist()))
    ax.xaxis.set_minor_formatter(NullFormatter())
    room = (last / edges[0]) ** 0.14  # for the shares at the left
    ax.set_xlim(edges[0] / room, last)
    ax.set_ylim(len(names) - 0.85, -1.05)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("Molecules per blast")
    ax.set_title(title, loc="left", pad=7)


def _short(x: float, first: float) -> str:
    """Whole decades; the first has no label, as that of what lies below it stands there."""
    return "" if x < first * 1.01 else f"{x:,.0f}"


def _legend(halves: Mapping[str, Mapping[str, float]], labels: Mapping[str, str]) -> list[Artist]:
    out: list[Artist] = []
    for antigen, its in halves.items():
        for number, (name, half) in enumerate(its.items()):
            colour, marker = _look(name)
            out.append(
                Line2D(
                    [], [], color=BLACK, linestyle=DASHES[number % len(DASHES)], linewidth=1, marker=marker,
                    markerfacecolor=colour, markeredgewidth=0.5, markersize=6,
                    label=f"{antigen.upper()} half-density of {labels[name]}: {half:,.0f} molecules",
                )
            )  # fmt: skip
    if out:
        out.append(Patch(color=LOW, label="below the first half-density (number: share of blasts)"))
    out.append(Patch(color=FULL, label="blasts of a patient (height: share)"))
    out.append(Line2D([], [], color=BLUE, linewidth=1.6, label="median"))
    out.append(Patch(color=OUTSIDE, label="outside the beads"))
    return out
