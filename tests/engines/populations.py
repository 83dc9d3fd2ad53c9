"""A busy sample of marrow under any engine, and what is counted in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from escape_abm import compose
from escape_abm.engines import counts, recording
from escape_abm.engines.cells import CellModel
from escape_abm.engines.chance import luck_of
from escape_abm.engines.engine import Advance
from escape_abm.engines.grid import MarrowGrid
from escape_abm.inputs.biology import Antigen, Biology, CarT, Host, Killing, Leukaemia
from escape_abm.inputs.products import Product, car_classes
from escape_abm.inputs.rows import rescale
from escape_abm.inputs.settings import Space
from escape_abm.law.rates import Rates, make_rates
from escape_abm.law.states import (
    B_LINEAGE,
    CAR_T_PHENOTYPES,
    MYELOID,
    SANCTUARY,
    Alphabet,
    alphabet_of,
)
from tests.engines.law_scores import FALSE_ALARM

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

ENGINES = ("counts", "cells", "grid")
WELL_MIXED = ("counts", "cells")
PRODUCTS = ("tandem", "cotransduced", "coadministered")
WRONG = 1.1


@cache
def product(name: str) -> Product:
    return compose([f"product={name}", "comparators=none", "trial=none"]).product


def make_engine(name: str, biology: Biology, what: Product, seed: int, space: Space | None = None) -> Advance:
    """An engine of its own, for one run."""
    if name == "counts":
        return partial(counts.advance, luck_of(np.random.default_rng(seed)))
    return make_model(name, biology, what, seed, space).advance


def make_model(name: str, biology: Biology, what: Product, seed: int, space: Space | None = None) -> CellModel:
    letters, classes = alphabet_of(biology), car_classes(what, biology.antigens)
    rates = make_rates(biology, classes, infused=True)
    if name == "cells":
        return CellModel(letters, classes, rates, rng=seed)
    sites = min(2500, round(biology.leukaemia.carrying_capacity_cells))
    return MarrowGrid(letters, classes, rates, rng=seed, sites=sites, space=space or Space())


def run(
    engine: Advance,
    rates: Rates,
    letters: Alphabet,
    cells: Counts,
    car_t: Counts,
    b_cells: int,
    days: float,
    tolerance: float = 0.5,
) -> tuple[Counts, Counts, int]:
    """Numbers after these days from these, one day after lymphodepletion."""
    cells, car_t = cells.copy(), car_t.copy()
    goal, seen = recording.Goal(), recording.records(0, 0, 0)
    _, _, b_cells, _ = engine(rates, cells, car_t, b_cells, 0.0, days, -1.0, tolerance, goal, seen, letters.sanctuary)
    return cells, car_t, b_cells


# ------------------------------------------------------------------------------------------------------ a busy marrow


def antigen(**changes: float) -> Antigen:
    """An antigen whose every route is taken within days, seen well by some receptors and badly by others."""
    rates = {
        "first_hit_per_division": 0.3,
        "last_hit_per_division": 0.3,
        "silencing_per_division": 0.2,
        "reactivation_per_day": 0.1,
        "dimming_per_day": 0.1,
        "brightening_per_day": 0.2,
    }
    return Antigen(**(rates | changes))  # type: ignore[arg-type]


def busy(cells: float) -> Biology:
    """A biology in which all of the law happens at once, in a body whose marrow holds so many cells."""
    whole = Biology(
        leukaemia=Leukaemia(
            net_growth_per_day=0.25,
            death_per_day=0.25,
            progenitor_entry_per_division=0.2,
            progenitor_exit_per_day=0.15,
            lineage_switch_per_division=0.1,
            sanctuary_entry_per_day=0.15,
            sanctuary_exit_per_day=0.2,
        ),
        antigens={"cd19": antigen(), "cd22": antigen(blast_density_molecules=2000)},
        killing=Killing(kill_per_day=2.0, stripping_per_contact=1.0, sanctuary_access=0.5),
        car_t=CarT(
            effector_division_per_day=1.0,
            effector_death_per_day=0.3,
            memory_activation_per_day=0.4,
            memory_loss_per_day=0.2,
            effector_to_memory_per_day=0.2,
            exhaustion_per_day=0.3,
            exhausted_death_per_day=0.3,
        ),
        host=Host(b_cell_source_per_day=4e10, b_cells_at_start_cells=4e10, b_cell_life_days=3),
    )
    return rescale(whole, cells / whole.leukaemia.carrying_capacity_cells)


def start(biology: Biology, what: Product, leukaemia: int, car_t: int, b_cells: int) -> tuple[Counts, Counts, int]:
    """So many cells, spread evenly over all leukaemic states and over all CAR T classes and phenotypes."""
    states, classes = len(alphabet_of(biology)), len(car_classes(what, biology.antigens))
    return (
        np.full(states, max(1, leukaemia // states), dtype=np.int64),
        np.full((classes, 3), max(1, car_t // (3 * classes)), dtype=np.int64),
        b_cells,
    )


def groups(letters: Alphabet, cells: Counts, car_t: Counts, b_cells: int) -> dict[str, int]:
    """Numbers that different parts of the law move: by what the states show, and by CAR T class and phenotype."""
    states = letters.states
    is_b = [s.lineage == B_LINEAGE for s in states]

    def total(chosen: Iterator[bool]) -> int:
        return int(cells[list(chosen)].sum())

    out = {
        "leukaemia": int(cells.sum()),
        "myeloid": total(s.lineage == MYELOID for s in states),
        "progenitor": total(s.progenitor for s in states),
        "sanctuary": total(s.niche == SANCTUARY for s in states),
        "acquired": total(s.origin == "acquired" for s in states),
        "B cells": b_cells,
    }
    for i, name in enumerate(letters.antigens):
        for shown in ("high", "dim", "silenced", "lost"):
            out[f"{name} {shown}"] = total(
                b and s.antigens[i].shown == shown for b, s in zip(is_b, states, strict=True)
            )
        out[f"{name} one allele"] = total(b and s.antigens[i].alleles == 1 for b, s in zip(is_b, states, strict=True))
    for s in range(car_t.shape[0]):
        for phase, label in enumerate(CAR_T_PHENOTYPES):
            out[f"class {s} {label}"] = int(car_t[s, phase])
    return out


def largest_z(one: Floats, other: Floats) -> float:
    """Largest difference of means in standard errors; the spread is that of the larger sample."""
    larger = max(one, other, key=len)
    spread = np.maximum(larger.std(axis=0, ddof=1), 1e-9)
    error = spread * math.sqrt(1 / len(one) + 1 / len(other))
    return float(np.max(np.abs(one.mean(axis=0) - other.mean(axis=0)) / error))


def limit(comparisons: int) -> float:
    """Largest absolute z-score of so many two-sided comparisons."""
    return float(stats.norm.isf(FALSE_ALARM / 2 / comparisons))
