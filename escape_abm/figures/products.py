"""Figures of one run: the outcomes of its patients under each product, and the causes of relapse."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from escape_abm.figures.style import (
    BLACK,
    FAILURES,
    MECHANISM_STYLE,
    NO_REMISSION,
    OUTCOMES,
    RELAPSE_STYLE,
    STYLE,
    VERMILION,
    canvas,
    mark_products,
    month_ticks,
    title_product,
    whiskers,
)
from escape_abm.inputs.settings import DAYS_PER_MONTH
from escape_abm.inputs.trial import Published
from escape_abm.law.states import LINEAGE_SWITCH
from escape_abm.patient.endpoints import RELAPSE_KINDS
from escape_abm.trials.estimates import why_relapsed
from escape_abm.trials.readings import causes_of_failure
from escape_abm.trials.survival import cumulative_incidence, percent, proportion

MRD_LIMIT = 1e-4  # of the marrow: where remission is drawn as MRD-positive


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
