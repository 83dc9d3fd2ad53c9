"""Patients from a curve: known patients, their curve as it would be read off a page, and what comes back."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from escape_abm.exchange import time_to_event
from escape_abm.exchange.guyot import patients_of
from escape_abm.inputs.checks import InputError
from escape_abm.trials.survival import kaplan_meier

TRIALS = range(10)
ARMS = ((1 / 150, 0.25), (1 / 300, 0.5))  # rate of relapse per day of those who are not cured, share of cured
DAY_ERROR, HEIGHT_ERROR = 1.0, 0.002  # of points read off a figure of two years, 750 pixels wide and 500 high
QUARTER = 91.3125


def known(rng: np.random.Generator, rate: float, cured: float, n: int = 60) -> pd.DataFrame:
    """Patients with a plateau, censored from half a year to two and a half."""
    relapse = np.where(rng.random(n) < cured, np.inf, rng.exponential(1 / rate, n))
    end = rng.uniform(180, 900, n)
    return pd.DataFrame({"days": np.ceil(np.minimum(relapse, end)), "event": relapse <= end})


def read_off(patients: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The points of the curve after each step, and the numbers at risk every three months."""
    curve = kaplan_meier(patients["days"], patients["event"])
    steps = curve[(curve["estimate"].diff() < 0) | (curve.index == len(curve) - 1)]
    day = steps["day"] + rng.uniform(-DAY_ERROR, DAY_ERROR, len(steps))
    height = steps["estimate"] + rng.uniform(-HEIGHT_ERROR, HEIGHT_ERROR, len(steps))
    when = np.arange(0, patients["days"].max() - 2, QUARTER)
    at_risk = [(patients["days"] >= w).sum() for w in when]
    points = pd.DataFrame({"day": day.clip(lower=0), "survival": height.clip(0, 1)})
    return points, pd.DataFrame({"day": when, "at_risk": at_risk})


@cache
def trial(seed: int, censoring: bool = True) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Known and reconstructed patients of both arms; without censoring, numbers at risk after the first are unknown."""
    rng = np.random.default_rng(seed)
    true = [known(rng, *arm) for arm in ARMS]
    read = [read_off(arm, rng) for arm in true]
    return true, [patients_of(curve, at_risk if censoring else at_risk[:1]) for curve, at_risk in read]


def columns(arms: list[pd.DataFrame]) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Days, events and arm (0 or 1) of all patients."""
    both = pd.concat(arms)
    return both["days"].to_numpy(), both["event"].to_numpy(dtype=bool), np.repeat([0.0, 1.0], [len(a) for a in arms])


def score(days: NDArray[np.float64], event: NDArray[np.bool_], arm: NDArray[np.float64], slope: float) -> NDArray:
    """Score and information of the logarithm of the hazard ratio (Cox 1972, ties of Breslow)."""
    out = np.zeros(2)
    for day in np.unique(days[event]):
        x, d = arm[days >= day], event & (days == day)
        mean = float(np.average(x, weights=np.exp(slope * x)))
        out += arm[d].sum() - d.sum() * mean, d.sum() * mean * (1 - mean)
    return out


def hazard_ratio(arms: list[pd.DataFrame]) -> float:
    slope = 0.0
    for _ in range(8):
        first, information = score(*columns(arms), slope)
        slope += first / information
    return math.exp(slope)


def log_rank(arms: list[pd.DataFrame]) -> float:
    """Of the score test, without the correction for ties."""
    first, information = score(*columns(arms), 0.0)
    return float(first / math.sqrt(information))


def at(patients: pd.DataFrame, days: NDArray[np.float64]) -> NDArray[np.float64]:
    curve = kaplan_meier(patients["days"], patients["event"])
    return curve["estimate"].to_numpy()[np.searchsorted(curve["day"].to_numpy(), days, side="right") - 1]


def off_the_curve(true: pd.DataFrame, found: pd.DataFrame) -> float:
    """The farthest from the true curve, beyond the days by which points were misread."""
    days = np.arange(2.0, true["days"].max() - 2, 1.0)
    here, upper, lower = at(found, days), at(true, days - DAY_ERROR), at(true, days + DAY_ERROR)
    return float(np.max(np.maximum(here - upper, lower - here)))


def median(patients: pd.DataFrame) -> float:
    curve = kaplan_meier(patients["days"], patients["event"])
    return float(curve.loc[curve["estimate"] <= 0.5 + 1e-9, "day"].min())


@pytest.mark.parametrize("seed", TRIALS)
def test_known_patients_come_back(seed: int) -> None:
    true, found = trial(seed)
    assert hazard_ratio(found) == pytest.approx(hazard_ratio(true), rel=0.05)
    assert log_rank(found) == pytest.approx(log_rank(true), abs=0.1)
    for one, other in zip(true, found, strict=True):
        assert len(one) == len(other)
        assert abs(one["event"].sum() - other["event"].sum()) <= 1
        assert off_the_curve(one, other) < 0.02
        assert median(other) == pytest.approx(median(one), abs=DAY_ERROR, nan_ok=True)


def test_a_reconstruction_that_censors_nobody_before_the_end_is_noticed() -> None:
    """Events are then too many, and the hazard ratio misses the bound."""
    ratios = [hazard_ratio(trial(seed, censoring=False)[1]) / hazard_ratio(trial(seed)[0]) for seed in TRIALS]
    assert sum(abs(ratio - 1) > 0.05 for ratio in ratios) >= 3
    true, found = trial(0, censoring=False)
    assert found[0]["event"].sum() > true[0]["event"].sum() + 1


def test_exact_points_and_numbers_give_exact_patients() -> None:
    """Six patients by hand: relapse on days 10, 20 and 50, censored on 30, 40 and 60."""
    curve = pd.DataFrame({"day": [0, 10, 20, 50, 60], "survival": [1, 5 / 6, 4 / 6, 2 / 6, 2 / 6]})
    at_risk = pd.DataFrame({"day": [0, 25, 45], "at_risk": [6, 4, 2]})
    tops = pd.DataFrame({"day": [10, 20, 50], "survival": [1, 5 / 6, 4 / 6]})  # both ends of each step
    pd.testing.assert_frame_equal(patients_of(pd.concat([tops, curve]), at_risk), patients_of(curve, at_risk))
    found = patients_of(curve.sample(frac=1, random_state=1), at_risk)
    assert found.loc[found["event"], "days"].tolist() == [10, 20, 50]
    gone = found.loc[~found["event"], "days"].to_numpy()
    assert ((gone > 25) & (gone < 45)).tolist() == [True, True, False]
    assert 50 < gone[-1] <= 60  # after the last number, as many per day as before


def test_all_events_say_how_many_are_censored_after_the_last_number() -> None:
    curve = pd.DataFrame({"day": [0, 10, 20, 30, 40], "survival": [1, 0.9, 0.8, 0.6, 0.3]})
    at_risk = pd.DataFrame({"day": [0], "at_risk": [10]})
    assert patients_of(curve, at_risk)["event"].sum() == 7
    assert patients_of(curve, at_risk, events=5)["event"].sum() == 5


@pytest.mark.parametrize(
    ("curve", "at_risk", "said"),
    [
        ({"day": [0, 10], "survival": [100, 90]}, {"day": [0], "at_risk": [10]}, "divide percentages by 100"),
        ({"day": [0, 10], "survival": [1, 0.9]}, {"day": [0, 5], "at_risk": [10, 12]}, "never more than before"),
        ({"day": [0, 10], "survival": [1, 0.9]}, {"day": [5], "at_risk": [10]}, "must rise from 0"),
        ({"day": [0, 10], "survival": [1, 0.9]}, {"day": [0, 30], "at_risk": [10, 4]}, "the curve stops on day 10"),
        ({"day": [], "survival": []}, {"day": [0], "at_risk": [10]}, "no points"),
    ],
)
def test_what_cannot_be_a_curve_is_refused(
    curve: dict[str, list[float]], at_risk: dict[str, list[float]], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        patients_of(pd.DataFrame(curve), pd.DataFrame(at_risk))


def test_files_of_points_in_months(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text("month,survival\n0,1\n1,0.8\n2,0.6\n3,0.6\n")
    (tmp_path / "risk.csv").write_text("month,at_risk\n0,10\n2,8\n")
    found = time_to_event.from_curve(tmp_path / "curve.csv", tmp_path / "risk.csv")
    assert sorted(found.loc[found["cause"] == 1, "days"].unique()) == [30.4375, 60.875]
    lines = time_to_event.published(found, "relapse_free_survival", [1, 2], "assumed")
    assert [line["estimate"] for line in lines] == [0.8, 0.6]
    (tmp_path / "one.csv").write_text("month,at_risk\n0,10\n")
    with pytest.raises(InputError, match="does not tell who was censored"):
        time_to_event.from_curve(tmp_path / "curve.csv", tmp_path / "one.csv")
    assert time_to_event.from_curve(tmp_path / "curve.csv", tmp_path / "one.csv", events=4)["cause"].sum() == 4
    (tmp_path / "curve.csv").write_text("time,survival\n0,1\n")
    with pytest.raises(InputError, match="must be day or month, and survival"):
        time_to_event.from_curve(tmp_path / "curve.csv", tmp_path / "risk.csv")
