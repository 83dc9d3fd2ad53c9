"""How many processes may work at the same time, and worker processes that end with the process that started them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any

ORPHAN_SECONDS = 0.25  # between looks whether the caller still lives
GIVEN = ("SLURM_CPUS_PER_TASK", "PBS_NP", "NCPUS", "NSLOTS", "LSB_DJOB_NUMPROC")
"""Where batch systems (Slurm, PBS, Grid Engine, LSF) say how many cores they gave."""


def cores() -> int:
    """How many cores this process may use: by its affinity (`taskset`), its container, and its batch system."""
    given = [int(text) for name in GIVEN if (text := os.environ.get(name, "")).isdecimal()]
    if "SLURM_CPUS_PER_TASK" not in os.environ and os.environ.get("SLURM_CPUS_ON_NODE", "").isdecimal():
        given.append(int(os.environ["SLURM_CPUS_ON_NODE"]))
    import joblib  # slow to import, and --help needs the rest of this module

    return max(1, min([int(joblib.cpu_count()), *given]))


@cache
def end_with(caller: int) -> None:
    """End this process soon after its caller: a caller that was killed leaves no worker behind."""

    def watch() -> None:
        while os.getppid() == caller:
            time.sleep(ORPHAN_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def serve(caller: int, do: Callable[..., Any], *given: Any) -> Any:
    """Do a task, in a worker process of this caller or in the caller itself."""
    if os.getpid() != caller:
        end_with(caller)
    return do(*given)
