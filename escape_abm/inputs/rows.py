"""A parameter row: a value with unit, ranges, source and evidence grade.

The default in the row is the only place where a value is written. Configuration files hold differences from the rows.
Each row has two ranges. `allowed`: outside it the model has no meaning, so the value is refused. `plausible`: what the
evidence leaves open, for sliders, priors and sensitivity runs; it is widened to include the starting fit where that
lies outside, and the row then says so.

Evidence grades: A measured in patients, B measured in vitro or in animals, C fitted, tuned or assumed.

A row named `<parameter>_sigma` is the between-patient spread of `<parameter>`: the standard deviation of its logarithm.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Grade = Literal["A", "B", "C"]
START = "start"  # key of the starting fit in references.csv: plausible values before the calibration

SectionT = TypeVar("SectionT", bound=BaseModel)


class Section(BaseModel):
    """A group of rows. Immutable; unknown names, wrong types, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def row(
    value: float | int,
    unit: str,
    allowed: tuple[float, float],
    plausible: tuple[float, float],
    source: str,
    grade: Grade,
    meaning: str,
) -> Any:
    """One parameter. `source` is a key of references.csv, or "assumed"."""
    extra: Any = {"unit": unit, "allowed": [*allowed], "plausible": [*plausible], "source": source, "grade": grade}
    return Field(default=value, ge=allowed[0], le=allowed[1], description=meaning, json_schema_extra=extra)


def spread(value: float, source: str, grade: Grade = "C", plausible: tuple[float, float] = (0.0, 2.5)) -> Any:
    """The between-patient spread of the row that this row is named after."""
    return row(value, "sd of ln", (0, 4), plausible, source, grade, "Between-patient spread (lognormal).")


def rescale(section: SectionT, fold: float) -> SectionT:
    """A copy in which every number of cells is so many times as large: a larger body, or a sample of one.

    Hazards depend on ratios of numbers of cells, so the mean course grows by the same fold. Nothing is checked.
    """
    changed: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            changed[name] = rescale(value, fold)
        elif isinstance(value, dict):
            changed[name] = {k: rescale(v, fold) if isinstance(v, Section) else v for k, v in value.items()}
        elif isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("unit") in ("cells", "cells/d"):
            changed[name] = value * fold
    return section.model_copy(update=changed)


def replace(section: SectionT, values: Mapping[str, float]) -> SectionT:
    """A copy with other values at dotted paths, for example `antigens.cd19.dim_fold`. Nothing is checked."""
    below: dict[str, dict[str, float]] = {}
    changed: dict[str, Any] = {}
    for path, value in values.items():
        name, _, rest = path.partition(".")
        if rest:
            below.setdefault(name, {})[rest] = value
        else:
            changed[name] = value
    for name, inner in below.items():
        old = getattr(section, name)
        if isinstance(old, dict):
            keys = {
                key: {p.partition(".")[2]: v for p, v in inner.items() if p.partition(".")[0] == key} for key in old
            }
            changed[name] = {key: replace(item, keys[key]) for key, item in old.items()}
        else:
            changed[name] = replace(old, inner)
    return section.model_copy(update=changed)


@cache
def references() -> dict[str, dict[str, str]]:
    """Citation and address of every source key."""
    text = files("escape_abm").joinpath("references.csv").read_text(encoding="utf-8")
    return {line["key"]: line for line in csv.DictReader(text.splitlines())}


def check_source(source: str) -> None:
    """Refuse one word that is no key of references.csv; two words and more are a citation."""
    if source in references() or len(source.split()) > 1:
        return
    near = difflib.get_close_matches(source, references(), n=1, cutoff=0.8)
    raise ValueError(
        f"source={source!r} is not a key of references.csv. {f'Did you mean {near[0]!r}? ' if near else ''}"
        "Give a key, `assumed`, or the citation in words, as 'Smith 2025, Blood 145:100'"
    )
