"""Estimates of many trials at once, each with weights of its own on the same virtual patients.

With whole-number weights an estimate is the same as that of the repeated patients.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escape_abm.trials.readings import Reading


def weighted(reading: Reading, weights: NDArray[np.float64], day: float) -> NDArray[np.float64]:
    """(B,) the estimate of a reading in each trial; nan where the trial has nobody left to tell.

    Shares, Kaplan-Meier and Aalen-Johansen estimates with whole-number weights: the same as of the repeated patients.
    """
    w, cause = weights[:, reading.of], reading.cause[reading.of]
    total = w.sum(axis=1)
    if reading.value is not None and w.size:
        order = np.argsort(reading.value[reading.of], kind="stable")
        before, half = np.cumsum(w[:, order], axis=1), total[:, None] / 2
        middle = [np.minimum(under.sum(axis=1), len(order) - 1) for under in (before < half, before <= half)]
        return np.where(total > 0, reading.value[reading.of][order][np.array(middle)].mean(axis=0), math.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        if reading.days is None:
            return np.asarray((w @ (cause == 1)) / total)
        steps = _steps(reading, weights)
        if steps is None:
            return np.full(len(w), math.nan)
        days, w, distinct, hazard, left = steps
        known = distinct <= day
        if reading.survival:
            out = left[:, known][:, -1] if known.any() else np.ones(len(w))
        else:
            before = np.concatenate([np.ones((len(w), 1)), left[:, :-1]], axis=1)
            out = (before * hazard[0])[:, known].sum(axis=1)
        # Nobody is left after the last patient; what comes then is known only if nobody is at risk of it any more.
        last = np.where(w > 0, days, -1).max(axis=1, initial=-1)
        over = np.isclose(left[:, known][:, -1], 0) if known.any() else np.zeros(len(w), dtype=bool)
        return np.asarray(np.where((last >= day) | over, out, math.nan))


class _Steps(NamedTuple):
    """Weighted curves. N patients who count, by day; D distinct days, B trials."""

    days: NDArray[np.float64]  # (N,)
    weights: NDArray[np.float64]  # (B, N)
    distinct: NDArray[np.float64]  # (D,)
    hazard: tuple[NDArray[np.float64], NDArray[np.float64]]  # (B, D) of the event, of one that competes
    left: NDArray[np.float64]  # (B, D) share without event after each day


def _steps(reading: Reading, weights: NDArray[np.float64]) -> _Steps | None:
    """The curves of a reading by days; None if nobody counts."""
    assert reading.days is not None
    w, cause = weights[:, reading.of], reading.cause[reading.of]
    order = np.argsort(reading.days[reading.of], kind="stable")
    days, cause, w = reading.days[reading.of][order], cause[order], w[:, order]
    distinct, first = np.unique(days, return_index=True)
    if not distinct.size:
        return None
    total = w.sum(axis=1, keepdims=True)
    at_risk = total - np.concatenate([np.zeros((len(w), 1)), np.cumsum(w, axis=1)], axis=1)[:, first]
    with np.errstate(invalid="ignore", divide="ignore"):
        had = {k: np.add.reduceat(w * (cause == k), first, axis=1) / at_risk for k in (1, 2)}
    hazard = np.nan_to_num(had[1]), np.nan_to_num(had[2])
    left = np.cumprod(1 - hazard[0] - (0 if reading.survival else hazard[1]), axis=1)
    return _Steps(days, w, distinct, hazard, left)


def weighted_median_days(reading: Reading, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,) the first day on which a survival curve is at one half or below; inf where it stays above, nan for nobody.

    A curve that is flat at exactly one half has its first such day, whatever the last digit of a product.
    """
    steps = _steps(reading, weights)
    if steps is None:
        return np.full(len(weights), math.nan)
    below = steps.left <= 0.5 + 1e-9
    day = np.where(below.any(axis=1), steps.distinct[below.argmax(axis=1)], math.inf)
    return np.asarray(np.where(steps.weights.sum(axis=1) > 0, day, math.nan))
