"""escape_abm: virtual clinical trials of antigen escape in B-ALL under CAR T cells."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"


def place_for_compiled() -> None:
    """Name a folder for what numba compiles where neither the package nor the home can be written.

    In a container or on a cluster both are often read-only, and numba would end in a traceback.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    usual = Path(__file__).parent, home if home.exists() else home.parent
    if chosen is None and any(os.access(place, os.W_OK) for place in usual):
        return
    try:
        place = Path(chosen) if chosen else _own_folder()
        place.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise SystemExit(
            f"NUMBA_CACHE_DIR={chosen or ''}: compiled code cannot be kept there ({error.strerror}). Set it to a "
            "folder that can be written"
        ) from None
    if not chosen:
        os.environ["NUMBA_CACHE_DIR"] = str(place)  # of workers too
        sys.stderr.write(f"Compiled code is kept in {place}; NUMBA_CACHE_DIR=FOLDER chooses another folder\n")


def _own_folder() -> Path:
    """A temporary folder of this user, the same each time; never another user's, since what lies in it is run."""
    user = os.getuid() if os.name == "posix" else None
    place = Path(tempfile.gettempdir()) / f"escape_abm_{'' if user is None else user}"
    place.mkdir(mode=0o700, exist_ok=True)
    about = place.lstat()
    is_own = user is None or (about.st_uid == user and not about.st_mode & 0o22)
    return place if is_own and stat.S_ISDIR(about.st_mode) else Path(tempfile.mkdtemp(prefix="escape_abm_"))


place_for_compiled()

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
