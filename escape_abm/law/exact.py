"""Exact laws of branching processes, in the notation of the design.

b birth and d death per cell and day, q = d / b, s = 1 - q the probability that one cell's line survives for ever,
r = b - d, u mutations per division, M cells. Nothing here depends on the rest of the package.

A mutation leaves one mutated and one unmutated daughter. Laws 3 to 6 are limits of large M and small u with u M fixed;
what they neglect is of relative order u and 1 / M.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import integrate

# ------------------------------------------------------------------------------------- 1, 2: one cell's descendants


def extinct(b: float, d: float, t: float) -> float:
    """Chance that one cell has no descendants after a time t (Kendall 1948)."""
    shrunk = math.exp(-(b - d) * t)
    return d * (1 - shrunk) / (b - d * shrunk)


def mean_descendants(b: float, d: float, t: float) -> float:
    """Mean number of descendants of one cell."""
    return math.exp((b - d) * t)


def variance_descendants(b: float, d: float, t: float) -> float:
    """Variance of the number of descendants of one cell."""
    grown = math.exp((b - d) * t)
    return (b + d) / (b - d) * grown * (grown - 1)


def fourth_central_moment_descendants(b: float, d: float, t: float) -> float:
    """Fourth central moment: none with chance P0, otherwise geometric, 1 2 3 ..., with mean e^(rt) / (1 - P0)."""
    none, mean = extinct(b, d, t), mean_descendants(b, d, t)
    p = 1 - (1 - none) / mean
    n = np.arange(1, math.ceil(math.log(1e-30) / math.log(p)))
    return none * mean**4 + float(np.sum((1 - none) * (1 - p) * p ** (n - 1) * (n - mean) ** 4))


def extinct_under_kill(
    b: float, d: float, kill: Callable[[NDArray[np.float64]], NDArray[np.float64]], t: float
) -> float:
    """The same under a kill hazard that changes in time (Kendall 1948): 1 - 1 / (e^rho(t) + int_0^t b e^rho(x) dx).

    rho(t) = int_0^t (d + kill - b).
    """
    x = np.linspace(0, t, 20_001)
    rho = integrate.cumulative_simpson(d + kill(x) - b, x=x, initial=0)
    return 1 - 1 / (math.exp(rho[-1]) + float(integrate.simpson(b * np.exp(rho), x=x)))


# ---------------------------------------------------------------------------------------- 3, 4, 5, 6: mutants


def no_mutant_at_size(b: float, d: float, u: float, m: float) -> float:
    """Chance that a population grown from one cell to M has no living mutant (Iwasa, Nowak and Michor 2006)."""
    s = 1 - d / b
    return math.exp(u * m * math.log(s) / (1 - s))


def mutants_at_size(b: float, d: float, u: float, m: float, numbers: int) -> NDArray[np.float64]:
    """Chances of 0, 1, ..., numbers - 1 neutral mutants at size M.

    The probability generating function exp(-u M (1-z)/(z-q) ln(s/(1-z))) is inverted by a Fourier transform over a
    circle; its radius makes what wraps around smaller than 1e-10.
    """
    q = d / b
    points = 8 * numbers
    radius = 10 ** (-10 / points)
    z = radius * np.exp(2j * np.pi * np.arange(points) / points)
    values = np.exp(-u * m * (1 - z) / (z - q) * np.log((1 - q) / (1 - z)))
    k = np.arange(numbers)
    return np.asarray((np.fft.fft(values) / points).real[:numbers] / radius**k)


def no_double_mutant_at_size(b: float, d: float, u1: float, u2: float, m: float, *, as_switch: bool = False) -> float:
    """Chance of no living cell with two hits at size M.

    f(t), the chance that a cell with one hit has no descendant with two after t, is solved numerically; first hits
    fall on a population that grows exponentially, of which the fraction s of all births is lost.

    Args:
        b, d, u1, u2, m: As above, u1 and u2 for the first and the second hit.
        as_switch: Mutation not as a fate of a division but as a change of one cell at rate b u2.
    """

    def slope(t: float, f: NDArray[np.float64]) -> NDArray[np.float64]:
        none = extinct(b, d, t)
        if as_switch:
            return d - (b + d + b * u2) * f + b * f**2 + b * u2 * none
        return d - (b + d) * f + b * (1 - u2) * f**2 + b * u2 * f * none

    r = b - d
    end = math.log(m) / r
    f = integrate.solve_ivp(slope, (0, end), [1.0], rtol=1e-10, atol=1e-14, dense_output=True).sol
    # The integral over sizes x from 1 to M, in terms of the time t = ln(M / x) / r that is left.
    total, _ = integrate.quad(lambda t: (1 - f(t)[0]) * r * m * math.exp(-r * t), 0, end, epsrel=1e-9, limit=500)
    return math.exp(-u1 / (1 - d / b) * total)


def no_mutant_survives_decline(b: float, d: float, u: float, m: float, extra_death: float) -> float:
    """Chance that M cells which die out leave no mutant line that lives on: exp(M u s / s'), s' = 1 - d'/b < 0.

    The cells die at d' = d + extra_death, their mutants at d.
    """
    return math.exp(m * u * (1 - d / b) / (1 - (d + extra_death) / b))


# ---------------------------------------------------------------------------------------------- 7: time to a size


def time_to_size(b: float, d: float, m: float) -> tuple[float, float]:
    """Mean and standard deviation of the time from one cell, whose line survives, to M cells.

    Given survival, e^(-rt) times the number of cells tends to an exponential variable with mean 1/s, so the time is
    Gumbel distributed.
    """
    r = b - d
    return (math.log(m * (1 - d / b)) + np.euler_gamma) / r, math.pi / (r * math.sqrt(6))


GUMBEL_KURTOSIS = 3 + 12 / 5
