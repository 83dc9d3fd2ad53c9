"""What do other programs make of an exported model if they run it with chance?

    python benchmarks/exported_model_chance.py FILE.xml [--days 28] [--seconds 60] [--methods ...]

FILE is what `export-model` wrote. Each method of libRoadRunner, COPASI and GillesPy2 gets a process of its own, a
number of cells (at the start, of the dose and in every row, made smaller in proportion) and so many seconds. Printed is
how it ended and, on the last day, leukaemic cells in the marrow, CAR T cells and normal B cells.
Needs `pip install libroadrunner copasi-basico gillespy2`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

METHODS = ("roadrunner ode", "roadrunner gillespie", "copasi directMethod", "copasi tauleap", "copasi adaptivesa",
           "copasi hybridlsoda", "gillespy2 default", "gillespy2 tau")  # fmt: skip
SEEN = ("marrow_cells", "car_t_cells", "normal_b_cells")


def smaller(source: str, fold: float) -> str:
    """The same model with all that is counted in cells so many times as small."""
    import libsbml

    doc = libsbml.readSBMLFromString(source)
    model = doc.getModel()
    for species in model.getListOfSpecies():
        species.setInitialAmount(float(round(species.getInitialAmount() / fold)))
    for one in model.getListOfParameters():
        if one.getUnits() in ("item", "item_per_day") and one.getConstant():
            one.setValue(one.getValue() / fold)
    return str(libsbml.writeSBMLToString(doc))


def roadrunner(file: str, method: str, days: int) -> list[float]:
    """By libRoadRunner."""
    import roadrunner as rr

    model = rr.RoadRunner(file)
    model.timeCourseSelections = ["time", *SEEN]
    if method == "gillespie":
        model.setIntegrator("gillespie")
        model.integrator.seed = 1
        model.integrator.variable_step_size = False
    else:
        model.integrator.relative_tolerance, model.integrator.absolute_tolerance = 1e-10, 1e-6
    return [float(x) for x in model.simulate(0, days, days + 1)[-1]]


def copasi(file: str, method: str, days: int) -> list[float]:
    """By COPASI."""
    import basico

    model = basico.load_model(file)
    options: dict[str, Any] = {"use_seed": True, "seed": 1, "max_steps": 2_000_000_000, "use_sbml_id": True}
    table = basico.run_time_course(
        duration=days, intervals=days, use_numbers=True, method=method, model=model, **options
    )
    if not len(table):
        return []
    last = table.iloc[-1]
    return [
        float(table.index[-1]),
        *(float(last.get(f"Values[{name}]", last.get(name, float("nan")))) for name in SEEN),
    ]


def gillespy2(file: str, method: str, days: int) -> list[float]:
    """By GillesPy2."""
    import gillespy2 as gp
    import numpy as np

    model, faults = gp.core.import_SBML(file)
    if faults:
        sys.stderr.write(f"{faults[:3]}\n")
    model.timespan(np.linspace(0, days, days + 1))
    found = model.run(seed=1) if method == "default" else model.run(seed=1, solver=gp.TauHybridSolver)
    cells = sum(found[name][-1] for name in model.listOfSpecies if "marrow" in name)
    car_t = sum(found[n][-1] for n in model.listOfSpecies if n.startswith(("memory", "effector", "exhausted")))
    return [float(found["time"][-1]), float(cells), float(car_t), float(found["normal_b_cells"][-1])]


def main() -> None:
    """Run each method in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--folds", type=float, nargs="*", default=[1.0, 1e4, 1e8])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        tool, method = asked.one.split()
        found = {"roadrunner": roadrunner, "copasi": copasi, "gillespy2": gillespy2}[tool](
            str(asked.file), method, asked.days
        )
        sys.stdout.write("\nFOUND " + json.dumps(found) + "\n")
        return
    for fold in asked.folds:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model.xml")
            file.write_text(smaller(asked.file.read_text(encoding="utf-8"), fold), encoding="utf-8")
            for method in asked.methods:
                began = time.perf_counter()
                words = [sys.executable, __file__, str(file), "--one", method, "--days", str(asked.days)]
                try:
                    done = subprocess.run(words, capture_output=True, text=True, timeout=asked.seconds, check=False)
                    said = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
                    out = said[-1] if said else "no result"
                    out += (
                        " | " + " ".join((done.stderr + done.stdout).split())[-300:]
                        if not said or "rror" in done.stderr + done.stdout
                        else ""
                    )
                except subprocess.TimeoutExpired:
                    out = "not ended"
                print(f"| {fold:g} | {method} | {time.perf_counter() - began:.0f} s | {out} |", flush=True)


if __name__ == "__main__":
    main()
