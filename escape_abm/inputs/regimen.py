"""Treatment besides the product: bridging, lymphodepletion, dose and schedule, transplant, re-infusion."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from escape_abm.inputs.rows import Section, row, spread


class Transplant(Section):
    """Consolidation by an allogeneic transplant (alloHSCT) of patients in remission."""

    fraction: float = row(
        0, "fraction of patients in remission", (0, 1), (0, 1), "assumed", "C", "Transplanted if in remission that day."
    )
    day: float = row(69, "d", (1, 3650), (35, 312), "assumed", "C", "Days from infusion; median recalled, not checked.")
    conditioning_log10_kill: float = row(
        2, "log10", (0, 12), (1, 4), "assumed", "C", "Leukaemia killed by conditioning."
    )
    car_t_log10_kill: float = row(
        12,
        "log10",
        (0, 12),
        (2, 12),
        "assumed",
        "C",
        "Autologous CAR T and normal B cells lost. As good as all: donor cells replace those that conditioning leaves.",
    )
    t_cell_recovery_per_day: float = row(
        0.01, "1/d", (1e-3, 10), (0.005, 0.05), "assumed", "C", "Recovery of T cells afterwards: half in six months."
    )
    graft_kill_per_day: float = row(
        0.18,
        "1/d",
        (0, 5),
        (0, 0.4),
        "meta_hsct2021",
        "C",
        "Graft-versus-leukaemia: kill hazard of leukaemic cells, whatever their antigens; a sanctuary lets in as few "
        "of its T cells as of CAR T cells. Chosen so that transplant changes the hazard of relapse 0.17-fold (0.12 to "
        "0.24) in the same patients; published 0.16 (0.10 to 0.25), observational.",
    )
    graft_kill_per_day_sigma: float = spread(0.7, "assumed")
    death_fraction: float = row(
        0.08, "fraction of transplanted patients", (0, 1), (0.02, 0.15), "meta_hsct2021", "A", "Transplant mortality."
    )
    death_last_day: float = row(
        180, "d", (1, 3650), (100, 365), "assumed", "C", "It comes within so many days, evenly."
    )


class Reinfusion(Section):
    """A second infusion of the same product when normal B cells return early, which tells that CAR T cells are lost."""

    fraction: float = row(
        0, "fraction of patients", (0, 1), (0, 1), "assumed", "C", "Patients with early B-cell recovery who get one."
    )
    window_days: float = row(
        182, "d", (1, 3650), (90, 365), "assumed", "C", "Recovery is early up to this day (about six months)."
    )
    visit_days: float = row(30, "d", (1, 365), (7, 60), "assumed", "C", "B cells are counted so often, from day 30 on.")
    lymphodepletion: bool = True


class Regimen(Section):
    """Treatment around the product. Day 0 is the first infusion.

    The dose is `dose_cells` if given, otherwise `dose_cells_per_kg` times the patient's weight. `split_fractions` on
    `split_days` (days after the first infusion of each component) divide it; they must add up to 1.
    """

    bridging_log10_kill: float = row(
        0, "log10", (0, 12), (0, 3), "assumed", "C", "Leukaemia killed by bridging therapy."
    )
    bridging_days: float = row(30, "d", (0, 365), (10, 60), "assumed", "C", "Days from bridging to infusion.")
    lymphodepletion: bool = True
    lymphodepletion_log10_kill: float = row(
        0.63, "log10", (0, 12), (0, 1.5), "start", "C", "Leukaemia killed by lymphodepletion, just before infusion."
    )
    dose_cells: float | None = Field(default=6e7, ge=0, le=1e12)
    """CAR+ cells, the same for every patient (starting fit)."""
    dose_cells_per_kg: float | None = Field(default=None, ge=0, le=1e10)
    split_fractions: tuple[float, ...] = (1.0,)
    split_days: tuple[float, ...] = (0.0,)
    transplant: Transplant = Transplant()
    reinfusion: Reinfusion = Reinfusion()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.dose_cells is None) == (self.dose_cells_per_kg is None):
            raise ValueError(
                f"dose_cells={self.dose_cells} and dose_cells_per_kg={self.dose_cells_per_kg}: give exactly one "
                "of them and set the other to null"
            )
        if len(self.split_fractions) != len(self.split_days):
            raise ValueError(
                f"split_fractions={list(self.split_fractions)} and split_days={list(self.split_days)}: "
                "give as many days as fractions"
            )
        if any(f < 0 for f in self.split_fractions) or abs(sum(self.split_fractions) - 1) > 1e-9:
            raise ValueError(
                f"split_fractions={list(self.split_fractions)}: fractions must not be negative and must add up to 1"
            )
        if self.split_days[0] != 0 or list(self.split_days) != sorted(set(self.split_days)):
            raise ValueError(f"split_days={list(self.split_days)}: days must start with 0 and rise")
        return self

    def dose(self, weight_kg: float) -> float:
        """CAR+ cells for a patient of this weight."""
        return self.dose_cells if self.dose_cells is not None else (self.dose_cells_per_kg or 0.0) * weight_kg
