"""Numbers drawn by our own samplers, against SciPy's laws, from one cell to 1e15 and chances down to 1e-20.

Numbers that are drawn exactly are binned and compared by a chi-squared test; what is drawn as a normal number is
compared without chance, quantile by quantile. Every statistical test fails by chance with probability FALSE_ALARM, and
each rejects a law that is wrong by as much as its test says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray
from scipy import stats

from escape_abm.engines import chance, counts
from escape_abm.engines.chance import FARTHEST, LARGE, Luck, luck_of
from escape_abm.law.hazards import kendall

FALSE_ALARM = 1e-4
DRAWS = 200_000
Numbers = NDArray[np.int64]


def luck(seed: int = 1) -> Luck:
    return luck_of(np.random.default_rng(seed))


@njit
def binomials(luck: Luck, draws: int, n: int, p: float) -> Numbers:
    return np.array([chance.binomial(luck, n, p) for _ in range(draws)])


@njit
def poissons(luck: Luck, draws: int, n: int, p: float) -> Numbers:
    return np.array([chance.poisson(luck, n * p) for _ in range(draws)])


@njit
def negative_binomials(luck: Luck, draws: int, n: int, p: float) -> Numbers:
    return np.array([chance.negative_binomial(luck, n, p) for _ in range(draws)])


def p_value(found: Numbers, true: Any) -> float:
    """Chance of numbers that are this far from their hazards, or farther: chi-squared of bins of equal chance."""
    edges = np.unique(true.ppf(np.linspace(0, 1, 41)[1:-1]))
    below = np.concatenate([[0.0], true.cdf(edges), [1.0]])
    # The first bin of a law that is nearly always 0 is not split further, the last one holds what is above.
    expected = np.diff(below) * found.size
    seen = np.bincount(np.searchsorted(edges, found), minlength=edges.size + 1)
    enough = expected >= 5
    seen = np.append(seen[enough], seen[~enough].sum())
    expected = np.append(expected[enough], expected[~enough].sum())
    if expected[-1] < 5:  # too few for a bin of their own
        seen, expected = np.append(seen[:-2], seen[-2:].sum()), np.append(expected[:-2], expected[-2:].sum())
    return float(stats.chisquare(seen, expected * (found.size / expected.sum())).pvalue)


LAWS: dict[str, tuple[Callable[..., Numbers], Callable[[int, float], Any]]] = {
    "binomial": (binomials, stats.binom),
    "poisson": (poissons, lambda n, p: stats.poisson(n * p)),
    "negative binomial": (negative_binomials, lambda n, p: stats.nbinom(n, 1 - p)),
}
SIZES = [
    (1, 0.3), (1, 0.9), (5, 0.2), (30, 0.32), (30, 0.5), (100, 0.099), (100, 0.101), (100, 0.9), (2000, 0.01),
    (10**4, 0.3), (10**6, 5e-3), (10**9, 1e-9), (10**12, 3e-11), (10**15, 1e-15), (10**15, 5e-12),
]  # fmt: skip
"""Cells and chances on both sides of every change of algorithm, below `LARGE`."""


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "p"), SIZES)
@pytest.mark.parametrize("name", LAWS)
def test_numbers_follow_their_law(name: str, n: int, p: float) -> None:
    draw, true = LAWS[name]
    seed = SIZES.index((n, p)) + 1
    assert p_value(draw(luck(seed), DRAWS, n, p), true(n, p)) > FALSE_ALARM


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "p"), SIZES)
@pytest.mark.parametrize("name", LAWS)
def test_a_wrong_chance_is_noticed(name: str, n: int, p: float) -> None:
    """5 % are: so many draws tell chances of one in three cells apart, and all the rest better."""
    draw, true = LAWS[name]
    wrong = p * 1.05 if p < 0.5 or name == "poisson" else 1 - (1 - p) * 1.05
    assert p_value(draw(luck(), DRAWS, n, wrong), true(n, p)) < FALSE_ALARM


@njit
def how_many_of(luck: Luck, draws: int, n: int, p: float) -> int:
    total = 0
    for _ in range(draws):
        total += chance.binomial(luck, n, p)
    return total


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "p"), [(10**15, 1e-20), (1, 1e-5)])
def test_the_rarest_numbers_come_as_often_as_they_should(n: int, p: float) -> None:
    """2,500 events are expected: 15 % more are 7.5 standard errors."""
    draws = 25 * 10**7

    def likely(fold: float) -> float:
        total, expected = how_many_of(luck(7), draws, n, fold * p), draws * n * p
        return float(2 * min(stats.poisson.cdf(total, expected), stats.poisson.sf(total - 1, expected)))

    assert likely(1.0) > FALSE_ALARM
    assert likely(1.15) < FALSE_ALARM


@njit
def smallest(luck: Luck, draws: int) -> float:
    return min([chance.uniform(luck) for _ in range(draws)])


def test_small_numbers_have_digits_of_their_own() -> None:
    """The smallest of a million uniform numbers is no multiple of 2^-53."""
    u = smallest(luck(), 10**6)
    assert 0 < u < 1e-4
    assert (u * 2.0**53) % 1 != 0


def test_bits_are_those_of_the_published_generator() -> None:
    """xoshiro256++, written again in whole numbers of Python."""
    here, mask = luck(), 2**64 - 1
    s = [int(here[k]) for k in "abcd"]

    def turned(x: int, k: int) -> int:
        return (x << k | x >> (64 - k)) & mask

    for _ in range(100):
        bits, t = (turned((s[0] + s[3]) & mask, 23) + s[0]) & mask, (s[1] << 17) & mask
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = turned(s[3], 45)
        assert chance.coarse(here) == (bits >> 11) * 2.0**-53


BITS = [6302617880242954709, 15341113430889626320, 2842713104317917705, 11342244530527731687]
BINOMIALS = [0, 1, 2, 11, 14, 11, 11, 94, 31, 3011, 4994, 1, 32, 2, 5068]
NEGATIVE_BINOMIALS = [0, 2, 1, 3, 22, 13, 11, 838, 22, 4436]


def test_one_seed_one_stream() -> None:
    """The first draws of a seed, written down: they are the same with every NumPy, numba and Python."""
    here = luck_of(np.random.default_rng(2024))
    assert [int(here[k]) for k in "abcd"] == BITS
    assert [chance.binomial(here, n, p) for n, p in SIZES] == BINOMIALS
    assert [chance.negative_binomial(here, n, p) for n, p in SIZES[:10]] == NEGATIVE_BINOMIALS


def test_normal_quantile() -> None:
    u = np.concatenate(
        [10.0 ** -np.arange(1, 300, 7.0), np.linspace(0.001, 0.999, 999), 1 - 10.0 ** -np.arange(1, 15.0)]
    )
    mine = np.array([chance.normal_quantile(x) for x in u])
    np.testing.assert_allclose(mine, stats.norm.ppf(u), rtol=2e-14, atol=1e-15)


@pytest.mark.parametrize("k", [0, 1, 2, 5, 9, 10, 100, 10**6])
def test_stirling(k: int) -> None:
    formula = (k + 0.5) * math.log(k + 1) - (k + 1) + 0.5 * math.log(2 * math.pi)
    assert chance.stirling(float(k)) + formula == pytest.approx(math.lgamma(k + 1), rel=1e-9, abs=1e-9)


def error_of_quantiles(true: Any, mean: float, variance: float, third: float) -> float:
    """Largest distance of the distribution function of `near_normal` from a hazards, where that law has its cells."""
    worst, sd = 0.0, math.sqrt(variance)
    for k in np.unique(np.floor(mean + sd * np.linspace(-5, 5, 101))):
        low, high = 0.0, 1.0  # the chance of at most k: where the quantile passes it
        for _ in range(50):
            middle = 0.5 * (low + high)
            if chance.near_normal(middle, mean, variance, third) <= k:
                low = middle
            else:
                high = middle
        worst = max(worst, abs(low - float(true.cdf(k))))
    return worst


@pytest.mark.parametrize("p", [1e-9, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("more", [1, 100])
def test_large_numbers_are_near_their_law(p: float, more: int) -> None:
    """Of binomial numbers from the smallest that are drawn as normal ones; the error falls as their variance grows."""
    n = math.ceil(more * LARGE / p / (1 - p))
    mean, variance = n * p, n * p * (1 - p)
    bound = FARTHEST / more + 1e-9  # SciPy's own error at 1e15 cells
    assert error_of_quantiles(stats.binom(n, p), mean, variance, variance * (1 - 2 * p)) < bound
    # Without skewness, or half a cell off, it is not.
    assert error_of_quantiles(stats.binom(n, p), mean + 0.5, variance, variance * (1 - 2 * p)) > bound
    if p < 0.5:
        assert error_of_quantiles(stats.binom(n, p), mean, variance, 0.0) > bound


HAZARDS = [(0.2, 0.1, 1.0), (0.2, 9.0, 0.5), (2.5, 0.15, 0.25), (0.0, 0.5, 1.0), (0.15, 0.05, 4.0), (0.5, 0.4, 1.0)]


def one_cell(birth: float, death: float, days: float) -> NDArray[np.float64]:
    """Chances of 0, 1, 2, ... descendants of one cell."""
    gone, more = kendall(birth, death, days)
    k = np.arange(400)
    return np.where(k == 0, gone, (1 - gone) * (1 - more) * more ** np.maximum(k - 1, 0))


def of_many(n: int, chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same of n cells, by the n-th power of the generating function on a circle."""
    mean = n * float(chances @ np.arange(chances.size))
    size = 1 << (int(3 * mean + 2000)).bit_length()
    return np.maximum(np.fft.irfft(np.fft.rfft(chances, size) ** n, size), 0.0)


@njit
def all_descendants(luck: Luck, draws: int, n: int, birth: float, death: float, days: float) -> Numbers:
    return np.array([counts.descendants(luck, n, birth, death, days) for _ in range(draws)])


@pytest.mark.statistical
@pytest.mark.parametrize("hazards", HAZARDS)
@pytest.mark.parametrize("n", [1, 7, 300, 9_999])
def test_descendants_of_few_cells(n: int, hazards: tuple[float, float, float]) -> None:
    birth, death, days = hazards
    chances = of_many(n, one_cell(*hazards))
    true = stats.rv_discrete(values=(np.arange(chances.size), chances / chances.sum()))
    assert p_value(all_descendants(luck(n), DRAWS, n, *hazards), true) > FALSE_ALARM
    wrong = all_descendants(luck(n), DRAWS, n, birth, 1.1 * death, days)
    assert p_value(wrong, true) < FALSE_ALARM


def test_descendants_of_many_cells_are_near_their_law() -> None:
    """Of the fewest that are drawn by one normal number, whatever the hazards; FFT knows the law to 1e-9."""
    for hazards in HAZARDS:
        gone, more = kendall(*hazards)
        one = one_cell(*hazards)
        k = np.arange(one.size)
        mean = float(one @ k)
        variance, third = (float(one @ (k - mean) ** power) for power in (2, 3))
        n = math.ceil(LARGE * max(1.0, 1.0 / variance))
        moments = counts.moments_of_one(gone, more)
        assert moments == pytest.approx((mean, variance, third), rel=1e-9)
        below = of_many(n, one).cumsum()
        true = stats.rv_discrete(values=([0], [1.0]))
        true.cdf = lambda j, below=below: below[int(j)]
        assert error_of_quantiles(true, n * mean, n * variance, n * third) < FARTHEST
        assert error_of_quantiles(true, n * mean, 1.01 * n * variance, n * third) > FARTHEST


@pytest.mark.parametrize(("n", "p"), [(10**6, 0.3), (10**9, 0.5), (10**15, 1e-9)])
def test_large_numbers_are_asked_for_with_their_own_moments(n: int, p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, ...]] = []
    monkeypatch.setattr(chance, "near_normal", lambda _, *moments: asked.append(moments))
    binomial, poisson = (getattr(draw, "py_func", draw) for draw in (chance.binomial, chance.poisson))
    binomial(luck(), n, p)
    poisson(luck(), n * p)
    for law, moments in zip((stats.binom(n, p), stats.poisson(n * p)), asked, strict=True):
        mean, variance, skewness = (float(x) for x in law.stats("mvs"))
        assert moments == pytest.approx((mean, variance, skewness * variance**1.5), rel=1e-9, abs=1e-3)
