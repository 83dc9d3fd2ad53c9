"""Events that depend on something: remission, a transplant, what was begun before."""

from __future__ import annotations

import pytest

from escape_abm.exchange import sbml
from tests.exchange.sbml_evaluator import Model
from tests.exchange.test_sbml import FEW, case

SPLIT = ("regimen.split_fractions=[0.4,0.6]", "regimen.split_days=[0,7]")
ONLY = ("product.components.cd22.only_in_remission=true", *SPLIT)
DONOR = ("product.components.cd22.donor=true", "product.components.cd22.day=30", "product.schedule=together")
TRANSPLANT = ("regimen.transplant.fraction=1", "regimen.transplant.day=69")


@pytest.mark.parametrize(("cells", "given"), [(1e8, True), (1e11, False)])
def test_the_second_batch_is_for_those_in_remission(cells: float, given: bool) -> None:
    """Its later part too, whatever has become of remission by then."""
    _, _, net, xml = case("sequential", *FEW, *ONLY)
    assert [e.day for e in net.events] == [0.0, 7.0, 40.5, 116.0, 123.0]
    model = Model(xml)
    model.known |= dict.fromkeys(model.species, 0.0) | {model.species[0]: cells}
    model.happen("day_116")
    assert (model.known["memory_2"] > 0, model.known[model.species[0]] < cells) == (given, given)
    first = model.known["effector_2"]
    model.known[model.species[0]] = 1e9 if not given else 1e11
    model.happen("day_123")
    assert model.known["effector_2"] == pytest.approx(first * 2.5, rel=1e-6)
    assert (model.known["effector_2"] > 0) == given


@pytest.mark.parametrize(("cells", "given"), [(1e8, True), (1e11, False)])
def test_a_donors_cells_follow_the_transplant(cells: float, given: bool) -> None:
    _, _, net, xml = case("sequential", *FEW, *DONOR, *TRANSPLANT)
    assert [e.day for e in net.events] == [0.0, 40.5, 69.0, 99.0]
    assert sbml.text(sbml.document(net)) == xml
    model = Model(xml)
    model.known |= dict.fromkeys(model.species, 0.0) | {model.species[0]: cells}
    model.happen("day_69")
    model.known[model.species[0]] = 1e8
    model.happen("day_99")
    assert (model.known["transplanted"], model.known["memory_2"] > 0) == (float(given), given)
    assert "rejection_2" not in model.known  # only the patient's own are rejected
