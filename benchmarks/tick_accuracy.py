"""Error against cost of the tick law: what shorter ticks change, and what they cost.

    python benchmarks/tick_accuracy.py [--patients 2000] [--workers 2] [--folder docs/images]

Two questions. How far is the course of a patient with a very large number of cells, who knows no chance, from the
mean-field equations of the same law? And how far do the endpoints of a trial move when the same patients meet shorter
ticks? The rule: halving the tick moves no endpoint by more than its Monte Carlo standard error at 2,000 patients.

Two rivals are here as recursions of mean values, for comparison only: surroundings frozen at the start of a tick, and
at most one event per cell and tick.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

from patient_year import PRODUCTS, YEAR_DAYS, milliseconds, settings_of, usual_patients  # isort: skip  (one core)

import numpy as np
import pandas as pd
from mean_field import Floats, Numbers, around_all, enlarge, flow, grow, solve
from numba import njit

from escape_abm.engines.counts import LONGEST_TICK_DAYS
from escape_abm.figures.checks import BAND_PATIENTS, MARKS, ONE_EVENT, SHARES, SIMULATED, START, tick_accuracy
from escape_abm.figures.style import save
from escape_abm.inputs.biology import Biology
from escape_abm.inputs.cohort import Patient
from escape_abm.inputs.settings import Engine, Settings
from escape_abm.law import hazards
from escape_abm.law.hazards import Surroundings
from escape_abm.law.rates import Rates, make_rates
from escape_abm.law.states import EFFECTOR, EXHAUSTED, MEMORY
from escape_abm.patient.course import simulate
from escape_abm.patient.endpoints import RELAPSE_KINDS
from escape_abm.trials.virtual_trial import run_trial

TOLERANCES = (1.0, 0.5, 0.25, 0.125)
FINER_TOLERANCES = (*TOLERANCES, 1 / 16, 1 / 32)
DEFAULT = Engine().tolerance
FOLD = 1e5
"""A large-number patient has so many times as many cells."""
FEWEST_CELLS = 1e5
"""Nadirs are compared of those who respond, unless below this many cells (times `FOLD`): such ones are chance."""

# ------------------------------------------------------------------------------------------------ rivals, mean values


@njit
def frozen(rates: Rates, around: Surroundings, y: Floats, days: float) -> None:
    """Let the mean-field equations run in frozen surroundings, where they are linear: a Taylor series."""
    term, out = y.copy(), np.empty_like(y)
    for k in range(1, 40):
        flow(rates, around, term, out)
        if k > 1:
            out[-1] -= rates.b_source  # a constant
        term[:] = out * (days / k)
        y += term
        if np.abs(term).max() < 1e-12 * y.max():
            break


@njit
def one_event(rates: Rates, around: Surroundings, y: Floats, days: float) -> None:
    """Let each cell have one event at most: of those that have one, the shares are as the hazards."""
    n, hazard, out = rates.access.shape[0], np.empty_like(y), np.empty_like(y)
    for i in range(n):
        leaves = hazards.kill_hazard(rates, around, i) + hazards.leave_hazard(rates, around, i)
        hazard[i] = hazards.birth_hazard(rates, around, i) + rates.death + leaves
    for s in range(rates.memory_loss.shape[0]):
        gone = rates.effector_death + rates.to_memory + hazards.exhaustion_hazard(rates, around, s)
        hazard[n + 3 * s + MEMORY] = hazards.activation_hazard(rates, around, s) + rates.memory_loss[s]
        hazard[n + 3 * s + EFFECTOR] = hazards.effector_birth(rates, around, s) + gone
        hazard[n + 3 * s + EXHAUSTED] = rates.exhausted_death
    hazard[-1] = rates.b_death + hazards.kill_hazard_b(rates, around)
    flow(rates, around, y * -np.expm1(-hazard * days) / (hazard * days), out)
    y += out * days


@njit
def recursion(rates: Rates, tolerance: float, fixed_days: float, path: Floats) -> int:
    """Fill the rows of the days after the first; ticks by tolerance, or of `fixed_days` with one event at most."""
    y, ticks = path[0].copy(), 0
    for day in range(1, path.shape[0]):
        now = day - 1.0
        while now < day:
            around, days = around_all(rates, y, now), fixed_days
            if fixed_days > 0:
                one_event(rates, around, y, days)
            else:
                days = hazards.tick_days(hazards.fastest_hazard(rates, around), tolerance, LONGEST_TICK_DAYS)
                days = min(days, day - now)
                frozen(rates, around, y, days)
            now += days
            ticks += 1
        path[day] = y
    return ticks


# ------------------------------------------------------------------------------------------------- error of a course


def course_error(patient: Patient, settings: Settings) -> list[dict[str, Any]]:
    """Errors of one patient in large numbers under each tick law and tolerance, against LSODA."""
    large, regimen = enlarge(patient, settings.regimen, FOLD)
    entry = np.rint(grow(patient)[0] * FOLD).astype(np.int64)
    treatment = (large, settings.product, regimen, settings.clinic)
    exact = solve(*treatment, YEAR_DAYS, entry)
    limit = settings.clinic.marrow_cells(settings.clinic.relapse_blast_fraction) * FOLD
    responds = exact.marrow[settings.clinic.assessment_day] < limit
    lines: list[dict[str, Any]] = []

    def judge(rule: str, tolerance: float, ticks: int, cells: Numbers, car_t: Numbers) -> None:
        nadir, truth = cells.sum(axis=1).min(), exact.cells.sum(axis=1).min()
        peak, true_peak = car_t.sum(axis=(1, 2)).max(), exact.car_t.sum(axis=(1, 2)).max()
        off = abs(math.log10(nadir / truth)) if responds and truth > FEWEST_CELLS * FOLD else math.nan
        errors = {"log10_car_t_peak": abs(math.log10(peak / true_peak)), "log10_nadir": off}
        lines.append({"rule": rule, "tolerance": tolerance, "ticks": ticks} | errors)

    for tolerance in FINER_TOLERANCES:
        engine = Engine(tolerance=tolerance, stop_at_failure=False).model_copy(update={"size_limit_cells": 2e18})
        path = simulate(*treatment, follow_up_days=YEAR_DAYS, engine=engine, leukaemia=entry)
        judge(SIMULATED, tolerance, path.ticks, path.cells, path.car_t)
    rates = make_rates(large.biology, path.classes, infused=True)
    n, rows = rates.access.size, len(exact.day)
    course = np.hstack([exact.cells, exact.car_t.reshape(rows, -1), exact.b_cells[:, None]])
    rivals = [(START, t, 0.0) for t in FINER_TOLERANCES] + [(ONE_EVENT, days, days) for days in (0.5, 0.25)]
    for rule, tolerance, fixed in rivals:
        ticks = recursion(rates, tolerance, fixed, course)
        judge(rule, tolerance, ticks, course[:, :n], course[:, n:-1].reshape(exact.car_t.shape))
    return lines


def course_errors(n: int) -> pd.DataFrame:
    """Median errors over `n` patients, who do not reject, under each product; ms per patient-year of as many ticks."""
    lines: list[dict[str, Any]] = []
    spent: dict[float, list[float]] = {t: [] for t in FINER_TOLERANCES}
    for name in PRODUCTS:
        settings = settings_of(name)
        patients = [p for p in usual_patients(settings, 2 * n) if math.isinf(p.rejection_day)][:n]
        for patient in patients:
            lines += course_error(patient, settings)
        treatment = (settings.product, settings.regimen, settings.clinic)
        for patient in patients[:12]:
            for tolerance, times in spent.items():
                engine = Engine(tolerance=tolerance, stop_at_failure=False)

                def year(patient: Patient = patient, engine: Engine = engine, treatment: Any = treatment) -> Any:
                    return simulate(patient, *treatment, follow_up_days=YEAR_DAYS, engine=engine)

                times.append(milliseconds(year)[0])
    grouped = pd.DataFrame(lines).groupby(["rule", "tolerance"])
    out = grouped.median().reset_index()
    for mark in MARKS:
        out[f"courses_{mark}"] = grouped[mark].count().to_numpy()
    simulated = out[out["rule"] == SIMULATED].sort_values("ticks")
    price = [math.log(float(np.median(spent[t]))) for t in simulated["tolerance"]]
    return out.assign(cost_ms=np.exp(np.interp(np.log(out["ticks"]), np.log(simulated["ticks"]), price)))


# ------------------------------------------------------------------------------------------------- error of a trial


def outcomes(patients: pd.DataFrame) -> pd.DataFrame:
    """Endpoints as numbers, a row for each arm and patient."""
    p = patients.set_index(["arm", "patient"]).sort_index()
    out = p[["complete_remission", "mrd_negative"]].astype(float)
    by_then = p["day_relapse"] <= YEAR_DAYS
    for kind in RELAPSE_KINDS:
        out[kind] = (by_then & (p["relapse_kind"] == kind).fillna(False).astype(bool)).astype(float)
    out["failure"] = (p["day_event"] <= YEAR_DAYS).astype(float)
    out["log10_car_t_peak"] = np.log10(p["car_t_peak_cells"].clip(lower=1))
    return out.join(p[["day_car_t_peak", "day_relapse"]])


def trial_outcomes(
    tolerance: float, n: int, workers: int, products: tuple[str, ...] = PRODUCTS, biology: Biology | None = None
) -> pd.DataFrame:
    """Endpoints of `n` patients under these products at this tolerance."""
    base = settings_of(products[0])
    settings = base.model_copy(
        update={
            "biology": biology or base.biology,
            "comparators": {name: settings_of(name).product for name in products},
            "cohort": base.cohort.model_copy(update={"size": n}),
            "engine": Engine(tolerance=tolerance),
            "trajectories": base.trajectories.model_copy(update={"patients": 0}),
            "workers": workers,
        }
    )
    return outcomes(run_trial(settings).patients)


def compare(coarse: pd.DataFrame, fine: pd.DataFrame) -> pd.DataFrame:
    """Endpoints of the coarse run, paired differences from the fine one, Monte Carlo errors at 2,000 patients.

    A relapse day is of patients who relapse in both runs; its Monte Carlo error is at as many as 2,000 patients give.
    """
    lines = []
    for arm in dict.fromkeys(coarse.index.get_level_values("arm")):
        a, b = coarse.loc[arm], fine.loc[arm]
        for name in a.columns:
            x, y = a[name].to_numpy(), b[name].to_numpy()
            difference = (x - y)[np.isfinite(x) & np.isfinite(y)]
            known = y[np.isfinite(y)]
            at_2000 = BAND_PATIENTS * known.size / y.size
            lines.append(
                {
                    "product": arm,
                    "endpoint": name,
                    "estimate": float(x[np.isfinite(x)].mean()),
                    "difference": float(difference.mean()),
                    "standard_error": float(difference.std(ddof=1) / math.sqrt(difference.size)),
                    "monte_carlo_error_at_2000": float(known.std(ddof=1) / math.sqrt(at_2000)),
                    "n": int(difference.size),
                    "events": int(known.sum()) if name in SHARES else int(known.size),
                }
            )
    return pd.DataFrame(lines)


def endpoint_errors(n: int, workers: int) -> pd.DataFrame:
    """Differences of every endpoint from that at the finest tolerance (`against`), and at half the tolerance."""
    runs = {}
    for tolerance in TOLERANCES:
        began = time.perf_counter()
        runs[tolerance] = trial_outcomes(tolerance, n, workers)
        print(f"  {n} patients, {len(PRODUCTS)} products, tolerance {tolerance:g}: {time.perf_counter() - began:.0f} s")
    pairs = dict.fromkeys((t, other) for t in TOLERANCES[:-1] for other in (TOLERANCES[-1], t / 2))
    tables = [compare(runs[t], runs[other]).assign(tolerance=t, against=other) for t, other in pairs]
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--patients", type=int, default=2000, help="patients of the trial (default 2000)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the trial (default 2)")
    parser.add_argument("--courses", type=int, default=30, help="patients whose courses are compared (default 30)")
    parser.add_argument("--folder", type=Path, help="write tick_accuracy.png and tick_accuracy.csv there")
    args = parser.parse_args()

    courses = course_errors(args.courses)
    print(f"Courses in large numbers, median of {args.courses} patients under {', '.join(PRODUCTS)}; errors to LSODA:")
    print(courses.to_string(index=False, float_format="%.4g"))
    endpoints = endpoint_errors(args.patients, args.workers)
    print(endpoints.to_string(index=False, float_format="%.4g"))
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
        table = pd.concat([courses.assign(part="courses"), endpoints.assign(part="endpoints")], ignore_index=True)
        table.to_csv(args.folder / "tick_accuracy.csv", index=False)
        save(tick_accuracy(table)[0], args.folder / "tick_accuracy")


if __name__ == "__main__":
    main()
