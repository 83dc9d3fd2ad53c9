"""Figures of a calibration: what each parameter learnt, what is not identified, and how well it predicts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator, PercentFormatter

from escape_abm.evidence.targets import Free
from escape_abm.figures.style import BLACK, BLUE, COLUMN_INCHES, GREY, STYLE, VERMILION, canvas, mark_products

if TYPE_CHECKING:
    from escape_abm.evidence.calibration import Fit

PALE = "#9CC9E3"
COLUMNS = 4
PAIRS = 6
LEAST_INDEX = 0.03
MOST_UNSEEN = 0.5
SECTIONS = ("biology.", "clinic.", "antigens.", "leukaemia.", "killing.", "car_t.", "host.")
UNITS = {"_per_day": " /d", "_per_division": " /division", "_cells": "", "_molecules": "", "_sigma": " (spread)"}
OUTCOME_NAMES = {
    "complete_remission": "remission",
    "cumulative_incidence_antigen_negative": "antigen-negative\nrelapse",
    "cumulative_incidence_antigen_positive": "antigen-positive\nrelapse",
}


def short_name(path: str) -> str:
    """A parameter's path as a reader would call it."""
    for section in SECTIONS:
        path = path.removeprefix(section)
    ending = ""
    for unit, shown in (*UNITS.items(), *UNITS.items()):  # a spread has the unit of its row before it
        if path.endswith(unit):
            path, ending = path.removesuffix(unit), shown + ending
    for name, shown in (
        ("cd19.", "CD19 "),
        ("cd22.", "CD22 "),
        ("car_t", "CAR T"),
        ("b_cell", "B cell"),
        ("crs", "CRS"),
    ):
        path = path.replace(name, shown)
    return path.replace("_", " ") + ending


def prior_and_posterior(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The posterior of each parameter over its prior range, with the value of the fitted set.

    Args:
        table: `Fit.marginals`.
    """
    rows = math.ceil(len(table) / COLUMNS)
    densities = table.filter(like="density_")
    with mpl.rc_context(STYLE):
        figure, axes = canvas(1.15 * rows + 0.5, rows, COLUMNS)
        for ax in axes.flat[len(table) :]:
            ax.set_axis_off()
        line: Any
        for ax, line, density in zip(axes.flat, table.itertuples(), densities.to_numpy(), strict=False):
            f = Free(line.path, line.low, line.high, bool(line.is_log))
            ax.stairs(density, [f.value(u) for u in np.linspace(0, 1, len(density) + 1)], fill=True, color=PALE)
            ax.axhline(1, color=BLACK, linewidth=0.8, linestyle="--")
            ax.axvline(line.fitted, color=VERMILION, linewidth=1.4)
            ax.set_title(f"{short_name(f.path)}\nshrinkage {max(line.shrinkage, 0):.0%}", fontsize=7)
            ax.set(yticks=[], ylim=(0, None))
            _scale(ax.xaxis, f)
            ax.spines["left"].set_visible(False)
        figure.suptitle("Posterior (filled), flat prior (dashed), value in the fitted set (line)", fontsize=8.5)
    return figure, table


def _scale(axis: Axis, f: Free) -> None:
    """The whole prior range, with its ends and its middle as ticks."""
    name = axis.axis_name  # type: ignore[attr-defined]
    axis.axes.set(**{f"{name}scale": "log" if f.is_log else "linear", f"{name}lim": (f.low, f.high)})
    ticks = [f.value(u) for u in (0, 0.5, 1)]
    axis.set_ticks(ticks, [f"{tick:.2g}".replace("e-0", "e-").replace("e+", "e") for tick in ticks])
    axis.set_minor_locator(NullLocator())


def pairs(found: Fit) -> tuple[Figure, pd.DataFrame]:
    """Draws of the pairs of parameters that the data tell apart least."""
    table, at = found.correlations(), {f.path: i for i, f in enumerate(found.free)}
    shown = table.head(PAIRS)
    with mpl.rc_context(STYLE):
        figure, axes = canvas(2.2 * math.ceil(len(shown) / 3) + 0.3, math.ceil(len(shown) / 3), 3)
        for ax in axes.flat[len(shown) :]:
            ax.set_axis_off()
        line: Any
        for ax, line in zip(axes.flat, shown.itertuples(), strict=False):
            one, other = found.free[at[line.one]], found.free[at[line.other]]
            x = [one.value(u) for u in found.posterior.x[:, at[line.one]]]
            y = [other.value(u) for u in found.posterior.x[:, at[line.other]]]
            ax.plot(x, y, ".", color=BLUE, markersize=2, alpha=0.4)
            ax.set(xlabel=short_name(one.path), ylabel=short_name(other.path), title=f"r = {line.correlation:.2f}")
            _scale(ax.xaxis, one)
            _scale(ax.yaxis, other)
    return figure, table


def emulated(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """What the emulator foretold of the last runs, beside what they gave.

    Args:
        table: `Fit.checked`.
    """
    with mpl.rc_context(STYLE):
        figure, axes = canvas(3.4, width=COLUMN_INCHES)
        ax = axes[0, 0]
        ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        ax.errorbar(table["foretold"], table["simulated"], 2 * table["standard_error"], fmt="o", color=BLACK,
                    ecolor=BLUE, markersize=3, linewidth=1)  # fmt: skip
        ax.set(xlabel="Foretold by the emulator, before these runs", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        ax.set_ylabel("Simulated, mean of the last wave\n(± 2 standard errors)")
        ax.set_aspect("equal")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(PercentFormatter(1))
    return figure, table


def indices(table: pd.DataFrame, labels: dict[str, str]) -> tuple[Figure, pd.DataFrame]:
    """Total Sobol indices: a row for each parameter, a column for each product, a panel for each outcome.

    Where the emulator does not see most of the variance, there is nothing to share out. Parameters whose index is below
    `LEAST_INDEX` everywhere are left out.
    """
    wide: Any = table.pivot(index="path", columns=["endpoint", "arm"], values="total")
    sign: Any = table.pivot(index="path", columns=["endpoint", "arm"], values="direction")
    seen = table.groupby(["endpoint", "arm"])["lack_of_fit"].first() < MOST_UNSEEN
    most = wide.loc[:, seen.reindex(wide.columns)].max(axis=1).sort_values(ascending=False)
    order = most[most >= LEAST_INDEX].index if (most >= LEAST_INDEX).any() else most.index
    highest = float(np.nan_to_num(wide.max(axis=None), nan=1.0))
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.21 * len(order) + 1.9, 1, len(OUTCOME_NAMES), sharey=True)
        for ax, (endpoint, name) in zip(axes.flat, OUTCOME_NAMES.items(), strict=True):
            rare = [not seen[endpoint, arm] for arm in labels]
            its, ways = wide[endpoint].loc[order, list(labels)], sign[endpoint].loc[order, list(labels)]
            its = its.mask(np.tile(rare, (len(order), 1)))
            image = ax.imshow(its, cmap="Blues", vmin=0, vmax=highest, aspect="auto")
            for (y, x), value in np.ndenumerate(its.to_numpy()):
                if value >= LEAST_INDEX:
                    color = "white" if value > 0.6 * highest else BLACK
                    ax.text(
                        x, y, "+" if ways.iloc[y, x] > 0 else "−", ha="center", va="center", color=color, fontsize=7
                    )
            for x in np.flatnonzero(rare):
                why = _unclear(table, endpoint, list(labels)[x])
                ax.text(x, len(order) / 2, why, rotation=90, ha="center", va="center", color=GREY)
            ax.set_xticks(range(len(labels)), list(labels.values()), rotation=60, ha="right", rotation_mode="anchor")
            ax.set_yticks(range(len(order)), [short_name(path) for path in order])
            ax.set_title(name)
            ax.tick_params(length=0)
        bar = figure.colorbar(image, ax=axes, shrink=0.5, pad=0.01)
        bar.set_label("share of the variance that the parameter\nhas a part in (total Sobol index)")
    return figure, table


def _unclear(table: pd.DataFrame, endpoint: str, arm: str) -> str:
    """Why the indices of an endpoint say nothing; "" if they do."""
    its = table[(table["endpoint"] == endpoint) & (table["arm"] == arm)]
    if its["total"].isna().all():
        return "the same in every run"
    return "" if its["lack_of_fit"].iloc[0] < MOST_UNSEEN else "too rare to tell"


def tornado(table: pd.DataFrame, arm: str, labels: dict[str, str], most: int = 12) -> tuple[Figure, pd.DataFrame]:
    """The parameters that matter most under one product: total index, and the part that each has alone."""
    mine = table[table["arm"] == arm]
    order = mine.groupby("path")["total"].max().sort_values(ascending=False).head(most).index[::-1]
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.2 * len(order) + 1.2, 1, len(OUTCOME_NAMES), sharey=True, sharex=True)
        for ax, (endpoint, name) in zip(axes.flat, OUTCOME_NAMES.items(), strict=True):
            its = mine[mine["endpoint"] == endpoint].set_index("path").loc[order]
            if why := _unclear(mine, endpoint, arm):
                its = its.assign(total=np.nan, first=np.nan)
                ax.text(0.5, 0.5, why, ha="center", va="center", color=GREY, transform=ax.transAxes)
            colors = [VERMILION if d > 0 else BLUE for d in its["direction"]]
            hatches = ["" if d > 0 else "////" for d in its["direction"]]
            ax.barh(range(len(order)), its["total"], color=colors, alpha=0.45, hatch=hatches, edgecolor="white")
            ax.barh(range(len(order)), its["first"].clip(lower=0), height=0.3, color=BLACK)
            ax.set_title(name)
            ax.set_xlabel("share of variance")
        axes.flat[0].set_yticks(range(len(order)), [short_name(path) for path in order])
        handles = [
            Patch(color=VERMILION, alpha=0.45, label="more of it, more often"),
            Patch(facecolor=BLUE, alpha=0.45, hatch="////", edgecolor="white", label="more of it, less often"),
            Patch(color=BLACK, label="by itself alone"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, title=labels[arm])
    return figure, mine


def relapse_of_products(summary: pd.DataFrame, labels: dict[str, str], month: float) -> tuple[Figure, pd.DataFrame]:
    """Remission and both kinds of relapse of each product, with the intervals of the summary.

    Args:
        summary: `summary.csv` of a run.
        labels: Products by name, in the order in which they are shown.
        month: At which relapse is read.
    """
    at = (summary["month"] == month) | (summary["endpoint"] == "complete_remission")
    table = summary[at & summary["endpoint"].isin(OUTCOME_NAMES) & summary["arm"].isin(labels)].reset_index(drop=True)
    row = {arm: i for i, arm in enumerate(labels)}
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.24 * len(labels) + 0.9, 1, len(OUTCOME_NAMES), sharey=True)
        for ax, (endpoint, name), colour in zip(
            axes.flat, OUTCOME_NAMES.items(), (BLACK, VERMILION, BLUE), strict=True
        ):
            its = table[table["endpoint"] == endpoint]
            off = [its["estimate"] - its["lower"], its["upper"] - its["estimate"]]
            ax.errorbar(its["estimate"], its["arm"].map(row), xerr=off, fmt="o", color=colour, markersize=4, capsize=2,
                        clip_on=False)  # fmt: skip
            ax.set_title(name.replace("\n", " "))
            of = "of all, day 28" if endpoint == "complete_remission" else f"of CR, {month:g} months"
            ax.set_xlabel(f"{of}, 95 % interval")
            ax.set_xlim(0, 1)  # one scale: panels are compared
            ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            ax.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.5)
        axes.flat[0].set_yticks(list(row.values()), list(labels.values()))
        axes.flat[0].set_ylim(len(labels) - 0.5, -0.5)
        mark_products(axes.flat[0], list(labels))
    return figure, table
