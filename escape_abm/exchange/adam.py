"""A run as the CDISC analysis tables ADSL (a row per patient) and ADTTE (a row per patient and time to an event).

A patient under another product is another subject here, as a table of subjects has one row for each; `PATNO` is the
patient's number, the same in every arm. Virtual patients have no calendar, so there are no dates: `AVAL` counts days
with the day of the infusion as day 1, as in ADaM; relapse is seen on whole days, death has an exact time. `CNSR` is 0
for the event, 1 for censored, and 2 for an event that competes with it; `EVNTDESC` and `CNSDTDSC` say which.

Names and texts keep to the limits of SAS transport files of version 5: names of 8 characters, labels of 40, text of
200 bytes, ASCII only.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from escape_abm.patient import endpoints
from escape_abm.trials.readings import Reading, readings

FIRST_DAY = 1
"""The day of the infusion in `AVAL`."""
CENSORED, COMPETING = 1, 2
"""`CNSR`; 0 is the event."""


class Parameter(NamedTuple):
    """A row of ADTTE: which endpoint, and what its event and its censoring are called."""

    endpoint: str
    title: str
    event: str = ""
    """Empty: the failure itself (which relapse, which death)."""
    censored: str = "End of follow-up"


PARAMETERS = {
    "OS": Parameter("overall_survival", "Overall Survival (Days)"),
    "EFS": Parameter("event_free_survival", "Event-Free Survival (Days)"),
    "RFS": Parameter("relapse_free_survival", "Relapse-Free Survival (Days)"),
    "CIR": Parameter("cumulative_incidence_relapse", "Time to Relapse (Days)"),
    "CIRNEG": Parameter("cumulative_incidence_antigen_negative", "Time to Antigen-Negative Relapse (Days)"),
    "CIRPOS": Parameter("cumulative_incidence_antigen_positive", "Time to Antigen-Positive Relapse (Days)"),
    "CIRSW": Parameter("cumulative_incidence_lineage_switch", "Time to Lineage Switch (Days)"),
    "NRM": Parameter("non_relapse_mortality", "Time to Non-Relapse Death (Days)"),
    "CARTP": Parameter(
        "car_t_persistence", "Time to Loss of CAR T Cells (Days)", "CAR T cells lost",
        "Relapse, transplant, death or end of follow-up",
    ),
    "BCA": Parameter(
        "b_cell_aplasia", "Time to B-Cell Recovery (Days)", "B cells recovered",
        "Relapse, transplant, death or end of follow-up",
    ),
}  # fmt: skip
"""`PARAMCD`, in the order of the tables."""

ADSL = {
    "STUDYID": "Study Identifier",
    "USUBJID": "Unique Subject Identifier",
    "SUBJID": "Subject Identifier for the Study",
    "SITEID": "Study Site Identifier",
    "PATNO": "Patient Number, the Same in Every Arm",
    "AGE": "Age",
    "AGEU": "Age Units",
    "SEX": "Sex",
    "RACE": "Race",
    "ITTFL": "Intent-To-Treat Population Flag",
    "ARM": "Description of Planned Arm",
    "TRT01P": "Planned Treatment for Period 01",
    "TRT01PN": "Planned Treatment for Period 01 (N)",
    "WEIGHTBL": "Baseline Weight (kg)",
    "BURDBL": "Baseline Leukaemic Cells",
    "BLASTBL": "Baseline Marrow Blast Fraction",
    "KMT2AFL": "KMT2A Rearrangement Flag",
    "PRCARFL": "Earlier CAR T-Cell Therapy Flag",
    "NEGBLFL": "Antigen-Negative Blasts at Entry Flag",
    "CRFL": "Complete Remission Flag",
    "MRDNEGFL": "MRD-Negative Remission Flag",
    "RELKIND": "Kind of First Relapse",
    "RELPHEN": "Antigens of First Relapse",
    "RELMECH": "Mechanism of First Relapse",
    "RELSITE": "Site of First Relapse",
    "DTHFL": "Subject Death Flag",
    "DTHCAUS": "Cause of Death",
}
ADTTE = {
    "STUDYID": "Study Identifier",
    "USUBJID": "Unique Subject Identifier",
    "PATNO": "Patient Number, the Same in Every Arm",
    "TRTP": "Planned Treatment",
    "TRTPN": "Planned Treatment (N)",
    "PARAM": "Parameter",
    "PARAMCD": "Parameter Code",
    "PARAMN": "Parameter (N)",
    "AVAL": "Analysis Value",
    "CNSR": "Censor",
    "EVNTDESC": "Event or Censoring Description",
    "CNSDTDSC": "Censor Date Description",
}
DATASETS = {"ADSL": "Subject-Level Analysis Dataset", "ADTTE": "Time-to-Event Analysis Dataset"}
"""Names and labels of the tables; the labels of their columns are in the tables of the same names."""


def definitions() -> dict[str, str]:
    """The definition of each endpoint that has one, as its code gives it (`patient.endpoints`)."""
    text = inspect.cleandoc(endpoints.__doc__ or "").partition("Definitions:\n")[2]
    found = re.findall(r"^ {4}(\S[^\n]*?)(?: {2,}|\n +)(\S.*?)(?=^ {4}\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return {name.strip(): " ".join(said.split()) for names, said in found for name in names.split(", ")}


def parameters() -> pd.DataFrame:
    """What the parameters of ADTTE are: `PARAMCD, PARAM, endpoint, definition`."""
    said = definitions()
    lines = [(code, about.title, about.endpoint, said[about.endpoint]) for code, about in PARAMETERS.items()]
    return pd.DataFrame(lines, columns=["PARAMCD", "PARAM", "endpoint", "definition"])


def adsl(patients: pd.DataFrame, study: str) -> pd.DataFrame:
    """ADSL of a table of patients (docs/outputs.md), a row per patient and arm."""
    who = _who(patients, study)
    relapse = {
        new: _text(patients[old])
        for new, old in (
            ("RELKIND", "relapse_kind"),
            ("RELPHEN", "relapse_phenotype"),
            ("RELMECH", "relapse_mechanism"),
            ("RELSITE", "relapse_site"),
        )
    }
    flags = {
        "KMT2AFL": "kmt2a",
        "PRCARFL": "prior_car",
        "NEGBLFL": "antigen_negative_at_entry",
        "CRFL": "complete_remission",
        "MRDNEGFL": "mrd_negative",
    }
    columns = {
        **who,
        "SUBJID": who["USUBJID"].str.removeprefix(f"{study}-"),
        "SITEID": "01",
        "AGE": np.nan,
        "AGEU": "YEARS",
        "SEX": "U",
        "RACE": "UNKNOWN",
        "ITTFL": "Y",
        "ARM": who["TRTP"],
        "TRT01P": who["TRTP"],
        "TRT01PN": who["TRTPN"],
        "WEIGHTBL": patients["weight_kg"],
        "BURDBL": patients["burden_cells"].astype(float),
        "BLASTBL": patients["entry_blast_fraction"],
        **{new: _flag(patients[old]) for new, old in flags.items()},
        **relapse,
        "DTHFL": patients["day_death"].notna().map({True: "Y", False: ""}),
        "DTHCAUS": _text(patients["cause_of_death"]),
    }
    return pd.DataFrame(columns, index=patients.index)[list(ADSL)].reset_index(drop=True)


def adtte(patients: pd.DataFrame, study: str) -> pd.DataFrame:
    """ADTTE of a table of patients: those at risk of each parameter, in the order of `PARAMETERS`."""
    who, died = (
        pd.DataFrame(_who(patients, study), index=patients.index),
        "Death from " + _text(patients["cause_of_death"]),
    )
    failed, at_hand = _failure(patients, died), readings(patients)
    blocks = []
    for number, (code, about) in enumerate(PARAMETERS.items(), start=1):
        reading = at_hand[about.endpoint]
        what = died if code == "OS" else failed
        block = who.assign(PARAM=about.title, PARAMCD=code, PARAMN=float(number), **_courses(reading, about, what))
        blocks.append(block[reading.of])
    return pd.concat(blocks, ignore_index=True)[list(ADTTE)]


def _courses(reading: Reading, about: Parameter, failed: pd.Series[str]) -> dict[str, Any]:
    """`AVAL`, `CNSR` and their descriptions."""
    assert reading.days is not None  # every parameter is a time to an event
    event, competes = reading.cause == 1, reading.cause == 2
    return {
        "AVAL": reading.days + FIRST_DAY,
        "CNSR": np.select([event, competes], [0.0, float(COMPETING)], float(CENSORED)),
        "EVNTDESC": np.where(event | competes, about.event or failed, ""),
        "CNSDTDSC": np.where(event | competes, "", about.censored),
    }


def _failure(patients: pd.DataFrame, died: pd.Series[str]) -> pd.Series[str]:
    """The first failure of each patient who has one: which relapse, no remission, or which death."""
    relapsed = patients["relapse"].astype(bool)
    first = ("Relapse, " + _text(patients["relapse_kind"])).where(relapsed, "No remission")
    return first.mask(patients["day_event"].notna() & (patients["day_death"] == patients["day_event"]), died)


def _who(patients: pd.DataFrame, study: str) -> dict[str, pd.Series]:
    """What says whose a row is."""
    arms = {name: i for i, name in enumerate(dict.fromkeys(patients["arm"].astype(str)), start=1)}
    arm = patients["arm"].astype(str)
    number = arm.map(arms)
    subject = number.map("{:02d}".format) + "-" + patients["patient"].map("{:06d}".format)
    return {
        "STUDYID": pd.Series(study, index=patients.index),
        "USUBJID": f"{study}-" + subject,
        "PATNO": patients["patient"].astype(float),
        "TRTP": arm,
        "TRTPN": number.astype(float),
    }


def _flag(column: pd.Series) -> pd.Series[str]:
    return column.fillna(False).astype(bool).map({True: "Y", False: "N"})


def _text(column: pd.Series) -> pd.Series[str]:
    return column.astype(object).where(column.notna(), "").astype(str)
