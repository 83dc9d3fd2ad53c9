"""From a trajectory to one row: response, relapse with its phenotype and mechanism, survival, CAR T cells, toxicity.

Clinical thresholds are in `clinic.Clinic`; what they are used for is here, once. All times are days from the first
infusion. A patient is followed to the end of follow-up or to death; nobody is lost.

Definitions:
    complete_remission      CR/CRi at the assessment day (28): marrow blasts < 5 %, no extramedullary disease, alive.
    mrd_negative            in CR and fewer than 1 in 10,000 blasts among the marrow cells assayed (flow cytometry).
    mrd_negative_ngs        the same with 1 in 1,000,000 (sequencing).
    relapse                 after CR: marrow blasts >= 5 %, or extramedullary disease that is seen.
    antigen-negative        a B-lineage relapse in which most blasts have lost (not merely dimmed) an antigen that the
                            patient's product is against.
    lineage switch          a relapse in which most blasts are myeloid; not counted as antigen-negative.
    antigen-positive        every other relapse.
    event_free_survival     time to no CR (an event on the assessment day), relapse or death, in all patients.
    relapse_free_survival   time to relapse or death, in patients who reached CR.
    non_relapse_mortality   death of the treatment in remission or before assessment; no CR and relapse compete with it.
    car_t_persistence       CAR T cells still detectable, in patients in CR, censored at relapse or death; lost on the
                            first day below the limit after their largest number.
    b_cell_aplasia          B cells still below the threshold, in patients in CR, censored at relapse or death.
    crs_grade_3_or_higher   the fiercest day of killing passes the patient's threshold.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from escape_abm.clinic import Clinic
from escape_abm.cohort import READOUT
from escape_abm.law import EFFECTOR, EXHAUSTED, MEMORY
from escape_abm.products import Product
from escape_abm.simulation import Stop, Trajectory
from escape_abm.states import LINEAGE_SWITCH, MYELOID, Alphabet, shown_sign

ANTIGEN_NEGATIVE, ANTIGEN_POSITIVE = "antigen-negative", "antigen-positive"
RELAPSE_KINDS = (ANTIGEN_NEGATIVE, ANTIGEN_POSITIVE, LINEAGE_SWITCH)
MECHANISMS = (
    "negative at entry",
    "pre-existing clone",
    "acquired on therapy",
    "antigen low",
    "sanctuary",
    "rejected",
    "CAR T lost",
    "exhausted",
    "outgrown",
)


def relapse_phenotype(cells: NDArray[np.int64], letters: Alphabet, majority: float) -> str:
    """Phenotype of a relapse, for example "CD19-CD22+", "CD19dimCD22+" or "lineage switch".

    Each antigen is "-" if at least this majority of the B-lineage blasts lacks it, otherwise "dim" if at least the
    majority is dim or lacks it, otherwise "+".
    """
    total = cells.sum()
    myeloid = np.array([s.lineage == MYELOID for s in letters.states])
    if total > 0 and cells[myeloid].sum() >= majority * total:
        return LINEAGE_SWITCH
    b_cells = np.where(myeloid, 0, cells)
    label = ""
    for i, name in enumerate(letters.antigens):
        signs = np.array(["" if s.lineage == MYELOID else shown_sign(s, i) for s in letters.states])
        negative = b_cells[signs == "-"].sum()
        weak = negative + b_cells[signs == "dim"].sum()
        need = majority * b_cells.sum()
        label += name.upper() + ("-" if negative >= need else "dim" if weak >= need else "+")
    return label


def relapse_kind(phenotype: str, product: Product) -> str:
    """Antigen-negative, antigen-positive or lineage switch: the one definition."""
    if phenotype == LINEAGE_SWITCH:
        return LINEAGE_SWITCH
    lost = any(f"{a.upper()}-" in phenotype for a in product.targets)
    return ANTIGEN_NEGATIVE if lost else ANTIGEN_POSITIVE


def relapse_mechanism(path: Trajectory, day: int, phenotype: str, kind: str, clinic: Clinic) -> str:
    """Why the relapse of this day came: the first rule that holds.

    An escaped relapse was negative at entry if the only target that it lacks is the one which the patient's leukaemia
    already lacked in part then. Otherwise it is of a pre-existing clone if most of its escaped cells descend from cells
    that had escaped at the first infusion, and acquired on therapy if not. For the others the order is: blasts mostly
    dim for a target; disease only in a sanctuary; CAR T cells rejected; no longer detectable; mostly exhausted;
    otherwise outgrown.
    """
    cells, letters = path.cells[day], path.alphabet
    if kind != ANTIGEN_POSITIVE:
        missed = {a for a in path.product.targets if f"{a.upper()}-" in phenotype}
        if path.patient.negative_fraction > 0 and missed == {path.patient.negative_antigen}:
            return "negative at entry"
        # Cells of the relapse's own phenotype: those that lack what it lacks.
        lost = [i for i, a in enumerate(letters.antigens) if f"{a.upper()}-" in phenotype]

        def belongs(i: int) -> bool:
            s = letters.states[i]
            if kind == LINEAGE_SWITCH:
                return s.lineage == MYELOID
            return s.lineage != MYELOID and all(shown_sign(s, j) == "-" for j in lost)

        own = [i for i in np.flatnonzero(cells) if belongs(int(i))]
        founders = sum(int(cells[i]) for i in own if letters.states[i].origin == "founder")
        return "pre-existing clone" if founders >= 0.5 * sum(int(cells[i]) for i in own) else "acquired on therapy"
    if any(f"{a.upper()}dim" in phenotype for a in path.product.targets):
        return "antigen low"
    if clinic.blast_fraction(float(path.marrow[day])) < clinic.relapse_blast_fraction:
        return "sanctuary"
    car_t = path.car_t[day]
    if car_t.sum() < clinic.car_t_detection_cells:
        return "rejected" if path.patient.rejection_day <= day else "CAR T lost"
    if car_t[:, EXHAUSTED].sum() > car_t[:, (MEMORY, EFFECTOR)].sum():
        return "exhausted"
    return "outgrown"


def _first_day(condition: NDArray[np.bool_], from_day: int = 0) -> float:
    """First day on which a condition holds, nan if it never does."""
    hits = np.flatnonzero(condition[from_day:])
    return float(hits[0] + from_day) if hits.size else math.nan


def patient_row(path: Trajectory, clinic: Clinic, follow_up_days: int) -> dict[str, Any]:
    """Every endpoint of one patient under one product.

    Days are nan where the event did not happen; `day_last` is death or the end of follow-up. Chance in the read-out
    (sampling of marrow, threshold of CRS, death) comes from a stream of its own, drawn in a fixed order, so that one
    patient keeps the same luck under every product.
    """
    rng = path.patient.stream(READOUT)
    end = path.day[-1] if path.stop is Stop.SIZE_LIMIT else follow_up_days  # what a stopped run did next is not known
    crs_noise, luck_treatment, luck_day = rng.standard_normal(), rng.random(), rng.random()
    luck_failure, luck_mrd = rng.exponential(), rng.integers(2**32)
    assess = clinic.assessment_day

    day_treatment_death = math.inf
    if luck_treatment < clinic.treatment_death_fraction:
        day_treatment_death = 1 + luck_day * (clinic.treatment_death_last_day - 1)
    reached = path.day.size > assess
    marrow, hidden = path.marrow, path.sanctuary
    remission = reached and clinic.in_remission(float(marrow[assess]), float(hidden[assess]))
    remission = bool(remission and day_treatment_death > assess)
    positives = math.nan
    if reached and day_treatment_death > assess:
        sampling = np.random.default_rng(luck_mrd)
        positives = sampling.binomial(int(clinic.assayed_cells), clinic.blast_fraction(float(marrow[assess])))
    measured = positives / clinic.assayed_cells

    day_failure, phenotype, kind, mechanism, failure_hazard = math.inf, None, None, None, 0.0
    if not remission:
        day_failure, failure_hazard = float(assess), clinic.death_without_remission_per_day
    elif math.isfinite(day := _first_day(clinic.in_relapse(marrow, hidden), assess + 1)):
        day_failure = day
        phenotype = relapse_phenotype(path.cells[int(day)], path.alphabet, clinic.majority_fraction)
        kind = relapse_kind(phenotype, path.product)
        mechanism = relapse_mechanism(path, int(day), phenotype, kind, clinic)
        switched = kind == LINEAGE_SWITCH
        failure_hazard = clinic.death_after_lineage_switch_per_day if switched else clinic.death_after_relapse_per_day
    day_death, cause = math.nan, None
    if day_treatment_death < min(day_failure, end):
        day_death, cause = day_treatment_death, "treatment"
        day_failure, phenotype, kind, mechanism = math.inf, None, None, None
    elif failure_hazard > 0 and day_failure + luck_failure / failure_hazard <= end:
        day_death, cause = day_failure + luck_failure / failure_hazard, "leukaemia"
    day_last = day_death if cause else float(end)
    relapsed = remission and math.isfinite(day_failure)

    car_t = path.car_t.sum(axis=(1, 2))
    watched = int(min(day_last, day_failure, path.day[-1]))  # read-outs end at failure or death
    detectable = car_t[: watched + 1] >= clinic.car_t_detection_cells
    peak = int(car_t[: watched + 1].argmax())
    biology = path.patient.biology
    healthy = biology.host.b_cell_source_per_day * biology.host.b_cell_life_days
    aplastic = path.b_cells[: watched + 1] < clinic.aplasia_fraction * healthy
    onset = _first_day(aplastic)
    fiercest = float(path.kills[: watched + 1].max())
    lost_at_relapse = aplasia_at_relapse = None
    if relapsed:
        lost_at_relapse, aplasia_at_relapse = bool(~detectable[-1]), bool(aplastic[-1])
    threshold = clinic.severe_crs_kills_per_day * math.exp(clinic.severe_crs_sigma * crs_noise)
    return {
        "complete_remission": remission,
        "mrd_fraction": measured,
        "mrd_negative": bool(remission and measured < clinic.flow_limit_fraction),
        "mrd_negative_ngs": bool(remission and measured < clinic.ngs_limit_fraction),
        "relapse": relapsed,
        "day_relapse": day_failure if relapsed else math.nan,
        "relapse_kind": kind,
        "relapse_phenotype": phenotype,
        "relapse_mechanism": mechanism,
        "car_t_lost_at_relapse": lost_at_relapse,
        "b_cell_aplasia_at_relapse": aplasia_at_relapse,
        "day_event": min(day_failure, day_death if cause else math.inf)
        if cause or day_failure < math.inf
        else math.nan,
        "day_death": day_death,
        "cause_of_death": cause,
        "day_last": day_last,
        "day_watched": float(watched),
        "blast_fraction_last": clinic.blast_fraction(float(marrow[watched])),
        "car_t_peak_cells": int(car_t[peak]),
        "day_car_t_peak": float(peak),
        "car_t_auc_28_cell_days": float(np.trapezoid(car_t[: min(29, watched + 1)])),
        "day_car_t_lost": _first_day(~detectable, peak),
        "day_b_cell_aplasia": onset,
        "day_b_cell_recovery": _first_day(~aplastic, int(onset)) if math.isfinite(onset) else 0.0,
        "peak_kills_per_day": fiercest,
        "crs_grade_3_or_higher": fiercest >= threshold,
        "stop": path.stop.value,
    }
