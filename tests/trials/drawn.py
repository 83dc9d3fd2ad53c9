"""Hypothesis strategies: any settings that the door lets in, drawn from the parameter rows themselves."""

from __future__ import annotations

import math
import os
from functools import cache
from typing import Any

from hypothesis import HealthCheck, Phase, reject
from hypothesis import settings as profile
from hypothesis import strategies as st

from escape_abm.inputs.biology import route_names
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.row_table import ParameterRow, parameter_rows
from escape_abm.inputs.settings import Settings, make_settings
from escape_abm.interface.composition import compose

SECTIONS = ("biology", "clinic", "cohort", "regimen", "engine")
EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
"""Examples of each property in the long form; 0: few, and the same ones in every run."""


def few(n: int) -> profile:
    """The profile of a property: so many examples where the suite runs, EXAMPLES random ones in the long form."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return profile(
        max_examples=EXAMPLES or n,
        derandomize=not EXAMPLES,
        phases=(Phase.explicit, Phase.generate),  # settings are few numbers already, and shrinking takes minutes
        deadline=None,
        database=None,
        suppress_health_check=slow,
    )


def _value(r: ParameterRow, at: float | str) -> float:
    """A value of a row: an end of its allowed or plausible range, or a place between the ends of the plausible one."""
    ends = {"low": r.allowed[0], "high": r.allowed[1], "unlikely low": r.plausible[0], "unlikely high": r.plausible[1]}
    if isinstance(at, str):
        return ends[at]
    low, high = r.allowed if abs(at) > 1 else r.plausible
    share = abs(at) % 1
    if low > 0 and high / low > 100:
        return math.exp(math.log(low) + share * math.log(high / low))
    return low + share * (high - low)


PLACES = st.one_of(
    st.sampled_from(["low", "high", "unlikely low", "unlikely high"]), st.floats(0, 0.999), st.floats(1, 1.999)
)


PAIRS = (
    ("tandem", "cd19_fmc63"),
    ("coadministered", "sequential"),
    ("cotransduced", "cd22_m971"),
    ("tandem", "sequential"),
)


@cache
def default() -> Settings:
    """One small trial, with every product as a comparator."""
    words = ["biology=starting_fit", "clinic=standard", "workers=1", "trajectories.patients=2"]
    return compose(["trial=none", "product=bicistronic", "trajectories.every_days=7", *words])


@cache
def rows() -> list[ParameterRow]:
    """Every row of every section but the length of ticks, which is drawn apart: the shortest take minutes."""
    every = [r for name in SECTIONS for r in parameter_rows(getattr(default(), name), name)]
    return [r for r in every if r.path != "engine.tolerance"]


@st.composite
def configurations(draw: st.DrawFn, *fixed: tuple[str, Any], size: int = 2) -> Settings:
    """Settings of a small trial of two products, with up to a dozen rows, routes and choices changed."""
    start = default()
    data: dict[str, Any] = start.model_dump()
    product, other = draw(st.sampled_from(PAIRS))
    data |= {"product": data["comparators"][product], "comparators": {other: data["comparators"][other]}}
    for r in draw(st.lists(st.sampled_from(rows()), max_size=12, unique_by=lambda r: r.path)):
        value = _value(r, draw(PLACES))
        put(data, r.path, round(value) if isinstance(r.value, int) else value)
    data["biology"]["routes_off"] = draw(
        st.lists(st.sampled_from(route_names(start.biology.antigens)), max_size=3, unique=True)
    )
    data["cohort"] |= {"size": size, "clones": draw(st.sampled_from(["grown", "grown", "none"]))}
    data["engine"] |= {"stop_at_failure": draw(st.booleans()), "tolerance": draw(st.sampled_from([0.2, 0.5, 1.0]))}
    data["regimen"] |= {"lymphodepletion": draw(st.booleans())}
    data["regimen"]["dose_cells"] = draw(st.sampled_from([0, 1, 6e7, 1e12]))
    data |= {"follow_up_months": draw(st.sampled_from([1, 4, 13])), "seed": draw(st.integers(0, 2**63 - 1))}
    for path, given in fixed:
        put(data, path, given)
    try:
        return make_settings(data)
    except InputError:
        reject()


def put(data: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path."""
    *above, name = path.split(".")
    for part in above:
        data = data[part]
    data[name] = value
