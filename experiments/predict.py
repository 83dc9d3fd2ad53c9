"""What will a trial find? Its results predicted and registered before there are any.

python experiments/predict.py trial=NAME [key=value]

The trial is a file of your own without `published` (docs/own_trial.md). The prediction is a file named by its content:
keep it where others see it. When there are results, fill them in and score it, once:

python -m escape_abm score PREDICTION.json TRIAL.yaml
"""

from __future__ import annotations

import datetime
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

CURVES = ("overall_survival", "event_free_survival", "cumulative_incidence_relapse")


def predict(settings: Settings, run: Run) -> None:
    """Simulate, predict, register, draw, write, and say where it is."""
    # Imported here so that --help and shell completion answer at once.
    import numpy as np

    from escape_abm.evidence import predictions
    from escape_abm.runs import terminal
    from escape_abm.trials import comparison

    result = run.trial(f"virtual patients of {settings.trial.name}")
    if not run.finished:
        between, rng = settings.clinic.between_trials(), np.random.default_rng([settings.seed, 1])
        table = predictions.predict(result.patients, settings.trial, rng, between)
        today = datetime.date.today().isoformat()
        name, text = predictions.registered(settings, table, today, run.identity.parts)
        pictures = {}
        if run.pictures:
            from escape_abm.figures import style, trials

            bare = settings.trial.model_copy(update={"published": (), "steps": {}})
            lines = comparison.curves(result.patients, bare, CURVES, rng, between)
            pictures["curves"] = trials.trial_curves(lines, bare)
            style.stamp(pictures["curves"][0], terminal.about(settings))
        files = {"prediction.csv": table, **result.files()}
        run.write(files, pictures, {name: partial(_write, text=text)})
    if not run.quiet:
        (registered,) = run.folder.glob(f"{settings.trial.name}_*.json")
        terminal.where(
            run.folder,
            (registered.name, "the prediction; keep this file where others see it"),
            ("prediction.csv", "the same as a table"),
            ("figures/curves.png", "survival and relapse over time"),
        )


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def check(settings: Settings) -> None:
    """Whether there is a trial to predict, and its conditions can be read."""
    from escape_abm.inputs.checks import InputError
    from escape_abm.trials.virtual_trial import refuse_conditions

    if settings.trial.size is None:
        raise InputError("trial.size: is missing; a prediction needs the number of patients (docs/own_trial.md)")
    refuse_conditions(settings)


if __name__ == "__main__":
    launch(predict, config_name="published", check=check)
