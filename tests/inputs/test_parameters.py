"""Every number has a row; every row is complete; every fault is named with its rule and the way out."""

from __future__ import annotations

from itertools import chain

import pytest

from escape_abm.inputs.biology import Biology
from escape_abm.inputs.checks import InputError, check
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import Cohort
from escape_abm.inputs.products import Component, Construct
from escape_abm.inputs.regimen import Regimen
from escape_abm.inputs.row_table import ParameterRow, parameter_rows
from escape_abm.inputs.rows import references
from escape_abm.inputs.settings import Engine
from escape_abm.interface.composition import compose

SECTIONS = {"biology": Biology(), "clinic": Clinic(), "cohort": Cohort(), "regimen": Regimen(), "engine": Engine()}
ROWS = list(chain.from_iterable(parameter_rows(section, name) for name, section in SECTIONS.items()))
UNIT_ENDINGS = {
    "per_day": ("1/d", "cells/d"),
    "per_division": ("1/division",),
    "cells": ("cells",),
    "molecules": ("molecules/cell",),
    "days": ("d",),
    "fold": ("ratio",),
    "fraction": ("fraction",),
    "sigma": ("sd of ln",),
    "kg": ("kg",),
    "day": ("d",),
    "log10_kill": ("log10",),
    "um": ("um",),
    "um2_per_min": ("um2/min",),
    "sd": ("logit",),
}
NAMED_OTHERWISE = {
    "hill": "none",
    "stimulation_hill": "none",
    "sanctuary_access": "ratio",
    "stripping_per_contact": "ratio",
    "tolerance": "hazard x tick",
}


def test_there_are_rows() -> None:
    assert len(ROWS) > 90


@pytest.mark.parametrize("line", ROWS, ids=lambda r: r.path)
def test_row_is_complete(line: ParameterRow) -> None:
    assert line.source in references(), f"no such source: {line.source}"
    assert line.grade in ("A", "B", "C")
    assert line.meaning.endswith((".", ").")), "a row says in a sentence what it is"
    low, high = line.allowed
    assert low <= line.value <= high
    assert low <= line.plausible[0] <= line.value <= line.plausible[1] <= high
    if line.source == "assumed":
        assert line.grade == "C"


@pytest.mark.parametrize("line", ROWS, ids=lambda r: r.path)
def test_name_tells_the_unit(line: ParameterRow) -> None:
    name = line.path.rsplit(".", 1)[-1]
    if name in NAMED_OTHERWISE:
        assert line.unit == NAMED_OTHERWISE[name]
        return
    ending = next((e for e in UNIT_ENDINGS if name.endswith(e)), None)
    assert ending is not None, f"{name} does not end in a unit"
    assert line.unit.startswith(UNIT_ENDINGS[ending])


def test_every_number_of_the_sections_is_a_row() -> None:
    bare = []
    for model in (*map(type, SECTIONS.values()), Component, Construct):
        for name, field in model.model_fields.items():
            number = isinstance(field.default, float) and not isinstance(field.default, bool)
            if number and not (isinstance(field.json_schema_extra, dict) and "source" in field.json_schema_extra):
                bare.append(f"{model.__name__}.{name}")
    assert bare == ["Regimen.dose_cells"]  # None or a number; its source is in its docstring


def test_sources_have_addresses() -> None:
    for key, line in references().items():
        assert line["citation"], key
        assert line["url"] or key in ("assumed", "start", "recalled", "cd28_ox40_tandem", "crs_fit"), key


def test_sources_of_constructs_exist() -> None:
    for arm in compose(["trial=none"]).arms:
        for part in arm.components.values():
            for construct in part.constructs.values():
                changed = {n for n, v in construct if n.endswith("_fold") and v != Construct.model_fields[n].default}
                assert changed == set(construct.sources), f"{arm.name}: a trait without a source"
                assert set(construct.sources.values()) <= set(references())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"leukaemia": {"net_groth_per_day": 1}},
            ["net_groth_per_day", "Did you mean 'biology.leukaemia.net_growth_per_day'"],
        ),
        ({"leukaemia": {"net_growth_per_day": -1}}, ["-1", "between 0 and 1", "row's value is 0.097"]),
        ({"leukaemia": {"net_growth_per_day": float("nan")}}, ["net_growth_per_day", "finite", "0.097"]),
        ({"leukaemia": {"net_growth_per_day": "fast"}}, ["'fast'", "number", "0.097"]),
        ({"antigens": {"cd19": {"hits_to_loss": 3}}}, ["hits_to_loss=3", "1 or 2"]),
        ({"car_t": {"rejection_first_day": 300}}, ["300", "120", "lower the first or raise the last"]),
        ({"host": {"t_cell_nadir_cells": 1e12}}, ["1e+12", "below", "raise the capacity"]),
        ({"routes_off": ["lineage_swich"]}, ["lineage_swich", "Did you mean 'lineage_switch'"]),
    ],
)
def test_faults_are_explained(data: dict[str, object], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        check(Biology, data, "biology")
    for word in words:
        assert word in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        check(Biology, {"leukaemia": {"net_growth_per_day": -1, "death_per_day": 99}}, "biology")
    assert len(str(caught.value).splitlines()) == 2
