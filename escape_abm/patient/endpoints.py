"""From a trajectory to one row: response, relapse with its phenotype and mechanism, survival, CAR T cells, toxicity.

Clinical thresholds are in `clinic.Clinic`; what they are used for is here, once. All times are days from the first
infusion. A patient is followed to the end of follow-up or to death; nobody is lost.

Definitions:
    complete_remission      CR/CRi at the assessment day (28): marrow blasts < 5 %, no extramedullary disease, alive.
    mrd_negative            in CR and fewer than 1 in 10,000 blasts among the marrow cells assayed (flow cytometry).
    mrd_negative_ngs        the same with 1 in 1,000,000 (sequencing).
    relapse                 after CR: marrow blasts >= 5 %, or extramedullary disease that is seen.
    antigen-negative        a B-lineage relapse in which most blasts have lost (not merely dimmed) an antigen that the
                            CAR T cells which the patient got by then are against.
    lineage switch          a relapse in which most blasts are myeloid; not counted as antigen-negative.
    antigen-positive        every other relapse.
    overall_survival        time to death of any cause, in all patients.
    event_free_survival     time to no CR (an event on the assessment day), relapse or death, in all patients.
    relapse_free_survival   time to relapse or death, in patients who reached CR.
    cumulative_incidence_relapse
                            relapse in patients who reached CR; death competes with it.
    cumulative_incidence_antigen_negative, cumulative_incidence_antigen_positive
                            relapse of that kind in patients who reached CR; other relapses and death compete with it.
    cumulative_incidence_lineage_switch
                            lineage switch in patients who reached CR; other relapses and death compete with it.
    non_relapse_mortality   death of the treatment in remission or before assessment; no CR and relapse compete with it.
    car_t_persistence       CAR T cells still detectable, in patients in CR, censored at relapse or death; lost on the
                            first day below the limit after their largest number.
    b_cell_aplasia          B cells still below the threshold, in patients in CR, censored at relapse or death.
    crs_any_grade, crs_grade_3_or_higher
                            the fiercest day of killing passes the patient's threshold for it; both thresholds of a
                            patient move together.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from escape_abm.engines.chance import binomial, luck_of
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import READOUT, stream
from escape_abm.inputs.regimen import Transplant
from escape_abm.law.states import EFFECTOR, EXHAUSTED, LINEAGE_SWITCH, MEMORY, MYELOID, Alphabet, shown_sign
from escape_abm.patient.course import Stop, Trajectory

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
    "after transplant",
)


def relapse_phenotype(cells: NDArray[np.int64], letters: Alphabet, majority: float) -> str:
    """Phenotype of a relapse, for example "CD19-CD22+", "CD19dimCD22+" or "lineage switch".

    Each antigen is "-" if at least this majority of the B-lineage blasts lacks it, otherwise "dim" if at least the
    majority is dim or lacks it, otherwise "+".
    """
    total = cells.sum()
    if total > 0 and cells[letters.myeloid].sum() >= majority * total:
        return LINEAGE_SWITCH
    b_cells = np.where(letters.myeloid, 0, cells)
    label = ""
    for i, name in enumerate(letters.antigens):
        negative = b_cells[letters.signs[:, i] == "-"].sum()
        weak = negative + b_cells[letters.signs[:, i] == "dim"].sum()
        need = majority * b_cells.sum()
        label += name.upper() + ("-" if negative >= need else "dim" if weak >= need else "+")
    return label


def targets(path: Trajectory, day: float) -> frozenset[str]:
    """Antigens that the batches which the patient got by a day are against."""
    parts = [path.product.components[name] for name, given in path.infused.items() if given <= day]
    return frozenset(c.antigen for part in parts for c in part.constructs.values())


def relapse_kind(phenotype: str, targets: frozenset[str]) -> str:
    """Antigen-negative (for one of these targets), antigen-positive or lineage switch: the one definition."""
    if phenotype == LINEAGE_SWITCH:
        return LINEAGE_SWITCH
    lost = any(f"{a.upper()}-" in phenotype for a in targets)
    return ANTIGEN_NEGATIVE if lost else ANTIGEN_POSITIVE


def relapse_mechanism(path: Trajectory, day: int, phenotype: str, kind: str, clinic: Clinic) -> str:
    """Why the relapse of this day came: the first rule that holds.

    An escaped relapse was negative at entry if the only target that it lacks is the one which the patient's leukaemia
    already lacked in part then. Otherwise it is of a pre-existing clone if most of its escaped cells descend from cells
    that had escaped at the first infusion, and acquired on therapy if not. For the others the order is: after
    a transplant; blasts mostly dim for a target; disease only in a sanctuary; CAR T cells rejected; no longer
    detectable; mostly exhausted; otherwise outgrown.
    """
    cells, letters = path.cells[day], path.alphabet
    if kind != ANTIGEN_POSITIVE:
        missed = {a for a in targets(path, day) if f"{a.upper()}-" in phenotype}
        if missed and missed == path.patient.lacking_at_entry:
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
    if path.day_transplant <= day:
        return "after transplant"
    if any(f"{a.upper()}dim" in phenotype for a in targets(path, day)):
        return "antigen low"
    if relapse_site(path, day, clinic) == "extramedullary":
        return "sanctuary"
    car_t = path.car_t[day]
    if car_t.sum() < clinic.car_t_detection_cells:
        return "rejected" if path.patient.rejection_day <= day else "CAR T lost"
    if car_t[:, EXHAUSTED].sum() > car_t[:, (MEMORY, EFFECTOR)].sum():
        return "exhausted"
    return "outgrown"


def relapse_site(path: Trajectory, day: int, clinic: Clinic) -> str:
    """Where the relapse of this day is seen: "marrow", "extramedullary" (isolated) or "combined"."""
    if clinic.blast_fraction(float(path.marrow[day])) < clinic.relapse_blast_fraction:
        return "extramedullary"
    return "combined" if path.sanctuary[day] >= clinic.extramedullary_cells else "marrow"


def _left(car_t: NDArray[np.int64], day: int, peak: int) -> float:
    """CAR T cells on a day against their peak; nan if nobody looked."""
    return float(car_t[day] / car_t[peak]) if day < car_t.size and car_t[peak] else math.nan


def _first_day(condition: NDArray[np.bool_], from_day: int = 0) -> float:
    """First day on which a condition holds, nan if it never does."""
    hits = np.flatnonzero(condition[from_day:])
    return float(hits[0] + from_day) if hits.size else math.nan


class Luck(NamedTuple):
    """Chance in the read-out of one patient, drawn in a fixed order: the same under every product."""

    crs_threshold: float  # in standard deviations
    treatment_death: float  # uniform
    treatment_death_day: float  # uniform
    death_after_failure: float  # exponential
    marrow_sample: int  # seed
    transplant_death: float  # uniform
    transplant_death_day: float  # uniform


@lru_cache(maxsize=8)  # every product asks for the same patient's
def _luck(seed: int, patient: int) -> Luck:
    rng = stream(seed, patient, READOUT)
    first = rng.standard_normal(), rng.random(), rng.random(), rng.exponential(), int(rng.integers(2**32))
    return Luck(*first, rng.random(), rng.random())


class Failure(NamedTuple):
    """The first failure of treatment, if any: no remission (kind None) or a relapse."""

    day: float = math.inf
    phenotype: str | None = None
    kind: str | None = None
    mechanism: str | None = None
    site: str | None = None
    death_hazard: float = 0.0


def _failure(path: Trajectory, clinic: Clinic, remission: bool) -> Failure:
    assess = clinic.assessment_day
    if not remission:
        return Failure(float(assess), death_hazard=clinic.death_without_remission_per_day)
    day = _first_day(clinic.in_relapse(path.marrow, path.sanctuary), assess + 1)
    if math.isnan(day):
        return Failure()
    phenotype = relapse_phenotype(path.cells[int(day)], path.alphabet, clinic.majority_fraction)
    kind = relapse_kind(phenotype, targets(path, day))
    switched = kind == LINEAGE_SWITCH
    hazard = clinic.death_after_lineage_switch_per_day if switched else clinic.death_after_relapse_per_day
    hazard *= clinic.adult_death_fold if path.patient.adult else 1.0
    mechanism = relapse_mechanism(path, int(day), phenotype, kind, clinic)
    return Failure(day, phenotype, kind, mechanism, relapse_site(path, int(day), clinic), hazard)


def patient_row(path: Trajectory, clinic: Clinic, follow_up_days: int, transplant: Transplant) -> dict[str, Any]:
    """Every endpoint of one patient under one product.

    Days are nan where the event did not happen; `day_last` is death or the end of follow-up, `day_watched` the day to
    which CAR T and B cells are read: failure, death or the end. Chance in the read-out (sampling of marrow, threshold
    of CRS, death) comes from a stream of its own, so that one patient keeps the same luck under every product.
    """
    luck = _luck(path.patient.seed, path.patient.index)
    end = path.day[-1] if path.stop is Stop.SIZE_LIMIT else follow_up_days  # what a stopped run did next is not known
    day_treatment_death = _treatment_death(path, clinic, luck, transplant)

    response = _response(path, clinic, luck, day_treatment_death)
    failure = _failure(path, clinic, response["complete_remission"])
    day_death, cause = math.nan, None
    if day_treatment_death < min(failure.day, end):
        day_death, cause = day_treatment_death, "treatment"
        failure = Failure()
    elif failure.death_hazard > 0 and failure.day + luck.death_after_failure / failure.death_hazard <= end:
        day_death, cause = failure.day + luck.death_after_failure / failure.death_hazard, "leukaemia"
    day_last = day_death if cause else float(end)
    relapsed = response["complete_remission"] and math.isfinite(failure.day)
    day_event = min(failure.day, day_death if cause else math.inf)
    outcome = {
        "relapse": relapsed,
        "day_relapse": failure.day if relapsed else math.nan,
        "relapse_kind": failure.kind,
        "relapse_phenotype": failure.phenotype,
        "relapse_mechanism": failure.mechanism,
        "relapse_site": failure.site,
        "day_event": day_event if math.isfinite(day_event) else math.nan,
        "day_death": day_death,
        "cause_of_death": cause,
        "day_last": day_last,
    }
    watched = int(min(day_last, failure.day, path.day[-1]))
    read = _read_outs(path, clinic, luck, watched, relapsed)
    before = int(path.entry[~path.alphabet.sanctuary].sum())
    at_entry = {"entry_blast_fraction": clinic.blast_fraction(float(before))}
    return at_entry | response | outcome | read | _treatment(path, day_last) | {"stop": path.stop.value}


def _treatment_death(path: Trajectory, clinic: Clinic, luck: Luck, transplant: Transplant) -> float:
    """Day of death from CAR T treatment or, in transplanted patients, from the transplant; inf: neither."""
    day = math.inf
    fold = clinic.adult_death_fold if path.patient.adult else 1.0
    if luck.treatment_death < clinic.treatment_death_fraction * fold:
        day = 1 + luck.treatment_death_day * (clinic.treatment_death_last_day - 1)
    if day > path.day_transplant and luck.transplant_death < transplant.death_fraction:
        day = min(day, path.day_transplant + luck.transplant_death_day * transplant.death_last_day)
    return day


def _treatment(path: Trajectory, day_last: float) -> dict[str, Any]:
    """What the patient got while alive."""
    lived = {"day_transplant": path.day_transplant, "day_reinfusion": path.day_reinfusion}
    return {
        "components_infused": sum(day <= day_last for day in path.infused.values()),
        "components_failed": sum(
            day <= day_last and path.patient.fails(path.product.components[name]) for name, day in path.infused.items()
        ),
        **{name: day if day <= day_last else math.nan for name, day in lived.items()},
    }


def _response(path: Trajectory, clinic: Clinic, luck: Luck, day_treatment_death: float) -> dict[str, Any]:
    """Remission and residual disease on the assessment day, of patients who live to see it."""
    assess = clinic.assessment_day
    seen = path.day.size > assess and day_treatment_death > assess
    marrow, hidden = (float(cells[assess]) if seen else math.nan for cells in (path.marrow, path.sanctuary))
    remission = bool(seen and clinic.in_remission(marrow, hidden))
    measured = math.nan
    if seen:
        sampling = luck_of(np.random.default_rng(luck.marrow_sample))
        blasts = binomial(sampling, int(clinic.assayed_cells), clinic.blast_fraction(marrow))
        measured = blasts / clinic.assayed_cells
    return {
        "complete_remission": remission,
        "mrd_fraction": measured,
        "mrd_negative": bool(remission and measured < clinic.flow_limit_fraction),
        "mrd_negative_ngs": bool(remission and measured < clinic.ngs_limit_fraction),
    }


def _read_outs(path: Trajectory, clinic: Clinic, luck: Luck, watched: int, relapsed: bool) -> dict[str, Any]:
    """CAR T cells, B cells and cytokine release until failure, death or the end of follow-up.

    A transplant takes the patient's own CAR T and B cells away and brings a donor's: what tells of the product ends
    there.
    """
    at_failure, relapsed = watched, relapsed and not path.day_transplant <= watched
    watched = int(min(watched, path.day_transplant)) if path.day_transplant <= watched else watched
    car_t = path.car_t[: watched + 1].sum(axis=(1, 2))
    detectable = car_t >= clinic.car_t_detection_cells
    peak = int(car_t.argmax())
    aplastic = path.b_cells[: watched + 1] < clinic.aplasia_below_cells(path.patient.biology.host)
    onset = _first_day(aplastic)
    fiercest = float(path.kills[: watched + 1].max())
    threshold = clinic.severe_crs_kills_per_day * math.exp(clinic.severe_crs_sigma * luck.crs_threshold)
    threshold *= clinic.cd28_crs_fold if path.product.has_cd28(path.infused) else 1.0
    return {
        "car_t_lost_at_relapse": bool(~detectable[-1]) if relapsed else None,
        "b_cell_aplasia_at_relapse": bool(aplastic[-1]) if relapsed else None,
        "day_watched": float(watched),
        "blast_fraction_last": clinic.blast_fraction(float(path.marrow[at_failure])),
        "car_t_peak_cells": int(car_t[peak]),
        "car_t_fold_expansion": float(car_t[peak] / car_t[0]) if car_t[0] else math.nan,
        **{f"car_t_fraction_day_{d}": _left(car_t, d, peak) for d in (90, 360)},
        "day_car_t_peak": float(peak),
        "car_t_auc_28_cell_days": float(np.trapezoid(car_t[:29])),
        "day_car_t_lost": _first_day(~detectable, peak),
        "day_b_cell_aplasia": onset,
        "day_b_cell_recovery": _first_day(~aplastic, int(onset)) if math.isfinite(onset) else 0.0,
        "peak_kills_per_day": fiercest,
        "crs_any_grade": fiercest >= threshold * clinic.any_crs_kills_fold,
        "crs_grade_3_or_higher": fiercest >= threshold,
    }
