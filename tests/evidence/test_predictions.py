"""Predictions: registered by content, scored once, and right as often as they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from escape_abm.__main__ import main
from escape_abm.evidence import predictions
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.settings import DAYS_PER_MONTH, Settings
from escape_abm.interface.composition import compose
from escape_abm.trials.estimates import read
from escape_abm.trials.readings import readings
from tests.trials.test_comparison import patients  # noqa: F401  (a fixture)

FALSE_ALARM = 1e-4
RESULTS = {
    "name": "mine",
    "size": 40,
    "published": [
        {"endpoint": "complete_remission", "estimate": 0.95, "events": 38, "n": 40, "source": "assumed"},
        {"endpoint": "overall_survival", "month": 6.1, "estimate": 0.01, "n": 40, "source": "assumed"},
        {"endpoint": "icans_any_grade", "estimate": 0.1, "source": "assumed", "not_compared": "ICANS is not modelled"},
    ],
}


@pytest.fixture(scope="module")
def mine() -> Settings:
    return compose(["trial=none", "comparators=none", "+trial.size=40", "trial.name=mine", "trial.label=Mine"])


@pytest.fixture
def registered(mine: Settings, patients: pd.DataFrame, tmp_path: Path) -> Path:  # noqa: F811
    table = predictions.predict(patients, mine.trial, np.random.default_rng(1), {"survival": 0.3})
    name, text = predictions.registered(mine, table, "2026-12-01", {"code": "x"})
    assert predictions.registered(mine, table, "2026-12-01", {"code": "x"}) == (name, text)
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def trial_file(folder: Path, **changed: object) -> Path:
    place = folder / "mine.yaml"
    place.write_text(yaml.safe_dump({"trial": RESULTS | changed}), encoding="utf-8")
    return place


def test_a_prediction_is_scored_once(registered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = trial_file(registered.parent)
    assert main(["score", str(registered), str(results)]) == 0
    table = pd.read_csv(registered.with_name(registered.stem + ".scored.csv"))
    assert table["inside"].isna().tolist() == [False, False, True]
    assert bool(table["inside"][0])
    assert not bool(table["inside"][1])
    assert "×" in capsys.readouterr().out
    assert main(["score", str(registered), str(results)]) == 2
    assert "A prediction is scored once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"name": "other"}, "is of the trial other, the prediction of mine"),
        ({"published": []}, "fill in what was published"),
        ({"published": RESULTS["published"][2:]}, "none of its results was predicted"),  # type: ignore[index]
    ],
)
def test_what_cannot_be_scored_is_refused(registered: Path, changed: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        predictions.score(registered, trial_file(registered.parent, **changed))
    assert list(registered.parent.glob("*.scored.csv")) == []


def test_a_changed_prediction_is_refused(registered: Path) -> None:
    registered.write_text(registered.read_text().replace('"size": 40', '"size": 41'))
    with pytest.raises(InputError, match="it was changed, or renamed"):
        predictions.score(registered, trial_file(registered.parent))


def test_predictions_do_not_read_results(mine: Settings, patients: pd.DataFrame) -> None:  # noqa: F811
    """With results in the file the prediction is the same, and its file has none of them."""
    with_results = mine.trial.model_validate(mine.trial.model_dump() | RESULTS)
    tables = [predictions.predict(patients, t, np.random.default_rng(1), {}) for t in (mine.trial, with_results)]
    assert tables[0].equals(tables[1])
    _, text = predictions.registered(mine.model_copy(update={"trial": with_results}), tables[0], "2026-12-01", {})
    assert '"published": []' in text


@pytest.mark.statistical
def test_trials_of_the_same_law_are_inside(mine: Settings, patients: pd.DataFrame) -> None:  # noqa: F811
    table = predictions.predict(patients, mine.trial, np.random.default_rng(1), {})
    line = table[(table["endpoint"] == "event_free_survival") & (table["month"] == 12)].iloc[0]
    rng, found = np.random.default_rng(2), []
    for _ in range(200):
        drawn = patients.iloc[rng.integers(0, len(patients), 40)].reset_index(drop=True)
        found.append(read(readings(drawn)["event_free_survival"], 12 * DAYS_PER_MONTH).estimate)
    outside = int(((np.array(found) < line["lower"] - 1e-9) | (np.array(found) > line["upper"] + 1e-9)).sum())
    assert stats.binom.sf(outside - 1, 200, 0.06) > FALSE_ALARM
    shifted = int((np.array(found) - 0.3 >= line["lower"]).sum())
    assert stats.binom.cdf(shifted, 200, 0.94) < FALSE_ALARM
