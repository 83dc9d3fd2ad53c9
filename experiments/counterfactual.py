"""Which relapses would another product have prevented? The same patients of a trial under its product and all others.

python experiments/counterfactual.py [trial=NAME] [product=NAME] [key=value] [-m]
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from escape_abm.config import launch

if TYPE_CHECKING:
    from escape_abm.settings import Settings

RATES, SIZES = (0.04, 0.08, 0.16, 0.24), (10, 20, 50, 100, 200)  # antigen-negative relapse; responders


def counterfactual(settings: Settings, folder: Path) -> None:
    """Run, tabulate, draw, write, and say where it is."""
    # Imported here so that --help and shell completion answer at once.
    from escape_abm import analysis, figures, report, results, trial_figures
    from escape_abm.trial import run_trial

    began, first = time.perf_counter(), settings.product.name
    with report.progress(f"patients x {len(settings.arms)} products", settings.cohort.size) as advance:
        result = run_trial(settings, advance)
    labels = {arm.name: arm.label for arm in settings.arms}
    table = analysis.prevented(result.patients, first)
    tables = {
        "prevented.csv": table,
        "tell_apart.csv": analysis.tell_apart(result.patients, first),
        "small_trials.csv": analysis.small_trials(RATES, SIZES),
        **result.files(),
    }
    pictures = {"prevented": trial_figures.prevented(table, labels, first)} if table["relapses"].gt(0).any() else {}
    for figure, _ in pictures.values():
        figures.stamp(figure, report.about(settings))
    results.write_run(folder, settings, tables, pictures, time.perf_counter() - began)
    report.show_prevented(table, labels, first)
    report.where(folder, "figures/prevented.png first; prevented.csv, tell_apart.csv and small_trials.csv for numbers")


if __name__ == "__main__":
    launch(counterfactual)
