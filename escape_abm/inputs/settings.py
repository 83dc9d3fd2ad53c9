"""Everything that a run depends on, as one checked object."""

from __future__ import annotations

import math
from html import escape
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from escape_abm.inputs.biology import Biology
from escape_abm.inputs.checks import InputError, check, suggest
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import Cohort
from escape_abm.inputs.products import Product, car_classes
from escape_abm.inputs.regimen import Regimen
from escape_abm.inputs.row_table import parameter_rows
from escape_abm.inputs.rows import Section, replace, rescale, row
from escape_abm.inputs.trial import Trial

DAYS_PER_MONTH = 30.4375
MOST_AGENTS = 1e6


class Space(Section):
    """The marrow grid of the cells engine."""

    site_um: float = row(10, "um", (1, 100), (8, 15), "assumed", "C", "Width of a site: about a blast's diameter.")
    car_t_motility_um2_per_min: float = row(
        10, "um2/min", (0, 1e4), (0.5, 70), "assumed", "C", "Random walk of a CAR T cell that touches no target."
    )
    contact_motility_fold: float = row(
        0.1,
        "ratio",
        (0, 1),
        (0, 1),
        "cazaux2019",
        "C",
        "Its motility while it touches a target. That it stops, kills and detaches was seen, the size is assumed.",
    )
    dispersal_fraction: float = row(
        0.1, "fraction of births", (0, 1), (0, 1), "assumed", "C", "Daughters that recirculate and settle anywhere."
    )
    sanctuary_sites_fraction: float = row(
        0.1, "fraction of sites", (0, 1), (0.02, 0.3), "assumed", "C", "Sites in the protected niche."
    )


class Engine(Section):
    """How the law is drawn."""

    name: Literal["counts", "cells"] = "counts"
    world: Literal["mixed", "grid"] = "mixed"
    """For the cells engine: everyone meets everyone, or cells on sites of a marrow."""
    sample_cells: float | None = Field(default=None, ge=10, le=1e15)
    """Cells that the simulated sample of marrow holds when it is packed; none given: the whole patient."""
    dose_fold: float = row(
        1,
        "ratio",
        (1, 1e9),
        (1, 1e4),
        "assumed",
        "C",
        "CAR T cells infused into a sample, against its share of the dose. A sample of 1e4 cells would get less than "
        "one; that dose hardly matters is in the evidence for a 25-fold range only.",
    )
    space: Space = Space()
    tolerance: float = row(
        0.5,
        "hazard x tick",
        (1e-3, 1),
        (0.1, 1),
        "assumed",
        "C",
        "Largest hazard times tick; sets the length of ticks.",
    )
    size_limit_cells: float = row(1e15, "cells", (1e3, 1e17), (1e14, 1e16), "assumed", "C", "A run above this stops.")
    stop_at_failure: bool = True
    """End a run at relapse or without remission, when the clinic takes over; otherwise follow it to the end."""

    @model_validator(mode="after")
    def _agents_fit(self) -> Self:
        if self.name == "cells" and self.size_limit_cells > MOST_AGENTS:
            raise ValueError(
                f"name=cells with size_limit_cells={self.size_limit_cells:g}: every cell is an agent, of which there "
                f"can be {MOST_AGENTS:g}; choose engine=cells, which sets a sample and a limit, or lower the limit"
            )
        if self.name == "counts" and self.world != "mixed":
            raise ValueError(
                f"name=counts with world={self.world}: only cells that are agents have sites: engine=cells"
            )
        return self


class Trajectories(Section):
    """Which courses are kept day by day."""

    patients: int = Field(default=12, ge=0)
    """The first so many patients, under every product (0: none)."""
    every_days: int = Field(default=1, ge=1, le=365)


class Calibration(Section):
    """How parameters are found from published figures."""

    trials: tuple[str, ...] = Field(min_length=1)
    """Names of the trials whose figures judge."""
    free: dict[str, tuple[float, float] | None] = Field(min_length=1)
    """Paths of the parameter rows to be found, each within this range, or within its plausible range (null)."""
    left_out: tuple[str, ...] = ()
    """Endpoints that are inputs here and judge nothing."""
    waves: tuple[int, ...] = Field(min_length=1)
    """Runs of each wave: the first fills the plausible ranges, each other is drawn from the posterior so far."""
    patients: int = Field(ge=5)
    """Of each trial in each run."""
    last_patients: int = Field(ge=5)
    """Of each trial in each run of the last wave."""
    between_trials_sd: tuple[float, float] = (0.0, 1.0)
    """Range of the differences between trials that no parameter explains, on the logit scale."""
    steps: int = Field(default=4000, ge=100)
    """Of each Markov chain."""
    draws: int = Field(default=1000, ge=10)
    """Draws of the posterior that are kept."""

    confirmed: int = Field(default=32, ge=1)
    """Draws that are simulated at the end, the most probable ones."""
    confirmed_patients: int = Field(default=100, ge=5)
    """Of each trial in each of those."""
    finalists: int = Field(default=10, ge=1)
    """The best of those, which are simulated again: the best of them is the fitted set."""
    finalist_patients: int = Field(default=400, ge=5)
    left_out_draws: int = Field(default=20, ge=2)
    """Draws at which each trial is simulated that is left out."""
    left_out_patients: int = Field(default=100, ge=5)
    """At each of them."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if min(self.waves) < 2:
            raise ValueError(f"waves={list(self.waves)}: each needs two runs or more")
        if len(set(self.trials)) < len(self.trials):
            raise ValueError(f"trials={list(self.trials)}: name each once")
        low, high = self.between_trials_sd
        if not 0 <= low <= high <= 2:
            raise ValueError(f"between_trials_sd={list(self.between_trials_sd)}: must rise and lie between 0 and 2")
        return self


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
    patient: int = Field(default=0, ge=0)
    """Which patient, for experiments that look at one."""
    draws: dict[str, tuple[float, ...]] = {}
    """Values of parameters by path in each draw of a posterior; patients get the draws in turn."""
    calibration: Calibration | None = None
    """For experiments that find parameters."""
    workers: int | None = Field(default=None, ge=1, le=1024)
    """Processes; none given: one for each core that the process may use. Results do not depend on it."""

    @property
    def follow_up_days(self) -> int:
        """Whole days of follow-up that hold `follow_up_months`."""
        return math.ceil(self.follow_up_months * DAYS_PER_MONTH)

    @property
    def assessment_month(self) -> int:
        """Month under which the response assessment is tabulated."""
        return max(1, round(self.clinic.assessment_day / DAYS_PER_MONTH))

    @property
    def sample_fraction(self) -> float:
        """Share of the patient that is simulated: 1, or what `engine.sample_cells` is of the carrying capacity."""
        return (self.engine.sample_cells or self._capacity) / self._capacity

    @property
    def _capacity(self) -> float:
        return self.biology.leukaemia.carrying_capacity_cells

    def sampled(self) -> Settings:
        """The same settings for the sample: every number of cells, threshold and dose is its share of the whole."""
        fraction, regimen = self.sample_fraction, self.regimen
        if self.engine.sample_cells is None:
            return self
        fold = fraction * self.engine.dose_fold
        doses = {
            name: None if (dose := getattr(regimen, name)) is None else dose * fold
            for name in ("dose_cells", "dose_cells_per_kg")
        }
        return self.model_copy(
            update={
                "biology": rescale(self.biology, fraction),
                "clinic": rescale(self.clinic, fraction),
                "cohort": rescale(self.cohort, fraction),
                "regimen": regimen.model_copy(update=doses),
                "engine": self.engine.model_copy(update={"sample_cells": None, "dose_fold": 1.0}),
            }
        )

    def drawn(self, patient: int) -> Settings:
        """The settings of one patient, with the draw of the parameters that the patient has."""
        if not self.draws:
            return self
        which = patient % self.draw_count
        mine = replace(self, {path: values[which] for path, values in self.draws.items()})
        return mine.model_copy(update={"draws": {}})

    @property
    def draw_count(self) -> int:
        """Draws of the posterior; 0 if parameters are as they are."""
        return len(next(iter(self.draws.values()), ()))

    @property
    def arms(self) -> tuple[Product, ...]:
        """The product, then its comparators, each name once."""
        return tuple({p.name: p for p in (self.product, *self.comparators.values())}.values())

    def _repr_html_(self) -> str:
        """What a notebook shows: who is treated with what, and every choice that differs from the default rows."""
        who = "" if self.trial.name == "none" else f" of {self.trial.label}"
        lines = {
            "patients": f"{self.cohort.size}{who}, seed {self.seed}",
            "product": self.product.label,
            "compared with": ", ".join(arm.label for arm in self.arms[1:]) or "none",
            "follow-up": f"{self.follow_up_months:g} months",
        }
        if self.draws:
            lines["parameters"] = f"{self.draw_count} draws of a posterior, over {len(self.draws)} parameters"
        own = self.differences()
        head = "".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in lines.items())
        rows = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in line)}</tr>" for line in own)
        return (
            f"<table>{head}</table><details><summary>{len(own)} choices differ from the default rows</summary><table>"
            f"<tr><th>choice</th><th>here</th><th>default</th></tr>{rows}</table></details>"
        )

    def differences(self) -> list[tuple[str, Any, Any]]:
        """Path, value and default of what is not the default of its section; "" where there is no default."""
        out = []
        for name in ("biology", "clinic", "cohort", "regimen", "engine"):
            section = getattr(self, name)
            mine, default = _leaves(section.model_dump(), name), _leaves(type(section)().model_dump(), name)
            out += [(path, value, default.get(path, "")) for path, value in mine.items() if value != default.get(path)]
        return out

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.follow_up_days < self.clinic.assessment_day:
            raise ValueError(
                f"follow_up_months={self.follow_up_months:g} ends before the response is assessed on day "
                f"{self.clinic.assessment_day}: follow for longer, or assess earlier with clinic.assessment_day"
            )
        sample = self.sampled()
        largest = max(10 * sample.cohort.burden_max_cells, sample.biology.host.b_cells_at_start_cells)
        last_read = max((p.month or 0 for p in self.trial.published if not p.not_compared), default=0)
        if last_read > self.follow_up_months:
            raise ValueError(
                f"follow_up_months={self.follow_up_months:g} ends before month {last_read:g}, which trial "
                f"{self.trial.name} published: follow for longer, or leave the trial out with trial=none"
            )
        if self.engine.size_limit_cells < largest:
            raise ValueError(
                f"engine.size_limit_cells={self.engine.size_limit_cells:g} is less than ten times cohort."
                f"burden_max_cells={self.cohort.burden_max_cells:g}, or than the normal B cells at the start, times "
                f"{self.sample_fraction:g} for the share of the patient that is simulated: raise the first, lower the "
                "others, or simulate a smaller sample with engine.sample_cells"
            )
        for other in self.comparators.values():
            if other.name == self.product.name and other != self.product:
                raise ValueError(
                    f"product and a comparator are both named {other.name!r} but differ: give yours another name with "
                    f"product.name=my_{other.name}"
                )
        self._check_draws()
        self._check_plans()
        self._check_history()
        capacity = self.biology.leukaemia.carrying_capacity_cells
        if self.cohort.clones == "grown" and self.cohort.burden_max_cells > 0.95 * capacity:
            raise ValueError(
                f"cohort.burden_max_cells={self.cohort.burden_max_cells:g} is more than 95 % of biology.leukaemia."
                f"carrying_capacity_cells={capacity:g}, which a leukaemia does not grow to: lower the first or raise "
                "the second"
            )
        return self

    def _check_draws(self) -> None:
        """Refuse draws of what is no parameter, or of values that it cannot have."""
        rows = {r.path: r for r in [*parameter_rows(self.biology), *parameter_rows(self.clinic, "clinic")]}
        for path, values in self.draws.items():
            if path not in rows:
                raise ValueError(f"draws={path!r} is no parameter row. {suggest(path, tuple(rows))}")
            low, high = rows[path].allowed
            if len(values) != self.draw_count or not all(low <= v <= high for v in values):
                raise ValueError(
                    f"draws.{path}: {len(values)} values from {min(values, default=math.nan):g} to "
                    f"{max(values, default=math.nan):g}; give {self.draw_count} between {low:g} and {high:g}"
                )

    def _check_plans(self) -> None:
        """Refuse what is planned and can never happen."""
        transplant, reinfusion, assessed = self.regimen.transplant, self.regimen.reinfusion, self.clinic.assessment_day
        end = f"but follow-up ends on day {self.follow_up_days}: raise follow_up_months"
        if transplant.fraction > 0 and transplant.day <= assessed:
            raise ValueError(
                f"regimen.transplant.day={transplant.day:g}: only patients in remission are transplanted, which is "
                f"known on day {assessed}; transplant later, or assess earlier with clinic.assessment_day"
            )
        if transplant.fraction > 0 and transplant.day >= self.follow_up_days:
            raise ValueError(
                f"regimen.transplant.day={transplant.day:g}, {end}, transplant earlier, or nobody with "
                "regimen.transplant.fraction=0"
            )
        if reinfusion.fraction > 0 and reinfusion.window_days <= assessed:
            raise ValueError(
                f"regimen.reinfusion.window_days={reinfusion.window_days:g}: only patients in remission are infused "
                f"again, which is known on day {assessed}; look for longer, or set regimen.reinfusion.fraction=0"
            )
        for arm in self.arms:
            car_classes(arm, self.biology.antigens)  # refuses a construct against an unknown antigen
            for name, part in arm.components.items():
                out = f"leave the product out with ~comparators.{arm.name}"
                if part.donor and transplant.fraction == 0:
                    raise ValueError(
                        f"product {arm.name}: component {name} is donor-derived and given after a transplant, but "
                        f"regimen.transplant.fraction=0: transplant some, or {out}"
                    )
                last = part.day + self.regimen.split_days[-1] + (transplant.day if part.donor else 0)
                if last >= self.follow_up_days:
                    raise ValueError(
                        f"product {arm.name}: component {name} is infused on day {last:g}, {end}, infuse earlier, or "
                        f"{out}"
                    )
                if part.only_in_remission and not part.donor and part.day < assessed:
                    raise ValueError(
                        f"product {arm.name}: component {name} is given in remission only, on day {part.day:g}, but "
                        f"remission is known on day {assessed}: give it later, or assess earlier with "
                        "clinic.assessment_day"
                    )

    def _check_history(self) -> None:
        """Refuse patients whom this biology cannot have."""
        c, antigens = self.cohort, list(self.biology.antigens)
        for key, fraction in (("prior_car", c.prior_car_fraction), ("negative", c.negative_patients_fraction)):
            antigen = getattr(c, f"{key}_antigen")
            if fraction > 0 and antigen not in antigens:
                raise ValueError(
                    f"cohort.{key}_antigen={antigen!r} is not an antigen of the biology. " + suggest(antigen, antigens)
                )
        if c.clones == "none" and c.prior_car_fraction > 0:
            raise ValueError(
                f"cohort.prior_car_fraction={c.prior_car_fraction:g} with clones=none: an earlier CAR selects among "
                "clones; let them grow with cohort.clones=grown, or set the fraction to 0"
            )
        blocked = "sanctuary_entry" in self.biology.routes_off or self.biology.leukaemia.sanctuary_entry_per_day == 0
        if c.extramedullary_fraction > 0 and blocked:
            raise ValueError(
                f"cohort.extramedullary_fraction={c.extramedullary_fraction:g}, but no route leads to a sanctuary: "
                "open sanctuary_entry in biology.routes_off, raise biology.leukaemia.sanctuary_entry_per_day, or set "
                "the fraction to 0"
            )


def _leaves(node: Any, path: str) -> dict[str, Any]:
    """Values of nested dictionaries by their dotted paths."""
    if not isinstance(node, dict):
        return {path: node}
    return {p: value for key, inner in node.items() for p, value in _leaves(inner, f"{path}.{key}").items()}


def make_settings(data: dict[str, Any]) -> Settings:
    """Check plain data (for example a composed configuration) and make settings of it.

    Raises:
        InputError: one line for each fault, with the value, the rule and the way out.
    """
    if "product" not in data:
        raise InputError("product: is missing; choose one with product=NAME")
    return check(Settings, data)
