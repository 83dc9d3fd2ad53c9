"""Densities of single patients as a cohort: median and spread, a choice for `biology`, and histograms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from escape_abm.inputs.biology import Antigen
from escape_abm.inputs.checks import check
from escape_abm.trials.survival import LEVEL, median

Floats = NDArray[np.float64]


def cohort(patients: pd.DataFrame) -> pd.DataFrame:
    """A row per antigen: median over patients and standard deviation of ln medians, with 95 % intervals.

    The interval of the median lies between order statistics (NaN with fewer than six patients), that of the spread is
    of a normal distribution.
    """
    return pd.DataFrame([_antigen(its) for _, its in patients.groupby("antigen", sort=False)])


def _antigen(its: pd.DataFrame) -> dict[str, Any]:
    """One antigen over patients: the median, and the standard deviation of ln medians."""
    logs, n = np.log(its["median_molecules"].to_numpy(dtype=float)), len(its)
    middle = median(logs)
    sigma = float(np.std(logs, ddof=1)) if n > 1 else math.nan
    tails = stats.chi2.ppf([(1 + LEVEL) / 2, (1 - LEVEL) / 2], n - 1) if n > 1 else np.full(2, math.nan)
    bounds = sigma * np.sqrt((n - 1) / tails)
    return {
        "antigen": its["antigen"].iloc[0],
        "patients": n,
        "median_molecules": math.exp(middle.estimate),
        "median_lower": math.exp(middle.lower),
        "median_upper": math.exp(middle.upper),
        "sigma": sigma,
        "sigma_lower": float(bounds[0]),
        "sigma_upper": float(bounds[1]),
        "within_sigma": float(its["within_sigma"].median()),
    }


def notes(patients: pd.DataFrame, halves: Mapping[str, Mapping[str, float]], unstained: bool) -> list[str]:
    """What a reader must know, in sentences."""
    done = patients["compensation"].value_counts()
    out = [f"compensation: {said} ({n} of {len(patients)} rows)" for said, n in done.items()]
    scales = patients[["gain", "log_decades"]].drop_duplicates()
    each = [f"log of {d:g} decades" if d else f"linear, gain {g:g}" for g, d in scales.itertuples(index=False)]
    out.append(f"scales undone: {'; '.join(each)}")
    if not unstained:
        out.append("no unstained cells: background is in the numbers, and low densities are too high")
    if len(patients["patient"].unique()) == 1:
        out.append("one patient: no spread between patients; the choice keeps the one it starts from")
    for antigen, its in patients.groupby("antigen", sort=False):
        name = str(antigen).upper()
        ends = ("at_top_fraction", "at_bottom_fraction", "above_beads_fraction", "below_beads_fraction")
        top, bottom, above, below = (f"{its[column].max():.1%}" for column in ends)
        out.append(
            f"{name}: at the top of the range up to {top} of a patient's events, at 0 or below {bottom}; all count"
        )
        out.append(f"{name}: outside the beads up to {above} of a patient's events above, {below} below")
        outside = its.loc[~its["median_in_beads"].astype(bool), "patient"]
        if len(outside):
            out.append(f"{name}: the median of {', '.join(outside)} lies outside the beads and is extrapolated")
        lowest = float(its["beads_from_molecules"].max())
        for product, half in halves.get(str(antigen), {}).items():
            if half < lowest:
                out.append(
                    f"{name}: the half-density of {product}, {half:.0f}, is below the lowest bead ({lowest:.0f})"
                )
    out.append(
        "the law has no spread within a patient: it and the share below a half-density are reported, not simulated"
    )
    return out


def choice(table: pd.DataFrame, antigens: Mapping[str, Antigen], start: str = "fitted") -> str:
    """A file for `biology/` in a folder of one's own, which starts from another choice and has these densities.

    Args:
        table: As `cohort` gives it.
        antigens: Of that other choice.
        start: Its name.

    Raises:
        InputError: a density or a spread that the law does not take.
    """
    n = int(table["patients"].iloc[0])
    lines = [
        f"# Antigen density of {n} patient{'s' * (n > 1)}, by flow cytometry. The rest is biology={start}.",
        f"defaults: [{start}, _self_]",
        "antigens:",
    ]
    for line in table.to_dict("records"):
        name = str(line["antigen"])
        its = {"blast_density_molecules": float(f"{line['median_molecules']:.4g}")}
        if n > 1:
            its["blast_density_molecules_sigma"] = float(f"{line['sigma']:.4g}")
        check(Antigen, antigens[name].model_dump() | its, f"biology.antigens.{name}")
        lines += [f"  {name}:", *(f"    {key}: {value!r}" for key, value in its.items())]
        if n > 1:
            lines[-1] += f"  # 95 % {line['sigma_lower']:.2g} to {line['sigma_upper']:.2g}"
        else:
            lines.append(f"    # one patient has no spread between patients: that of {start} is kept")
    return "\n".join(lines) + "\n"


def histograms(
    molecules: Mapping[tuple[str, str], Floats], halves: Mapping[str, Mapping[str, float]], bins_per_decade: int = 12
) -> pd.DataFrame:
    """Shares of events: `patient, antigen, from_molecules, to_molecules, share`.

    Bins are even on a logarithmic axis; the first, from minus infinity (NaN), holds all that is below.
    """
    every = np.concatenate([v[v > 0] for v in molecules.values()])
    low = min([float(np.quantile(every, 0.02)), *(half for its in halves.values() for half in its.values())])
    first = math.floor(math.log10(max(1.0, low / 2)))
    bins = math.floor((math.log10(every.max()) - first) * bins_per_decade) + 1
    edges = 10 ** (first + np.arange(bins + 1) / bins_per_decade)
    blocks = []
    for (patient, antigen), its in molecules.items():
        share = np.histogram(its, np.append(-np.inf, edges))[0] / its.size
        columns = {"from_molecules": np.append(np.nan, edges[:-1]), "to_molecules": edges, "share": share}
        blocks.append(pd.DataFrame({"patient": patient, "antigen": antigen, **columns}))
    return pd.concat(blocks, ignore_index=True)
