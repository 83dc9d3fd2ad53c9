"""Which parameters could have given what the trials published, and what can the published figures not tell?

python experiments/calibrate.py [calibration.KEY=value] [biology=NAME]

Every run of the simulator is kept as it ends: a fit that was killed goes on where it was when the same command is given
again with `hydra.run.dir=` set to its folder.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from escape_abm.config import launch

if TYPE_CHECKING:
    from escape_abm.settings import Settings


def calibrate(settings: Settings, folder: Path) -> None:
    """Run the waves, sample the posterior, leave each trial out in turn, draw, write, and say where it is."""
    # Imported here so that --help and shell completion answer at once.
    from escape_abm import calibration, figures, fit_figures, report, results, trial_figures

    began = time.perf_counter()
    trials = trials_of(settings)
    assert settings.calibration is not None
    with report.progress("runs of all trials", sum(settings.calibration.waves)) as advance:
        found = calibration.calibrate(settings, trials, folder / ".runs", advance)
    with report.progress("trials left out", len(trials)) as advance:
        left_out = calibration.leave_one_out(settings, found, advance)
    parameters, figures_of = found.parameters(), found.predicted()
    labels = {name: trial.trial.label for name, trial in trials.items()}
    pictures = {
        "parameters": fit_figures.prior_and_posterior(found),
        "pairs": fit_figures.pairs(found),
        "predicted": trial_figures.forest(figures_of, labels),
        "left_out": trial_figures.forest(left_out, labels),
        "emulator": fit_figures.emulated(found),
    }
    for figure, _ in pictures.values():
        figures.stamp(figure, report.about(settings, f"{len(found.x)} runs of {len(trials)} trials"))
    tables = {
        "parameters.csv": parameters,
        "predicted.csv": figures_of,
        "left_out.csv": left_out,
        "posterior.parquet": found.draws(),
        "runs.parquet": found.runs(),
    }
    others = {"fitted.yaml": lambda path: path.write_text(found.as_yaml(), encoding="utf-8")}
    results.write_run(folder, settings, tables, pictures, time.perf_counter() - began, others)
    report.show_fit(parameters, figures_of, left_out, found.mixing())
    report.where(folder, "figures/parameters.png first; fitted.yaml is a choice for conf/biology/")


def trials_of(settings: Settings) -> dict[str, Settings]:
    """The settings of every trial that judges, with the biology and clinic of this run."""
    from escape_abm.config import compose

    assert settings.calibration is not None
    change = {"biology": settings.biology, "clinic": settings.clinic}
    found = {name: compose([f"trial={name}"], "published") for name in settings.calibration.trials}
    return {name: trial.model_copy(update=change) for name, trial in found.items()}


def check(settings: Settings) -> None:
    """Whether there is something to find, by figures that there are."""
    from escape_abm.calibration import free_parameters
    from escape_abm.parameters import InputError

    if settings.calibration is None:
        raise InputError("calibration: is missing; run this experiment with its own configuration")
    free_parameters(settings, settings.calibration.free)
    trials_of(settings)


if __name__ == "__main__":
    launch(calibrate, config_name="calibrate", check=check)
