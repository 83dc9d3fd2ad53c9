"""What each endpoint is read from: which patients count, and for each the time watched and the event that ended it.

Summaries, contrasts and the comparison with published trials all use the same readings.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from escape_abm.inputs.trial import MEDIANS
from escape_abm.patient.endpoints import RELAPSE_KINDS


def causes_of_failure(patients: pd.DataFrame) -> pd.DataFrame:
    """Competing events of patients in CR: `duration_days` and `cause` (0 none, 1.. kinds of relapse, last: death)."""
    cause = np.zeros(len(patients), dtype=int)
    for i, kind in enumerate(RELAPSE_KINDS, start=1):
        cause[has_value(patients, "relapse_kind", kind)] = i
    died = patients["day_death"].notna().to_numpy() & (cause == 0)
    cause[died] = len(RELAPSE_KINDS) + 1
    days = patients["day_relapse"].fillna(patients["day_last"]).to_numpy()
    return pd.DataFrame({"duration_days": days, "cause": cause}, index=patients.index)


def has_value(patients: pd.DataFrame, column: str, value: str) -> NDArray[np.bool_]:
    """(P,) whether a column that may be empty has this value."""
    return (patients[column] == value).fillna(False).to_numpy(dtype=bool)


class Reading(NamedTuple):
    """What an endpoint is read from. P patients.

    `days` is None for a share of patients. `cause`: 0 nothing (or censored), 1 the event, 2 an event that competes.
    """

    of: NDArray[np.bool_]  # (P,) who counts
    cause: NDArray[np.int64]  # (P,)
    days: NDArray[np.float64] | None = None  # (P,)
    value: NDArray[np.float64] | None = None  # (P,) of which the median is read
    survival: bool = False  # whether the share without the event is read, not that with it


def readings(p: pd.DataFrame) -> dict[str, Reading]:
    """Every endpoint of these patients, in the order of the tables.

    Relapse, relapse-free survival, persistence and aplasia are of patients in CR, phenotypes of relapses of those who
    relapsed, medians of those who have the value; the others of all patients.
    """
    n = len(p)
    everyone, in_cr = np.ones(n, dtype=bool), p["complete_remission"].to_numpy(dtype=bool)
    relapsed = in_cr & p["relapse"].to_numpy(dtype=bool)
    last, watched = p["day_last"].to_numpy(), p["day_watched"].to_numpy()
    out: dict[str, Reading] = {}

    def share(name: str, of: NDArray[np.bool_], had: NDArray[np.bool_]) -> None:
        out[name] = Reading(of, np.asarray(had).astype(np.int64))

    for name in ("complete_remission", "mrd_negative", "mrd_negative_ngs", "crs_any_grade", "crs_grade_3_or_higher"):
        share(name, everyone, p[name].to_numpy(dtype=bool))
    died, event = p["day_death"].notna().to_numpy(), p["day_event"].notna().to_numpy()
    event_days = p["day_event"].fillna(p["day_last"]).to_numpy()
    out["overall_survival"] = Reading(everyone, died.astype(np.int64), last, survival=True)
    out["event_free_survival"] = Reading(everyone, event.astype(np.int64), event_days, survival=True)
    failing = causes_of_failure(p)
    days, cause = failing["duration_days"].to_numpy(), failing["cause"].to_numpy()
    out["relapse_free_survival"] = Reading(in_cr, (cause > 0).astype(np.int64), days, survival=True)
    kinds = len(RELAPSE_KINDS)
    any_relapse = np.where((cause > 0) & (cause <= kinds), 1, np.where(cause > 0, 2, 0))
    out["cumulative_incidence_relapse"] = Reading(in_cr, any_relapse, days)
    for i, kind in enumerate(RELAPSE_KINDS, start=1):
        one = np.where(cause == i, 1, np.where(cause > 0, 2, 0))
        out["cumulative_incidence_" + kind.replace("-", "_").replace(" ", "_")] = Reading(in_cr, one, days)
    treatment = has_value(p, "cause_of_death", "treatment")
    nrm = np.where(treatment, 1, np.where(event & ~treatment, 2, 0))
    out["non_relapse_mortality"] = Reading(everyone, nrm, event_days)
    lost = p["day_car_t_lost"].notna().to_numpy() & (p["day_car_t_lost"] <= p["day_watched"]).to_numpy()
    lost_days = np.where(lost, p["day_car_t_lost"], watched)
    out["car_t_persistence"] = Reading(in_cr, lost.astype(np.int64), lost_days, survival=True)
    back = p["day_b_cell_recovery"].notna().to_numpy()
    back_days = np.where(back, p["day_b_cell_recovery"], watched)
    out["b_cell_aplasia"] = Reading(in_cr, back.astype(np.int64), back_days, survival=True)
    share("transplanted", everyone, p["day_transplant"].notna().to_numpy())
    share("relapse", everyone, relapsed)
    share("car_t_lost_at_relapse", relapsed, p["car_t_lost_at_relapse"].fillna(False).to_numpy(dtype=bool))
    share("relapse_extramedullary", relapsed, has_value(p, "relapse_site", "extramedullary"))
    share("relapse_antigen_negative", relapsed, has_value(p, "relapse_kind", "antigen-negative"))
    share("relapse_lineage_switch", relapsed, has_value(p, "relapse_kind", "lineage switch"))
    shown = p["relapse_phenotype"].fillna("").astype(str)
    for name, signs in (
        ("relapse_cd19pos_cd22pos", "CD19[^-]*CD22[^-]*$"),  # dim counts as there
        ("relapse_cd19neg_cd22pos", "CD19-CD22[^-]*$"),
        ("relapse_cd19pos_cd22neg", "CD19[^-]*CD22-"),
        ("relapse_cd19neg_cd22neg", "CD19-CD22-"),
        ("relapse_cd19neg", "CD19-"),
        ("relapse_cd19pos", "CD19(?!-)"),
    ):
        share(name, relapsed, shown.str.match(signs).to_numpy(dtype=bool))
    for name, column in MEDIANS.items():
        value = p[column].to_numpy(dtype=float)
        out[name] = Reading(np.isfinite(value), np.zeros(n, dtype=np.int64), value=value)
    return out
