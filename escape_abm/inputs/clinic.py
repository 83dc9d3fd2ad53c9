"""Clinical definitions, each in one place: remission, relapse, limit of detection, aplasia, severe toxicity."""

from __future__ import annotations

from typing import Any, Self

from numpy.typing import NDArray
from pydantic import model_validator

from escape_abm.inputs.biology import Host
from escape_abm.inputs.rows import Section, row


class Clinic(Section):
    """Thresholds of the read-outs, and how patients fare once the simulated treatment has failed."""

    normal_marrow_cells: float = row(
        1.909e12,
        "cells",
        (1, 1e14),
        (7e11, 2e12),
        "liu2022",
        "C",
        "Marrow cells of a healthy adult, whose place blasts take.",
    )
    largest_blast_fraction: float = row(
        0.9719, "fraction", (0.5, 1), (0.9, 1), "liu2022", "C", "Blasts in a packed marrow."
    )
    remission_blast_fraction: float = row(
        0.05, "fraction of marrow cells", (0, 0.5), (0.05, 0.05), "maude2018", "A", "CR/CRi: fewer blasts than this."
    )
    relapse_blast_fraction: float = row(
        0.05, "fraction of marrow cells", (0, 0.5), (0.05, 0.05), "maude2018", "A", "Relapse: this many blasts or more."
    )
    extramedullary_cells: float = row(
        3e10,
        "cells",
        (1, 1e14),
        (1e9, 1e11),
        "wang2023",
        "C",
        "Sanctuary disease that is seen clinically. Chosen so that about one relapse in seven is isolated "
        "extramedullary, as among the children who entered: 31 of 225 there, 51 of 343 in b019.",
    )
    between_trials_sd: float = row(
        0.0,
        "logit",
        (0, 2),
        (0, 1),
        "assumed",
        "C",
        "Differences between trials that no parameter explains: spread of the odds of survival and relapse, in "
        "predictive intervals beside published trials.",
    )
    between_trials_remission_fold: float = row(
        1.0, "ratio", (0, 100), (0.1, 10), "assumed", "C", "The same of remission, against that."
    )
    between_trials_crs_fold: float = row(1.0, "ratio", (0, 100), (0.1, 10), "assumed", "C", "The same of CRS.")
    between_trials_kind_fold: float = row(
        1.0, "ratio", (0, 100), (0.1, 10), "assumed", "C", "The same of the kind of relapse, and of persistence."
    )
    assessment_day: int = row(28, "d", (1, 365), (28, 60), "maude2018", "A", "Day of the response assessment.")
    assayed_cells: float = row(
        1e6, "cells/test", (1, 1e9), (2e5, 3e6), "assumed", "C", "Marrow cells in one residual-disease test."
    )
    flow_limit_fraction: float = row(
        1e-4, "fraction of marrow cells", (0, 1), (1e-5, 1e-3), "borowitz2015", "A", "MRD-negative by flow: below this."
    )
    ngs_limit_fraction: float = row(
        1e-6,
        "fraction of marrow cells",
        (0, 1),
        (1e-7, 1e-5),
        "pulsipher2022",
        "C",
        "MRD-negative by sequencing: below this. The limit itself was recalled, not checked.",
    )
    majority_fraction: float = row(
        0.5, "fraction of blasts", (0.01, 1), (0.2, 0.8), "assumed", "C", "Share that names the phenotype of a relapse."
    )
    car_t_detection_cells: float = row(
        2.5e7,
        "cells",
        (0, 1e13),
        (1e6, 1e9),
        "assumed",
        "C",
        "Detectable CAR T cells (0.1 per uL, 2 % of all in 5 L blood).",
    )
    aplasia_fraction: float = row(
        0.2,
        "fraction of the healthy pool",
        (0, 1),
        (0.015, 0.25),
        "assumed",
        "C",
        "B-cell aplasia: B cells below 3 % of lymphocytes, against 15 % in health (definition recalled, not checked).",
    )
    severe_crs_kills_per_day: float = row(
        1.8e11,
        "cells/d",
        (0, 1e15),
        (1e10, 1e12),
        "crs_fit",
        "C",
        "Targets killed per day at which half have CRS grade >= 3.",
    )
    any_crs_kills_fold: float = row(
        0.105, "ratio", (0, 1), (0.01, 0.5), "crs_fit", "C", "Threshold of CRS of any grade against that of grade >= 3."
    )
    severe_crs_sigma: float = row(1.0, "sd of ln", (0, 4), (0.3, 2), "assumed", "C", "Spread of that threshold.")
    cd28_crs_fold: float = row(
        1.0, "ratio", (0.01, 10), (0.1, 1), "assumed", "C", "These thresholds with a CD28 domain, against without."
    )
    death_after_relapse_per_day: float = row(
        0.00191,
        "1/d",
        (0, 1),
        (0.0013, 0.0025),
        "lamble2023",
        "A",
        "Median survival after relapse 11.9 months, salvage in.",
    )
    death_after_lineage_switch_per_day: float = row(
        0.0047, "1/d", (0, 1), (0.003, 0.02), "lineage_switch2025", "A", "Median survival after it 4.8 months (n 70)."
    )
    death_without_remission_per_day: float = row(
        0.00455, "1/d", (0, 1), (0.0019, 0.0073), "schultz2023", "A", "12-month survival of non-responders 19 %."
    )
    treatment_death_fraction: float = row(
        0.02, "fraction of patients", (0, 1), (0, 0.1), "assumed", "C", "Death from the treatment itself."
    )
    treatment_death_last_day: float = row(100, "d", (1, 365), (30, 180), "assumed", "C", "By this day.")
    adult_death_fold: float = row(
        2.0,
        "ratio",
        (0, 50),
        (1, 4),
        "adults2021",
        "C",
        "Death of the treatment and after relapse in adults, against children. Median survival after relapse: 7.5 "
        "months (n 38) against 15.3 (n 85, chop2023). That treatment kills as much more often is assumed.",
    )

    def between_trials(self) -> dict[str, float]:
        """Differences between trials that no parameter explains, by family of endpoints, on the logit scale."""
        folds = {
            "survival": 1.0,
            "remission": self.between_trials_remission_fold,
            "crs": self.between_trials_crs_fold,
            "kind": self.between_trials_kind_fold,
        }
        return {family: self.between_trials_sd * fold for family, fold in folds.items()}

    def definitions(self) -> dict[str, Any]:
        """The rows that say what counts as what, without those that say how patients and trials fare."""
        fares = ("death_", "treatment_death_", "adult_death_", "severe_", "any_crs_", "cd28_crs_", "between_trials_")
        return {name: value for name, value in self if not name.startswith(fares)}

    @model_validator(mode="after")
    def _below_packed(self) -> Self:
        worst = max(self.remission_blast_fraction, self.relapse_blast_fraction)
        if worst >= self.largest_blast_fraction:
            raise ValueError(
                f"remission or relapse at a blast fraction of {worst:g}, but a packed marrow holds "
                f"largest_blast_fraction={self.largest_blast_fraction:g}: lower the first"
            )
        return self

    def blast_fraction(self, marrow_cells: float) -> float:
        """Fraction of blasts in the marrow for this many leukaemic cells in it.

        Marrow space is finite: blasts take the place of normal cells until it is packed. (Were normal cells to stay, as
        in the hyperbola of liu2022, 74 % blasts would need 6e12 cells, several times what a marrow holds.)
        """
        return min(marrow_cells / self.normal_marrow_cells, self.largest_blast_fraction)

    def marrow_cells(self, blast_fraction: float) -> float:
        """Leukaemic cells in the marrow at this fraction of blasts: the inverse of `blast_fraction`."""
        return blast_fraction * self.normal_marrow_cells

    def aplasia_below_cells(self, host: Host) -> float:
        """B-cell aplasia: fewer normal B cells than this."""
        return self.aplasia_fraction * host.b_cell_source_per_day * host.b_cell_life_days

    def in_remission(self, marrow_cells: float, sanctuary_cells: float) -> bool:
        """CR/CRi: marrow blasts below 5 % and no extramedullary disease that is seen."""
        return (
            self.blast_fraction(marrow_cells) < self.remission_blast_fraction
            and sanctuary_cells < self.extramedullary_cells
        )

    def in_relapse(self, marrow_cells: NDArray[Any], sanctuary_cells: NDArray[Any]) -> NDArray[Any]:
        """Whether marrow blasts or extramedullary disease reach what counts as relapse, day by day."""
        return (marrow_cells >= self.marrow_cells(self.relapse_blast_fraction)) | (
            sanctuary_cells >= self.extramedullary_cells
        )
