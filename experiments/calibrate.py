"""Which parameters could have given what the trials published, and what can the published figures not tell?

python experiments/calibrate.py [calibration.KEY=value] [biology=NAME]

Every run of the simulator is kept as it ends: the same command goes on with a fit that was stopped or killed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from escape_abm.config import launch

if TYPE_CHECKING:
    from escape_abm.results import Run
    from escape_abm.settings import Settings


def calibrate(settings: Settings, run: Run) -> None:
    """Find, draw, write, and say where it is."""
    # Imported here so that --help and shell completion answer at once.
    from escape_abm import report

    if not run.finished:
        find(settings, run)
    if not run.quiet:
        report.where(
            run.folder,
            ("figures/parameters.png", "first: what was learnt of each parameter"),
            ("figures/left_out.png", "each trial, predicted from the others"),
            ("parameters.csv", "prior and posterior of each parameter"),
            ("conf", f"to use it: --config-dir {run.folder}/conf biology=found clinic=found"),
        )


def find(settings: Settings, run: Run) -> None:
    """Run the waves, sample the posterior, leave each trial out in turn, write."""
    from escape_abm import calibration, report

    trials = trials_of(settings)
    assert settings.calibration is not None
    how = settings.calibration
    with run.progress("runs of all trials", sum(how.waves) + how.confirmed) as advance:
        found = calibration.calibrate(settings, trials, run.kept, advance)
    with run.progress("trials left out", len(trials)) as advance:
        left_out = calibration.leave_one_out(settings, found, advance)
    parameters, predicted = found.parameters(), found.predicted()
    pictures = {}
    if run.pictures:
        from escape_abm import figures, fit_figures, trial_figures

        labels = {name: trial.trial.label for name, trial in trials.items()}
        pictures = {
            "parameters": fit_figures.prior_and_posterior(found.marginals()),
            "pairs": fit_figures.pairs(found),
            "predicted": trial_figures.forest(predicted, labels),
            "left_out": trial_figures.forest(left_out, labels),
            "emulator": fit_figures.emulated(found.checked()),
        }
        for figure, _ in pictures.values():
            figures.stamp(figure, report.about(settings, f"{len(found.x)} runs of {len(trials)} trials"))
    tables = {
        "parameters.csv": parameters,
        "predicted.csv": predicted,
        "left_out.csv": left_out,
        "posterior.parquet": found.draws(),
        "runs.parquet": found.runs(),
    }
    choices = {f"conf/{name}": partial(_write, text=text) for name, text in found.as_choices(settings).items()}
    run.write(tables, pictures, choices)
    if not run.quiet:
        report.show_fit(parameters, predicted, left_out, found.mixing())


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def trials_of(settings: Settings) -> dict[str, Settings]:
    """The settings of every trial that judges, with the biology and clinic of this run."""
    from escape_abm.config import compose

    assert settings.calibration is not None
    change = {"biology": settings.biology, "clinic": settings.clinic}
    found = {name: compose([f"trial={name}"], "published") for name in settings.calibration.trials}
    return {name: trial.model_copy(update=change) for name, trial in found.items()}


def check(settings: Settings) -> None:
    """Whether there is something to find, by figures that there are."""
    from escape_abm.parameters import InputError
    from escape_abm.targets import free_parameters

    if settings.calibration is None:
        raise InputError("calibration: is missing; run this experiment with its own configuration")
    free_parameters(settings, settings.calibration.free)
    trials_of(settings)


if __name__ == "__main__":
    launch(calibrate, config_name="calibrate", check=check)
