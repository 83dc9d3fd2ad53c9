"""Figures of accuracy and speed: comparison with exact laws, with finer ticks, and with other programs."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullFormatter, PercentFormatter

from escape_abm.figures.fits import short_name
from escape_abm.figures.style import BLACK, BLUE, GREEN, GREY, PRODUCT_STYLE, STYLE, VERMILION, canvas
from escape_abm.inputs.settings import Engine

PANELS = {
    "extinct": ("Line of one cell died out", "Days", "linear"),
    "no loss": ("No cell without the antigen", "Losses per division × cells", "log"),
    "losses": ("At most so many without the antigen", "Cells without the antigen", "symlog"),
}
SETTINGS = ((BLUE, "-", "o"), (VERMILION, (0, (5, 1.2)), "^"), (BLACK, (0, (1.2, 0.8)), "s"), (GREEN, "-.", "D"))


def laws(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Exact laws as lines, the simulator as points with 95 % intervals.

    Args:
        table: As `theory.laws` yields, together.
    """
    styles = dict(zip(table["setting"].astype(str).unique(), SETTINGS, strict=False))
    with mpl.rc_context(STYLE):
        figure, axes = canvas(2.9, 1, len(PANELS), sharey=True)
        for ax, (law, (title, label, scale)) in zip(axes.flat, PANELS.items(), strict=True):
            mine = table[table["law"] == law]
            for setting, curve in mine.groupby("setting"):
                colour, dashes, marker = styles[str(setting)]
                ax.plot(curve["x"], curve["expected"], color=colour, linestyle=dashes, linewidth=1.2)
                bounds = [curve["estimate"] - curve["lower"], curve["upper"] - curve["estimate"]]
                ax.errorbar(
                    curve["x"], curve["estimate"], yerr=bounds, fmt=marker, color=colour, markersize=3.6,
                    markerfacecolor="white", elinewidth=0.9, capsize=2,
                )  # fmt: skip
            ax.set_xscale(scale, **({"linthresh": 1} if scale == "symlog" else {}))
            ax.set_title(title, loc="left", fontsize=7.5)
            ax.set_xlabel(label)
            ax.set_ylim(-0.02, 1.02)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ticks = sorted(table.loc[table["law"] == "no loss", "x"].unique())
        axes[0, 1].set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes[0, 1].minorticks_off()
        handles = [
            Line2D([], [], color=c, linestyle=d, marker=m, markerfacecolor="white") for c, d, m in styles.values()
        ]
        names = [f"death / birth {setting}" for setting in styles]
        figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False)
        axes.flat[0].set_ylabel("Chance (line: exact; point: simulated)")
    return figure, table


def speed(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """How many times as fast as a peer, in one run of a benchmark: a row for each comparison, median and 10 to 90 %.

    Args:
        table: `what, peer, lower, estimate, upper, n`, ratios of speed.
    """
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.27 * len(table) + 0.85)
        ax = axes[0, 0]
        rows = np.arange(len(table))
        bounds = [table["estimate"] - table["lower"], table["upper"] - table["estimate"]]
        ax.errorbar(table["estimate"], rows, xerr=bounds, fmt="o", color=BLUE, markersize=4.5, capsize=2.5)
        ax.axvline(1, color=GREY, linewidth=0.8, linestyle="--")
        for row, ratio in zip(rows, table["estimate"], strict=True):
            ax.annotate(f"{ratio:.2g}", (ratio, row), (0, 5), textcoords="offset points", ha="center", fontsize=7)
        ax.set_yticks(rows, [f"{line.what}  /  {line.peer}" for line in table.itertuples()])
        ax.set_ylim(len(table) - 0.5, -0.7)
        ax.set_xscale("log")
        ax.set_xticks(ticks := [0.25, 0.5, 1, 2, 4], [f"{t:g}×" for t in ticks])
        ax.minorticks_off()
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.grid(axis="x", color="#E5E5E5", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.set_xlabel("Times as fast as the peer: median, 10 to 90 %")
    return figure, table


def coverage(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """How often intervals of each level held the parameters that made the data.

    Args:
        table: `path, level, held, lower, upper, replicates`, as `benchmarks/coverage.py` writes it.
    """
    with mpl.rc_context(STYLE):
        figure, axes = canvas(2.7, 1, table["path"].nunique(), sharey=True)
        for ax, (path, its) in zip(axes.flat, table.groupby("path", sort=False), strict=True):
            ax.fill_between(its["level"], its["lower"], its["upper"], color=GREY, alpha=0.3, linewidth=0)
            ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
            ax.plot(its["level"], its["held"], "o-", color=BLUE, markersize=3)
            ax.set(title=short_name(str(path)), xlabel="Level of the interval", xlim=(0, 1), ylim=(0, 1))
            ax.xaxis.set_major_formatter(PercentFormatter(1))
            ax.yaxis.set_major_formatter(PercentFormatter(1))
            ax.set_aspect("equal")
        axes.flat[0].set_ylabel(f"Held the truth, of {table['replicates'].iloc[0]} pairs\n(grey: 95 % of such checks)")
    return figure, table


# ------------------------------------------------------------------------------------------------- length of a tick

SIMULATED, START, ONE_EVENT = "simulated", "surroundings of the start", "at most one event"
"""Rules for a tick, compared by `benchmarks/tick_accuracy.py`."""
MARKS = {"log10_car_t_peak": ("CAR T peak", VERMILION, "o"), "log10_nadir": ("leukaemia nadir", BLUE, "s")}
"""What a course is judged by."""
SHARES = {
    "complete_remission": "complete remission",
    "mrd_negative": "MRD-negative",
    "antigen-negative": "antigen-negative relapse",
    "antigen-positive": "antigen-positive relapse",
    "lineage switch": "lineage switch",
    "failure": "failure or death",
}
"""Endpoints that a patient has or has not by 12 months."""
AMOUNTS = {
    "log10_car_t_peak": "log10 CAR T peak",
    "day_car_t_peak": "day of the CAR T peak",
    "day_relapse": "day of relapse",
}
BAND_PATIENTS = 2000
"""Patients whose Monte Carlo error is the unit."""
FEWEST_EVENTS = 5
"""Endpoints that fewer patients have are not drawn: their Monte Carlo error is hardly known."""
BAND = "#E4E4E4"
TICK_PRODUCTS = {"cd19_fmc63": "CD19 (FMC63)", "tandem": "tandem CD19/CD22", "auto1_22": "AUTO1/22"}


def tick_accuracy(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Error of courses against cost on the left; what the default tolerance does to endpoints on the right.

    Args:
        table: As `benchmarks/tick_accuracy.py` writes it: `part` tells lines of courses from lines of endpoints.
    """
    with mpl.rc_context(STYLE):
        figure, axes = canvas(4.3, 1, 2)
        look: Any = {"frameon": False, "fontsize": 7, "columnspacing": 1.2, "handlelength": 2.2}
        left = _tick_courses(axes[0, 0], table[table["part"] == "courses"])
        figure.legend(handles=left, loc="outside lower left", ncols=2, **look)
        right = _tick_endpoints(axes[0, 1], table[table["part"] == "endpoints"])
        figure.legend(handles=right, loc="outside lower right", **look)
    return figure, table


def _tick_courses(ax: Axes, courses: pd.DataFrame) -> list[Any]:
    for rule, line, filled in ((SIMULATED, "-", True), (START, ":", False), (ONE_EVENT, "", False)):
        table = courses[courses["rule"] == rule].sort_values("tolerance")
        for mark, (_, colour, marker) in MARKS.items():
            ax.plot(
                table["cost_ms"], table[mark], linestyle=line, color=colour, markersize=6 if not line else 4.5,
                marker=marker if line else "x", markerfacecolor=colour if filled else "white", markeredgewidth=1.2,
            )  # fmt: skip
    for _, row in courses[courses["rule"] == SIMULATED].iterrows():
        tolerance, default = row["tolerance"], row["tolerance"] == Engine().tolerance
        text = f"{tolerance:g}" if tolerance >= 0.125 else f"1/{round(1 / tolerance)}"
        place = (row["cost_ms"], min(row[m] for m in MARKS))
        look: Any = {"textcoords": "offset points", "ha": "center", "va": "top", "fontsize": 7.5}
        look["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        ax.annotate(text, place, (0, -7.5), weight="bold" if default else "normal", **look)
        if default:
            ax.axvline(row["cost_ms"], color=GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
            ax.annotate("default", (row["cost_ms"], 1), (3, -1), xycoords=("data", "axes fraction"),
                        textcoords="offset points", va="top", fontsize=7.5, weight="bold")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="ms per patient-year, one core", ylabel="Median error, log10 of cells")
    ax.xaxis.set_major_locator(FixedLocator([5, 10, 20, 50, 100, 200]))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_title("Error of mean courses against LSODA", loc="left")
    ax.margins(x=0.1, y=0.12)
    ax.grid(True, which="major", color="#E6E6E6", linewidth=0.6)
    ax.set_axisbelow(True)
    marks = [Line2D([], [], color=c, marker=m, linestyle="", markersize=4.5, label=t) for t, c, m in MARKS.values()]
    hollow: Any = {"markerfacecolor": "white", "markersize": 4.5}
    return [
        *marks,
        Line2D([], [], color=GREY, marker="x", linestyle="", markersize=6, label="one event in 0.5 d, 0.25 d*"),
        Line2D([], [], color=GREY, marker="o", markersize=4.5, label="simulator (numbers: tolerance)"),
        Line2D([], [], color=GREY, linestyle=":", marker="o", **hollow, label="surroundings of the start*"),
        Line2D([], [], linestyle="", label="* at the cost of as many ticks"),
    ]


def _tick_endpoints(ax: Axes, endpoints: pd.DataFrame) -> list[Any]:
    default, finest = Engine().tolerance, endpoints["against"].min()
    table = endpoints[(endpoints["tolerance"] == default) & (endpoints["against"] == finest)]
    patients = int(table["n"].max())
    table = table[table["events"] >= FEWEST_EVENTS].set_index(["product", "endpoint"])
    names, handles = SHARES | AMOUNTS, []
    ax.axvspan(-1, 1, color=BAND, linewidth=0, zorder=0)
    ax.axvline(0, color=GREY, linewidth=0.7, zorder=1)
    for shift, (arm, label) in zip((-0.25, 0.0, 0.25), TICK_PRODUCTS.items(), strict=True):
        colour, marker = PRODUCT_STYLE[arm]
        look: Any = {"color": colour, "marker": marker, "linewidth": 1.1, "markersize": 4}
        handles.append(Line2D([], [], **look, label=f"{label}: paired, 95 % interval"))
        for row, name in enumerate(names):
            if (arm, name) in table.index:
                line: Any = table.loc[(arm, name)]
                unit = line["monte_carlo_error_at_2000"]
                ax.errorbar(line["difference"] / unit, row + shift, xerr=1.96 * line["standard_error"] / unit, **look)
    ax.set_xlim(-max(map(abs, ax.get_xlim())), max(map(abs, ax.get_xlim())))
    ax.set_yticks(range(len(names)), list(names.values()))
    ax.invert_yaxis()
    ax.set_xlabel("Difference, in Monte Carlo errors")
    ax.set_title(f"Tolerance {default:g} minus {finest:g}, the same {patients:,} patients", loc="right")
    return [*handles, Patch(color=BAND, label=f"±1 Monte Carlo error of {BAND_PATIENTS:,} patients")]
