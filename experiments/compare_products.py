"""Which CAR T product prevents which relapse? The same virtual patients under a product and its comparators.

python experiments/compare_products.py [group=choice] [key=value] [-m]
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from escape_abm.config import launch

if TYPE_CHECKING:
    from escape_abm.settings import Settings


def compare(settings: Settings, folder: Path) -> None:
    """Run, tabulate, draw, write, and say where it is."""
    # Imported here so that --help and shell completion answer at once.
    from escape_abm import figures, report, results
    from escape_abm.trial import run_trial

    began = time.perf_counter()
    arms = len(settings.arms)
    with report.progress(f"patients x {arms} product{'s' if arms > 1 else ''}", settings.cohort.size) as advance:
        result = run_trial(settings, advance)
    labels = {arm.name: arm.label for arm in settings.arms}
    months = settings.follow_up_months
    pictures = {
        "relapse_by_product": figures.relapse_by_product(result.patients, labels, months),
        "outcomes_by_product": figures.outcomes_by_product(result.patients, labels, months),
        "mechanisms_by_product": figures.mechanisms_by_product(result.patients, labels),
        "cumulative_incidence": figures.incidence_by_product(result.patients, labels, months, settings.trial.published),
    }
    if len(result.trajectories):
        clinic = settings.sampled().clinic
        lines = {"5 % blasts": clinic.marrow_cells(0.05), "MRD 1e-4": clinic.marrow_cells(1e-4)}
        pictures["courses"] = figures.courses(result.trajectories, result.patients, labels, lines)
    for figure, _ in pictures.values():
        figures.stamp(figure, report.about(settings))
    results.write_run(folder, settings, result.files(), pictures, time.perf_counter() - began)
    report.show(result, settings, folder)


if __name__ == "__main__":
    launch(compare)
