"""Does the model publish what the trial published? A trial simulated many times at its own size, beside its results.

python experiments/trial.py trial=NAME [key=value]
python experiments/trial.py -m trial=NAME,NAME,...      all of them, and then one table and one figure
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from escape_abm.config import launch

if TYPE_CHECKING:
    from escape_abm.settings import Settings

CURVES = (
    "overall_survival",
    "event_free_survival",
    "cumulative_incidence_relapse",
    "cumulative_incidence_antigen_negative",
    "cumulative_incidence_antigen_positive",
)


def beside(settings: Settings, folder: Path) -> None:
    """Simulate, compare, draw, write, and say where it is."""
    # Imported here so that --help and shell completion answer at once.
    import numpy as np

    from escape_abm import comparison, figures, report, results, trial_figures
    from escape_abm.trial import run_trial

    began, trial = time.perf_counter(), settings.trial
    with report.progress(f"virtual patients of {trial.name}", settings.cohort.size) as advance:
        result = run_trial(settings, advance)
    rng = np.random.default_rng([settings.seed, 1])
    table = comparison.compare(result.patients, trial, rng)
    lines = comparison.curves(result.patients, trial, CURVES, rng)
    pictures = {"curves": trial_figures.trial_curves(lines, trial.published, trial.label)}
    if table["inside"].notna().any():
        pictures["forest"] = trial_figures.forest(table, {trial.name: trial.label})
    for figure, _ in pictures.values():
        figures.stamp(figure, report.about(settings))
    tables = {"comparison.csv": table, **result.files()}
    results.write_run(folder, settings, tables, pictures, time.perf_counter() - began)
    report.show_comparison(table, trial.label)
    report.where(folder, "figures/forest.png first; comparison.csv for every published figure")


def check(settings: Settings) -> None:
    """Whether the trial's conditions can be read from a table of patients."""
    import pandas as pd

    from escape_abm.comparison import chosen
    from escape_abm.trial import as_table, run_patient

    rows, _ = run_patient(0, settings.model_copy(update={"comparators": {}}))
    table: pd.DataFrame = as_table(rows)
    for condition in (settings.trial.analysed, *settings.trial.strata.values()):
        chosen(table, condition)


def gather(folder: Path, jobs: list[Settings]) -> None:
    """One table and one figure of all trials of a sweep."""
    import pandas as pd

    from escape_abm import figures, report, results, trial_figures

    table = pd.concat([pd.read_csv(p) for p in sorted(folder.glob("*/comparison.csv"), key=_number)], ignore_index=True)
    table["inside"] = table["inside"].astype("boolean")
    forest = trial_figures.forest(table, {s.trial.name: s.trial.label for s in jobs})
    figures.stamp(forest[0], report.about(jobs[0], "all trials"))
    results.write_tables(folder, {"comparison.csv": table}, {"forest": forest})
    report.show_inside(table)
    report.where(folder, "figures/forest.png first; comparison.csv for every published figure")


def _number(path: Path) -> int:
    return int(path.parent.name) if path.parent.name.isdigit() else 0


if __name__ == "__main__":
    launch(beside, config_name="published", gather=gather, check=check)
