"""Time-to-event estimates of a trial arm: Kaplan-Meier, Aalen-Johansen, proportions, and paired differences of arms.

Durations are days since the origin of the endpoint, one per patient. All intervals are two-sided, 95 %, and pointwise:
they hold at one day, not for a whole curve. Every function takes columns and returns a table or a named tuple. An empty
sample gives a table without rows, or nan with n = 0.

While nobody or everybody has had the event, the variance of a curve is zero and of no use. The interval there is the
exact binomial one on the patients who were not censored before that day, as if the others had never been in the trial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special  # not its statistics, which take a second to import

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

Curve = tuple[Floats, Floats, Floats, Floats, Floats]
"""Days, and on each of them the estimate, its bounds and its standard error."""

LEVEL = 0.95
Z = float(special.ndtri((1 + LEVEL) / 2))


class Estimate(NamedTuple):
    """An estimate with its 95 % interval, from n patients."""

    estimate: float
    lower: float
    upper: float
    n: int


class Measured(NamedTuple):
    """An estimate and its standard error: its Monte Carlo error, as virtual patients can be as many as one likes."""

    estimate: Estimate
    standard_error: float


class Difference(NamedTuple):
    """A paired difference of proportions with its 95 % interval, from n patients seen under both arms."""

    difference: float
    lower: float
    upper: float
    n: int
    unpaired_n: float
    """Patients per arm with which an unpaired comparison would have the same standard error."""
    standard_error: float = math.nan


@lru_cache(maxsize=10_000)  # short runs ask for few, and often
def _exact(events: int, n: int) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low = special.betaincinv(events, n - events + 1, tail) if events else 0.0
    high = special.betaincinv(events + 1, n - events, 1 - tail) if events < n else 1.0
    return float(low), float(high)


def percent(share: float) -> str:
    """A share in whole per cent, halves upwards, the same in tables and in pictures."""
    return f"{math.floor(100 * share + 0.5 + 1e-9):d}"


def median(values: Floats) -> Estimate:
    """Median of values, with the interval between order statistics that holds it in 95 % or more of samples."""
    n = values.size
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    ordered = np.sort(values)
    below = int(np.searchsorted(special.bdtr(np.arange(n + 1), n, 0.5), (1 - LEVEL) / 2))
    lower, upper = (math.nan, math.nan) if below == 0 else (ordered[below - 1], ordered[n - below])
    return Estimate(float(np.median(values)), float(lower), float(upper), n)


def proportion(events: int, n: int) -> Estimate:
    """Share of patients with an event, with the exact interval of Clopper and Pearson 1934."""
    if not 0 <= events <= n:
        raise ValueError(f"events={events} of n={n}: must lie between 0 and n; count events among these patients only")
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    return Estimate(float(events / n), *_exact(int(events), int(n)), int(n))


def measured_proportion(events: int, n: int) -> Measured:
    """`proportion` with its standard error."""
    found = proportion(events, n)
    share = found.estimate
    return Measured(found, _error(*found[:3], math.sqrt(share * (1 - share) / n) if n else math.nan))


def kaplan_meier(duration_days: ArrayLike, event: ArrayLike) -> pd.DataFrame:
    """Kaplan-Meier curve (Kaplan and Meier 1958) with log(-log) interval and Greenwood variance.

    A patient censored on the day of an event is still at risk for it. With events on day 0 there are two rows for that
    day: before and after them.

    Args:
        duration_days: Days to event or censoring, shape (patients,).
        event: True for an event, False for right-censored, shape (patients,).

    Returns:
        One row for day 0 and one for each distinct duration: `day`, `estimate`, `lower`, `upper`, and `at_risk`, the
        patients at risk just before.
    """
    days, had = _checked(duration_days, event, "event")
    n = days.size
    if n == 0:
        return pd.DataFrame({c: np.empty(0) for c in ("day", "estimate", "lower", "upper", "at_risk")})
    day, estimate, lower, upper, _ = _survival(days, had)
    at_risk = n - np.searchsorted(np.sort(days), day, side="left")
    return pd.DataFrame({"day": day, "estimate": estimate, "lower": lower, "upper": upper, "at_risk": at_risk})


def _survival(days: Floats, had: Integers) -> Curve:
    """The curve of `kaplan_meier`, with Greenwood's standard error."""
    day = np.unique(days)
    events: Floats = np.array([np.count_nonzero(had[days == d]) for d in day], dtype=np.float64)
    at_risk = days.size - np.searchsorted(np.sort(days), day, side="left")
    estimate: Floats = np.cumprod(1 - events / at_risk, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # all who were left had the event: the estimate is certain
        spread = np.sqrt(np.cumsum(events / (at_risk * (at_risk - events))))
        width = Z * spread / np.log(estimate)  # of the log(-log) of the estimate
        lower, upper = estimate ** np.exp(-width), estimate ** np.exp(width)
        error = estimate * spread
    first = ((0.0, day), (1.0, estimate), (1.0, lower), (1.0, upper), (0.0, error))
    day, estimate, lower, upper, error = (np.concatenate([[start], column]) for start, column in first)
    lower, upper = _fill_certain(estimate, lower, upper, _followed(days, had, day))
    return day, estimate, lower, upper, error


def survival_at(duration_days: ArrayLike, event: ArrayLike, day: float) -> Estimate:
    """`kaplan_meier` at one day, events on that day included; nan when follow-up ends earlier."""
    return survival_at_each(duration_days, event, [day])[0].estimate


def survival_at_each(duration_days: ArrayLike, event: ArrayLike, at_days: Sequence[float]) -> list[Measured]:
    """`survival_at` on several days, from one curve."""
    days, had = _checked(duration_days, event, "event")
    curve = _survival(days, had) if days.size else None
    return [_read(curve, day, days, had) for day in at_days]


def cumulative_incidence(duration_days: ArrayLike, cause: ArrayLike) -> pd.DataFrame:
    """Cumulative incidence of competing causes (Aalen and Johansen 1978), exact with ties.

    The variance is the delta-method one (Aalen 1978; for ties Marubini and Valsecchi 1995), which is p (1 - p) / n as
    long as nobody is censored. The interval is symmetric in log(-log(incidence)) (Choudhury 2002). A patient censored
    on the day of an event is still at risk for it.

    Args:
        duration_days: Days to event or censoring, shape (patients,).
        cause: 0 for right-censored, 1..k for the cause of the event, shape (patients,).

    Returns:
        For each cause from 1 to the largest seen (1 if none), one row for day 0 and one for each distinct duration:
        `cause`, `day`, `estimate`, `lower`, `upper`.
    """
    days, why = _checked(duration_days, cause, "cause")
    if days.size == 0:
        return pd.DataFrame({c: np.empty(0) for c in ("cause", "day", "estimate", "lower", "upper")})
    causes = max(1, int(why.max(initial=0)))
    day, *columns, _ = _incidence(days, why, causes)
    named = zip(("estimate", "lower", "upper"), columns, strict=True)
    table = pd.DataFrame({c: v.T.ravel() for c, v in named})
    table.insert(0, "cause", np.repeat(np.arange(1, causes + 1), day.size))
    table.insert(1, "day", np.tile(day, causes))
    return table


def cumulative_incidence_at(duration_days: ArrayLike, cause: ArrayLike, which: int, day: float) -> Estimate:
    """`cumulative_incidence` of cause `which` at one day, events on that day included; nan when follow-up ends earlier.

    The cause need not occur in the sample.
    """
    return cumulative_incidence_at_each(duration_days, cause, which, [day])[0].estimate


def cumulative_incidence_at_each(
    duration_days: ArrayLike, cause: ArrayLike, which: int, at_days: Sequence[float]
) -> list[Measured]:
    """`cumulative_incidence_at` on several days, from one curve."""
    days, why = _checked(duration_days, cause, "cause")
    if which < 1:
        raise ValueError(f"which={which}: must be at least 1, as 0 is censored; ask for the number of a cause")
    if days.size == 0:
        return [_read(None, day, days, why) for day in at_days]
    # Other causes only compete, so all of them count as cause 2.
    at, *columns = _incidence(days, np.where(why == 0, 0, np.where(why == which, 1, 2)), 1)
    curve = at, columns[0][:, 0], columns[1][:, 0], columns[2][:, 0], columns[3][:, 0]
    return [_read(curve, day, days, why) for day in at_days]


def paired_difference(first: ArrayLike, second: ArrayLike) -> Difference:
    """Difference of two proportions in the same patients, mean(first) - mean(second).

    The interval is Wald's after adding 0.5 to each cell of the paired table (Agresti and Min 2005), so it is centred a
    little nearer to 0 than the difference. `unpaired_n` uses the same adjusted table for both standard errors.

    Args:
        first: Outcome under the first arm, shape (patients,).
        second: Outcome of the same patients, in the same order, under the second arm, shape (patients,).
    """
    one, two = _column("first", first, 1, "True or False"), _column("second", second, 1, "True or False")
    _same_length("first", one.size, "second", two.size)
    if one.size == 0:
        return Difference(math.nan, math.nan, math.nan, 0, math.nan)
    n = one.size + 2.0
    only_one = np.count_nonzero(one > two) + 0.5
    only_two = np.count_nonzero(one < two) + 0.5
    centre = (only_one - only_two) / n
    variance = ((only_one + only_two) / n - centre**2) / n
    half = Z * math.sqrt(variance)
    shares = (np.array([one.sum(), two.sum()]) + 1.0) / n
    unpaired_n = float((shares * (1 - shares)).sum() / variance)
    difference = float(one.mean() - two.mean())
    bounds = max(-1.0, centre - half), min(1.0, centre + half)
    return Difference(difference, *bounds, one.size, unpaired_n, math.sqrt(variance))


def chance_of_none(rate: float, n: int) -> float:
    """Chance that none of n patients has an event that each has with this probability."""
    return (1 - rate) ** n


def patients_to_see_one(rate: float, chance: float = 0.95) -> int:
    """Patients needed to see an event of this probability at least once with this chance."""
    if not 0 < rate < 1:
        raise ValueError(f"rate={rate:g}: must lie between 0 and 1, both excluded")
    return math.ceil(math.log(1 - chance) / math.log(1 - rate))


def patients_to_tell_apart(one: float, other: float, power: float = 0.8) -> float:
    """Patients in each of two groups to tell two proportions apart, two-sided at 5 % with this power (Fleiss 1981).

    Without correction for continuity; inf for equal proportions.
    """
    if one == other:
        return math.inf
    mean, z = (one + other) / 2, float(special.ndtri(power))
    spread = Z * math.sqrt(2 * mean * (1 - mean)) + z * math.sqrt(one * (1 - one) + other * (1 - other))
    return math.ceil((spread / (one - other)) ** 2)


def pairs_to_tell_apart(only_one: float, only_other: float, power: float = 0.8) -> float:
    """Pairs needed for the same when each patient is seen under both (McNemar's test, Connor 1987).

    Args:
        only_one, only_other: Shares of pairs with the event under the one only, and under the other only.
        power: Chance to see the difference.
    """
    difference, discordant = only_one - only_other, only_one + only_other
    if difference == 0:
        return math.inf
    z = float(special.ndtri(power))
    return math.ceil(((Z * math.sqrt(discordant) + z * math.sqrt(discordant - difference**2)) / difference) ** 2)


def _incidence(days: Floats, why: Integers, causes: int) -> Curve:
    """The curves of `cumulative_incidence`, a column for each of the causes 1..`causes`; larger ones compete only."""
    n = days.size
    day, at = np.unique(days, return_inverse=True)
    happened = np.zeros((day.size, max(causes, int(why.max())) + 1))
    np.add.at(happened, (at, why), 1)
    at_risk = n - np.searchsorted(np.sort(days), day, side="left")
    hazards, totals = happened[:, 1 : causes + 1] / at_risk[:, None], happened[:, 1:].sum(axis=1) / at_risk
    estimate, variance = np.zeros((2, day.size + 1, causes))
    survival, survival_variance, covariance = 1.0, 0.0, np.zeros(causes)
    # The multinomial chances of each day carry fresh noise; how it feeds through is kept as the (co)variances of
    # incidence and survival. It is the delta method's sum over days, without that sum's 0/0 at the last event.
    for i, (a, total, risk) in enumerate(zip(hazards, totals.tolist(), at_risk.tolist(), strict=True)):
        estimate[i + 1] = estimate[i] + survival * a
        fresh = survival**2 * a / risk
        variance[i + 1] = variance[i] + 2 * a * covariance + a**2 * survival_variance + fresh * (1 - a)
        covariance = (1 - total) * (covariance + a * survival_variance - fresh)
        survival_variance = (1 - total) ** 2 * survival_variance + survival**2 * total * (1 - total) / risk
        survival *= 1 - total
    # Incidence and its complement are 0 or at least 1/n, so anything nearer is rounding.
    estimate = np.clip(np.where(1 - estimate < 0.5 / n, 1.0, estimate), 0, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.exp(Z * np.sqrt(variance) / np.abs(estimate * np.log(estimate)))
        followed = _followed(days, why, np.concatenate([[0.0], day]))[:, None]
        lower, upper = _fill_certain(estimate, estimate**width, estimate ** (1 / width), followed)
    return np.concatenate([[0.0], day]), estimate, lower, upper, np.sqrt(np.maximum(variance, 0))


def _followed(days: Floats, why: Integers, at: Floats) -> Integers:
    """Patients who were not censored before each day of `at`."""
    return days.size - np.searchsorted(np.sort(days[why == 0]), at, side="left")


def _fill_certain(estimate: Floats, lower: Floats, upper: Floats, followed: Integers) -> tuple[Floats, Floats]:
    """Replace the bounds where the estimate is 0 or 1 by those of 0 or all events in so many patients."""
    bound = 1 - ((1 - LEVEL) / 2) ** (1 / followed)  # Clopper and Pearson 1934
    lower = np.where(estimate == 0, 0.0, np.where(estimate == 1, 1 - bound, lower))
    return lower, np.where(estimate == 1, 1.0, np.where(estimate == 0, bound, upper))


def _read(curve: Curve | None, day: float, days: Floats, why: Integers) -> Measured:
    """The last point of one curve at or before a day; nan after the last patients, unless all of them had the event."""
    if not day >= 0:
        raise ValueError(f"day={day}: must be at least 0; give the day after the origin at which to read the curve")
    last = days.max(initial=0.0)
    if curve is None or (day > last and np.any(why[days == last] == 0)):
        return Measured(Estimate(math.nan, math.nan, math.nan, days.size), math.nan)
    at = int(np.searchsorted(curve[0], day, side="right")) - 1
    estimate, lower, upper, error = (float(column[at]) for column in curve[1:])
    return Measured(Estimate(estimate, lower, upper, days.size), _error(estimate, lower, upper, error))


def _error(estimate: float, lower: float, upper: float, error: float) -> float:
    """A standard error; of an estimate without usable variance, that which its interval would have come from."""
    return (upper - lower) / (2 * Z) if estimate in (0.0, 1.0) else error


def _checked(duration_days: ArrayLike, code: ArrayLike, name: str) -> tuple[Floats, Integers]:
    """Durations, and events or causes, as columns of the same length."""
    days = _column("duration_days", duration_days, math.inf, "finite and at least 0")
    largest, rule = (1, "True or False") if name == "event" else (math.inf, "0 (censored) or the number of a cause")
    codes = _column(name, code, largest, rule)
    _same_length("duration_days", days.size, name, codes.size)
    return days, codes.astype(np.int64)


def _column(name: str, values: ArrayLike, largest: float, rule: str) -> Floats:
    """One finite number from 0 to `largest` per patient; whole, unless these are durations."""
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise ValueError(f"{name} has shape {column.shape}: must have one entry per patient; pass one column")
    good = np.isfinite(column) & (column >= 0) & (column <= largest)
    if name != "duration_days":
        good &= column == np.floor(column)
    if not good.all():
        i = int(np.argmin(good))
        raise ValueError(f"{name}={column[i]:g} in row {i}: must be {rule}; repair or drop that patient")
    return column


def _same_length(name: str, size: int, other: str, other_size: int) -> None:
    if size != other_size:
        rule = "must be the same patients; take both from one table"
        raise ValueError(f"{name} has {size} rows, {other} has {other_size}: {rule}")
