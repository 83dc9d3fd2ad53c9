"""What one patient-year costs on one core, beside LSODA on the mean-field equations of the same patients and states.

    python benchmarks/patient_year.py [--patients 40] [--csv PATH]

A patient-year is growth of the leukaemia from one cell and 365 days of treatment. Times are process times with the
kernel warm. Machines differ and other programs disturb: compare ratios from one run, not milliseconds from two.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: one core, also for LSODA's linear algebra

import argparse
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mean_field import USUAL, derivative, grow, solve
from numba import njit

from escape_abm.inputs.cohort import Patient, sample_patient
from escape_abm.inputs.products import car_classes
from escape_abm.inputs.settings import Engine, Settings
from escape_abm.interface.composition import compose
from escape_abm.law.rates import Rates, make_rates
from escape_abm.law.states import alphabet_of
from escape_abm.patient.course import simulate
from escape_abm.patient.leukaemia import grow_leukaemia

PRODUCTS = ("cd19_fmc63", "tandem", "auto1_22")
YEAR_DAYS = 365
SMALLEST_BURDEN, LARGEST_BURDEN = 1e11, 1e12

ONE_PATIENT = """
from escape_abm import compose, sample_patient, simulate
s = compose(["product=auto1_22", "comparators=none", "trial=none"])
patient = sample_patient(0, 1, s.cohort, s.biology)
simulate(patient, s.product, s.regimen, s.clinic, follow_up_days=365, engine=s.engine)
"""


def settings_of(product: str) -> Settings:
    """Settings of one product, without a trial or comparators."""
    return compose([f"product={product}", "comparators=none", "trial=none"])


def usual_patients(settings: Settings, n: int) -> list[Patient]:
    """The first patients of the cohort with 1e11 to 1e12 cells."""
    found: list[Patient] = []
    index = 0
    while len(found) < n:
        patient = sample_patient(index, settings.seed, settings.cohort, settings.biology)
        if SMALLEST_BURDEN <= patient.burden_cells <= LARGEST_BURDEN:
            found.append(patient)
        index += 1
    return found


def milliseconds(work: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Shortest process time of some calls, and what the last one returned."""
    times, out = [], None
    for _ in range(repeats):
        began = time.process_time()
        out = work()
        times.append(1e3 * (time.process_time() - began))
    return min(times), out


@njit
def _evaluate(rates: Rates, y: Any, out: Any, times: int) -> None:
    for _ in range(times):
        derivative(rates, y, 10.0, out)


def compiled_evaluation_ms(patient: Patient, settings: Settings) -> float:
    """One evaluation of the right-hand side inside compiled code: no price for crossing from Python."""
    classes = car_classes(settings.product, patient.biology.antigens)
    rates = make_rates(patient.biology, classes, infused=True)
    y = np.full(rates.access.size + 3 * len(classes) + 1, 1e9)
    work = (rates, y, np.empty_like(y))
    _evaluate(*work, 1)
    return milliseconds(lambda: _evaluate(*work, 1000))[0] / 1000


def measure(patient: Patient, settings: Settings) -> dict[str, float]:
    """Costs of one patient under the product of the settings."""
    treatment = (patient, settings.product, settings.regimen, settings.clinic)
    whole = Engine(stop_at_failure=False)
    growth_ms, leukaemia = milliseconds(lambda: grow_leukaemia(patient, settings.engine))

    def run(engine: Engine) -> Any:
        return simulate(*treatment, follow_up_days=YEAR_DAYS, engine=engine, leukaemia=leukaemia)

    stopped_ms, stopped = milliseconds(lambda: run(settings.engine))
    whole_ms, path = milliseconds(lambda: run(whole))
    grown_ms, (expected, growing) = milliseconds(lambda: grow(patient, USUAL))
    lsoda_ms, course = milliseconds(lambda: solve(*treatment, YEAR_DAYS, expected, USUAL))
    evaluations = growing + course.evaluations
    return {
        "default_ms": growth_ms + stopped_ms,
        "whole_year_ms": growth_ms + whole_ms,
        "growth_ms": growth_ms,
        "ticks_default": stopped.ticks,
        "ticks_whole_year": path.ticks,
        "days_default": stopped.day[-1],
        "lsoda_ms": grown_ms + lsoda_ms,
        "evaluations": evaluations,
        "lsoda_compiled_ms": evaluations * compiled_evaluation_ms(patient, settings),
        "ratio": (growth_ms + whole_ms) / (grown_ms + lsoda_ms),
    }


def fresh_process_s(cache: str) -> float:
    """Wall time of a fresh process that imports, compiles or reads the kernel, and runs one patient."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", ONE_PATIENT], check=True, env=os.environ | {"NUMBA_CACHE_DIR": cache})
    return time.perf_counter() - began


def main() -> None:
    """Measure, print, and write a table if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--patients", type=int, default=40, help="patients under each product (default 40)")
    parser.add_argument("--csv", type=Path, help="write every measurement there")
    parser.add_argument("--no-cold", action="store_true", help="leave out the cold start")
    args = parser.parse_args()

    tables = []
    for name in PRODUCTS:
        settings = settings_of(name)
        patients = usual_patients(settings, args.patients)
        measure(patients[0], settings)  # compiles
        lines = pd.DataFrame([measure(p, settings) for p in patients])
        tables.append(lines.assign(product=name, patient=[p.index for p in patients]))
    every = pd.concat(tables, ignore_index=True)
    states = len(alphabet_of(settings_of(PRODUCTS[0]).biology))
    print(
        f"{args.patients} patients with {SMALLEST_BURDEN:g} to {LARGEST_BURDEN:g} cells, {states} leukaemic states, "
        f"tolerance {Engine().tolerance:g}, one core, process time. A patient-year is growth from one cell and "
        f"{YEAR_DAYS} days."
    )
    columns = {
        "default_ms": "ms, stops at failure",
        "whole_year_ms": "ms, whole year",
        "growth_ms": "  of it growth",
        "ticks_default": "ticks of treatment, stops at failure",
        "ticks_whole_year": "ticks of treatment, whole year",
        "lsoda_ms": f"ms, LSODA at {USUAL:g}",
        "evaluations": "  its evaluations",
        "lsoda_compiled_ms": "ms, those evaluations alone, compiled",
        "ratio": "whole year / LSODA",
    }
    print(f"{'median (10th to 90th percentile)':40}" + "".join(f"{name:>28}" for name in PRODUCTS))
    for column, label in columns.items():
        cells = []
        for name in PRODUCTS:
            low, middle, high = np.percentile(every.loc[every["product"] == name, column], [10, 50, 90])
            digits = max(0, 2 - math.floor(math.log10(max(middle, 1e-9)))) if middle < 1000 else 0
            cells.append(f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
        print(f"{label:40}" + "".join(f"{c:>28}" for c in cells))
    if not args.no_cold:
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = fresh_process_s(cache), float(np.median([fresh_process_s(cache) for _ in range(3)]))
        print(
            f"A fresh process with one patient: {cold:.1f} s with no compiled code in its cache, {warm:.1f} s with it."
        )
    if args.csv is not None:
        args.csv.parent.mkdir(parents=True, exist_ok=True)
        every.to_csv(args.csv, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
