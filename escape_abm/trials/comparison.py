"""A virtual trial against the published one: what a trial of that size would publish if the model were right.

The virtual trial is simulated once, large. Many trials of the published size are drawn from it, each patient followed
for as long as in the trial; each drawn trial gives every published endpoint. Their spread is the predictive interval: a
published result outside it is evidence against the model, with a false-alarm rate of 5 %.

Trials differ for reasons that no parameter explains. With `clinic.between_trials_sd` above 0, each drawn trial
multiplies the odds of each endpoint by a factor whose logarithm has this standard deviation (times the fold of its
family): its patients are drawn with these odds. Medians are scaled by such a factor. A share counts half a virtual
patient more who had the event and half a one who had not (Jeffreys): an event that no virtual patient had is rare, not
impossible.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from escape_abm.inputs.checks import InputError
from escape_abm.inputs.settings import DAYS_PER_MONTH
from escape_abm.inputs.trial import MEDIAN_TIMES, FollowUp, Published, Trial
from escape_abm.trials.readings import Reading, readings
from escape_abm.trials.survival import proportion
from escape_abm.trials.weighted import weighted_each, weighted_median_days

Floats = NDArray[np.float64]

COLUMNS = (
    "trial", "stratum", "endpoint", "month", "published", "published_lower", "published_upper", "simulated", "lower",
    "upper", "inside", "n", "source", "note", "chance_lower", "chance_upper", "parameters_lower", "parameters_upper",
)  # fmt: skip
RESAMPLES = 1000
TELLING = 0.05
"""Share of the drawn trials that must be able to tell a figure (somebody at risk, or with a relapse)."""
FEWEST = 5
"""Virtual patients below which nothing is said of a figure."""
LEVEL = 95
Middle = tuple[float, float, float]
NOTHING: Middle = (math.nan, math.nan, math.nan)
TESTS = ("isna", "notna", "isin", "between")
"""What a condition may ask of a column."""
IN_CONDITIONS = (
    ast.Expression, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Name, ast.Constant, ast.List, ast.Tuple,
    ast.expr_context, ast.boolop, ast.unaryop, ast.cmpop, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.BitAnd, ast.BitOr,
)  # fmt: skip
FAMILIES = {
    "remission": ("complete_remission", "mrd_negative"),
    "survival": ("overall_survival", "event_free_survival", "relapse_free_survival", "cumulative_incidence_relapse",
                 "non_relapse_mortality", "relapse"),
    "crs": ("crs_any_grade", "crs_grade_3_or_higher"),
}  # fmt: skip
"""Endpoints that tell much the same of the same patients; all others are of the kind "kind"."""
KIND = "kind"
ENDPOINT_NAMES = {
    "complete_remission": "CR",
    "mrd_negative": "MRD-negative CR",
    "overall_survival": "OS",
    "event_free_survival": "EFS",
    "relapse_free_survival": "RFS",
    "cumulative_incidence_relapse": "relapse, cumulative",
    "cumulative_incidence_antigen_negative": "antigen-negative relapse, cumulative",
    "cumulative_incidence_antigen_positive": "antigen-positive relapse, cumulative",
    "cumulative_incidence_lineage_switch": "lineage switch, cumulative",
    "non_relapse_mortality": "non-relapse mortality",
    "crs_any_grade": "CRS, any grade",
    "crs_grade_3_or_higher": "CRS grade ≥ 3",
    "b_cell_aplasia": "B-cell aplasia",
    "car_t_persistence": "CAR T persistence",
    "relapse": "relapse, crude",
    "relapse_antigen_negative": "antigen-negative, of relapses",
    "relapse_antigen_positive": "antigen-positive, of relapses",
    "relapse_lineage_switch": "lineage switch, of relapses",
    "car_t_lost_at_relapse": "CAR T lost, of relapses",
    "relapse_extramedullary": "extramedullary only, of relapses",
    "median_overall_survival_months": "median OS, months",
    "median_event_free_survival_months": "median EFS, months",
    "median_relapse_free_survival_months": "median RFS, months",
    "median_remission_duration_months": "median remission, months",
}
"""What a reader calls the endpoints."""


def family_of(endpoint: str) -> str:
    """The family of endpoints whose differences between trials are alike."""
    endpoint = MEDIAN_TIMES.get(endpoint, endpoint)
    return next((family for family, its in FAMILIES.items() if endpoint in its), KIND)


class Resamples(NamedTuple):
    """Trials to be drawn from a large virtual one. P patients, B trials."""

    patients: pd.DataFrame  # (P,) followed as the trial followed its own
    chance: Floats  # (B, P) of each patient in each trial, relative to the others
    size: int
    draws: bool  # whether each trial has the patients of one draw of a posterior

    def pooled(self) -> Resamples:
        """Trials of all patients, whichever draw they have."""
        return self._replace(chance=np.ones_like(self.chance), draws=False)

    def read(
        self,
        reading: Reading,
        days: Sequence[float],
        rng: np.random.Generator,
        spread: float = 0.0,
        size: int | None = None,
    ) -> Floats:
        """(D, B) what each trial would publish of an endpoint on each day; odds are those of the last of them.

        `spread` is the standard deviation of the logarithm of the odds between trials. With `size`, so many of those
        who count for the endpoint are drawn; without, a whole trial, of whose patients some count. The median of a
        survival curve, in days, is asked for by no days: (1, B).
        """
        # Not NumPy's exponential, whose last digit differs between processors, and with it what is drawn.
        factor = np.array([[math.exp(spread * z)] for z in rng.standard_normal(RESAMPLES)])
        at_hand = self.chance
        if reading.days is None and reading.value is None:
            reading, at_hand = _with_half_patients(reading, at_hand)
        by = max(days, default=math.inf)
        had = reading.of & (reading.cause == 1) & (True if reading.days is None else reading.days <= by)
        chance = at_hand if reading.value is not None else at_hand * np.where(had, factor, 1.0)
        if size is not None:
            chance = chance * reading.of
        total = chance.sum(axis=1, keepdims=True)
        chance = np.divide(chance, total, out=np.full_like(chance, 1 / chance.shape[1]), where=total > 0)
        weights = rng.multinomial(size or self.size, chance).astype(float) * (total > 0)
        if not days:
            return weighted_median_days(reading, weights)[None]
        found = weighted_each(reading, weights, days)
        return np.asarray(found * factor[:, 0] if reading.value is not None else found)


def _with_half_patients(share: Reading, chance: Floats) -> tuple[Reading, Floats]:
    """Half a patient more who had the event and half a one who had not, of those who count."""
    half = np.repeat(chance.mean(axis=1, keepdims=True) / 2, 2, axis=1)
    more = share._replace(of=np.append(share.of, [True, True]), cause=np.append(share.cause, [1, 0]))
    return more, np.hstack([chance, half])


def as_followed(patients: pd.DataFrame, follow_up: FollowUp | None, rng: np.random.Generator) -> pd.DataFrame:
    """What a trial that ended would know: each patient is followed for a time drawn from `follow_up`."""
    p = patients.copy()
    if follow_up is None:
        return p
    u = rng.random(len(p))
    quantiles = [follow_up.shortest_months, follow_up.median_months, follow_up.longest_months]
    end = np.interp(u, [0, 0.5, 1], quantiles) * DAYS_PER_MONTH
    for name in ("day_event", "day_death", "day_transplant", "day_reinfusion", "day_car_t_lost", "day_b_cell_recovery"):
        p.loc[p[name] > end, name] = math.nan
    late = (p["day_relapse"] > end).to_numpy()
    p.loc[late, "day_relapse"] = math.nan
    p.loc[late, "relapse"] = False
    p.loc[late, ["relapse_kind", "relapse_phenotype", "relapse_mechanism", "relapse_site", "car_t_lost_at_relapse"]] = (
        pd.NA
    )
    p.loc[p["day_death"].isna(), "cause_of_death"] = pd.NA
    for name in ("day_last", "day_watched"):
        p[name] = np.minimum(p[name], end)
    return p


def chosen(patients: pd.DataFrame, condition: str) -> NDArray[np.bool_]:
    """Who meets a condition on the columns of the patients table ("": everyone).

    Raises:
        InputError: the condition cannot be read, does more than compare columns, or is not one of yes and no.
    """
    if not condition:
        return np.ones(len(patients), dtype=bool)
    try:
        _refuse_code(condition)
        met: Any = patients.eval(condition, engine="python")
    except Exception as error:  # noqa: BLE001  (pandas raises many kinds)
        known = ", ".join(patients.columns)
        raise InputError(f"condition {condition!r}: {error}. Columns of the patients table: {known}") from None
    found = pd.Series(met, index=patients.index) if np.ndim(met) < 2 else pd.Series()
    if found.dtype.kind != "b" and str(found.dtype) != "boolean":
        raise InputError(
            f"condition {condition!r} has no answer of yes or no: compare a column with a value, by == or >"
        )
    return found.fillna(False).to_numpy(dtype=bool)


def _refuse_code(condition: str) -> None:
    """Refuse what is more than a comparison of columns: pandas would run it, and a trial's file may be another's.

    Raises:
        ValueError: what may stand in a condition.
        SyntaxError: it is no expression, as `x = 3`.
    """
    for node in ast.walk(ast.parse(condition.strip(), mode="eval")):
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.keywords
        if isinstance(node, ast.Attribute):
            fine = node.attr in TESTS and isinstance(node.value, ast.Name)
        else:
            fine = called or isinstance(node, IN_CONDITIONS)
        if not fine:
            raise ValueError(
                f"only columns, values, == != < > <= >=, + - * /, and, or, not, in, and of columns .{', .'.join(TESTS)}"
            )


def resample(patients: pd.DataFrame, trial: Trial, rng: np.random.Generator) -> Resamples:
    """Trials of the published size of the patients who count in the trial.

    If parameters are draws of a posterior, each trial has the patients of one of them.

    Raises:
        InputError: nobody counts.
    """
    p = as_followed(patients, trial.follow_up, rng)
    p = p[chosen(p, trial.analysed)].reset_index(drop=True)
    if not len(p):
        raise InputError(f"trial {trial.name}: analysed={trial.analysed!r} is met by no virtual patient")
    chance = np.ones((RESAMPLES, len(p)))
    if "draw" in p:
        chance = (p["draw"].to_numpy() == rng.choice(p["draw"].unique(), size=RESAMPLES)[:, None]).astype(float)
    return Resamples(p, chance, trial.size or len(patients), "draw" in p)


def compare(
    patients: pd.DataFrame,
    trial: Trial,
    rng: np.random.Generator,
    between_trials: Mapping[str, float] = MappingProxyType({}),
) -> pd.DataFrame:
    """Every published figure beside its predictive interval.

    Args:
        patients: Rows of one arm of a large virtual trial.
        trial: What was published, of how many, followed for how long.
        rng: Source of chance of the trials that are drawn.
        between_trials: Differences between trials that no parameter explains, by family of endpoints, on the logit
            scale (`Clinic.between_trials`).

    Returns:
        `COLUMNS`; `simulated` is the median of the drawn trials, `inside` empty where there is no verdict, and `note`
        then says why: it is not compared, hardly any virtual patient counts, or trials may find anything. It also says
        where no two virtual patients differed. The interval has three parts, told apart by two narrower ones:
        `chance_lower` and `chance_upper` hold chance in a trial of that size alone, `parameters_lower` and
        `parameters_upper` what the draws of a posterior add (nothing without draws), `lower` and `upper` also the
        differences between trials.
    """
    drawn = resample(patients, trial, rng)
    at_hand = readings(drawn.patients)
    lines = []
    for point in trial.published:
        found, told = _Foretold(), point.not_compared
        if not told:
            condition = "" if point.stratum == "all" else trial.strata[point.stratum]
            reading = at_hand[MEDIAN_TIMES.get(point.endpoint, point.endpoint)]
            reading = reading._replace(of=reading.of & chosen(drawn.patients, condition))
            found, told = _foretold(point, reading, drawn, rng, between_trials.get(family_of(point.endpoint), 0.0))
        (simulated, lower, upper), *parts = found[:3]
        inside: Any = bool((lower - 1e-9 <= exact(point) or not point.reached) and exact(point) <= upper + 1e-9)
        inside = inside if found.verdict else pd.NA
        what = trial.name, point.stratum, point.endpoint, point.month
        published = point.estimate, *interval(point)
        note = told if point.not_compared else "; ".join(filter(None, (point.note, told)))
        shown = simulated, lower, upper, inside, point.n, point.source, note
        lines.append((*what, *published, *shown, *(bound for part in parts for bound in part[1:])))
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    return table.astype({"inside": "boolean", "month": float, "n": "Int64"})


class _Foretold(NamedTuple):
    """Median and interval of what trials would publish: of all parts, of chance alone, of chance and parameters."""

    whole: Middle = NOTHING
    chance: Middle = NOTHING
    parameters: Middle = NOTHING
    verdict: bool = False


def _foretold(
    point: Published, reading: Reading, drawn: Resamples, rng: np.random.Generator, spread: float
) -> tuple[_Foretold, str]:
    """What trials would publish of one figure, and what there is to say of it."""
    n, timed = int(reading.of.sum()), point.endpoint in MEDIAN_TIMES
    days = [] if timed else [(point.month or 0.0) * DAYS_PER_MONTH]

    def read(trials: Resamples, spread: float) -> Floats:
        found = trials.read(reading, days, rng, spread, point.n)[0]
        return np.asarray(found / DAYS_PER_MONTH if timed else found)

    values = read(drawn, spread)
    if n < FEWEST or (~np.isnan(values)).mean() < TELLING:
        return _Foretold(), f"no verdict: hardly any virtual trial of this size can tell, {n} virtual patients count"
    whole, chance = middle(values), middle(read(drawn.pooled(), 0.0))
    parameters = middle(read(drawn, 0.0)) if drawn.draws else chance
    anything = reading.value is None and not timed and whole[1] <= 0 and whole[2] >= 1
    told = "no verdict: a trial of this size may find anything from 0 to 1" if anything else ""
    if not timed and _alike(reading, days[0]):
        told = f"no virtual patient differs from another: {n} count"
    return _Foretold(whole, chance, parameters, not anything), told


def exact(point: Published) -> float:
    """The published share as exactly as it is known."""
    return point.events / point.n if point.events is not None and point.n else point.estimate


def interval(point: Published) -> tuple[float | None, float | None]:
    """The published 95 % interval; where none was, that of Clopper and Pearson from events and n."""
    if point.lower is None and point.upper is None and point.events is not None and point.n is not None:
        found = proportion(point.events, point.n)
        return found.lower, found.upper
    return point.lower, point.upper


def middle(values: Floats) -> Middle:
    """Median and interval of what those trials gave that could tell (nan if none could).

    A time that is not reached counts as infinite.
    """
    told = values[~np.isnan(values)]
    if not told.size:
        return NOTHING
    how: Any = "linear" if np.isfinite(told).all() else "closest_observation"
    median, lower, upper = np.percentile(told, [50, (100 - LEVEL) / 2, (100 + LEVEL) / 2], method=how)
    return float(median), float(lower), float(upper)


def _alike(reading: Reading, day: float) -> bool:
    """Whether all who count had the event by this day, or nobody (of values: whether all are the same)."""
    if reading.value is not None:
        return len(set(reading.value[reading.of])) < 2
    had = (reading.cause == 1) & (True if reading.days is None else reading.days <= day)
    return len(set(had[reading.of].tolist())) < 2


def curves(
    patients: pd.DataFrame,
    trial: Trial,
    endpoints: tuple[str, ...],
    rng: np.random.Generator,
    between_trials: Mapping[str, float] = MappingProxyType({}),
) -> pd.DataFrame:
    """Median and predictive interval of some endpoints month by month: `endpoint, month, median, lower, upper`."""
    drawn = resample(patients, trial.model_copy(update={"follow_up": None}), rng)
    at_hand, longest = readings(drawn.patients), int(patients["day_last"].max() / DAYS_PER_MONTH)
    months, lines = np.arange(0, longest + 0.5, 0.5), []
    for endpoint in endpoints:
        spread = between_trials.get(family_of(endpoint), 0.0)
        each = drawn.read(at_hand[endpoint], list(months * DAYS_PER_MONTH), rng, spread)
        for month, values in zip(months, each, strict=True):
            if np.isfinite(values).any():
                lines.append((endpoint, month, *middle(values)))
    return pd.DataFrame(lines, columns=["endpoint", "month", "median", "lower", "upper"])


def row_name(line: Any) -> str:
    """What a reader calls a published figure: a line with `endpoint`, `month` and `stratum`."""
    name = ENDPOINT_NAMES.get(line.endpoint, line.endpoint.replace("_", " "))
    if line.endpoint.startswith("relapse_cd"):
        signs = line.endpoint.removeprefix("relapse_").replace("pos", "+").replace("neg", "−").replace("_", "")
        name = f"{signs.upper()}, of relapses"
    month = "" if line.month is None or pd.isna(line.month) else f", {line.month:g} mo"
    of = line.stratum.replace("cd19_", "CD19-").replace("cd22_", "CD22-").replace("crs_", "CRS_").replace("_", " ")
    of = re.sub(r"(?<=\d) (?=\d)", "–", of)  # grades 1 2
    return f"{name}{month}" + ("" if of == "all" else f" ({of})")
