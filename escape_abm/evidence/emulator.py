"""A fast surrogate of the simulator: each endpoint at parameters that were not run.

Each endpoint is a quadratic in the parameters (scaled to -1..1): proportions on the logit scale, fitted by weighted
logistic regression with a ridge penalty; medians on the log scale. The deviation of runs beyond their own sampling
error is its lack of fit, kept as an uncertainty.
"""

from __future__ import annotations

from typing import NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import KFold
from sklearn.preprocessing import PolynomialFeatures

Floats = NDArray[np.float64]

PENALTIES = np.logspace(-1, 4, 11)
LARGEST_LOGIT = 7.0
STEPS = 6
FEWEST = 20
"""Runs that can tell of an endpoint, below which nothing is fitted."""


class Emulator(NamedTuple):
    """Fitted endpoints. D parameters, F features, T endpoints.

    Attributes:
        intercept, coefficients: (T,), (T, F) on the logit scale (shares) or the log scale (medians).
        lack_of_fit: (T,) standard deviation on that scale, from runs that were not fitted.
        is_share: (T,)
    """

    intercept: Floats
    coefficients: Floats
    lack_of_fit: Floats
    is_share: NDArray[np.bool_]

    def predict(self, x: Floats) -> Floats:
        """(M, T) logits of shares and logs of medians at (M, D) parameters between 0 and 1."""
        scale = self.intercept + features(x) @ self.coefficients.T
        return np.asarray(np.where(self.is_share, np.clip(scale, -LARGEST_LOGIT, LARGEST_LOGIT), scale))


def features(x: Floats) -> Floats:
    """(M, F) the parameters scaled to -1..1, their squares and products."""
    return np.asarray(PolynomialFeatures(2, include_bias=False).fit_transform(2 * x - 1))


def fit_emulator(
    x: Floats, estimates: Floats, n: Floats, is_share: NDArray[np.bool_], folds: int = 5, workers: int = 1
) -> Emulator:
    """Fit every endpoint to runs.

    Args:
        x: (N, D) parameters of the runs, between 0 and 1.
        estimates: (N, T) what each run gave: shares, or logs of medians; nan where it could not tell.
        n: (N, T) of how many patients (shares), or one over the square of the standard error (medians).
        is_share: (T,) which endpoints are shares.
        folds: Parts of the runs left out in turn, to see the lack of fit.
        workers: Processes.
    """
    table = features(x)
    tasks = (
        joblib.delayed(_fit_one)(table, estimates[:, t], n[:, t], bool(is_share[t]), folds)
        for t in range(estimates.shape[1])
    )
    fitted = joblib.Parallel(n_jobs=workers)(tasks)
    intercept, coefficients, lack = (np.array(part) for part in zip(*fitted, strict=True))
    return Emulator(intercept, coefficients, lack, np.asarray(is_share))


def _fit_one(table: Floats, y: Floats, n: Floats, is_share: bool, folds: int) -> tuple[float, Floats, float]:
    known = np.isfinite(y) & (n > 0)
    table, y, n = table[known], y[known], n[known]
    if len(y) < FEWEST:
        return 0.0, np.zeros(table.shape[1]), np.inf
    regress = _logistic if is_share else _linear
    intercept, coefficients, penalty = regress(table, y, n, None)
    left_out = np.empty(len(y))
    for train, test in KFold(folds, shuffle=True, random_state=0).split(table):
        a, b, _ = regress(table[train], y[train], n[train], penalty)
        left_out[test] = a + table[test] @ b
    return intercept, coefficients, _lack_of_fit(left_out, y, n, is_share)


def _linear(table: Floats, y: Floats, weight: Floats, penalty: float | None) -> tuple[float, Floats, float]:
    """Ridge regression with this penalty, or (none given) with the one that predicts best."""
    model = RidgeCV(PENALTIES) if penalty is None else Ridge(penalty, solver="cholesky")
    model.fit(table, y, sample_weight=weight / weight.mean())
    return float(model.intercept_), np.asarray(model.coef_), float(penalty or model.alpha_)


def _logistic(table: Floats, y: Floats, n: Floats, penalty: float | None) -> tuple[float, Floats, float]:
    """Logistic regression of shares by iterated weighted least squares; the penalty is chosen at the first and last."""
    start = np.clip((y * n).sum() / n.sum(), 0.002, 0.998)
    logit = np.full(len(y), np.log(start / (1 - start)))
    intercept, coefficients, used = 0.0, np.zeros(table.shape[1]), penalty
    for step in range(STEPS):
        p = expit(logit)
        slope = p * (1 - p)
        choose = penalty is None and step in (0, STEPS - 1)
        intercept, coefficients, used = _linear(table, logit + (y - p) / slope, n * slope, None if choose else used)
        logit = np.clip(intercept + table @ coefficients, -LARGEST_LOGIT, LARGEST_LOGIT)
    assert used is not None
    return intercept, coefficients, used


def _lack_of_fit(predicted: Floats, y: Floats, n: Floats, is_share: bool) -> float:
    """Spread of left-out runs about the prediction beyond their sampling error, by the method of moments."""
    if not is_share:
        return float(np.sqrt(max(0.0, np.average((y - predicted) ** 2 - 1 / n, weights=n))))
    p = expit(np.clip(predicted, -LARGEST_LOGIT, LARGEST_LOGIT))
    slope = p * (1 - p)
    excess = (n * ((y - p) ** 2 - slope / n)).sum() / (n * slope**2).sum()
    return float(np.sqrt(max(0.0, excess)))
