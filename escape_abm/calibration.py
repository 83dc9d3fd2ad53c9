"""From published figures to a posterior: which parameters could have given them, and what the data cannot tell.

1. Runs of all trials at parameters spread over their plausible ranges, each with a few patients (`simulate`).
2. An emulator of every published endpoint (`emulator`), and the likelihood of the published figures under it.
3. A posterior by Markov chains (emcee), from which the next wave of runs is drawn: they gather where it matters.
4. Some of its draws are simulated with more patients. By how much their likelihood differs from what the emulator said
   they are weighted (truncated importance sampling, Ionides 2008); the most likely of them is the fitted set.

The likelihood of k of n is binomial about a share that is known on the logit scale to within the emulator's lack of
fit and the differences between trials that no parameter explains (`between_trials_sd`). Figures that tell much the same
of the same patients (one endpoint at several months, survival and relapse) share the weight of one, so that intervals
are rather too wide than too narrow.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import emcee
import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, log_expit
from scipy.stats import qmc

from escape_abm.analysis import read, readings
from escape_abm.clinic import Clinic
from escape_abm.comparison import COLUMNS, as_followed, chosen
from escape_abm.emulator import Emulator, fit_emulator
from escape_abm.parameters import Biology, InputError, parameter_rows, replace, suggest
from escape_abm.settings import DAYS_PER_MONTH, MEDIANS, Published, Settings, Trial
from escape_abm.trial import as_table, run_patient

Floats = NDArray[np.float64]

WIDE = 3.0
"""A plausible range wider than this fold, of a positive parameter, is flat on the log scale."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(9)


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


FAMILIES = {
    "remission": ("complete_remission", "mrd_negative"),
    "failure": ("overall_survival", "event_free_survival", "relapse_free_survival", "cumulative_incidence_relapse",
                "non_relapse_mortality", "relapse"),
    "severe": ("crs_any_grade", "crs_grade_3_or_higher"),
    "persistence": ("car_t_persistence", "b_cell_aplasia", "car_t_lost_at_relapse"),
}  # fmt: skip
"""Endpoints that tell much the same of the same patients; all others tell which kind of relapse it was."""


class Target(NamedTuple):
    """One published figure that the parameters are judged by."""

    trial: str
    point: Published
    patients: float
    """Patients that it is as good as: n, or fewer where its interval is wider."""
    weight: float
    """One over the number of figures of the same family, trial and stratum."""


def targets_of(trials: Mapping[str, Settings], left_out: Sequence[str] = ()) -> tuple[Target, ...]:
    """Every figure of these trials that can be compared, except those of the endpoints left out."""
    out = []
    for name, settings in trials.items():
        points = [p for p in settings.trial.published if not p.not_compared and p.endpoint not in left_out]
        alike = Counter((p.stratum, _family(p.endpoint)) for p in points)
        for point in points:
            weight = 1 / alike[point.stratum, _family(point.endpoint)]
            out.append(Target(name, point, _patients(point, settings.trial), weight))
    return tuple(out)


def _family(endpoint: str) -> str:
    return next((family for family, its in FAMILIES.items() if endpoint in its), "kind")


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
        table = run_patients(replace(settings, changed), patients, seed)
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


# ------------------------------------------------------------------------------------------ likelihood and posterior


class Data(NamedTuple):
    """The published figures as arrays. T targets.

    Attributes:
        events, patients: (T,) k of n, k not always whole.
        log_median, standard_error: (T,) of medians, nan for shares.
        weight: (T,) of the log-likelihood.
        is_share: (T,)
    """

    events: Floats
    patients: Floats
    log_median: Floats
    standard_error: Floats
    weight: Floats
    is_share: NDArray[np.bool_]


def published(targets: Sequence[Target]) -> Data:
    """The published figures as arrays."""
    is_share = np.array([t.point.endpoint not in MEDIANS for t in targets])
    n = np.where(is_share, [t.patients for t in targets], 1.0)
    shares = np.where(is_share, [_exact(t.point) for t in targets], 0.5)
    medians = [
        (math.nan, math.nan) if share else _log_interval(t.point) for t, share in zip(targets, is_share, strict=True)
    ]
    logs, errors = np.array(medians).T
    return Data(shares * n, n, logs, errors, np.array([t.weight for t in targets]), is_share)


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


def _exact(point: Published) -> float:
    return point.events / point.n if point.events is not None and point.n else point.estimate


def log_likelihood(logits: Floats, sd: Floats, data: Data) -> Floats:
    """(M, T) log-likelihood where the logit of a share is normal about `logits` (M, T) with `sd` (T,), medians alike.

    It is 0 for a figure that is met exactly.
    """
    known = np.isfinite(sd)
    spread = np.where(known, sd, 0.0)
    at = logits[:, :, None] + spread[:, None] * NODES
    k, n = data.events[:, None], data.patients[:, None]
    best = data.events * _log(data.events / data.patients) + (data.patients - data.events) * _log(
        1 - data.events / data.patients
    )
    each = k * log_expit(at) + (n - k) * log_expit(-at) - best[:, None]
    top = each.max(axis=2, keepdims=True)
    total = np.log((np.exp(each - top) * WEIGHTS).sum(axis=2) / WEIGHTS.sum()) + top[:, :, 0]
    off = (logits - data.log_median) / np.hypot(spread, np.nan_to_num(data.standard_error, nan=1.0))
    total = np.where(data.is_share, total, -0.5 * np.nan_to_num(off) ** 2)
    return np.asarray(np.where(known, total, 0.0) * data.weight)


def _log(x: Floats) -> Floats:
    return np.log(np.maximum(x, 1e-300))


class Posterior(NamedTuple):
    """A sample of the posterior and how well its chains mixed. S draws, D parameters."""

    x: Floats  # (S, D) between 0 and 1
    log_likelihood: Floats  # (S,)
    steps_to_forget: float  # longest autocorrelation time of a parameter, in steps
    steps: int


def chains(parameters: int) -> int:
    """How many chains walk together."""
    return max(64, 4 * parameters)


def sample_posterior(
    emulator: Emulator,
    data: Data,
    parameters: int,
    between_trials_sd: float,
    seed: int,
    *,
    steps: int = 4000,
    draws: int = 1000,
    temperature: float = 1.0,
) -> Posterior:
    """Sample the posterior under the emulator.

    Args:
        emulator: Of the endpoints of `data`.
        data: What was published.
        parameters: Their number.
        between_trials_sd: Differences between trials that no parameter explains, on the logit scale.
        seed: Of the chains.
        steps: Of each chain; the first half is thrown away.
        draws: How many to keep.
        temperature: The likelihood is raised to its inverse; above 1 it is wider.
    """
    rng = np.random.default_rng([seed, 2])
    sd = np.hypot(emulator.lack_of_fit, between_trials_sd)

    def log_posterior(x: Floats) -> Floats:
        inside = ((x >= 0) & (x <= 1)).all(axis=1)
        out = np.full(len(x), -np.inf)
        if inside.any():
            out[inside] = log_likelihood(emulator.predict(x[inside]), sd, data).sum(axis=1) / temperature
        return out

    walkers = chains(parameters)
    start = rng.random((100 * walkers, parameters))
    start = start[np.argsort(-log_posterior(start))[:walkers]]
    moves = [(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)]
    sampler = emcee.EnsembleSampler(walkers, parameters, log_posterior, moves=moves, vectorize=True)
    sampler.random_state = np.random.RandomState(rng.integers(2**31)).get_state()
    sampler.run_mcmc(start, steps)
    chain, density = sampler.get_chain(discard=steps // 2), sampler.get_log_prob(discard=steps // 2)
    with np.errstate(invalid="ignore"):  # a chain that never moved
        forget = float(np.nan_to_num(np.nanmax(emcee.autocorr.integrated_time(chain, tol=0)), nan=steps))
    flat, density = chain.reshape(-1, parameters), density.reshape(-1) * temperature
    keep = rng.choice(len(flat), size=draws, replace=False)
    return Posterior(flat[keep], density[keep], forget, steps)


# ------------------------------------------------------------------------------------------------- the whole fit


class Confirmed(NamedTuple):
    """Draws of the posterior that were simulated. K draws, D parameters."""

    x: Floats  # (K, D) between 0 and 1
    log_likelihood: Floats  # (K,) by their own runs
    weight: Floats  # (K,) that add up to 1


class Fit(NamedTuple):
    """What a calibration found. N runs, D parameters, T targets, S draws."""

    free: tuple[Free, ...]
    targets: tuple[Target, ...]
    wave: NDArray[np.int64]  # (N,) of each run
    x: Floats  # (N, D) between 0 and 1
    estimates: Floats  # (N, T)
    n: Floats  # (N, T)
    foretold: Floats
    """(N, T) shares foretold for the runs of the last wave before they were run, nan for the others."""
    emulator: Emulator
    posterior: Posterior
    confirmed: Confirmed
    seed: int

    @property
    def best(self) -> dict[str, float]:
        """The draw that is the most likely by its own runs, by path: the fitted set."""
        return values(self.free, self.confirmed.x[int(self.confirmed.log_likelihood.argmax())])

    def sample(self, size: int) -> Floats:
        """(size, D) draws of the posterior, with the weights that their own runs gave them."""
        rng = np.random.default_rng([self.seed, 6])
        return self.confirmed.x[rng.choice(len(self.confirmed.x), size=size, p=self.confirmed.weight)]

    def parameters(self) -> pd.DataFrame:
        """`path, low, high, fitted, lower, upper, shrinkage`.

        Prior range, the value in the fitted set, 95 % of the posterior; shrinkage is one minus the ratio of variances
        of posterior and prior on the scale of the prior (0: the data tell nothing).
        """
        lines = []
        for i, f in enumerate(self.free):
            low, high = (f.value(u) for u in np.percentile(self.posterior.x[:, i], [2.5, 97.5]))
            shrinkage = 1 - 12 * float(self.posterior.x[:, i].var())
            lines.append((f.path, f.low, f.high, self.best[f.path], low, high, shrinkage))
        return pd.DataFrame(lines, columns=["path", "low", "high", "fitted", "lower", "upper", "shrinkage"])

    def draws(self) -> pd.DataFrame:
        """Parameter values of every draw, and its log-likelihood."""
        table = pd.DataFrame([values(self.free, x) for x in self.posterior.x])
        return table.assign(log_likelihood=self.posterior.log_likelihood)

    def as_choices(self, settings: Settings, draws: int = 50) -> dict[str, str]:
        """What was found, as choices of a configuration folder (`--config-dir`): file name to text.

        `biology=found clinic=found` is the fitted set, with all other values as in these settings;
        `biology=found_posterior` gives a sample of the posterior to patients in turn.
        """
        sample = pd.DataFrame([values(self.free, x) for x in self.sample(draws)])
        lines = [f"  {f.path}: [{', '.join(f'{v:.4g}' for v in sample[f.path])}]" for f in self.free]
        head = "# Found by experiments/calibrate.py: {}.\n"
        out = {
            "biology/found_posterior.yaml": "# @package _global_\n"
            + head.format("a sample of the posterior, which patients get in turn")
            + "defaults: [found@biology, _self_]\ndraws:\n"
            + "\n".join(lines)
            + "\n"
        }
        fitted = replace(settings, {path: float(f"{value:.4g}") for path, value in self.best.items()})
        for group, section, default in (("biology", fitted.biology, Biology()), ("clinic", fitted.clinic, Clinic())):
            plain = {r.path: r.value for r in parameter_rows(default, group)}
            its = {r.path: r.value for r in parameter_rows(section, group) if r.value != plain.get(r.path)}
            text = _nested({path.removeprefix(f"{group}."): value for path, value in its.items()}) or "{}"
            out[f"{group}/found.yaml"] = head.format("the most likely of the draws that were simulated") + text + "\n"
        return out

    def runs(self) -> pd.DataFrame:
        """Every run: its wave, its parameters by path, and what it gave for each target (`e0`, `n0`, ...)."""
        table = pd.DataFrame([values(self.free, x) for x in self.x]).assign(wave=self.wave)
        columns = {
            f"{kind}{i}": v[:, i]
            for i in range(len(self.targets))
            for kind, v in (("e", self.estimates), ("n", self.n))
        }
        return pd.concat([table, pd.DataFrame(columns)], axis=1)

    def mixing(self) -> str:
        """One sentence on how well the chains mixed."""
        p = self.posterior
        return (
            f"{p.steps} steps of {chains(len(self.free))} chains, the first half dropped; a chain forgets in "
            f"{p.steps_to_forget:.0f} steps. {len(self.confirmed.x)} draws simulated, worth "
            f"{1 / (self.confirmed.weight**2).sum():.0f} by their weights."
        )

    def checked(self) -> pd.DataFrame:
        """Shares in the runs of the last wave beside what the emulator, which had not seen them, had foretold.

        Returns:
            `trial, stratum, endpoint, month, foretold, simulated, standard_error`, means over those runs.
        """
        lines = []
        for i, (trial, p, _, _) in enumerate(self.targets):
            if p.endpoint in MEDIANS:
                continue
            known = np.isfinite(self.foretold[:, i]) & (self.n[:, i] > 0)
            if known.any():
                e, n, f = self.estimates[known, i], self.n[known, i], self.foretold[known, i]
                mean = float(np.average(e, weights=n))
                error = math.sqrt(max(mean * (1 - mean), 0.25 / n.sum()) / n.sum())
                lines.append((trial, p.stratum, p.endpoint, p.month, float(np.average(f, weights=n)), mean, error))
        columns = ["trial", "stratum", "endpoint", "month", "foretold", "simulated", "standard_error"]
        return pd.DataFrame(lines, columns=columns)

    def correlations(self) -> pd.DataFrame:
        """Pairs of parameters by how strongly they are correlated in the posterior: `one, other, correlation`."""
        r = np.atleast_2d(np.corrcoef(self.posterior.x.T))
        lines = [(self.free[i].path, self.free[j].path, float(r[i, j])) for i, j in combinations(range(len(r)), 2)]
        table = pd.DataFrame(lines, columns=["one", "other", "correlation"])
        return table.sort_values("correlation", key=abs, ascending=False, ignore_index=True)

    def predicted(self) -> pd.DataFrame:
        """What trials of the published sizes would publish, over the posterior."""
        return predict(self.emulator, self.posterior.x, self.targets, self.seed)


def _nested(values_by_path: Mapping[str, float], indent: str = "") -> str:
    """YAML of values by dotted paths."""
    lines: list[str] = []
    below: dict[str, dict[str, float]] = {}
    for path, value in values_by_path.items():
        name, _, rest = path.partition(".")
        if rest:
            below.setdefault(name, {})[rest] = value
        else:
            lines.append(f"{indent}{name}: {value!r}")
    for name, inner in below.items():
        lines += [f"{indent}{name}:", _nested(inner, indent + "  ")]
    return "\n".join(lines)


def predict(emulator: Emulator, draws: Floats, targets: Sequence[Target], seed: int) -> pd.DataFrame:
    """Published figures beside what trials of that size would publish at (S, D) draws, in `comparison.COLUMNS`."""
    rng = np.random.default_rng([seed, 3])
    spread = np.where(np.isfinite(emulator.lack_of_fit), emulator.lack_of_fit, 0.0)
    logits = emulator.predict(draws) + rng.standard_normal((len(draws), len(targets))) * spread
    lines: list[tuple[Any, ...]] = []
    data = published(targets)
    for i, (trial, p, patients, _) in enumerate(targets):
        n = max(1, round(patients))
        if data.is_share[i]:
            seen, rounding = rng.binomial(n, expit(logits[:, i])) / n, 0.5 / n
        else:
            seen, rounding = np.exp(rng.normal(logits[:, i], data.standard_error[i])), 0.0
        low, middle, high = np.percentile(seen, [2.5, 50, 97.5])
        inside = bool(low - rounding <= _exact(p) <= high + rounding)
        shown = p.estimate, p.lower, p.upper, middle, low, high, inside
        lines.append((trial, p.stratum, p.endpoint, p.month, *shown, p.n, p.source, p.note))
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype({"inside": "boolean", "month": float, "n": "Int64"})


def calibrate(
    settings: Settings, trials: Mapping[str, Settings], keep: Path, on_progress: Callable[[int], None] | None = None
) -> Fit:
    """Find the free parameters from what these trials published.

    Args:
        settings: Its `calibration` says how; `seed` and `workers` count too.
        trials: Settings of each trial by name.
        keep: Folder in which every run is kept as it ends, and from which a fit that was stopped goes on.
        on_progress: Called with the number of runs done since the last call.

    Raises:
        InputError: nothing to find, or the folder holds runs of another fit.
    """
    how = settings.calibration
    if how is None:
        raise InputError("calibration: is missing; say what to find by which trials")
    free, targets = free_parameters(settings, how.free), targets_of(trials, how.left_out)
    if not targets:
        raise InputError(f"calibration.trials={list(how.trials)}: they publish nothing that is compared")
    data = published(targets)
    x, wave = np.zeros((0, len(free))), np.zeros(0, dtype=int)
    estimates, n = np.zeros((0, len(targets))), np.zeros((0, len(targets)))
    emulator, posterior, foretold = None, None, np.full((sum(how.waves), len(targets)), math.nan)
    for number, points in enumerate(how.waves):
        if posterior is None:
            new = design(points, len(free), settings.seed)
        else:
            new = posterior.x[np.random.default_rng([settings.seed, 4, number]).permutation(len(posterior.x))[:points]]
        done = list(runs_of_wave(new, number, free, targets, trials, settings, keep, on_progress))
        x, wave = np.vstack([x, new]), np.append(wave, np.full(points, number))
        estimates, n = (np.vstack([old, [d[k] for d in done]]) for k, old in ((0, estimates), (1, n)))
        if emulator is not None and number == len(how.waves) - 1:
            foretold[-points:] = np.where(data.is_share, expit(emulator.predict(new)), emulator.predict(new))
        emulator = _fit_near(x, estimates, n, emulator, data, how.between_trials_sd, _workers(settings))
        last = number == len(how.waves) - 1
        posterior = sample_posterior(
            emulator, data, len(free), how.between_trials_sd, settings.seed + number, steps=how.steps,
            draws=how.draws if last else max(how.draws, *how.waves), temperature=1.0 if last else 2.0,
        )  # fmt: skip
    assert emulator is not None
    assert posterior is not None
    at = np.random.default_rng([settings.seed, 7]).permutation(len(posterior.x))[: how.confirmed]
    chosen_x = posterior.x[at]
    last_runs = runs_of_wave(
        chosen_x, len(how.waves), free, targets, trials, settings, keep, on_progress, how.confirmed_patients
    )
    its = [_log_likelihood_of_run(*run, data, how.between_trials_sd) for run in last_runs]
    confirmed = Confirmed(chosen_x, np.array(its), _weights(np.array(its) - posterior.log_likelihood[at]))
    return Fit(free, targets, wave, x, estimates, n, foretold, emulator, posterior, confirmed, settings.seed)


def _weights(log_ratio: Floats) -> Floats:
    """Importance weights that add up to 1, none above the mean times the root of their number."""
    raw = np.exp(log_ratio - log_ratio.max())
    cut = np.minimum(raw, raw.mean() * math.sqrt(len(raw)))
    return np.asarray(cut / cut.sum())


def _log_likelihood_of_run(estimates: Floats, n: Floats, data: Data, between_trials_sd: float) -> float:
    """Log-likelihood of what was published, by one run; its sampling error counts as uncertainty."""
    known = n > 0
    e, m = np.where(known, estimates, 0.5), np.where(known, n, 1.0)
    had, had_not = e * m + 0.5, (1 - e) * m + 0.5
    with np.errstate(invalid="ignore", divide="ignore"):  # of medians
        scale = np.where(data.is_share, np.log(had / had_not), e)
        error = np.where(data.is_share, np.sqrt(1 / had + 1 / had_not), 1 / np.sqrt(m))
    sd = np.where(known, np.hypot(error, between_trials_sd), np.inf)
    return float(log_likelihood(scale[None], sd, data).sum())


def _workers(settings: Settings) -> int:
    return settings.workers or os.cpu_count() or 1


def _fit_near(
    x: Floats, estimates: Floats, n: Floats, before: Emulator | None, data: Data, sd: float, workers: int
) -> Emulator:
    """Fit to all runs, then anew to the better half: what matters is how good a quadratic is near the posterior."""
    if before is None:
        return fit_emulator(x, estimates, n, data.is_share, workers=workers)
    likely = log_likelihood(before.predict(x), np.hypot(before.lack_of_fit, sd), data).sum(axis=1)
    near = likely >= np.median(likely)
    return fit_emulator(x[near], estimates[near], n[near], data.is_share, workers=workers)


def runs_of_wave(
    new: Floats, wave: int, free: Sequence[Free], targets: Sequence[Target], trials: Mapping[str, Settings],
    settings: Settings, keep: Path, on_progress: Callable[[int], None] | None, patients: int | None = None,
) -> Iterator[tuple[Floats, Floats]]:  # fmt: skip
    """The runs of one wave, in order; those that are kept already are read."""
    assert settings.calibration is not None
    patients = patients or settings.calibration.patients
    keep.mkdir(parents=True, exist_ok=True)
    tasks = (
        joblib.delayed(_one_run)(keep / f"{wave}_{i:05d}.json", place, free, targets, trials,
                                 patients, settings.seed + 1000003 * wave + i)
        for i, place in enumerate(new)
    )  # fmt: skip
    for done in joblib.Parallel(n_jobs=_workers(settings), return_as="generator", batch_size=1)(tasks):
        if on_progress is not None:
            on_progress(1)
        yield done


def _one_run(
    kept: Path, place: Floats, free: Sequence[Free], targets: Sequence[Target], trials: Mapping[str, Settings],
    patients: int, seed: int,
) -> tuple[Floats, Floats]:  # fmt: skip
    if kept.exists():
        found = json.loads(kept.read_text())
        if found["x"] != place.tolist() or len(found["n"]) != len(targets):
            raise InputError(f"{kept}: this is a run of another fit. Choose another folder, or delete this one")
        return np.array(found["estimates"], dtype=float), np.array(found["n"], dtype=float)
    estimates, n = simulate(trials, targets, values(free, place), patients, seed)
    text = json.dumps(
        {"x": place.tolist(), "estimates": [None if math.isnan(e) else e for e in estimates], "n": n.tolist()}
    )
    part = kept.with_suffix(".part")
    part.write_text(text)
    os.replace(part, kept)
    return estimates, n


def leave_one_out(settings: Settings, found: Fit, on_progress: Callable[[int], None] | None = None) -> pd.DataFrame:
    """Each trial predicted from all others, in `comparison.COLUMNS`."""
    how = settings.calibration
    assert how is not None
    data, trials = published(found.targets), np.array([t.trial for t in found.targets])

    def without(name: str, seed: int) -> pd.DataFrame:
        others = data._replace(weight=np.where(trials == name, 0.0, data.weight))
        sample = sample_posterior(
            found.emulator, others, len(found.free), how.between_trials_sd, seed, steps=how.steps, draws=how.draws
        )
        return pd.DataFrame(predict(found.emulator, sample.x, found.targets, seed)[trials == name])

    names = list(dict.fromkeys(trials))
    tasks = (joblib.delayed(without)(name, settings.seed + 100 + i) for i, name in enumerate(names))
    out = []
    for table in joblib.Parallel(n_jobs=_workers(settings), return_as="generator")(tasks):
        out.append(table)
        if on_progress is not None:
            on_progress(1)
    return pd.DataFrame(pd.concat(out, ignore_index=True))
