"""Do other programs get from an exported model what the mean-field equations say?

    python benchmarks/exported_model.py [PRODUCT ...]

Needs `pip install libroadrunner copasi-basico` beside the project. Each product is exported for a patient with 1e12
cells, rejection on day 40.5 and a transplant on day 150, and run for a year by libRoadRunner and COPASI. Printed is the
largest relative difference from `mean_field.solve` in any kind of cell of which there is at least one, on any whole day
but those of events.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mean_field import Floats, solve

from escape_abm.exchange import sbml
from escape_abm.exchange.network import Network
from escape_abm.exchange.treatment import before_infusion, mean_field
from escape_abm.inputs.cohort import Patient, median_patient
from escape_abm.inputs.settings import Settings
from escape_abm.interface.composition import compose

PRODUCTS = ("cd19_fmc63", "tandem", "sequential", "coadministered")
DAYS, BURDEN_CELLS = 365, 1e12
WORDS = [
    "comparators=none",
    "trial=none",
    "regimen.transplant.fraction=1",
    "regimen.transplant.day=150",
    "regimen.transplant.car_t_log10_kill=2",
]


def case(product: str) -> tuple[Settings, Patient, Network, Floats]:
    """Settings, patient, the exported network, and (D, species) expected cells in its order."""
    settings = compose([f"product={product}", *WORDS])
    patient = median_patient(settings.seed, settings.cohort, settings.biology)
    patient = replace(patient, burden_cells=BURDEN_CELLS, rejection_day=40.5)
    cells = before_infusion(settings, patient)
    plain = settings.regimen.model_copy(update={"bridging_log10_kill": 0.0})
    course = solve(patient, settings.product, plain, settings.clinic, DAYS, cells, 1e-10, 1e-6)
    every = [course.cells, course.car_t.reshape(DAYS + 1, -1), course.b_cells[:, None]]
    return settings, patient, mean_field(settings, patient, settings.product, cells), np.hstack(every)


def roadrunner(file: Path, names: list[str]) -> Floats:
    """(D, species) by libRoadRunner."""
    import roadrunner as rr

    model = rr.RoadRunner(str(file))
    model.integrator.relative_tolerance, model.integrator.absolute_tolerance = 1e-12, 1e-8
    model.timeCourseSelections = names
    return np.asarray(model.simulate(0, DAYS, DAYS + 1))


def copasi(file: Path, names: list[str]) -> Floats:
    """(D, species) by COPASI."""
    import basico

    model = basico.load_model(str(file))
    options: dict[str, Any] = {"r_tol": 1e-10, "a_tol": 1e-10, "max_steps": 10_000_000, "use_sbml_id": True}
    table = basico.run_time_course(duration=DAYS, intervals=DAYS, use_numbers=True, model=model, **options)
    return table[names].to_numpy()


def difference(network: Network, ours: Floats, theirs: Floats) -> float:
    """Largest relative difference in what is at least one cell, on whole days without an event."""
    days = [d for d in range(DAYS + 1) if all(d != e.day for e in network.events)]
    a, b = ours[days], theirs[days]
    there = a >= 1.0
    return float(np.max(np.abs(b - a)[there] / a[there]))


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("products", nargs="*", default=list(PRODUCTS))
    asked = parser.parse_args()
    tools: dict[str, Callable[[Path, list[str]], Floats]] = {"libroadrunner": roadrunner, "copasi-basico": copasi}
    print("| product | species, reactions, events | " + " | ".join(
        f"{name} {importlib.metadata.version(name)}" for name in tools) + " |")  # fmt: skip
    for product in asked.products:
        _, _, network, ours = case(product)
        names = [s.id for s in network.species]
        line = [product, f"{len(names)}, {len(network.reactions)}, {len(network.events)}"]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"{network.id}.xml")
            file.write_text(sbml.text(sbml.document(network)), encoding="utf-8")
            for run in tools.values():
                began = time.perf_counter()
                theirs = run(file, names)
                line.append(f"{difference(network, ours, theirs):.1e} ({time.perf_counter() - began:.0f} s)")
        print("| " + " | ".join(line) + " |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
