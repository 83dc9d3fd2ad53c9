"""Predictions that are registered before a trial has results, and scored once when it has.

A prediction is one file, named by its trial, its day and the digest of its content: whoever has the name can tell
whether the content is still what was registered. It holds what a trial of that size would publish, for every endpoint,
stratum and half month, and the settings that it follows from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from escape_abm.inputs.checks import InputError, check
from escape_abm.inputs.settings import DAYS_PER_MONTH, Settings
from escape_abm.inputs.trial import PHENOTYPES, RATES, SHARES, Trial
from escape_abm.trials.comparison import FEWEST, TELLING, chosen, exact, family_of, interval, middle, resample
from escape_abm.trials.readings import readings

COLUMNS = ("stratum", "endpoint", "month", "simulated", "lower", "upper", "chance_lower", "chance_upper", "patients")
SCORE = (
    "trial", "stratum", "endpoint", "month", "published", "published_lower", "published_upper", "simulated", "lower",
    "upper", "inside", "n",
)  # fmt: skip
MONTH = 0.5
DIGEST_LENGTH = 12
SCORED = ".scored.csv"


def predict(
    patients: pd.DataFrame, trial: Trial, rng: np.random.Generator, between_trials: Mapping[str, float]
) -> pd.DataFrame:
    """What a trial of this size would publish.

    Args:
        patients: Rows of one arm of a large virtual trial.
        trial: Its size, strata and follow-up; results are not read.
        rng: Source of chance of the trials that are drawn.
        between_trials: Differences between trials by family of endpoints (`Clinic.between_trials`).

    Returns:
        `COLUMNS`: medians and 95 % intervals of shares, rates every half month up to the end of the run; `patients` are
        the virtual ones that count. A stratum that fewer than `FEWEST` of them are in is left out.
    """
    drawn = resample(patients, trial, rng)
    at_hand, lines = readings(drawn.patients), []
    longest = float(patients["day_last"].max()) / DAYS_PER_MONTH
    grid = np.arange(MONTH, longest + 1e-9, MONTH)
    for stratum, condition in {"all": "", **trial.strata}.items():
        of = chosen(drawn.patients, condition)
        for endpoint in (*SHARES, *PHENOTYPES, *RATES):
            reading = at_hand[endpoint]._replace(of=at_hand[endpoint].of & of)
            months = grid if endpoint in RATES else [np.nan]
            days, n = [0.0 if np.isnan(m) else m * DAYS_PER_MONTH for m in months], int(reading.of.sum())
            if n < FEWEST:
                continue
            whole = drawn.read(reading, days, rng, between_trials.get(family_of(endpoint), 0.0))
            chance = drawn.pooled().read(reading, days, rng)
            for month, values, alone in zip(months, whole, chance, strict=True):
                if np.isfinite(values).mean() >= TELLING:
                    lines.append((stratum, endpoint, month, *middle(values), *middle(alone)[1:], n))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def registered(settings: Settings, table: pd.DataFrame, day: str, code: Mapping[str, Any]) -> tuple[str, str]:
    """Name and text of the file of a prediction.

    Args:
        settings: What it follows from.
        table: `predict`.
        day: ISO date.
        code: Versions and digests of what computed it.
    """
    trial = settings.trial.model_copy(update={"published": (), "steps": {}})
    content = {
        "trial": trial.name,
        "label": trial.label,
        "size": trial.size,
        "day": day,
        "code": dict(code),
        "settings": settings.model_copy(update={"trial": trial}).model_dump(mode="json"),
        "prediction": json.loads(table.to_json(orient="split", index=False, double_precision=4)),
    }
    text = json.dumps(content) + "\n"
    return f"{trial.name}_{day}_{_digest(text)}.json", text


def score(prediction: Path, results: Path) -> pd.DataFrame:
    """Results beside what was predicted, for once: the table is written beside the prediction.

    Args:
        prediction: A file of `registered`.
        results: A trial file (`conf/trial/`), whose `published` is read.

    Returns:
        `SCORE`; `inside` is empty where nothing was predicted.

    Raises:
        InputError: the prediction was changed, is scored already, or is of another trial; there are no results.
    """
    told = _read(prediction)
    done = prediction.with_name(prediction.name.removesuffix(".json") + SCORED)
    if done.exists():
        raise InputError(f"{prediction}: is scored already, in {done}. A prediction is scored once")
    trial = _trial(results)
    if trial.name != told["trial"]:
        raise InputError(f"{results}: is of the trial {trial.name}, the prediction of {told['trial']}")
    if not trial.published:
        raise InputError(f"{results}: published is empty; fill in what was published first")
    foretold = pd.DataFrame(told["prediction"]["data"], columns=told["prediction"]["columns"])
    lines: list[tuple[Any, ...]] = []
    for point in trial.published:
        its = foretold[(foretold["stratum"] == point.stratum) & (foretold["endpoint"] == point.endpoint)]
        if point.month is not None and point.endpoint in RATES:
            its = its[(its["month"].astype(float) - point.month).abs() <= MONTH / 2]
        what = trial.name, point.stratum, point.endpoint, point.month, exact(point), *interval(point)
        if its.empty or point.not_compared:
            lines.append((*what, np.nan, np.nan, np.nan, pd.NA, point.n))
            continue
        line = its.iloc[0]
        inside = bool(line["lower"] - 1e-9 <= exact(point) <= line["upper"] + 1e-9)
        lines.append((*what, line["simulated"], line["lower"], line["upper"], inside, point.n))
    table = pd.DataFrame(lines, columns=list(SCORE)).astype({"inside": "boolean", "month": float, "n": "Int64"})
    if table["inside"].isna().all():
        raise InputError(f"{results}: none of its results was predicted in {prediction}; nothing is scored")
    table.to_csv(done, index=False)
    return table


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def _read(prediction: Path) -> dict[str, Any]:
    try:
        text = prediction.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{prediction}: {error}. Give the file of a registered prediction") from None
    if not prediction.stem.endswith(f"_{_digest(text)}"):
        raise InputError(f"{prediction}: its content is not what its name was made of: it was changed, or renamed")
    return dict(json.loads(text))


def _trial(results: Path) -> Trial:
    try:
        data = yaml.safe_load(results.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{results}: {error}. Give the file of the trial, with its results") from None
    if not isinstance(data, dict) or not isinstance(data.get("trial"), dict):
        raise InputError(f"{results}: has no section trial; give a file as in conf/trial")
    return check(Trial, data["trial"])
