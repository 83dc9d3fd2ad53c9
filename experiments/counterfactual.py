"""Which relapses would another product have prevented? The patients of one trial under its product and all others.

python experiments/counterfactual.py [trial=NAME] [product=NAME] [key=value] [-m]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from escape_abm.interface.launch import launch
except ModuleNotFoundError as missing:
    raise SystemExit(f"{missing}. Enter the environment first: python3 start.py setup says how") from None

if TYPE_CHECKING:
    from escape_abm.inputs.settings import Settings
    from escape_abm.runs.run_folder import Run

RATES, SIZES = (0.04, 0.08, 0.16, 0.24), (10, 20, 50, 100, 200)  # antigen-negative relapse; responders


def counterfactual(settings: Settings, run: Run) -> None:
    """Run, tabulate, draw, write, and say where it is."""
    # Imported here so that --help and shell completion answer at once.
    from escape_abm.runs import terminal
    from escape_abm.trials import estimates

    first = settings.product.name
    result = run.trial(f"patients x {len(settings.arms)} products")
    labels = {arm.name: arm.label for arm in settings.arms}
    table = estimates.prevented(result.patients, first)
    tables = {
        "prevented.csv": table,
        "tell_apart.csv": estimates.tell_apart(result.patients, first),
        "small_trials.csv": estimates.small_trials(RATES, SIZES),
        **result.files(),
    }
    pictures = {}
    if run.pictures and table["relapses"].gt(0).any():
        from escape_abm.figures import style, trials

        pictures = {"prevented": trials.prevented(table, labels, first)}
        style.stamp(pictures["prevented"][0], terminal.about(settings))
    run.write(tables, pictures)
    if not run.quiet:
        terminal.show_prevented(table, labels, first)
        terminal.where(
            run.folder,
            ("figures/prevented.png", "first: relapses that another product would have prevented"),
            ("prevented.csv", "the same, by kind of relapse"),
            ("tell_apart.csv", "which products this trial could have told apart"),
            ("small_trials.csv", "what a trial of a size can see of antigen-negative relapse"),
        )


if __name__ == "__main__":
    launch(counterfactual)
