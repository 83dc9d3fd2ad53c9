"""Binomial draws of every size, n from 1 to 1e15 and p from 1e-20 to 1, against the exact law.

Each score fails by chance with probability FALSE_ALARM, shared among all. Draws are so many that 15 % more events are
seven standard errors. numba 0.68's own binomial, for one, halves the mean at p of 1.5e-16 and gives only 0 at 1e-18.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit
from scipy import stats

from escape_abm.engines.chance import Luck, binomial, luck_of
from tests.engines.law_scores import FALSE_ALARM, SEED, WRONG

EVENTS, MOST_DRAWS = 2400, 5 * 10**6
RARE = (
    (10**12, 1e-17, 24 * 10**7),  # 1 - p is 1 in floating point
    (10**9, 0.999e-8, 10**6),  # where the algorithm changes
    (10**9, 1.001e-8, 10**6),
    (10**12, 0.999e-8, 10**6),
    (10**12, 1.001e-8, 10**6),
)
CHANCES = (*(10.0**-k for k in range(20, 0, -1)), 1.5e-16, 0.5, 0.9, 1 - 1e-3, 1 - 1e-6, 1 - 1e-9, 1 - 1e-12)


def _draws(n: int, p: float) -> int:
    """How many give EVENTS of what is the rarer, happening or not."""
    return max(20_000, math.ceil(EVENTS / (n * min(p, 1 - p))))


GRID = [(n, p, _draws(n, p)) for n in (1, 30, 10**3, 10**6, 10**9, 10**12, 10**15) for p in CHANCES]
SIZES = [*RARE, *(case for case in GRID if case[2] <= MOST_DRAWS)]
LIMIT = float(stats.norm.isf(FALSE_ALARM / 4 / len(SIZES)))  # two scores each


@njit
def moments_of_draws(luck: Luck, n: int, p: float, mean: float, draws: int) -> tuple[float, float]:
    """Mean and mean square of the deviation of `chance.binomial` from the expected number."""
    first, second = 0.0, 0.0
    for _ in range(draws):
        deviation = binomial(luck, n, p) - mean
        first += deviation
        second += deviation * deviation
    return first / draws, second / draws


def draws_z(n: int, p: float, drawn: float, draws: int) -> tuple[float, float]:
    """z of mean and variance of draws with chance `drawn`, against the binomial law with chance p."""
    variance = n * p * (1 - p)
    fourth = (
        variance * (1 + 3 * variance * (1 - 2 / n) - 6 * p * (1 - p)) if n > 1 else variance * (1 - 3 * p * (1 - p))
    )
    first, second = moments_of_draws(luck_of(np.random.default_rng([SEED, 8])), n, drawn, n * p, draws)
    spread = math.sqrt(max(fourth - variance**2, 1e-300) / draws)
    return first / math.sqrt(variance / draws), (second - variance) / spread


@pytest.mark.statistical
@pytest.mark.parametrize("n", sorted({n for n, *_ in SIZES}))
def test_rare_draws_have_the_right_mean_and_variance(n: int) -> None:
    for size, p, draws in SIZES:
        if size != n:
            continue
        mean, variance = draws_z(n, p, p, draws)
        assert abs(mean) < LIMIT, f"p = {p}, z = {mean:.2f}"
        assert abs(variance) < LIMIT, f"p = {p}, z = {variance:.2f}"
        # The same draws with a chance that is 15 % too large, of what is the rarer.
        wrong, _ = draws_z(n, p, WRONG * p if p <= 0.5 else 1 - WRONG * (1 - p), draws)
        assert abs(wrong) > LIMIT, f"p = {p}, z = {wrong:.2f}"


@pytest.mark.parametrize("n", [1, 10**3, 10**15])
def test_none_and_all(n: int) -> None:
    luck = luck_of(np.random.default_rng(1))
    assert [binomial(luck, n, p) for p in (0.0, -0.0, 1.0)] == [0, 0, n]
    assert sum(binomial(luck, n, 1e-300) for _ in range(1000)) == 0
    assert sum(n - binomial(luck, n, 1 - 2.0**-53) for _ in range(100)) <= 100 * max(1, n * 2.0**-50)
