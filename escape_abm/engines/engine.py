"""The two engines behind one call: run a population under given rates to a day, or to where it stops."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from escape_abm.engines import counts, recording
from escape_abm.engines.chance import Luck, survivors
from escape_abm.engines.interrupt import heed
from escape_abm.inputs.cohort import AGENTS, Patient
from escape_abm.inputs.products import CarClass
from escape_abm.inputs.settings import Engine
from escape_abm.law.rates import Rates
from escape_abm.law.states import Alphabet

Counts = NDArray[np.int64]
Advance = Callable[..., tuple[int, float, int, int]]
"""An engine: `counts.advance` with its source of chance, or the method of that name of a `cells.CellModel`."""
LONG_AGO = -1e6
"""Day of a lymphodepletion from which normal T cells have recovered."""


def make_engine(engine: Engine, patient: Patient, classes: tuple[CarClass, ...], luck: Luck) -> Advance:
    """The engine that `engine.name` names, with its source of chance."""
    if engine.name == "counts":
        return partial(counts.advance, luck)
    from escape_abm.engines import grid  # Mesa takes a second to import

    return grid.make_model(patient.biology, classes, engine, rng=agents_seed(patient)).advance


def agents_seed(patient: Patient) -> int:
    """Seed of all chance among this patient's agents."""
    return int(patient.stream(AGENTS).integers(2**63))


def run(
    advance: Advance,
    rates: Rates,
    letters: Alphabet,
    cells: Counts,
    span: tuple[float, float],
    engine: Engine,
    *,
    car_t: Counts | None = None,
    b_cells: int = 0,
    lymphodepleted: float = LONG_AGO,
    target: float = 0.0,
    limits: tuple[float, float] = (math.inf, math.inf),
    seen: recording.Seen | None = None,
) -> tuple[int, float, int, int]:
    """Call an engine with what most calls leave out filled in."""
    heed()
    if car_t is None:
        car_t = np.zeros((0, 3), dtype=np.int64)
    if seen is None:
        seen = recording.records(0, 0, 0)
    goal = recording.Goal(float(target), float(limits[0]), float(limits[1]), engine.size_limit_cells)
    start, end = float(span[0]), float(span[1])
    return advance(
        rates, cells, car_t, b_cells, start, end, float(lymphodepleted), engine.tolerance, goal, seen, letters.sanctuary
    )


def thin(luck: Luck, cells: Counts, log10_kill: float) -> Counts:
    """Cells that survive a log-kill, each on its own."""
    return survivors(luck, cells, 10.0**-log10_kill)
