"""Figures of daily courses and of times to relapse."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from escape_abm.figures.products import outcome_of
from escape_abm.figures.style import (
    COURSE_MARKER,
    COURSE_STYLE,
    STYLE,
    canvas,
    month_ticks,
    title_product,
)
from escape_abm.inputs.settings import DAYS_PER_MONTH
from escape_abm.law.states import LINEAGE_SWITCH


def course_group(group: str) -> str | None:
    """The line of the course picture that a group of the trajectory table belongs to."""
    if group == "CAR T":
        return "CAR T cells"
    if group in ("normal B cells", LINEAGE_SWITCH):
        return group
    if not re.fullmatch(r"([A-Z0-9]+(\+|-|dim))+", group):
        return None
    if "dim" in group:
        return "an antigen dim"
    name = group.replace("-", "−")
    both, rest = name[:10], name[10:]
    if both in COURSE_STYLE:
        return "a third antigen −" if "−" in rest and "−" not in both else both
    return "an antigen −" if "−" in name else "every antigen +"


def relapse_group(label: str) -> str:
    """The colour group of a relapse's phenotype: what is lost decides, and where nothing is lost, what is dim."""
    return course_group(label.replace("dim", "+") if "-" in label else label) or label


def telling_cases(
    patients: pd.DataFrame, kept: Sequence[int], arms: Sequence[str], n_patients: int, n_arms: int
) -> tuple[list[int], list[str]]:
    """Patients and products for a picture: one after the other, whose fates differ most from those already chosen.

    The first product is always there.
    """
    among = patients[patients["patient"].isin(kept)]
    fates = among.assign(fate=outcome_of(among)).pivot(index="patient", columns="arm", values="fate")

    def choose(table: pd.DataFrame, worth: pd.Series[int], chosen: list[Any], n: int) -> list[Any]:
        while len(chosen) < min(n, len(table)):
            rest = [i for i in table.index if i not in chosen]
            apart = {i: min(((table.loc[i] != table.loc[j]).sum() for j in chosen), default=0) for i in rest}
            chosen.append(max(rest, key=lambda i: (apart[i] > 0 or not chosen, worth[i], apart[i])))
        return chosen

    by_arm = fates.T.loc[list(arms)]
    shown = choose(by_arm, pd.Series(0, index=by_arm.index), [arms[0]], n_arms)
    variety = fates[shown].nunique(axis=1)
    return sorted(choose(fates[shown], variety, [], n_patients)), [a for a in arms if a in shown]


def courses(
    trajectories: pd.DataFrame,
    patients: pd.DataFrame,
    labels: dict[str, str],
    limits: dict[str, float],
    n_patients: int = 3,
    n_arms: int = 4,
) -> tuple[Figure, pd.DataFrame]:
    """The course of a few patients under a few products: cells by phenotype, CAR T, normal B cells.

    Patients and products are those whose fates differ most (`telling_cases`); a row for each patient, or rows of four
    products if there is one patient. `limits` are numbers of cells with a name, drawn as lines.
    """
    kept = sorted(int(i) for i in trajectories["patient"].unique())
    chosen, arms = telling_cases(patients, kept, list(labels), n_patients, n_arms)
    data = trajectories[trajectories["patient"].isin(chosen) & trajectories["arm"].isin(arms)].copy()
    data["line"] = data["group"].map(course_group)
    data = data.dropna(subset="line")
    lines = data.groupby(["patient", "arm", "line", "day"], sort=False, as_index=False)["cells"].sum()
    columns = min(4, len(arms))
    each = -(-len(arms) // columns)  # rows of a patient
    cases = [(n * each * columns + k, patient, arm) for n, patient in enumerate(chosen) for k, arm in enumerate(arms)]
    last = [i for i, *_ in cases if i + columns not in {j for j, *_ in cases}]  # nothing is below
    rows = each * len(chosen)
    with mpl.rc_context(STYLE):
        figure, axes = canvas(1.75 * rows + 0.8, rows, columns, sharex=True, sharey=True)
        for ax in axes.flat:
            ax.set_visible(False)
        for i, patient, arm in cases:
            ax = axes.flat[i]
            ax.set_visible(True)
            here = lines[(lines["patient"] == patient) & (lines["arm"] == arm)]
            fate = outcome_of(patients[(patients["patient"] == patient) & (patients["arm"] == arm)]).iloc[0]
            _course(ax, here, fate, limits)
            if i < columns or each > 1:
                title_product(ax, arm, labels[arm], 7.2)
            if i % columns == 0:
                ax.set_ylabel(f"Patient {patient}: cells")
            if i % columns == columns - 1:
                for name, cells_at in limits.items():
                    at = (1.01, cells_at)
                    ax.annotate(name, at, xycoords=("axes fraction", "data"), fontsize=6, va="center", color="#666666")
            if i in last:
                ax.set_xlabel("Months from infusion")
                ax.tick_params(labelbottom=True)
        top = 3 * max(*limits.values(), lines["cells"].max())
        axes.flat[0].set_ylim(0.7, 40 * top)  # room for words above the lines
        axes.flat[0].set_yticks([10.0**k for k in range(0, math.ceil(math.log10(top)) + 1, 3)])
        used = [name for name in COURSE_STYLE if (lines["line"] == name).any()]
        handles = [Line2D([], [], **_course_style(name)) for name in used]
        figure.legend(handles, used, loc="outside upper center", ncols=4, frameon=False, handlelength=3.4)
    return figure, pd.DataFrame(lines)


def _course_style(name: str) -> dict[str, Any]:
    colour, dashes, width = COURSE_STYLE[name]
    marker = COURSE_MARKER[name]
    return {
        "color": colour, "linestyle": dashes, "linewidth": width, "marker": marker, "markersize": 3.2,
        "markeredgecolor": "white", "markeredgewidth": 0.4,
    }  # fmt: skip


def _course(ax: Axes, lines: pd.DataFrame, fate: str, limits: dict[str, float]) -> None:
    """One patient under one product."""
    for i, name in enumerate(COURSE_STYLE):
        line = lines[lines["line"] == name]
        cells = line["cells"].where(line["cells"] > 0)  # extinct: the line ends
        if cells.notna().any():  # thinned days may miss the only cell; Matplotlib puts no markers on an empty line
            ax.plot(line["day"] / DAYS_PER_MONTH, cells, **_course_style(name), markevery=(0.03 * i, 0.25))
    for cells_at in limits.values():
        ax.axhline(cells_at, color="#AAAAAA", linewidth=0.6, zorder=0)
    ax.text(0.98, 0.97, fate, transform=ax.transAxes, ha="right", va="top", fontsize=7)
    ax.set_yscale("log")
    ax.minorticks_off()
    ax.xaxis.set_major_locator(month_ticks())
