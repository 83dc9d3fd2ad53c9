"""Everything that a run depends on, as one checked object."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from escape_abm.clinic import Clinic
from escape_abm.cohort import Cohort
from escape_abm.parameters import Biology, InputError, Section, check, references, row, suggest
from escape_abm.products import Product, car_classes
from escape_abm.regimen import Regimen

DAYS_PER_MONTH = 30.4375


class Engine(Section):
    """How the law is drawn."""

    name: Literal["counts"] = "counts"
    tolerance: float = row(
        0.5,
        "hazard x tick",
        (1e-3, 1),
        (0.1, 1),
        "assumed",
        "C",
        "Largest hazard times tick; sets the length of ticks.",
    )
    size_limit_cells: float = row(1e15, "cells", (1e6, 1e17), (1e14, 1e16), "assumed", "C", "A run above this stops.")
    stop_at_failure: bool = True
    """End a run at relapse or without remission, when the clinic takes over; otherwise follow it to the end."""


class Trajectories(Section):
    """Which courses are kept day by day."""

    patients: int = Field(default=12, ge=0)
    """The first so many patients, under every product (0: none)."""
    every_days: int = Field(default=1, ge=1, le=365)


class Published(Section):
    """One published result of a trial."""

    endpoint: str
    month: float | None = None
    estimate: float = Field(ge=0, le=1)
    lower: float | None = None
    upper: float | None = None
    n: int = Field(ge=1)
    source: str
    note: str = ""

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        if self.source not in references():
            raise ValueError(
                f"source={self.source!r} is not a key of references.csv. {suggest(self.source, list(references()))}"
            )
        return self


class Trial(Section):
    """A trial: what it is called, and what it published."""

    name: str = "none"
    label: str = "No trial"
    published: tuple[Published, ...] = ()


class Settings(Section):
    """One run: the same virtual patients under a product and its comparators."""

    biology: Biology = Biology()
    clinic: Clinic = Clinic()
    cohort: Cohort = Cohort()
    regimen: Regimen = Regimen()
    engine: Engine = Engine()
    trajectories: Trajectories = Trajectories()
    trial: Trial = Trial()
    product: Product
    comparators: dict[str, Product] = {}
    follow_up_months: float = Field(default=12, gt=0, le=240)
    seed: int = Field(default=1, ge=0, lt=2**63)
    workers: int | None = Field(default=None, ge=1, le=1024)
    """Processes; none given: one for each core. Results do not depend on it."""

    @property
    def follow_up_days(self) -> int:
        """Whole days of follow-up that hold `follow_up_months`."""
        return math.ceil(self.follow_up_months * DAYS_PER_MONTH)

    @property
    def assessment_month(self) -> int:
        """Month under which the response assessment is tabulated."""
        return max(1, round(self.clinic.assessment_day / DAYS_PER_MONTH))

    @property
    def arms(self) -> tuple[Product, ...]:
        """The product, then its comparators, each name once."""
        return tuple({p.name: p for p in (self.product, *self.comparators.values())}.values())

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.follow_up_days < self.clinic.assessment_day:
            raise ValueError(
                f"follow_up_months={self.follow_up_months:g} ends before the response is assessed on day "
                f"{self.clinic.assessment_day}: follow for longer, or assess earlier with clinic.assessment_day"
            )
        if self.engine.size_limit_cells < 10 * self.cohort.burden_max_cells:
            raise ValueError(
                f"engine.size_limit_cells={self.engine.size_limit_cells:g} is less than ten times cohort."
                f"burden_max_cells={self.cohort.burden_max_cells:g}: raise the first or lower the second"
            )
        for other in self.comparators.values():
            if other.name == self.product.name and other != self.product:
                raise ValueError(
                    f"product and a comparator are both named {other.name!r} but differ: give yours another name with "
                    f"product.name=my_{other.name}"
                )
        for arm in self.arms:
            car_classes(arm, self.biology.antigens)  # refuses a construct against an unknown antigen
            for name, part in arm.components.items():
                if (last := part.day + self.regimen.split_days[-1]) >= self.follow_up_days:
                    raise ValueError(
                        f"product {arm.name}: component {name} is infused on day {last:g}, but follow-up ends on day "
                        f"{self.follow_up_days}: raise follow_up_months, infuse earlier, or leave the product out with "
                        f"~comparators.{arm.name}"
                    )
        if self.cohort.negative_patients_fraction > 0 and self.cohort.negative_antigen not in self.biology.antigens:
            raise ValueError(
                f"cohort.negative_antigen={self.cohort.negative_antigen!r} is not an antigen of the biology. "
                + suggest(self.cohort.negative_antigen, list(self.biology.antigens))
            )
        capacity = self.biology.leukaemia.carrying_capacity_cells
        if self.cohort.clones == "grown" and self.cohort.burden_max_cells > 0.95 * capacity:
            raise ValueError(
                f"cohort.burden_max_cells={self.cohort.burden_max_cells:g} is more than 95 % of biology.leukaemia."
                f"carrying_capacity_cells={capacity:g}, which a leukaemia does not grow to: lower the first or raise "
                "the second"
            )
        return self


def make_settings(data: dict[str, Any]) -> Settings:
    """Check plain data (for example a composed configuration) and make settings of it.

    Raises:
        InputError: one line for each fault, with the value, the rule and the way out.
    """
    if "product" not in data:
        raise InputError("product: is missing; choose one with product=NAME")
    return check(Settings, data)
