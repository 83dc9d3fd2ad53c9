"""Posterior draws by Markov chain Monte Carlo, with the emulator's likelihood."""

from __future__ import annotations

from typing import NamedTuple

import emcee
import numpy as np
from numpy.typing import NDArray

from escape_abm.evidence.emulator import Emulator
from escape_abm.evidence.targets import SPREADS, Data, log_likelihood

Floats = NDArray[np.float64]


class Posterior(NamedTuple):
    """A sample of the posterior and how well its chains mixed. S draws, D parameters."""

    x: Floats  # (S, D) between 0 and 1
    between_trials_sd: Floats  # (S, F) on the logit scale, in the order of `targets.SPREADS`
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
    between_trials_sd: tuple[float, float],
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
        between_trials_sd: Range of the differences between trials that no parameter explains, on the logit scale; the
            prior of each family of endpoints is flat.
        seed: Of the chains.
        steps: Of each chain; the first half is thrown away.
        draws: How many to keep.
        temperature: The likelihood is raised to its inverse; above 1 it is wider.
    """
    rng = np.random.default_rng([seed, 2])
    least, most = between_trials_sd

    def unexplained(x: Floats) -> Floats:
        return np.asarray(least + (most - least) * x[:, parameters:])

    def log_posterior(x: Floats) -> Floats:
        inside = ((x >= 0) & (x <= 1)).all(axis=1)
        out = np.full(len(x), -np.inf)
        if inside.any():
            sd = np.hypot(emulator.lack_of_fit, unexplained(x[inside])[:, data.spread])
            out[inside] = log_likelihood(emulator.predict(x[inside, :parameters]), sd, data).sum(axis=1) / temperature
        return out

    walkers, dimensions = chains(parameters), parameters + len(SPREADS)
    start = rng.random((100 * walkers, dimensions))
    start = start[np.argsort(-log_posterior(start))[:walkers]]
    moves = [(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)]
    sampler = emcee.EnsembleSampler(walkers, dimensions, log_posterior, moves=moves, vectorize=True)
    sampler.random_state = np.random.RandomState(rng.integers(2**31)).get_state()
    sampler.run_mcmc(start, steps)
    chain, density = sampler.get_chain(discard=steps // 2), sampler.get_log_prob(discard=steps // 2)
    with np.errstate(invalid="ignore"):  # a chain that never moved
        forget = float(np.nan_to_num(np.nanmax(emcee.autocorr.integrated_time(chain, tol=0)), nan=steps))
    flat, density = chain.reshape(-1, dimensions), density.reshape(-1) * temperature
    keep = rng.choice(len(flat), size=draws, replace=False)
    return Posterior(flat[keep, :parameters], unexplained(flat[keep]), density[keep], forget, steps)
