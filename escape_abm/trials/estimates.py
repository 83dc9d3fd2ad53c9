"""From the rows of patients to the tables of a trial: the source of each endpoint, and its risk set.

All use the same readings (`readings`). What uses them with weights: `weighted`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from escape_abm.inputs.settings import DAYS_PER_MONTH
from escape_abm.law.states import LINEAGE_SWITCH
from escape_abm.patient.endpoints import RELAPSE_KINDS
from escape_abm.trials.readings import Reading, has_value, readings
from escape_abm.trials.survival import (
    Difference,
    Estimate,
    Measured,
    Z,
    chance_of_none,
    cumulative_incidence_at_each,
    measured_proportion,
    median,
    paired_difference,
    pairs_to_tell_apart,
    patients_to_see_one,
    patients_to_tell_apart,
    proportion,
    survival_at_each,
)
from escape_abm.trials.weighted import weighted

MONTHS = (1, 3, 6, 12, 18, *range(24, 241, 12))
AT_ASSESSMENT = ("complete_remission", "mrd_negative", "mrd_negative_ngs")


def months_of(follow_up_months: float) -> tuple[float, ...]:
    """Months at which endpoints are read: the usual ones, as far as follow-up goes."""
    return tuple(m for m in MONTHS if m <= follow_up_months)


def read(reading: Reading, day: float) -> Estimate:
    """The estimate of one reading on a day (which a share of patients does not depend on), with its 95 % interval."""
    return read_each(reading, [day])[0].estimate


def read_each(reading: Reading, at_days: Sequence[float]) -> list[Measured]:
    """`read` on several days, with standard errors."""
    cause = reading.cause[reading.of]
    if reading.value is not None:
        found = median(reading.value[reading.of])
        return [Measured(found, (found.upper - found.lower) / 2 / Z)] * len(at_days)
    if reading.days is None:
        return [measured_proportion(int((cause == 1).sum()), cause.size)] * len(at_days)
    days = reading.days[reading.of]
    if reading.survival:
        return survival_at_each(days, cause == 1, at_days)
    return cumulative_incidence_at_each(days, cause, 1, at_days)


def among_draws(reading: Reading, draw: NDArray[np.int64], day: float) -> Measured:
    """An estimate whose 95 % interval holds what is not known of the parameters beside the sampling of patients.

    Each draw of a posterior has patients of its own. Leaving each draw out in turn gives a variance that holds both;
    leaving out as many patients at random, that of sampling alone. The difference, times the number of draws, is the
    variance between draws.

    Args:
        reading: Of an endpoint.
        draw: (P,) number of each patient's draw.
        day: When it is read.
    """
    (found, error), rng = read_each(reading, [day])[0], np.random.default_rng(0)
    numbers = np.unique(draw)
    mixed = [rng.permutation(draw) for _ in range(5)]
    both, *alone = (_left_out_variance(reading, labels, numbers, day) for labels in (draw, *mixed))
    sampling = float(np.mean(alone))
    variance = sampling + max(0.0, len(numbers) * (both - sampling))
    e, is_share = found.estimate, reading.value is None
    if not math.isfinite(variance) or e <= 0 or (is_share and e >= 1):
        return Measured(found, error)
    slope, scale = (e * (1 - e), math.log(e / (1 - e))) if is_share else (e, math.log(e))
    ends = [scale + sign * Z * math.sqrt(variance) / slope for sign in (-1, 1)]
    lower, upper = (1 / (1 + math.exp(-end)) if is_share else math.exp(end) for end in ends)
    return Measured(Estimate(e, min(lower, e), max(upper, e), found.n), error)


def draws_of(patients: pd.DataFrame) -> NDArray[np.int64] | None:
    """(P,) each patient's draw of the parameters, if there are several."""
    return patients["draw"].to_numpy() if "draw" in patients and patients["draw"].nunique() > 1 else None


def measure(reading: Reading, days: Sequence[float], draw: NDArray[np.int64] | None) -> list[Measured]:
    """Estimates on several days; of several draws of the parameters, with intervals that hold their uncertainty."""
    return read_each(reading, days) if draw is None else [among_draws(reading, draw, day) for day in days]


def _left_out_variance(reading: Reading, labels: NDArray[np.int64], numbers: NDArray[np.int64], day: float) -> float:
    """Jackknife variance of an estimate from leaving each group of patients out."""
    without = weighted(reading, (labels != numbers[:, None]).astype(float), day)
    return float((len(numbers) - 1) * np.nanvar(without))


def estimate(patients: pd.DataFrame, arm: str, endpoint: str, month: float) -> Estimate:
    """One endpoint of one arm at any month (the month is ignored where none applies)."""
    its = patients[patients["arm"] == arm]
    return measure(readings(its)[endpoint], [month * DAYS_PER_MONTH], draws_of(its))[0].estimate


def summarise(
    patients: pd.DataFrame, arms: Iterable[str], follow_up_months: float, assessment_month: int = 1
) -> pd.DataFrame:
    """Endpoints of each arm with 95 % intervals: `arm, endpoint, month, estimate, lower, upper, n, standard_error`.

    Patients of several draws of the parameters (column `draw`) give intervals that hold their uncertainty too; the
    standard error is of sampling alone.
    """
    lines = []
    for arm in arms:
        its = patients[patients["arm"] == arm]
        draw = draws_of(its)
        for endpoint, reading in readings(its).items():
            months: Sequence[float] = months_of(follow_up_months)
            if reading.days is None:
                months = [assessment_month if endpoint in AT_ASSESSMENT else math.nan]
            days = [month * DAYS_PER_MONTH for month in months]
            found = measure(reading, days, draw)
            lines += [(arm, endpoint, m, *one, error) for m, (one, error) in zip(months, found, strict=True)]
    return pd.DataFrame(lines, columns=["arm", "endpoint", "month", *Estimate._fields, "standard_error"])


def why_relapsed(patients: pd.DataFrame) -> pd.Series[str]:
    """The mechanism of each relapse, with lineage switch apart from the clones that lost an antigen."""
    switched = (patients["relapse_kind"] == LINEAGE_SWITCH).fillna(False).astype(bool)
    return patients["relapse_mechanism"].mask(switched, LINEAGE_SWITCH)


def prevented(patients: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Relapses under one product, by mechanism, and what the same patients would have had under each other product.

    A relapse is prevented if under the other product the same patient is in remission, alive and without relapse to the
    end of follow-up. `caused`: patients without any failure under the reference who fail under the other product.

    Returns:
        `arm, mechanism, relapses, prevented, estimate, lower, upper, caused`, with `any` for all mechanisms together;
        `caused` is given there.
    """
    by_arm = {str(arm): p.set_index("patient").sort_index() for arm, p in patients.groupby("arm", sort=False)}
    first = by_arm.pop(reference)
    relapsed, whole, why = first["relapse"].astype(bool), first["day_event"].isna(), why_relapsed(first)
    lines = []
    for arm, other in by_arm.items():
        saved = other["day_event"].isna()
        for mechanism in ("any", *sorted(why[relapsed].dropna().unique())):
            same = pd.Series(mechanism == "any", first.index) | (why == mechanism).fillna(False)
            mine = relapsed & same.astype(bool)
            share = proportion(int((mine & saved).sum()), int(mine.sum()))
            caused = int((whole & ~saved).sum()) if mechanism == "any" else pd.NA
            lines.append((arm, mechanism, share.n, int((mine & saved).sum()), *share[:3], caused))
    columns = ["arm", "mechanism", "relapses", "prevented", "estimate", "lower", "upper", "caused"]
    return pd.DataFrame(lines, columns=columns).astype({"caused": "Int64"})


def small_trials(rates: Iterable[float], sizes: Iterable[int]) -> pd.DataFrame:
    """What trials of some sizes can see: the chance of no event among so many responders.

    Returns:
        `rate, responders, chance_of_none, responders_to_see_one` (with a chance of 95 %).
    """
    lines = [(r, n, chance_of_none(r, n), patients_to_see_one(r)) for r in rates for n in sizes]
    return pd.DataFrame(lines, columns=["rate", "responders", "chance_of_none", "responders_to_see_one"])


def tell_apart(patients: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Patients needed to tell each product from the reference by antigen-negative relapse, with and without pairing.

    With pairing means the same patients under both, which only a simulation can do.

    Returns:
        `arm, reference_share, share, unpaired_each, paired`, for a power of 80 %, two-sided at 5 %.
    """
    by_arm = {str(arm): p.set_index("patient").sort_index() for arm, p in patients.groupby("arm", sort=False)}
    had = {arm: has_value(p, "relapse_kind", "antigen-negative") for arm, p in by_arm.items()}
    first, lines = had.pop(reference), []
    for arm, other in had.items():
        only_first, only_other = float((first & ~other).mean()), float((other & ~first).mean())
        unpaired = patients_to_tell_apart(float(first.mean()), float(other.mean()))
        paired = pairs_to_tell_apart(only_first, only_other)
        lines.append((arm, float(first.mean()), float(other.mean()), unpaired, paired))
    return pd.DataFrame(lines, columns=["arm", "reference_share", "share", "unpaired_each", "paired"])


def contrast(
    patients: pd.DataFrame, arms: Iterable[str], follow_up_months: float, assessment_month: int = 1
) -> pd.DataFrame:
    """Each arm minus the first, over the same patients.

    Outcomes are of all patients (not of responders, who differ between arms) by the last month read, when every
    patient's outcome is known. `unpaired_n` is how many patients an arm of a trial without pairing would need for the
    same precision.

    Patients of several draws of the parameters (column `draw`) give intervals that hold their uncertainty too; the
    standard error and `unpaired_n` are of sampling alone.

    Returns:
        `arm, reference, endpoint, month, difference, lower, upper, n, unpaired_n, standard_error, within_error`; the
        last is true where the Monte Carlo error exceeds the difference.
    """
    names = list(arms)
    month = max(months_of(follow_up_months), default=math.nan)
    day = month * DAYS_PER_MONTH

    def outcomes(arm: str) -> dict[str, pd.Series[bool]]:
        p = patients[patients["arm"] == arm].set_index("patient").sort_index()
        by_then = p["day_relapse"] <= day
        kinds = {
            f"{kind.replace('-', '_').replace(' ', '_')}_relapse": by_then
            & (p["relapse_kind"] == kind).fillna(False).astype(bool)
            for kind in RELAPSE_KINDS
        }
        alive = {"complete_remission": p["complete_remission"], "mrd_negative": p["mrd_negative"]}
        return (
            alive
            | {"relapse": by_then}
            | kinds
            | {"death": p["day_death"] <= day, "failure_or_death": p["day_event"] <= day}
        )

    first = outcomes(names[0]) if names[1:] else {}
    draw = patients.drop_duplicates("patient").set_index("patient")["draw"] if "draw" in patients else None
    lines = []
    for arm in names[1:]:
        for endpoint, values in outcomes(arm).items():
            at = assessment_month if endpoint in ("complete_remission", "mrd_negative") else month
            found = paired_difference(values, first[endpoint])
            if draw is not None:
                found = _widened(found, values.astype(float) - first[endpoint].astype(float), draw)
            lines.append((arm, names[0], endpoint, at, *found))
    table = pd.DataFrame(lines, columns=["arm", "reference", "endpoint", "month", *Difference._fields])
    patients_needed = np.ceil(table["unpaired_n"].astype(float).round(6))  # 1504.0000000000007 is 1504
    table["unpaired_n"] = patients_needed.astype("Int64")
    table["within_error"] = table["standard_error"] > table["difference"].abs()
    return table


def _widened(found: Difference, differences: pd.Series[float], draw: pd.Series[int]) -> Difference:
    """The interval with the variance between draws of the parameters added: of their means, less that of sampling."""
    by_draw = differences.groupby(draw)
    means = by_draw.mean()
    between = float(means.var(ddof=1) - (by_draw.var(ddof=1) / by_draw.size()).mean()) if len(means) > 1 else 0.0
    if not between > 0:
        return found
    centre, half = (found.lower + found.upper) / 2, (found.upper - found.lower) / 2
    half = math.hypot(half, Z * math.sqrt(between))
    return found._replace(lower=max(-1.0, centre - half), upper=min(1.0, centre + half))
