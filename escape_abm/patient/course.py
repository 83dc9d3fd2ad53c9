"""One patient under one product: the leukaemia grows, lymphodepletion reduces it, CAR T cells meet it, follow-up.

`simulate` is the only entry to the engines. The result holds the cell numbers of every day and why the run stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from escape_abm.engines import counts, recording
from escape_abm.engines.chance import Luck, binomial, luck_of
from escape_abm.engines.engine import LONG_AGO, Advance, Counts, make_engine, run, thin
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import COURSE, Patient
from escape_abm.inputs.products import CarClass, Product
from escape_abm.inputs.regimen import Regimen
from escape_abm.inputs.settings import Engine
from escape_abm.law.hazards import endogenous_t_cells
from escape_abm.law.rates import make_rates
from escape_abm.law.states import EFFECTOR, MEMORY, Alphabet, alphabet_of
from escape_abm.patient.leukaemia import grow_leukaemia

ASSESSMENT, BATCH, INFUSION, OTHERS = range(4)
"""Order of events on one day."""


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
        b_cells: (D,) normal B cells.
        recoveries: How normal T cells come back: after which day, from a lymphodepletion on which day, how fast.
        kills: (D,) largest number of cells that the CAR T cells killed per day since the day before.
        entry: (S,) leukaemic cells at entry, before bridging and lymphodepletion.
        stop: Why the run stopped.
        ticks: Ticks that it took.
        infused: Components that the patient got, with the day of the first batch of each.
        day_transplant, day_reinfusion: nan if there was none.
    """

    day: NDArray[np.float64]
    cells: Counts
    car_t: Counts
    b_cells: Counts
    recoveries: tuple[tuple[float, float, float], ...]
    kills: NDArray[np.float64]
    entry: Counts
    stop: Stop
    ticks: int
    alphabet: Alphabet
    classes: tuple[CarClass, ...]
    patient: Patient
    product: Product
    infused: Mapping[str, float] = field(default_factory=dict)
    day_transplant: float = math.nan
    day_reinfusion: float = math.nan

    def until(self, day: float) -> Trajectory:
        """The course up to this day, which may be a fraction; the whole course if it is nan or later."""
        size = self.day.size if math.isnan(day) else min(math.floor(day) + 1, self.day.size)
        cut = {name: getattr(self, name)[:size] for name in ("day", "cells", "car_t", "b_cells", "kills")}
        return replace(self, **cut)

    @cached_property
    def t_cells(self) -> NDArray[np.float64]:
        """(D,) normal T cells."""
        host, out = self.patient.biology.host, np.zeros(self.day.size)
        for after, since, recovery in self.recoveries:
            for day in range(math.floor(after) + 1, self.day.size):
                out[day] = endogenous_t_cells(
                    day - since, host.t_cell_nadir_cells, host.t_cell_capacity_cells, recovery
                )
        return out

    @cached_property
    def sanctuary(self) -> Counts:
        """(D,) leukaemic cells in sanctuaries."""
        return np.asarray(self.cells[:, self.alphabet.sanctuary].sum(axis=1))

    @cached_property
    def marrow(self) -> Counts:
        """(D,) leukaemic cells in the marrow."""
        return np.asarray(self.cells[:, ~self.alphabet.sanctuary].sum(axis=1))


def infuse_cells(car_t: Counts, classes: tuple[CarClass, ...], component: str, dose: float, memory: float) -> None:
    """Add a batch of a component to CAR T cells (C, 3): its classes' shares, each in part as memory cells."""
    for s, car in enumerate(classes):
        if car.component == component:
            infused = round(dose * car.fraction)
            resting = round(infused * memory)
            car_t[s, MEMORY] += resting
            car_t[s, EFFECTOR] += infused - resting


def bridge(cells: Counts, patient: Patient, regimen: Regimen, luck: Luck, advance: Advance, engine: Engine) -> Counts:
    """(S,) leukaemic cells on day 0, of those at entry: thinned by bridging therapy, then grown till then."""
    if regimen.bridging_log10_kill > 0:
        cells = thin(luck, cells, regimen.bridging_log10_kill)
        span = (-regimen.bridging_days, 0.0)
        run(advance, make_rates(patient.biology), alphabet_of(patient.biology), cells, span, engine)
    return cells


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
        self.letters, self.classes = alphabet_of(biology), patient.car_classes(product)
        self.luck = luck_of(patient.stream(COURSE))
        self.rates = make_rates(biology, self.classes, infused=True)
        self.entry, self.cells = entry, entry.copy()
        self.car_t = np.zeros((len(self.classes), 3), dtype=np.int64)
        self.b_cells = round(biology.host.b_cells_at_start_cells)
        self.day, self.lymphodepleted, self.limits = 0.0, LONG_AGO, (math.inf, math.inf)
        self.stop: Stop | None = None
        self.ticks, self.follow_up_days = 0, follow_up_days
        self.infused: dict[str, float] = {}
        self.day_transplant = self.day_reinfusion = math.nan
        self.advance = advance or make_engine(engine, patient, self.classes, self.luck)
        self.cells = bridge(self.cells, patient, regimen, self.luck, self.advance, engine)
        self.plan: list[tuple[float, int, Callable[[], None]]] = []
        self._make_plan()
        while self.plan and self.plan[0][0] <= 0:
            self.plan.pop(0)[2]()
        self.seen = recording.records(follow_up_days + 1, self.cells.size, len(self.classes))
        self.seen.cells[0], self.seen.car_t[0], self.seen.b_cells[0] = self.cells, self.car_t, self.b_cells
        self.recoveries = [(-1.0, self.lymphodepleted, self.rates.t_cell_recovery)]

    def follow(self, until: float) -> None:
        """Let time pass to a day, or to where the run stops, with everything that is planned till then."""
        while self.plan and self.plan[0][0] <= until and not self.stop:
            day, _, event = self.plan.pop(0)
            self._run_to(day)
            if not self.stop:
                event()
        if not self.stop:
            self._run_to(until)

    def _run_to(self, day: float) -> None:
        """Let the engine run to a day, or to where it stops."""
        if day <= self.day:
            return
        code, self.day, self.b_cells, ticks = run(
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
        self.stop = {counts.TOO_LARGE: Stop.SIZE_LIMIT, counts.REACHED_LIMIT: Stop.RELAPSE}.get(code)

    def lymphodeplete(self) -> None:
        """Thin the leukaemia and, after day 0, CAR T cells, which fall as normal T cells do.

        Normal B cells stay: their number at the start is that which lymphodepletion leaves, and few are above it later.
        """
        self.cells = thin(self.luck, self.cells, self.regimen.lymphodepletion_log10_kill)
        if self.day > 0:
            fall = math.log10(self.rates.t_cell_capacity / self.rates.t_cell_nadir)
            self.car_t = thin(self.luck, self.car_t, fall)
            self.recoveries.append((self.day, self.day, self.rates.t_cell_recovery))
        self.lymphodepleted = self.day

    def give(self, component: str) -> None:
        """Begin with a component, if its condition is met: lymphodepletion if it needs one, then its infusions."""
        part = self.product.components[component]
        if (part.only_in_remission and not self.in_remission()) or self._too_late(component):
            return
        if (
            self.regimen.lymphodepletion
            and (self.day == 0 or part.new_lymphodepletion)
            and self.lymphodepleted != self.day
        ):
            self.lymphodeplete()
        self.infused.setdefault(component, self.day)
        dose = self.regimen.dose(self.patient.weight_kg) * part.dose_fraction
        for after, fraction in zip(self.regimen.split_days, self.regimen.split_fractions, strict=True):
            self._plan(self.day + after, partial(self.infuse, component, dose * fraction), INFUSION)

    def infuse(self, component: str, dose: float) -> None:
        """Add what is left to expand of a batch of CAR T cells."""
        if not self._too_late(component):
            c = self.patient.biology.car_t
            infuse_cells(self.car_t, self.classes, component, dose * c.engrafted_fraction, c.memory_fraction)

    def _too_late(self, component: str) -> bool:
        """The patient's own cells are not given after a transplant."""
        return not self.product.components[component].donor and not math.isnan(self.day_transplant)

    def reject(self) -> None:
        """From now on the patient's own CAR T cells are rejected."""
        hazard = self.patient.biology.car_t.rejection_per_day
        self.rates = self.rates._replace(rejection=np.where(self._autologous(), hazard, 0.0))

    def _autologous(self) -> NDArray[np.bool_]:
        """(C,) whether a class is made from the patient's own cells."""
        return np.array([not self.product.components[c.component].donor for c in self.classes])

    def in_remission(self) -> bool:
        """Whether the patient would be called in remission now."""
        hidden = int(self.cells[self.letters.sanctuary].sum())
        return self.clinic.in_remission(float(self.cells.sum() - hidden), float(hidden))

    def assess(self) -> None:
        """Stop without remission; with it, from now on stop at relapse."""
        if not self.in_remission():
            self.stop = Stop.NO_REMISSION
        self.limits = self.clinic.marrow_cells(self.clinic.relapse_blast_fraction), self.clinic.extramedullary_cells

    def transplant(self) -> None:
        """Allogeneic transplant, if the patient is one of those who get it and in remission.

        Conditioning thins the leukaemia, normal B cells and the patient's own CAR T cells; the graft then kills
        leukaemic cells whatever their antigens; donor-derived CAR T cells may follow.
        """
        how = self.regimen.transplant
        if self.patient.transplant_luck >= how.fraction or not self.in_remission():
            return
        own = self._autologous()
        self.cells = thin(self.luck, self.cells, how.conditioning_log10_kill)
        self.car_t[own] = thin(self.luck, self.car_t[own], how.car_t_log10_kill)
        self.b_cells = binomial(self.luck, self.b_cells, 10.0**-how.car_t_log10_kill)
        graft = how.graft_kill_per_day * math.exp(how.graft_kill_per_day_sigma * self.patient.graft_z)
        self.rates = self.rates._replace(graft=graft, t_cell_recovery=how.t_cell_recovery_per_day)
        self.lymphodepleted = self.day_transplant = self.day
        self.recoveries.append((self.day, self.day, how.t_cell_recovery_per_day))
        for name, part in self.product.components.items():
            if part.donor:
                self._plan(self.day + part.day, partial(self.give, name))

    def visit(self) -> None:
        """Count normal B cells; where they have come back, some patients get their product once more."""
        how, back = self.regimen.reinfusion, self.clinic.aplasia_below_cells(self.patient.biology.host)
        chosen = self.patient.reinfusion_luck < how.fraction and math.isnan(self.day_reinfusion)
        returned = self.b_cells >= back and self.seen.b_cells[: math.floor(self.day) + 1].min() < back
        if not chosen or not returned or not math.isnan(self.day_transplant) or not self.in_remission():
            return
        self.day_reinfusion = self.day
        if how.lymphodepletion:
            self.lymphodeplete()
        for name in list(self.infused):
            self._plan(self.day + self.product.components[name].day, partial(self.give, name), BATCH)

    def _make_plan(self) -> None:
        """What happens on which day."""
        for name, part in self.product.components.items():
            if not part.donor:
                self._plan(part.day, partial(self.give, name), BATCH)
        self._plan(self.patient.rejection_day, self.reject)
        reinfusion, transplant = self.regimen.reinfusion, self.regimen.transplant
        if reinfusion.fraction > 0:
            for day in np.arange(reinfusion.visit_days, reinfusion.window_days + 1, reinfusion.visit_days):
                if day > self.clinic.assessment_day:
                    self._plan(float(day), self.visit)
        if transplant.fraction > 0:
            self._plan(transplant.day, self.transplant)
        if self.engine.stop_at_failure:
            self._plan(float(self.clinic.assessment_day), self.assess, ASSESSMENT)

    def _plan(self, day: float, event: Callable[[], None], rank: int = OTHERS) -> None:
        """Let something happen on a day; nothing after follow-up.

        On one day the assessment comes first, since what is recorded of a day is what was there before its events;
        then batches begin, are infused, and the rest follows, each in the order in which it was planned.
        """
        if day <= self.follow_up_days:
            self.plan.append((day, rank, event))
            self.plan.sort(key=lambda planned: planned[:2])

    def trajectory(self) -> Trajectory:
        """The records up to now."""
        last = math.floor(self.day) + 1
        return Trajectory(
            day=np.arange(last, dtype=float),
            cells=self.seen.cells[:last],
            car_t=self.seen.car_t[:last],
            b_cells=self.seen.b_cells[:last],
            recoveries=tuple(self.recoveries),
            kills=self.seen.kills[:last],
            entry=self.entry,
            stop=self.stop or Stop.COMPLETED,
            ticks=self.ticks,
            alphabet=self.letters,
            classes=self.classes,
            patient=self.patient,
            product=self.product,
            infused=dict(self.infused),
            day_transplant=self.day_transplant,
            day_reinfusion=self.day_reinfusion,
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
