"""Does the model reproduce a published trial? The trial simulated many times at its own size, beside its results.

python experiments/trial.py trial=NAME [key=value]
python experiments/trial.py -m trial=NAME,NAME,...      all of them, with one table and one figure
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

try:
    from escape_abm.interface.launch import launch
except ModuleNotFoundError as missing:
    raise SystemExit(f"{missing}. Enter the environment first: python3 start.py setup says how") from None

if TYPE_CHECKING:
    from escape_abm.inputs.settings import Settings
    from escape_abm.runs.run_folder import Run

CURVES = (
    "overall_survival",
    "event_free_survival",
    "cumulative_incidence_relapse",
    "cumulative_incidence_antigen_negative",
    "cumulative_incidence_antigen_positive",
)

ENOUGH, ALWAYS_ENOUGH = 10, 1000
"""Virtual patients for each of the trial: predictive intervals are then 5 % too narrow, as they leave out the chance of
which virtual patients there are."""

LOOKS = (
    ("figures/forest.png", "first: what was published, beside simulated trials of that size"),
    ("figures/curves.png", "survival and relapse over time"),
    ("comparison.csv", "every published figure, or why it is not compared"),
)


def beside(settings: Settings, run: Run) -> None:
    """Simulate, compare, draw, write, and say where it is."""
    # Imported here so that --help and shell completion answer at once.
    import numpy as np

    from escape_abm.runs import terminal
    from escape_abm.trials import comparison

    trial = settings.trial
    result = run.trial(f"virtual patients of {trial.name}")
    rng = np.random.default_rng([settings.seed, 1])
    unexplained = settings.clinic.between_trials()
    table = comparison.compare(result.patients, trial, rng, unexplained)
    pictures = {}
    if run.pictures:
        from escape_abm.figures import style, trials

        lines = comparison.curves(result.patients, trial, CURVES, rng, unexplained)
        pictures["curves"] = trials.trial_curves(lines, trial)
        if table["inside"].notna().any():
            pictures["forest"] = trials.forest(table, {trial.name: trial.label})
        for figure, _ in pictures.values():
            style.stamp(figure, terminal.about(settings))
    run.write({"comparison.csv": table, **result.files()}, pictures)
    if not run.quiet:
        terminal.show_comparison(table, trial.label)
        _warn_of_few([settings])
        terminal.where(run.folder, *LOOKS)


def _warn_of_few(runs: list[Settings]) -> None:
    """Say for which trials there are too few virtual patients for predictive intervals to be as wide as they should."""
    from escape_abm.runs import terminal

    few = [s for s in runs if s.cohort.size < _enough(s)]
    if few:
        names = ", ".join(dict.fromkeys(f"{s.trial.name} ({s.cohort.size} for {s.trial.size})" for s in few))
        terminal.warn(
            f"Intervals are too narrow: fewer virtual patients than {ENOUGH} times those of the trial: {names}. "
            f"cohort.size={max(_enough(s) for s in few)} is enough"
        )


def _enough(settings: Settings) -> int:
    """Virtual patients beside which chance among them hardly counts; in large trials, differences between trials do."""
    return min(ENOUGH * (settings.trial.size or 0), ALWAYS_ENOUGH)


def check(settings: Settings) -> None:
    """Whether the trial's conditions can be read from a table of patients."""
    from escape_abm.trials.virtual_trial import refuse_conditions

    refuse_conditions(settings)


def gather(folder: Path, jobs: list[tuple[Settings, Path]]) -> None:
    """One table and one figure of all trials of a sweep."""
    import pandas as pd

    from escape_abm.evidence import scores
    from escape_abm.figures import style, trials
    from escape_abm.runs import run_folder, terminal

    table = pd.concat([pd.read_csv(place / "comparison.csv") for _, place in jobs], ignore_index=True)
    table["inside"] = table["inside"].astype("boolean")
    forest = trials.forest(table, {s.trial.name: s.trial.label for s, _ in jobs})
    first = jobs[0][0]
    together = first.trial.model_copy(update={"label": f"{len(jobs)} trials"})
    about = terminal.about(
        first.model_copy(update={"trial": together}), f"{first.cohort.size} virtual patients of each"
    )
    style.stamp(forest[0], about)
    scored = scores.scores(table)
    run_folder.write_tables(folder, {"comparison.csv": table, "scores.csv": scored}, {"forest": forest})
    terminal.show_inside(table)
    terminal.show_scores(scored)
    _warn_of_few([settings for settings, _ in jobs])
    terminal.where(folder, *LOOKS)


if __name__ == "__main__":
    launch(beside, config_name="published", gather=gather, check=check)
