"""Each trial of a fit predicted from all others, and really simulated."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa

from escape_abm.evidence.calibration import Fit
from escape_abm.evidence.posterior import sample_posterior
from escape_abm.evidence.targets import SPREADS, own_seed, published, run_patients, values
from escape_abm.inputs.settings import Settings
from escape_abm.trials import processors
from escape_abm.trials.comparison import compare


def leave_one_out(
    settings: Settings,
    found: Fit,
    trials: Mapping[str, Settings],
    keep: Path,
    on_progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Each trial predicted from all others, in `comparison.COLUMNS`.

    The posterior without the trial is that of the emulator; the trial itself is then simulated at draws of it. What is
    done is kept in the folder, trial by trial.
    """
    names = list(dict.fromkeys(t.trial for t in found.targets))
    serve, me = joblib.delayed(processors.serve), os.getpid()
    tasks = (
        serve(me, _left_out, keep / f"left_out_{name}.parquet", name, settings, found, trials[name], i)
        for i, name in enumerate(names)
    )
    out = []
    for table in joblib.Parallel(n_jobs=settings.workers or processors.cores(), return_as="generator")(tasks):
        out.append(table)
        if on_progress is not None:
            on_progress(1)
    return pd.DataFrame(pd.concat(out, ignore_index=True))


def _left_out(kept: Path, name: str, settings: Settings, found: Fit, trial: Settings, number: int) -> pd.DataFrame:
    """One trial, simulated at draws of the posterior of all others."""
    if kept.exists():
        with suppress(pa.ArrowException, OSError):  # a file that was cut: the trial is simulated again
            return pd.read_parquet(kept)
    how, data = settings.calibration, published(found.targets)
    assert how is not None
    others = data._replace(weight=np.where([t.trial == name for t in found.targets], 0.0, data.weight))
    seed = settings.seed + 100 + number
    posterior = sample_posterior(
        found.emulator, others, len(found.free), how.between_trials_sd, seed, steps=how.steps, draws=how.draws
    )
    of_draws = [values(found.free, x) for x in posterior.x[: how.left_out_draws]]
    draws = {f.path: tuple(of[f.path] for of in of_draws) for f in found.free}
    at_draws = trial.model_copy(update={"draws": draws})
    table = run_patients(at_draws, how.left_out_draws * how.left_out_patients, own_seed(seed, name))
    apart = dict(zip(SPREADS, posterior.between_trials_sd.mean(axis=0), strict=True))
    wanted = tuple(p for p in trial.trial.published if p.endpoint not in how.left_out)
    judged = trial.trial.model_copy(update={"published": wanted})
    out = compare(table, judged, np.random.default_rng([seed, 4]), apart)
    out = out[out["inside"].notna()].reset_index(drop=True)
    part = kept.with_suffix(".part")
    out.to_parquet(part)
    os.replace(part, kept)
    return pd.read_parquet(kept)
