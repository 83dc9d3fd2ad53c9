"""The model as SBML: its maths is the law's, its events are the course's, and other programs do not stumble over it."""

from __future__ import annotations

import importlib
import math
import re
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import libsbml
import numpy as np
import pytest

from escape_abm.exchange import network, sbml, terms
from escape_abm.exchange.treatment import mean_field
from escape_abm.inputs.cohort import Patient, median_patient, sample_patient
from escape_abm.inputs.rows import references
from escape_abm.inputs.settings import Engine, Settings
from escape_abm.interface.composition import compose
from escape_abm.law import hazards
from escape_abm.law.rates import make_rates
from escape_abm.law.states import alphabet_of
from escape_abm.patient.course import INFUSION, Course
from tests.exchange.sbml_evaluator import Model

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
FLOW: Any = importlib.import_module("mean_field").flow.py_func
"""The mean field's own equations, not compiled; the functions of the law that it calls are."""

TRANSPLANT = ("regimen.transplant.fraction=1", "regimen.transplant.day=150", "regimen.transplant.car_t_log10_kill=2")
FEW = (
    "biology.routes_off=[cd22_dimming,cd22_stripping,cd22_silencing,cd22_allele_loss,cd19_silencing,progenitor_entry,"
    "lineage_switch]",
)
"""For fewer states: libSBML's checks of all 140 take four seconds."""
REJECTION_DAY = 40.5


@cache
def case(product: str, *words: str) -> tuple[Settings, Patient, Any, str]:
    """Settings, a patient who is not the median one, the network and its SBML."""
    settings = compose([f"product={product}", "comparators=none", "trial=none", *words])
    patient = sample_patient(3, 1, settings.cohort, settings.biology)
    patient = replace(patient, rejection_day=REJECTION_DAY)
    cells = np.full(len(alphabet_of(patient.biology)), 10**9)
    net = mean_field(settings, patient, settings.product, cells)
    return settings, patient, net, sbml.text(sbml.document(net))


def expected_change(settings: Settings, patient: Patient, y: Any, days: float, rejected: bool, graft: float) -> Any:
    """Change per day by the mean field of the benchmarks, of leukaemia, CAR T and B cells in one array."""
    classes = patient.car_classes(settings.product)
    rates = make_rates(patient.biology, classes, infused=True)
    rejection = np.full(len(classes), patient.biology.car_t.rejection_per_day * rejected)
    rates = rates._replace(rejection=rejection, graft=graft)
    n, out = len(rates.access), np.empty_like(y)
    around = hazards.surroundings(rates, y[:n], y[n:-1].reshape(-1, 3), y[-1], days)
    FLOW(rates, around, y, out)
    return out


@pytest.mark.parametrize("words", [("tandem",), ("sequential", *FEW)])
def test_the_maths_is_the_laws(words: tuple[str, ...]) -> None:
    """At random states, without CAR T cells and with, before and after rejection: within 1e-12 of the largest terms."""
    settings, patient, net, xml = case(*words)
    model, rng = Model(xml), np.random.default_rng(1)
    names = [s.id for s in net.species]
    assert names == model.species
    for hunted, rejected, day in ((0.0, False, 3.0), (1.0, False, 20.0), (1.0, True, 300.0)):
        y = 10.0 ** rng.uniform(0, 9.5, len(names)) * (rng.random(len(names)) < 0.9)
        y[len(net.species) - 1 - 3 * len(patient.car_classes(settings.product)) : -1] *= hunted
        model.known |= dict(zip(names, y, strict=True)) | {"time": day, "day_lymphodepleted": 0.0}
        rejection = patient.biology.car_t.rejection_per_day * rejected
        model.known |= {name: rejection for name in model.known if name.startswith("rejection_")}
        found = np.array(list(model.change().values()))
        want = expected_change(settings, patient, y, day, rejected, 0.0)
        assert np.max(np.abs(found - want) / (np.abs(want) + 1e-3 * y + 1.0)) < 1e-10
        # Cancelling of gains and losses is left aside: each rate by itself is compared below.
        model.follow()
        classes = patient.car_classes(settings.product)
        rates = make_rates(patient.biology, classes, infused=True)
        n = len(rates.access)
        around = hazards.surroundings(rates, y[:n], y[n:-1].reshape(-1, 3), y[-1], day)
        ours = [around.pressure, around.division, around.lymphopenia, *around.hunters, *around.activation]
        each = [f"{name}_{s + 1}" for name in ("hunters", "activation") for s in range(len(classes))]
        theirs = [model.known[name] for name in ("pressure", "division", "lymphopenia", *each)]
        np.testing.assert_allclose(theirs, ours, rtol=1e-12)
        by_reaction, law = model.rates(), hazards.no_hazards(n, len(rates.route_to), len(classes))
        law_of = rates._replace(rejection=np.full(len(classes), rejection))
        hazards.find_hazards(law_of, around, np.arange(n), law)
        for kind, hazard in (("birth", law.birth * y[:n]), ("death", law.death * y[:n])):
            np.testing.assert_allclose([by_reaction[f"{kind}_{i}"] for i in range(n)], hazard, rtol=1e-12)
        switching = law.route * y[:n][np.repeat(np.arange(n), np.diff(rates.route_first))]
        theirs = [by_reaction.get(f"route_{r}", 0.0) for r in range(switching.size)]
        np.testing.assert_allclose(theirs, switching, rtol=1e-12)


def test_a_changed_row_changes_the_maths() -> None:
    """A density on the blasts, set in the SBML itself, has the effect that it has here."""
    settings, patient, net, xml = case("tandem")
    changed = replace(patient, biology=patient.biology.model_copy(deep=True))
    changed.biology.antigens["cd19"].__dict__["blast_density_molecules"] = 777.0
    at = 'id="antigens_cd19_blast_density_molecules" '
    model = Model(re.sub(rf'({at}[^>]*value=")[^"]*', r"\g<1>777", xml))
    y = np.full(len(net.species), 1e8)
    model.known |= dict(zip(model.species, y, strict=True)) | {"time": 20.0, "day_lymphodepleted": 0.0}
    want = expected_change(settings, changed, y, 20.0, False, 0.0)
    np.testing.assert_allclose(list(model.change().values()), want, rtol=1e-9)
    assert not np.allclose(want, expected_change(settings, patient, y, 20.0, False, 0.0), rtol=1e-3)


def test_events_do_what_the_course_does() -> None:
    """Lymphodepletions, infusions, rejection, transplant: as the simulator, which draws who survives."""
    settings, patient, net, xml = case("sequential", *TRANSPLANT)
    assert [(e.day, e.name) for e in net.events] == [
        (0.0, "lymphodepletion, infusion of cd19"),
        (REJECTION_DAY, "rejection"),
        (116.0, "lymphodepletion, infusion of cd22"),
        (150.0, "transplant"),
    ]
    model, chosen = Model(xml), replace(patient, transplant_luck=0.0)
    cells = np.array([10**9] * len(alphabet_of(patient.biology)))
    course = Course(
        chosen, settings.product, settings.regimen, settings.clinic,
        follow_up_days=365, engine=Engine(stop_at_failure=False), entry=cells,
    )  # fmt: skip
    model.happen("day_0")
    agree(model, course)
    assert math.isclose(model.known["memory_1"], course.car_t[0, 0])
    course.day = REJECTION_DAY
    course.reject()
    model.happen("day_40_5")
    assert [model.known["rejection_1"], model.known["rejection_2"]] == list(course.rates.rejection)
    for day, event, begin in ((116.0, "day_116", lambda: course.give("cd22")), (150.0, "day_150", course.transplant)):
        course.cells[:], course.car_t[:], course.b_cells, course.day = 10**8, 10**9, 10**9, day
        model.known |= dict.fromkeys(model.species, 1e9) | dict.fromkeys(model.species[: cells.size], 1e8)
        model.known["time"] = day
        begin()
        for planned in [p for p in course.plan if p[:2] == (day, INFUSION)]:
            planned[2]()
        model.happen(event)
        agree(model, course)
        assert model.known["day_lymphodepleted"] == course.lymphodepleted == day
    assert math.isclose(model.known["graft"], course.rates.graft)
    assert model.known["t_cell_recovery"] == course.rates.t_cell_recovery


def agree(model: Model, course: Course) -> None:
    """Whether numbers are those of the simulator but for the chance of who survives (1e-2: ten standard errors)."""
    known = np.array([model.known[name] for name in model.species])
    ours = np.concatenate([course.cells, course.car_t.ravel(), [course.b_cells]])
    np.testing.assert_allclose(known, ours, rtol=1e-2)


def test_without_remission_no_transplant() -> None:
    _, _, net, xml = case("sequential", *TRANSPLANT)
    model = Model(xml)
    before = dict.fromkeys(model.species, 1e10)
    model.known |= before | {"time": 150.0}
    model.happen("day_150")
    assert {name: model.known[name] for name in model.species} == before
    assert model.known["transplanted"] == 0
    assert len(net.species) == len(before)


def test_libsbml_finds_nothing_and_would() -> None:
    doc = libsbml.readSBMLFromString(case("sequential", *TRANSPLANT, *FEW)[3])
    assert sbml.faults(doc) == []
    doc.getModel().getParameter("killing_kill_per_day").setUnits("item")
    assert any("unit" in said for _, said in sbml.faults(doc))


def test_every_quantity_has_a_unit_and_cells_are_counted() -> None:
    """Without `item` COPASI takes numbers for moles."""
    model = libsbml.readSBMLFromString(case("tandem")[3]).getModel()
    assert (model.getSubstanceUnits(), model.getExtentUnits(), model.getTimeUnits()) == ("item", "item", "day")
    species = list(model.getListOfSpecies())
    assert {(s.getSubstanceUnits(), s.getHasOnlySubstanceUnits()) for s in species} == {("item", True)}
    assert [c.getSize() for c in model.getListOfCompartments()] == [1.0]  # others forget it
    assert [p.getId() for p in model.getListOfParameters() if not p.getUnits()] == []
    law = next(r.getKineticLaw() for r in model.getListOfReactions() if r.getId() == "death_0")
    unit = libsbml.UnitDefinition.printUnits(law.getDerivedUnitDefinition(), True)
    assert "item" in unit
    assert "86400" in unit


def test_every_row_says_where_it_is_from() -> None:
    _, _, net, xml = case("tandem")
    model = libsbml.readSBMLFromString(xml).getModel()
    rows = [q for q in net.used() if q.row is not None]
    assert len(rows) > 50
    for quantity in rows:
        made = model.getParameter(quantity.id)
        said = " ".join(made.getNotesString().split())
        assert quantity.row.meaning.split("<")[0][:20] in said or "&" in said
        assert "Source of the default: " in said
        has_address = bool((references().get(quantity.row.source) or {}).get("url"))
        assert (made.getNumCVTerms() > 0) == has_address
    assumed = next(q for q in rows if q.row.source == "assumed")
    assert "Source of the default: assumed" in model.getParameter(assumed.id).getNotesString()


def test_something_happens_in_an_empty_body() -> None:
    """libRoadRunner looks at events on time only when a reaction happens: so one always may."""
    model = Model(case("sequential", *TRANSPLANT)[3])
    model.known |= dict.fromkeys(model.species, 0.0)
    assert sum(model.rates().values()) > 1e6


def test_rules_ask_no_more_than_whether_there_are_car_t_cells() -> None:
    """COPASI's solver stops on day 0 if a rule of the same model asks for remission."""
    _, _, net, _ = case("sequential", *TRANSPLANT)
    rules = [q for q in net.used() if q.kind == "rule"]
    assert [q.id for q in rules if "piecewise" in q.formula] == ["pressure"]


def test_antimony_says_the_same() -> None:
    import antimony

    _, _, net, xml = case("cotransduced", *FEW)
    text = sbml.antimony(xml)
    antimony.clearPreviousLoads()
    assert antimony.loadAntimonyString(text) >= 0
    back, there = Model(antimony.getSBMLString(antimony.getMainModuleName())), Model(xml)
    for model in (back, there):
        model.known |= {s.id: 1e7 + i for i, s in enumerate(net.species)} | {"time": 5.0, "day_lymphodepleted": 0.0}
        model.known["rejection_1"] = 0.0
    rates = there.rates()
    assert back.rates() == pytest.approx(rates, rel=1e-12)


def test_what_cannot_be_exported_is_told() -> None:
    settings = compose(["product=tandem", "comparators=none", "trial=none", "regimen.reinfusion.fraction=1"])
    patient = median_patient(1, settings.cohort, settings.biology)
    net = mean_field(settings, patient, settings.product, np.zeros(len(alphabet_of(patient.biology)), dtype=np.int64))
    assert any("second infusion" in note for note in net.notes)
    assert not any("second infusion" in note for note in case("tandem")[2].notes)


def test_terms_of_different_units_are_not_added() -> None:
    cells, days = terms.Term("c", 1.0, network.CELLS), terms.Term("d", 1.0, network.DAYS)
    with pytest.raises(ValueError, match="item and day"):
        cells + days
