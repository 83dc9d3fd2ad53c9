"""The mean-field equations of the law, made of the law's own compiled functions, so that there is no second copy of it.

Every state of the simulator is here: leukaemic cells by state, CAR T cells by class and phenotype, normal B cells;
normal T cells are a closed form. The equations are what the simulator tends to in the limit of large numbers and short
ticks. They know no chance, so half a mutant grows like a clone: they judge the simulator's ticks, not who relapses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.integrate import odeint

from escape_abm.inputs.biology import Biology
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import Patient
from escape_abm.inputs.products import Product
from escape_abm.inputs.regimen import Regimen
from escape_abm.inputs.rows import rescale
from escape_abm.law import hazards
from escape_abm.law.rates import Rates, make_rates
from escape_abm.law.states import EFFECTOR, EXHAUSTED, MEMORY, Alphabet, alphabet_of, founder
from escape_abm.patient.course import infuse_cells

Floats = NDArray[np.float64]
Numbers = NDArray[Any]
"""Floats, for functions of the law that are declared for whole numbers of cells."""

REFERENCE, USUAL = 1e-8, 1e-6
"""Relative tolerances of LSODA: to compare with, and as one would choose for speed."""
SMALLEST_CELLS = 1e-3
"""Absolute tolerance of LSODA."""


@dataclass(frozen=True)
class MeanField:
    """Expected cells on each whole day from day 0, just after the first infusion.

    Attributes:
        day: (D,) days from infusion.
        cells: (D, S) leukaemic cells by state of `alphabet`.
        car_t: (D, C, 3) CAR T cells by class and phenotype.
        b_cells: (D,) normal B cells.
        evaluations: How often the right-hand side was evaluated.
    """

    day: Floats
    cells: Floats
    car_t: Floats
    b_cells: Floats
    alphabet: Alphabet
    evaluations: int

    @property
    def marrow(self) -> Floats:
        """(D,) leukaemic cells in the marrow."""
        out: Floats = self.cells[:, ~self.alphabet.sanctuary].sum(axis=1)
        return out


def with_value(biology: Biology, path: str, value: float) -> Biology:
    """A copy with one parameter, for example `antigens.cd19.dim_fold`, at any value at all: nothing is checked."""
    copy: Any = biology.model_copy(deep=True)
    *owners, name = path.split(".")
    owner = copy
    for part in owners:
        owner = owner[part] if isinstance(owner, dict) else getattr(owner, part)
    owner.__dict__[name] = value  # the section itself is frozen
    return copy  # type: ignore[no-any-return]


def enlarge(patient: Patient, regimen: Regimen, fold: float) -> tuple[Patient, Regimen]:
    """The same patient and regimen with every number of cells so many times as large, so that chance shrinks."""
    dose = regimen.dose(patient.weight_kg) * fold
    return (
        replace(patient, biology=rescale(patient.biology, fold), burden_cells=patient.burden_cells * fold),
        regimen.model_copy(update={"dose_cells": dose, "dose_cells_per_kg": None}),
    )


@njit
def flow(rates: Rates, around: hazards.Surroundings, y: Numbers, out: Floats) -> None:
    """Change per day of every entry of `y` (leukaemia, CAR T, B cells) in these surroundings, into `out`."""
    n, classes = rates.access.shape[0], rates.effector_division.shape[0]
    car_t, change = y[n:-1].reshape(classes, 3), out[n:-1].reshape(classes, 3)
    out[:] = 0.0
    for i in range(n):
        gain = hazards.birth_hazard(rates, around, i) - hazards.death_hazard(rates, around, i)
        out[i] += (gain - hazards.leave_hazard(rates, around, i)) * y[i]
        for r in range(rates.route_first[i], rates.route_first[i + 1]):
            out[rates.route_to[r]] += hazards.route_hazard(rates, around, i, r) * y[i]
    for s in range(classes):
        memory, effector, exhausted = car_t[s, MEMORY], car_t[s, EFFECTOR], car_t[s, EXHAUSTED]
        activated = hazards.activation_hazard(rates, around, s) * memory  # each becomes two effectors
        tired = hazards.exhaustion_hazard(rates, around, s) * effector
        resting = rates.to_memory * effector
        gain = hazards.effector_birth(rates, around, s) - hazards.car_t_death(rates, s, EFFECTOR)
        change[s, MEMORY] = resting - activated - hazards.car_t_death(rates, s, MEMORY) * memory
        change[s, EFFECTOR] = 2.0 * activated + gain * effector - resting - tired
        change[s, EXHAUSTED] = tired - hazards.car_t_death(rates, s, EXHAUSTED) * exhausted
    out[-1] = rates.b_source - (rates.b_death + hazards.kill_hazard_b(rates, around)) * y[-1]


@njit
def around_all(rates: Rates, y: Numbers, days_since_lymphodepletion: float) -> hazards.Surroundings:
    """What the cells of `y` are to one another."""
    n, classes = rates.access.shape[0], rates.effector_division.shape[0]
    return hazards.surroundings(rates, y[:n], y[n:-1].reshape(classes, 3), y[-1], days_since_lymphodepletion)


def _compile(fingerprint: str) -> Callable[..., None]:
    """Compile the right-hand side; the law's fingerprint is part of the key in numba's cache.

    What it calls here has no cache of its own, which would not notice that the law has changed.
    """

    @njit(cache=True, nogil=True)
    def derivative(rates: Rates, y: Numbers, days_since_lymphodepletion: float, out: Floats) -> None:
        """Change per day of every entry of `y` (leukaemia, CAR T, B cells), into `out`."""
        fingerprint  # noqa: B018  (keeps it a free variable)
        flow(rates, around_all(rates, y, days_since_lymphodepletion), y, out)

    return derivative


derivative = _compile(hazards.FINGERPRINT)


def integrate(
    rates: Rates, y: Floats, days: Floats, lymphodepleted: float, relative: float, absolute: float = SMALLEST_CELLS
) -> tuple[Floats, int]:
    """LSODA from `days[0]` on: the state on each of these days, and evaluations of the right-hand side."""
    out = np.empty_like(y)

    def f(now: Floats, day: float) -> Floats:
        derivative(rates, now, day - lymphodepleted, out)
        return out

    path, info = odeint(f, y, days, rtol=relative, atol=absolute, mxstep=100_000, full_output=True)
    if info["message"] != "Integration successful.":
        raise ArithmeticError(f"LSODA stopped between day {days[0]:g} and {days[-1]:g}: {info['message']}")
    return path, int(info["nfe"][-1])


def _alone(patient: Patient, cells: Floats, days: float, relative: float) -> tuple[Floats, int]:
    """The leukaemia alone for some days."""
    y, used = integrate(make_rates(patient.biology), np.append(cells, 0.0), np.array([0.0, days]), 0.0, relative)
    return np.maximum(y[-1, :-1], 0.0), used


def grow(patient: Patient, relative: float = REFERENCE) -> tuple[Floats, int]:
    """Expected leukaemia at the patient's burden, grown from one founder cell; and evaluations that it took."""
    biology = patient.biology
    letters, rates = alphabet_of(biology), make_rates(biology)
    cells = np.zeros(len(letters))
    start = letters.index(founder(tuple((n, a.hits_to_loss) for n, a in biology.antigens.items())))
    cells[start] = patient.burden_cells if patient.clones == "none" else 1.0
    evaluations = 0
    # Newton's method in the time at which the burden is reached; log burden is concave, so it never goes too far.
    while (short := math.log(patient.burden_cells / cells.sum())) > 1e-6:
        growth = hazards.division_hazard(rates.net_growth, rates.death, cells.sum(), rates.capacity) - rates.death
        cells, used = _alone(patient, cells, short / growth, relative)
        evaluations += used
    return cells, evaluations


def solve(
    patient: Patient,
    product: Product,
    regimen: Regimen,
    clinic: Clinic,
    follow_up_days: int,
    leukaemia: NDArray[Any],
    relative: float = REFERENCE,
    absolute: float = SMALLEST_CELLS,
) -> MeanField:
    """The mean-field course of what `simulate` draws, to the end of follow-up.

    Args:
        patient, product, regimen, clinic: As in `simulate`; the clinic only says when `simulate` pauses to assess.
        follow_up_days: Length of follow-up from the first infusion.
        leukaemia: (S,) cells at entry, before bridging and lymphodepletion.
        relative, absolute: Tolerances of LSODA.
    """
    biology = patient.biology
    letters, classes = alphabet_of(biology), patient.car_classes(product)
    cells, evaluations = leukaemia.astype(float), 0
    if regimen.bridging_log10_kill > 0:
        cells, evaluations = _alone(
            patient, cells * 10.0**-regimen.bridging_log10_kill, regimen.bridging_days, relative
        )
    survive = 10.0**-regimen.lymphodepletion_log10_kill
    cells, lymphodepleted = (cells * survive, 0.0) if regimen.lymphodepletion else (cells, -1e9)
    dose = regimen.dose(patient.weight_kg)
    infusions = sorted(
        (part.day + day, name, dose * part.dose_fraction * fraction)
        for name, part in product.components.items()
        for day, fraction in zip(regimen.split_days, regimen.split_fractions, strict=True)
    )
    redepleted = {part.day for part in product.components.values() if part.new_lymphodepletion and part.day > 0}
    turns = {0.0, float(follow_up_days), float(clinic.assessment_day), patient.rejection_day} | redepleted
    turns |= {day for day, _, _ in infusions}
    transplant, own = regimen.transplant, np.array([not product.components[c.component].donor for c in classes])
    if patient.transplant_luck < transplant.fraction:
        turns.add(transplant.day)

    rates = make_rates(biology, classes, infused=True)
    n, day = len(letters), 0.0
    y = np.concatenate([cells, np.zeros(3 * len(classes)), [float(round(biology.host.b_cells_at_start_cells))]])
    seen = np.zeros((follow_up_days + 1, y.size))
    for turn in sorted(t for t in turns if t <= follow_up_days):
        if turn > day:
            whole = np.arange(math.floor(day) + 1, math.floor(turn) + 1)
            days = np.unique(np.concatenate([[day], whole, [turn]]))
            path, used = integrate(rates, y, days, lymphodepleted, relative, absolute)
            evaluations += used
            seen[whole] = path[np.searchsorted(days, whole)]
            y, day = path[-1].copy(), turn
        if turn in redepleted:
            y[:n] *= survive
            y[n:-1] *= rates.t_cell_nadir / rates.t_cell_capacity
            lymphodepleted = turn
        for infusion_day, name, dose in infusions:
            if infusion_day == turn:
                infused = np.zeros((len(classes), 3), dtype=np.int64)
                infuse_cells(
                    infused, classes, name, dose * biology.car_t.engrafted_fraction, biology.car_t.memory_fraction
                )
                y[n:-1] += infused.ravel()
        if turn == patient.rejection_day:
            rates = rates._replace(rejection=np.where(own, biology.car_t.rejection_per_day, 0.0))
        if turn == transplant.day and patient.transplant_luck < transplant.fraction:
            hidden = y[:n][letters.sanctuary].sum()
            if clinic.in_remission(y[:n].sum() - hidden, hidden):
                y[:n] *= 10.0**-transplant.conditioning_log10_kill
                y[n:-1].reshape(-1, 3)[own] *= 10.0**-transplant.car_t_log10_kill
                y[-1] *= 10.0**-transplant.car_t_log10_kill
                graft = transplant.graft_kill_per_day * math.exp(transplant.graft_kill_per_day_sigma * patient.graft_z)
                rates = rates._replace(graft=graft, t_cell_recovery=transplant.t_cell_recovery_per_day)
                lymphodepleted = turn
        if turn == 0:
            seen[0] = y
    return MeanField(
        day=np.arange(follow_up_days + 1, dtype=float),
        cells=seen[:, :n],
        car_t=seen[:, n:-1].reshape(-1, len(classes), 3),
        b_cells=seen[:, -1],
        alphabet=letters,
        evaluations=evaluations,
    )
