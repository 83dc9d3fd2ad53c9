"""Patients from a published Kaplan-Meier curve and its numbers at risk (Guyot 2012, doi:10.1186/1471-2288-12-9).

Between two numbers at risk, censoring is spread evenly over time, and as many patients are censored as make the
events that the curve shows lead from the one number to the other. What a curve does not show cannot be recovered: who
was censored when, and any covariate. After the last number at risk the rate of censoring of the time before goes on,
unless the number of all events is given.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from escape_abm.inputs.checks import InputError

Floats = NDArray[np.float64]


class Stretch(NamedTuple):
    """The curve between two numbers at risk, and what is made of it."""

    days: Floats  # (K,) points of the curve, the first on the day of the number at risk
    survival: Floats  # (K,)
    end: float  # day of the next number at risk; of the last stretch, the end of the curve


class Walked(NamedTuple):
    """Patients of one stretch: how many have the event at each point, when others are censored, and who is left."""

    events: list[int]
    censored_days: Floats
    left: int
    survival: float


def patients_of(curve: pd.DataFrame, at_risk: pd.DataFrame, events: int | None = None) -> pd.DataFrame:
    """Patients whose Kaplan-Meier curve and numbers at risk are nearest to those published.

    Args:
        curve: `day, survival`: points read off the curve, in any order; survival as a fraction from 0 to 1.
        at_risk: `day, at_risk`: the row below the curve, from day 0.
        events: All events, if they were published.

    Returns:
        `days, event`: a row per patient, as many as at risk on day 0.

    Raises:
        InputError: percentages, numbers at risk that rise or do not begin on day 0, or a curve that stops before them.
    """
    days, survival = _curve(curve)
    when, numbers = _at_risk(at_risk, float(days[-1]))
    walked: list[Walked] = []
    left, height = int(numbers[0]), 1.0
    pieces = _stretches(days, survival, when)
    for piece, target in zip(pieces[:-1], numbers[1:], strict=True):
        walked.append(_to_target(piece, left, height, int(target)))
        left, height = walked[-1].left, walked[-1].survival
    before = sum(map(len, (w.censored_days for w in walked)))
    walked.append(_last(pieces[-1], left, height, before / max(when[-1], 1e-9), _remaining(walked, events)))
    return _table(pieces, walked)


def _curve(curve: pd.DataFrame) -> tuple[Floats, Floats]:
    """Rising days and falling survival, from day 0 and 1 on; of points above one another the lowest."""
    days, survival = (curve[name].to_numpy(dtype=float) for name in ("day", "survival"))
    bad = ~(np.isfinite(days) & (days >= 0) & (survival >= 0) & (survival <= 1))
    if bad.any() or not days.size:
        at = int(np.argmax(bad)) if days.size else 0
        seen = f"day={days[at]:g}, survival={survival[at]:g}" if days.size else "no points"
        raise InputError(f"curve: {seen}: days must be at least 0, survival a fraction; divide percentages by 100")
    order = np.lexsort((-survival, days))
    days, survival = np.append(0.0, days[order]), np.minimum.accumulate(np.append(1.0, survival[order]))
    last = np.append(days[1:] > days[:-1], True)
    return days[last], survival[last]


def _at_risk(table: pd.DataFrame, end: float) -> tuple[Floats, NDArray[np.int64]]:
    """Days and numbers at risk, without those on or after the end of the curve."""
    days, numbers = table["day"].to_numpy(dtype=float), table["at_risk"].to_numpy(dtype=float)
    if not days.size or days[0] != 0 or (np.diff(days) <= 0).any():
        raise InputError(f"at_risk: days {days.tolist()}: must rise from 0; give the number who began on day 0")
    if (numbers != np.floor(numbers)).any() or (numbers < 0).any() or (np.diff(numbers) > 0).any() or numbers[0] < 1:
        raise InputError(f"at_risk: {numbers.tolist()}: whole patients, never more than before; read them again")
    if (days > end).any() and numbers[days > end].max() > 0:
        raise InputError(f"at_risk: {days[-1]:g} days, but the curve stops on day {end:g}: read the curve to its end")
    return days[days < end], numbers[days < end].astype(np.int64)


def _stretches(days: Floats, survival: Floats, when: Floats) -> list[Stretch]:
    """The curve cut at the numbers at risk, with a point on each of their days."""
    every = np.union1d(days, when)
    height = survival[np.searchsorted(days, every, side="right") - 1]
    cuts = np.searchsorted(every, np.append(when, np.inf))
    ends = np.append(when[1:], every[-1])
    return [Stretch(every[a:b], height[a:b], e) for a, b, e in zip(cuts[:-1], cuts[1:], ends, strict=True)]


def _walk(piece: Stretch, left: int, height: float, censored: int) -> Walked:
    """Go along a stretch with so many patients to be censored in it."""
    start = float(piece.days[0])
    gone = start + (piece.end - start) * np.arange(1, censored + 1) / (censored + 1)
    after, _ = np.histogram(gone, np.append(piece.days, max(piece.end, piece.days[-1]) + 1e-9))
    events, kept = [], 0
    for survival, leave in zip(piece.survival.tolist(), after.tolist(), strict=True):
        had = min(left, max(0, round(left * (1 - survival / height)))) if height > 0 else 0
        height *= 1 - had / left if left else 1.0
        events.append(had)
        leave = min(leave, left - had)
        left, kept = left - had - leave, kept + leave
    return Walked(events, gone[:kept], left, height)


def _to_target(piece: Stretch, left: int, height: float, target: int) -> Walked:
    """The stretch at whose end so many are left, or as nearly as its events allow."""
    censored = max(0, round(left * piece.survival[-1] / height) - target) if height > 0 else left - target
    tried: dict[int, Walked] = {}
    while censored not in tried:
        tried[censored] = _walk(piece, left, height, censored)
        censored = max(0, censored + tried[censored].left - target)
    return min(tried.values(), key=lambda w: abs(w.left - target))


def _last(piece: Stretch, left: int, height: float, per_day: float, events: int | None) -> Walked:
    """The stretch after the last number at risk; those who are left are censored at the end of the curve."""
    censored = min(left, round(per_day * (piece.end - float(piece.days[0]))))
    tried: dict[int, Walked] = {}
    while censored not in tried:
        tried[censored] = _walk(piece, left, height, censored)
        if events is not None:
            censored = min(left, max(0, censored + sum(tried[censored].events) - events))
    found = min(tried.values(), key=lambda w: 0 if events is None else abs(sum(w.events) - events))
    return found._replace(censored_days=np.append(found.censored_days, np.full(found.left, piece.end)), left=0)


def _remaining(walked: list[Walked], events: int | None) -> int | None:
    """Events that are left for the last stretch."""
    return None if events is None else max(0, events - sum(sum(w.events) for w in walked))


def _table(pieces: list[Stretch], walked: list[Walked]) -> pd.DataFrame:
    """A row per patient."""
    had = np.concatenate([np.repeat(p.days, w.events) for p, w in zip(pieces, walked, strict=True)])
    gone = np.concatenate([w.censored_days for w in walked])
    table = pd.DataFrame({"days": np.append(had, gone), "event": np.arange(had.size + gone.size) < had.size})
    return table.sort_values("days", kind="stable", ignore_index=True)
