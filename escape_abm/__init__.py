"""escape_abm: virtual clinical trials of antigen escape in B-ALL under CAR T cells."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Loaded on first use: the command line answers --help without compiling anything.
_HOME = {
    "Biology": "inputs.biology",
    "InputError": "inputs.checks",
    "parameter_rows": "inputs.row_table",
    "Product": "inputs.products",
    "Regimen": "inputs.regimen",
    "Cohort": "inputs.cohort",
    "Clinic": "inputs.clinic",
    "sample_patient": "inputs.cohort",
    "Settings": "inputs.settings",
    "make_settings": "inputs.settings",
    "compose": "interface.composition",
    "grow_leukaemia": "patient.leukaemia",
    "simulate": "patient.course",
    "Trajectory": "patient.course",
    "run_trial": "runs.notebook",
    "VirtualPatient": "runs.notebook",
    "TrialResult": "trials.virtual_trial",
    "load": "runs.stored",
    "Runs": "runs.stored",
}
__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"escape_abm.{_HOME[name]}"), name)
    raise AttributeError(f"module 'escape_abm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
