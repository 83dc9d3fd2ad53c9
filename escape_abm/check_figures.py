"""Pictures of how right and how fast the simulator is: beside exact laws, and beside other programs."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from escape_abm.figures import BLACK, BLUE, GREEN, GREY, STYLE, VERMILION, canvas

PANELS = {
    "extinct": ("Line of one cell died out", "Days", "linear"),
    "no loss": ("No cell without the antigen", "Losses per division × cells", "log"),
    "losses": ("At most so many without the antigen", "Cells without the antigen", "symlog"),
}
SETTINGS = ((BLUE, "-", "o"), (VERMILION, (0, (5, 1.2)), "^"), (BLACK, (0, (1.2, 0.8)), "s"), (GREEN, "-.", "D"))


def laws(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Exact laws as lines, the simulator as points with 95 % intervals.

    Args:
        table: As `branching.laws` yields, together.
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
