"""Figures of simulated against published trials, and of counterfactuals: the same patients under other products."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from escape_abm.figures.style import (
    BLACK,
    BLUE,
    MECHANISM_STYLE,
    RELAPSE_STYLE,
    STYLE,
    VERMILION,
    canvas,
    month_ticks,
    whiskers,
)
from escape_abm.inputs.settings import DAYS_PER_MONTH
from escape_abm.inputs.trial import NOT_SHARES, Trial
from escape_abm.patient.endpoints import ANTIGEN_NEGATIVE, ANTIGEN_POSITIVE
from escape_abm.trials.comparison import ENDPOINT_NAMES, row_name
from escape_abm.trials.estimates import draws_of, measure
from escape_abm.trials.readings import readings
from escape_abm.trials.survival import percent

PAGE_ROWS = 55


def forest(comparison: pd.DataFrame, labels: dict[str, str]) -> tuple[Figure, pd.DataFrame]:
    """Published shares of one or several trials (`labels`) beside their predictive intervals, a row for each."""
    table = comparison[comparison["inside"].notna() & ~comparison["endpoint"].isin(NOT_SHARES)].copy()
    blocks: list[list[tuple[str, Any]]] = []
    for trial, its in table.groupby("trial", sort=False):
        inside = int(its["inside"].sum())
        name = labels[str(trial)].partition(" (")[0] if len(labels) > 1 else labels[str(trial)]
        head = f"{name}: {inside} of {len(its)} inside"
        blocks.append([(head, None), *((row_name(line), line) for line in its.itertuples())])
    columns = _columns(blocks)
    most = max(sum(map(len, column)) for column in columns)
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.165 * most + 0.9, 1, len(columns))
        for ax, column in zip(axes[0], columns, strict=True):
            _forest(ax, [row for block in column for row in block], most)
        handles = [
            Line2D([], [], color=BLUE, linewidth=PART_WIDTHS[2], alpha=0.8),
            Line2D([], [], color=BLUE, linewidth=PART_WIDTHS[1], alpha=0.6),
            Line2D([], [], color=BLUE, linewidth=PART_WIDTHS[0], alpha=0.35),
            Line2D([], [], color=BLACK, marker="o", markersize=4, linewidth=0.8),
            Line2D([], [], color=VERMILION, marker="o", markersize=4, markerfacecolor="white", linestyle=""),
        ]
        names = ["simulated, 95 %: chance in a trial of that size", "and parameters", "and differences between trials",
                 "published, 95 %", "published, outside"]  # fmt: skip
        shown = 4 if table["inside"].all() else 5
        figure.legend(handles[:shown], names[:shown], loc="outside upper center", ncols=3, frameon=False)
    return figure, table


PART_WIDTHS = (1.2, 2.6, 4.5)
"""Line widths of the whole interval, of chance and parameters, of chance alone."""


def _columns(blocks: list[list[tuple[str, Any]]]) -> list[list[list[tuple[str, Any]]]]:
    """Blocks of rows, side by side in two halves if they are too many for a page."""
    total = sum(map(len, blocks))
    if total <= PAGE_ROWS:
        return [blocks]
    before = np.cumsum([len(block) for block in blocks])
    cut = int(np.argmin(np.abs(before - total / 2))) + 1
    return [half for half in (blocks[:cut], blocks[cut:]) if half]


def _forest(ax: Axes, rows: list[tuple[str, Any]], most: int) -> None:
    """A column of a forest plot, as high as one of `most` rows; a row without figures is a heading."""
    for y, (name, line) in enumerate(rows):
        if line is None:
            ax.axhline(y - 0.5, color="#CCCCCC", linewidth=0.6)
            ax.text(1.01, y, name, ha="right", va="center", fontsize=6.5, fontweight="bold")
            continue
        parts = ((line.lower, line.upper), (line.parameters_lower, line.parameters_upper),
                 (line.chance_lower, line.chance_upper))  # fmt: skip
        for part, width in zip(parts, PART_WIDTHS, strict=True):
            ax.plot(part, [y, y], color=BLUE, linewidth=width, alpha=0.35, solid_capstyle="butt")
        if line.lower == line.upper:  # nothing varied: no interval of no width
            ax.text(line.simulated, y + 0.1, " same in all ", ha="left" if line.simulated < 0.5 else "right", va="top",
                    fontsize=4.5, color=BLUE)  # fmt: skip
        ax.plot(line.simulated, y, "|", color=BLUE, markersize=7, markeredgewidth=1.4)
        if not (pd.isna(line.published_lower) or pd.isna(line.published_upper)):
            ax.plot([line.published_lower, line.published_upper], [y, y], color=BLACK, linewidth=0.8)
        face = BLACK if line.inside else "white"
        ax.plot(line.published, y, "o", color=BLACK if line.inside else VERMILION, markersize=4,
                markerfacecolor=face, markeredgewidth=1.2, clip_on=False)  # fmt: skip
    ax.set_yticks(range(len(rows)), ["" if line is None else name for name, line in rows], fontsize=6.2)
    ax.set(ylim=(most - 0.5, -0.8), xlim=(-0.02, 1.02), xlabel="Share of patients")
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "50%", "", "100%"])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


RELAPSE_MARKER = {
    "cumulative_incidence_antigen_positive": "s",
    "cumulative_incidence_antigen_negative": "^",
    "cumulative_incidence_lineage_switch": "D",
    "cumulative_incidence_relapse": "o",
}
CURVES = {
    "overall_survival": (BLACK, "-"),
    "event_free_survival": (BLUE, "--"),
    "cumulative_incidence_antigen_positive": (BLUE, "-"),
    "cumulative_incidence_antigen_negative": (VERMILION, "--"),
    "cumulative_incidence_relapse": (BLACK, "-"),
}


def trial_curves(curves: pd.DataFrame, trial: Trial) -> tuple[Figure, pd.DataFrame]:
    """Survival (left) and relapse (right) of trials of that size, with the published points of all patients on them.

    Whole published curves, if there are any, are thin steps.
    """
    panels = (
        ("Survival", ("overall_survival", "event_free_survival")),
        ("Cumulative incidence of relapse in responders", tuple(e for e in CURVES if "incidence" in e)),
    )
    with mpl.rc_context(STYLE):
        figure, axes = canvas(3.0, 1, 2, sharey=True)
        for ax, (title, endpoints) in zip(axes[0], panels, strict=True):
            for i, endpoint in enumerate(endpoints):
                colour, dashes = CURVES[endpoint]
                line = curves[curves["endpoint"] == endpoint]
                name = ENDPOINT_NAMES[endpoint].removesuffix(", cumulative")
                ax.plot(line["month"], line["median"], color=colour, linestyle=dashes, label=name)
                ax.fill_between(line["month"], line["lower"], line["upper"], color=colour, alpha=0.13, linewidth=0)
                if steps := trial.steps.get(endpoint):
                    ax.step(*zip(*steps, strict=True), where="post", color=colour, linewidth=0.8)
                for point in trial.published:
                    if point.endpoint == endpoint and point.stratum == "all" and point.month and not point.not_compared:
                        low = 0 if point.lower is None else point.estimate - point.lower
                        high = 0 if point.upper is None else point.upper - point.estimate
                        beside = point.month + 0.12 * i
                        ax.errorbar(beside, point.estimate, [[low], [high]], fmt="o", color=colour, markersize=5,
                                    capsize=2.5, linewidth=0.9, markeredgecolor="white")  # fmt: skip
            ax.set(title=title, xlabel="Months from infusion", ylim=(-0.02, 1.02))
            ax.yaxis.set_major_formatter(PercentFormatter(1))
            ax.xaxis.set_major_locator(month_ticks(float(curves["month"].max())))
            ax.legend(frameon=False, loc="lower left" if title == "Survival" else "upper left")
        axes[0, 0].set_ylabel("Patients")
        shown = "points and steps" if trial.steps else "points"
        about = f"{trial.label}: simulated trials of that size (median, 95 %) and published {shown}"
        figure.suptitle(about, fontsize=8.5)
    return figure, curves


def relapse_in_trials(trials: Sequence[tuple[Trial, pd.DataFrame]]) -> tuple[Figure, pd.DataFrame]:
    """Small multiples: relapse by kind in trials of their size (median, 95 %), with what each trial published.

    Args:
        trials: Each trial with its lines of `comparison.curves`.
    """
    columns = 2 if len(trials) in (2, 4) else min(3, len(trials))
    rows = -(-len(trials) // columns)
    kinds: dict[str, tuple[str, Any, str]] = {
        f"cumulative_incidence_{k.replace('-', '_').replace(' ', '_')}": v for k, v in RELAPSE_STYLE.items()
    }
    kinds["cumulative_incidence_relapse"] = (BLACK, (0, (1, 1)), "any relapse")
    tables = []
    with mpl.rc_context(STYLE):
        figure, axes = canvas(1.8 * rows + 0.9, rows, columns, sharey=True)
        for ax, (trial, curves) in zip(axes.flat, trials, strict=False):
            points = [p for p in trial.published if p.endpoint in kinds and p.stratum == "all" and not p.not_compared]
            told = [endpoint for endpoint in kinds if any(p.endpoint == endpoint for p in points)]
            for endpoint in told:
                colour, dashes, _ = kinds[endpoint]
                line = curves[curves["endpoint"] == endpoint]
                tables.append(line.assign(trial=trial.name))
                ax.plot(line["month"], line["median"], color=colour, linestyle=dashes, linewidth=1.4)
                ax.fill_between(line["month"], line["lower"], line["upper"], color=colour, alpha=0.13, linewidth=0)
            beside = 0.012 * float(curves["month"].max())  # points of one month lie beside each other
            for i, point in enumerate(points):
                month = (point.month or math.nan) - beside * sum(p.month == point.month for p in points[:i])
                ax.errorbar(
                    month, point.estimate, yerr=whiskers(point), fmt=RELAPSE_MARKER[point.endpoint],
                    color=kinds[point.endpoint][0], markersize=5, markeredgecolor="white", markeredgewidth=0.6,
                    capsize=2, clip_on=False, zorder=5,
                )  # fmt: skip
            name, _, rest = trial.label.partition(" (")
            ax.set_title(f"{name}\n{rest.removesuffix(')')}", loc="left", fontsize=7.5)
            ax.set(xlim=(0, float(curves["month"].max())), xlabel="Months from infusion")
            ax.xaxis.set_major_locator(month_ticks(float(curves["month"].max())))
            ax.yaxis.set_major_formatter(PercentFormatter(1))
        for ax in axes.flat[len(trials) :]:
            ax.set_visible(False)
        axes.flat[0].set_ylim(0, min(1.0, axes.flat[0].get_ylim()[1]))
        figure.supylabel("Relapse of patients in CR", fontsize=8)
        table = pd.concat(tables, ignore_index=True)[["trial", "endpoint", "month", "median", "lower", "upper"]]
        shown = {endpoint: kind for endpoint, kind in kinds.items() if (table["endpoint"] == endpoint).any()}
        handles = [
            Line2D([], [], color=colour, linestyle=dashes, marker=RELAPSE_MARKER[e], markeredgecolor="white")
            for e, (colour, dashes, _) in shown.items()
        ]
        figure.legend(handles, [k[2] for k in shown.values()], loc="outside upper center", ncols=4, frameon=False)
    return figure, table


def prevented(table: pd.DataFrame, labels: dict[str, str], reference: str) -> tuple[Figure, pd.DataFrame]:
    """Relapses under the reference (columns, by mechanism) that each other product (rows) would have prevented."""
    order = ["any", *(m for m in MECHANISM_STYLE if m in set(table["mechanism"]))]
    arms = list(dict.fromkeys(table["arm"]))
    shares = table.pivot(index="arm", columns="mechanism", values="estimate").loc[arms, order]
    counts = table.pivot(index="arm", columns="mechanism", values="prevented").loc[arms, order]
    # Beside them, what the other product does worse.
    shares["caused"], counts["caused"] = math.nan, table[table["mechanism"] == "any"].set_index("arm")["caused"]
    totals = table.drop_duplicates("mechanism").set_index("mechanism")["relapses"]
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.33 * len(arms) + 1.5)
        ax = axes[0, 0]
        sns.heatmap(
            shares.astype(float), ax=ax, cmap="Blues", vmin=0, vmax=1, annot=False, linewidths=1,
            cbar_kws={"label": "Share prevented", "format": PercentFormatter(1)},
        )  # fmt: skip
        shown = counts.to_numpy(dtype=float)
        for (y, x), share in np.ndenumerate(shares.to_numpy(dtype=float)):
            ink = "white" if share > 0.55 else BLACK
            ax.text(x + 0.5, y + 0.5, f"{int(shown[y, x])}", ha="center", va="center", fontsize=8, color=ink)
        names = [*(f"{name} (of {totals[name]})" for name in order), "failures caused instead"]
        ax.set_xticklabels(names, rotation=25, ha="right", rotation_mode="anchor")
        ax.set_yticklabels([labels[arm] for arm in arms], rotation=0)
        ax.set(xlabel=f"Relapses under {labels[reference]}, by mechanism", ylabel="")
        ax.tick_params(length=0)
        ax.set_title("Relapses of the same patients that another product would have prevented")
    return figure, table


def relapse_against(
    patients: pd.DataFrame, key: str, months: float, labels: Mapping[str, str] | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Antigen-negative and antigen-positive relapse of patients in CR against one swept parameter, with 95 % intervals.

    Jobs with the same value are read together (`_relapse_by`).

    Args:
        patients: Patients of all jobs under the product of each; `key` is one of the columns.
        key: The swept parameter, of numbers or of names.
        months: At which cumulative incidence is read.
        labels: What a reader calls values that are names.
    """
    kinds = {kind: RELAPSE_STYLE[kind] for kind in (ANTIGEN_NEGATIVE, ANTIGEN_POSITIVE)}
    table = _relapse_by(patients, [key], months)
    values = list(table[key].unique())
    numeric = pd.api.types.is_numeric_dtype(table[key]) and not pd.api.types.is_bool_dtype(table[key])
    log = numeric and min(values) > 0 and max(values) >= 10 * min(values)
    with mpl.rc_context(STYLE):
        figure, axes = canvas(3.2)
        ax: Axes = axes[0, 0]
        for i, (kind, (colour, dashes, label)) in enumerate(kinds.items()):
            mine = table[table["kind"] == kind]
            x: Any
            beside = 2 * i - 1  # so that neither hides the other
            if log:
                x = mine[key].to_numpy() * 1.02**beside
            elif numeric:
                x = mine[key].to_numpy() + 0.006 * beside * (max(values) - min(values))
            else:
                x = np.arange(len(values)) + 0.06 * beside
            bounds = [mine["estimate"] - mine["lower"], mine["upper"] - mine["estimate"]]
            ax.errorbar(
                x, mine["estimate"], yerr=bounds, color=colour, linestyle=dashes if numeric else "none", linewidth=1.2,
                marker="so"[i], markersize=4, elinewidth=0.9, capsize=2, label=label,
                clip_on=False,
            )  # fmt: skip
        if not numeric:
            shown = [_value(v, labels or {}) for v in values]
            ax.set_xticks(range(len(values)), shown, rotation=20 if len(values) > 5 else 0)
            ax.set_xlim(-0.5, len(values) - 0.5)
        if log:
            ax.set_xscale("log")
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.set_xlabel(key)
        ax.set_ylabel(f"Relapse of patients in CR at {months:g} months")
        figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure, table


def relapse_map(
    patients: pd.DataFrame,
    keys: list[str],
    months: float,
    names: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Antigen-negative and antigen-positive relapse of patients in CR over two swept parameters.

    Args:
        patients: Patients of all jobs under the product of each; `keys` are two of the columns.
        keys: The parameter of the rows and that of the columns.
        months: At which cumulative incidence is read.
        names: What a reader calls these parameters, with units; otherwise the ends of their paths.
        labels: What a reader calls values that are names.
    """
    table = _relapse_by(patients, keys, months)
    most = float(table["estimate"].max())
    rows, columns = table[keys[0]].unique(), table[keys[1]].unique()
    with mpl.rc_context(STYLE):
        figure, axes = canvas(max(2.7, 1.4 + 0.33 * len(rows)), 1, 2, sharey=True)
        for ax, kind in zip(axes.flat, (ANTIGEN_NEGATIVE, ANTIGEN_POSITIVE), strict=True):
            mine = table[table["kind"] == kind]
            wide: Any = mine.pivot(index=keys[0], columns=keys[1], values="estimate").reindex(rows, columns=columns)
            image = ax.imshow(wide, cmap="Blues", vmin=0, vmax=most, aspect="auto", origin="lower")
            for line in mine.itertuples(index=False):
                value, lower, upper = line[3:6]
                x, y = list(columns).index(line[1]), list(rows).index(line[0])
                ink = {"ha": "center", "color": "white" if value > 0.6 * most else BLACK}
                if not np.isfinite(value):
                    ax.text(x, y, "-", va="center", **ink)
                elif len(columns) > 6:
                    ax.text(x, y, percent(value), va="center", **ink)
                else:
                    ax.text(x, y - 0.02, percent(value), va="bottom", **ink)
                    ax.text(x, y - 0.08, f"{percent(lower)}–{percent(upper)}", va="top", fontsize=5.5, **ink)
            ax.set_xticks(range(len(columns)), [_value(v, labels or {}) for v in columns])
            ax.set_yticks(range(len(rows)), [_value(v, labels or {}) for v in rows])
            ax.set(title=f"{kind} relapse", xlabel=(names or {}).get(keys[1], _ending(keys[1])))
            ax.tick_params(length=0)
        axes.flat[0].set_ylabel((names or {}).get(keys[0], _ending(keys[0])))
        bar = figure.colorbar(image, ax=axes, pad=0.01)
        bar.set_label(f"% of CR, {months:g} months")
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))
    return figure, table


def _relapse_by(patients: pd.DataFrame, keys: list[str], months: float) -> pd.DataFrame:
    """Cumulative incidence of both kinds of relapse for each value of the keys, with 95 % intervals.

    Jobs of other seeds are other patients, which are read together. Jobs that have the same patients, and differ in
    something else, do not make the interval narrower: theirs are averaged.
    """
    lines = []
    ordered = all(pd.api.types.is_numeric_dtype(patients[key]) for key in keys)
    for values, group in patients.groupby(keys, sort=ordered):
        same = [c for c in ("seed", "patient") if c in group]
        again = group.groupby(same).cumcount().to_numpy() if same else np.zeros(len(group), dtype=int)
        every = [readings(group[again == k]) for k in range(again.max() + 1)]
        for kind in (ANTIGEN_NEGATIVE, ANTIGEN_POSITIVE):
            name, at = f"cumulative_incidence_{kind.replace('-', '_')}", [months * DAYS_PER_MONTH]
            found = [measure(r[name], at, draws_of(group[again == k]))[0][0][:4] for k, r in enumerate(every)]
            lines.append((*values, kind, *np.mean(found, axis=0)))
    return pd.DataFrame(lines, columns=[*keys, "kind", "estimate", "lower", "upper", "n"]).astype({"n": int})


def _ending(key: str) -> str:
    """The last two names of a swept parameter's path."""
    return "\n".join(key.rsplit(".", 2)[-2:])


def _value(value: Any, labels: Mapping[str, str]) -> str:
    if not isinstance(value, float):
        return labels.get(str(value), str(value))
    if value < 1e5:
        return f"{value:.3g}".replace("e-0", "e-")
    digits, _, power = f"{value:.2e}".partition("e+")
    front = f"{float(digits):g}×" if float(digits) != 1 else ""
    return f"${front}10^{{{int(power)}}}$"
