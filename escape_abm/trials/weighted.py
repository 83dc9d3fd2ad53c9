"""Estimates of many trials at once, each with weights of its own on the same virtual patients.

With whole-number weights an estimate is the same as that of the repeated patients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escape_abm.trials.readings import Reading


def weighted(reading: Reading, weights: NDArray[np.float64], day: float) -> NDArray[np.float64]:
    """(B,) the estimate of a reading in each trial; nan where the trial has nobody left to tell.

    Shares, Kaplan-Meier and Aalen-Johansen estimates with whole-number weights: the same as of the repeated patients.
    """
    return np.asarray(weighted_each(reading, weights, [day])[0])


def weighted_each(reading: Reading, weights: NDArray[np.float64], days: Sequence[float]) -> NDArray[np.float64]:
    """(D, B) `weighted` on several days."""
    w, cause = weights[:, reading.of], reading.cause[reading.of]
    total = w.sum(axis=1)
    if reading.value is not None and w.size:
        order = np.argsort(reading.value[reading.of], kind="stable")
        before, half = np.cumsum(w[:, order], axis=1), total[:, None] / 2
        middle = [np.minimum(under.sum(axis=1), len(order) - 1) for under in (before < half, before <= half)]
        found = np.where(total > 0, reading.value[reading.of][order][np.array(middle)].mean(axis=0), math.nan)
        return np.tile(found, (len(days), 1))
    if reading.days is None:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.tile((w @ (cause == 1)) / total, (len(days), 1))
    steps = _steps(reading, weights)
    if steps is None:
        return np.full((len(days), len(w)), math.nan)
    start, curve = (1.0, steps.left) if reading.survival else (0.0, _incidence(steps))
    curve = np.hstack([np.full((len(w), 1), start), curve])
    left = np.hstack([np.ones((len(w), 1)), steps.left])
    # Nobody is left after the last patient; what comes then is known only if nobody is at risk of it any more.
    last = np.where(steps.weights > 0, steps.days, -1).max(axis=1, initial=-1)
    out = []
    for day in days:
        at = int(np.searchsorted(steps.distinct, day, side="right"))
        out.append(np.where((last >= day) | np.isclose(left[:, at], 0), curve[:, at], math.nan))
    return np.array(out)


def _incidence(steps: _Steps) -> NDArray[np.float64]:
    """(B, D) cumulative incidence of the event."""
    before = np.hstack([np.ones((len(steps.left), 1)), steps.left[:, :-1]])
    return np.asarray(np.cumsum(before * steps.hazard[0], axis=1))


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
