"""Products: which classes of CAR T cells they give, and which combinations are refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from escape_abm.inputs.biology import Antigen, Biology
from escape_abm.inputs.checks import InputError, check
from escape_abm.inputs.products import Component, Construct, Product, car_classes
from escape_abm.inputs.regimen import Regimen

ANTIGENS = Biology().antigens
CD19 = Construct(antigen="cd19", stripping_fold=0.4)
CD22 = Construct(antigen="cd22", half_density_fold=0.25)


def product(**component: Any) -> Product:
    part = Component(constructs={"cd19": CD19, "cd22": CD22}, **component)
    return Product(name="x", label="X", components={"dual": part})


def test_single() -> None:
    (only,) = car_classes(Product(name="x", label="X", components={"a": Component(constructs={"a": CD19})}), ANTIGENS)
    assert only.half_density_molecules == {"cd19": ANTIGENS["cd19"].half_density_molecules}
    assert only.stripping_fold == {"cd19": 0.4}
    assert only.fraction == 1
    assert only.label == "CAR T CD19"


@pytest.mark.parametrize("architecture", ["tandem", "bicistronic"])
def test_penalty_of_the_architecture(architecture: str) -> None:
    (only,) = car_classes(product(architecture=architecture), ANTIGENS)
    for name, fold in (("cd19", 1.0), ("cd22", 0.25)):
        a = ANTIGENS[name]
        expected = a.half_density_molecules * fold * getattr(a, f"{architecture}_fold")
        assert only.half_density_molecules[name] == pytest.approx(expected, rel=1e-12)


def test_cells_with_two_cars_divide_as_their_geometric_mean() -> None:
    slow = ANTIGENS | {"cd22": ANTIGENS["cd22"].model_copy(update={"car_division_fold": 0.49})}
    folds = {
        c.label: c.division_fold
        for c in car_classes(product(architecture="cotransduced", transduced_fraction={"cd19": 0.5, "cd22": 0.5}), slow)
    }
    assert folds == pytest.approx({"CAR T CD19": 1.0, "CAR T CD22": 0.49, "CAR T CD19+CD22": 0.7})


def test_tandem_costs_cd22_most() -> None:
    assert ANTIGENS["cd22"].tandem_fold > ANTIGENS["cd19"].tandem_fold >= 1


@pytest.mark.parametrize(("f19", "f22"), [(0.59, 0.59), (0.35, 0.35), (0.9, 0.05)])
def test_cotransduction_is_poisson(f19: float, f22: float) -> None:
    """Design law 8: m = -ln(1 - f); 19 only (1 - e^-m19) e^-m22, both (1 - e^-m19)(1 - e^-m22)."""
    classes = car_classes(
        product(architecture="cotransduced", transduced_fraction={"cd19": f19, "cd22": f22}), ANTIGENS
    )
    m19, m22 = -math.log1p(-f19), -math.log1p(-f22)
    shares = {
        "CAR T CD19": (1 - math.exp(-m19)) * math.exp(-m22),
        "CAR T CD22": math.exp(-m19) * (1 - math.exp(-m22)),
        "CAR T CD19+CD22": (1 - math.exp(-m19)) * (1 - math.exp(-m22)),
    }
    carrying = 1 - math.exp(-m19 - m22)
    assert {c.label: c.fraction for c in classes} == pytest.approx(
        {k: v / carrying for k, v in shares.items()}, rel=1e-12
    )


def test_a_third_antigen_is_a_config_not_code() -> None:
    antigens = ANTIGENS | {"cd20": Antigen(hits_to_loss=1)}
    part = Component(
        architecture="cotransduced",
        constructs={"a": CD19, "b": CD22, "c": Construct(antigen="cd20")},
        transduced_fraction={"a": 0.5, "b": 0.5, "c": 0.5},
    )
    classes = car_classes(Product(name="x", label="X", components={"triple": part}), antigens)
    assert len(classes) == 7
    assert sum(c.fraction for c in classes) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "single"}, ["single", "2 constructs"]),
        ({"architecture": "cotransduced"}, ["transduced_fraction", "one fraction for each construct"]),
        (
            {"architecture": "cotransduced", "transduced_fraction": {"cd19": 1.2, "cd22": 0.5}},
            ["1.2", "between 0 and 1"],
        ),
        ({"architecture": "tandem", "transduced_fraction": {"cd19": 0.5, "cd22": 0.5}}, ["cotransduced, not tandem"]),
        ({"architecture": "trimeric"}, ["trimeric", "tandem"]),
        ({"architecture": "tandem", "day": -3}, ["day=-3", "between 0 and 3650"]),
        ({"architecture": "tandem", "dose_fraction": -0.1}, ["dose_fraction=-0.1"]),
    ],
)
def test_impossible_components(change: dict[str, Any], words: list[str]) -> None:
    data = {"constructs": {"cd19": CD19.model_dump(), "cd22": CD22.model_dump()}} | change
    with pytest.raises(InputError) as caught:
        check(Component, data, "component")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sources": {"half_density_fold": "smith2025"}}, ["'smith2025'", "not a key of references.csv. Give a key"]),
        ({"sources": {"half_density_fold": "majzner2200"}}, ["Did you mean 'majzner2020'"]),
        ({"sources": {"half_density": "assumed"}}, ["sources.half_density", "Did you mean 'half_density_fold'"]),
        ({"costimulation": "CD82"}, ["costimulation='CD82'", "'CD28'", "'CD28-OX40'"]),
    ],
)
def test_impossible_constructs(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        check(Construct, {"antigen": "cd19", "half_density_fold": 0.5} | change, "construct")
    for word in words:
        assert word in str(caught.value)


def test_a_citation_is_a_source_of_a_trait() -> None:
    cited = {"half_density_fold": "Smith 2025, Blood 145:100"}
    assert Construct(antigen="cd19", half_density_fold=0.5, sources=cited).sources == cited


def test_costimulation_is_a_label() -> None:
    one, other = (Construct(antigen="cd19", costimulation=name) for name in ("4-1BB", "CD28"))
    parts = [{"only": Component(constructs={"cd19": construct})} for construct in (one, other)]
    first, second = (car_classes(Product(name="x", label="X", components=part), ANTIGENS) for part in parts)
    assert first == second


def test_two_cars_against_one_antigen() -> None:
    with pytest.raises(InputError, match="same antigen"):
        check(Component, {"architecture": "tandem", "constructs": {"a": CD19.model_dump(), "b": CD19.model_dump()}})


@pytest.mark.parametrize(
    ("days", "schedule", "words"),
    [
        ([0.0], "sequential", "one infusion"),
        ([0.0, 0.0], "sequential", "same day"),
        ([0.0, 90.0], "together", "schedule=sequential"),
        ([10.0, 90.0], "sequential", "day 0 is the first infusion"),
    ],
)
def test_impossible_schedules(days: list[float], schedule: str, words: str) -> None:
    parts = {f"p{i}": {"constructs": {"a": CD19.model_dump()}, "day": day} for i, day in enumerate(days)}
    with pytest.raises(InputError, match=words):
        check(Product, {"name": "x", "label": "X", "schedule": schedule, "components": parts})


def test_unknown_antigen() -> None:
    part = Component(constructs={"a": Construct(antigen="cd91")})
    with pytest.raises(InputError, match="Did you mean 'cd19'"):
        car_classes(Product(name="x", label="X", components={"a": part}), ANTIGENS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dose_cells": 1e8, "dose_cells_per_kg": 1e6}, "exactly one"),
        ({"dose_cells": None}, "exactly one"),
        ({"split_fractions": [0.5, 0.6], "split_days": [0, 1]}, "add up to 1"),
        ({"split_fractions": [1.5, -0.5], "split_days": [0, 1]}, "not be negative"),
        ({"split_fractions": [0.5, 0.5], "split_days": [1, 0]}, "start with 0 and rise"),
        ({"split_fractions": [0.5, 0.5]}, "as many days"),
    ],
)
def test_impossible_regimens(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check(Regimen, change, "regimen")


def test_dose() -> None:
    assert Regimen(dose_cells=1e8).dose(20) == 1e8
    assert Regimen(dose_cells=None, dose_cells_per_kg=1e6).dose(20) == 2e7
