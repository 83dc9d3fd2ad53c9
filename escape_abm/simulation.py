"""One patient under one product: the leukaemia grows, is thinned, meets the CAR T cells, and is followed.

`simulate` is the one door to the engines. The result says what was there on every day and why the run stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np
from numpy.typing import NDArray

from escape_abm import counts
from escape_abm.clinic import Clinic
from escape_abm.cohort import AGENTS, COURSE, LEUKAEMIA, Patient
from escape_abm.law import EFFECTOR, MEMORY, Rates, endogenous_t_cells, make_rates
from escape_abm.parameters import InputError, suggest
from escape_abm.products import CarClass, Product, car_classes
from escape_abm.regimen import Regimen
from escape_abm.settings import Engine
from escape_abm.states import Alphabet, alphabet_of, founder, lose_antigen

Counts = NDArray[np.int64]
Advance = Callable[..., tuple[int, float, int, int]]
"""An engine: `counts.advance` with its source of chance, or the method of that name of a `cells.CellModel`."""
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
    return counts.survivors(rng, cells, 10.0**-log10_kill)


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
        rates, code, draw = make_rates(biology), counts.EXTINCT, partial(counts.advance, rng)
        while code == counts.EXTINCT:
            cells[:] = 0
            cells[start] = 1
            if patient.burden_cells <= 1:
                break
            span = (0.0, LONGEST_GROWTH_DAYS)
            code = _advance(draw, rates, letters, cells, span, engine, target=patient.burden_cells)[0]
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
            moved = counts.draw(rng, cells[i], patient.negative_fraction)
            cells[i] -= moved
            cells[letters.index(target)] += moved


def _advance(
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
    seen: counts.Seen | None = None,
) -> tuple[int, float, int, int]:
    """Call an engine with what most calls leave out filled in."""
    if car_t is None:
        car_t = np.zeros((0, 3), dtype=np.int64)
    if seen is None:
        seen = counts.records(0, 0, 0)
    goal = counts.Goal(float(target), float(limits[0]), float(limits[1]), engine.size_limit_cells)
    start, end = float(span[0]), float(span[1])
    return advance(
        rates, cells, car_t, b_cells, start, end, float(lymphodepleted), engine.tolerance, goal, seen, letters.sanctuary
    )


def _engine(engine: Engine, patient: Patient, product: Product, rng: np.random.Generator) -> Advance:
    """The engine that `engine.name` names, with its source of chance."""
    if engine.name == "counts":
        return partial(counts.advance, rng)
    from escape_abm import marrow  # Mesa takes a second to import

    return marrow.make_model(patient.biology, product, engine, rng=agents_seed(patient)).advance


def agents_seed(patient: Patient) -> int:
    """Seed of all chance among this patient's agents."""
    return int(patient.stream(AGENTS).integers(2**63))


def _infusions(product: Product, regimen: Regimen, dose: float) -> list[tuple[float, str, float]]:
    """Day, component and CAR+ cells of every infusion, in order."""
    plan = [
        (part.day + day, name, dose * part.dose_fraction * fraction)
        for name, part in product.components.items()
        for day, fraction in zip(regimen.split_days, regimen.split_fractions, strict=True)
    ]
    return sorted(plan, key=lambda p: p[0])


def _infuse(car_t: Counts, classes: tuple[CarClass, ...], component: str, dose: float, memory: float) -> None:
    for s, car in enumerate(classes):
        if car.component == component:
            infused = round(dose * car.fraction)
            resting = round(infused * memory)
            car_t[s, MEMORY] += resting
            car_t[s, EFFECTOR] += infused - resting


class Course:
    """A patient under treatment: what is there now, and what was there on each whole day.

    Events (infusion, lymphodepletion, assessment, ...) are methods that act on it between two runs of the engine.
    """

    def __init__(
        self,
        patient: Patient,
        product: Product,
        regimen: Regimen,
        clinic: Clinic,
        *,
        follow_up_days: int,
        engine: Engine,
        entry: Counts,
        advance: Advance | None = None,
    ) -> None:
        """Bring a patient with these cells at entry to day 0, just after the first infusion.

        Args:
            patient, product, regimen, clinic: Who, with what, how, and by which clinical definitions.
            follow_up_days: Length of follow-up.
            engine: How the law is drawn.
            entry: (S,) leukaemic cells at entry.
            advance: Draws the ticks; made as `engine` says if left out.
        """
        biology = patient.biology
        self.patient, self.product, self.regimen, self.clinic, self.engine = patient, product, regimen, clinic, engine
        self.letters, self.classes = alphabet_of(biology), car_classes(product, biology.antigens)
        self.rng = patient.stream(COURSE)
        self.rates = make_rates(biology, self.classes, infused=True)
        self.entry, self.cells = entry, entry.copy()
        self.car_t = np.zeros((len(self.classes), 3), dtype=np.int64)
        self.b_cells = round(biology.host.b_cells_at_start_cells)
        self.day, self.lymphodepleted, self.limits = 0.0, LONG_AGO, (math.inf, math.inf)
        self.stop: Stop | None = None
        self.ticks = 0
        self.advance = advance or _engine(engine, patient, product, self.rng)
        if regimen.bridging_log10_kill > 0:
            self.cells = thin(self.rng, self.cells, regimen.bridging_log10_kill)
            span = (-regimen.bridging_days, 0.0)
            _advance(self.advance, make_rates(biology), self.letters, self.cells, span, engine)
        self.plan = [event for event in self._events() if event[0] <= follow_up_days]
        while self.plan and self.plan[0][0] <= 0:
            self.plan.pop(0)[1]()
        self.seen = counts.records(follow_up_days + 1, self.cells.size, len(self.classes))
        self.t_cells = np.zeros(follow_up_days + 1)
        self.seen.cells[0], self.seen.car_t[0], self.seen.b_cells[0] = self.cells, self.car_t, self.b_cells
        self.t_cells[0] = self._normal_t_cells(0)

    def follow(self, until: float) -> None:
        """Let time pass to a day, or to where the run stops, with everything that is planned till then."""
        while self.plan and self.plan[0][0] <= until and not self.stop:
            day, event = self.plan.pop(0)
            self._run_to(day)
            if not self.stop:
                event()
        if not self.stop:
            self._run_to(until)

    def _run_to(self, day: float) -> None:
        """Let the engine run to a day, or to where it stops."""
        if day <= self.day:
            return
        first = math.floor(self.day) + 1
        code, self.day, self.b_cells, ticks = _advance(
            self.advance,
            self.rates,
            self.letters,
            self.cells,
            (self.day, day),
            self.engine,
            car_t=self.car_t,
            b_cells=self.b_cells,
            lymphodepleted=self.lymphodepleted,
            limits=self.limits,
            seen=self.seen,
        )
        self.ticks += ticks
        for whole in range(first, math.floor(self.day) + 1):
            self.t_cells[whole] = self._normal_t_cells(whole)
        self.stop = {counts.TOO_LARGE: Stop.SIZE_LIMIT, counts.REACHED_LIMIT: Stop.RELAPSE}.get(code)

    def _normal_t_cells(self, day: float) -> float:
        r = self.rates
        since = day - self.lymphodepleted
        return float(endogenous_t_cells(since, r.t_cell_nadir, r.t_cell_capacity, r.t_cell_recovery))

    def lymphodeplete(self) -> None:
        """Thin the leukaemia; CAR T and B cells that were infused or grew since day 0 fall as normal T cells do."""
        self.cells = thin(self.rng, self.cells, self.regimen.lymphodepletion_log10_kill)
        if self.day > 0:
            fall = math.log10(self.rates.t_cell_capacity / self.rates.t_cell_nadir)
            self.car_t = thin(self.rng, self.car_t, fall)
            self.b_cells = counts.draw(self.rng, self.b_cells, 10.0**-fall)
        self.lymphodepleted = self.day

    def infuse(self, component: str, dose: float) -> None:
        """Add a batch of CAR T cells."""
        _infuse(self.car_t, self.classes, component, dose, self.patient.biology.car_t.memory_fraction)

    def reject(self) -> None:
        """From now on CAR T cells are rejected."""
        self.rates = self.rates._replace(rejection=self.patient.biology.car_t.rejection_per_day)

    def assess(self) -> None:
        """Stop without remission; with it, from now on stop at relapse."""
        hidden = int(self.cells[self.letters.sanctuary].sum())
        if not self.clinic.in_remission(float(self.cells.sum() - hidden), float(hidden)):
            self.stop = Stop.NO_REMISSION
        self.limits = self.clinic.marrow_cells(self.clinic.relapse_blast_fraction), self.clinic.extramedullary_cells

    def _events(self) -> list[tuple[float, Callable[[], None]]]:
        """What happens on which day, in order; on one day lymphodepletion comes first and the assessment last."""
        depletions, parts = {0.0}, self.product.components.values()
        depletions |= {part.day for part in parts if part.new_lymphodepletion}
        plan: list[tuple[float, Callable[[], None]]] = []
        if self.regimen.lymphodepletion:
            plan += [(day, self.lymphodeplete) for day in depletions]
        plan.append((self.patient.rejection_day, self.reject))
        for day, name, dose in _infusions(self.product, self.regimen, self.regimen.dose(self.patient.weight_kg)):
            plan.append((day, partial(self.infuse, name, dose)))
        if self.engine.stop_at_failure:
            plan.append((float(self.clinic.assessment_day), self.assess))
        return sorted(plan, key=lambda event: event[0])

    def trajectory(self) -> Trajectory:
        """The records up to now."""
        last = math.floor(self.day) + 1
        return Trajectory(
            day=np.arange(last, dtype=float),
            cells=self.seen.cells[:last],
            car_t=self.seen.car_t[:last],
            b_cells=self.seen.b_cells[:last],
            t_cells=self.t_cells[:last],
            kills=self.seen.kills[:last],
            entry=self.entry,
            stop=self.stop or Stop.COMPLETED,
            ticks=self.ticks,
            alphabet=self.letters,
            classes=self.classes,
            patient=self.patient,
            product=self.product,
        )


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
    course = Course(
        patient,
        product,
        regimen,
        clinic,
        follow_up_days=follow_up_days,
        engine=engine,
        entry=grow_leukaemia(patient, engine) if leukaemia is None else leukaemia,
    )
    course.follow(follow_up_days)
    return course.trajectory()
