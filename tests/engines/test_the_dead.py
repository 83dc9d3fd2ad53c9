"""A cell that has been removed never acts again, whoever still holds it and whichever set of agents is walked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from escape_abm.engines.cells import CarTCell, CellModel, LivingCell
from escape_abm.engines.grid import MarrowGrid
from escape_abm.inputs.products import car_classes
from escape_abm.law.rates import make_rates
from escape_abm.law.states import alphabet_of
from tests.engines.populations import busy, make_engine, product, run, start


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What was removed, what acted, and who acted after its removal; every cell ever made is held."""
    log: dict[str, list[Any]] = {"made": [], "removed": [], "acted": [], "dead": []}
    gone: set[int] = set()
    plain = {name: getattr(LivingCell, name) for name in ("__init__", "decide", "apply", "remove")}

    def made(cell: LivingCell, *args: Any, **more: Any) -> None:
        log["made"].append(cell)
        plain["__init__"](cell, *args, **more)

    def removed(cell: LivingCell) -> None:
        if id(cell) in gone:
            log["dead"].append((cell, "remove"))
        plain["remove"](cell)
        gone.add(id(cell))
        log["removed"].append(cell)

    def watched(name: str) -> Any:
        def act(cell: LivingCell) -> None:
            log["acted"].append(name)
            if id(cell) in gone:
                log["dead"].append((cell, name))
            plain[name](cell)

        return act

    monkeypatch.setattr(LivingCell, "__init__", made)
    monkeypatch.setattr(LivingCell, "remove", removed)
    for name in ("decide", "apply"):
        monkeypatch.setattr(LivingCell, name, watched(name))
    return log


def lived(name: str, days: float = 2.0) -> tuple[CellModel, tuple[Any, ...]]:
    """A busy marrow after some days, and its numbers."""
    biology, treatment = busy(2500), product("cotransduced")
    letters, classes = alphabet_of(biology), car_classes(treatment, biology.antigens)
    rates = make_rates(biology, classes, infused=True)
    engine = make_engine(name, biology, treatment, 3)
    after = run(engine, rates, letters, *start(biology, treatment, 400, 200, 30), days)
    return engine.__self__, after  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["cells", "grid"])
def test_the_dead_do_not_act(name: str, acts: dict[str, list[Any]]) -> None:
    model, _ = lived(name)
    assert len(acts["removed"]) > 100
    assert acts["acted"].count("decide") > 1000
    assert acts["dead"] == []
    there = {id(cell) for cell in model.agents}
    assert not there & {id(cell) for cell in acts["removed"]}
    assert len(acts["made"]) == len(there) + len(acts["removed"])
    if isinstance(model, MarrowGrid):
        standing = [agent for site in model.sites for agent in site.agents]
        assert not {id(agent) for agent in standing} & {id(cell) for cell in acts["removed"]}


@pytest.mark.parametrize("name", ["cells", "grid"])
def test_holding_the_dead_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mesa walks weak references in places: a course must not depend on who holds what is gone."""
    _, free = lived(name)
    held, plain = [], LivingCell.__init__

    def made(cell: LivingCell, *args: Any, **more: Any) -> None:
        held.append(cell)
        plain(cell, *args, **more)

    monkeypatch.setattr(LivingCell, "__init__", made)
    _, kept = lived(name)
    assert len(held) > 500
    assert all(np.array_equal(a, b) for a, b in zip(free, kept, strict=True))


def test_a_cell_that_takes_another_out_would_be_seen(
    acts: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were CAR T cells to kill by removal in the middle of a tick, the dead would act: that is noticed."""
    watched = LivingCell.decide

    def kill(cell: CarTCell) -> None:
        victims = acts["made"][-3:]
        for victim in victims:
            if victim is not cell and victim in cell.model.agents:
                victim.remove()
                victim.decide()
        watched(cell)

    monkeypatch.setattr(CarTCell, "decide", kill)
    lived("cells", days=0.25)
    assert acts["dead"]
