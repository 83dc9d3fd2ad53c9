"""Many runs of an experiment: missing runs are computed, finished ones left alone, failed ones named.

The folder of a sweep holds one folder per job, `sweep.yaml` (the command and the jobs), and at the end `jobs.csv` and
the combined tables of all jobs. A sweep can be killed at any moment; the same command resumes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import shlex
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from pathlib import Path
from typing import Any

from escape_abm.inputs.checks import InputError
from escape_abm.inputs.settings import Settings
from escape_abm.runs import terminal
from escape_abm.runs.executors import open_workers
from escape_abm.runs.fingerprint import NAME, Earlier, Index
from escape_abm.runs.found import OVER
from escape_abm.runs.jobs import Ask, Job, Outcome, Planned, do_job, do_jobs, leave_error, to_yaml
from escape_abm.runs.joined import join
from escape_abm.runs.provenance import PROVENANCE, RECORD, Damaged, is_finished, read_provenance, read_record
from escape_abm.runs.run_folder import (
    ERROR,
    LOCK,
    StorageError,
    held,
    storage,
    what_changed,
    write_text,
)
from escape_abm.trials.processors import cores

PROBE_PATIENTS = 4


# ----------------------------------------------------------------------------------------------------------- the plan


def sweep_name(jobs: Sequence[Job]) -> str:
    """The end of the name of a sweep's folder: the same for the same jobs, in whatever order."""
    names = "\n".join(sorted({job.identity.name for job in jobs}))
    return hashlib.sha256(names.encode()).hexdigest()[:8]


def find_folder(ask: Ask) -> Path:
    """The folder of a sweep: one that was begun already, else the one asked for."""
    if ask.root is None:
        return ask.folder
    name = sweep_name(ask.jobs)
    there = sorted(ask.root.glob(f"*/*_sweep_{name}"))
    return there[-1] if there else ask.folder.with_name(f"{ask.folder.name}_{name}")


def in_recorded_order(folder: Path, jobs: list[Job]) -> list[Job]:
    """Jobs in the order and with the numbers that they have in their folder already; new ones after them.

    Raises:
        InputError: the folder holds another sweep.
    """
    names = _recorded(folder)
    mine = {job.identity.settings for job in jobs}
    if strangers := [n for n in names if n.split("_")[1] not in mine]:
        raise InputError(
            f"{folder}: holds another sweep, with {len(strangers)} jobs that are not in this one. "
            "Choose another folder with hydra.sweep.dir, or delete it"
        )
    at = {name: i for i, name in reversed(list(enumerate(names)))}
    by_settings = {name.split("_")[1]: i for i, name in reversed(list(enumerate(names)))}

    def key(job: Job) -> int:
        place: int = at.get(job.identity.name, by_settings.get(job.identity.settings, len(names)))
        return place

    return [job._replace(number=i) for i, job in enumerate(sorted(jobs, key=key))]


def _recorded(folder: Path) -> list[str]:
    """Identities of the jobs of a folder, in order: as its record says, else as its runs say.

    Raises:
        InputError: it is the folder of a run.
    """
    with contextlib.suppress(Damaged):
        names = [str(name) for name in read_record(folder)["jobs"]]
        if all(NAME.search(f"_{name}") for name in names):
            return names
    if (folder / PROVENANCE).exists():
        raise InputError(f"{folder}: holds a finished run: choose another folder with hydra.sweep.dir")
    runs = sorted(folder.glob(f"*/{PROVENANCE}"), key=lambda p: (len(p.parent.name), p.parent.name))
    return [read_provenance(place.parent)["identity"] for place in runs if is_finished(place.parent)]


def plan(ask: Ask, folder: Path, jobs: list[Job]) -> list[Planned]:
    """What there is of each job, and what is to be done."""
    if ask.root is None:
        return [_plan_by_hand(folder, job) for job in jobs]
    here: dict[str, Path] = {}
    if folder.is_dir():
        for place in sorted(folder.iterdir()):
            if known := NAME.search(place.name):
                here[known[0][1:]] = place
    index, out = Index([ask.root]), []
    for job in jobs:
        name = job.identity.name
        place = here.setdefault(name, folder / f"{job.number}_{name}")
        out.append(_planned(job, place, index.look(job.identity)))
    return out


def _plan_by_hand(folder: Path, job: Job) -> Planned:
    """In a folder chosen by hand jobs are named by number; one by other code, or of another size, goes beside it."""
    place, beside, there = folder / str(job.number), folder / f"{job.number}_{job.identity.name}", Earlier()
    if is_finished(place):
        name = read_provenance(place)["identity"]
        if name != job.identity.name:
            size_apart = name.split("_")[1:] == job.identity.name.split("_")[1:]
            there = Earlier(same=place) if size_apart else Earlier(other=place)
            place = beside
    return _planned(job, place, there)


def _planned(job: Job, place: Path, there: Earlier) -> Planned:
    if is_finished(place):
        return Planned(job, place, "done")
    if there.finished:
        return Planned(job, there.finished, "found")
    if (place / ERROR).exists():
        return Planned(job, place, "failed", "failed before", there.same)
    why = "new"
    if (place / PROVENANCE).exists():
        why = "damaged since it was finished"
    elif place.exists():
        why = "stopped before it was finished"
    elif there.same:
        why = f"finished with another number of patients, in {there.same}"
    elif there.other:
        why = f"done by other code, computed beside it: {what_changed(there.other, job.identity)}"
    return Planned(job, place, "missing", why, there.same)


# --------------------------------------------------------------------------------------------------------- the sweep


def run_sweep(ask: Ask, gather: Callable[[Path, list[tuple[Settings, Path]]], None] | None = None) -> int:
    """Compute what is missing of a sweep, and put the tables of its jobs together.

    Returns:
        The exit code: 0 if every job is done.

    Raises:
        InputError: the folder holds another sweep, or cannot be written.
    """
    if ask.sweep.dry_run:
        folder = find_folder(ask)
        _foresee(ask, plan(ask, folder, in_recorded_order(folder, ask.jobs)))
        return 0
    with contextlib.ExitStack() as stack:
        if ask.root is not None:
            with held(ask.root):  # two that start together find the same folder
                folder = find_folder(ask)
                with storage(folder):
                    folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = ask.folder
            in_recorded_order(folder, ask.jobs)  # before anything is written
        stack.enter_context(
            held(folder, lambda f: terminal.say(f"Another process works on this sweep; waiting for {f}"))
        )
        jobs = in_recorded_order(folder, ask.jobs)
        _record(ask, folder, jobs)
        planned = plan(ask, folder, jobs)
        outcomes = _run_missing(ask, folder, planned)
        code = _finish(ask, folder, planned, outcomes, gather)
        (folder / LOCK).unlink(missing_ok=True)
        return code


def _record(ask: Ask, folder: Path, jobs: list[Job], files: dict[str, str] | None = None) -> None:
    about = {
        "experiment": ask.experiment.name,
        "command": ask.command,
        "sweep": ask.sweep.model_dump(mode="json"),
        "swept": list(dict.fromkeys(key for job in jobs for key in job.values)),
        "jobs": [job.identity.name for job in jobs],
        "files": files or {},  # SHA-256 of the tables of all jobs
    }
    with storage(folder):
        write_text(folder / RECORD, to_yaml(about))


def _todo(ask: Ask, planned: list[Planned]) -> list[Planned]:
    """Jobs to run, each folder once."""
    wanted = {"missing", "failed"} if ask.sweep.retry_failed else {"missing"}
    return list({p.folder: p for p in reversed(planned) if p.status in wanted}.values())[::-1]


def _run_missing(ask: Ask, folder: Path, planned: list[Planned]) -> dict[int, Outcome]:
    """How the jobs that were run ended, by number."""
    outcomes: dict[int, Outcome] = {}
    todo = _todo(ask, planned)
    for why, n in Counter(p.why for p in todo if p.why.startswith("done by other")).items():
        terminal.say(f"{n} job{'s' if n > 1 else ''} {why}")
    if not todo:
        return outcomes
    try:
        with terminal.progress("jobs", len(planned)) as advance:
            advance(len(planned) - len(todo))
            for outcome in _run(ask, folder, todo):
                outcomes[outcome.number] = outcome
                advance(1)
                if outcome.hopeless:
                    raise StorageError(outcome.error)
                if outcome.status == "failed" and ask.sweep.fail_fast:
                    break
    except KeyboardInterrupt:
        n = len(planned) - len(todo) + sum(o.status == "done" for o in outcomes.values())
        terminal.say(f"Stopped. {n} of {len(planned)} jobs are done; the same command goes on from there: {folder}")
        raise SystemExit(130) from None
    return outcomes


def _run(ask: Ask, folder: Path, todo: list[Planned]) -> Iterator[Outcome]:
    """Outcomes of jobs as they end. A job whose worker died is tried once more, on its own."""
    workers = todo[0].job.settings.workers or cores()
    at_once = min(workers, len(todo)) if ask.executor.name == "processes" else workers
    each = max(1, workers // at_once) if ask.executor.name == "processes" else 1
    do = partial(do_jobs, ask.experiment, bool(ask.pictures), each)
    size = ask.executor.batch_of(len(todo), at_once)
    ended: queue.SimpleQueue[tuple[Future[list[Outcome]], list[Planned]]] = queue.SimpleQueue()
    tried: Counter[int] = Counter()
    under_way = 0
    with open_workers(ask.executor, at_once, folder) as door:

        def submit(batches: list[list[Planned]]) -> int:
            for batch, future in zip(batches, door.submit(do, batches), strict=True):
                future.add_done_callback(partial(_put, ended, batch))
            return len(batches)

        under_way += submit([todo[i : i + size] for i in range(0, len(todo), size)])
        while under_way:
            future, batch = ended.get()
            under_way -= 1
            try:
                yield from future.result()
                continue
            except CancelledError:
                return
            except Exception as error:  # noqa: BLE001  (the worker was lost, however the engine says it)
                said = f"{error}"
            again: list[list[Planned]] = []
            for planned in batch:
                number = planned.job.number
                if is_finished(planned.folder):
                    yield Outcome(number, "done")
                elif not tried[number]:
                    tried[number] += 1
                    again.append([planned])
                else:
                    text = f"the worker of this job was lost twice: {said}"
                    leave_error(planned.folder, text + "\n")
                    yield Outcome(number, "failed", error=text)
            under_way += submit(again)


def _put(ended: queue.SimpleQueue[Any], batch: list[Planned], future: Future[list[Outcome]]) -> None:
    ended.put((future, batch))


def _finish(
    ask: Ask,
    folder: Path,
    planned: list[Planned],
    outcomes: dict[int, Outcome],
    gather: Callable[[Path, list[tuple[Settings, Path]]], None] | None,
) -> int:
    lines: list[dict[str, Any]] = []
    for p in planned:
        outcome = outcomes.get(p.job.number)
        status = outcome.status if outcome else p.status
        if status == "missing" and is_finished(p.folder):
            status = "done"  # a job that is there twice
        error = outcome.error if outcome else ""
        if status == "failed" and not error:
            error = _last_line(p.folder / ERROR)
        lines.append(
            {
                "job": p.job.number,
                "overrides": shlex.join(p.job.overrides),
                "folder": Path(os.path.relpath(p.folder, folder)).as_posix(),
                "status": status,
                "patients": p.job.settings.cohort.size,
                "seconds": round(outcome.seconds, 3) if outcome else None,
                "error": error,
                **p.job.values,
            }
        )
    with storage(folder):
        files = join(folder, lines, [p.job.settings for p in planned], pictures=ask.pictures is not False)
    _record(ask, folder, [p.job for p in planned], files)
    done = [(p.job.settings, p.folder) for p, line in zip(planned, lines, strict=True) if line["status"] in OVER]
    if gather is not None and done:
        gather(folder, done)
    failed = [line for line in lines if line["status"] == "failed"]
    counts = Counter(line["status"] for line in lines)
    new = sum(o.status == "done" for o in outcomes.values())
    terminal.show_sweep(folder, len(lines), counts, new, failed)
    return 0 if counts["failed"] == counts["missing"] == 0 else 1


def _last_line(place: Path) -> str:
    text = place.read_text(encoding="utf-8").strip() if place.exists() else ""
    return text.splitlines()[-1] if text else ""


def _foresee(ask: Ask, planned: list[Planned]) -> None:
    """Say what a sweep would do and take: from runs that are finished, else from a short trial of one."""
    todo = _todo(ask, planned)
    terminal.say(
        f"{len(planned)} jobs: " + ", ".join(f"{n} {s}" for s, n in Counter(p.status for p in planned).items())
    )
    for why, n in Counter(p.why for p in todo).items():
        terminal.say(f"  {n} to compute: {why}")
    if not todo:
        terminal.say("Nothing would be computed.")
        return
    patients = sum(p.job.settings.cohort.size for p in todo)
    seconds, room = _cost(ask, planned, todo[0])
    workers = todo[0].job.settings.workers or cores()
    time_needed = terminal.duration(patients * seconds / workers)
    terminal.say(
        f"{patients} patients to compute on {workers} workers: about {time_needed}, "
        f"{patients * room / 1e6:.1f} MB. Nothing was run and nothing was written."
    )


def _cost(ask: Ask, planned: list[Planned], first: Planned) -> tuple[float, float]:
    """Seconds of one process and bytes for one patient under every product."""
    done = [p for p in planned if p.status in OVER][:20]
    if done:
        said = [read_provenance(p.folder) for p in done]
        n = sum(s["settings"]["cohort"]["size"] for s in said)
        seconds = sum(s["wall_seconds"] * (s["settings"]["workers"] or cores()) for s in said)
        return seconds / n, sum(_bytes(p.folder) for p in done) / n
    cohort = first.job.settings.cohort
    cohort = cohort.model_copy(update={"size": min(PROBE_PATIENTS, cohort.size)})
    job = first.job._replace(settings=first.job.settings.model_copy(update={"cohort": cohort}))
    with tempfile.TemporaryDirectory() as place:
        for name in ("compiling", "measured"):
            outcome = do_job(ask.experiment, bool(ask.pictures), 1, first._replace(job=job, folder=Path(place, name)))
            if outcome.status == "failed":
                raise InputError(f"The first job fails: {outcome.error}")
            seconds, room = outcome.seconds / cohort.size, _bytes(Path(place, name)) / cohort.size
            shutil.rmtree(Path(place, name))
    return seconds, room


def _bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
