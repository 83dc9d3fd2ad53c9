"""Does a wrong table of results fit worse? `python -m benchmarks.wrong_targets RUN`, the folder of a calibration.

The posterior is sampled once more from the stored runs (emulator): with what was published, with the results of an
endpoint given to another month, with what other trials published of it, and with all shares shuffled. Printed: the
highest log-likelihood of the draws, and the differences between trials that are left unexplained. A model that fits
anything would fit all of them alike.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from escape_abm.evidence.emulator import fit_emulator
from escape_abm.evidence.posterior import sample_posterior
from escape_abm.evidence.targets import SPREADS, Data, Target, free_parameters, published, targets_of
from escape_abm.inputs.checks import check
from escape_abm.inputs.settings import Settings
from experiments.calibrate import trials_of


def given_to(data: Data, of: np.ndarray) -> Data:
    """Each figure with the share of another one, at its own number of patients."""
    share = (data.events / data.patients)[of]
    return data._replace(events=np.where(data.is_share, share * data.patients, data.events))


def months_shifted(targets: tuple[Target, ...]) -> np.ndarray:
    """Every rate as it was at the next other month of the same trial, stratum and endpoint; the last gets the first."""
    of = np.arange(len(targets))
    groups: dict[tuple[str, str, str], list[int]] = {}
    for i, t in enumerate(targets):
        if t.point.month is not None:
            groups.setdefault((t.trial, t.point.stratum, t.point.endpoint), []).append(i)
    for its in groups.values():
        of[its] = np.roll(its, 1)
    return of


def arms_swapped(targets: tuple[Target, ...], rng: np.random.Generator) -> np.ndarray:
    """Every share as another trial published it for the same endpoint."""
    of = np.arange(len(targets))
    for i, t in enumerate(targets):
        others = [j for j, o in enumerate(targets) if o.point.endpoint == t.point.endpoint and o.trial != t.trial]
        if others:
            of[i] = rng.choice(others)
    return of


def main() -> None:
    """Fit each table, and print how well it is met."""
    run = Path(sys.argv[1])
    settings = check(Settings, json.loads((run / "provenance.json").read_text(encoding="utf-8"))["settings"])
    how = settings.calibration
    assert how is not None
    free, targets = free_parameters(settings, how.free), targets_of(trials_of(settings), how.left_out)
    runs = pd.read_parquet(run / "runs.parquet")
    places = [
        np.log(runs[f.path] / f.low) / np.log(f.high / f.low) if f.is_log else (runs[f.path] - f.low) / (f.high - f.low)
        for f in free
    ]
    estimates, n = (runs[[f"{kind}{i}" for i in range(len(targets))]].to_numpy() for kind in "en")
    data, rng = published(targets), np.random.default_rng(1)
    emulator = fit_emulator(np.array(places).T, estimates, n, data.is_share, workers=2)
    shares, shuffled = np.flatnonzero(data.is_share), np.arange(len(targets))
    shuffled[shares] = rng.permutation(shares)
    tables = {
        "as published": np.arange(len(targets)),
        "months shifted": months_shifted(targets),
        "other trials' results": arms_swapped(targets, rng),
        "all shares shuffled": shuffled,
    }
    for name, of in tables.items():
        posterior = sample_posterior(
            emulator, given_to(data, of), len(free), how.between_trials_sd, settings.seed, steps=how.steps
        )
        apart = ", ".join(f"{f} {sd:.2f}" for f, sd in zip(SPREADS, posterior.between_trials_sd.mean(0), strict=True))
        print(f"{name:22} best log-likelihood {posterior.log_likelihood.max():7.1f}; unexplained: {apart}")


if __name__ == "__main__":
    main()
