"""The data for calibration: published results, runs of their trials, and the likelihood of the results.

The likelihood of k of n is binomial, with a logit known to within the emulator's lack of fit and the between-trial
differences that no parameter explains. Correlated results of the same patients (one endpoint at several months,
survival and relapse) share the weight of one, so that intervals are conservative.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray
from scipy.stats import qmc

from escape_abm.inputs.checks import InputError, suggest
from escape_abm.inputs.row_table import parameter_rows
from escape_abm.inputs.rows import replace
from escape_abm.inputs.settings import DAYS_PER_MONTH, Settings
from escape_abm.inputs.trial import MEDIAN_TIMES, MEDIANS, Published, Trial
from escape_abm.trials.comparison import KIND, as_followed, chosen, exact, family_of
from escape_abm.trials.estimates import read
from escape_abm.trials.readings import readings
from escape_abm.trials.virtual_trial import as_table, run_patient

Floats = NDArray[np.float64]

WIDE = 3.0
"""A plausible range wider than this fold, of a positive parameter, is flat on the log scale."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
NEWTON_STEPS = 10
SPREADS = ("survival", "remission", "crs", KIND)
"""Families of endpoints that have differences between trials of their own."""


class Free(NamedTuple):
    """A parameter to be found, flat between the ends of its plausible range, on the log scale if that is wide."""

    path: str
    low: float
    high: float
    is_log: bool

    def value(self, u: float) -> float:
        """The value at a place between 0 and 1 in the range."""
        if self.is_log:
            return float(self.low * (self.high / self.low) ** u)
        return float(self.low + (self.high - self.low) * u)


def free_parameters(settings: Settings, paths: Mapping[str, tuple[float, float] | None]) -> tuple[Free, ...]:
    """The rows with these paths, for example `biology.killing.kill_per_day`, in these or in their plausible ranges.

    Raises:
        InputError: a path is no row, or its range is a point or not allowed.
    """
    rows = {r.path: r for r in parameter_rows(settings.biology)}
    rows |= {r.path: r for r in parameter_rows(settings.clinic, "clinic")}
    out = []
    for path, given in paths.items():
        if path not in rows:
            raise InputError(f"calibration.free={path!r} is no parameter row. {suggest(path, tuple(rows))}")
        low, high = given or rows[path].plausible
        least, most = rows[path].allowed
        if not least <= low < high <= most:
            raise InputError(
                f"calibration.free={path!r}: the range {low:g} to {high:g} must rise and lie between {least:g} and "
                f"{most:g}; give another, or leave the parameter out"
            )
        out.append(Free(path, low, high, low > 0 and high / low > WIDE))
    return tuple(out)


def values(free: Sequence[Free], x: Floats) -> dict[str, float]:
    """Parameter values by path, of (D,) places between 0 and 1."""
    return {f.path: f.value(float(u)) for f, u in zip(free, x, strict=True)}


PERSISTENCE = ("car_t_persistence", "b_cell_aplasia", "car_t_lost_at_relapse")
"""Endpoints that tell much the same of the same patients, of the family of kinds as to differences between trials."""


class Target(NamedTuple):
    """One published figure that the parameters are judged by."""

    trial: str
    point: Published
    patients: float
    """Patients that it is as good as: n, or fewer where its interval is wider."""
    weight: float
    """Less than one where other figures of the same trial and stratum tell the same."""


def targets_of(trials: Mapping[str, Settings], left_out: Sequence[str] = ()) -> tuple[Target, ...]:
    """Every figure of these trials that can be compared, except those of the endpoints left out."""
    out = []
    for name, settings in trials.items():
        points = [
            as_share(p)
            for p in settings.trial.published
            if not p.not_compared and p.endpoint not in left_out and p.reached
        ]
        alike = Counter((p.stratum, _tells(p.endpoint)) for p in points)
        for point in points:
            tells = _tells(point.endpoint)
            weight = _weight(tells, alike[point.stratum, tells])
            out.append(Target(name, point, _patients(point, settings.trial), weight))
    return tuple(out)


def as_share(point: Published) -> Published:
    """A median time as what it says of its curve: one half at that month."""
    if point.endpoint not in MEDIAN_TIMES:
        return point
    half = {"endpoint": MEDIAN_TIMES[point.endpoint], "month": point.estimate, "estimate": 0.5}
    return point.model_copy(update=half | {"lower": None, "upper": None})


def _tells(endpoint: str) -> str:
    """What an endpoint is about; figures about the same are correlated."""
    return "persistence" if endpoint in PERSISTENCE else family_of(endpoint)


def _weight(tells: str, alike: int) -> float:
    """Weight of each of so many figures of one trial and stratum that are about the same.

    They share the weight of one. Kinds of relapse exclude one another: m shares that add up to one are m - 1 results.
    """
    return (alike - 1) / alike if tells == KIND and alike > 1 else 1 / alike


def _patients(point: Published, trial: Trial) -> float:
    n = float(point.n or trial.size or 1)
    if point.lower is None or point.upper is None or not 0 < point.estimate < 1:
        return n
    variance = ((point.upper - point.lower) / 3.92) ** 2
    return min(n, point.estimate * (1 - point.estimate) / variance)


# ------------------------------------------------------------------------------------------------------ runs


def design(points: int, parameters: int, seed: int) -> Floats:
    """(points, parameters) places between 0 and 1 that fill the space evenly (Sobol, scrambled)."""
    sobol = qmc.Sobol(parameters, rng=np.random.default_rng([seed, 0]))
    return np.asarray(sobol.random(2 ** math.ceil(math.log2(points)))[:points])


def simulate(
    trials: Mapping[str, Settings], targets: Sequence[Target], changed: Mapping[str, float], patients: int, seed: int
) -> tuple[Floats, Floats]:
    """Every target at these parameters: (T,) estimates and (T,) of how many patients (nan and 0: nobody to tell).

    Of medians: the logarithm, and one over the square of its standard error.
    """
    estimates, n = np.full(len(targets), math.nan), np.zeros(len(targets))
    for name, settings in trials.items():
        wanted = [(i, t.point) for i, t in enumerate(targets) if t.trial == name]
        table = run_patients(replace(settings, changed), patients, own_seed(seed, name))
        table = as_followed(table, settings.trial.follow_up, np.random.default_rng([seed, 1]))
        table = table[chosen(table, settings.trial.analysed)].reset_index(drop=True)
        if not len(table):
            continue
        every = readings(table)
        for i, point in wanted:
            condition = "" if point.stratum == "all" else settings.trial.strata[point.stratum]
            reading = every[point.endpoint]
            reading = reading._replace(of=reading.of & chosen(table, condition))
            if reading.value is not None:
                estimates[i], n[i] = _log_median(reading.value[reading.of])
            elif reading.of.any():
                found = read(reading, (point.month or 0.0) * DAYS_PER_MONTH)
                estimates[i], n[i] = found.estimate, found.n
    return estimates, np.where(np.isfinite(estimates), n, 0.0)


def own_seed(seed: int, trial: str) -> int:
    """A seed of the trial's own: were the patients of all trials the same, chance would move all results together."""
    return int(np.random.SeedSequence([seed, *trial.encode()]).generate_state(1)[0])


def _log_median(seen: Floats) -> tuple[float, float]:
    """Median of the logarithms of values (of normal ones, its variance is pi/2 times that of the mean)."""
    logs = np.log(seen[seen > 0])
    if logs.size < 5:
        return math.nan, 0.0
    return float(np.median(logs)), float(logs.size / (math.pi / 2 * max(logs.var(ddof=1), 1e-4)))


def run_patients(settings: Settings, patients: int, seed: int) -> pd.DataFrame:
    """The table of the first patients of a seed under the product alone."""
    alone = settings.model_copy(update={"comparators": {}, "seed": seed})
    alone = alone.model_copy(update={"trajectories": alone.trajectories.model_copy(update={"patients": 0})})
    return as_table([row for i in range(patients) for row in run_patient(i, alone)[0]])


# ------------------------------------------------------------------------------------------------- likelihood


class Data(NamedTuple):
    """The published figures as arrays. T targets.

    Attributes:
        events, patients: (T,) k of n, k not always whole.
        log_median, standard_error: (T,) of medians, nan for shares.
        weight: (T,) of the log-likelihood.
        is_share: (T,)
        spread: (T,) which of `SPREADS` each figure has.
    """

    events: Floats
    patients: Floats
    log_median: Floats
    standard_error: Floats
    weight: Floats
    is_share: NDArray[np.bool_]
    spread: NDArray[np.int64]


def published(targets: Sequence[Target]) -> Data:
    """The published figures as arrays."""
    is_share = np.array([t.point.endpoint not in MEDIANS for t in targets])
    n = np.where(is_share, [t.patients for t in targets], 1.0)
    shares = np.where(is_share, [exact(t.point) for t in targets], 0.5)
    medians = [
        (math.nan, math.nan) if share else _log_interval(t.point) for t, share in zip(targets, is_share, strict=True)
    ]
    logs, errors = np.array(medians).T
    spread = np.array([SPREADS.index(family_of(t.point.endpoint)) for t in targets])
    return Data(shares * n, n, logs, errors, np.array([t.weight for t in targets]), is_share, spread)


def _log_interval(point: Published) -> tuple[float, float]:
    """Logarithm of a published median and its standard error.

    Raises:
        InputError: it has no interval.
    """
    if point.lower is None or point.upper is None:
        raise InputError(
            f"{point.endpoint}: a median needs lower and upper to be judged by; give them, or leave it out"
        )
    return math.log(point.estimate), math.log(point.upper / point.lower) / 3.92


def log_likelihood(logits: Floats, sd: Floats, data: Data) -> Floats:
    """(M, T) log-likelihood where the logit of a share is normal about `logits` (M, T) with `sd`, medians alike.

    Of a share it is the integral of the binomial over the normal, by quadrature about its peak: a large trial is narrow
    against a wide normal, which nodes spread over the normal would miss. Without spread, and for a figure that is met
    exactly, it is 0.

    Args:
        logits: (M, T)
        sd: (M, T) or (T,); inf where nothing is known.
        data: T published figures.
    """
    sd = np.broadcast_to(sd, logits.shape)
    known = np.isfinite(sd)
    spread = np.where(known, sd, 0.0)
    k, n = data.events, data.patients
    best = k * _log(k / n) + (n - k) * _log(1 - k / n)
    share = _log_integrals(np.ascontiguousarray(logits), spread, k, n) - best
    error = np.nan_to_num(data.standard_error, nan=1.0)
    wide = np.hypot(spread, error)
    median = -0.5 * ((logits - np.nan_to_num(data.log_median)) / wide) ** 2 - np.log(wide / error)
    return np.asarray(np.where(known, np.where(data.is_share, share, median), 0.0) * data.weight)


@njit(cache=True)
def _log_integrals(logits: Floats, spread: Floats, events: Floats, patients: Floats) -> Floats:
    """(M, T) log of each binomial, without its constant, integrated over normal logits. Compiled for the chains."""
    out = np.empty(logits.shape)
    for i in range(logits.shape[0]):
        for j in range(logits.shape[1]):
            out[i, j] = _log_integral(logits[i, j], spread[i, j], events[j], patients[j])
    return out


@njit(cache=True)
def _log_integral(logit: float, spread: float, k: float, n: float) -> float:
    z = 0.0
    for _ in range(NEWTON_STEPS):
        p = 1 / (1 + math.exp(-(logit + spread * z)))
        step = (spread * (k - n * p) - z) / (1 + spread**2 * n * p * (1 - p))
        longest = 1 / max(spread, 1e-9)  # a logit at most, since shares near 0 and 1 are flat
        z += min(max(step, -longest), longest)
        if abs(step) < 1e-9:
            break
    p = 1 / (1 + math.exp(-(logit + spread * z)))
    width = 1 / math.sqrt(1 + spread**2 * n * p * (1 - p))
    logs = np.empty(NODES.size)
    for m in range(NODES.size):
        node = z + width * NODES[m]
        at = logit + spread * node
        likely = k * at - n * (max(at, 0.0) + math.log1p(math.exp(-abs(at))))  # stable where the share is near 0 or 1
        logs[m] = likely + (NODES[m] ** 2 - node**2) / 2
    top = logs.max()
    return float(top + math.log((np.exp(logs - top) * WEIGHTS).sum() / WEIGHTS.sum()) + math.log(width))


def _log(x: Floats) -> Floats:
    return np.log(np.maximum(x, 1e-300))


def log_likelihood_of_run(estimates: Floats, n: Floats, data: Data, between_trials_sd: Floats) -> float:
    """Log-likelihood of what was published by one run of (T,) estimates; its sampling error counts as uncertainty.

    `between_trials_sd` is (F,), in the order of `SPREADS`.
    """
    known = n > 0
    e, m = np.where(known, estimates, 0.5), np.where(known, n, 1.0)
    had, had_not = e * m + 0.5, (1 - e) * m + 0.5
    with np.errstate(invalid="ignore", divide="ignore"):  # of medians
        scale = np.where(data.is_share, np.log(had / had_not), e)
        error = np.where(data.is_share, np.sqrt(1 / had + 1 / had_not), 1 / np.sqrt(m))
    sd = np.where(known, np.hypot(error, between_trials_sd[data.spread]), np.inf)
    return float(log_likelihood(scale[None], sd, data).sum())
