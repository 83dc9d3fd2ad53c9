"""escape_abm: virtual clinical trials of antigen escape in B-ALL under CAR T cells."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Loaded on first use: the command line answers --help without compiling anything.
_HOME = {
    "Biology": "parameters",
    "InputError": "parameters",
    "parameter_rows": "parameters",
    "Product": "products",
    "Regimen": "regimen",
    "Cohort": "cohort",
    "Clinic": "clinic",
    "sample_patient": "cohort",
    "Settings": "settings",
    "make_settings": "settings",
    "compose": "config",
    "grow_leukaemia": "simulation",
    "simulate": "simulation",
    "Trajectory": "simulation",
    "run_trial": "notebook",
    "VirtualPatient": "notebook",
    "TrialResult": "trial",
    "load": "runs",
    "Runs": "runs",
}
__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"escape_abm.{_HOME[name]}"), name)
    raise AttributeError(f"module 'escape_abm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
