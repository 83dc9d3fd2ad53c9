"""From published results to a posterior: which parameters are consistent with them, and which stay unidentified.

1. Runs of all trials at parameters spread over their plausible ranges, each with a few patients.
2. An emulator of every published endpoint (`emulator`), and the likelihood of the published results (`targets`).
3. A posterior by Markov chain Monte Carlo (emcee). The next wave of runs is drawn from it, so runs concentrate where
   the posterior does. The last wave has more patients per run and tests the emulator on unseen runs.
4. The most probable draws are simulated with more patients, the best of them again with many: the one whose own runs
   have the highest likelihood is the fitted set. With few patients the best of many would be the luckiest.

The between-trial differences that no parameter explains are estimated with the parameters, one for each family of
endpoints.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from escape_abm.evidence.emulator import Emulator, fit_emulator
from escape_abm.evidence.posterior import Posterior, chains, sample_posterior
from escape_abm.evidence.targets import (
    SPREADS,
    Free,
    Target,
    design,
    free_parameters,
    log_likelihood_of_run,
    published,
    simulate,
    targets_of,
    values,
)
from escape_abm.inputs.biology import Biology
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.row_table import parameter_rows
from escape_abm.inputs.rows import replace
from escape_abm.inputs.settings import Settings
from escape_abm.inputs.trial import MEDIANS
from escape_abm.trials import processors
from escape_abm.trials.comparison import COLUMNS, exact, interval

Floats = NDArray[np.float64]
INDEPENDENT = 5
"""How many times a chain should have forgotten where it was before its draws count."""


# ------------------------------------------------------------------------------------------------- the whole fit


class Confirmed(NamedTuple):
    """The finalists among the draws of the posterior, best first. K draws, D parameters."""

    x: Floats  # (K, D) between 0 and 1
    log_likelihood: Floats  # (K,) by their own runs


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
    def fitted(self) -> dict[str, float]:
        """The fitted set by path: of the draws that were simulated, the most likely by its own runs."""
        return values(self.free, self.confirmed.x[0])

    @property
    def between_trials(self) -> dict[str, float]:
        """Differences between trials that no parameter explains, by family of endpoints: means of the posterior."""
        return dict(zip(SPREADS, map(float, self.posterior.between_trials_sd.mean(axis=0)), strict=True))

    def parameters(self) -> pd.DataFrame:
        """`path, low, high, fitted, lower, upper, shrinkage`.

        Prior range, the value in the fitted set, 95 % of the posterior; shrinkage is one minus the ratio of variances
        of posterior and prior on the scale of the prior (0: the data tell nothing).
        """
        lines = []
        for i, f in enumerate(self.free):
            low, high = (f.value(u) for u in np.percentile(self.posterior.x[:, i], [2.5, 97.5]))
            shrinkage = 1 - 12 * float(self.posterior.x[:, i].var())
            lines.append((f.path, f.low, f.high, self.fitted[f.path], low, high, shrinkage))
        return pd.DataFrame(lines, columns=["path", "low", "high", "fitted", "lower", "upper", "shrinkage"])

    def marginals(self, bins: int = 20) -> pd.DataFrame:
        """`path, low, high, is_log, fitted, shrinkage, density_1 ...`: the posterior over the prior range.

        Densities are over so many equal parts of the range, on the scale of the prior, in units of the flat prior.
        """
        lines = []
        for f, u, shrinkage in zip(self.free, self.posterior.x.T, self.parameters()["shrinkage"], strict=True):
            density, _ = np.histogram(u, bins=bins, range=(0, 1), density=True)
            lines.append((*f, self.fitted[f.path], shrinkage, *density))
        names = [f"density_{k + 1}" for k in range(bins)]
        return pd.DataFrame(lines, columns=["path", "low", "high", "is_log", "fitted", "shrinkage", *names])

    def draws(self) -> pd.DataFrame:
        """Parameter values of every draw, and its log-likelihood."""
        table = pd.DataFrame([values(self.free, x) for x in self.posterior.x])
        return table.assign(log_likelihood=self.posterior.log_likelihood)

    def as_choices(self, settings: Settings, draws: int = 50) -> dict[str, str]:
        """What was found, as choices of a configuration folder (`--config-dir`): file name to text.

        `biology=found clinic=found` is the fitted set, with all other values as in these settings;
        `biology=found_posterior` gives a sample of the posterior to patients in turn.
        """
        sample = pd.DataFrame([values(self.free, x) for x in self.posterior.x[:draws]])
        lines = [f"  {f.path}: [{', '.join(f'{v:.4g}' for v in sample[f.path])}]" for f in self.free]
        head = "# Found by experiments/calibrate.py: {}.\n"
        out = {
            "biology/found_posterior.yaml": "# @package _global_\n"
            + head.format("a sample of the posterior, which patients get in turn")
            + "defaults: [found@biology, _self_]\ndraws:\n"
            + "\n".join(lines)
            + "\n"
        }
        found = self.fitted | self._between_trials_rows()
        fitted = replace(settings, {path: float(f"{value:.4g}") for path, value in found.items()})
        for group, section, default in (("biology", fitted.biology, Biology()), ("clinic", fitted.clinic, Clinic())):
            plain = {r.path: r.value for r in parameter_rows(default, group)}
            its = {r.path: r.value for r in parameter_rows(section, group) if r.value != plain.get(r.path)}
            text = _nested({path.removeprefix(f"{group}."): value for path, value in its.items()})
            rows = {"biology": "starting_fit", "clinic": "standard"}[group]  # all other values are as there
            out[f"{group}/found.yaml"] = (
                head.format("of the most probable draws, the most likely by its own runs")
                + f"defaults: [{rows}, _self_]\n{text}\n"
            )
        return out

    def _between_trials_rows(self) -> dict[str, float]:
        spreads = self.between_trials
        base = spreads["survival"]
        folds = {f"clinic.between_trials_{f}_fold": spreads[f] / base for f in SPREADS if f != "survival"}
        return {"clinic.between_trials_sd": base} | folds

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
        enough = math.ceil(2 * INDEPENDENT * p.steps_to_forget)  # the first half is dropped
        short = f" Too few steps: give calibration.steps={enough} or more." if p.steps < enough else ""
        spreads = ", ".join(f"{sd:.2f} in {family}" for family, sd in self.between_trials.items())
        return (
            f"{p.steps} steps of {chains(len(self.free))} chains, the first half dropped; a chain forgets in "
            f"{p.steps_to_forget:.0f} steps. Trials differ for reasons that no parameter explains by {spreads} "
            f"(logit, SD).{short}"
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
        return predict(self.emulator, self.posterior, self.targets, self.seed)


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


def predict(emulator: Emulator, posterior: Posterior, targets: Sequence[Target], seed: int) -> pd.DataFrame:
    """Published figures beside what other trials of that size would publish, in `comparison.COLUMNS`."""
    rng = np.random.default_rng([seed, 3])
    data = published(targets)
    unknown = np.where(np.isfinite(emulator.lack_of_fit), emulator.lack_of_fit, 0.0)
    spread = posterior.between_trials_sd[:, data.spread]
    by_parameters = emulator.predict(posterior.x) + rng.standard_normal(spread.shape) * unknown
    logits = by_parameters + rng.standard_normal(spread.shape) * spread
    by_chance = np.broadcast_to(np.median(by_parameters, axis=0), logits.shape)
    lines: list[tuple[Any, ...]] = []
    for i, (trial, p, patients, _) in enumerate(targets):
        n = max(1, round(patients))
        rounding = 0.5 / n if data.is_share[i] else 0.0
        intervals = []
        for of in (logits, by_chance, by_parameters):
            if data.is_share[i]:
                seen = rng.binomial(n, expit(of[:, i])) / n
            else:
                seen = np.exp(rng.normal(of[:, i], data.standard_error[i]))
            intervals.append(tuple(map(float, np.percentile(seen, [2.5, 50, 97.5]))))
        (low, middle, high), (c_low, _, c_high), (p_low, _, p_high) = intervals
        inside = bool(low - rounding <= exact(p) <= high + rounding)
        shown = p.estimate, *interval(p), middle, low, high, inside
        parts = c_low, c_high, p_low, p_high
        lines.append((trial, p.stratum, p.endpoint, p.month, *shown, p.n, p.source, p.note, *parts))
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
        last = number == len(how.waves) - 1
        new = design(points, len(free), settings.seed) if posterior is None else posterior.x[:points]
        patients = how.last_patients if last else how.patients
        done = list(runs_of_wave(new, number, free, targets, trials, settings, keep, patients, on_progress))
        x, wave = np.vstack([x, new]), np.append(wave, np.full(points, number))
        estimates, n = (np.vstack([old, [d[k] for d in done]]) for k, old in ((0, estimates), (1, n)))
        if emulator is not None and last:
            foretold[-points:] = np.where(data.is_share, expit(emulator.predict(new)), emulator.predict(new))
        emulator = fit_emulator(x, estimates, n, data.is_share, workers=settings.workers or processors.cores())
        posterior = sample_posterior(
            emulator, data, len(free), how.between_trials_sd, settings.seed + number, steps=how.steps,
            draws=how.draws if last else max(how.draws, *how.waves), temperature=1.0 if last else 2.0,
        )  # fmt: skip
    assert emulator is not None
    assert posterior is not None
    sd = posterior.between_trials_sd.mean(axis=0)
    best, likely = posterior.x[np.argsort(-posterior.log_likelihood)], np.zeros(0)
    rounds = (how.confirmed, how.confirmed_patients), (how.finalists, how.finalist_patients)
    for number, (count, patients) in enumerate(rounds, start=len(how.waves)):
        best = best[:count]
        own = runs_of_wave(best, number, free, targets, trials, settings, keep, patients, on_progress)
        likely = np.array([log_likelihood_of_run(*run, data, sd) for run in own])
        best, likely = best[np.argsort(-likely)], np.sort(likely)[::-1]
    confirmed = Confirmed(best, likely)
    return Fit(free, targets, wave, x, estimates, n, foretold, emulator, posterior, confirmed, settings.seed)


def runs_of_wave(
    new: Floats, wave: int, free: Sequence[Free], targets: Sequence[Target], trials: Mapping[str, Settings],
    settings: Settings, keep: Path, patients: int, on_progress: Callable[[int], None] | None,
) -> Iterator[tuple[Floats, Floats]]:  # fmt: skip
    """The runs of one wave, in order; those that are kept already are read."""
    keep.mkdir(parents=True, exist_ok=True)
    tasks = (
        joblib.delayed(processors.serve)(os.getpid(), _one_run, keep / f"{wave}_{i:05d}.json", place, free, targets,
                                         trials, patients, settings.seed + 1000003 * wave + i)
        for i, place in enumerate(new)
    )  # fmt: skip
    for done in joblib.Parallel(n_jobs=settings.workers or processors.cores(), return_as="generator", batch_size=1)(
        tasks
    ):
        if on_progress is not None:
            on_progress(1)
        yield done


def _one_run(
    kept: Path, place: Floats, free: Sequence[Free], targets: Sequence[Target], trials: Mapping[str, Settings],
    patients: int, seed: int,
) -> tuple[Floats, Floats]:  # fmt: skip
    found = _kept_run(kept)
    if found is not None:
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


def _kept_run(kept: Path) -> dict[str, Any] | None:
    """What is kept of a run; None if nothing is, or it was cut, so that it is run again."""
    try:
        found = json.loads(kept.read_text())
        return found if {"x", "n", "estimates"} <= set(found) else None
    except (FileNotFoundError, ValueError, TypeError):
        return None
