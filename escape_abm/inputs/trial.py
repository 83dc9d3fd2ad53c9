"""A published trial: its results, their patient groups, and its follow-up."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Self

from pydantic import Field, model_validator

from escape_abm.inputs.checks import suggest
from escape_abm.inputs.products import Label, Name
from escape_abm.inputs.rows import Section, check_source

RATES = (  # of a trial, by a month
    "overall_survival",
    "event_free_survival",
    "relapse_free_survival",
    "cumulative_incidence_relapse",
    "cumulative_incidence_antigen_negative",
    "cumulative_incidence_antigen_positive",
    "cumulative_incidence_lineage_switch",
    "non_relapse_mortality",
    "car_t_persistence",
    "b_cell_aplasia",
)
SHARES = (  # of patients
    "complete_remission",
    "mrd_negative",
    "crs_any_grade",
    "crs_grade_3_or_higher",
    "transplanted",
    "relapse",
    "car_t_lost_at_relapse",
    "relapse_extramedullary",
)
PHENOTYPES = (  # of relapses
    "relapse_cd19pos_cd22pos",
    "relapse_cd19neg_cd22pos",
    "relapse_cd19pos_cd22neg",
    "relapse_cd19neg_cd22neg",
    "relapse_cd19neg",
    "relapse_cd19pos",
    "relapse_antigen_negative",
    "relapse_lineage_switch",
)
MEDIANS = {  # over patients, and the column of the patients table that each is of
    "median_car_t_fold_expansion": "car_t_fold_expansion",
    "median_day_car_t_peak": "day_car_t_peak",
    "median_car_t_peak_cells": "car_t_peak_cells",
    "median_car_t_fraction_day_90": "car_t_fraction_day_90",
    "median_car_t_fraction_day_360": "car_t_fraction_day_360",
}
MEDIAN_TIMES = {  # in months, and the curve that falls to one half then
    "median_overall_survival_months": "overall_survival",
    "median_event_free_survival_months": "event_free_survival",
    "median_relapse_free_survival_months": "relapse_free_survival",
    "median_remission_duration_months": "relapse_free_survival",
}
NOT_SHARES = (*MEDIANS, *MEDIAN_TIMES)
COMPARED = (*RATES, *SHARES, *PHENOTYPES, *NOT_SHARES)
"""Endpoints of a published trial that a run estimates."""


class Published(Section):
    """One published result of a trial."""

    endpoint: str
    stratum: str = "all"
    """Of whom: all, or a name in `Trial.strata`."""
    month: float | None = Field(default=None, ge=0)
    estimate: float
    lower: float | None = None
    upper: float | None = None
    reached: bool = True
    """False for a median time that was not reached within so many months."""
    events: int | None = Field(default=None, ge=0)
    n: int | None = Field(default=None, ge=1)
    source: str
    """A key of references.csv, or a citation."""
    note: str = ""
    not_compared: str = ""
    """Why the model says nothing about it; empty: it is compared."""

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        check_source(self.source)
        if self.not_compared:
            return self
        if self.endpoint not in COMPARED:
            raise ValueError(
                f"endpoint={self.endpoint!r} is not one that a run estimates. {suggest(self.endpoint, COMPARED)} "
                "Otherwise say in not_compared why it cannot be"
            )
        if self.endpoint in MEDIAN_TIMES and self.estimate <= 0:
            raise ValueError(
                f"{self.endpoint}: estimate={self.estimate:g} months: give a time above 0; if it was not reached, give "
                "until when, and reached: false"
            )
        if not self.reached and self.endpoint not in MEDIAN_TIMES:
            raise ValueError(f"{self.endpoint}: reached=false is for {', '.join(MEDIAN_TIMES)}; leave it out")
        if self.endpoint not in NOT_SHARES and not 0 <= self.estimate <= 1:
            raise ValueError(f"{self.endpoint}: estimate={self.estimate:g} is not a fraction between 0 and 1")
        if self.endpoint in RATES and self.month is None:
            raise ValueError(f"{self.endpoint}: month is missing: it changes with time; give the month it was read at")
        return self

    @model_validator(mode="after")
    def _possible(self) -> Self:
        """Refuse figures that cannot all be right."""
        low, high = (self.estimate if bound is None else bound for bound in (self.lower, self.upper))
        if not low <= self.estimate <= high:
            raise ValueError(
                f"{self.endpoint}: estimate={self.estimate:g} lies outside its interval from {low:g} to {high:g}: "
                "look them up again"
            )
        if self.events is None:
            return self
        if self.n is None or self.events > self.n:
            raise ValueError(
                f"{self.endpoint}: events={self.events} with n={self.n}: n is of how many patients they are, at least "
                "as many; give both as published, or leave out events"
            )
        share = self.events / self.n
        if abs(self.estimate - share) > 0.5 * 10.0 ** -_decimals(self.estimate) + 1e-9:
            raise ValueError(
                f"{self.endpoint}: estimate={self.estimate:g}, but events={self.events} of n={self.n} are {share:.4g}: "
                "events are those that the estimate is the share of; correct one, or leave out events"
            )
        return self


def _decimals(share: float) -> int:
    """Decimals that a share was given with: two and more, as 0.90 is read as 0.9."""
    return max(2, -int(Decimal(repr(share)).as_tuple().exponent))


class FollowUp(Section):
    """For how long the patients of a trial were followed, in months: half of them for less than the median."""

    shortest_months: float = Field(default=0, ge=0)
    median_months: float = Field(gt=0)
    longest_months: float = Field(default=math.nan, gt=0)
    """If not given, as far above the median as the shortest lies below: patients came evenly over time."""

    @model_validator(mode="before")
    @classmethod
    def _evenly(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "longest_months" in given or "median_months" not in given:
            return given
        try:
            longest = 2 * float(given["median_months"]) - float(given.get("shortest_months", 0))
        except (TypeError, ValueError):
            return given  # the field says what is wrong
        return given | {"longest_months": longest}

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not self.shortest_months <= self.median_months <= self.longest_months:
            raise ValueError(
                f"shortest_months={self.shortest_months:g}, median_months={self.median_months:g}, longest_months="
                f"{self.longest_months:g}: they must rise"
            )
        return self


class Trial(Section):
    """A trial: what it is called, how large it was, how it was read, and what it published."""

    name: Name = "none"
    label: Label = "No trial"
    size: int | None = Field(default=None, ge=1)
    """Patients in the published analysis."""
    follow_up: FollowUp | None = None
    """None: everyone to the end of the run."""
    analysed: str = ""
    """Which patients count, as a condition on the columns of the patients table; empty: all who were infused."""
    strata: dict[str, str] = {}
    """Name to condition on the columns of the patients table, for example `day_transplant.notna()`."""
    source: str = ""
    """Of every published result that names none of its own."""
    assumed: tuple[str, ...] = ()
    """What the documents do not say and was assumed, one sentence each."""
    published: tuple[Published, ...] = ()
    steps: dict[str, tuple[tuple[float, float], ...]] = {}
    """Whole published curves, to be drawn: by endpoint, months and the share from each of them on."""

    @model_validator(mode="before")
    @classmethod
    def _same_source(cls, given: Any) -> Any:
        points = given.get("published") if isinstance(given, dict) else None
        if not isinstance(points, list | tuple) or not given.get("source"):
            return given
        its = {"source": given["source"]}
        return given | {"published": [its | point if isinstance(point, dict) else point for point in points]}

    @model_validator(mode="after")
    def _steps_can_be_drawn(self) -> Self:
        for endpoint, curve in self.steps.items():
            if endpoint not in RATES:
                raise ValueError(
                    f"steps.{endpoint}: not an endpoint that is read by months. {suggest(endpoint, RATES)}"
                )
            months, shares = [month for month, _ in curve], [share for _, share in curve]
            if months != sorted(set(months)) or min(months, default=0) < 0:
                raise ValueError(f"steps.{endpoint}: months must rise, from 0 on; sort the steps")
            if any(not 0 <= share <= 1 for share in shares):
                raise ValueError(f"steps.{endpoint}: shares must lie between 0 and 1; divide percentages by 100")
        return self

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.published and self.size is None:
            raise ValueError("size is missing: give the number of patients in the published analysis")
        for point in self.published:
            if point.stratum != "all" and point.stratum not in self.strata and not point.not_compared:
                raise ValueError(
                    f"{point.endpoint}: stratum={point.stratum!r} is not defined in strata. "
                    + suggest(point.stratum, ["all", *self.strata])
                )
            if not point.not_compared and (point.n or 0) > (self.size or 0):
                raise ValueError(
                    f"{point.endpoint}: n={point.n} is more than size={self.size}, the patients of the trial: correct "
                    "one of them, or say in not_compared of whom it is"
                )
        return self
