"""The choices of the dashboard: sliders over parameter rows, a product, a patient; and the resulting patient."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from escape_abm.inputs.cohort import sample_patient
from escape_abm.inputs.row_table import ParameterRow, parameter_rows
from escape_abm.inputs.settings import Settings
from escape_abm.interface.composition import compose, conf_dir
from escape_abm.patient.course import simulate
from escape_abm.patient.marrow_model import MarrowModel, day_of_death

SAMPLE = ("follow_up_months=12",)  # at true rates it takes most of a year until an escape is seen
WHOLE = (*SAMPLE, "biology=starting_fit", "engine=counts", "engine.world=mixed")
"""What differs from conf/marrow.yaml in the sample, and in the whole patient beside it."""
SLIDERS = {
    "biology.antigens.cd19.blast_density_molecules": "CD19",
    "biology.antigens.cd22.blast_density_molecules": "CD22",
    "biology.killing.kill_per_day": "CAR T",
    "biology.car_t.effector_death_per_day": "CAR T",
    "biology.antigens.cd19.last_hit_per_division": "CD19",
    "biology.antigens.cd22.last_hit_per_division": "CD22",
}
"""Rows that have a slider, and whose they are."""
IN_TURN = threading.RLock()
"""Hydra and Matplotlib keep global state, and no marrow may be drawn in the middle of a day: sessions take turns."""


@lru_cache(maxsize=16)
def composed(*overrides: str, config_name: str = "marrow") -> Settings:
    """Settings by one session after the other."""
    with IN_TURN:
        return compose(overrides, config_name)


class Dial(NamedTuple):
    """A slider over the plausible range of a parameter row, in log10.

    Attributes:
        row: The row, with the value of the whole patient.
        whose: What the label starts with.
        fold: How many times as large the value is in the sample.
        low, high, step: Of the slider; a whole number of steps leads from `low` to `start`.
    """

    row: ParameterRow
    whose: str
    fold: float
    low: float
    high: float
    step: float

    @property
    def start(self) -> float:
        """Where the slider starts."""
        return math.log10(self.row.value)

    def value(self, place: float) -> float:
        """The value of the whole patient at a place of the slider (a browser moves a slider a little to draw it)."""
        return self.row.value if abs(place - self.start) < self.step / 2 else float(f"{10**place:.3g}")

    def in_sample(self, value: float) -> float:
        """What a value of the whole patient is in the sample."""
        return min(value * self.fold, self.row.allowed[1])

    def label(self, place: float) -> str:
        """What it is, its value and unit."""
        meaning, unit = self.row.meaning.split(". ")[0].split(" (")[0].rstrip("."), self.row.unit
        shown = f"{self.value(place):.3g}{unit[1:]}" if unit.startswith("1/") else f"{self.value(place):,.0f} {unit}"
        beside = f" (in the sample {self.in_sample(self.value(place)):.2g})" if self.fold != 1 else ""
        return f"{self.whose}: {meaning[0].lower()}{meaning[1:]}, {shown}{beside}"


@cache
def dials() -> dict[str, Dial]:
    """The sliders, by the key of their row.

    Antigens are lost far more often in the sample than is plausible (conf/biology/visible_escape.yaml). So a slider
    shows the rate of the whole patient; the sample has it raised by the same fold as there, as far as the row allows.
    """
    rows = {row.path: row for row in parameter_rows(composed(*WHOLE).biology)}
    sample = {row.path: row.value for row in parameter_rows(composed(*SAMPLE).biology)}
    out = {}
    for path, whose in SLIDERS.items():
        row, fold = rows[path], sample[path] / rows[path].value
        low, high = math.log10(row.plausible[0]), math.log10(min(row.plausible[1], row.allowed[1] / fold))
        way = math.log10(row.value) - low
        out[path] = Dial(row, whose, fold, low, high, way / round(40 * way / (high - low)))
    return out


@cache
def products() -> dict[str, str]:
    """Products of conf/product: label to name, those against one antigen first."""
    names = sorted(path.stem for path in (Path(conf_dir()) / "product").glob("*.yaml"))
    several = [f"+product@comparators.{name}={name}" for name in names]
    found = composed("comparators=none", "trial=none", *several, config_name="config").comparators
    return {p.label: n for n, p in sorted(found.items(), key=lambda item: (len(item[1].targets), item[1].label))}


@cache
def start() -> dict[str, Any]:
    """The choices with which the page starts: those of conf/marrow.yaml."""
    settings = composed(*SAMPLE)
    return {"product": settings.product.label, "patient": settings.patient} | {k: d.start for k, d in dials().items()}


def resolved(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Choices as they are now, with the values that sliders stand for."""
    now = {name: getattr(choice, "value", choice) for name, choice in choices.items()}
    return {name: dials()[name].value(choice) if name in dials() else choice for name, choice in now.items()}


class WatchedPatient(MarrowModel):
    """A patient's marrow made from the page's choices, and the same patient with all cells beside it.

    Attributes:
        choices: What it was made from.
        all_cells, all_settings: The course of the whole patient to the end, and its settings.
    """

    def __init__(self, scenario: object = None, **kwargs: Any) -> None:
        """Treat the patient.

        Args:
            scenario: Given by Mesa from 3.5 on, and not used.
            kwargs: Choices that differ from `start()`; a page's control stands for its `value`.
        """
        self.choices = resolved({**start(), **kwargs})
        product, patient = products()[self.choices["product"]], self.choices["patient"]
        chosen = [f"product={product}", f"patient={patient}"]
        moved = {p: (dial, self.choices[p]) for p, dial in dials().items() if self.choices[p] != dial.row.value}
        with IN_TURN:
            sample = [f"{path}={dial.in_sample(value)!r}" for path, (dial, value) in moved.items()]
            super().__init__(composed(*SAMPLE, *chosen, *sample), patient)
            s = self.all_settings = composed(*WHOLE, *chosen, *(f"{p}={v!r}" for p, (_, v) in moved.items()))
            who = sample_patient(patient, s.seed, s.cohort, s.biology)
            path = simulate(who, s.product, s.regimen, s.clinic, follow_up_days=s.follow_up_days, engine=s.engine)
            self.all_cells = path.until(day_of_death(path, s))

    def step(self) -> None:
        """One day."""
        with IN_TURN:
            super().step()

    def told(self) -> str:
        """How the sample is today, with its blasts, or how it ended."""
        said = super().told()
        over = self.course.stop is not None or not math.isnan(self.day_death)
        return said if over else f"{said}, {100 * self.blast_fraction:.2g} % blasts"
