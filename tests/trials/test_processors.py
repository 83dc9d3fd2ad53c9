"""How many processes work, and what becomes of them when their caller is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from escape_abm.trials.processors import GIVEN, cores, serve

CALLER = """
import os, time, joblib
from escape_abm.trials.processors import serve
def work(i):
    time.sleep(0.2)
    return os.getpid()
me = os.getpid()
print(*set(joblib.Parallel(n_jobs=2)(joblib.delayed(serve)(me, work, i) for i in range(4))), flush=True)
time.sleep(60)
"""


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which no batch system gave anything."""
    for name in (*GIVEN, "SLURM_CPUS_ON_NODE", "LOKY_MAX_CPU_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    return monkeypatch


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_affinity_counts(free: pytest.MonkeyPatch) -> None:
    free.setattr(os, "sched_getaffinity", lambda _: {0})
    assert cores() == 1


@pytest.mark.parametrize(
    ("given", "most"),
    [
        ({"SLURM_CPUS_PER_TASK": "2", "SLURM_CPUS_ON_NODE": "8"}, 2),
        ({"SLURM_CPUS_ON_NODE": "1"}, 1),
        ({"NSLOTS": "1"}, 1),
        ({"PBS_NP": "0"}, 1),
        ({"LOKY_MAX_CPU_COUNT": "1"}, 1),
    ],
)
def test_a_batch_allocation_counts(given: dict[str, str], most: int, free: pytest.MonkeyPatch) -> None:
    for name, value in given.items():
        free.setenv(name, value)
    assert 1 <= cores() <= most


def test_what_a_batch_system_says_in_words_counts_for_nothing(free: pytest.MonkeyPatch) -> None:
    before = cores()
    free.setenv("SLURM_CPUS_PER_TASK", "many")
    assert cores() == before


def test_a_caller_serves_itself() -> None:
    assert serve(os.getpid(), max, 1, 2) == 2


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_workers_end_with_a_caller_that_is_killed(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", CALLER], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        workers = [int(pid) for pid in caller.stdout.readline().split()]
        assert workers
        caller.send_signal(number)
        caller.wait()
        for _ in range(60):
            if not (alive := [pid for pid in workers if _is_alive(pid)]):
                break
            time.sleep(0.1)
        assert alive == []


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
