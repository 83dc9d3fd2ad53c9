"""The mean field of one patient under one product as a reaction network: what SBML holds, as data.

Rates are the law's own functions run on names (`terms`): recognition and its like become parameters that are computed
from the rows, what cells are to one another becomes rules, and every hazard times the cells that it acts on is the rate
of one reaction. Treatment is in `treatment`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from escape_abm.engines.engine import LONG_AGO
from escape_abm.exchange import terms
from escape_abm.exchange.terms import NONE, Term, Unit
from escape_abm.inputs import rows
from escape_abm.inputs.cohort import Patient
from escape_abm.inputs.products import CarClass, Product
from escape_abm.inputs.row_table import ParameterRow, parameter_rows
from escape_abm.inputs.settings import Settings
from escape_abm.law import hazards, rates
from escape_abm.law.rates import Rates
from escape_abm.law.states import CAR_T_PHENOTYPES, EFFECTOR, EXHAUSTED, MEMORY, MYELOID, Alphabet, State, alphabet_of

SectionT = TypeVar("SectionT", bound=rows.Section)
PER_DAY: Unit = (0, -1)
CELLS: Unit = (1, 0)
DAYS: Unit = (0, 1)
UNITS = {"1/d": PER_DAY, "cells": CELLS, "d": DAYS, "cells/d": (1, -1)}
"""Units of rows; all others are ratios, shares and powers, also molecules per cell, which are counted."""


class Species(NamedTuple):
    """A kind of cell, with its number at the start: a number or a formula."""

    id: str
    name: str
    amount: Any


class Quantity(NamedTuple):
    """A parameter.

    Attributes:
        id, name, value, unit: What it is called and is at the start.
        formula: Of a derived parameter or a rule.
        kind: constant (a row, or computed from rows at the start), rule (follows the cells), set (by an event).
        row: The parameter row that it is.
    """

    id: str
    name: str
    value: float
    unit: Unit
    formula: str = ""
    kind: str = "constant"
    row: ParameterRow | None = None


class Reaction(NamedTuple):
    """Something that happens to one cell: names of what is used up and of what is made, and cells per day."""

    id: str
    name: str
    used: tuple[str, ...]
    made: tuple[str, ...]
    rate: Any


class Event(NamedTuple):
    """What is set, all at once, on a day."""

    id: str
    name: str
    day: float
    sets: dict[str, str]


@dataclass
class Network:
    """A model as other programs hold it. `notes` says in sentences what it is, and what it leaves out."""

    id: str
    name: str
    notes: list[str]
    species: list[Species] = field(default_factory=list)
    quantities: list[Quantity] = field(default_factory=list)
    reactions: list[Reaction] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def used(self) -> list[Quantity]:
        """The quantities that a rate, a rule, an event or a start refers to, and all rules."""
        by_id = {q.id: q for q in self.quantities}
        queue = [r.rate.text for r in self.reactions] + [t for e in self.events for t in [*e.sets, *e.sets.values()]]
        queue += [s.amount.text for s in self.species if isinstance(s.amount, Term)]
        queue += [name for name, q in by_id.items() if q.kind == "rule"]
        wanted: set[str] = set()
        while queue:
            for name in set(re.findall(r"[A-Za-z_]\w*", queue.pop())) & by_id.keys() - wanted:
                wanted.add(name)
                queue.append(by_id[name].formula)
        return [q for q in self.quantities if q.id in wanted]


class Cells(NamedTuple):
    """The names of all cells as terms: leukaemic ones (S,), CAR T cells (C, 3), normal B cells."""

    leukaemia: NDArray[Any]
    car_t: NDArray[Any]
    b_cells: Term


class Builder:
    """A network in the making: the settings and the patient with names in place of their numbers."""

    def __init__(self, settings: Settings, patient: Patient, product: Product, cells: NDArray[np.int64]) -> None:
        """Name everything.

        Args:
            settings: The configuration.
            patient: Whose traits the biology has.
            product: What the patient is given.
            cells: (S,) leukaemic cells when treatment begins.
        """
        self.patient_values, self.settings, self.start = patient, settings, cells
        name = f"{product.name}_patient_{patient.index}"
        self.network = Network(re.sub(r"\W|^(?=\d)", "_", name), f"{product.label}, patient {patient.index}", [])
        self.letters: Alphabet = alphabet_of(patient.biology)
        self.biology = self.named_rows(patient.biology, "biology", "")
        self.clinic = self.named_rows(settings.clinic, "clinic")
        self.regimen = self.named_rows(settings.regimen, "regimen")
        self.product = self.named_rows(product, "product")
        self.patient = replace(patient, biology=self.biology)
        self.classes: tuple[CarClass, ...] = self.patient.car_classes(self.product)
        self.cells = self._cells()

    # ------------------------------------------------------------------------------------------------------ names

    def named_rows(self, section: SectionT, prefix: str, short: str | None = None) -> SectionT:
        """A section with a term in place of the value of each of its rows."""
        named: dict[str, Any] = {}
        for row in parameter_rows(section, prefix):
            path = row.path.removeprefix(f"{prefix}.")
            name = re.sub(r"\W", "_", row.path if short is None else path)
            unit = UNITS.get(row.unit, NONE)
            self.network.quantities.append(Quantity(name, row.path, float(row.value), unit, row=row))
            named[path] = Term(name, float(row.value), unit)
        return rows.replace(section, named)

    def plain(self, name: str, said: str, value: float, unit: Unit) -> Term:
        """A number of this patient's treatment that is no row."""
        if all(q.id != name for q in self.network.quantities):
            self.network.quantities.append(Quantity(name, said, value, unit))
        return Term(name, value, unit)

    def derived(self, name: str, said: str, term: Any) -> Any:
        """A parameter that is computed from rows at the start."""
        if not isinstance(term, Term) or term.binds == terms.ATOM:
            return term
        if all(q.id != name for q in self.network.quantities):
            self.network.quantities.append(Quantity(name, said, term.value, term.unit, term.text))
        return Term(name, term.value, term.unit)

    def rule(self, name: str, said: str, term: Any, unit: Unit = NONE) -> Term:
        """A quantity that follows the cells."""
        value = float(term)
        text, unit = (term.text, term.unit) if isinstance(term, Term) else (terms.number(term, unit), unit)
        self.network.quantities.append(Quantity(name, said, value, unit, text, "rule"))
        return Term(name, value, unit, fixed=False)

    def changing(self, name: str, said: str, value: float, unit: Unit) -> Term:
        """A quantity that an event sets."""
        self.network.quantities.append(Quantity(name, said, value, unit, kind="set"))
        return Term(name, value, unit, fixed=False)

    def _cells(self) -> Cells:
        leukaemia = np.empty(len(self.letters), dtype=object)
        for i, (state, number) in enumerate(zip(self.letters.states, self.start, strict=True)):
            name = state_id(state, self.letters)
            self.network.species.append(Species(name, state_name(state, self.letters, i), float(number)))
            leukaemia[i] = Term(name, float(number), CELLS, fixed=False)
        car_t = np.empty((len(self.classes), 3), dtype=object)
        for s, car in enumerate(self.classes):
            for k, phenotype in enumerate(CAR_T_PHENOTYPES):
                name = f"{phenotype}_{s + 1}"
                self.network.species.append(Species(name, f"{car.label} ({car.component}), {phenotype}", 0.0))
                car_t[s, k] = Term(name, 0.0, CELLS, fixed=False)
        begin = terms.nearest(self.biology.host.b_cells_at_start_cells)
        self.network.species.append(Species("normal_b_cells", "Normal B cells", begin))
        return Cells(leukaemia, car_t, Term("normal_b_cells", begin.value, CELLS, fixed=False))

    # ------------------------------------------------------------------------------------------------------ the law

    def named_rates(self) -> Rates:
        """The law's rates, made of the rows' names; what is computed from several of them has a name of its own."""
        hill = terms.traced(rates.hill)
        made = terms.traced(rates.make_rates, {"hill": hill, "parameter": terms.traced(rates.parameter)})
        found: Rates = self._shortened(made(self.biology, self.classes, infused=True))
        return found

    def _shortened(self, made: Rates) -> Any:
        short: dict[str, Any] = {}
        known: dict[str, Any] = {}
        for name, value in made._asdict().items():
            if name.startswith("leave_"):
                continue  # sums of what each route has
            if not isinstance(value, np.ndarray):
                short[name] = self.derived(name, name, value)
            elif value.dtype == object:
                short[name] = self._shortened_array(name, value, known)
        return made._replace(**short)

    def _shortened_array(self, name: str, values: NDArray[Any], known: dict[str, Any]) -> NDArray[Any]:
        """The same terms, each under one name, numbered as they come."""
        out = values.copy()
        for place, term in np.ndenumerate(values):
            text = term.text if isinstance(term, Term) else ""
            if text and text not in known:
                number = sum(q.id.startswith(f"{name}_") for q in self.network.quantities) + 1
                known[text] = self.derived(f"{name}_{number}", self._said(name, place), term)
            out[place] = known[text] if text else term
        return out

    def _said(self, name: str, place: tuple[int, ...]) -> str:
        """What a derived rate is of: a class of CAR T cells, the first state or route that has it."""
        first = self.classes[place[0]].label if name not in ("access", "division_fold", "route_rate") else ""
        last = ""
        if len(place) == 2 or not first:
            routes = name in ("strip_weight", "route_rate")
            state = int(self.letters.route_from[place[-1]]) if routes else place[-1]
            last = state_name(self.letters.states[state], self.letters, state)
        return ", ".join(part for part in (name.replace("_", " "), first, last) if part)

    def around(self, of: Rates, day_lymphodepleted: Term) -> hazards.Surroundings:
        """What cells are to one another, as rules."""
        days = Term("time", 0.0, DAYS, fixed=False) - day_lymphodepleted
        surroundings = terms.traced(hazards.surroundings)
        found = terms.explore(lambda: surroundings(of, *self.cells, days))
        per_class: dict[str, Any] = {
            name: np.array([self.rule(f"{name}_{s + 1}", f"{said}, {self.classes[s].label}", term)
                            for s, term in enumerate(getattr(found, name))], dtype=object)
            for name, said in (("hunters", "memory and effector cells"), ("activation", "activation"))
        }  # fmt: skip
        whole: dict[str, Any] = {name: self.rule(name, said, getattr(found, name)) for name, said in WHOLE.items()}
        return hazards.Surroundings(**whole, **per_class)

    def react(self, of: Rates, around: hazards.Surroundings) -> None:
        """Every way of being born, dying and changing, at the law's hazards."""
        law = {name: terms.traced(getattr(hazards, name)) for name in HAZARDS}
        for found in [*self._of_leukaemia(law, of, around), *self._of_car_t(law, of, around)]:
            self._add(found)
        b = "normal_b_cells"
        self._add(Reaction("b_cell_source", "normal B cells come", (), (b,), of.b_source))
        lost = (of.b_death + law["kill_hazard_b"](of, around)) * self.cells.b_cells
        self._add(Reaction("b_cell_loss", "normal B cells die or are killed", (b,), (), lost))

    def _add(self, reaction: Reaction) -> None:
        if isinstance(reaction.rate, Term):  # otherwise it is 0
            self.network.reactions.append(reaction)

    def _of_leukaemia(
        self, law: dict[str, Callable[..., Any]], of: Rates, around: hazards.Surroundings
    ) -> Iterator[Reaction]:
        letters, cells = self.letters, self.cells.leukaemia
        for i, cell in enumerate(cells):
            birth, death = law["birth_hazard"](of, around, i), law["death_hazard"](of, around, i)
            yield Reaction(f"birth_{i}", f"birth of {cell.text}", (cell.text,), (cell.text, cell.text), birth * cell)
            yield Reaction(f"death_{i}", f"death of {cell.text}", (cell.text,), (), death * cell)
            for r in range(letters.route_first[i], letters.route_first[i + 1]):
                to = cells[of.route_to[r]].text
                rate = law["route_hazard"](of, around, i, r) * cell
                yield Reaction(f"route_{r}", letters.route_names[r], (cell.text,), (to,), rate)

    def _of_car_t(
        self, law: dict[str, Callable[..., Any]], of: Rates, around: hazards.Surroundings
    ) -> Iterator[Reaction]:
        for s, cells in enumerate(self.cells.car_t):
            memory, effector, exhausted = (cell.text for cell in cells)
            m, e, _ = cells
            lost = [law["car_t_death"](of, s, k) for k in (MEMORY, EFFECTOR, EXHAUSTED)]
            becomes_two = law["activation_hazard"](of, around, s) * m
            n = s + 1
            yield Reaction(f"activation_{n}_of_memory", "activation", (memory,), (effector, effector), becomes_two)
            birth = law["effector_birth"](of, around, s) * e
            yield Reaction(f"effector_birth_{n}", "effector division", (effector,), (effector, effector), birth)
            tired = law["exhaustion_hazard"](of, around, s) * e
            yield Reaction(f"exhaustion_{n}", "exhaustion", (effector,), (exhausted,), tired)
            yield Reaction(f"rest_{n}", "return to memory", (effector,), (memory,), of.to_memory * e)
            for k, cell in enumerate(cells):
                said = CAR_T_PHENOTYPES[k]
                yield Reaction(f"{said}_death_{n}", f"death of {said} cells", (cell.text,), (), lost[k] * cell)


WHOLE = {
    "pressure": "kill hazard of a fully recognised marrow cell per CAR T cell",
    "division": "births per day of a founder cell",
    "lymphopenia": "1 right after lymphodepletion, 0 when T cells have recovered",
}
"""Surroundings that are the same for all classes."""
HAZARDS = (
    "birth_hazard", "death_hazard", "route_hazard", "kill_hazard_b", "activation_hazard", "effector_birth",
    "exhaustion_hazard", "car_t_death",
)  # fmt: skip
"""The functions of the law that the reactions have their rates of."""
NEVER = LONG_AGO
"""Day of the last lymphodepletion if there was none."""


def state_id(state: State, letters: Alphabet) -> str:
    """Name of a leukaemic state in formulas."""
    shown = [f"{name}_{a.alleles}_{a.shown}" for name, a in zip(letters.antigens, state.antigens, strict=True)]
    parts = [MYELOID] if state.lineage == MYELOID else ["b", *shown]
    parts += ["progenitor"] * state.progenitor
    return re.sub(r"\W", "_", "_".join([*parts, state.niche, state.origin]))


def state_name(state: State, letters: Alphabet, place: int) -> str:
    """What a reader calls a leukaemic state."""
    kind = "" if state.lineage == MYELOID else ", progenitor-like" if state.progenitor else ", committed"
    alleles = "" if state.lineage == MYELOID else " alleles " + "/".join(str(a.alleles) for a in state.antigens)
    return f"{letters.phenotypes[place]}{kind}{alleles}, {state.niche}, {state.origin}"
