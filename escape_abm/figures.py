"""Pictures: a table in, a figure out. Nothing here simulates or reads files; only `save` writes.

One visual language: a colour for each phenotype and outcome (Okabe-Ito) and for each product (Tol's muted scheme)
everywhere, both safe for colour-blind readers, with hatches, dashes and markers where grey print would not tell them
apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator, PercentFormatter
from matplotlib.transforms import ScaledTranslation

from escape_abm.analysis import causes_of_failure, why_relapsed
from escape_abm.comparison import interval
from escape_abm.endpoints import ANTIGEN_NEGATIVE, ANTIGEN_POSITIVE, RELAPSE_KINDS
from escape_abm.settings import DAYS_PER_MONTH, Published
from escape_abm.states import LINEAGE_SWITCH
from escape_abm.survival import cumulative_incidence, percent, proportion

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
MRD_LIMIT = 1e-4  # of the marrow: where remission is drawn as MRD-positive


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


def outcome_of(patients: pd.DataFrame) -> pd.Series[str]:
    """Where each patient stands at the end of follow-up: the first failure counts."""
    residual = patients["blast_fraction_last"] >= MRD_LIMIT
    out = pd.Series("in remission", index=patients.index).mask(residual, "in remission, MRD-positive")
    out[~patients["complete_remission"]] = "no remission"
    for kind in RELAPSE_KINDS:
        label = kind if kind == LINEAGE_SWITCH else f"{kind} relapse"
        out[(patients["relapse_kind"] == kind).fillna(False).astype(bool)] = label
    treatment = (patients["cause_of_death"] == "treatment").fillna(False).astype(bool)
    out[treatment & patients["complete_remission"]] = "death in remission"
    return out


def _stacked(
    share: pd.DataFrame, style: dict[str, tuple[str, str]], labels: dict[str, str], numbers: bool
) -> tuple[Figure, Axes]:
    """Horizontal stacked bars: a row for each product, a piece for each column that occurs; numbers in % if wanted."""
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.36 * len(labels) + 1.35)
        ax: Axes = axes[0, 0]
        left = np.zeros(len(share))
        for name, (colour, hatch) in style.items():
            width = share[name].to_numpy(dtype=float)
            if not width.any():
                continue
            ax.barh(range(len(share)), width, 0.8, left, color=colour, hatch=hatch, ec="white", lw=0.5, label=name)
            for row, w in enumerate(width):
                if numbers and w >= 0.035:
                    ink = BLACK if name.startswith("in remission") else "white"
                    text = ax.text(left[row] + w / 2, row, percent(w), ha="center", va="center", fontsize=7, color=ink)
                    if hatch:
                        text.set_bbox({"facecolor": colour, "edgecolor": "none", "pad": 0.8})
            left += width
        ax.set_yticks(range(len(share)), [labels[a] for a in share.index])
        ax.set_ylim(len(share) - 0.5, -0.5)
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        mark_products(ax, list(share.index))
        ax.spines["left"].set_visible(False)
        handles, names = ax.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=min(4, len(names)), frameon=False)
    return figure, ax


def _long(share: pd.DataFrame, name: str) -> pd.DataFrame:
    return share.rename_axis(columns=None).reset_index().melt(id_vars="arm", var_name=name, value_name="fraction")


def outcomes_by_product(patients: pd.DataFrame, labels: dict[str, str], months: float) -> tuple[Figure, pd.DataFrame]:
    """What became of all patients by the end of follow-up, a bar for each product."""
    share = pd.crosstab(patients["arm"], outcome_of(patients), normalize="index")
    share = share.reindex(index=list(labels), columns=list(OUTCOMES)).fillna(0.0)
    figure, ax = _stacked(share, OUTCOMES, labels, numbers=True)
    ax.set_xlim(0, 1)
    n = patients["patient"].nunique()
    ax.set_xlabel(f"Patients at {months:g} months (numbers in %; the same {n} virtual patients under each product)")
    return figure, _long(share, "outcome")


def mechanisms_by_product(patients: pd.DataFrame, labels: dict[str, str]) -> tuple[Figure, pd.DataFrame]:
    """Why patients relapsed, a bar for each product, in % of all patients; lineage switches apart from antigen loss."""
    n = patients["patient"].nunique()
    counted = patients.groupby(["arm", why_relapsed(patients)]).size().unstack(fill_value=0)
    share = counted.reindex(index=list(labels), columns=list(MECHANISM_STYLE), fill_value=0) / n
    figure, ax = _stacked(share, MECHANISM_STYLE, labels, numbers=False)
    ax.set_xlim(0, max(0.05, 1.03 * float(share.sum(axis=1).max())))
    ax.set_xlabel(f"Relapses by what let them happen, in % of the same {n} virtual patients under each product")
    return figure, _long(share, "mechanism")


def whiskers(point: Published) -> list[list[float]] | None:
    """Distances to the bounds of a published interval, as error bars want them."""
    lower, upper = interval(point)
    if lower is None or upper is None:
        return None
    return [[point.estimate - lower], [upper - point.estimate]]


def incidence_by_product(
    patients: pd.DataFrame, labels: dict[str, str], months: float, published: Sequence[Published] = ()
) -> tuple[Figure, pd.DataFrame]:
    """Small multiples: cumulative incidence of each kind of relapse in patients in CR, with 95 % bands.

    Published points (if any) are drawn in the first panel, that of the trial's own product.
    """
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    tables = []
    with mpl.rc_context(STYLE):
        figure, axes = canvas(1.75 * rows + 0.95, rows, columns, sharex=True, sharey=True)
        for ax, (arm, label) in zip(axes.flat, labels.items(), strict=False):
            responders = patients[(patients["arm"] == arm) & patients["complete_remission"]]
            title_product(ax, arm, label)
            ax.text(0.03, 0.95, f"n = {len(responders)} in CR", transform=ax.transAxes, va="top", fontsize=7)
            if len(responders) == 0:
                continue
            failing = causes_of_failure(responders)
            curves = cumulative_incidence(failing["duration_days"], failing["cause"])
            for i, kind in enumerate(RELAPSE_KINDS, start=1):
                colour, dashes, name = RELAPSE_STYLE[kind]
                curve = curves[curves["cause"] == i] if i in set(curves["cause"]) else pd.DataFrame()
                if curve.empty:  # this kind never happened
                    curve = pd.DataFrame(
                        {"cause": [i], "day": [0.0], "estimate": [0.0], "lower": [0.0], "upper": [np.nan]}
                    )
                last = curve.iloc[[-1]].assign(day=max(months * DAYS_PER_MONTH, curve["day"].max()))
                curve = pd.concat([curve, last], ignore_index=True)
                at = curve["day"] / DAYS_PER_MONTH
                ax.step(at, curve["estimate"], where="post", color=colour, linestyle=dashes, linewidth=1.5, label=name)
                ax.fill_between(at, curve["lower"], curve["upper"], step="post", color=colour, alpha=0.15, linewidth=0)
                tables.append(curve.assign(arm=arm, kind=kind).drop(columns="cause"))
        first = axes.flat[0]
        for point in published:
            if point.endpoint == "cumulative_incidence_antigen_negative" and (point.month or math.inf) <= months:
                first.errorbar(
                    point.month, point.estimate,
                    yerr=whiskers(point),
                    fmt="D", markersize=4, color=VERMILION, markeredgecolor=BLACK, markeredgewidth=0.6, capsize=2,
                    label=f"published, antigen-negative (n = {point.n})", zorder=5, clip_on=False,
                )  # fmt: skip
        for ax in axes.flat[len(labels) :]:
            ax.set_visible(False)
        for ax in axes.flat:
            ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            ax.set_xlim(0, months)
            ax.set_ylim(bottom=0)
            ax.xaxis.set_major_locator(month_ticks(months))
        for ax in axes.flat[max(0, len(labels) - columns) : len(labels)]:
            ax.set_xlabel("Months from infusion")
            ax.tick_params(labelbottom=True)
        figure.supylabel("Cumulative incidence of relapse", fontsize=8)
        figure.legend(*first.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    if not tables:  # nobody is in CR
        tables = [pd.DataFrame({name: [] for name in ("arm", "kind", "day", "estimate", "lower", "upper")})]
    return figure, pd.concat(tables, ignore_index=True)[["arm", "kind", "day", "estimate", "lower", "upper"]]


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
        style = _course_style(name)
        ax.plot(line["day"] / DAYS_PER_MONTH, cells, **style, markevery=(0.03 * i, 0.25))
    for cells_at in limits.values():
        ax.axhline(cells_at, color="#AAAAAA", linewidth=0.6, zorder=0)
    ax.text(0.98, 0.97, fate, transform=ax.transAxes, ha="right", va="top", fontsize=7)
    ax.set_yscale("log")
    ax.minorticks_off()
    ax.xaxis.set_major_locator(month_ticks())


def relapse_by_product(patients: pd.DataFrame, labels: dict[str, str], months: float) -> tuple[Figure, pd.DataFrame]:
    """The answer in one picture: failure of all patients by kind, the same patients under each product.

    Patients whose leukaemia lacked an antigen in part at entry have a panel of their own: there an antigen-negative
    relapse is the disease that they came with.
    """
    entered = patients["antigen_negative_at_entry"]
    groups = [("antigen-positive at entry", ~entered), ("antigen-negative at entry", entered)]
    groups = [group for group in groups if group[1].any()]
    tables = []
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.42 * len(labels) + 1.1, 1, len(groups), sharey=True, sharex=True)
        for ax, (entry, mask) in zip(axes[0], groups, strict=True):
            for i, (kind, (marker, colour, face)) in enumerate(FAILURES.items()):
                table = _failed(patients[mask], labels, kind, months).assign(entry=entry)
                tables.append(table)
                ax.errorbar(
                    table["estimate"], np.arange(len(labels)) + 0.19 * (i - (len(FAILURES) - 1) / 2),
                    xerr=[table["estimate"] - table["lower"], table["upper"] - table["estimate"]],
                    fmt=marker, color=colour, markersize=4, capsize=1.5, linewidth=1, markerfacecolor=face,
                    clip_on=False, label=kind if kind in (LINEAGE_SWITCH, NO_REMISSION) else f"{kind} relapse",
                )  # fmt: skip
            ax.set_title(f"{entry} (n = {table['n'].iloc[0]})", loc="left", fontsize=8)
            ax.set_ylim(len(labels) - 0.5, -0.5)
            ax.set_xlabel(f"% of the group by {months:g} months, 95 % interval")
            ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
            ax.set_axisbelow(True)
            sns.despine(ax=ax, left=True)
            ax.tick_params(axis="y", length=0)
        axes[0, 0].set_xlim(0, max(0.02, 1.03 * max(float(table["upper"].max()) for table in tables)))
        axes[0, 0].set_yticks(range(len(labels)), list(labels.values()))
        mark_products(axes[0, 0], list(labels))
        handles = axes[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=len(FAILURES), frameon=False)
    columns = ["arm", "entry", "kind", "estimate", "lower", "upper", "n"]
    return figure, pd.concat(tables, ignore_index=True)[columns]


def _failed(patients: pd.DataFrame, labels: dict[str, str], kind: str, months: float) -> pd.DataFrame:
    """Share of the patients of each product who relapsed in this way, or were never in remission."""
    if kind == NO_REMISSION:
        hit = ~patients["complete_remission"]
    else:
        then = patients["day_relapse"] <= months * DAYS_PER_MONTH
        hit = (patients["relapse_kind"] == kind).fillna(False).astype(bool) & then
    counts = hit.groupby(patients["arm"]).agg(["sum", "size"]).reindex(list(labels))
    rows = [(arm, kind, *proportion(int(k), int(n))) for arm, k, n in counts.itertuples()]
    return pd.DataFrame(rows, columns=["arm", "kind", "estimate", "lower", "upper", "n"])


def stamp(figure: Figure, text: str) -> None:
    """A line at the foot of a picture that travels with it: what it is of."""
    with mpl.rc_context(STYLE):
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.set(rect=(0, 0.14 / figure.get_figheight(), 1, 1 - 0.14 / figure.get_figheight()))  # type: ignore[call-arg]
        figure.text(0.995, 0.02 / figure.get_figheight(), text, ha="right", va="bottom", fontsize=5.5, color="#666666")
