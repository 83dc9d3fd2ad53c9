"""Which parameters are consistent with the published trial results, and which stay unidentified?

python experiments/calibrate.py [calibration.KEY=value] [biology=NAME]

Every simulator run is stored as it ends: the same command resumes a fit that was stopped or killed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

try:
    from escape_abm.interface.launch import launch
except ModuleNotFoundError as missing:
    raise SystemExit(f"{missing}. Enter the environment first: python3 start.py setup says how") from None

if TYPE_CHECKING:
    from escape_abm.inputs.settings import Settings
    from escape_abm.runs.run_folder import Run


def calibrate(settings: Settings, run: Run) -> None:
    """Find, draw, write, and say where it is."""
    # Imported here so that --help and shell completion answer at once.
    from escape_abm.runs import terminal

    if not run.finished:
        find(settings, run)
    if not run.quiet:
        terminal.where(
            run.folder,
            ("figures/parameters.png", "first: what was learnt of each parameter"),
            ("figures/left_out.png", "each trial, predicted from the others"),
            ("parameters.csv", "prior and posterior of each parameter"),
            ("scores.csv", "how good predictions are, beside those of a constant"),
            ("conf", f"to use it: --config-dir {run.folder}/conf biology=found clinic=found"),
        )


def find(settings: Settings, run: Run) -> None:
    """Run the waves, sample the posterior, leave each trial out in turn, write."""
    import pandas as pd

    from escape_abm.evidence import calibration, scores
    from escape_abm.evidence.left_out import leave_one_out
    from escape_abm.runs import terminal

    judges = trials_of(settings)
    assert settings.calibration is not None
    how = settings.calibration
    with run.progress("runs of all trials", sum(how.waves) + how.confirmed + how.finalists) as advance:
        found = calibration.calibrate(settings, judges, run.kept, advance)
    with run.progress("trials left out", len(judges)) as advance:
        left_out = leave_one_out(settings, found, judges, run.kept, advance)
    scored = pd.concat(
        [scores.scores(of).assign(of=name) for name, of in (("fitted", found.predicted()), ("left out", left_out))]
    )
    parameters, predicted = found.parameters(), found.predicted()
    pictures = {}
    if run.pictures:
        from escape_abm.figures import fits, style, trials

        labels = {name: trial.trial.label for name, trial in judges.items()}
        pictures = {
            "parameters": fits.prior_and_posterior(found.marginals()),
            "pairs": fits.pairs(found),
            "predicted": trials.forest(predicted, labels),
            "left_out": trials.forest(left_out, labels),
            "emulator": fits.emulated(found.checked()),
        }
        for figure, _ in pictures.values():
            style.stamp(figure, terminal.about(settings, f"{len(found.x)} runs of {len(judges)} trials"))
    tables = {
        "parameters.csv": parameters,
        "predicted.csv": predicted,
        "left_out.csv": left_out,
        "scores.csv": scored,
        "posterior.parquet": found.draws(),
        "runs.parquet": found.runs(),
    }
    choices = {f"conf/{name}": partial(_write, text=text) for name, text in found.as_choices(settings).items()}
    run.write(tables, pictures, choices)
    if not run.quiet:
        terminal.show_fit(parameters, {"fitted": predicted, "left out": left_out}, found.mixing())
        terminal.show_scores(scored[scored["of"] == "left out"])


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def trials_of(settings: Settings) -> dict[str, Settings]:
    """The settings of every trial that judges, with the biology and clinic of this run."""
    from escape_abm.interface.composition import compose

    assert settings.calibration is not None
    change = {"biology": settings.biology, "clinic": settings.clinic}
    found = {name: compose([f"trial={name}"], "published") for name in settings.calibration.trials}
    return {name: trial.model_copy(update=change) for name, trial in found.items()}


def check(settings: Settings) -> None:
    """Whether there is something to find, by figures that there are."""
    from escape_abm.evidence.targets import free_parameters
    from escape_abm.inputs.checks import InputError

    if settings.calibration is None:
        raise InputError("calibration: is missing; run this experiment with its own configuration")
    free_parameters(settings, settings.calibration.free)
    trials_of(settings)


if __name__ == "__main__":
    launch(calibrate, config_name="calibrate", check=check)
