"""Our curves beside R's: the same estimates, standard errors and intervals; and where R has another formula, which.

`beside_r/beside_r.R` made `beside_r/r.csv` with R 4.2.2, survival 3.5-3 and cmprsk 2.2-11. Nothing here needs R.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from escape_abm.trials.survival import Measured, Z, cumulative_incidence_at_each, survival_at_each

HERE = Path(__file__).parent / "beside_r"
SAME = {"rtol": 0, "atol": 1e-8}

PATIENTS = pd.read_csv(HERE / "patients.csv")
R = pd.read_csv(HERE / "r.csv")
CURVES = list(R.groupby(["set", "arm", "cause"]).groups)

Column = NDArray[np.float64]


@cache
def of(curve: tuple[str, str, int]) -> tuple[pd.DataFrame, pd.DataFrame, list[Measured]]:
    """Patients of a curve, what R says on each day, and what we say."""
    name, arm, cause = curve
    its = PATIENTS[(PATIENTS["set"] == name) & (PATIENTS["arm"] == arm)]
    said = R[(R["set"] == name) & (R["arm"] == arm) & (R["cause"] == cause)]
    days = said["day"].tolist()
    if cause == 0:
        return its, said, survival_at_each(its["days"], its["cause"] > 0, days)
    return its, said, cumulative_incidence_at_each(its["days"], its["cause"], cause, days)


def inside(curve: tuple[str, str, int]) -> tuple[pd.DataFrame, Column, Column, Column, Column]:
    """R's rows, our estimates, errors and bounds on the days on which something and not everything has happened."""
    _, said, ours = of(curve)
    table = np.array([(*m.estimate[:3], m.standard_error) for m in ours])
    some = (table[:, 0] > 0) & (table[:, 0] < 1)
    estimate, lower, upper, error = table[some].T
    return said[some], estimate, error, lower, upper


def cmprsk_variance(days: Column, cause: NDArray[np.int64], which: int, until: float) -> float:
    """Variance of `cuminc` (Gray 1988): deaths of each cause apart, with the hypergeometric share of ties."""
    before, incidence = 1.0, 0.0
    kept = []
    for day in np.unique(days[days <= until]):
        n, at = int((days >= day).sum()), cause[days == day]
        after = before * (1 - np.count_nonzero(at) / n)
        incidence += before * np.count_nonzero(at == which) / n
        share = incidence / after if after > 1e-9 else np.nan
        for mine in (True, False):
            d = int(((at == which) == mine)[at > 0].sum())
            ties = 1 - (d - 1) / (n - 1) if d > 1 else 1.0
            kept.append((mine, before**2 * ties * d / n**2, share, after))
        before = after
    total = 0.0
    for mine, weight, share, after in kept:
        if weight and np.isnan(share):
            total += weight if mine else 0.0  # at the last patient its terms in 1 / survival are left out
        elif weight:
            total += weight * (mine + share - incidence / after) ** 2
    return total


@pytest.mark.parametrize("curve", CURVES)
def test_estimates_errors_and_intervals_are_those_of_r(curve: tuple[str, str, int]) -> None:
    _, said, ours = of(curve)
    np.testing.assert_allclose([m.estimate.estimate for m in ours], said["estimate"], **SAME)
    said, _, error, lower, upper = inside(curve)
    np.testing.assert_allclose(error, said["error"], **SAME)
    np.testing.assert_allclose(lower, said["lower log-log"], **SAME)
    np.testing.assert_allclose(upper, said["upper log-log"], **SAME)


@pytest.mark.parametrize("curve", CURVES)
def test_other_intervals_of_r_are_other_transforms_of_the_same_error(curve: tuple[str, str, int]) -> None:
    said, p, error, _, _ = inside(curve)
    half = Z * error
    root, turn = np.arcsin(np.sqrt(p)), half / (2 * np.sqrt(p * (1 - p)))
    odds, factor = p / (1 - p), np.exp(half / (p * (1 - p)))
    bounds = {
        "plain": (np.maximum(p - half, 0), np.minimum(p + half, 1)),
        "log": (p * np.exp(-half / p), np.minimum(p * np.exp(half / p), 1)),
        "logit": (odds / factor / (1 + odds / factor), odds * factor / (1 + odds * factor)),
        "arcsin": (np.sin(np.maximum(root - turn, 0)) ** 2, np.sin(np.minimum(root + turn, np.pi / 2)) ** 2),
    }
    for name, (low, high) in bounds.items():
        np.testing.assert_allclose(low, said[f"lower {name}"], **SAME)
        np.testing.assert_allclose(high, said[f"upper {name}"], **SAME)


@pytest.mark.parametrize("curve", [c for c in CURVES if c[2] > 0])
def test_cmprsk_has_the_same_curve_and_the_other_error(curve: tuple[str, str, int]) -> None:
    its, said, ours = of(curve)
    np.testing.assert_allclose([m.estimate.estimate for m in ours], said["cmprsk"], **SAME)
    days, cause = its["days"].to_numpy(dtype=float), its["cause"].to_numpy()
    theirs = [np.sqrt(cmprsk_variance(days, cause, curve[2], day)) for day in said["day"]]
    np.testing.assert_allclose(theirs, said["cmprsk_error"], **SAME)


def test_without_censoring_only_ours_is_that_of_a_share() -> None:
    """Which is why it is ours: p (1 - p) / n is exact there."""
    for curve in (("complete", "one", 1), ("complete", "two", 2)):
        its, said, ours = of(curve)
        p = said["estimate"].to_numpy()
        expected = np.sqrt(p * (1 - p) / len(its))
        inner = (p > 0) & (p < 1)
        found = np.array([m.standard_error for m in ours])
        np.testing.assert_allclose(found[inner], expected[inner], **SAME)
        assert np.abs(said["cmprsk_error"].to_numpy() - expected).max() > 0.005
