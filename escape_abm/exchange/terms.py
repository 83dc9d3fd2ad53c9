"""Formulae out of functions: the law's own code, run on names in place of numbers, says what it computes.

A `Term` is a formula with its unit and its value at the start. Functions that are called through `traced` add, multiply
and compare terms as they would numbers. Where they ask which of two is larger and the answer may change during a run,
both answers are followed and the formula has both (`explore`). So no formula of the law is written a second time.
"""

from __future__ import annotations

import math
import operator
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Unit = tuple[int, int]
"""Powers of cells and of days."""
NONE: Unit = (0, 0)
SUM, PRODUCT, POWER, ATOM = range(4)
"""How tightly the outermost sign of a formula binds."""


def unit_id(unit: Unit) -> str:
    """Name of a unit, for example `item_per_day`."""
    if unit == NONE:
        return "dimensionless"
    names = [("item", unit[0]), ("day", unit[1])]
    above = "_".join(n if p == 1 else f"{n}{p}" for n, p in names if p > 0)
    below = "".join(f"_per_{n}" if p == -1 else f"_per_{n}{-p}" for n, p in names if p < 0)
    return above + below if above else below.removeprefix("_")


def number(value: float, unit: Unit = NONE) -> str:
    """A number with its unit, as it stands in a formula."""
    return f"{float(value)!r} {unit_id(unit)}"


class Fork(Exception):
    """A comparison whose answer changes during a run."""


_known: dict[str, bool] = {}
"""Answers to the comparisons of the path that is followed now."""


@dataclass(frozen=True)
class Condition:
    """A comparison of terms; asked for its truth, it has that of the path that is followed."""

    text: str

    def __bool__(self) -> bool:
        if self.text not in _known:
            raise Fork(self.text)
        return _known[self.text]


@dataclass(frozen=True, eq=False)
class Term:
    """A formula.

    Attributes:
        text: The formula, as SBML's Level 3 infix notation has it.
        value: What it is at the start of the run.
        unit: Its unit.
        fixed: Whether it stays as it is during a run.
        binds: How tightly its outermost sign binds.
    """

    text: str
    value: float
    unit: Unit = NONE
    fixed: bool = True
    binds: int = ATOM

    def within(self, binds: int) -> str:
        """The formula as part of one that binds so tightly."""
        return self.text if self.binds >= binds else f"({self.text})"

    def __add__(self, other: Any) -> Any:
        return _sum(self, other, "+")

    def __radd__(self, other: Any) -> Any:
        return _sum(other, self, "+")

    def __sub__(self, other: Any) -> Any:
        return _sum(self, other, "-")

    def __rsub__(self, other: Any) -> Any:
        return _sum(other, self, "-")

    def __mul__(self, other: Any) -> Any:
        return _product(self, other)

    def __rmul__(self, other: Any) -> Any:
        return _product(other, self)

    def __truediv__(self, other: Any) -> Any:
        return _ratio(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _ratio(other, self)

    def __pow__(self, other: Any) -> Any:
        return power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return power(other, self)

    def __neg__(self) -> Term:
        return Term(f"-{self.within(POWER)}", -self.value, self.unit, self.fixed, PRODUCT)

    def __float__(self) -> float:
        return float(self.value)

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: Any) -> Any:
        return self.value == _value(other)

    def __lt__(self, other: Any) -> Any:
        return _compare(self, other, "<")

    def __gt__(self, other: Any) -> Any:
        return _compare(self, other, ">")

    def __le__(self, other: Any) -> Any:
        return _compare(self, other, "<=")

    def __ge__(self, other: Any) -> Any:
        return _compare(self, other, ">=")


def _value(x: Any) -> float:
    return x.value if isinstance(x, Term) else float(x)


def _unit(x: Any) -> Unit:
    return x.unit if isinstance(x, Term) else NONE


def _fixed(*every: Any) -> bool:
    return all(x.fixed for x in every if isinstance(x, Term))


def _text(x: Any, binds: int, unit: Unit = NONE) -> str:
    return x.within(binds) if isinstance(x, Term) else number(x, unit)


def _is(x: Any, value: float) -> bool:
    return not isinstance(x, Term) and float(x) == value


def _same_unit(a: Any, b: Any, sign: str) -> Unit:
    """Unit of two that are added or compared; a bare number has that of the other."""
    units = [x.unit for x in (a, b) if isinstance(x, Term)]
    if len({*units}) > 1:
        raise ValueError(f"{_text(a, SUM)} {sign} {_text(b, SUM)}: {unit_id(units[0])} and {unit_id(units[1])}")
    return units[0]


def _sum(a: Any, b: Any, sign: str) -> Any:
    if _is(b, 0):
        return a
    if _is(a, 0):
        return b if sign == "+" else -b
    unit = _same_unit(a, b, sign)
    value = _value(a) + _value(b) if sign == "+" else _value(a) - _value(b)
    if _fixed(a, b) and not math.isfinite(value):
        return value
    text = f"{_text(a, SUM, unit)} {sign} {_text(b, SUM if sign == '+' else PRODUCT, unit)}"
    return Term(text, value, unit, _fixed(a, b), SUM)


def _product(a: Any, b: Any) -> Any:
    if _is(a, 0) or _is(b, 0):
        return 0.0
    if _is(a, 1) or _is(b, 1):
        return b if _is(a, 1) else a
    value, (x, y), (u, v) = _value(a) * _value(b), _unit(a), _unit(b)
    if _fixed(a, b) and not math.isfinite(value):
        return value
    return Term(f"{_text(a, PRODUCT)} * {_text(b, POWER)}", value, (x + u, y + v), _fixed(a, b), PRODUCT)


def _ratio(a: Any, b: Any) -> Any:
    if _is(a, 0) or (not isinstance(b, Term) and math.isinf(b)):
        return 0.0
    if _is(b, 1):
        return a
    (x, y), (u, v) = _unit(a), _unit(b)
    value = _value(a) / _value(b) if _value(b) else math.nan
    if _fixed(a, b) and not math.isfinite(value):
        return value
    return Term(f"{_text(a, PRODUCT)} / {_text(b, POWER)}", value, (x - u, y - v), _fixed(a, b), PRODUCT)


def power(a: Any, b: Any) -> Any:
    """One to the power of another, both without a unit."""
    if not isinstance(a, Term) and not isinstance(b, Term):
        return math.pow(a, b)
    if _is(b, 1):
        return a
    base = a.within(ATOM) if isinstance(a, Term) else f"({number(a)})"
    return Term(f"{base}^{_text(b, ATOM)}", math.pow(_value(a), _value(b)), NONE, _fixed(a, b), POWER)


def _compare(a: Any, b: Any, sign: str) -> Any:
    """The answer, if it stays the same during a run; of one species and 0: yes, as what is added of none is nothing."""
    signs = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}
    if _fixed(a, b):
        return signs[sign](_value(a), _value(b))
    if isinstance(a, Term) and a.binds == ATOM and _is(b, 0) and sign == ">":
        return True
    unit = _same_unit(a, b, sign)
    return Condition(f"{_text(a, SUM, unit)} {sign} {_text(b, SUM, unit)}")


# ---------------------------------------------------------------------------------------------- functions, run on terms


def either(condition: str, yes: Any, no: Any) -> Any:
    """One term or the other; also of arrays and named tuples of terms."""
    if isinstance(yes, tuple):
        return type(yes)(*(either(condition, a, b) for a, b in zip(yes, no, strict=True)))
    if isinstance(yes, np.ndarray):
        out = np.empty(yes.shape, dtype=object)
        out[:] = [either(condition, a, b) for a, b in zip(yes, no, strict=True)]
        return out
    if _text(yes, SUM) == _text(no, SUM):
        return yes
    unit = yes.unit if isinstance(yes, Term) else _unit(no)
    text = f"piecewise({_text(yes, SUM, unit)}, {condition}, {_text(no, SUM, unit)})"
    return Term(text, _value(yes), unit, fixed=False)


def explore(function: Callable[[], Any], known: Mapping[str, bool] | None = None) -> Any:
    """What a function returns, with every answer to what it asks of terms."""
    known = dict(known or {})
    before = dict(_known)
    _known.clear()
    _known.update(known)
    try:
        return function()
    except Fork as fork:
        asked = str(fork)
    finally:
        _known.clear()
        _known.update(before)
    return either(asked, explore(function, known | {asked: True}), explore(function, known | {asked: False}))


def holds(function: Callable[[], Any]) -> str:
    """The condition on which a function returns what is true, of comparisons that all must hold."""
    known: dict[str, bool] = {}
    while True:
        before = dict(_known)
        _known.clear()
        _known.update(known)
        try:
            function()
        except Fork as fork:
            known[str(fork)] = True
            continue
        finally:
            _known.clear()
            _known.update(before)
        return " && ".join(known)


def _call(name: str) -> Callable[[Any], Any]:
    def called(x: Any) -> Any:
        value = getattr(math, name)(_value(x))
        return Term(f"{'ln' if name == 'log' else name}({x.text})", value, NONE, x.fixed)

    return called


def _largest(a: Any, b: Any) -> Any:
    return _one_of(a, b, ">=")


def _smallest(a: Any, b: Any) -> Any:
    return _one_of(a, b, "<=")


def _one_of(a: Any, b: Any, sign: str) -> Any:
    answer = a >= b if sign == ">=" else a <= b
    if not isinstance(answer, Condition):
        return a if answer else b
    unit, (name, best) = _same_unit(a, b, sign), {">=": ("max", max), "<=": ("min", min)}[sign]
    return Term(f"{name}({_text(a, SUM, unit)}, {_text(b, SUM, unit)})", best(_value(a), _value(b)), unit, fixed=False)


class _Numpy(types.SimpleNamespace):
    """NumPy, with arrays that can hold terms."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def zeros(self, shape: Any, dtype: Any = None) -> NDArray[Any]:
        return np.full(shape, 0.0, dtype=object)

    def array(self, values: Any, dtype: Any = None) -> NDArray[Any]:
        return np.array(values, dtype=object if _terms_in(values) else dtype)

    def bincount(self, places: Any, weights: Any, minlength: int) -> Any:
        out = np.full(minlength, 0.0, dtype=object).view(_Untouched)
        for place, weight in zip(places, weights, strict=True):
            out[place] = out[place] + weight
        return out


class _Untouched(np.ndarray[Any, Any]):
    """An array that stays one of terms."""

    def astype(self, *_: Any, **__: Any) -> Any:
        return np.asarray(self)


def _terms_in(values: Any) -> bool:
    if isinstance(values, list | tuple):
        return any(map(_terms_in, values))
    return isinstance(values, Term) or (isinstance(values, np.ndarray) and values.dtype == object)


def traced(function: Any, others: Mapping[str, Any] | None = None) -> Callable[..., Any]:
    """A function of the law that takes and returns terms, with all that its module calls.

    Args:
        function: A function, compiled or not, whose code calls `math`, NumPy and functions of its own module.
        others: What else it is to call by these names.
    """
    plain = getattr(function, "py_func", function)
    names: dict[str, Any] = dict(plain.__globals__)

    def own(f: Any) -> Callable[..., Any]:
        return types.FunctionType(f.__code__, names, f.__name__, f.__defaults__, f.__closure__)

    for name, found in plain.__globals__.items():
        code = getattr(found, "py_func", None)
        if code is not None and code.__globals__ is plain.__globals__:
            names[name] = own(code)
    shims = types.SimpleNamespace(exp=_call("exp"), log=_call("log"), pow=power, inf=math.inf)
    names |= {"math": shims, "np": _Numpy(), "max": _largest, "min": _smallest, "float": lambda x: x} | dict(
        others or {}
    )
    return own(plain)


def nearest(x: Any) -> Any:
    """The nearest whole number."""
    if not isinstance(x, Term):
        return float(round(x))
    return Term(f"floor({(x + 0.5).text})", math.floor(x.value + 0.5), x.unit, x.fixed)
