"""Scores: error, width, interval score and a constant, from tables made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from escape_abm.evidence.scores import interval_score, scores
from escape_abm.trials.comparison import COLUMNS
from escape_abm.trials.survival import proportion


def table(published: list[float], simulated: list[float], half_width: float = 0.1, n: int = 50) -> pd.DataFrame:
    """One figure of remission from each trial."""
    lines = [
        {
            "trial": f"t{i}", "stratum": "all", "endpoint": "complete_remission", "published": seen, "simulated": model,
            "lower": model - half_width, "upper": model + half_width, "n": n,
            "inside": abs(seen - model) <= half_width,
        }
        for i, (seen, model) in enumerate(zip(published, simulated, strict=True))
    ]  # fmt: skip
    out = pd.DataFrame(lines).reindex(columns=list(COLUMNS))
    return out.astype({"inside": "boolean", "n": "Int64"})


def test_an_interval_is_scored_by_its_width_and_its_misses() -> None:
    lower, upper, seen = np.array([0.2, 0.2, 0.2]), np.array([0.4, 0.4, 0.4]), np.array([0.3, 0.45, 0.1])
    assert interval_score(lower, upper, seen).tolist() == pytest.approx([0.2, 0.2 + 40 * 0.05, 0.2 + 40 * 0.1])


def test_scores_of_a_model_and_of_a_constant() -> None:
    seen = [0.6, 0.7, 0.8, 0.9]
    found = scores(table(seen, [0.65, 0.75, 0.85, 0.95])).set_index("group").loc["remission"]
    assert found["error"] == pytest.approx(0.05)
    assert found["absolute_error"] == pytest.approx(0.05)
    assert (found["inside"], found["figures"], found["rank"]) == (4, 4, 1)
    exact = [proportion(round(50 * p), 50) for p in seen]
    assert found["width_ratio"] == pytest.approx(float(np.median([0.2 / (e.upper - e.lower) for e in exact])))
    others = [np.mean([p for p in seen if p != one]) for one in seen]
    assert found["constant_absolute_error"] == pytest.approx(np.mean(np.abs(np.array(others) - seen)))
    assert found["interval_score"] == pytest.approx(0.2)
    assert found["constant_interval_score"] > 0.2


def test_intervals_that_hold_everything_score_badly() -> None:
    """All figures inside, and the constant beside it better: what *inside* hides."""
    seen = [0.6, 0.62, 0.61, 0.6]
    wide = scores(table(seen, [0.5] * 4, half_width=0.5)).set_index("group").loc["all"]
    assert wide["inside"] == 4
    assert wide["interval_score"] > wide["constant_interval_score"]
    assert wide["width_ratio"] > 3


def test_one_trial_alone_has_no_constant() -> None:
    alone = scores(table([0.6], [0.7])).set_index("group").loc["remission"]
    assert alone["constant_figures"] == 0
    assert np.isnan(alone["constant_absolute_error"])
