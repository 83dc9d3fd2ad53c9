"""Which parameter drives which relapse? Global sensitivity of remission and relapse, by product.

Runs spread over the ranges of the free parameters give an emulator of each endpoint, which smooths the noise of few
patients. The emulator's Sobol indices give the part of the variance over those ranges that each parameter explains.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from escape_abm.evidence.calibration import runs_of_wave
from escape_abm.evidence.emulator import Emulator, fit_emulator
from escape_abm.evidence.targets import Target, design, free_parameters
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.settings import Settings
from escape_abm.inputs.trial import Published

Floats = NDArray[np.float64]

ENDPOINTS = (
    "complete_remission",
    "cumulative_incidence_antigen_negative",
    "cumulative_incidence_antigen_positive",
)
COLUMNS = ("arm", "endpoint", "path", "first", "total", "direction", "variance", "lack_of_fit")
SAMPLES = 2**12


def sensitivity(settings: Settings, keep: Path, on_progress: Callable[[int], None] | None = None) -> pd.DataFrame:
    """Sobol indices of every endpoint of every arm in the free parameters.

    Args:
        settings: Its `calibration` names the parameters and their ranges, runs (`waves`, added up) and patients.
        keep: Folder in which every run is kept as it ends.
        on_progress: Called with the number of runs done since the last call.

    Returns:
        `COLUMNS`: first-order and total index; direction, the correlation with the parameter alone (its sign says which
        way); variance of the share over the ranges, and of it what the emulator does not see (`lack_of_fit`). Where
        every run gave the same there is no variance to share out, and no index.

    Raises:
        InputError: nothing is free.
    """
    how = settings.calibration
    if how is None:
        raise InputError("calibration: is missing; say which parameters are free, and how many runs")
    # What the clinic's rows decide is how relapse is read and how long patients live with it.
    free = free_parameters(settings, {p: ends for p, ends in how.free.items() if p.startswith("biology.")})
    arms = {a.name: settings.model_copy(update={"product": a, "comparators": {}}) for a in settings.arms}
    month = settings.follow_up_months
    points = [Published(endpoint=e, month=month, estimate=0.5, n=1, source="assumed") for e in ENDPOINTS]
    targets = [Target(arm, point, 1.0, 1.0) for arm in arms for point in points]
    x = design(sum(how.waves), len(free), settings.seed)
    done = list(runs_of_wave(x, 0, free, targets, arms, settings, keep, how.patients, on_progress))
    estimates, n = (np.array([d[k] for d in done]) for k in (0, 1))
    emulator = fit_emulator(x, estimates, n, np.ones(len(targets), dtype=bool))
    found = indices(emulator, len(free), settings.seed)
    same = all_alike(estimates)
    lines = []
    for t, target in enumerate(targets):
        for i, f in enumerate(free):
            first, total, direction = (math.nan if same[t] else part[t, i] for part in found[:3])
            variance, unseen = (0.0, math.nan) if same[t] else (found[3][t], found[4][t])
            lines.append((target.trial, target.point.endpoint, f.path, first, total, direction, variance, unseen))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def all_alike(estimates: Floats) -> NDArray[np.bool_]:
    """(T,) for which endpoints all runs (N, T) that could tell gave the same."""
    return np.array([len(np.unique(its[np.isfinite(its)])) < 2 for its in estimates.T])


def indices(emulator: Emulator, parameters: int, seed: int) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """First-order and total Sobol indices and correlations (T, D); variance and share unseen (T,) of each endpoint."""
    rng = np.random.default_rng([seed, 5])

    def shares(x: Floats) -> Floats:
        return np.asarray(expit(emulator.predict(x.T)).T)

    found = stats.sobol_indices(func=shares, n=SAMPLES, dists=[stats.uniform()] * parameters, rng=rng)
    x = rng.random((SAMPLES, parameters))
    y = shares(x.T)
    spread = y.std(axis=1, keepdims=True)
    direction = ((y - y.mean(axis=1, keepdims=True)) @ (x - 0.5)) / SAMPLES / np.maximum(spread, 1e-12) / 12**-0.5
    variance = y.var(axis=1)
    unseen = (emulator.lack_of_fit**2) * ((y * (1 - y)) ** 2).mean(axis=1)
    first, total = (np.reshape(part, direction.shape) for part in (found.first_order, found.total_order))
    return first, total, direction, variance, unseen / np.maximum(variance + unseen, 1e-300)
