"""A patient's marrow day by day: a Mesa model that includes treatment, to watch, step and draw.

`course.simulate` runs a patient to the end; `MarrowModel` is the same course of the cells engine on a marrow grid, one
day per step, with agents that can be inspected in between.
"""

from __future__ import annotations

import math

from escape_abm.engines.engine import agents_seed
from escape_abm.engines.grid import MarrowGrid
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.cohort import sample_patient
from escape_abm.inputs.settings import Settings
from escape_abm.law.rates import make_rates
from escape_abm.law.states import alphabet_of
from escape_abm.patient.course import Course, Stop, Trajectory
from escape_abm.patient.endpoints import patient_row
from escape_abm.patient.leukaemia import grow_leukaemia


class MarrowModel(MarrowGrid):
    """One patient's marrow under one product: `step()` is a day.

    Attributes:
        course: The treatment: what is there, what was there on each day, what is planned, why it stopped.
        running: Whether the course goes on; it does not after the patient's death.
        day_death: Of the patient, up to now; nan while alive.
    """

    def __init__(self, settings: Settings, patient: int = 0) -> None:
        """Grow the patient's leukaemia, treat it, and stop at day 0, just after the first infusion.

        Args:
            settings: With `engine.name=cells`; the product is `settings.product`.
            patient: Which patient of the cohort.

        Raises:
            InputError: the settings are of the whole patient.
        """
        if settings.engine.name != "cells":
            raise InputError(f"engine.name={settings.engine.name}: only agents can be watched; choose engine=cells")
        self.settings = settings = settings.sampled()
        who = sample_patient(patient, settings.seed, settings.cohort, settings.biology)
        classes = who.car_classes(settings.product)
        super().__init__(
            alphabet_of(who.biology),
            classes,
            make_rates(who.biology, classes, infused=True),
            rng=agents_seed(who),
            sites=round(who.biology.leukaemia.carrying_capacity_cells),
            space=settings.engine.space,
        )
        self.course = Course(
            who,
            settings.product,
            settings.regimen,
            settings.clinic,
            follow_up_days=settings.follow_up_days,
            engine=settings.engine,
            entry=grow_leukaemia(who, settings.engine),
            advance=self.advance,
        )
        self.day_death = math.nan
        self.populate(self.course.cells, self.course.car_t, self.course.b_cells)

    def step(self) -> None:
        """One day, with everything that is planned for it; nothing after the patient's death."""
        if not math.isnan(self.day_death):
            return
        self.course.follow(min(self.course.day + 1, self.settings.follow_up_days))
        death = day_of_death(self.course.trajectory(), self.settings)
        self.day_death = death if death <= self.course.day else math.nan
        alive = self.course.stop is None and math.isnan(self.day_death)
        self.running = alive and self.course.day < self.settings.follow_up_days

    def trajectory(self) -> Trajectory:
        """What was there on each day up to now, or up to death."""
        return self.course.trajectory().until(self.day_death)

    def told(self) -> str:
        """The day and whether there is remission, or how the course ended."""
        if self.course.stop is not None or not math.isnan(self.day_death):
            return ended(self.trajectory(), self.settings)
        state = "remission" if self.blast_fraction < self.settings.clinic.remission_blast_fraction else "disease"
        return f"day {self.course.day:.0f}: {state}"

    @property
    def blast_fraction(self) -> float:
        """Blasts of the marrow now, all leukaemic cells counted."""
        return self.settings.clinic.blast_fraction(float(self.course.cells.sum()))


def day_of_death(path: Trajectory, settings: Settings) -> float:
    """Of a patient with this course, which may be unfinished; nan if there was none."""
    row = patient_row(path, settings.clinic, settings.follow_up_days, settings.regimen.transplant)
    return float(row["day_death"])


def ended(path: Trajectory, settings: Settings) -> str:
    """How a course ended, and when."""
    row = patient_row(path, settings.clinic, settings.follow_up_days, settings.regimen.transplant)
    if path.stop is Stop.COMPLETED and row["day_death"] < path.day[-1] + 1:
        return f"day {row['day_death']:.0f}: death of {row['cause_of_death']}"
    shown = f", {row['relapse_phenotype'].replace('-', '−')}" if row["relapse"] else ""
    return f"day {path.day[-1]:.0f}: {path.stop.value}{shown}"
