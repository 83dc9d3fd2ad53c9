"""The emulator, and how likely published figures are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import expit

from escape_abm.evidence.emulator import fit_emulator
from escape_abm.evidence.targets import Data, design, log_likelihood
from tests.evidence.test_calibration import MEDIAN, SHARE, Floats

FAMILY = np.zeros(1, dtype=int)


def surface(x: Floats) -> Floats:
    """Logits that are a quadratic of two parameters."""
    u, v = 2 * x[:, 0] - 1, 2 * x[:, 1] - 1
    return -0.5 + 1.5 * u - 0.8 * v + 0.7 * u * v - 0.4 * v**2


def shares(x: Floats, n: int, seed: int, extra: float = 0.0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    p = expit(surface(x) + extra * rng.standard_normal(len(x)))
    return (rng.binomial(n, p) / n)[:, None], np.full((len(x), 1), float(n))


@pytest.mark.statistical
def test_emulator_finds_a_quadratic() -> None:
    x = design(400, 2, 1)
    emulator = fit_emulator(x, *shares(x, 30, 2), SHARE)
    new = design(256, 2, 7)
    off = emulator.predict(new)[:, 0] - surface(new)
    assert np.abs(off).mean() < 0.1  # 12 000 patients tell 6 coefficients to about 0.05
    assert emulator.lack_of_fit[0] < 0.2


@pytest.mark.statistical
def test_emulator_sees_its_lack_of_fit() -> None:
    """Runs that scatter by 0.6 about the surface beyond sampling: found, not taken for noise."""
    x = design(600, 2, 1)
    assert fit_emulator(x, *shares(x, 100, 3, extra=0.6), SHARE).lack_of_fit[0] == pytest.approx(0.6, abs=0.12)
    logs = surface(x) + np.random.default_rng(1).normal(0, np.hypot(0.1, 0.3), len(x))
    fitted = fit_emulator(x, logs[:, None], np.full((len(x), 1), 0.1**-2), MEDIAN)
    assert fitted.lack_of_fit[0] == pytest.approx(0.3, abs=0.05)


def test_an_endpoint_that_hardly_any_run_can_tell_judges_nothing() -> None:
    x = design(64, 2, 1)
    estimates, n = shares(x, 30, 2)
    n[10:] = 0
    emulator = fit_emulator(x, estimates, n, SHARE)
    assert np.isinf(emulator.lack_of_fit[0])
    data = Data(
        np.array([3.0]), np.array([10.0]), np.array([math.nan]), np.array([math.nan]), np.ones(1), SHARE, FAMILY
    )
    assert log_likelihood(emulator.predict(x), emulator.lack_of_fit, data).tolist() == [[0.0]] * 64


def test_likelihood_is_binomial_about_a_normal_logit() -> None:
    """Against numerical integration; and normal for medians."""
    for k, n, sd in ((7.0, 20.0, 0.5), (0.0, 20.0, 1.0), (497.0, 578.0, 1.5)):  # the last is narrow against its normal
        data = Data(np.array([k]), np.array([n]), np.array([math.nan]), np.array([math.nan]), np.ones(1), SHARE, FAMILY)
        best = stats.binom.logpmf(k, n, k / n)
        z = np.linspace(-9, 9, 100_001)
        for logit in (-3.0, -0.6, 1.0):
            each = stats.binom.pmf(k, n, expit(logit + sd * z)) * stats.norm.pdf(z)
            found = log_likelihood(np.array([[logit]]), np.array([sd]), data)[0, 0]
            assert found == pytest.approx(math.log(integrate.trapezoid(each, z)) - best, abs=4e-3)
    k, n = 7.0, 20.0
    data = Data(np.array([k]), np.array([n]), np.array([math.nan]), np.array([math.nan]), np.ones(1), SHARE, FAMILY)
    at = log_likelihood(np.array([[math.log(k / n / (1 - k / n))]]), np.zeros(1), data)
    assert at[0, 0] == pytest.approx(0, abs=1e-12)
    median = Data(np.array([0.5]), np.ones(1), np.array([2.0]), np.array([0.3]), np.array([0.5]), MEDIAN, FAMILY)
    off = log_likelihood(np.array([[2.5]]), np.array([0.4]), median)
    density = stats.norm.logpdf(0.5, scale=0.5) - stats.norm.logpdf(0, scale=0.3)  # of a median that is met exactly: 0
    assert off[0, 0] == pytest.approx(0.5 * density)


def test_nothing_published_is_certain() -> None:
    """None of 20 and all of 20 have a likelihood at every share."""
    logits = np.array([[-3.0, 3.0]])
    none = np.full(2, math.nan)
    data = Data(
        np.array([0.0, 20.0]), np.full(2, 20.0), none, none, np.ones(2), np.ones(2, dtype=bool), np.zeros(2, dtype=int)
    )
    assert log_likelihood(logits, np.zeros(2), data)[0] == pytest.approx([20 * math.log(expit(3))] * 2)
