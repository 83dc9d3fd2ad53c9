"""How chance is drawn inside compiled code: one seed gives the same numbers under every version of NumPy and numba.

NumPy and numba change from version to version what they make of random bits (binomial numbers, for example), so it is
made here, of the bits of xoshiro256++ (Blackman and Vigna 2021). Its state is 256 raw bits of a NumPy generator, whose
stream of bits NumPy promises never to change.

A number with a variance above `LARGE` is one rounded normal number, corrected for skewness (Cornish and Fisher). Its
distribution function is then nowhere farther than `FARTHEST` from the exact one, and nearer in proportion to how much
larger the variance is; `tests/engines/test_chance.py` says so without chance. Numbers below are drawn exactly: by
inversion where few are expected, else by Hormann's transformed rejection.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

FINGERPRINT = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
"""Changes with this file, so that no stale compiled draw is ever read from a cache."""

Luck = Any
"""A source of chance, changed by each draw: the state of a generator, and how far a clock is from ringing.

The clock rings at random, once a unit of expected events (see `counts.switch`).

A record because numba passes it as a bare pointer. It counts references to arrays and to NumPy's generators at each
call, which took half of the time of a run.
"""
LUCK = np.dtype([("a", np.uint64), ("b", np.uint64), ("c", np.uint64), ("d", np.uint64), ("wait", np.float64)])

LARGE = 1e4
"""Variance from which on a number is drawn as a normal one."""
FARTHEST = 1e-5
"""Largest error of the distribution function there."""
FEW = 10.0
"""Expectation up to which numbers are drawn by inversion."""


def luck_of(rng: np.random.Generator) -> Luck:
    """A source of chance for compiled code, out of the next bits of this one."""
    luck = np.array([(*rng.bit_generator.random_raw(4), 0.0)], dtype=LUCK)[0]
    luck["wait"] = exponential(luck)
    return luck


@njit(cache=True, error_model="numpy")
def rotated(bits: Any, by: int) -> Any:
    """The same 64 bits, turned left."""
    return (bits << np.uint64(by)) | (bits >> np.uint64(64 - by))


@njit(cache=True, error_model="numpy")
def coarse(luck: Luck) -> float:
    """One of the 2^53 numbers 0, 2^-53, ... below 1, all alike."""
    a, b, c, d = luck["a"], luck["b"], luck["c"], luck["d"]
    bits = rotated(a + d, 23) + a
    c ^= a
    d ^= b
    luck["a"], luck["b"], luck["c"], luck["d"] = a ^ d, b ^ c, c ^ (b << np.uint64(17)), rotated(d, 45)
    return (bits >> np.uint64(11)) * 2.0**-53


@njit(cache=True, error_model="numpy")
def uniform(luck: Luck) -> float:
    """A number between 0 and 1; small ones have more digits, so that rare things happen as often as they should."""
    u = coarse(luck)
    return u if u > 2.0**-20 else u + coarse(luck) * 2.0**-53


@njit(cache=True, error_model="numpy")
def exponential(luck: Luck) -> float:
    """Time to the first event of a rate of 1."""
    return -math.log1p(-uniform(luck))


@njit(cache=True, error_model="numpy")
def normal_quantile(u: float) -> float:
    """Inverse of the normal distribution function to 16 digits (Wichura 1988, algorithm AS 241)."""
    q = u - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        top = (
            ((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853) * r
            + 45921.953931549871457
        ) * r + 13731.693765509461125
        top = ((top * r + 1971.5909503065514427) * r + 133.14166789178437745) * r + 3.387132872796366608
        bottom = (
            ((5226.495278852545925 * r + 28729.085735721942674) * r + 39307.89580009271061) * r + 21213.794301586595867
        ) * r + 5394.1960214247511077
        bottom = ((bottom * r + 687.1870074920579083) * r + 42.313330701600911252) * r + 1.0
        return q * top / bottom
    r = math.sqrt(-math.log(min(u, 1.0 - u)))
    if r <= 5.0:
        r -= 1.6
        top = (
            ((7.7454501427834140764e-4 * r + 0.0227238449892691845833) * r + 0.24178072517745061177) * r
            + 1.27045825245236838258
        ) * r + 3.64784832476320460504
        top = ((top * r + 5.7694972214606914055) * r + 4.6303378461565452959) * r + 1.42343711074968357734
        bottom = (
            ((1.05075007164441684324e-9 * r + 5.475938084995344946e-4) * r + 0.0151986665636164571966) * r
            + 0.14810397642748007459
        ) * r + 0.68976733498510000455
        bottom = ((bottom * r + 1.6763848301838038494) * r + 2.05319162663775882187) * r + 1.0
    else:
        r -= 5.0
        top = (
            ((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 0.0012426609473880784386) * r
            + 0.026532189526576123093
        ) * r + 0.29656057182850489123
        top = ((top * r + 1.7848265399172913358) * r + 5.4637849111641143699) * r + 6.6579046435011037772
        bottom = (
            ((2.04426310338993978564e-15 * r + 1.4215117583164458887e-7) * r + 1.8463183175100546818e-5) * r
            + 7.868691311456132591e-4
        ) * r + 0.0148753612908506148525
        bottom = ((bottom * r + 0.13692988092273580531) * r + 0.59983220655588793769) * r + 1.0
    return math.copysign(top / bottom, q)


@njit(cache=True, error_model="numpy")
def near_normal(u: float, mean: float, variance: float, third: float) -> int:
    """Quantile of a whole number with this mean, variance and third central moment, where the variance is large."""
    z = normal_quantile(u)
    return math.floor(mean + math.sqrt(variance) * z + third / (6.0 * variance) * (z * z - 1.0) + 0.5)


@njit(cache=True, error_model="numpy")
def inversion(u: float, log_none: float, a: float, b: float) -> int:
    """Quantile of a number whose chances are P(k) = P(k - 1) (a + b / k): binomial, Poisson, negative binomial.

    Counted from the upper tail, whose digits a rare event needs.
    """
    k, tail = 0, -math.expm1(log_none)
    chance = 1.0 - tail
    while u < tail and chance > 1e-30:  # what rounding leaves of the tail is no chance
        k += 1
        chance *= a + b / k
        tail -= chance
    return k


@njit(cache=True, error_model="numpy")
def stirling(k: float) -> float:
    """What Stirling's formula (k + 1/2) ln(k + 1) - (k + 1) + ln(2 pi) / 2 lacks of ln k!, to 1e-10."""
    short = 0.0
    while k < 9.0:  # ln k! = ln (k + 1)! - ln(k + 1)
        short += (k + 1.5) * math.log1p(1.0 / (k + 1.0)) - 1.0
        k += 1.0
    r = 1.0 / ((k + 1.0) * (k + 1.0))
    return short + (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - r / 1680.0) * r) * r) / (k + 1.0)


@njit(cache=True, error_model="numpy")
def poisson(luck: Luck, mean: float) -> int:
    """A Poisson number (Hormann 1993, algorithm PTRS)."""
    if mean < FEW:
        u = uniform(luck)
        return 0 if u >= mean else inversion(u, -mean, 0.0, mean)
    if mean >= LARGE:
        return near_normal(uniform(luck), mean, mean, mean)
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha, squeeze = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u, v = coarse(luck) - 0.5, coarse(luck)
        us = 0.5 - abs(u)
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= squeeze:
            return int(k)
        if k < 0 or (us < 0.013 and v > us):
            continue
        chance = (k + 0.5) * math.log(mean / (k + 1.0)) - 0.5 * math.log(2.0 * math.pi * mean) + k + 1.0 - mean
        if math.log(v * inverse_alpha / (a / (us * us) + b)) <= chance - stirling(k):
            return int(k)


@njit(cache=True, error_model="numpy")
def binomial(luck: Luck, n: int, p: float) -> int:
    """How many of n cells have something happen to them that each has with chance p (Hormann 1993, algorithm BTRS)."""
    if n <= 0 or p <= 0.0:
        return 0
    if p >= 1.0:
        return n
    if p > 0.5:
        return n - binomial(luck, n, 1.0 - p)
    mean, q = n * p, 1.0 - p
    if mean < FEW:
        u = uniform(luck)
        return 0 if u >= mean else min(n, inversion(u, n * math.log1p(-p), -p / q, (n + 1.0) * p / q))
    if mean * q >= LARGE:
        return near_normal(uniform(luck), mean, mean * q, mean * q * (q - p))
    spread = math.sqrt(mean * q)
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    squeeze, alpha = 0.92 - 4.2 / b, (2.83 + 5.1 / b) * spread
    m = math.floor((n + 1.0) * p)
    while True:
        u, v = coarse(luck) - 0.5, coarse(luck)
        us = 0.5 - abs(u)
        k = math.floor((2.0 * a / us + b) * u + mean + 0.5)
        if us >= 0.07 and v <= squeeze:
            return int(k)
        if k < 0 or k > n:
            continue
        # ln P(k) - ln P(m), written so that it keeps its digits at 1e15 cells
        rest = n - k + 1.0
        chance = (m + 0.5) * math.log((m + 1.0) / (k + 1.0)) + (n - m + 0.5) * math.log1p((k - m) / rest)
        chance += (k - m) * math.log(rest * p / ((k + 1.0) * q))
        chance += stirling(m) - stirling(k) + stirling(n - m) - stirling(n - k)
        if math.log(v * alpha / (a / (us * us) + b)) <= chance:
            return int(k)


@njit(cache=True, error_model="numpy")
def gamma(luck: Luck, shape: float) -> float:
    """A gamma number of a shape of 1 or more (Marsaglia and Tsang 2000)."""
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = normal_quantile(uniform(luck))
        v = 1.0 + c * x
        if v > 0.0:
            v = v * v * v
            if math.log(uniform(luck)) < 0.5 * x * x + d - d * v + d * math.log(v):
                return d * v


@njit(cache=True, error_model="numpy")
def negative_binomial(luck: Luck, n: int, more: float) -> int:
    """Sum of n geometric numbers k = 0, 1, 2, ... with chances (1 - more) more^k."""
    if n <= 0 or more <= 0.0:
        return 0
    mean = n * more / (1.0 - more)
    if mean < FEW:
        u = uniform(luck)
        return 0 if u >= mean else inversion(u, n * math.log1p(-more), more, (n - 1.0) * more)
    return poisson(luck, gamma(luck, float(n)) * more / (1.0 - more))


@njit(cache=True, error_model="numpy")
def survivors(luck: Luck, cells: NDArray[np.int64], p: float) -> NDArray[np.int64]:
    """How many of each of these numbers of cells (of any shape) are left if each cell is with probability p."""
    left = np.empty_like(cells)
    for i, n in np.ndenumerate(cells):
        left[i] = binomial(luck, int(n), p)
    return left
