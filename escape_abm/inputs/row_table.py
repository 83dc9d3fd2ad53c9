"""All parameter rows as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from escape_abm.inputs.biology import CD22_SOURCES, Biology
from escape_abm.inputs.rows import Section

# ---------------------------------------------------------------------------------------------- rows as a table


class ParameterRow(NamedTuple):
    """One line of the parameter table."""

    path: str
    value: float
    unit: str
    allowed: tuple[float, float]
    plausible: tuple[float, float]
    source: str
    grade: str
    meaning: str


def parameter_rows(section: Section | None = None, prefix: str = "biology") -> Iterator[ParameterRow]:
    """Walk a section (default: the default biology) and yield its rows, depth first."""
    section = Biology() if section is None else section
    for name, field in type(section).model_fields.items():
        value, path = getattr(section, name), f"{prefix}.{name}"
        if isinstance(value, Section):
            yield from parameter_rows(value, path)
        elif isinstance(value, dict):
            for key, item in value.items():
                if isinstance(item, Section):
                    yield from parameter_rows(item, f"{path}.{key}")
        elif isinstance(field.json_schema_extra, dict) and "unit" in field.json_schema_extra:
            extra: dict[str, Any] = dict(field.json_schema_extra)
            source, grade, plausible = extra["source"], extra["grade"], tuple(extra["plausible"])
            if prefix.endswith(".cd22"):
                source, grade, plausible = CD22_SOURCES.get(name, (source, grade, plausible))
            yield ParameterRow(
                path, value, extra["unit"], tuple(extra["allowed"]), plausible, source, grade, field.description or ""
            )
