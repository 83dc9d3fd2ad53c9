"""Which CAR T product prevents which relapse? The same virtual patients under a product and its comparators.

python experiments/compare_products.py [group=choice] [key=value] [-m]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from escape_abm.config import launch

if TYPE_CHECKING:
    from escape_abm.results import Run
    from escape_abm.settings import Settings
    from escape_abm.trial import TrialResult


def compare(settings: Settings, run: Run) -> None:
    """Run, tabulate, draw, write, and say where it is."""
    arms = len(settings.arms)
    result = run.trial(f"patients x {arms} product{'s' if arms > 1 else ''}")
    run.write(result.files(), draw(settings, result) if run.pictures else {})
    if not run.quiet:
        from escape_abm import report

        report.show(result, settings, run.folder)


def draw(settings: Settings, result: TrialResult) -> dict[str, Any]:
    """The pictures of a run, each with the table that it draws."""
    from escape_abm import figures, report  # here, so that runs without pictures need not wait for them

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
    return pictures


if __name__ == "__main__":
    launch(compare)
