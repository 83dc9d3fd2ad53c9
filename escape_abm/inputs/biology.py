"""The biological parameters: one row each for leukaemia, antigens, killing, CAR T cells and the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import ValidationInfo, field_validator, model_validator

from escape_abm.inputs.checks import suggest
from escape_abm.inputs.rows import START, Grade, Section, row, spread


class Leukaemia(Section):
    """Growth of the leukaemia and the switches that are not tied to one antigen."""

    net_growth_per_day: float = row(
        0.097,
        "1/d",
        (0, 1),
        (0.03, 0.20),
        START,
        "C",
        "Births minus deaths of a small leukaemia. At diagnosis: 0.067 (hirt1997); relapsed disease is faster.",
    )
    net_growth_per_day_sigma: float = spread(0.35, START)
    death_per_day: float = row(
        0.053, "1/d", (0, 5), (0.01, 0.10), START, "C", "Death without therapy. Measured at diagnosis: 0.04 (hirt1997)."
    )
    carrying_capacity_cells: float = row(
        2e12, "cells", (1, 1e15), (1e12, 2e13), "liu2022", "C", "Burden at which births equal deaths."
    )
    lineage_switch_per_division: float = row(
        1.5e-16,
        "1/division",
        (0, 1),
        (1e-17, 1e-11),
        START,
        "C",
        "Switch to a myeloid lineage, KMT2A wild type. Proposed by others: 1e-15 to 1e-11.",
    )
    lineage_switch_kmt2a_fold: float = row(
        3000,
        "ratio",
        (1, 1e6),
        (10, 1e4),
        START,
        "C",
        "Factor on the switch with a KMT2A rearrangement. Proposed: 10 to 300.",
    )
    progenitor_entry_per_division: float = row(
        1e-5,
        "1/division",
        (0, 1),
        (1e-7, 1e-3),
        "domizi2025",
        "C",
        "Entry into an IKAROS-low, progenitor-like state. Phenomenon measured, rate assumed.",
    )
    progenitor_exit_per_day: float = row(
        0.023, "1/d", (0, 10), (0.0035, 0.1), "domizi2025", "C", "Return from it (half-time 30 d). Rate assumed."
    )
    progenitor_density_fold: float = row(
        0.3, "ratio", (0, 1), (0.1, 0.7), "domizi2025", "C", "Density of every antigen in it. Size assumed."
    )
    sanctuary_entry_per_day: float = row(
        1e-3, "1/d", (0, 10), (1e-5, 1e-2), START, "C", "Marrow to sanctuary (CNS and other extramedullary sites)."
    )
    sanctuary_exit_per_day: float = row(1e-2, "1/d", (0, 10), (1e-3, 1e-1), START, "C", "Sanctuary to marrow.")


class Antigen(Section):
    """One surface antigen of the leukaemia: density, routes of its loss, and how CARs against it see it."""

    hits_to_loss: Literal[1, 2] = 2
    """Alleles that must be hit before the antigen is lost for good (1: one step loses it)."""
    blast_density_molecules: float = row(
        8000, "molecules/cell", (0, 1e6), (2000, 30000), "cd19_density2019", "C", "Median density on blasts."
    )
    blast_density_molecules_sigma: float = spread(0.6, START)
    kmt2a_density_fold: float = row(
        1.0, "ratio", (0, 10), (0.2, 1.5), "assumed", "C", "Density with a KMT2A rearrangement against without."
    )
    normal_b_density_molecules: float = row(
        22000, "molecules/cell", (0, 1e6), (15000, 29000), "ginaldi1998", "A", "Density on normal B cells."
    )
    half_density_molecules: float = row(
        500, "molecules/cell", (1, 1e6), (100, 2000), START, "C", "Half-density for killing of the reference 4-1BB CAR."
    )
    tandem_fold: float = row(
        1.5, "ratio", (1, 100), (1, 4), START, "C", "Half-density in a tandem CAR against a single CAR."
    )
    bicistronic_fold: float = row(
        2.0, "ratio", (1, 100), (1, 5), START, "C", "Half-density in a bicistronic product against a single CAR."
    )
    car_division_fold: float = row(
        1.0, "ratio", (0, 10), (0.3, 1), "assumed", "C", "Division of T cells with the reference CAR, against CD19's."
    )
    hemizygous_fold: float = row(0.5, "ratio", (0, 1), (0.3, 0.8), START, "C", "Density with one allele of two left.")
    dim_fold: float = row(0.05, "ratio", (0, 1), (0.02, 0.3), START, "C", "Density in the dim state.")
    dimming_per_day: float = row(1e-5, "1/d", (0, 10), (1e-7, 1e-3), START, "C", "High to dim.")
    brightening_per_day: float = row(0.1, "1/d", (0, 10), (0.02, 0.35), START, "C", "Dim to high.")
    silencing_per_division: float = row(
        8.7e-14,
        "1/division",
        (0, 1),
        (1e-15, 1e-10),
        START,
        "C",
        "One-step heritable silencing (splicing, promoter). Starting fit: 1.3e-14 per day at 0.15 divisions per day.",
    )
    silencing_per_division_sigma: float = spread(2.0, START)
    reactivation_per_day: float = row(
        0.0, "1/d", (0, 10), (0, 1e-2), "assumed", "C", "Silenced to high. Zero: silencing is heritable."
    )
    first_hit_per_division: float = row(
        8e-7,
        "1/division",
        (0, 1),
        (1e-7, 1e-5),
        "hla_loss1977",
        "B",
        "Loss of the first of two alleles, whichever it is (measured per allele; the starting fit takes it per cell).",
    )
    last_hit_per_division: float = row(
        2.6e-8,
        "1/division",
        (0, 1),
        (1e-9, 1e-5),
        START,
        "C",
        "Loss of the last allele (loss of heterozygosity). Proposed from cell lines: 3e-7 to 1e-5.",
    )
    last_hit_per_division_sigma: float = spread(1.5, START)
    fitness_cost_fraction: float = row(
        0.0, "fraction of births", (0, 1), (0, 0.2), "assumed", "C", "Births lost once the antigen is gone."
    )

    @model_validator(mode="after")
    def _two_hits_are_possible(self) -> Self:
        if self.hits_to_loss == 2 and self.first_hit_per_division == 0 < self.last_hit_per_division:
            raise ValueError(
                f"hits_to_loss=2 with first_hit_per_division=0 and last_hit_per_division="
                f"{self.last_hit_per_division:g}: the second hit never comes; set the first, or hits_to_loss=1"
            )
        return self


def _cd22() -> Antigen:
    """CD22: lost in one step, dimmed more often than lost, two to three times fewer molecules than CD19."""
    return Antigen(
        hits_to_loss=1,
        blast_density_molecules=3470,
        blast_density_molecules_sigma=0.77,
        kmt2a_density_fold=0.46,
        normal_b_density_molecules=5000,
        half_density_molecules=841,
        tandem_fold=5.0,
        bicistronic_fold=2.0,
        dim_fold=0.15,
        dimming_per_day=1.4e-5,
        silencing_per_division=0.0,
        silencing_per_division_sigma=0.0,
        first_hit_per_division=0.0,
        last_hit_per_division=1e-11,
        last_hit_per_division_sigma=0.0,
    )


# Sources of the CD22 values that differ from the generic antigen row: (source, grade, plausible range).
CD22_SOURCES: dict[str, tuple[str, Grade, tuple[float, float]]] = {
    "blast_density_molecules": ("shah2015", "A", (349, 19653)),
    "blast_density_molecules_sigma": ("shah2015", "A", (0.5, 1.0)),
    "kmt2a_density_fold": ("shah2015", "A", (0.2, 0.8)),
    "normal_b_density_molecules": ("assumed", "C", (2000, 20000)),
    "half_density_molecules": (START, "C", (300, 3000)),
    "tandem_fold": (START, "C", (2, 15)),
    "car_division_fold": ("assumed", "C", (0.3, 1)),
    "dim_fold": (START, "C", (0.05, 0.5)),
    "dimming_per_day": (START, "C", (1e-7, 1e-3)),
    "silencing_per_division": ("assumed", "C", (0, 1e-10)),
    "silencing_per_division_sigma": ("assumed", "C", (0, 2.5)),
    "first_hit_per_division": ("assumed", "C", (0, 1e-5)),
    "last_hit_per_division": (START, "C", (1e-13, 1e-6)),
    "last_hit_per_division_sigma": ("assumed", "C", (0, 2.5)),
}


class Killing(Section):
    """How CAR T cells kill and strip their targets."""

    kill_per_day: float = row(
        2.9,
        "1/d",
        (0, 100),
        (0.5, 8.5),
        START,
        "C",
        "Largest kill hazard of one target. kimmel2021: 0.64 to 1.35 in lymphoma.",
    )
    kill_per_day_sigma: float = spread(0.0, "assumed")
    half_saturation_cells: float = row(
        3.2e9,
        "cells",
        (1, 1e15),
        (1.4e9, 1e10),
        START,
        "C",
        "CAR T cells at half the largest hazard. kimmel2021: 1.4e9 to 3.1e9.",
    )
    kills_per_car_t_per_day: float = row(
        15,
        "1/d",
        (1e-3, 1000),
        (1, 23),
        START,
        "C",
        "Most targets that one CAR T cell kills in a day (liu2022: 8.6, 22.7).",
    )
    hill: float = row(1.5, "none", (0.1, 10), (1, 3), START, "C", "Hill coefficient of killing in antigen density.")
    sanctuary_access: float = row(
        0.88,
        "ratio",
        (0, 1),
        (0.05, 1),
        START,
        "C",
        "Contacts in a sanctuary against marrow; at most 1 in any patient.",
    )
    sanctuary_access_sigma: float = spread(0.6, START)
    stripping_per_contact: float = row(
        0.02,
        "ratio",
        (0, 1),
        (0.001, 0.2),
        START,
        "C",
        "Chance that a contact that does not kill leaves an antigen dim.",
    )


class CarT(Section):
    """Life of the CAR T cells."""

    memory_fraction: float = row(
        0.3, "fraction", (0, 1), (0.02, 0.6), START, "C", "Memory cells in the infused product."
    )
    effector_division_per_day: float = row(
        1.03,
        "1/d",
        (0, 5),
        (0.9, 3),
        START,
        "C",
        "Divisions of a fully stimulated effector in a fully lymphopenic host. Fits without lymphopenia: 0.9 to 1.75; "
        "here lymphopenia halves it within five days (kimmel2021).",
    )
    effector_division_per_day_sigma: float = spread(0.55, START)
    failed_fraction: float = row(
        0.0, "fraction of batches", (0, 1), (0, 0.4), "assumed", "C", "Batches whose cells expand poorly, in children."
    )
    failed_adult_odds_fold: float = row(
        1.0, "ratio", (0.01, 100), (1, 10), "assumed", "C", "The same in adults: T cells are less fit with age."
    )
    failed_division_fold: float = row(
        0.4, "ratio", (0, 1), (0, 0.5), "assumed", "C", "Division of the cells of such a batch."
    )
    failed_shared_fraction: float = row(
        0.5,
        "fraction of variance",
        (0, 1),
        (0, 1),
        "assumed",
        "C",
        "Of what decides whether a batch fails: the patient's, whose other batches share it; the rest is the batch's.",
    )
    lymphopenia_independent_fraction: float = row(
        0.47, "fraction", (0, 1), (0, 1), START, "C", "Share of division that needs no lymphopenia."
    )
    homeostatic_fraction: float = row(
        0.0,
        "fraction",
        (0, 1),
        (0, 1),
        "assumed",
        "C",
        "Share of division in a lymphopenic host that needs no antigen (all of it in the model of kimmel2021).",
    )
    stimulation_half_cells: float = row(
        1.7e9, "cells", (1, 1e15), (1e9, 8e11), START, "C", "Antigen seen (cells) that gives half the stimulation."
    )
    stimulation_density_fold: float = row(
        10, "ratio", (1, 100), (5, 20), "watanabe2015", "B", "Half-density for expansion against killing."
    )
    stimulation_hill: float = row(2, "none", (0.1, 10), (1, 4), START, "C", "Hill coefficient of expansion in density.")
    memory_activation_per_day: float = row(
        1.0, "1/d", (0, 10), (0.05, 2), START, "C", "Memory to two effectors, saturated."
    )
    memory_loss_per_day: float = row(
        0.0052, "1/d", (0, 10), (0.0005, 0.02), START, "C", "Loss of memory cells. stein2019: 0.0032."
    )
    memory_loss_per_day_sigma: float = spread(0.93, "stein2019", "A")
    effector_death_per_day: float = row(
        0.154, "1/d", (0, 10), (0.025, 1), START, "C", "Death of effectors. stein2019: 0.16."
    )
    effector_death_per_day_sigma: float = spread(0.5, START)
    effector_to_memory_per_day: float = row(
        0.00055, "1/d", (0, 10), (0.0001, 0.01), START, "C", "Effector back to memory."
    )
    effector_to_memory_per_day_sigma: float = spread(0.0, "assumed")
    exhaustion_per_day: float = row(
        0.0036, "1/d", (0, 10), (0.001, 0.3), START, "C", "Stimulated effector to exhausted. Proposed: 0.005 to 0.3."
    )
    exhausted_death_per_day: float = row(0.2, "1/d", (0, 10), (0.05, 1), START, "C", "Death of exhausted cells.")
    engrafted_fraction: float = row(
        1.0,
        "fraction of the dose",
        (0, 1),
        (0.01, 1),
        "assumed",
        "C",
        "Infused cells that are left to expand, after distribution and early death; at most 1 in any patient.",
    )
    engrafted_fraction_sigma: float = spread(0.0, "assumed")
    rejected_fraction: float = row(0.03, "fraction of patients", (0, 1), (0, 0.1), START, "C", "Patients who reject.")
    rejection_per_day: float = row(
        0.15, "1/d", (0, 10), (0.05, 1), START, "C", "Extra loss of CAR T cells once rejected."
    )
    rejection_first_day: float = row(14, "d", (0, 3650), (7, 30), START, "C", "Earliest day on which rejection starts.")
    rejection_last_day: float = row(120, "d", (0, 3650), (60, 365), START, "C", "Latest day on which rejection starts.")

    @model_validator(mode="after")
    def _rejection_window(self) -> Self:
        if self.rejection_first_day > self.rejection_last_day:
            raise ValueError(
                f"rejection_first_day={self.rejection_first_day:g} is after rejection_last_day="
                f"{self.rejection_last_day:g}: the window must not be empty; lower the first or raise the last"
            )
        return self


class Host(Section):
    """The patient's own lymphocytes."""

    t_cell_capacity_cells: float = row(2.5e11, "cells", (1e3, 1e13), (1e11, 4e11), "kimmel2021", "C", "Normal T cells.")
    t_cell_nadir_cells: float = row(3e9, "cells", (1, 1e13), (5e8, 2e10), "kimmel2021", "A", "After lymphodepletion.")
    t_cell_recovery_per_day: float = row(
        0.17, "1/d", (1e-3, 10), (0.165, 0.17), "kimmel2021", "A", "Gompertz recovery rate."
    )
    b_cell_source_per_day: float = row(
        1.35e8, "cells/d", (0, 1e12), (2e6, 6e10), START, "C", "From CD19-negative precursors."
    )
    b_cell_life_days: float = row(30, "d", (0.1, 1000), (5, 60), "leontriana2021", "C", "Mean life of a normal B cell.")
    b_cells_at_start_cells: float = row(
        1e10, "cells", (0, 1e13), (1e8, 3e11), START, "C", "Normal B cells at infusion."
    )

    @model_validator(mode="after")
    def _nadir_below_capacity(self) -> Self:
        if self.t_cell_nadir_cells >= self.t_cell_capacity_cells:
            raise ValueError(
                f"t_cell_nadir_cells={self.t_cell_nadir_cells:g} must lie below t_cell_capacity_cells="
                f"{self.t_cell_capacity_cells:g}; lower the nadir or raise the capacity"
            )
        return self


class Biology(Section):
    """All biological parameters. The rows hold the starting fit; runs take `biology=fitted` unless told otherwise."""

    leukaemia: Leukaemia = Leukaemia()
    antigens: dict[str, Antigen] = {"cd19": Antigen(), "cd22": _cd22()}
    killing: Killing = Killing()
    car_t: CarT = CarT()
    host: Host = Host()
    routes_off: tuple[str, ...] = ()
    """Names of routes that are switched off, for example `cd19_allele_loss` or `lineage_switch`."""

    @field_validator("routes_off", mode="before")
    @classmethod
    def _known_routes(cls, value: Any, info: ValidationInfo) -> Any:
        known = route_names(info.data.get("antigens", {}))
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be a list such as '[{known[1]}]'. Routes: {', '.join(known)}")
        for name in value:
            if name not in known and "antigens" in info.data:  # otherwise they are wrong themselves
                raise ValueError(f"a list as '[{known[1]}]', but {name!r} is no route. {suggest(str(name), known)}")
        return value


def route_names(antigens: Mapping[str, Antigen] | tuple[str, ...]) -> tuple[str, ...]:
    """Names of every route between states, in the order of the law."""
    each = ("allele_loss", "silencing", "reactivation", "dimming", "brightening", "stripping")
    shared = ("progenitor_entry", "progenitor_exit", "lineage_switch", "sanctuary_entry", "sanctuary_exit")
    return tuple(f"{a}_{e}" for a in antigens for e in each) + shared
