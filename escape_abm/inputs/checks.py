"""Validation: plain data become checked settings, or an error that names the value, the rule and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from escape_abm.inputs.rows import SectionT


class InputError(ValueError):
    """A value that the model cannot take; the message names the value, the rule and the way out."""


# ------------------------------------------------------------------------------------------------------ the door


def suggest(name: str, known: Iterator[str] | tuple[str, ...] | list[str], above: str = "") -> str:
    """A sentence with the nearest known name, behind the part of its key above it, or the list of all."""
    known = tuple(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not near:
        return f"Choose one of: {', '.join(known)}" if known else "There is none to choose from"
    return f"Did you mean {above + near[0]!r}?"


def check(model: type[SectionT], data: Mapping[str, Any], prefix: str = "") -> SectionT:
    """Turn plain data into a checked `model`.

    Raises:
        InputError: one line for each fault, with the value, the rule and the way out.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_explain(fault, model, prefix) for fault in error.errors()]
        raise InputError("\n".join(lines)) from None


def _explain(fault: Any, model: type[BaseModel], prefix: str) -> str:
    where = ".".join(str(part) for part in ((prefix,) if prefix else ()) + tuple(fault["loc"]))
    value, kind, context = fault["input"], fault["type"], fault.get("ctx", {})
    shown = f"{where}={value!r}" if not isinstance(value, dict | BaseModel) else where
    if kind == "extra_forbidden":
        name = str(fault["loc"][-1])
        known = _field_names(model, fault["loc"][:-1])
        return f"{where}: no such key. {suggest(name, known, where.removesuffix(name))}"
    if kind in ("greater_than_equal", "less_than_equal", "greater_than", "less_than"):
        field = _field(model, fault["loc"])
        extra = field.json_schema_extra if field is not None and isinstance(field.json_schema_extra, dict) else {}
        if "allowed" in extra:
            (low, high), unit = extra["allowed"], extra["unit"]
            return f"{shown}: must lie between {low:g} and {high:g} ({unit}){_default(field)}"
        bound = next(iter(context.values()))
        word = {"greater_than_equal": "at least", "less_than_equal": "at most"}.get(kind, kind.replace("_", " "))
        return f"{shown}: must be {word} {bound:g}"
    if kind == "missing":
        return f"{where}: is missing; give it a value"
    if kind == "value_error":
        return f"{shown}: {context['error']}" if where else str(context["error"])
    return f"{shown}: {fault['msg'][0].lower()}{fault['msg'][1:]}{_default(_field(model, fault['loc']))}"


def _default(field: Any) -> str:
    """The way out for a value that is refused: what it is by default."""
    default = getattr(field, "default", None)
    whose = "row's value" if getattr(field, "json_schema_extra", None) else "default"  # a run may start from another
    return f"; the {whose} is {default!r}" if isinstance(default, float | int | str) else ""


def _model_at(model: type[BaseModel], loc: tuple[Any, ...]) -> type[BaseModel] | None:
    """The model class that a path of field names, dictionary keys and indices leads to."""
    current: type[BaseModel] | None = model
    in_collection = False
    for part in loc:
        if current is None:
            return None
        if in_collection:
            in_collection = False
            continue
        field = current.model_fields.get(str(part))
        if field is None:
            return None
        inner = [t for t in _flatten(field.annotation) if isinstance(t, type) and issubclass(t, BaseModel)]
        in_collection = getattr(field.annotation, "__origin__", None) in (dict, tuple, list)
        current = inner[0] if inner else None
    return current


def _flatten(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _flatten(inner)


def _field_names(model: type[BaseModel], loc: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(getattr(_model_at(model, loc), "model_fields", ()))


def _field(model: type[BaseModel], loc: tuple[Any, ...]) -> Any:
    return getattr(_model_at(model, loc[:-1]), "model_fields", {}).get(str(loc[-1]))
