"""Survival estimates against tables worked by hand, identities, and the coverage of their intervals."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from escape_abm.trials.survival import (
    Z,
    cumulative_incidence,
    cumulative_incidence_at,
    cumulative_incidence_at_each,
    kaplan_meier,
    measured_proportion,
    median,
    paired_difference,
    proportion,
    survival_at,
    survival_at_each,
)

FALSE_ALARM = 1e-3
"""Chance that a coverage test fails although the coverage is 95 %."""

SIX_MP = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
SIX_MP_RELAPSE = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
"""Weeks in remission under 6-mercaptopurine (Freireich 1963); relapse or censored."""

DAYS = [1, 2, 2, 2, 2, 3, 4, 4, 5, 6]
CAUSES = [1, 1, 1, 2, 0, 0, 2, 1, 2, 0]
"""Ten patients with ties between causes, within a cause, and with censoring."""


def squared_error(table: pd.DataFrame) -> NDArray[np.float64]:
    """Variance of the estimate, taken back from its log(-log) interval."""
    f = table["estimate"].to_numpy()
    width = np.log(np.log(table["lower"]) / np.log(f)) / Z
    return np.asarray((width * f * np.log(f)) ** 2)


def closed_variance(days: list[int], causes: list[int], cause: int, until: int) -> Fraction:
    """The three sums of the delta method (Marubini and Valsecchi 1995), in fractions."""
    times = [t for t in sorted(set(days)) if t <= until]
    s, f, rows = Fraction(1), Fraction(0), []
    for t in times:
        n = sum(d >= t for d in days)
        every = sum(d == t and c > 0 for d, c in zip(days, causes, strict=True))
        mine = sum(d == t and c == cause for d, c in zip(days, causes, strict=True))
        f += s * Fraction(mine, n)
        rows.append((n, every, mine, s, f))
        s *= 1 - Fraction(every, n)
    total = Fraction(0)
    for n, every, mine, before, then in rows:
        if f != then:
            total += (f - then) ** 2 * Fraction(every, n * (n - every))
        total += before**2 * Fraction(mine * (n - mine), n**3) - 2 * (f - then) * before * Fraction(mine, n**2)
    return total


def test_kaplan_meier_is_the_textbook_curve() -> None:
    table = kaplan_meier(SIX_MP, SIX_MP_RELAPSE).set_index("day")
    steps = {6: (3, 21), 7: (1, 17), 10: (1, 15), 13: (1, 12), 16: (1, 11), 22: (1, 7), 23: (1, 6)}
    survival, greenwood = Fraction(1), Fraction(0)
    for day, (died, risk) in steps.items():
        survival *= 1 - Fraction(died, risk)
        greenwood += Fraction(died, risk * (risk - died))
        row = table.loc[day]
        assert row["estimate"] == pytest.approx(float(survival), abs=1e-12)
        assert row["at_risk"] == risk
        width = math.exp(Z * math.sqrt(greenwood) / -math.log(survival))
        assert row["lower"] == pytest.approx(float(survival) ** width, abs=1e-12)
        assert row["upper"] == pytest.approx(float(survival) ** (1 / width), abs=1e-12)
    printed = [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    assert table.loc[list(steps), "estimate"].round(3).tolist() == printed
    assert survival_at(SIX_MP, SIX_MP_RELAPSE, 21.9).estimate == pytest.approx(0.627, abs=5e-4)
    assert survival_at(SIX_MP, SIX_MP_RELAPSE, 35).n == 21


def test_incidence_with_ties_is_the_one_worked_by_hand() -> None:
    # Day 1: 1 of 10. Day 2, S = 9/10: 2 and 1 of 9. Day 4, S = 6/10: 1 and 1 of 4. Day 5, S = 3/10: cause 2, 1 of 2.
    first = {
        0: Fraction(0),
        1: Fraction(1, 10),
        2: Fraction(3, 10),
        3: Fraction(3, 10),
        4: Fraction(9, 20),
        5: Fraction(9, 20),
        6: Fraction(9, 20),
    }
    second = {
        0: Fraction(0),
        1: Fraction(0),
        2: Fraction(1, 10),
        3: Fraction(1, 10),
        4: Fraction(1, 4),
        5: Fraction(2, 5),
        6: Fraction(2, 5),
    }
    table = cumulative_incidence(DAYS, CAUSES)
    for cause, by_hand in ((1, first), (2, second)):
        mine = table[table["cause"] == cause]
        assert mine["day"].tolist() == list(by_hand)
        np.testing.assert_allclose(mine["estimate"], [float(f) for f in by_hand.values()], atol=1e-15)
        for day, f in by_hand.items():
            assert cumulative_incidence_at(DAYS, CAUSES, cause, day).estimate == pytest.approx(float(f), abs=1e-15)
        inside = mine[mine["estimate"] > 0]
        expected = [float(closed_variance(DAYS, CAUSES, cause, day)) for day in inside["day"]]
        np.testing.assert_allclose(squared_error(inside), expected, rtol=1e-10)
    # Day 2 is still a plain binomial share: 3 of 10.
    assert closed_variance(DAYS, CAUSES, 1, 2) == Fraction(3, 10) * Fraction(7, 10) / 10


def trial(rng: np.random.Generator, n: int, ties: bool = False) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Exponential competing risks, 0.02 and 0.01 a day, with censoring; read once a week if there are ties."""
    event = rng.exponential(1 / 0.03, n)
    cause = 1 + (rng.random(n) < 1 / 3)
    censored = rng.uniform(5, 100, n)
    if ties:
        event, censored = 7 * np.ceil(event / 7), 7 * np.ceil(censored / 7)
    return np.minimum(event, censored), np.where(event <= censored, cause, 0)


@pytest.mark.parametrize("ties", [False, True])
def test_incidences_and_survival_add_up(ties: bool) -> None:
    days, cause = trial(np.random.default_rng(1), 150, ties)
    table = cumulative_incidence(days, cause)
    survival = kaplan_meier(days, cause > 0)
    summed = table.groupby("day")["estimate"].sum()
    np.testing.assert_array_equal(summed.index, survival["day"])
    np.testing.assert_allclose(summed.to_numpy() + survival["estimate"].to_numpy(), 1, atol=1e-12)
    for frame in (table, survival):
        assert frame.notna().all(axis=None)
        assert ((frame["lower"] >= 0) & (frame["lower"] <= frame["estimate"])).all()
        assert ((frame["estimate"] <= frame["upper"]) & (frame["upper"] <= 1)).all()


def test_without_censoring_incidence_is_the_share_of_patients() -> None:
    rng = np.random.default_rng(2)
    n = 60
    days, cause = np.ceil(rng.exponential(20, n)), rng.integers(1, 4, n)
    table = cumulative_incidence(days, cause)
    shares = [np.mean((days <= row.day) & (cause == row.cause)) for row in table.itertuples()]
    np.testing.assert_allclose(table["estimate"], shares, atol=1e-12)
    inside = table[table["estimate"] > 0]
    p = inside["estimate"].to_numpy()
    np.testing.assert_allclose(squared_error(inside), p * (1 - p) / n, rtol=1e-9)


def test_one_cause_has_the_greenwood_variance() -> None:
    days, cause = trial(np.random.default_rng(3), 80, ties=True)
    incidence = cumulative_incidence(days, cause > 0)
    survival = kaplan_meier(days, cause > 0)
    inside = incidence["estimate"].between(0, 1, inclusive="neither")
    np.testing.assert_allclose(squared_error(incidence[inside]), squared_error(survival[inside]), rtol=1e-9)


def test_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    days, cause = trial(rng, 90, ties=True)
    shuffled = rng.permutation(90)
    pd.testing.assert_frame_equal(
        cumulative_incidence(days, cause), cumulative_incidence(days[shuffled], cause[shuffled])
    )
    pd.testing.assert_frame_equal(kaplan_meier(days, cause > 0), kaplan_meier(days[shuffled], cause[shuffled] > 0))


def covers(hits: int, n: int) -> bool:
    """Whether a count of intervals that hold the truth fits a coverage of 95 %."""
    return bool(stats.binomtest(hits, n, 0.95).pvalue >= FALSE_ALARM)


def halved(estimate: float, bound: float) -> float:
    """Where the bound would be with half the standard error."""
    g, h = math.log(-math.log(estimate)), math.log(-math.log(bound))
    return math.exp(-math.exp((g + h) / 2))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.statistical
def test_intervals_of_curves_cover_the_truth(ties: bool) -> None:
    rng = np.random.default_rng(5)
    day, sets = 42, 400
    survival = math.exp(-0.03 * day)
    truth = 2 / 3 * (1 - survival)
    hits = hits_survival = hits_halved = 0
    for _ in range(sets):
        days, cause = trial(rng, 100, ties)
        f = cumulative_incidence_at(days, cause, 1, day)
        s = survival_at(days, cause > 0, day)
        hits += f.lower <= truth <= f.upper
        hits_survival += s.lower <= survival <= s.upper
        hits_halved += halved(f.estimate, f.lower) <= truth <= halved(f.estimate, f.upper)
    assert covers(hits, sets)
    assert covers(hits_survival, sets)
    assert not covers(hits_halved, sets)


def test_paired_difference_is_the_one_worked_by_hand() -> None:
    # 10 patients under both, 6 under the first only, 2 under the second only, 2 under neither: 16/20 - 12/20.
    first, second = [1] * 16 + [0] * 4, [1] * 10 + [0] * 6 + [1] * 2 + [0] * 2
    d = paired_difference(first, second)
    variance = (Fraction(9, 22) - Fraction(4, 22) ** 2) / 22
    assert d.difference == pytest.approx(0.2, abs=1e-15)
    assert d.lower == pytest.approx(4 / 22 - Z * math.sqrt(variance), abs=1e-12)
    assert d.upper == pytest.approx(4 / 22 + Z * math.sqrt(variance), abs=1e-12)
    assert d.n == 20
    assert d.unpaired_n == pytest.approx(
        float((Fraction(17 * 5, 22**2) + Fraction(13 * 9, 22**2)) / variance), rel=1e-12
    )
    back = paired_difference(second, first)
    assert (back.difference, back.lower, back.upper) == (-d.difference, -d.upper, -d.lower)


@pytest.mark.statistical
def test_paired_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(6)
    sets, cells = 2000, (0.35, 0.25, 0.1, 0.3)
    hits = hits_halved = 0
    for _ in range(sets):
        table = rng.choice(4, size=100, p=cells)
        d = paired_difference(table <= 1, table % 2 == 0)
        centre, half = (d.lower + d.upper) / 2, (d.upper - d.lower) / 2
        hits += abs(centre - 0.15) <= half
        hits_halved += abs(centre - 0.15) <= half / 2
    assert covers(hits, sets)
    assert not covers(hits_halved, sets)


def test_pairing_saves_patients_only_where_arms_agree() -> None:
    rng = np.random.default_rng(7)
    n = 20_000
    first, second = rng.random((2, n)) < np.array([[0.6], [0.4]])
    # Independent arms: the sampling error of their covariance is about 2 % of the variance at three standard errors.
    assert paired_difference(first, second).unpaired_n == pytest.approx(n, rel=0.03)
    shared = rng.random(n)
    assert paired_difference(shared < 0.6, shared < 0.5).unpaired_n > 4 * n


def test_proportion_is_clopper_pearson() -> None:
    p = proportion(3, 10)
    assert p[0] == 0.3
    assert p[1:] == pytest.approx((stats.beta.ppf(0.025, 3, 8), stats.beta.ppf(0.975, 4, 7), 10), abs=1e-9)
    none = proportion(0, 0)
    assert np.isnan(none[:3]).all()
    assert none.n == 0


NONE_OF_TEN = 1 - 0.025**0.1


def test_a_cause_that_never_happens_has_an_exact_upper_bound() -> None:
    f = cumulative_incidence_at(range(1, 11), [1] * 10, 2, 20)
    assert f == pytest.approx((0, 0, NONE_OF_TEN, 10), abs=1e-9)
    assert round(f.upper, 3) == 0.308
    gap = cumulative_incidence([1, 2, 3], [1, 3, 0])
    assert gap.groupby("cause")["estimate"].max().to_list() == pytest.approx([1 / 3, 0, 1 / 3])


def test_all_events_on_one_day() -> None:
    assert survival_at([5] * 10, [True] * 10, 4) == pytest.approx((1, 1 - NONE_OF_TEN, 1, 10), abs=1e-9)
    assert survival_at([5] * 10, [True] * 10, 5) == pytest.approx((0, 0, NONE_OF_TEN, 10), abs=1e-9)
    assert survival_at([5] * 10, [True] * 10, math.inf).estimate == 0
    certain = cumulative_incidence_at([5] * 10, [1] * 10, 1, 5)
    assert certain == pytest.approx((1, 1 - NONE_OF_TEN, 1, 10), abs=1e-9)
    shared = cumulative_incidence_at([5] * 10, [1] * 3 + [2] * 7, 1, 5)
    assert shared.estimate == pytest.approx(0.3, abs=1e-15)


def test_an_incidence_that_rounds_to_less_than_one_is_certain() -> None:
    # Sums of many steps end at 1 only up to rounding, where the transform would give an interval from 0 to 1.
    for n in range(2, 60):
        last = cumulative_incidence(np.arange(n), np.ones(n)).iloc[-1]
        assert last["estimate"] == 1
        assert last["lower"] == pytest.approx(0.025 ** (1 / n), abs=1e-9)


def test_everyone_censored() -> None:
    days, never = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [0] * 10
    assert kaplan_meier(days, never)["estimate"].eq(1).all()
    assert kaplan_meier(days, never).notna().all(axis=None)
    assert survival_at(days, never, 2) == pytest.approx((1, 1 - NONE_OF_TEN, 1, 10), abs=1e-9)
    # By day 12 nine were censored: what is left is one patient without an event.
    assert survival_at(days, never, 12) == pytest.approx((1, 0.025, 1, 10), abs=1e-9)
    table = cumulative_incidence(days, never)
    assert table["cause"].tolist() == [1] * 11
    assert table["estimate"].eq(0).all()
    followed = np.array([10, *range(10, 0, -1)])  # patients not censored before each day
    assert table["upper"].to_numpy() == pytest.approx(1 - 0.025 ** (1 / followed), abs=1e-9)


def test_follow_up_must_reach_the_day() -> None:
    assert survival_at([1, 2, 8], [1, 1, 0], 8).estimate == pytest.approx(1 / 3)
    for e in (survival_at([1, 2, 8], [1, 1, 0], 8.1), cumulative_incidence_at([1, 2, 8], [1, 1, 0], 1, 8.1)):
        assert np.isnan(e[:3]).all()
        assert e.n == 3
    # A patient censored on the day of the last event is still there.
    assert math.isnan(survival_at([1, 8, 8], [1, 1, 0], 9).estimate)
    # When the last patient had an event there is nobody left to follow.
    assert survival_at([1, 2, 8], [0, 1, 1], 100).estimate == 0
    assert cumulative_incidence_at([1, 2, 8], [0, 1, 2], 1, 100).estimate == pytest.approx(1 / 2)


def test_one_patient() -> None:
    assert survival_at([4], [True], 4) == pytest.approx((0, 0, 0.975, 1), abs=1e-9)
    assert cumulative_incidence_at([4], [2], 2, 4) == pytest.approx((1, 0.025, 1, 1), abs=1e-9)
    d = paired_difference([True], [False])
    assert (d.difference, d.n) == (1, 1)
    assert -1 <= d.lower < d.upper <= 1


def test_events_on_day_zero_count_from_day_zero() -> None:
    assert kaplan_meier([0, 0, 2, 3], [1, 0, 1, 1])["estimate"].tolist() == pytest.approx([1, 0.75, 0.375, 0])
    assert survival_at([0, 0, 2, 3], [1, 0, 1, 1], 0).estimate == pytest.approx(0.75)
    assert cumulative_incidence_at([0, 0, 2, 3], [1, 0, 2, 1], 1, 0).estimate == pytest.approx(0.25)


def test_empty_samples() -> None:
    assert kaplan_meier([], []).columns.tolist() == ["day", "estimate", "lower", "upper", "at_risk"]
    assert cumulative_incidence([], []).columns.tolist() == ["cause", "day", "estimate", "lower", "upper"]
    for e in (survival_at([], [], 3), cumulative_incidence_at([], [], 1, 3)):
        assert np.isnan(e[:3]).all()
        assert e.n == 0
    d = paired_difference([], [])
    assert d.n == 0
    assert np.isnan([d.difference, d.lower, d.upper, d.unpaired_n]).all()


def test_bad_input_is_refused_with_value_rule_and_way_out() -> None:
    with pytest.raises(ValueError, match=r"duration_days=-1 in row 1: must be finite and at least 0; repair or drop"):
        kaplan_meier([1, -1], [True, True])
    with pytest.raises(ValueError, match=r"duration_days=nan in row 0: must be finite"):
        cumulative_incidence([math.nan, 1], [1, 1])
    with pytest.raises(ValueError, match=r"duration_days has 2 rows, event has 3: must be the same patients; take"):
        survival_at([1, 2], [1, 0, 1], 1)
    with pytest.raises(ValueError, match=r"event=2 in row 1: must be True or False"):
        kaplan_meier([1, 2], [1, 2])
    for bad in (-1, 0.5, math.inf):
        with pytest.raises(
            ValueError, match=rf"cause={bad:g} in row 1: must be 0 \(censored\) or the number of a cause"
        ):
            cumulative_incidence([1, 2], [1, bad])
    with pytest.raises(ValueError, match=r"duration_days has shape \(1, 2\): .* pass one column"):
        kaplan_meier([[1, 2]], [[1, 0]])
    with pytest.raises(ValueError, match=r"which=0: must be at least 1"):
        cumulative_incidence_at([1], [1], 0, 1)
    for day in (-1, math.nan):
        with pytest.raises(ValueError, match=rf"day={day}: must be at least 0"):
            survival_at([1], [1], day)
    with pytest.raises(ValueError, match=r"first has 1 rows, second has 2"):
        paired_difference([True], [True, False])
    with pytest.raises(ValueError, match=r"second=nan in row 0: must be True or False"):
        paired_difference([True], [math.nan])
    with pytest.raises(ValueError, match=r"events=3 of n=2: must lie between 0 and n; count"):
        proportion(3, 2)


def test_standard_errors_without_censoring_are_those_of_a_share() -> None:
    days, cause = list(range(1, 21)), [1] * 8 + [2] * 12
    for day, share in ((5, 0.25), (8, 0.4)):
        expected = math.sqrt(share * (1 - share) / 20)
        (died,) = survival_at_each(days, [1] * 20, [day])
        (incidence,) = cumulative_incidence_at_each(days, cause, 1, [day])
        assert died.standard_error == pytest.approx(expected)
        assert incidence.standard_error == pytest.approx(expected)
        assert measured_proportion(round(20 * share), 20).standard_error == pytest.approx(expected)


def test_greenwood_on_the_6_mp_arm() -> None:
    """Freireich 1963, worked by hand: at 10 weeks 0.7529 with a standard error of 0.0963 (Collett 2015)."""
    (found,) = survival_at_each(SIX_MP, SIX_MP_RELAPSE, [10])
    assert found.estimate.estimate == pytest.approx(0.7529, abs=5e-5)
    assert found.standard_error == pytest.approx(0.0963, abs=5e-5)


def test_the_standard_error_of_a_certain_estimate_comes_from_its_interval() -> None:
    for found in (measured_proportion(0, 10), *survival_at_each([5] * 10, [1] * 10, [4])):
        estimate, width = found.estimate, found.estimate.upper - found.estimate.lower
        assert estimate.estimate in (0, 1)
        assert found.standard_error == pytest.approx(width / (2 * 1.959964), rel=1e-6)
    assert math.isnan(measured_proportion(0, 0).standard_error)


def test_the_interval_of_a_median_lies_between_order_statistics() -> None:
    """Of ten values the second and the ninth; of five there is none (tables of Conover 1999)."""
    assert median(np.arange(10.0, 0.0, -1.0)) == (5.5, 2.0, 9.0, 10)
    assert median(np.arange(20.0)) == (9.5, 5.0, 14.0, 20)
    of_five = median(np.arange(5.0))
    assert of_five.estimate == 2
    assert np.isnan(of_five[1:3]).all()
