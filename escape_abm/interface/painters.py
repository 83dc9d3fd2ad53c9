"""The functions that draw each figure of the documentation, from stored runs or from one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from escape_abm.figures import checks, courses, diagrams, fits, products, trials
from escape_abm.inputs.settings import Settings
from escape_abm.interface.composition import compose, conf_dir
from escape_abm.law.states import alphabet_of
from escape_abm.runs.provenance import read_table
from escape_abm.trials import comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Picture = tuple[Figure, pd.DataFrame]
EVERY_DAYS = 3
"""Of courses, so that tables stay small."""
RELAPSES = ("relapse", "relapse_antigen_negative", "relapse_antigen_positive", "relapse_lineage_switch")


class Made(NamedTuple):
    """A run that is there."""

    settings: Settings
    folder: Path
    values: dict[str, Any]
    """Of the swept parameters."""

    @property
    def patients(self) -> pd.DataFrame:
        """Its table of patients."""
        return self.table("patients.parquet")

    def table(self, name: str) -> pd.DataFrame:
        """One of its tables, by the name of the file.

        Raises:
            Damaged: the file is missing or cannot be read.
        """
        return read_table(self.folder / name)

    @property
    def labels(self) -> dict[str, str]:
        """Products by name."""
        return {arm.name: arm.label for arm in self.settings.arms}


def _law(_: list[Made]) -> Picture:
    return diagrams.law(alphabet_of(compose().biology))


def _outcomes(runs: list[Made]) -> Picture:
    return products.outcomes_by_product(runs[0].patients, runs[0].labels, runs[0].settings.follow_up_months)


def _relapse(runs: list[Made]) -> Picture:
    return products.relapse_by_product(runs[0].patients, runs[0].labels, runs[0].settings.follow_up_months)


def _mechanisms(runs: list[Made]) -> Picture:
    return products.mechanisms_by_product(runs[0].patients, runs[0].labels)


def _by_product(runs: list[Made]) -> Picture:
    summary = runs[0].table("summary.csv")
    return fits.relapse_of_products(summary, runs[0].labels, runs[0].settings.follow_up_months)


def _incidence(runs: list[Made]) -> Picture:
    settings = runs[0].settings
    months, published = settings.follow_up_months, settings.trial.published
    return products.incidence_by_product(runs[0].patients, runs[0].labels, months, published)


def _in_trials(runs: list[Made]) -> Picture:
    curves = []
    for run in runs:
        trial = run.settings.trial
        endpoints = tuple(f"cumulative_incidence_{k.removeprefix('relapse_')}" for k in RELAPSES)
        rng, unexplained = np.random.default_rng([run.settings.seed, 2]), run.settings.clinic.between_trials()
        curves.append((trial, comparison.curves(run.patients, trial, endpoints, rng, unexplained)))
    return trials.relapse_in_trials(curves)


def _forest(runs: list[Made]) -> Picture:
    table = pd.concat([run.table("comparison.csv") for run in runs], ignore_index=True)
    table["inside"] = table["inside"].astype("boolean")
    return trials.forest(table, {run.settings.trial.name: run.settings.trial.label for run in runs})


def _flow(runs: list[Made]) -> Picture:
    return diagrams.relapse_flow(runs[0].patients, runs[0].labels)


def _map(runs: list[Made], names: dict[str, str]) -> Picture:
    tables = [run.patients.assign(**run.values) for run in runs]
    months = runs[0].settings.follow_up_months
    labels = {name: label for run in runs for name, label in run.labels.items()}
    return trials.relapse_map(pd.concat(tables, ignore_index=True), list(names), months, names, labels)


def _courses(runs: list[Made], patients: int, products: int) -> Picture:
    clinic = runs[0].settings.sampled().clinic
    lines = {"5 % blasts": clinic.marrow_cells(0.05), "MRD 1e-4": clinic.marrow_cells(1e-4)}
    days = runs[0].table("trajectories.parquet")
    last = days.groupby(["patient", "arm"])["day"].transform("max")
    shown = days[(days["day"] % EVERY_DAYS == 0) | (days["day"] == last)]
    return courses.courses(shown, runs[0].patients, runs[0].labels, lines, patients, products)


def _prevented(runs: list[Made]) -> Picture:
    table = runs[0].table("prevented.csv")
    return trials.prevented(table, runs[0].labels, runs[0].settings.product.name)


def _speed(times: pd.DataFrame, peers: dict[str, str]) -> Picture:
    """Ratios within one run of the benchmark: the peer's time over ours, patient by patient."""
    labels = _labels(times["product"])
    lines = []
    for peer, column in peers.items():
        for product, its in times.groupby("product", sort=False):
            ratio = its[column] / its["whole_year_ms"]
            lines.append((labels[str(product)], peer, *np.percentile(ratio, [10, 50, 90]), len(its)))
    return checks.speed(pd.DataFrame(lines, columns=["what", "peer", "lower", "estimate", "upper", "n"]))


def _indices(table: pd.DataFrame) -> Picture:
    return fits.indices(table, _labels(table["arm"]))


def _labels(products: pd.Series[str]) -> dict[str, str]:
    """Labels of products of `conf/product`, by name."""
    files = {name: Path(conf_dir(), "product", f"{name}.yaml") for name in products.unique()}
    return {name: yaml.safe_load(file.read_text(encoding="utf-8"))["label"] for name, file in files.items()}


PAINTERS: dict[str, Callable[..., Picture]] = {
    "law": _law,
    "outcomes": _outcomes,
    "relapse": _relapse,
    "mechanisms": _mechanisms,
    "by_product": _by_product,
    "incidence": _incidence,
    "in_trials": _in_trials,
    "forest": _forest,
    "flow": _flow,
    "map": _map,
    "courses": _courses,
    "prevented": _prevented,
}
"""What draws runs."""
TABLES: dict[str, Callable[..., Picture]] = {
    "laws": checks.laws,
    "tick_accuracy": checks.tick_accuracy,
    "coverage": checks.coverage,
    "speed": _speed,
    "posterior": fits.prior_and_posterior,
    "emulator": fits.emulated,
    "indices": _indices,
}
"""What draws one table."""
