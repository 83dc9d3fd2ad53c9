"""The leukaemia at entry: grown from one cell, and shaped by earlier therapy."""

from __future__ import annotations

from functools import partial

import numpy as np

from escape_abm.engines import counts
from escape_abm.engines.chance import Luck, binomial, coarse, luck_of
from escape_abm.engines.engine import Advance, Counts, run
from escape_abm.inputs.checks import InputError, suggest
from escape_abm.inputs.cohort import LEUKAEMIA, Patient
from escape_abm.inputs.settings import Engine
from escape_abm.law.rates import Rates, densities, hill, make_rates
from escape_abm.law.states import SANCTUARY, Alphabet, State, alphabet_of, founder, lose_antigen

LONGEST_GROWTH_DAYS = 36525.0


def grow_leukaemia(patient: Patient, engine: Engine) -> Counts:
    """Leukaemic cells by state at entry.

    They grow from one cell by the law to the patient's burden. A lineage that dies out is no leukaemia: growth starts
    again until one survives. An earlier CAR thins what it recognises, and what is left grows back to the burden. Then,
    where the patient has them, measured shares of the cells are made antigen-negative or moved to sanctuaries.

    Growth has no space in it and is drawn by the counts engine, whatever the engine of the run.

    Returns:
        (S,) cells by state of the alphabet.

    Raises:
        InputError: the burden cannot be reached, or an antigen is not one of the biology.
    """
    biology = patient.biology
    letters = alphabet_of(biology)
    luck = luck_of(patient.stream(LEUKAEMIA))
    start = letters.index(_founder(patient))
    cells = np.zeros(len(letters), dtype=np.int64)
    if patient.clones == "none":
        cells[start] = round(patient.burden_cells)
    else:
        limit = biology.leukaemia.carrying_capacity_cells
        if patient.burden_cells > 0.95 * limit or biology.leukaemia.net_growth_per_day <= 0:
            raise InputError(
                f"patient {patient.index}: a burden of {patient.burden_cells:.3g} cells cannot grow from one cell at "
                f"net_growth_per_day={biology.leukaemia.net_growth_per_day:.3g} with carrying_capacity_cells="
                f"{limit:.3g}: lower the burden to 95 % of the capacity, raise the capacity, or set cohort.clones=none"
            )
        rates, advance = make_rates(biology), partial(counts.advance, luck)
        cells[start] = 1
        cells = _grow(cells, rates, letters, patient, engine, advance)
        if patient.prior_car_antigen:
            left = _select(luck, cells, letters, patient)
            cells = _grow(left, rates, letters, patient, engine, advance)
    if patient.negative_fraction > 0:
        _make_negative(luck, cells, letters, patient)
    if patient.extramedullary_fraction > 0:
        _move_to_sanctuaries(luck, cells, letters, patient)
    return cells


def _founder(patient: Patient) -> State:
    return founder(tuple((name, a.hits_to_loss) for name, a in patient.biology.antigens.items()))


def _grow(start: Counts, rates: Rates, letters: Alphabet, patient: Patient, engine: Engine, advance: Advance) -> Counts:
    """Grow to the patient's burden, again and again until a line survives."""
    cells = start.copy()
    if cells.sum() >= patient.burden_cells:
        return cells
    code = counts.EXTINCT
    while code == counts.EXTINCT:
        cells = start.copy()
        span = (0.0, LONGEST_GROWTH_DAYS)
        code = run(advance, rates, letters, cells, span, engine, target=patient.burden_cells)[0]
    if code in (counts.TOO_LARGE, counts.REACHED_DAY):
        raise InputError(
            f"patient {patient.index}: a burden of {patient.burden_cells:.3g} cells is not reached within "
            f"{LONGEST_GROWTH_DAYS:g} days and engine.size_limit_cells={engine.size_limit_cells:g}: raise "
            "net_growth_per_day or the size limit, or set cohort.clones=none"
        )
    return cells


def _antigen(name: str, key: str, letters: Alphabet) -> int:
    if name not in letters.antigens:
        raise InputError(f"cohort.{key}={name!r} is not an antigen of the biology. " + suggest(name, letters.antigens))
    return letters.antigens.index(name)


def _select(luck: Luck, cells: Counts, letters: Alphabet, patient: Patient) -> Counts:
    """What an earlier CAR left, of which the leukaemia grew back.

    A log-kill in proportion to how well the reference CAR recognises each state; if its relapse was antigen-negative,
    only cells without the antigen.
    """
    antigen = _antigen(patient.prior_car_antigen, "prior_car_antigen", letters)
    biology = patient.biology
    half = np.array([biology.antigens[patient.prior_car_antigen].half_density_molecules])
    seen = hill(densities(letters, biology)[:, [antigen]], half, biology.killing.hill)[:, 0]
    survive = np.where(patient.prior_car_escaped & (seen > 0), 0.0, 10.0 ** (-patient.prior_car_log10_kill * seen))
    left = np.array([binomial(luck, n, p) for n, p in zip(cells, survive, strict=True)], dtype=np.int64)
    if not left.any():  # the leukaemia did come back: from one cell, of a state that is likely to have been left
        weight = cells * survive
        if weight.any():
            left[np.searchsorted(weight.cumsum(), coarse(luck) * weight.sum(), side="right")] = 1
        else:
            left[letters.index(lose_antigen(_founder(patient), antigen))] = 1
    return left


def _make_negative(luck: Luck, cells: Counts, letters: Alphabet, patient: Patient) -> None:
    antigen = _antigen(patient.negative_antigen, "negative_antigen", letters)
    for i in np.flatnonzero(cells):
        state = letters.states[i]
        target = lose_antigen(state, antigen)
        if state.lineage == "B" and target != state and target in letters.states:
            moved = binomial(luck, cells[i], patient.negative_fraction)
            cells[i] -= moved
            cells[letters.index(target)] += moved


def _move_to_sanctuaries(luck: Luck, cells: Counts, letters: Alphabet, patient: Patient) -> None:
    for i in np.flatnonzero(cells):
        there = letters.states[i]._replace(niche=SANCTUARY)
        if letters.sanctuary[i]:
            continue
        if there not in letters.states:
            raise InputError(
                "cohort.extramedullary_fraction is above 0, but no route leads to a sanctuary: open sanctuary_entry "
                "in biology.routes_off, or set the fraction to 0"
            )
        moved = binomial(luck, cells[i], patient.extramedullary_fraction)
        cells[i] -= moved
        cells[letters.index(there)] += moved
