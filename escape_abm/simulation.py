"""One patient under one product: the leukaemia grows, is thinned, meets the CAR T cells, and is followed.

`simulate` is the one door to the engines. The result says what was there on every day and why the run stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from escape_abm import counts
from escape_abm.clinic import Clinic
from escape_abm.cohort import COURSE, LEUKAEMIA, Patient
from escape_abm.law import EFFECTOR, MEMORY, Rates, endogenous_t_cells, make_rates
from escape_abm.parameters import InputError, suggest
from escape_abm.products import CarClass, Product, car_classes
from escape_abm.regimen import Regimen
from escape_abm.settings import Engine
from escape_abm.states import Alphabet, alphabet_of, founder, lose_antigen

Counts = NDArray[np.int64]
LONGEST_GROWTH_DAYS = 36525.0
LONG_AGO = -1e6
"""Day of a lymphodepletion from which normal T cells have recovered."""


class Stop(StrEnum):
    """Why a run ended."""

    COMPLETED = "follow-up completed"
    NO_REMISSION = "no remission"
    RELAPSE = "relapse"
    SIZE_LIMIT = "size limit"


@dataclass(frozen=True)
class Trajectory:
    """What was there on each day, from day 0 (just after the first infusion) to the day on which the run stopped.

    Attributes:
        day: (D,) days from infusion.
        cells: (D, S) leukaemic cells by state of `alphabet`.
        car_t: (D, C, 3) CAR T cells by class and phenotype (memory, effector, exhausted).
        b_cells, t_cells: (D,) normal B cells; normal T cells.
        kills: (D,) largest number of cells that the CAR T cells killed per day since the day before.
        entry: (S,) leukaemic cells at entry, before bridging and lymphodepletion.
        stop: Why the run stopped.
        ticks: Ticks that it took.
    """

    day: NDArray[np.float64]
    cells: Counts
    car_t: Counts
    b_cells: Counts
    t_cells: NDArray[np.float64]
    kills: NDArray[np.float64]
    entry: Counts
    stop: Stop
    ticks: int
    alphabet: Alphabet
    classes: tuple[CarClass, ...]
    patient: Patient
    product: Product

    @property
    def sanctuary(self) -> Counts:
        """(D,) leukaemic cells in sanctuaries."""
        return np.asarray(self.cells[:, self.alphabet.sanctuary].sum(axis=1))

    @property
    def marrow(self) -> Counts:
        """(D,) leukaemic cells in the marrow."""
        return np.asarray(self.cells[:, ~self.alphabet.sanctuary].sum(axis=1))


def thin(rng: np.random.Generator, cells: Counts, log10_kill: float) -> Counts:
    """Cells that survive a log-kill, each on its own."""
    return rng.binomial(cells, 10.0**-log10_kill).astype(np.int64) if log10_kill > 0 else cells.copy()


def grow_leukaemia(patient: Patient, engine: Engine) -> Counts:
    """Leukaemic cells by state at entry, grown from one cell by the law to the patient's burden.

    A lineage that dies out is no leukaemia: growth starts again until one survives. Then, for a patient who enters with
    a measured antigen-negative fraction, that share of the cells is made negative.

    Raises:
        InputError: the burden cannot be reached.
    """
    biology = patient.biology
    letters = alphabet_of(biology)
    rng = patient.stream(LEUKAEMIA)
    start = letters.index(founder(tuple((n, a.hits_to_loss) for n, a in biology.antigens.items())))
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
        rates, code = make_rates(biology), counts.EXTINCT
        while code == counts.EXTINCT:
            cells[:] = 0
            cells[start] = 1
            if patient.burden_cells <= 1:
                break
            span = (0.0, LONGEST_GROWTH_DAYS)
            code = _advance(rng, rates, letters, cells, span, engine, target=patient.burden_cells)[0]
        if code in (counts.TOO_LARGE, counts.REACHED_DAY):
            raise InputError(
                f"patient {patient.index}: a burden of {patient.burden_cells:.3g} cells is not reached within "
                f"{LONGEST_GROWTH_DAYS:g} days and engine.size_limit_cells={engine.size_limit_cells:g}: raise "
                "net_growth_per_day or the size limit, or set cohort.clones=none"
            )
    if patient.negative_fraction > 0:
        _make_negative(rng, cells, letters, patient)
    return cells


def _make_negative(rng: np.random.Generator, cells: Counts, letters: Alphabet, patient: Patient) -> None:
    if patient.negative_antigen not in letters.antigens:
        raise InputError(
            f"cohort.negative_antigen={patient.negative_antigen!r} is not an antigen of the biology. "
            + suggest(patient.negative_antigen, letters.antigens)
        )
    antigen = letters.antigens.index(patient.negative_antigen)
    for i in np.flatnonzero(cells):
        state = letters.states[i]
        target = lose_antigen(state, antigen)
        if state.lineage == "B" and target != state and target in letters.states:
            moved = rng.binomial(cells[i], patient.negative_fraction)
            cells[i] -= moved
            cells[letters.index(target)] += moved


def _advance(
    rng: np.random.Generator,
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
    seen: tuple[Counts, Counts, Counts, NDArray[np.float64]] | None = None,
) -> tuple[int, float, int, int]:
    """Call the kernel with what most calls leave out filled in."""
    none = np.zeros((0, 0), dtype=np.int64)
    if car_t is None:
        car_t = np.zeros((0, 3), dtype=np.int64)
    if seen is None:
        seen = none, np.zeros((0, 0, 3), dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
    return counts.advance(  # type: ignore[no-any-return]
        rng,
        rates,
        cells,
        car_t,
        b_cells,
        float(span[0]),
        float(span[1]),
        float(lymphodepleted),
        engine.tolerance,
        float(target),
        float(limits[0]),
        float(limits[1]),
        engine.size_limit_cells,
        *seen,
        letters.sanctuary,
    )


def _infusions(product: Product, regimen: Regimen, dose: float) -> list[tuple[float, str, float]]:
    """Day, component and CAR+ cells of every infusion, in order."""
    plan = [
        (part.day + day, name, dose * part.dose_fraction * fraction)
        for name, part in product.components.items()
        for day, fraction in zip(regimen.split_days, regimen.split_fractions, strict=True)
    ]
    return sorted(plan, key=lambda p: p[0])


def simulate(
    patient: Patient,
    product: Product,
    regimen: Regimen,
    clinic: Clinic,
    *,
    follow_up_days: int,
    engine: Engine | None = None,
    leukaemia: Counts | None = None,
) -> Trajectory:
    """Treat one patient with one product and follow.

    Args:
        patient, product, regimen, clinic: Who, with what, how, and by which clinical definitions.
        follow_up_days: Length of follow-up from the first infusion.
        engine: How the law is drawn; default: the counts engine.
        leukaemia: (S,) cells at entry from `grow_leukaemia`, so that several products meet the same leukaemia; grown
            here if left out.

    Raises:
        InputError: the product is against an antigen that the biology does not have, or the burden cannot be reached.
    """
    engine = engine or Engine()
    biology = patient.biology
    letters = alphabet_of(biology)
    classes = car_classes(product, biology.antigens)
    entry = grow_leukaemia(patient, engine) if leukaemia is None else leukaemia
    rng = patient.stream(COURSE)

    cells = entry.copy()
    if regimen.bridging_log10_kill > 0:
        cells = thin(rng, cells, regimen.bridging_log10_kill)
        _advance(rng, make_rates(biology), letters, cells, (-regimen.bridging_days, 0.0), engine)
    lymphodepleted = LONG_AGO
    if regimen.lymphodepletion:
        cells = thin(rng, cells, regimen.lymphodepletion_log10_kill)
        lymphodepleted = 0.0

    infusions = _infusions(product, regimen, regimen.dose(patient.weight_kg))
    parts = product.components.values() if regimen.lymphodepletion else ()
    redepleted = {part.day for part in parts if part.new_lymphodepletion and part.day > 0}
    turns = {float(follow_up_days), float(clinic.assessment_day), patient.rejection_day} | redepleted
    turns |= {day for day, _, _ in infusions}
    rates = make_rates(biology, classes, infused=True)
    car_t = np.zeros((len(classes), 3), dtype=np.int64)
    b_cells = round(biology.host.b_cells_at_start_cells)
    seen = (
        np.zeros((follow_up_days + 1, len(letters)), dtype=np.int64),
        np.zeros((follow_up_days + 1, len(classes), 3), dtype=np.int64),
        np.zeros(follow_up_days + 1, dtype=np.int64),
        np.zeros(follow_up_days + 1),
    )
    t_cells = np.zeros(follow_up_days + 1)
    limits, stop, day, ticks = (math.inf, math.inf), Stop.COMPLETED, 0.0, 0
    for turn in sorted(t for t in turns | {0.0} if t <= follow_up_days):
        if turn > day:
            before = math.floor(day) + 1
            code, day, b_cells, done = _advance(
                rng, rates, letters, cells, (day, turn), engine, car_t=car_t, b_cells=b_cells,
                lymphodepleted=lymphodepleted, limits=limits, seen=seen,
            )  # fmt: skip
            ticks += done
            for d in range(before, math.floor(day) + 1):
                t_cells[d] = _t_cells(rates, d - lymphodepleted)
            if code == counts.TOO_LARGE:
                stop = Stop.SIZE_LIMIT
                break
            if code == counts.REACHED_LIMIT:
                stop = Stop.RELAPSE
                break
        if turn in redepleted:
            cells = thin(rng, cells, regimen.lymphodepletion_log10_kill)
            # CAR T and B cells of before fall with the normal T cells.
            fall = math.log10(biology.host.t_cell_capacity_cells / biology.host.t_cell_nadir_cells)
            car_t, b_cells = thin(rng, car_t, fall), int(rng.binomial(b_cells, 10.0**-fall))
            lymphodepleted = turn
        if turn == patient.rejection_day:
            rates = rates._replace(rejection=biology.car_t.rejection_per_day)
        for infusion_day, name, dose in infusions:
            if infusion_day == turn:
                _infuse(car_t, classes, name, dose, biology.car_t.memory_fraction)
        if turn == clinic.assessment_day and engine.stop_at_failure:
            hidden = int(cells[letters.sanctuary].sum())
            if not clinic.in_remission(float(cells.sum() - hidden), float(hidden)):
                stop = Stop.NO_REMISSION
                break
            limits = clinic.marrow_cells(clinic.relapse_blast_fraction), clinic.extramedullary_cells
        if turn == 0:
            seen[0][0], seen[1][0], seen[2][0], t_cells[0] = cells, car_t, b_cells, _t_cells(rates, -lymphodepleted)
    last = math.floor(day) + 1
    return Trajectory(
        day=np.arange(last, dtype=float),
        cells=seen[0][:last],
        car_t=seen[1][:last],
        b_cells=seen[2][:last],
        t_cells=t_cells[:last],
        kills=seen[3][:last],
        entry=entry,
        stop=stop,
        ticks=ticks,
        alphabet=letters,
        classes=classes,
        patient=patient,
        product=product,
    )


def _t_cells(rates: Rates, days: float) -> float:
    return float(endogenous_t_cells(days, rates.t_cell_nadir, rates.t_cell_capacity, rates.t_cell_recovery))


def _infuse(car_t: Counts, classes: tuple[CarClass, ...], component: str, dose: float, memory: float) -> None:
    for s, car in enumerate(classes):
        if car.component == component:
            infused = round(dose * car.fraction)
            resting = round(infused * memory)
            car_t[s, MEMORY] += resting
            car_t[s, EFFECTOR] += infused - resting
