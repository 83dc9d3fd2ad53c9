"""One job of a sweep: its definition, and how a worker runs it."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from escape_abm.inputs.checks import InputError
from escape_abm.inputs.settings import Settings
from escape_abm.runs.designs import Sweep
from escape_abm.runs.executors import Executor
from escape_abm.runs.fingerprint import Experiment, Identity
from escape_abm.runs.run_folder import (
    ERROR,
    Run,
    StorageError,
    held,
    storage,
    write_text,
)


class Job(NamedTuple):
    """One run of a sweep."""

    number: int
    values: dict[str, Any]
    """Of the swept parameters."""
    overrides: list[str]
    settings: Settings
    config: dict[str, Any]
    """As Hydra composed it."""
    identity: Identity


class Planned(NamedTuple):
    """A job, and what there is of it."""

    job: Job
    folder: Path
    status: str  # done (in this sweep), found (in another folder), failed, missing
    why: str = ""
    earlier: Path | None = None


class Outcome(NamedTuple):
    """How a job ended."""

    number: int
    status: str
    seconds: float = 0.0
    error: str = ""
    hopeless: bool = False  # every other job would fail alike: the disk is full


@dataclass(frozen=True)
class Ask:
    """A sweep as asked for: where it goes, and how."""

    experiment: Experiment
    jobs: list[Job]
    sweep: Sweep
    executor: Executor
    pictures: bool | None
    folder: Path
    root: Path | None
    """Where runs of this experiment are looked for; None if the folder was chosen by hand."""
    command: str
    several: bool = True
    """False: a single run."""


@cache
def load_task(experiment: Experiment) -> Callable[[Settings, Run], None]:
    """The task of an experiment, imported from its script."""
    name = f"experiment_{experiment.script.stem}"
    spec = importlib.util.spec_from_file_location(name, experiment.script)
    if spec is None or spec.loader is None:
        raise InputError(f"{experiment.script}: no such script; a sweep needs the script of its experiment")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    task: Callable[[Settings, Run], None] = getattr(module, experiment.task)
    return task


# ------------------------------------------------------------------------------------------------------- in a worker


def do_jobs(experiment: Experiment, pictures: bool, workers: int, batch: Sequence[Planned]) -> list[Outcome]:
    """Run some jobs, each in its folder; a failure stays with its job."""
    return [do_job(experiment, pictures, workers, planned) for planned in batch]


def do_job(experiment: Experiment, pictures: bool, workers: int, planned: Planned) -> Outcome:
    """Run a job in its folder, and say how it ended; nothing is raised."""
    job, folder, began = planned.job, planned.folder, time.perf_counter()
    try:
        with held(folder):
            run = Run(
                job.settings.model_copy(update={"workers": workers}), folder, job.identity, overrides=job.overrides,
                earlier=planned.earlier, pictures=pictures, quiet=True,
            )  # fmt: skip
            if not run.finished:
                _describe(folder, job)
                load_task(experiment)(run.settings, run)
            if not run.finished:
                raise RuntimeError(f"{experiment.script.name} ended without writing its results")
        return Outcome(job.number, "done", time.perf_counter() - began)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever a job does, the others go on)
        said = str(error).strip().splitlines()[:1] or [""]
        line = said[0] if isinstance(error, InputError) else f"{type(error).__name__}: {said[0]}"
        leave_error(folder, traceback.format_exc())
        return Outcome(job.number, "failed", time.perf_counter() - began, line, isinstance(error, StorageError))


def _describe(folder: Path, job: Job) -> None:
    """The files that Hydra would leave."""
    with storage(folder):
        (folder / ERROR).unlink(missing_ok=True)
        (folder / ".hydra").mkdir(exist_ok=True)
        write_text(folder / ".hydra" / "config.yaml", to_yaml(job.config))
        write_text(folder / ".hydra" / "overrides.yaml", to_yaml(job.overrides))


def leave_error(folder: Path, text: str) -> None:
    """Say in the folder of a job why it failed."""
    with contextlib.suppress(OSError):  # no room for it: the caller still tells
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / ERROR, text)


def to_yaml(what: Any) -> str:
    """Plain data as YAML, in the order given."""
    text: str = yaml.dump(what, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)
    return text
