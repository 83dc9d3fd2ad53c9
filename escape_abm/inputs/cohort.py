"""Virtual patients, drawn from stated distributions, each from one seed and one number alone.

Patient i of seed s draws from `SeedSequence(s, spawn_key=(i, stream))`. Traits, leukaemia growth, treatment course and
read-out have separate streams. So results do not depend on the order or number of workers, any patient can be run again
alone, and every product meets the same patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from escape_abm.inputs.biology import Antigen, Biology
from escape_abm.inputs.products import CarClass, Component, Product, car_classes
from escape_abm.inputs.rows import Section, row

TRAITS, LEUKAEMIA, COURSE, READOUT, AGENTS = range(5)
"""Streams of chance of one patient; agents have one of their own, so that events are the same under both engines."""


def stream(seed: int, patient: int, which: int) -> np.random.Generator:
    """The generator of one stream of one patient."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(patient, which)))


class Cohort(Section):
    """Who is treated. Burden is that before lymphodepletion (and before bridging, if any)."""

    size: int = Field(default=200, ge=1, le=10_000_000)
    burden_median_cells: float = row(1.7e11, "cells", (1, 1e13), (1e9, 1e12), "start", "C", "Median leukaemic burden.")
    burden_median_cells_sigma: float = row(
        1.5, "sd of ln", (0, 4), (0, 2.5), "start", "C", "Its spread between patients."
    )
    burden_max_cells: float = row(
        1.5e12, "cells", (1, 1e14), (1e11, 3e12), "start", "C", "Burdens above count as this."
    )
    clones: Literal["grown", "none"] = "grown"
    """Whether the clones that are there before treatment come from growth out of one cell, or are left out."""
    weight_median_kg: float = row(30, "kg", (1, 300), (5, 100), "assumed", "C", "Median body weight.")
    weight_median_kg_sigma: float = row(0.5, "sd of ln", (0, 2), (0, 1), "assumed", "C", "Its spread between patients.")
    adult_fraction: float = row(
        0, "fraction of patients", (0, 1), (0, 1), "assumed", "C", "Patients of 18 years or more."
    )
    kmt2a_fraction: float = row(0.08, "fraction of patients", (0, 1), (0, 0.3), "start", "C", "KMT2A rearrangement.")
    negative_antigen: str = "cd19"
    """Antigen that some patients' leukaemia lacks in part when they enter."""
    negative_patients_fraction: float = row(
        0, "fraction of patients", (0, 1), (0, 0.6), "assumed", "C", "Patients who enter with antigen-negative disease."
    )
    negative_blast_fraction: float = row(
        0.9, "fraction of blasts", (0, 1), (0.01, 1), "assumed", "C", "Antigen-negative share of the blasts in them."
    )

    extramedullary_fraction: float = row(
        0, "fraction of patients", (0, 1), (0, 0.3), "assumed", "C", "Patients who enter with extramedullary disease."
    )
    extramedullary_blast_fraction: float = row(
        0.9, "fraction of blasts", (0, 1), (0.1, 1), "assumed", "C", "Blasts in sanctuaries in them."
    )
    prior_car_fraction: float = row(
        0, "fraction of patients", (0, 1), (0, 1), "assumed", "C", "Patients who relapsed after an earlier CAR."
    )
    prior_car_antigen: str = "cd19"
    """What the earlier CAR was against."""
    prior_car_log10_kill: float = row(
        5, "log10", (0, 12), (3, 8), "assumed", "C", "Kill of fully recognised blasts by it, before they grew back."
    )
    prior_car_negative_fraction: float = row(
        0.41,
        "fraction of patients with an earlier CAR",
        (0, 1),
        (0.39, 0.68),
        "lamble2023",
        "A",
        "Whose relapse after it was of cells without its antigen (68 of 166).",
    )
    prior_car_rejected_fraction: float = row(
        0.3,
        "fraction of patients with an earlier CAR",
        (0, 1),
        (0, 1),
        "assumed",
        "C",
        "Who reject the next one: an earlier CAR immunises (direction known, size assumed).",
    )
    prior_car_rejection_last_day: float = row(
        14, "d", (0, 3650), (7, 28), "assumed", "C", "They begin to within so many days, evenly: they know it already."
    )

    @model_validator(mode="after")
    def _median_below_max(self) -> Self:
        if self.burden_median_cells > self.burden_max_cells:
            raise ValueError(
                f"burden_median_cells={self.burden_median_cells:g} is above burden_max_cells="
                f"{self.burden_max_cells:g}: lower the median or raise the maximum"
            )
        return self


@dataclass(frozen=True)
class Patient:
    """One virtual patient.

    Attributes:
        index, seed: Which patient of which seed.
        biology: The patient's own parameters: the cohort's with the between-patient spread drawn.
        burden_cells: Leukaemic cells at entry.
        weight_kg: Body weight.
        kmt2a: Whether KMT2A is rearranged.
        negative_fraction: Share of blasts without `negative_antigen` at entry (0: only what grew by itself).
        rejection_day: Day on which rejection of the CAR T cells starts (inf: never).
        prior_car_antigen: What an earlier CAR was against ("": there was none).
        prior_car_log10_kill: How deeply it went.
        prior_car_escaped: Whether the relapse after it was of cells without its antigen.
        extramedullary_fraction: Share of blasts in sanctuaries at entry, beyond those that went there by themselves.
        transplant_luck, reinfusion_luck: Uniform; below the regimen's fraction the patient gets one.
        graft_z: Standard normal; how strong a graft is against this leukaemia.
        adult: Whether of 18 years or more.
        fitness_z: Standard normal; what all batches of the patient share of whether they fail.
        batch_z: Standard normal for each antigen (0 if left out); what a batch against it has of its own.
    """

    index: int
    seed: int
    biology: Biology
    burden_cells: float
    weight_kg: float
    kmt2a: bool
    negative_antigen: str
    negative_fraction: float
    clones: str
    rejection_day: float
    prior_car_antigen: str = ""
    prior_car_log10_kill: float = 0.0
    prior_car_escaped: bool = False
    extramedullary_fraction: float = 0.0
    transplant_luck: float = 1.0
    reinfusion_luck: float = 1.0
    graft_z: float = 0.0
    adult: bool = False
    fitness_z: float = 0.0
    batch_z: Mapping[str, float] = field(default_factory=dict)

    @property
    def lacking_at_entry(self) -> frozenset[str]:
        """Antigens that the leukaemia lacks at entry, in part or as a whole, by measurement or history."""
        measured = {self.negative_antigen} if self.negative_fraction > 0 else set()
        return frozenset(measured | ({self.prior_car_antigen} if self.prior_car_escaped else set()))

    def stream(self, which: int) -> np.random.Generator:
        """A fresh generator of one of this patient's streams."""
        return stream(self.seed, self.index, which)

    def fails(self, component: Component) -> bool:
        """Whether this batch expands poorly.

        A batch against the same antigens has the same luck in every product, so that twins keep theirs. That of a batch
        against several antigens is made of those of single ones. Cells of a donor do not fail.
        """
        c = self.biology.car_t
        if component.donor:
            return False
        odds = c.failed_adult_odds_fold if self.adult else 1.0
        share = c.failed_fraction * odds / (1 - c.failed_fraction + c.failed_fraction * odds)
        own = [self.batch_z.get(construct.antigen, 0.0) for construct in component.constructs.values()]
        shared = c.failed_shared_fraction
        z = math.sqrt(shared) * self.fitness_z + math.sqrt((1 - shared) / len(own)) * sum(own)
        return 0.5 * math.erfc(-z / math.sqrt(2)) < share

    def car_classes(self, product: Product) -> tuple[CarClass, ...]:
        """The classes of CAR T cells of a product as they are made from this patient's T cells."""
        failed = {name for name, part in product.components.items() if self.fails(part)}
        fold = self.biology.car_t.failed_division_fold
        return tuple(
            replace(car, division_fold=car.division_fold * fold) if car.component in failed else car
            for car in car_classes(product, self.biology.antigens)
        )

    def covariates(self) -> dict[str, Any]:
        """What a table says about the patient, in the order of its columns."""
        b = self.biology
        out: dict[str, Any] = {
            "burden_cells": self.burden_cells,
            "weight_kg": self.weight_kg,
            "adult": self.adult,
            "kmt2a": self.kmt2a,
            "antigen_negative_at_entry": bool(self.lacking_at_entry),
            "extramedullary_at_entry": self.extramedullary_fraction > 0,
            "prior_car": bool(self.prior_car_antigen),
            "net_growth_per_day": b.leukaemia.net_growth_per_day,
            "effector_division_per_day": b.car_t.effector_division_per_day,
            "effector_death_per_day": b.car_t.effector_death_per_day,
            "memory_loss_per_day": b.car_t.memory_loss_per_day,
            "sanctuary_access": b.killing.sanctuary_access,
            "rejects": math.isfinite(self.rejection_day),
        }
        return out | {f"{name}_density_molecules": a.blast_density_molecules for name, a in b.antigens.items()}


def _vary(section: Section, rng: np.random.Generator, later: tuple[str, ...] = ()) -> dict[str, float]:
    """Draw every row of a section that has a `_sigma` row beside it: median times a lognormal factor.

    Rows named in `later` are left to be drawn elsewhere.
    """
    fields = type(section).model_fields
    pairs = [(name, f"{name}_sigma") for name in fields if f"{name}_sigma" in fields and name not in later]
    return {n: getattr(section, n) * math.exp(getattr(section, s) * rng.standard_normal()) for n, s in pairs}


def sample_patient(index: int, seed: int, cohort: Cohort, biology: Biology) -> Patient:
    """Draw patient `index` of `seed`, in a fixed order, so that patients of different settings stay comparable."""
    rng = stream(seed, index, TRAITS)
    scale = _vary(cohort, rng)
    kmt2a = bool(rng.random() < cohort.kmt2a_fraction)
    negative = bool(rng.random() < cohort.negative_patients_fraction)
    rejects = bool(rng.random() < biology.car_t.rejected_fraction)
    first, last = biology.car_t.rejection_first_day, biology.car_t.rejection_last_day
    rejection_day = math.floor(first + (last - first) * rng.random())
    leukaemia = _vary(biology.leukaemia, rng)
    if kmt2a:
        fold = biology.leukaemia.lineage_switch_kmt2a_fold
        leukaemia["lineage_switch_per_division"] = min(1.0, biology.leukaemia.lineage_switch_per_division * fold)
    killing = _vary(biology.killing, rng, later=("kill_per_day",))
    killing["sanctuary_access"] = min(1.0, killing["sanctuary_access"])
    car_t = _vary(biology.car_t, rng, later=("engrafted_fraction", "effector_to_memory_per_day"))
    antigens: dict[str, Antigen] = {}
    for name, antigen in biology.antigens.items():
        drawn = _vary(antigen, rng)
        if kmt2a:
            drawn["blast_density_molecules"] *= antigen.kmt2a_density_fold
        for rate in ("last_hit_per_division", "silencing_per_division"):
            drawn[rate] = min(1.0, drawn[rate])
        antigens[name] = antigen.model_copy(update=drawn)
    # Later additions are drawn last, so that patients stay who they were.
    prior = bool(rng.random() < cohort.prior_car_fraction)
    immunised = bool(rng.random() < cohort.prior_car_rejected_fraction) and prior
    extramedullary = bool(rng.random() < cohort.extramedullary_fraction)
    transplant_luck, reinfusion_luck, graft_z = rng.random(), rng.random(), rng.standard_normal()
    escaped = bool(rng.random() < cohort.prior_car_negative_fraction) and prior
    early = math.floor(cohort.prior_car_rejection_last_day * rng.random())
    if immunised:
        rejection_day = min(early, rejection_day) if rejects else early
    c, k = biology.car_t, biology.killing
    spreads = c.engrafted_fraction_sigma, k.kill_per_day_sigma, c.effector_to_memory_per_day_sigma
    engrafted, potency, memory = (math.exp(sigma * rng.standard_normal()) for sigma in spreads)
    car_t["engrafted_fraction"] = min(1.0, c.engrafted_fraction * engrafted)
    for rate in ("kill_per_day", "kills_per_car_t_per_day"):
        killing[rate] = getattr(k, rate) * potency
    car_t["effector_to_memory_per_day"] = c.effector_to_memory_per_day * memory
    adult, fitness = bool(rng.random() < cohort.adult_fraction), rng.standard_normal()
    batches = {name: rng.standard_normal() for name in biology.antigens}
    return Patient(
        index=index,
        seed=seed,
        biology=biology.model_copy(
            update={
                "leukaemia": biology.leukaemia.model_copy(update=leukaemia),
                "killing": biology.killing.model_copy(update=killing),
                "car_t": biology.car_t.model_copy(update=car_t),
                "antigens": antigens,
            }
        ),
        burden_cells=max(1.0, min(scale["burden_median_cells"], cohort.burden_max_cells)),
        weight_kg=scale["weight_median_kg"],
        kmt2a=kmt2a,
        negative_antigen=cohort.negative_antigen,
        negative_fraction=cohort.negative_blast_fraction if negative else 0.0,
        clones=cohort.clones,
        rejection_day=float(rejection_day) if rejects or immunised else math.inf,
        prior_car_antigen=cohort.prior_car_antigen if prior else "",
        prior_car_log10_kill=cohort.prior_car_log10_kill if prior else 0.0,
        prior_car_escaped=escaped,
        extramedullary_fraction=cohort.extramedullary_blast_fraction if extramedullary else 0.0,
        transplant_luck=transplant_luck,
        reinfusion_luck=reinfusion_luck,
        graft_z=graft_z,
        adult=adult,
        fitness_z=fitness,
        batch_z=batches,
    )


def median_patient(seed: int, cohort: Cohort, biology: Biology) -> Patient:
    """The patient with every trait at its median: no KMT2A rearrangement, rejection, earlier CAR or measured escape.

    A transplant or second infusion is given if at least half of the patients would get it, to one of index 0.
    """
    return Patient(
        index=0,
        seed=seed,
        biology=biology,
        burden_cells=max(1.0, min(cohort.burden_median_cells, cohort.burden_max_cells)),
        weight_kg=cohort.weight_median_kg,
        kmt2a=False,
        negative_antigen=cohort.negative_antigen,
        negative_fraction=0.0,
        clones=cohort.clones,
        rejection_day=math.inf,
        transplant_luck=MIDDLE,
        reinfusion_luck=MIDDLE,
        adult=cohort.adult_fraction > MIDDLE,
    )


MIDDLE = 0.5 - 1e-9
"""Luck of the median patient: just below a half, so that a share of one half is enough."""
