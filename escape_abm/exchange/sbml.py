"""A reaction network as SBML Level 3 Version 2, and as Antimony text.

Numbers of cells are amounts in `item`; without that unit some programs take them for moles. Time is in days. Molecules
per cell have no unit, as both are counted.
"""

from __future__ import annotations

import re
from collections import Counter
from html import escape
from typing import Any

from escape_abm import __version__
from escape_abm.exchange import terms
from escape_abm.exchange.network import Event, Network, Quantity, Reaction, Species
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.row_table import ParameterRow
from escape_abm.inputs.rows import references

EXTRA = "needs python-libsbml and antimony: pip install 'escape_abm[exchange]'"
BODY = "patient"
UNITS = [(cells, days) for cells in (-1, 0, 1) for days in (-1, 0, 1)]
GRADES = {"A": "measured in patients", "B": "measured in vitro or in animals", "C": "fitted, tuned or assumed"}
SECONDS_PER_DAY = 86400


def document(network: Network) -> Any:
    """The network as a libsbml document.

    Raises:
        InputError: python-libsbml is not installed.
        ValueError: libSBML cannot read a formula, or finds an error (a fault of this program).
    """
    libsbml = _libsbml()
    doc = libsbml.SBMLDocument(3, 2)
    model = doc.createModel()
    model.setId(network.id)
    model.setName(network.name)
    model.setSubstanceUnits("item")
    model.setExtentUnits("item")
    model.setTimeUnits("day")
    model.setVolumeUnits("litre")
    notes = [*network.notes, f"Written by escape_abm {__version__}."]
    model.setNotes(_xhtml(notes))
    _units(libsbml, model)
    body = model.createCompartment()
    body.setId(BODY)
    body.setConstant(True)
    body.setSpatialDimensions(3)
    body.setSize(1.0)
    body.setUnits("litre")
    for species in network.species:
        _species(libsbml, model, species)
    for quantity in network.used():
        _quantity(libsbml, model, quantity)
    for reaction in network.reactions:
        _reaction(libsbml, model, reaction)
    for event in network.events:
        _event(libsbml, model, event)
    errors = [message for severity, message in faults(doc) if severity == "error"]
    if errors:
        raise ValueError("\n".join(errors[:5]))
    return doc


def text(doc: Any) -> str:
    """A document as XML."""
    out: str = _libsbml().writeSBMLToString(doc)
    return out


def antimony(xml: str) -> str:
    """SBML as Antimony text.

    Raises:
        InputError: antimony is not installed.
        ValueError: it cannot read the SBML.
    """
    try:
        import antimony as library
    except ModuleNotFoundError:
        raise InputError(f"Antimony {EXTRA}") from None
    library.clearPreviousLoads()
    if library.loadSBMLString(xml) < 0:
        raise ValueError(library.getLastError())
    out: str = library.getAntimonyString(library.getMainModuleName())
    return out


def faults(doc: Any) -> list[tuple[str, str]]:
    """What libSBML's consistency checks find: error or warning, and which rule with how many cases and the first."""
    libsbml = _libsbml()
    doc.checkConsistency()
    found = [doc.getError(i) for i in range(doc.getNumErrors())]
    count = Counter(error.getErrorId() for error in found)
    out: dict[int, tuple[str, str]] = {}
    for error in found:
        severity = "error" if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR else "warning"
        said = " ".join(error.getMessage().split())
        out.setdefault(error.getErrorId(), (severity, f"{error.getErrorId()} ({count[error.getErrorId()]}): {said}"))
    return list(out.values())


def _libsbml() -> Any:
    try:
        import libsbml
    except ModuleNotFoundError:
        raise InputError(f"SBML {EXTRA}") from None
    return libsbml


# --------------------------------------------------------------------------------------------------------- elements


def _units(libsbml: Any, model: Any) -> None:
    for unit in UNITS:
        name = terms.unit_id(unit)
        if name in ("dimensionless", "item"):
            continue
        definition = model.createUnitDefinition()
        definition.setId(name)
        for kind, power, scale in (("item", unit[0], 1), ("second", unit[1], SECONDS_PER_DAY)):
            if power:
                one = definition.createUnit()
                one.setKind(libsbml.UnitKind_forName(kind))
                one.setExponent(power)
                one.setScale(0)
                one.setMultiplier(scale)


def _math(libsbml: Any, formula: str) -> Any:
    parsed = libsbml.parseL3Formula(formula)
    if parsed is None:
        raise ValueError(f"{formula[:200]}: {libsbml.getLastParseL3Error()}")
    return parsed


def _species(libsbml: Any, model: Any, species: Species) -> None:
    made = model.createSpecies()
    made.setId(species.id)
    made.setName(species.name)
    made.setCompartment(BODY)
    made.setSubstanceUnits("item")
    made.setHasOnlySubstanceUnits(True)
    made.setBoundaryCondition(False)
    made.setConstant(False)
    made.setInitialAmount(float(species.amount))
    if isinstance(species.amount, terms.Term):
        _start(libsbml, model, species.id, species.amount.text)


def _start(libsbml: Any, model: Any, name: str, formula: str) -> None:
    start = model.createInitialAssignment()
    start.setSymbol(name)
    start.setMath(_math(libsbml, formula))


def _quantity(libsbml: Any, model: Any, quantity: Quantity) -> None:
    made = model.createParameter()
    made.setId(quantity.id)
    made.setName(quantity.name)
    made.setUnits(terms.unit_id(quantity.unit))
    made.setConstant(quantity.kind == "constant")
    if quantity.kind == "rule":
        rule = model.createAssignmentRule()
        rule.setVariable(quantity.id)
        rule.setMath(_math(libsbml, quantity.formula))
        return
    made.setValue(quantity.value)
    if quantity.formula:
        _start(libsbml, model, quantity.id, quantity.formula)
    if quantity.row is not None:
        made.setMetaId(f"meta_{quantity.id}")
        made.setNotes(_xhtml(about(quantity.row)))
        _described_by(libsbml, made, quantity.row.source)


def about(row: ParameterRow) -> list[str]:
    """What is known of a row: its meaning, unit, ranges and source."""
    known = references().get(row.source)
    source = row.source if known is None or row.source == "assumed" else f"{row.source}: {known['citation']}"
    return [
        row.meaning,
        f"Unit: {row.unit}. Plausible: {row.plausible[0]:g} to {row.plausible[1]:g}.",
        f"Source of the default: {source}",
        f"Evidence grade {row.grade}: {GRADES[row.grade]}.",
    ]


def _described_by(libsbml: Any, made: Any, source: str) -> None:
    """Add where a source is found, as MIRIAM has it."""
    address = (references().get(source) or {}).get("url", "")
    if not address:
        return
    pubmed = re.search(r"pubmed\.ncbi\.nlm\.nih\.gov/(\d+)", address)
    doi = re.search(r"doi\.org/(10\..+)", address)
    if pubmed:
        address = f"https://identifiers.org/pubmed:{pubmed[1]}"
    elif doi:
        address = f"https://identifiers.org/doi:{doi[1]}"
    term = libsbml.CVTerm()
    term.setQualifierType(libsbml.BIOLOGICAL_QUALIFIER)
    term.setBiologicalQualifierType(libsbml.BQB_IS_DESCRIBED_BY)
    term.addResource(address)
    made.addCVTerm(term)


def _reaction(libsbml: Any, model: Any, reaction: Reaction) -> None:
    made = model.createReaction()
    made.setId(reaction.id)
    made.setName(reaction.name)
    made.setReversible(False)
    for create, names in ((made.createReactant, reaction.used), (made.createProduct, reaction.made)):
        for name, number in Counter(names).items():
            one = create()
            one.setSpecies(name)
            one.setStoichiometry(number)
            one.setConstant(True)
    made.createKineticLaw().setMath(_math(libsbml, reaction.rate.text))


def _event(libsbml: Any, model: Any, event: Event) -> None:
    made = model.createEvent()
    made.setId(event.id)
    made.setName(event.name)
    made.setUseValuesFromTriggerTime(True)
    trigger = made.createTrigger()
    trigger.setInitialValue(False)  # so that what is done on day 0 is done
    trigger.setPersistent(True)
    trigger.setMath(_math(libsbml, f"time >= {terms.number(event.day, (0, 1))}"))
    for name, formula in event.sets.items():
        one = made.createEventAssignment()
        one.setVariable(name)
        one.setMath(_math(libsbml, formula))


def _xhtml(lines: list[str]) -> str:
    said = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<body xmlns="http://www.w3.org/1999/xhtml">{said}</body>'
