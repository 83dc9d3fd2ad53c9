"""What is done to the patient, as events of the network, and the model as a whole.

All that happens on one day is one event, since the order of simultaneous events differs between programs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from escape_abm.engines.chance import luck_of
from escape_abm.engines.engine import Counts, make_engine
from escape_abm.exchange import terms
from escape_abm.exchange.network import CELLS, DAYS, NEVER, PER_DAY, Builder, Event, Network
from escape_abm.exchange.terms import NONE, Term
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import COURSE, Patient
from escape_abm.inputs.products import Component, Product
from escape_abm.inputs.settings import Settings
from escape_abm.law.states import EFFECTOR, MEMORY
from escape_abm.patient.course import bridge, infuse_cells
from escape_abm.patient.leukaemia import grow_leukaemia

TRANSPLANTED, NOT_TRANSPLANTED = "transplanted > 0.5 dimensionless", "transplanted < 0.5 dimensionless"


def before_infusion(settings: Settings, patient: Patient) -> Counts:
    """(S,) leukaemic cells just before lymphodepletion, as the simulator draws them: at entry, then bridged.

    Raises:
        InputError: the burden cannot be reached.
    """
    cells, luck = grow_leukaemia(patient, settings.engine), luck_of(patient.stream(COURSE))
    return bridge(
        cells, patient, settings.regimen, luck, make_engine(settings.engine, patient, (), luck), settings.engine
    )


def mean_field(settings: Settings, patient: Patient, product: Product, cells: Counts | None = None) -> Network:
    """The mean field of a patient under a product, day 0 being the first infusion.

    Args:
        settings: Regimen, clinic and length of follow-up.
        patient: Who, for example from `sample_patient` or `median_patient`.
        product: What is given.
        cells: (S,) leukaemic cells just before lymphodepletion; drawn as the simulator does if left out.

    Raises:
        InputError: the product is against an antigen that the biology does not have, or the burden cannot be reached.
    """
    start = before_infusion(settings, patient) if cells is None else cells
    return _Treated(Builder(settings, patient, product, np.asarray(start))).network


class _Treated:
    """A network with treatment: `now` is what each quantity is set to on the day that is written."""

    def __init__(self, builder: Builder) -> None:
        self.builder, self.network, self.cells = builder, builder.network, builder.cells
        self.settings, self.patient, self.regimen = builder.settings, builder.patient_values, builder.regimen
        self.now: dict[str, Term] = {}
        self.names: list[str] = []
        b = builder
        how = self.settings.regimen.transplant
        self.transplant = how.fraction > self.patient.transplant_luck and how.day <= self.settings.follow_up_days
        self.lymphodepleted = b.changing("day_lymphodepleted", "day of the last lymphodepletion", NEVER, DAYS)
        of: Any = b.named_rates()
        if math.isfinite(self.patient.rejection_day):
            said = "hazard by which the patient rejects"
            rejection = [b.changing(f"rejection_{s + 1}", f"{said} {c.label}", 0.0, PER_DAY) if self._own(c.component)
                         else 0.0 for s, c in enumerate(b.classes)]  # fmt: skip
            of = of._replace(rejection=np.array(rejection, dtype=object))
        if self.transplant:
            b.changing("transplanted", "1 after the transplant", 0.0, NONE)
            recovery = b.changing("t_cell_recovery", "recovery of normal T cells", float(of.t_cell_recovery), PER_DAY)
            of = of._replace(
                graft=b.changing("graft", "kill hazard of the graft", 0.0, PER_DAY), t_cell_recovery=recovery
            )
        self.rates = of
        self._observe()
        b.react(of, b.around(of, self.lymphodepleted))
        self._treat()
        self.network.notes += _notes(self.settings, self.patient, self.transplant)

    def _own(self, component: str) -> bool:
        return not self.builder.product.components[component].donor

    def _observe(self) -> None:
        """Sums that a reader wants to see, and whether this is remission."""
        hidden, cells, b = self.builder.letters.sanctuary, self.cells.leukaemia, self.builder
        marrow = b.rule("marrow_cells", "leukaemic cells in the marrow", sum(cells[~hidden]), CELLS)
        sanctuary = b.rule("sanctuary_cells", "leukaemic cells in sanctuaries", sum(cells[hidden]), CELLS)
        b.rule("car_t_cells", "CAR T cells", self.cells.car_t.sum(), CELLS)
        blasts = b.rule("blast_fraction", "blasts in the marrow", terms.traced(Clinic.blast_fraction)(b.clinic, marrow))
        clinic = b.clinic.model_copy()
        object.__setattr__(clinic, "blast_fraction", lambda _: blasts)
        # Written into the events and no rule: with one, COPASI 4.48 stops on day 0 (docs/neighbours.md).
        self.in_remission = terms.holds(lambda: clinic.in_remission(marrow, sanctuary))  # type: ignore[arg-type]

    # --------------------------------------------------------------------------------------------------- the days

    def _treat(self) -> None:
        """An event for each day on which something is done, up to the end of follow-up."""
        done = sorted(self._done(), key=lambda d: d[:2])  # stable: otherwise as planned
        for day in dict.fromkeys(d[0] for d in done if d[0] <= self.settings.follow_up_days):
            self.now, self.names = {}, []
            for what in (d[2:] for d in done if d[0] == day):
                getattr(self, what[0])(*what[1:])
            sets = {name: term.text for name, term in self.now.items()}
            name = re_id(day)
            self.network.events.append(Event(f"day_{name}", ", ".join(dict.fromkeys(self.names)), day, sets))

    def _done(self) -> Iterator[tuple[Any, ...]]:
        """Day, rank on that day (batches, infusions, others, as in the course), what, with what."""
        regimen, rejection = self.settings.regimen, self.patient.rejection_day
        for name, part in self.builder.product.components.items():
            if part.donor and not self.transplant:
                continue
            day = float(part.day) + (regimen.transplant.day if part.donor else 0.0)
            yield day, 1, "begin", name, part, day
            for after, fraction in zip(regimen.split_days, regimen.split_fractions, strict=True):
                yield day + after, 2, "infuse", name, part, day + after, fraction, after == 0
        if math.isfinite(rejection):
            yield rejection, 3, "reject"
        if self.transplant:
            yield regimen.transplant.day, 4, "do_transplant"

    def set(self, name: str, value: Any, old: Term, condition: str) -> None:
        """Let a quantity have another value, if a condition holds at the start of the day's event."""
        before = self.now.get(name, old)
        if not isinstance(value, Term):
            value = Term(terms.number(value, old.unit), value, old.unit)
        self.now[name] = terms.either(condition, value, before) if condition else value

    def is_now(self, term: Term) -> Term:
        """What a quantity is at this moment of the day."""
        return self.now.get(term.text, term)

    def _condition(self, part: Component, day: float) -> str:
        """What must hold for a component to be begun, or infused, on a day."""
        parts = [self.in_remission] * part.only_in_remission + [TRANSPLANTED] * part.donor
        if self.transplant and not part.donor and day > self.settings.regimen.transplant.day:
            parts.append(NOT_TRANSPLANTED)
        return " && ".join(parts)

    def begin(self, name: str, part: Component, day: float) -> None:
        """Begin with a component: say so where it depends on something, and lymphodeplete if it needs that."""
        condition = self._condition(part, day)
        if part.only_in_remission:
            begun = self.builder.changing(f"begun_{name}", f"1 once {name} is begun", 0.0, NONE)
            self.set(begun.text, 1.0, begun, condition)
        if self.settings.regimen.lymphodepletion and (day == 0 or part.new_lymphodepletion):
            self.lymphodeplete(day, condition)

    def lymphodeplete(self, day: float, condition: str) -> None:
        """Thin the leukaemia and, after day 0, CAR T cells."""
        if "lymphodepletion" in self.names:
            return
        self.names.append("lymphodepletion")
        kill = self.builder.derived(
            "lymphodepletion_survival", "share of leukaemic cells that survive lymphodepletion",
            10.0 ** -self.regimen.lymphodepletion_log10_kill,
        )  # fmt: skip
        self._thin(self.cells.leukaemia, kill, condition)
        if day > 0:
            self._thin(self.cells.car_t.ravel(), self.rates.t_cell_nadir / self.rates.t_cell_capacity, condition)
        self.set("day_lymphodepleted", Term("time", 0.0, DAYS, fixed=False), self.lymphodepleted, condition)

    def _thin(self, cells: Any, survive: Any, condition: str) -> None:
        for cell in cells:
            self.set(cell.text, self.is_now(cell) * survive, cell, condition)

    def infuse(self, name: str, part: Component, day: float, fraction: float, same_day: bool) -> None:
        """Add what is left to expand of a batch."""
        self.names.append(f"infusion of {name}")
        b, condition = self.builder, self._condition(part, day)
        if part.only_in_remission and not same_day:
            condition = condition.replace(self.in_remission, f"begun_{name} > 0.5 dimensionless")
        c = b.biology.car_t
        dose = self._dose() * part.dose_fraction * fraction * c.engrafted_fraction
        car_t = np.array([[self.is_now(cell) for cell in line] for line in self.cells.car_t], dtype=object)
        give = terms.traced(infuse_cells, {"round": terms.nearest})
        give(car_t, b.classes, name, dose, c.memory_fraction)
        for s, car in enumerate(b.classes):
            if car.component == name:
                for k in (MEMORY, EFFECTOR):
                    self.set(self.cells.car_t[s, k].text, car_t[s, k], self.cells.car_t[s, k], condition)

    def _dose(self) -> Any:
        """CAR+ cells of a whole dose."""
        regimen = self.settings.regimen
        dose = regimen.dose(self.patient.weight_kg)
        said = "CAR+ cells of a whole dose"
        if regimen.dose_cells is None:
            said += f": {regimen.dose_cells_per_kg:g} per kg for {self.patient.weight_kg:.4g} kg"
        return self.builder.plain("dose_cells", said, dose, CELLS)

    def reject(self) -> None:
        """From now on the patient's own CAR T cells are rejected."""
        self.names.append("rejection")
        for hazard in self.rates.rejection:
            if isinstance(hazard, Term):
                self.set(hazard.text, self.builder.biology.car_t.rejection_per_day, hazard, "")

    def do_transplant(self) -> None:
        """Conditioning and graft, if the patient is in remission."""
        self.names.append("transplant")
        how, b = self.regimen.transplant, self.builder
        survive = b.derived("conditioning_survival", "leukaemic cells left by conditioning",
                            10.0 ** -how.conditioning_log10_kill)  # fmt: skip
        left = b.derived("conditioning_survival_t", "own CAR T and B cells left by conditioning",
                         10.0 ** -how.car_t_log10_kill)  # fmt: skip
        own = np.array([self._own(car.component) for car in b.classes])
        self._thin(self.cells.leukaemia, survive, self.in_remission)
        self._thin(self.cells.car_t[own].ravel(), left, self.in_remission)
        self._thin([self.cells.b_cells], left, self.in_remission)
        strength = math.exp(how.graft_kill_per_day_sigma.value * self.patient.graft_z)  # type: ignore[attr-defined]
        fold = b.plain("graft_fold", "how strong the graft is in this patient", strength, NONE)
        self.set("graft", how.graft_kill_per_day * fold, self.rates.graft, self.in_remission)
        self.set("t_cell_recovery", how.t_cell_recovery_per_day, self.rates.t_cell_recovery, self.in_remission)
        self.set("day_lymphodepleted", Term("time", 0.0, DAYS, fixed=False), self.lymphodepleted, self.in_remission)
        self.set("transplanted", 1.0, Term("transplanted", 0.0, NONE, fixed=False), self.in_remission)


def re_id(day: float) -> str:
    """A day as part of a name."""
    return f"{day:g}".replace(".", "_").replace("-", "before_")


def _notes(settings: Settings, patient: Patient, transplant: bool) -> list[str]:
    """What the model is, and what it leaves out, in sentences."""
    out = [
        "Mean-field equations of one virtual patient: expected numbers of cells in the limit of large numbers. "
        "A fraction of a cell grows like a whole one, so this model does not say who relapses.",
        "Time is in days from the first infusion. Cells at the start are those just before lymphodepletion, as the "
        f"simulator draws them for patient {patient.index} of seed {patient.seed}; growth from one cell, an earlier "
        "CAR and bridging lie before.",
        "Not in this model: the end of a run at relapse or without remission, death, cytokine release, what a read-out "
        "misses, and differences between patients.",
    ]
    if settings.regimen.reinfusion.fraction > patient.reinfusion_luck:
        out.append(
            "Not in this model: the second infusion when normal B cells return early. It depends on visits and on what "
            "was counted on each day before."
        )
    if transplant:
        out.append("This patient is transplanted if in remission on that day.")
    return out
