"""CAR T products: which receptors are on which T cells, and when each batch is infused.

A product has one or more *components*, each a batch of CAR T cells of one architecture, made from one or more
*constructs* (a binder with its signalling domain, against one antigen). Each component gives *classes* of CAR T cells:
cells with the same receptors behave alike. Any dual product is a choice of architecture and schedule:

    tandem          one component, one class: one receptor with both binders; half-densities are worse
    bicistronic     one component, one class: both receptors on every cell; each half-density is worse
    cotransduced    one component, three classes: Poisson copies of two vectors
    co-administered two single components, infused together
    sequential      two single components, the second after an interval
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from escape_abm.inputs.biology import Antigen
from escape_abm.inputs.checks import InputError, suggest
from escape_abm.inputs.rows import Section, check_source, row

Architecture = Literal["single", "tandem", "bicistronic", "cotransduced"]


def _named(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError("a name has letters, digits, _ and - only, at least one; write the rest into the label")
    return name


def _labelled(label: str) -> str:
    if not label.strip():
        raise ValueError("a label is what readers see and must not be empty; give it a text, or leave this out")
    return label


Name = Annotated[str, AfterValidator(_named)]
Label = Annotated[str, AfterValidator(_labelled)]


class Construct(Section):
    """A CAR against one antigen. Folds compare it with the reference CAR of that antigen (4-1BB)."""

    antigen: str
    half_density_fold: float = row(
        1, "ratio", (1e-3, 1e3), (0.1, 5), "assumed", "C", "Half-density for killing: lower is more sensitive."
    )
    stripping_fold: float = row(1, "ratio", (0, 10), (0.1, 1), "assumed", "C", "Antigen stripped per contact.")
    division_fold: float = row(1, "ratio", (0, 10), (0.5, 1.5), "assumed", "C", "Effector division.")
    memory_loss_fold: float = row(1, "ratio", (0, 100), (0.5, 10), "assumed", "C", "Loss of memory cells.")
    costimulation: Literal["4-1BB", "CD28", "CD28-OX40"] = "4-1BB"
    """A CD28 domain counts in the threshold of CRS (`clinic.cd28_crs_fold`); all else that a domain does is told by
    `half_density_fold` and `memory_loss_fold`."""
    sources: dict[str, str] = {}
    """Key of references.csv, or a citation, for each trait that differs from the reference CAR."""

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        traits = [name for name in Construct.model_fields if name != "sources"]
        for trait, source in self.sources.items():
            if trait not in traits:
                raise ValueError(f"sources.{trait}: a construct has no such trait. {suggest(trait, traits)}")
            check_source(source)
        return self


class Component(Section):
    """One batch of CAR T cells.

    `constructs` maps a name to each CAR. `transduced_fraction` (co-transduction only) gives for each of those names the
    fraction of cells that carry at least one copy of its vector.
    """

    architecture: Architecture = "single"
    constructs: dict[str, Construct]
    transduced_fraction: dict[str, float] = {}
    dose_fraction: float = row(1, "fraction of the dose", (0, 10), (0, 1), "assumed", "C", "Share of the dose.")
    day: float = row(0, "d", (0, 3650), (0, 365), "assumed", "C", "First infusion of this batch after day 0.")
    new_lymphodepletion: bool = False
    """Lymphodeplete again before this batch (a batch on day 0 always follows lymphodepletion)."""
    only_in_remission: bool = False
    """Give this batch only to patients who are in remission on its day."""
    donor: bool = False
    """Made from the cells of the patient's transplant donor: given to transplanted patients only, `day` days after the
    transplant, and neither lost with it nor rejected."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        n = len(self.constructs)
        if self.architecture == "single" and n != 1:
            raise ValueError(
                f"architecture='single' with {n} constructs: give one, or choose tandem, bicistronic or cotransduced"
            )
        if self.architecture != "single" and n < 2:
            raise ValueError(
                f"architecture={self.architecture!r} with {n} construct: give two or more, or choose single"
            )
        antigens = [c.antigen for c in self.constructs.values()]
        if len(set(antigens)) < n:
            raise ValueError(f"two constructs against the same antigen {antigens}: give each its own, or drop one")
        if self.architecture == "cotransduced":
            if set(self.transduced_fraction) != set(self.constructs):
                raise ValueError(
                    f"transduced_fraction names {sorted(self.transduced_fraction)}, constructs are "
                    f"{sorted(self.constructs)}: give one fraction for each construct"
                )
            for name, fraction in self.transduced_fraction.items():
                if not 0 < fraction < 1:
                    raise ValueError(f"transduced_fraction.{name}={fraction}: must lie between 0 and 1, both excluded")
        elif self.transduced_fraction:
            raise ValueError(f"transduced_fraction is for architecture=cotransduced, not {self.architecture}: drop it")
        return self


class Product(Section):
    """A CAR T product as it is given to a patient."""

    name: Name
    label: Label
    components: dict[str, Component] = Field(min_length=1)
    schedule: Literal["together", "sequential"] = "together"
    note: str = ""

    @model_validator(mode="after")
    def _schedule(self) -> Self:
        days = sorted(c.day for c in self.components.values() if not c.donor)
        if not days:
            raise ValueError("every component is donor-derived: at least one must be the patient's own, on day 0")
        if self.schedule == "sequential" and len(days) < 2:
            raise ValueError(
                "schedule='sequential' with one infusion: add a second component, or set schedule=together"
            )
        if self.schedule == "sequential" and len(set(days)) < 2:
            raise ValueError("schedule='sequential' with all components on the same day: give the second a later day")
        if self.schedule == "together" and len(set(days)) > 1:
            raise ValueError(f"schedule='together' with components on days {days}: set schedule=sequential")
        if days[0] != 0:
            raise ValueError(f"the first component is on day {days[0]:g}: day 0 is the first infusion; shift the days")
        return self

    def has_cd28(self, components: Collection[str]) -> bool:
        """Whether a CAR in these components signals by CD28."""
        constructs = (c for name in components for c in self.components[name].constructs.values())
        return any(c.costimulation.startswith("CD28") for c in constructs)

    @property
    def targets(self) -> frozenset[str]:
        """Antigens that the product as a whole sees."""
        return frozenset(c.antigen for part in self.components.values() for c in part.constructs.values())


@dataclass(frozen=True)
class CarClass:
    """CAR T cells with the same receptors.

    Attributes:
        label: For a reader, for example "CAR T CD19+CD22".
        component: Name of the component that it is part of.
        fraction: Share of the component's CAR+ cells.
        half_density_molecules: Half-density for killing by antigen seen.
        stripping_fold: Antigen stripped per contact against the reference CAR, by antigen seen.
        division_fold, memory_loss_fold: Against the reference CAR.
    """

    label: str
    component: str
    fraction: float
    half_density_molecules: Mapping[str, float]
    stripping_fold: Mapping[str, float]
    division_fold: float
    memory_loss_fold: float


def _cotransduced_subsets(component: Component) -> list[tuple[tuple[str, ...], float]]:
    """Every non-empty set of constructs that a cell can carry, with its share of the CAR+ cells.

    Copies of each vector are Poisson and independent: a cell carries none of one with probability 1 - f.
    """
    f = component.transduced_fraction
    sets: list[tuple[tuple[str, ...], float]] = []
    for size in range(1, len(f) + 1):
        for chosen in itertools.combinations(f, size):
            sets.append((chosen, math.prod(f[n] if n in chosen else 1 - f[n] for n in f)))
    total = sum(share for _, share in sets)
    return [(chosen, share / total) for chosen, share in sets]


def car_classes(product: Product, antigens: Mapping[str, Antigen]) -> tuple[CarClass, ...]:
    """The classes of CAR T cells that a product infuses.

    Raises:
        InputError: a construct is against an antigen that the biology does not have.
    """
    classes = []
    for part_name, part in product.components.items():
        for name, construct in part.constructs.items():
            if construct.antigen not in antigens:
                raise InputError(
                    f"product {product.name}: components.{part_name}.constructs.{name}.antigen={construct.antigen!r} "
                    f"is not an antigen of the biology. {suggest(construct.antigen, list(antigens))}"
                )
        mixed = part.architecture == "cotransduced"
        sets = _cotransduced_subsets(part) if mixed else [(tuple(part.constructs), 1.0)]
        for chosen, share in sets:
            constructs = [part.constructs[name] for name in chosen]
            penalty = {
                c.antigen: getattr(antigens[c.antigen], f"{part.architecture}_fold")
                if part.architecture in ("tandem", "bicistronic")
                else 1.0
                for c in constructs
            }
            classes.append(
                CarClass(
                    label="CAR T " + "+".join(c.antigen.upper() for c in constructs),
                    component=part_name,
                    fraction=share,
                    half_density_molecules={
                        c.antigen: antigens[c.antigen].half_density_molecules * c.half_density_fold * penalty[c.antigen]
                        for c in constructs
                    },
                    stripping_fold={c.antigen: c.stripping_fold for c in constructs},
                    # A cell with several signalling domains behaves as their geometric mean.
                    division_fold=math.prod(c.division_fold * antigens[c.antigen].car_division_fold for c in constructs)
                    ** (1 / len(constructs)),
                    memory_loss_fold=math.prod(c.memory_loss_fold for c in constructs) ** (1 / len(constructs)),
                )
            )
    return tuple(classes)
