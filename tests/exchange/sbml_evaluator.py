"""Reads SBML by itself: parameters, rules, rates and events as numbers, nothing shared with the writer but libSBML."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import libsbml as sb

Values = dict[str, float]
SIGNS: dict[int, Callable[..., Any]] = {
    sb.AST_DIVIDE: lambda a, b: a / b,
    sb.AST_POWER: lambda a, b: a**b,
    sb.AST_FUNCTION_POWER: lambda a, b: a**b,
    sb.AST_FUNCTION_EXP: math.exp,
    sb.AST_FUNCTION_LN: math.log,
    sb.AST_FUNCTION_FLOOR: math.floor,
    sb.AST_FUNCTION_MAX: max,
    sb.AST_FUNCTION_MIN: min,
    sb.AST_RELATIONAL_LT: lambda a, b: a < b,
    sb.AST_RELATIONAL_GT: lambda a, b: a > b,
    sb.AST_RELATIONAL_GEQ: lambda a, b: a >= b,
    sb.AST_LOGICAL_AND: lambda *every: all(every),
    sb.AST_PLUS: lambda *every: math.fsum(every),
    sb.AST_TIMES: lambda *every: math.prod(every),
    sb.AST_MINUS: lambda a, *b: a - b[0] if b else -a,
}


def value(node: Any, known: Values) -> Any:
    """What a formula is."""
    kind = node.getType()
    if kind == sb.AST_NAME_TIME:
        return known["time"]
    if kind == sb.AST_NAME:
        return known[node.getName()]
    if node.isNumber():
        return node.getValue()
    below = [node.getChild(i) for i in range(node.getNumChildren())]
    if kind == sb.AST_FUNCTION_PIECEWISE:
        for i in range(1, len(below), 2):
            if value(below[i], known):
                return value(below[i - 1], known)
        return value(below[-1], known)
    return SIGNS[kind](*(value(b, known) for b in below))


class Model:
    """A model whose `known` holds the value of every name; species and time may be set."""

    def __init__(self, xml: str) -> None:
        self.model = sb.readSBMLFromString(xml).getModel()
        m = self.model
        self.species = [s.getId() for s in m.getListOfSpecies()]
        self.known: Values = {"time": 0.0} | {s.getId(): s.getInitialAmount() for s in m.getListOfSpecies()}
        self.known |= {p.getId(): p.getValue() for p in m.getListOfParameters()}
        starts = {s.getSymbol(): s.getMath() for s in m.getListOfInitialAssignments()}
        self._settle(starts)
        self.rules = {r.getVariable(): r.getMath() for r in m.getListOfRules()}

    def _settle(self, formulas: dict[str, Any]) -> None:
        for name in formulas:  # in any order: each may need another
            self.known[name] = math.nan
        for _ in range(5):
            for name, formula in formulas.items():
                self.known[name] = value(formula, self.known)

    def follow(self) -> None:
        """Bring the rules up to date."""
        for _ in range(3):
            for name, formula in self.rules.items():
                self.known[name] = value(formula, self.known)

    def rates(self) -> dict[str, float]:
        """Each reaction's rate."""
        self.follow()
        return {r.getId(): value(r.getKineticLaw().getMath(), self.known) for r in self.model.getListOfReactions()}

    def change(self) -> dict[str, float]:
        """Change per day of every species."""
        rates, out = self.rates(), Counter(dict.fromkeys(self.species, 0.0))
        for r in self.model.getListOfReactions():
            for one in r.getListOfReactants():
                out[one.getSpecies()] -= one.getStoichiometry() * rates[r.getId()]
            for one in r.getListOfProducts():
                out[one.getSpecies()] += one.getStoichiometry() * rates[r.getId()]
        return dict(out)

    def happen(self, event: str) -> None:
        """Let an event set what it sets, all at once."""
        self.follow()
        sets = self.model.getEvent(event).getListOfEventAssignments()
        self.known |= {s.getVariable(): value(s.getMath(), self.known) for s in sets}
