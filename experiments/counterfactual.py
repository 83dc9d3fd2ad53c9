"""Which relapses would another product have prevented? The same patients of a trial under its product and all others.

python experiments/counterfactual.py [trial=NAME] [product=NAME] [key=value] [-m]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from escape_abm.config import launch

if TYPE_CHECKING:
    from escape_abm.results import Run
    from escape_abm.settings import Settings

RATES, SIZES = (0.04, 0.08, 0.16, 0.24), (10, 20, 50, 100, 200)  # antigen-negative relapse; responders


def counterfactual(settings: Settings, run: Run) -> None:
    """Run, tabulate, draw, write, and say where it is."""
    # Imported here so that --help and shell completion answer at once.
    from escape_abm import analysis, report

    first = settings.product.name
    result = run.trial(f"patients x {len(settings.arms)} products")
    labels = {arm.name: arm.label for arm in settings.arms}
    table = analysis.prevented(result.patients, first)
    tables = {
        "prevented.csv": table,
        "tell_apart.csv": analysis.tell_apart(result.patients, first),
        "small_trials.csv": analysis.small_trials(RATES, SIZES),
        **result.files(),
    }
    pictures = {}
    if run.pictures and table["relapses"].gt(0).any():
        from escape_abm import figures, trial_figures

        pictures = {"prevented": trial_figures.prevented(table, labels, first)}
        figures.stamp(pictures["prevented"][0], report.about(settings))
    run.write(tables, pictures)
    if not run.quiet:
        report.show_prevented(table, labels, first)
        report.where(
            run.folder,
            ("figures/prevented.png", "first: relapses that another product would have prevented"),
            ("prevented.csv", "the same, by kind of relapse"),
            ("tell_apart.csv", "which products this trial could have told apart"),
            ("small_trials.csv", "what a trial of a size can see of antigen-negative relapse"),
        )


if __name__ == "__main__":
    launch(counterfactual)
