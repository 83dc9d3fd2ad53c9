"""Error against cost of the tick law: what shorter ticks change, and what they cost.

    python benchmarks/tick_accuracy.py [--patients 2000] [--workers 2] [--folder docs/images]

Two questions. How far is the course of a patient with a very large number of cells, who knows no chance, from the
mean-field equations of the same law? And how far do the endpoints of a trial move when the same patients meet shorter
ticks? The rule: halving the tick moves no endpoint by more than its Monte Carlo standard error at 2,000 patients.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: costs are those of one core

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullFormatter
from mean_field import Floats, Numbers, enlarge, grow, solve
from numba import njit

from escape_abm import law
from escape_abm.cohort import Patient, sample_patient
from escape_abm.config import compose
from escape_abm.counts import LONGEST_TICK_DAYS
from escape_abm.endpoints import RELAPSE_KINDS
from escape_abm.figures import BLUE, GREEN, GREY, ORANGE, STYLE, VERMILION, WIDTH_INCHES
from escape_abm.law import EFFECTOR, EXHAUSTED, MEMORY, Rates, Surroundings
from escape_abm.parameters import Biology
from escape_abm.products import Product, car_classes
from escape_abm.settings import Engine, Settings
from escape_abm.simulation import simulate
from escape_abm.trial import run_trial

PRODUCTS = ("cd19_fmc63", "tandem", "auto1_22")
TOLERANCES = (1.0, 0.5, 0.25, 0.125)
FINER_TOLERANCES = (*TOLERANCES, 1 / 16, 1 / 32)
DEFAULT = Engine().tolerance
YEAR_DAYS, YEAR_MONTHS = 365, 12
BAND_PATIENTS = 2000
"""Patients of the rule."""
FOLD = 1e5
"""A large-number patient has so many times as many cells."""
FEWEST_CELLS = 1e5
"""Nadirs below this many cells (`FOLD` times that in the large-number patient) are chance, and not compared."""


def settings_of(product: str, **changes: Any) -> Settings:
    """Settings of one product, without a trial or comparators."""
    settings = compose([f"product={product}", "comparators=none", "trial=none"])
    return settings.model_copy(update=changes)


# ---------------------------------------------------------------------------- ticks of mean values, for comparison only

START, MIDPOINT, ONE_EVENT = range(3)
RIVALS = {
    "surroundings of the start (as simulated)": START,
    "surroundings of the midpoint": MIDPOINT,
    "at most one event": ONE_EVENT,
}


def _compile(fingerprint: str) -> Callable[..., int]:
    """Compile the recursions; the law's fingerprint is part of the key in numba's cache, as in `counts`."""

    @njit(cache=True)
    def switched(
        rates: Rates,
        around: Surroundings,
        seen: Numbers,
        activation: Floats,
        cells: Numbers,
        car_t: Numbers,
        days: float,
    ) -> None:
        """Means after each cell left its state at most once, by hazards under the CAR T cells `seen`."""
        inflow = np.zeros_like(cells)
        for i in range(cells.shape[0]):
            hazard = law.leave_hazard(rates, around, seen, i)
            if hazard > 0:
                leaving = cells[i] * law.happens(hazard, days)
                cells[i] -= leaving
                for r in range(rates.route_first[i], rates.route_first[i + 1]):
                    inflow[rates.route_to[r]] += leaving * law.route_hazard(rates, around, seen, i, r) / hazard
        cells += inflow
        for s in range(car_t.shape[0]):
            tired = rates.exhaustion * activation[s]
            activated = car_t[s, MEMORY] * law.happens(rates.memory_activation * activation[s], days)
            leaving = car_t[s, EFFECTOR] * law.happens(rates.to_memory + tired, days)
            resting = leaving * rates.to_memory / max(rates.to_memory + tired, 1e-300)
            car_t[s, MEMORY] += resting - activated
            car_t[s, EFFECTOR] += 2 * activated - leaving
            car_t[s, EXHAUSTED] += leaving - resting

    @njit(cache=True)
    def split(
        rates: Rates,
        around: Surroundings,
        seen: Numbers,
        activation: Floats,
        cells: Numbers,
        car_t: Numbers,
        b: Any,
        days: float,
    ) -> Any:
        """Means after a tick of the law as simulated; returns the B cells."""
        switched(rates, around, seen, activation, cells, car_t, 0.5 * days)
        for i in range(cells.shape[0]):
            killed = law.kill_hazard(rates, around, seen, i)
            cells[i] *= math.exp((law.birth_hazard(rates, around, i) - rates.death - killed) * days)
        hazard = rates.b_death + law.kill_hazard_b(rates, around, seen)
        b += (rates.b_source / hazard - b) * law.happens(hazard, days)
        for s in range(car_t.shape[0]):
            gain = law.effector_birth(rates, around, activation[s], s) - rates.effector_death - rates.rejection
            car_t[s, EFFECTOR] *= math.exp(gain * days)
            car_t[s, MEMORY] *= math.exp(-(rates.memory_loss[s] + rates.rejection) * days)
            car_t[s, EXHAUSTED] *= math.exp(-(rates.exhausted_death + rates.rejection) * days)
        switched(rates, around, seen, activation, cells, car_t, 0.5 * days)
        return b

    @njit(cache=True)
    def one_event(
        rates: Rates, around: Surroundings, activation: Floats, cells: Numbers, car_t: Numbers, b: Any, days: float
    ) -> Any:
        """Means after a tick in which each cell has one event at most; returns the B cells."""
        change = np.zeros_like(cells)
        seen = car_t.copy()
        for i in range(cells.shape[0]):
            birth, killed = law.birth_hazard(rates, around, i), law.kill_hazard(rates, around, seen, i)
            leave = law.leave_hazard(rates, around, seen, i)
            total = birth + rates.death + killed + leave
            share = cells[i] * law.happens(total, days) / total
            change[i] += share * (birth - rates.death - killed - leave)
            for r in range(rates.route_first[i], rates.route_first[i + 1]):
                change[rates.route_to[r]] += share * law.route_hazard(rates, around, seen, i, r)
        cells += change
        hazard = rates.b_death + law.kill_hazard_b(rates, around, seen)
        b += rates.b_source * days - b * law.happens(hazard, days)
        for s in range(car_t.shape[0]):
            birth, tired = law.effector_birth(rates, around, activation[s], s), rates.exhaustion * activation[s]
            woken, lost = rates.memory_activation * activation[s], rates.memory_loss[s] + rates.rejection
            gone = rates.effector_death + rates.rejection
            memory = seen[s, MEMORY] * law.happens(woken + lost, days) / (woken + lost)
            total = birth + gone + tired + rates.to_memory
            effector = seen[s, EFFECTOR] * law.happens(total, days) / total
            car_t[s, MEMORY] += effector * rates.to_memory - memory * (woken + lost)
            car_t[s, EFFECTOR] += 2 * memory * woken + effector * (birth - gone - tired - rates.to_memory)
            car_t[s, EXHAUSTED] += effector * tired
            car_t[s, EXHAUSTED] -= seen[s, EXHAUSTED] * law.happens(rates.exhausted_death + rates.rejection, days)
        return b

    @njit(cache=True)
    def recursion(
        rule: int, rates: Rates, cells: Numbers, car_t: Numbers, b: Any, tolerance: float, fixed_days: float,
        seen_cells: Floats, seen_car_t: Floats,
    ) -> int:  # fmt: skip
        """A row a day of `seen_cells` and `seen_car_t`; ticks of `fixed_days`, or by tolerance where that is 0."""
        fingerprint  # noqa: B018  (keeps it a free variable)
        activation, ticks = np.zeros(car_t.shape[0]), 0
        seen_cells[0], seen_car_t[0] = cells, car_t
        for day in range(1, seen_cells.shape[0]):
            now = day - 1.0
            while now < day:
                around = law.surroundings(rates, cells, car_t, b, now, activation)
                days = fixed_days
                if days == 0.0:
                    fastest = law.fastest_hazard(rates, around, car_t, activation)
                    days = law.tick_days(fastest, tolerance, LONGEST_TICK_DAYS)
                days = min(days, day - now)
                if rule == ONE_EVENT:
                    b = one_event(rates, around, activation, cells, car_t, b, days)
                else:
                    seen = car_t.copy()
                    if rule == MIDPOINT:
                        half_cells, seen = cells.copy(), car_t.copy()
                        half_b: Any = split(rates, around, car_t, activation, half_cells, seen, b, 0.5 * days)
                        around = law.surroundings(rates, half_cells, seen, half_b, now + 0.5 * days, activation)
                    b = split(rates, around, seen, activation, cells, car_t, b, days)
                now += days
                ticks += 1
            seen_cells[day], seen_car_t[day] = cells, car_t
        return ticks

    return recursion


recursion = _compile(law.FINGERPRINT)


# -------------------------------------------------------------------------------------------- error of one patient


class Marks(NamedTuple):
    """What a course is judged by."""

    log10_car_t_peak: float
    log10_nadir: float
    relapse_day: float


def marks(cells: Numbers, marrow: Floats, car_t: Numbers, limit: float, from_day: int) -> Marks:
    """Marks of a course day by day; nan for a relapse that does not come after remission."""
    relapse = math.nan
    after = np.flatnonzero(marrow[from_day:] >= limit) + from_day
    if after.size and after[0] > from_day:
        i = after[0]
        low, high = math.log(marrow[i - 1]), math.log(marrow[i])
        relapse = i - 1 + (math.log(limit) - low) / (high - low)
    burden, immune = cells.sum(axis=1), car_t.sum(axis=(1, 2))
    return Marks(math.log10(immune.max()), math.log10(max(burden.min(), 1e-300)), relapse)


def course_error(patient: Patient, product: Product, settings: Settings) -> pd.DataFrame:
    """Errors of one patient in large numbers under each tick law and tolerance, against LSODA."""
    clinic, limit = settings.clinic, settings.clinic.marrow_cells(settings.clinic.relapse_blast_fraction)
    large, regimen = enlarge(patient, settings.regimen, FOLD)
    entry = np.rint(grow(patient)[0] * FOLD).astype(np.int64)
    treatment = (large, product, regimen, clinic)
    exact = solve(*treatment, YEAR_DAYS, entry)
    day = clinic.assessment_day
    truth = marks(exact.cells, exact.marrow, exact.car_t, limit * FOLD, day)
    responds = exact.marrow[day] < limit * FOLD
    lines: list[dict[str, Any]] = []

    def judge(rule: str, tolerance: float, ticks: int, found: Marks) -> None:
        errors = {n: getattr(found, n) - getattr(truth, n) for n in Marks._fields}
        if not responds or truth.log10_nadir < math.log10(FEWEST_CELLS * FOLD):
            errors["log10_nadir"] = errors["relapse_day"] = math.nan
        lines.append({"rule": rule, "tolerance": tolerance, "ticks": ticks} | errors)

    for tolerance in FINER_TOLERANCES:
        engine = Engine(tolerance=tolerance, stop_at_failure=False).model_copy(update={"size_limit_cells": 2e18})
        path = simulate(*treatment, follow_up_days=YEAR_DAYS, engine=engine, leukaemia=entry)
        found = marks(path.cells.astype(float), path.marrow.astype(float), path.car_t, limit * FOLD, day)
        judge("simulated", tolerance, path.ticks, found)
    rates = law.make_rates(large.biology, car_classes(product, large.biology.antigens), infused=True)
    jobs = [(name, t, 0.0) for name in list(RIVALS)[:2] for t in FINER_TOLERANCES]
    jobs += [("at most one event", days, days) for days in (0.5, 0.25)]
    for name, tolerance, fixed in jobs:
        seen_cells, seen_car_t = np.zeros_like(exact.cells), np.zeros_like(exact.car_t)
        start = (exact.cells[0].copy(), exact.car_t[0].copy(), float(exact.b_cells[0]))
        ticks = recursion(RIVALS[name], rates, *start, tolerance, fixed, seen_cells, seen_car_t)
        marrow = seen_cells[:, ~exact.alphabet.sanctuary].sum(axis=1)
        judge(name, tolerance, ticks, marks(seen_cells, marrow, seen_car_t, limit * FOLD, day))
    return pd.DataFrame(lines).assign(patient=patient.index, product=product.name)


def usual_patients(settings: Settings, n: int) -> list[Patient]:
    """The first patients of the cohort with 1e11 to 1e12 cells who do not reject."""
    found: list[Patient] = []
    index = 0
    while len(found) < n:
        patient = sample_patient(index, settings.seed, settings.cohort, settings.biology)
        if 1e11 <= patient.burden_cells <= 1e12 and math.isinf(patient.rejection_day):
            found.append(patient)
        index += 1
    return found


def course_errors(n: int) -> pd.DataFrame:
    """Median absolute errors over `n` patients under each product: `rule, tolerance, ticks`, a column for each mark."""
    tables = []
    for name in PRODUCTS:
        settings = settings_of(name)
        tables += [course_error(p, settings.product, settings) for p in usual_patients(settings, n)]
    every = pd.concat(tables)
    columns = list(Marks._fields)
    every[columns] = every[columns].abs()
    grouped = every.groupby(["rule", "tolerance"])
    out = grouped[["ticks", *columns]].median().reset_index()
    counted = grouped[columns].count().to_numpy()
    return out.assign(**{f"courses_{name}": counted[:, i] for i, name in enumerate(columns)})


def costs(n: int) -> dict[float, float]:
    """Median ms on one core of a patient-year (growth and 365 days, whatever happens) at each tolerance."""
    patients = usual_patients(settings_of(PRODUCTS[0]), n)
    spent: dict[float, list[float]] = {t: [] for t in FINER_TOLERANCES}
    for name in PRODUCTS:
        settings = settings_of(name)
        for patient in patients:
            for tolerance, times in spent.items():
                engine = Engine(tolerance=tolerance, stop_at_failure=False)
                began = time.process_time()
                simulate(
                    patient,
                    settings.product,
                    settings.regimen,
                    settings.clinic,
                    follow_up_days=YEAR_DAYS,
                    engine=engine,
                )
                times.append(1e3 * (time.process_time() - began))
    return {t: float(np.median(times)) for t, times in spent.items()}


# ------------------------------------------------------------------------------------------------ error of a trial

SHARES = {
    "complete_remission": "complete remission",
    "mrd_negative": "MRD-negative",
    "antigen-negative": "antigen-negative relapse",
    "antigen-positive": "antigen-positive relapse",
    "lineage switch": "lineage switch",
    "failure": "failure or death",
}
"""Endpoints that a patient has or has not by 12 months."""


def outcomes(patients: pd.DataFrame) -> pd.DataFrame:
    """Endpoints as numbers, a row for each arm and patient."""
    p = patients.set_index(["arm", "patient"]).sort_index()
    out = p[["complete_remission", "mrd_negative"]].astype(float)
    by_then = p["day_relapse"] <= YEAR_DAYS
    for kind in RELAPSE_KINDS:
        out[kind] = (by_then & (p["relapse_kind"] == kind).fillna(False).astype(bool)).astype(float)
    out["failure"] = (p["day_event"] <= YEAR_DAYS).astype(float)
    out["log10_car_t_peak"] = np.log10(p["car_t_peak_cells"].clip(lower=1))
    out["day_car_t_peak"] = p["day_car_t_peak"]
    out["day_relapse"] = p["day_relapse"]
    return out


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
            both = np.isfinite(x) & np.isfinite(y)
            difference = (x - y)[both]
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
    finest = TOLERANCES[-1]
    pairs = dict.fromkeys([(t, finest) for t in TOLERANCES[:-1]] + [(t, t / 2) for t in TOLERANCES[:-1]])
    tables = [compare(runs[t], runs[other]).assign(tolerance=t, against=other) for t, other in pairs]
    return pd.concat(tables, ignore_index=True)


# ------------------------------------------------------------------------------------------------------------ figure

LABELS = {
    "cd19_fmc63": ("CD19 (FMC63)", BLUE, "o"),
    "tandem": ("tandem", ORANGE, "s"),
    "auto1_22": ("AUTO1/22", GREEN, "^"),
}
MARK_STYLE = {
    "log10_car_t_peak": (VERMILION, "o", "CAR T peak"),
    "log10_nadir": (BLUE, "s", "leukaemia nadir"),
}


def draw(courses: pd.DataFrame, endpoints: pd.DataFrame, patients: int) -> Figure:
    """Error of courses against cost on the left; what the default tolerance does to endpoints on the right."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1, 1])
        look = {"ncols": 2, "frameon": False, "fontsize": 7, "columnspacing": 1.0, "handlelength": 1.6}
        figure.legend(handles=_draw_courses(left, courses), loc="outside lower left", **look)
        figure.legend(handles=_draw_endpoints(right, endpoints, patients), loc="outside lower right", **look)
    return figure


def _draw_courses(ax: Axes, courses: pd.DataFrame) -> list[Any]:
    for rule, dashes in (("simulated", "-"), ("surroundings of the midpoint", ":")):
        table = courses[courses["rule"] == rule].sort_values("tolerance")
        for mark, (colour, marker, _) in MARK_STYLE.items():
            face = colour if rule == "simulated" else "white"
            ax.plot(
                table["cost_ms"], table[mark], dashes, color=colour, marker=marker, markerfacecolor=face, markersize=4.5
            )
    for _, line in courses[courses["rule"] == "simulated"].iterrows():
        top = max(line[m] for m in MARK_STYLE)
        tolerance = line["tolerance"]
        text = f"{tolerance:g}" if tolerance >= 0.125 else f"1/{round(1 / tolerance)}"
        weight = "bold" if tolerance == DEFAULT else "normal"
        ax.annotate(
            text, (line["cost_ms"], top), (0, 6), textcoords="offset points", ha="center", fontsize=7.5, weight=weight
        )
    single = courses[courses["rule"] == "at most one event"]
    for mark, (colour, _, _) in MARK_STYLE.items():
        ax.plot(single["cost_ms"], single[mark], "x", color=colour, markersize=6, markeredgewidth=1.4)
    ax.set(xscale="log", yscale="log", xlabel="ms per patient-year, one core", ylabel="median error, log10 of cells")
    ax.xaxis.set_major_locator(FixedLocator([5, 10, 20, 50, 100]))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_title("Error against the mean-field equations", loc="left")
    ax.margins(x=0.1, y=0.1)
    ax.grid(True, which="major", color="#E6E6E6", linewidth=0.6)
    ax.set_axisbelow(True)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=4.5, label=label)
        for colour, marker, label in MARK_STYLE.values()
    ]
    handles += [
        Line2D([], [], color=GREY, marker="x", linestyle="", markersize=6, label="one event a tick (0.5, 0.25 d)*"),
        Line2D([], [], color=GREY, linestyle="-", label="as simulated, with its tolerance"),
        Line2D([], [], color=GREY, linestyle=":", marker="o", markerfacecolor="white", label="midpoint surroundings*"),
        Line2D([], [], linestyle="", label="* mean values, drawn at equal ticks"),
    ]
    return handles


def _draw_endpoints(ax: Axes, endpoints: pd.DataFrame, patients: int) -> list[Any]:
    chosen = endpoints[(endpoints["tolerance"] == DEFAULT) & (endpoints["against"] == TOLERANCES[-1])]
    for row, name in enumerate(SHARES):
        for shift, (arm, (_, colour, marker)) in zip((-0.24, 0.0, 0.24), LABELS.items(), strict=True):
            line = chosen[(chosen["product"] == arm) & (chosen["endpoint"] == name)].iloc[0]
            band = 100 * line["monte_carlo_error_at_2000"]
            ax.barh(row + shift, 2 * band, left=-band, height=0.22, color="#DDDDDD", zorder=1)
            ax.errorbar(
                100 * line["difference"], row + shift, xerr=196 * line["standard_error"], fmt=marker, color=colour,
                markersize=4, linewidth=1.1, zorder=3,
            )  # fmt: skip
    ax.axvline(0, color=GREY, linewidth=0.7, zorder=2)
    low, high = ax.get_xlim()
    ax.set_xlim(low - 0.1, high + 0.1)
    ax.set_yticks(range(len(SHARES)), list(SHARES.values()))
    ax.invert_yaxis()
    ax.set_xlabel(f"tolerance {DEFAULT:g} minus {TOLERANCES[-1]:g}, percentage points")
    ax.set_title(f"The same {patients:,} patients by 12 months", loc="left")
    handles: list[Any] = [
        Line2D([], [], color=c, marker=m, linewidth=1.1, markersize=4, label=t) for t, c, m in LABELS.values()
    ]
    handles.append(mpl.patches.Patch(color="#DDDDDD", label=f"±1 Monte Carlo error, {BAND_PATIENTS:,} patients"))
    return handles


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--patients", type=int, default=2000, help="patients of the trial (default 2000)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the trial (default 2)")
    parser.add_argument("--courses", type=int, default=30, help="patients whose courses are compared (default 30)")
    parser.add_argument("--folder", type=Path, help="write tick_accuracy.png and tick_accuracy.csv there")
    args = parser.parse_args()

    courses, cost = course_errors(args.courses), costs(min(args.courses, 12))
    # Mean values have no cost of their own: what as many ticks would cost in the simulator.
    simulated = courses[courses["rule"] == "simulated"].sort_values("ticks")
    price = np.log([cost[t] for t in simulated["tolerance"]])
    courses["cost_ms"] = np.exp(np.interp(np.log(courses["ticks"]), np.log(simulated["ticks"]), price))
    print(f"Courses in large numbers, median of {args.courses} patients under {', '.join(PRODUCTS)}; errors to LSODA:")
    print(courses.to_string(index=False, float_format="%.4g"))
    endpoints = endpoint_errors(args.patients, args.workers)
    print(endpoints.to_string(index=False, float_format="%.4g"))
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
        draw(courses, endpoints, args.patients).savefig(args.folder / "tick_accuracy.png", dpi=200)
        table = pd.concat([courses.assign(part="courses"), endpoints.assign(part="endpoints")], ignore_index=True)
        table.to_csv(args.folder / "tick_accuracy.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
