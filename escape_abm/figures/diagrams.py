"""Diagrams of transitions: the states and routes of the law, and how relapses arose.

Nothing is drawn by hand: nodes and arrows are projections of an alphabet, flows come from a table of patients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch, PathPatch
from matplotlib.path import Path

from escape_abm.figures.courses import relapse_group
from escape_abm.figures.style import (
    BLACK,
    BLUE,
    COURSE_STYLE,
    GREEN,
    MECHANISM_STYLE,
    STYLE,
    VERMILION,
    canvas,
    title_product,
)
from escape_abm.law.states import MARROW, MYELOID, PER_CONTACT, PER_DAY, PER_DIVISION, Alphabet, State, shown_sign
from escape_abm.trials.estimates import why_relapsed
from escape_abm.trials.survival import percent

CLOCKS: dict[int, tuple[str, str, Any]] = {
    PER_DIVISION: ("at division", VERMILION, "-"),
    PER_DAY: ("per day", BLUE, (0, (4, 1.5))),
    PER_CONTACT: ("per contact that does not kill", GREEN, (0, (1.2, 1))),
}
SHOWN = ("high", "dim", "silenced", "lost")
SIGNS = ("+", "dim", "-")
Node = tuple[float, float, str]
"""Where a node is drawn, and its name."""


def project(letters: Alphabet, node: Callable[[State], Node | None]) -> tuple[dict[Node, int], pd.DataFrame]:
    """The law seen through what tells nodes apart.

    Returns:
        Number of states in each node, and the routes between different nodes: `source, target, route, clock`.
    """
    at = [node(s) for s in letters.states]
    sizes: dict[Node, int] = {}
    for place in at:
        if place is not None:
            sizes[place] = sizes.get(place, 0) + 1
    lines: dict[tuple[Any, ...], None] = {}
    for i, place in enumerate(at):
        for k in range(letters.route_first[i], letters.route_first[i + 1]):
            target = at[int(letters.to_after[k])]
            if place is not None and target is not None and place != target:
                lines[place, target, letters.route_names[k], int(letters.route_clock[k])] = None
    return sizes, pd.DataFrame(list(lines), columns=["source", "target", "route", "clock"])


def _antigen_node(s: State) -> Node | None:
    if s.lineage == MYELOID:
        return None
    alleles, shown = s.antigens[0]
    hits = f"{alleles} allele{'s' if alleles > 1 else ''}"
    return 2.2 * SHOWN.index(shown), max(0.4, 1.55 * alleles), shown if shown == "lost" else f"{shown}\n{hits}"


def _place_node(s: State) -> Node:
    kind = 2 if s.lineage == MYELOID else int(s.progenitor)
    name = ("committed", "progenitor-\nlike", "myeloid")[kind]
    return 2.2 * kind, 1.9 * (s.niche == MARROW), f"{name}\n{s.niche}"


def _phenotype_node(antigens: tuple[str, ...]) -> Callable[[State], Node | None]:
    def node(s: State) -> Node | None:
        if s.lineage == MYELOID:
            return None
        signs = [shown_sign(s, i) for i in range(len(antigens))]
        name = "\n".join(f"{n.upper()}{sign.replace('-', '−')}" for n, sign in zip(antigens, signs, strict=True))
        return 1.7 * SIGNS.index(signs[0]), 1.4 * (2 - SIGNS.index(signs[1])), name

    return node


def law(letters: Alphabet) -> tuple[Figure, pd.DataFrame]:
    """What a leukaemic cell can be and become: one antigen, the places of a cell, and phenotypes of two antigens.

    Args:
        letters: Of two antigens or more; the first two are drawn.

    Returns:
        The diagram, and its arrows as a table.
    """
    both = letters.antigens[:2]
    one, two = (name.upper() for name in both)
    panels: dict[str, tuple[str, Callable[[State], Node | None], Callable[[str], bool]]] = {
        "a": (f"{one} on one cell", _antigen_node, lambda route: route.startswith(both[0])),
        "b": ("Lineage, maturity and place", _place_node, lambda _: True),
        "c": (f"{one} and {two} as cytometry sees them", _phenotype_node(both), lambda route: route.startswith(both)),
    }
    tables = []
    with mpl.rc_context(STYLE):
        figure, _ = canvas(5.8)
        figure.clear()
        grid = figure.subplot_mosaic([["a", "a"], ["b", "c"]], width_ratios=[1, 1], height_ratios=[1.15, 1.2])
        for i, (key, (title, node, drawn)) in enumerate(panels.items()):
            sizes, arrows = project(letters, node)
            arrows = arrows[[drawn(route) for route in arrows["route"]]].copy()
            arrows["name"] = [r.partition("_")[2] if r.startswith(both) else r for r in arrows["route"]]
            _graph(grid[key], sizes, arrows)
            grid[key].set_anchor("NW")
            grid[key].set_title(f"{'ABC'[i]}  {title}", loc="left")
            tables.append(_readable(arrows).assign(panel=title))
        handles = [Line2D([], [], color=colour, linestyle=dashes) for _, colour, dashes in CLOCKS.values()]
        names = [name for name, *_ in CLOCKS.values()]
        look: Any = {"frameon": False, "title": "A cell changes", "alignment": "left", "labelspacing": 0.8}
        grid["a"].legend(handles, names, loc="upper left", bbox_to_anchor=(1.02, 0.95), **look)
    return figure, pd.concat(tables, ignore_index=True)[["panel", "source", "target", "route", "clock"]]


def _readable(arrows: pd.DataFrame) -> pd.DataFrame:
    names = {c: arrows[c].map(lambda node: node[2].replace("\n", " ")) for c in ("source", "target")}
    readable = arrows.assign(**names, clock=arrows["clock"].map(lambda clock: CLOCKS[clock][0]))
    return readable.sort_values(["source", "target", "route"])


def _graph(ax: Axes, sizes: Mapping[Node, int], arrows: pd.DataFrame) -> None:
    """Nodes with their numbers of states, and an arrow for each pair of nodes and each clock; each route named once."""
    told: set[str] = set()
    pairs = arrows.groupby(["source", "target", "clock"], sort=False)["name"].agg(list)
    key: Any
    for key, routes in pairs.items():
        source, target, clock = key
        _, colour, dashes = CLOCKS[clock]
        (x0, y0), (x1, y1) = source[:2], target[:2]
        bend = {PER_DIVISION: 0.0, PER_DAY: 0.22, PER_CONTACT: 0.42}[clock]
        steps = sum(1 for x, y, _ in sizes if (x, y) != (x0, y0) and _between((x0, y0), (x, y), (x1, y1)))
        if steps and clock == PER_DIVISION:  # around what lies between
            bend = -0.32
        elif clock == PER_DIVISION and {(target, source)} & {(s, t) for s, t, _ in pairs.index}:
            bend = 0.22
        style = {"color": colour, "linestyle": dashes, "linewidth": 0.9, "shrinkA": 19, "shrinkB": 19}
        curve = f"arc3,rad={bend}"
        ax.add_patch(
            FancyArrowPatch((x0, y0), (x1, y1), connectionstyle=curve, arrowstyle="-|>", mutation_scale=7, **style)
        )
        if new := [name for name in dict.fromkeys(routes) if name not in told]:
            told.update(new)
            middle = (x0 + x1) / 2 + bend * (y1 - y0) / 2, (y0 + y1) / 2 - bend * (x1 - x0) / 2
            if x0 == x1:  # beside a short arrow, not on it
                middle = middle[0] + (0.17 if middle[0] > x0 else -0.17), middle[1]
            elif y0 == y1:  # beside the arrow: outside, or inside where a third follows
                outward = math.copysign(0.14, middle[1] - y0)
                middle = middle[0], middle[1] + (-outward if clock == PER_DAY and x1 > x0 else outward)
            ax.text(
                *middle, ", ".join(new).replace("_", " "), fontsize=6, ha="center", va="center", color=colour, zorder=4,
                rotation=90 if x0 == x1 else 0, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.1},
            )  # fmt: skip
    for (x, y, name), states in sizes.items():
        ax.text(
            x, y, f"{name}\n{states} states", ha="center", va="center", fontsize=6.5, zorder=5, linespacing=1.1,
            bbox={"boxstyle": "round,pad=0.35", "facecolor": "#F4F1EC", "edgecolor": BLACK, "linewidth": 0.7},
        )  # fmt: skip
    across, up = [n[0] for n in sizes], [n[1] for n in sizes]
    ax.set(xlim=(min(across) - 0.7, max(across) + 0.7), ylim=(min(up) - 0.6, max(up) + 0.95), xticks=[], yticks=[])
    ax.set_aspect("equal")
    ax.spines[:].set_visible(False)


def _between(start: tuple[float, float], point: tuple[float, float], end: tuple[float, float]) -> bool:
    """Whether a point lies on the way from start to end."""
    parts = [np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in ((start, point), (point, end), (start, end))]
    return bool(parts[1] > 0 and abs(parts[0] + parts[1] - parts[2]) < 1e-6)


# ----------------------------------------------------------------------------------------------------- relapse as flow


def relapse_flow(patients: pd.DataFrame, labels: Mapping[str, str]) -> tuple[Figure, pd.DataFrame]:
    """From what let relapses happen (left) to their phenotype (right), a panel for each product, on one scale.

    Args:
        patients: Of every product, the same.
        labels: Name and label of each product that is drawn.
    """
    n = patients["patient"].nunique()
    relapsed = patients[patients["relapse_phenotype"].fillna("") != ""]
    relapsed = relapsed.assign(phenotype=relapsed["relapse_phenotype"].map(relapse_group))
    why = why_relapsed(relapsed).rename("relapse_mechanism")
    table = relapsed.groupby(["arm", why, "phenotype"]).size().rename("patients").reset_index()
    table["fraction"] = table["patients"] / n
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    totals = table.groupby("arm")["fraction"].sum().reindex(list(labels)).fillna(0.0).to_numpy()
    top = max(0.02, 1.06 * float(totals.max()))
    # One scale everywhere; a row is as high as its fullest product needs.
    tops = [max(0.25 * top, 1.06 * float(totals[k * columns : (k + 1) * columns].max())) for k in range(rows)]
    with mpl.rc_context(STYLE):
        figure, axes = canvas(1.7 * sum(tops) / top + 0.3 * rows + 1.2, rows, columns, height_ratios=tops)
        for i, (ax, (arm, label)) in enumerate(zip(axes.flat, labels.items(), strict=False)):
            title_product(ax, arm, label)
            _flow(ax, table[table["arm"] == arm], top)
            ax.set(xlim=(-0.22, 1.75), ylim=(0, tops[i // columns]), xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        for ax in axes.flat[len(labels) :]:
            ax.set_visible(False)
        left = [m for m in MECHANISM_STYLE if (table["relapse_mechanism"] == m).any()]
        handles = [Patch(facecolor=c, hatch=h, edgecolor="white") for c, h in (MECHANISM_STYLE[m] for m in left)]
        words = f"From what let relapses happen to their phenotype, in % of the same {n} patients under each product"
        figure.legend(handles, left, loc="outside upper center", ncols=4, frameon=False, title=words)
    return figure, table


def _flow(ax: Axes, table: pd.DataFrame, top: float) -> None:
    """One product: two stacks and the bands between them; what still had its antigens is below."""
    left = [m for m in reversed(MECHANISM_STYLE) if (table["relapse_mechanism"] == m).any()]
    right = sorted((p for p in COURSE_STYLE if (table["phenotype"] == p).any()), key=lambda p: "−" in p)
    wide: Any = table.pivot_table(index="relapse_mechanism", columns="phenotype", values="fraction", aggfunc="sum")
    wide = wide.reindex(index=left, columns=right).fillna(0.0)
    starts = dict(zip(left, np.cumsum([0.0, *wide.sum(axis=1)])[:-1], strict=True))
    ends = dict(zip(right, np.cumsum([0.0, *wide.sum(axis=0)])[:-1], strict=True))
    for x, side, style, totals in (
        (-0.06, starts, MECHANISM_STYLE, wide.sum(axis=1)),
        (1.0, ends, {p: (COURSE_STYLE[p][0], "") for p in right}, wide.sum(axis=0)),
    ):
        for name, y in side.items():
            colour, hatch = style[name]
            ax.bar(x, totals[name], 0.06, y, align="edge", color=colour, hatch=hatch, edgecolor="white", linewidth=0.4)
            if totals[name] >= 0.05 * top:  # smaller words would lie on each other
                at, words = (x - 0.03, percent(totals[name])) if x < 0 else (1.09, f"{percent(totals[name])} {name}")
                ax.text(at, y + totals[name] / 2, words, fontsize=6, va="center", ha="right" if x < 0 else "left")
    for mechanism in left:
        for name in right:
            if width := float(wide.loc[mechanism, name]):
                _band(ax, starts[mechanism], ends[name], width, MECHANISM_STYLE[mechanism][0])
                starts[mechanism] += width
                ends[name] += width
    if not left:
        ax.text(0.5, 0.5, "no relapse", transform=ax.transAxes, ha="center", va="center", color=BLACK)


def _band(ax: Axes, start: float, end: float, width: float, colour: str) -> None:
    c = Path.CURVE4
    corners = [
        (0, start), (0.5, start), (0.5, end), (1, end),
        (1, end + width), (0.5, end + width), (0.5, start + width), (0, start + width), (0, start),
    ]  # fmt: skip
    codes = [Path.MOVETO, c, c, c, Path.LINETO, c, c, c, Path.CLOSEPOLY]
    ax.add_patch(PathPatch(Path(corners, codes), facecolor=colour, alpha=0.42, edgecolor="white", linewidth=0.3))
