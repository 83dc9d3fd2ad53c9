"""Patients of a trial, from a table of time to event or a published curve, as published results of an own trial.

What a table does not say is asked for, never guessed: which parameter, what each value of `CNSR` means, whether the
day of the start is day 0 or 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from escape_abm.exchange import tables
from escape_abm.exchange.guyot import patients_of
from escape_abm.inputs.checks import InputError, suggest
from escape_abm.inputs.settings import DAYS_PER_MONTH
from escape_abm.inputs.trial import RATES
from escape_abm.trials.estimates import read, read_each
from escape_abm.trials.readings import Reading
from escape_abm.trials.survival import Estimate

UNITS = {"days": 1.0, "weeks": 7.0, "months": DAYS_PER_MONTH, "years": 12 * DAYS_PER_MONTH}
INCIDENCE = ("cumulative_incidence", "non_relapse")
"""How the endpoints begin that are read as cumulative incidence; the others are survival."""


def from_adtte(
    table: pd.DataFrame,
    parameter: str,
    competing: Iterable[float | str] = (),
    censored: Iterable[float | str] = (1,),
    first_day: int = 1,
    unit: str = "days",
) -> pd.DataFrame:
    """The patients of one parameter of an ADTTE table.

    Args:
        table: With `USUBJID`, `PARAMCD`, `AVAL`, `CNSR`, in capitals (`tables.read`); `TRTP` names the arms.
        parameter: A value of `PARAMCD`.
        competing: Which values of `CNSR`, or texts of `EVNTDESC` or `CNSDTDSC`, are events that compete.
        censored: Which are censored. `CNSR` 0 is the event. A patient whom both name is competing.
        first_day: The day of the start in `AVAL`: 1 in ADaM, 0 in many other tables.
        unit: Of `AVAL`.

    Returns:
        `subject, arm, days, cause`: days since the start, cause 0 censored, 1 the event, 2 an event that competes.

    Raises:
        InputError: a parameter or text that is not there, a value of `CNSR` that nobody named, a patient twice, or
            days that contradict the dates.
    """
    its = _of_parameter(table, parameter)
    if unit not in UNITS:
        raise InputError(f"unit={unit!r}: not known. {suggest(unit, list(UNITS))}")
    value = _numbers(its, "AVAL")
    days = value * UNITS[unit] - first_day
    if (days < 0).any():
        who = its["USUBJID"].iloc[int(np.argmax(days < 0))]
        raise InputError(f"{who}: {parameter} ends before it starts if the start is day {first_day}: say first_day=0")
    if unit == "days":
        _check_dates(its, days, first_day)
    arm = next((its[c] for c in ("TRTP", "TRTA", "ARM") if c in its), pd.Series("all", index=its.index))
    cause = _causes(its, list(competing), list(censored))
    return pd.DataFrame({"subject": its["USUBJID"], "arm": arm, "days": days, "cause": cause}).reset_index(drop=True)


def from_curve(curve: Path, at_risk: Path, events: int | None = None) -> pd.DataFrame:
    """Patients of a digitised Kaplan-Meier curve, as `from_adtte` gives them; the event is cause 1.

    Args:
        curve: CSV of points: `day` or `month`, and `survival` (a fraction).
        at_risk: CSV of the row below the curve: `day` or `month`, and `at_risk`.
        events: All events, if they were published.

    Raises:
        InputError: as `patients_of`, or only the number on day 0, which does not tell how many were censored.
    """
    numbers = _points(at_risk, "at_risk")
    if len(numbers) < 2 and events is None:
        raise InputError(
            f"{at_risk}: one number at risk does not tell who was censored: give later ones, or all events"
        )
    found = patients_of(_points(curve, "survival"), numbers, events)
    subject = pd.Series(np.arange(1, len(found) + 1).astype(str))
    cause = found["event"].astype(np.int64)
    return pd.DataFrame({"subject": subject, "arm": "all", "days": found["days"], "cause": cause})


def estimates(patients: pd.DataFrame, months: Sequence[float], incidence: bool = False) -> pd.DataFrame:
    """Kaplan-Meier survival or cumulative incidence: `arm, month, estimate, lower, upper, n`, as in summary.csv."""
    lines = []
    for arm, its in patients.groupby("arm", sort=False):
        lines += [(arm, month, *_estimate(its, month, incidence)) for month in months]
    return pd.DataFrame(lines, columns=["arm", "month", *Estimate._fields])


def published(patients: pd.DataFrame, endpoint: str, months: Sequence[float], source: str) -> list[dict[str, Any]]:
    """Results for `published` of an own trial, of the patients of one arm.

    As long as nobody is censored, a result has its events, so that its interval is the exact one; after that, the
    interval of the curve.

    Raises:
        InputError: an endpoint that is not read by months, several arms, or a month after the end of follow-up.
    """
    _check_one_arm(patients, endpoint)
    incidence = endpoint.startswith(INCIDENCE)
    return [_result(patients, endpoint, month, source, incidence) for month in months]


def steps(patients: pd.DataFrame, endpoint: str) -> list[tuple[float, float]]:
    """The whole curve for `steps` of an own trial: months, and the share from each of them on."""
    _check_one_arm(patients, endpoint)
    days = [0.0, *np.unique(patients.loc[patients["cause"] != 0, "days"]), patients["days"].max()]
    found = read_each(_reading(patients, endpoint.startswith(INCIDENCE)), days)
    curve = {round(d / DAYS_PER_MONTH, 3): round(m.estimate.estimate, 4) for d, m in zip(days, found, strict=True)}
    return list(curve.items())


def as_yaml(results: Iterable[dict[str, Any]], curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Results and curves as lines of `published` and `steps` in the file of an own trial."""
    lines = ["  published:"]
    lines += [f"    - {{{', '.join(f'{k}: {json.dumps(v)}' for k, v in line.items())}}}" for line in results]
    lines += ["  steps:"] if curves else []
    return "\n".join([*lines, *(f"    {name}: {json.dumps(list(curve))}" for name, curve in curves.items())])


def _check_one_arm(patients: pd.DataFrame, endpoint: str) -> None:
    """Refuse what cannot be one endpoint of a trial."""
    if endpoint not in RATES:
        raise InputError(f"endpoint={endpoint!r}: not one that is read by months. {suggest(endpoint, RATES)}")
    arms = list(dict.fromkeys(patients["arm"]))
    if len(arms) != 1:
        raise InputError(f"arms {', '.join(map(str, arms))}: a trial has one arm; name it")
    if not endpoint.startswith(INCIDENCE) and (patients["cause"] == 2).any():
        raise InputError(f"{endpoint}: is a survival, with which nothing competes; call the event one, or censored")


def _reading(patients: pd.DataFrame, incidence: bool) -> Reading:
    everyone = np.ones(len(patients), dtype=bool)
    return Reading(everyone, patients["cause"].to_numpy(), patients["days"].to_numpy(), survival=not incidence)


def _estimate(patients: pd.DataFrame, month: float, incidence: bool) -> Estimate:
    return read(_reading(patients, incidence), month * DAYS_PER_MONTH)


def _result(patients: pd.DataFrame, endpoint: str, month: float, source: str, incidence: bool) -> dict[str, Any]:
    """One line of `published`."""
    found = _estimate(patients, month, incidence)
    if math.isnan(found.estimate):
        last = patients["days"].max() / DAYS_PER_MONTH
        raise InputError(f"month={month:g}: the last patient was followed to month {last:.1f}; ask for earlier ones")
    day = month * DAYS_PER_MONTH
    line: dict[str, Any] = {"endpoint": endpoint, "month": month, "estimate": round(found.estimate, 4)}
    if (patients["cause"].eq(0) & (patients["days"] < day)).any():
        line |= {"lower": round(found.lower, 4), "upper": round(found.upper, 4)}
    else:
        line["events"] = round(found.estimate * found.n)
    return line | {"n": found.n, "source": source}


def _of_parameter(table: pd.DataFrame, parameter: str) -> pd.DataFrame:
    """The rows of a parameter, one per subject."""
    missing = [name for name in ("USUBJID", "PARAMCD", "AVAL", "CNSR") if name not in table]
    if missing:
        raise InputError(f"{', '.join(missing)}: no such column. Columns: {', '.join(table.columns)}")
    its = table[table["PARAMCD"] == parameter]
    if its.empty:
        raise InputError(
            f"parameter={parameter!r}: not in PARAMCD. {suggest(parameter, sorted(set(table['PARAMCD'])))}"
        )
    twice = its["USUBJID"][its["USUBJID"].duplicated()]
    if len(twice):
        raise InputError(f"{twice.iloc[0]}: has several rows of {parameter}; keep one per subject")
    return its


def _numbers(table: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """A column of numbers, also of text; all of them there."""
    found = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)
    bad = ~np.isfinite(found)
    if bad.any():
        at = int(np.argmax(bad))
        shown, who = table[column].iloc[at], table["USUBJID"].iloc[at]
        raise InputError(f"{who}: {column}={shown!r} is no number; repair it or leave the subject out")
    return found


def _causes(its: pd.DataFrame, competing: list[float | str], censored: list[float | str]) -> NDArray[np.int64]:
    """0 censored, 1 the event, 2 competing; every value of `CNSR` must have been named."""
    code = _numbers(its, "CNSR")
    competes = _named(its, code, competing)
    known = (code == 0) | competes | _named(its, code, censored)
    if not known.all():
        values = ", ".join(f"{v:g}" for v in np.unique(code[~known]))
        raise InputError(
            f"CNSR={values}: 0 is the event; name what else is censored (censored=) or competes (competing=)"
        )
    return np.select([competes, code == 0], [2, 1], 0)


def _named(its: pd.DataFrame, code: NDArray[np.float64], names: list[float | str]) -> NDArray[np.bool_]:
    """Whom a list of codes and descriptions names."""
    found = np.zeros(len(its), dtype=bool)
    for name in names:
        if not isinstance(name, str):
            found |= code == name
            continue
        texts = [its[c] for c in ("EVNTDESC", "CNSDTDSC") if c in its]
        at = np.any([(t == name).to_numpy(dtype=bool) for t in texts], axis=0) if texts else found
        if not np.any(at):
            known = sorted({str(v) for t in texts for v in t if v})
            raise InputError(f"{name!r}: not in EVNTDESC or CNSDTDSC. {suggest(name, known)}")
        found |= at
    return found


def _check_dates(its: pd.DataFrame, days: NDArray[np.float64], first_day: int) -> None:
    """Whether days agree with the dates, if there are any."""
    if not {"STARTDT", "ADT"} <= set(its.columns):
        return
    start, end = (pd.to_datetime(its[c].replace("", None), errors="coerce") for c in ("STARTDT", "ADT"))
    off = np.floor(days) - (end - start).dt.days.to_numpy(dtype=float)
    wrong = np.isfinite(off) & (off != 0)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(
            f"{its['USUBJID'].iloc[at]}: AVAL={its['AVAL'].iloc[at]} does not fit {start.iloc[at]:%Y-%m-%d} to "
            f"{end.iloc[at]:%Y-%m-%d} if the start is day {first_day}: give first_day or unit"
        )


def _points(place: Path, column: str) -> pd.DataFrame:
    """`day` and a column of a CSV file whose time is in days or months."""
    table = tables.read(place).rename(columns=str.lower)
    time = next((name for name in ("day", "month") if name in table), None)
    if time is None or column not in table:
        raise InputError(f"{place}: columns {', '.join(table.columns)}: must be day or month, and {column}")
    numbers = {name: pd.to_numeric(table[name], errors="coerce") for name in (time, column)}
    bad = numbers[time].isna() | numbers[column].isna()
    if bad.any():
        raise InputError(f"{place}: row {int(np.argmax(bad)) + 2} has no number in {time} or {column}")
    scale = DAYS_PER_MONTH if time == "month" else 1.0
    return pd.DataFrame({"day": numbers[time] * scale, column: numbers[column]})
