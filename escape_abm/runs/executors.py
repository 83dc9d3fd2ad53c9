"""Where the jobs of a sweep run: processes of this machine, a Dask cluster, or Slurm. All start with `open_workers`.

A worker is a process that may die without ending the sweep. It writes its results into the folders of the runs, which
all workers and the caller see under the same path.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field, field_validator

from escape_abm.inputs.checks import InputError
from escape_abm.inputs.rows import Section
from escape_abm.trials.processors import end_with

POLL_SECONDS = 3.0  # between looks at the queue of a cluster


class Executor(Section):
    """Where the jobs of a sweep run."""

    name: Literal["processes", "dask", "slurm"] = "processes"
    batch: int | None = Field(default=None, ge=1)
    """Jobs that a worker takes at a time; none given: 1 on this machine, more where a task costs more to send."""
    address: str | None = None
    """dask: of the scheduler; none given: a cluster of processes on this machine."""
    partition: str | None = None
    """slurm: none given: the cluster's default."""
    timeout_min: int = Field(default=60, ge=1)
    """slurm: for a batch of jobs."""
    memory_gb: float = Field(default=2, gt=0)
    """slurm: of a worker."""
    options: dict[str, str | int | float] = {}
    """slurm: further ones of sbatch, for example {account: mine, qos: short}."""

    @field_validator("address")
    @classmethod
    def _reachable(cls, address: str | None) -> str | None:
        if address is None:
            return None
        said = re.fullmatch(r"[a-z]+://\S+:(\d{1,5})/?", address)
        if said is None or not 1 <= int(said[1]) <= 65535:
            raise ValueError("must be as the scheduler says it, tcp://HOST:PORT, with a port from 1 to 65535")
        return address

    def batch_of(self, jobs: int, workers: int) -> int:
        """Jobs that a worker takes at a time."""
        if self.batch is not None:
            return self.batch
        rounds = {"dask": 8, "slurm": 1}.get(self.name)
        return 1 if rounds is None else max(1, -(-jobs // (workers * rounds)))


class WorkerDied(RuntimeError):
    """The process of a worker ended before its task did."""


class Workers(Protocol):
    """Takes tasks. A future raises if its worker was lost."""

    def submit(self, do: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Future[Any]]:
        """Start `do` on each task as workers get free."""


@contextmanager
def open_workers(executor: Executor, workers: int, folder: Path) -> Iterator[Workers]:
    """So many workers; what is under way when the block is left is stopped. `folder` is for notes of the engine.

    Raises:
        InputError: the engine is not installed.
    """
    try:
        if executor.name == "dask":
            door: Any = _dask(executor, workers)
        elif executor.name == "slurm":
            door = _slurm(executor, workers, folder)
        else:
            door = _processes(workers)
        with door as opened:
            yield opened
    except ModuleNotFoundError as error:
        extra = {"dask": "distributed", "slurm": "slurm"}.get(executor.name, "")
        raise InputError(
            f"executor={executor.name}: {error.name} is not installed: pip install 'escape_abm[{extra}]'"
        ) from None


class _Process:
    """A process that does one task after the other, and ends when its caller does."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy the locks of other threads
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid()))
        self._process.start()
        self._busy = False
        theirs.close()

    def do(self, do: Callable[[Any], Any], task: Any) -> Any:
        self._busy = True
        try:
            self._ours.send((do, task))
            done, value = self._ours.recv()
            self._busy = False
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise WorkerDied(f"its process was lost ({how}), as when it is killed or memory runs out") from None
        if done:
            return value
        raise value

    def stop(self) -> None:
        if self._busy:
            self._process.terminate()
            self._process.join()
        self._ours.close()  # which an idle one takes as the end
        self._process.join()


def _serve(connection: Connection, caller: int) -> None:
    """Do tasks until there are no more; a caller that was killed leaves no worker behind that goes on writing."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a forked one has its caller's
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the caller stops its workers
    end_with(caller)
    while True:
        try:
            do, task = connection.recv()
        except EOFError:
            return
        try:
            out = True, do(task)
        except Exception as error:  # noqa: BLE001  (it is raised where the task was given)
            out = False, error
        connection.send(out)


@contextmanager
def _processes(workers: int) -> Iterator[Workers]:
    """A thread for each process: a process that dies is noticed by its own thread, which starts another."""
    mine = threading.local()
    every: list[_Process] = []

    def one(do: Callable[[Any], Any], task: Any) -> Any:
        if getattr(mine, "process", None) is None:
            mine.process = _Process()
            every.append(mine.process)
        try:
            return mine.process.do(do, task)
        except WorkerDied:
            mine.process = None
            raise

    class Door:
        def submit(self, do: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Future[Any]]:
            return [threads.submit(one, do, task) for task in tasks]

    threads = ThreadPoolExecutor(workers)
    try:
        yield Door()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for process in every:
            process.stop()
        threads.shutdown()


@contextmanager
def _dask(executor: Executor, workers: int) -> Iterator[Workers]:
    from distributed import Client, LocalCluster

    place: Any = executor.address
    if place is None:  # a real cluster, on this machine only
        place = LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        )
    try:
        with Client(place) as client:
            pool = client.get_executor(pure=False)

            class Door:
                def submit(self, do: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Future[Any]]:
                    return [pool.submit(do, task) for task in tasks]

            yield Door()
            pool.shutdown(wait=False)
    finally:
        if executor.address is None:
            place.close()


@contextmanager
def _slurm(executor: Executor, workers: int, folder: Path) -> Iterator[Workers]:
    import submitit

    engine = submitit.AutoExecutor(folder=folder / "slurm", cluster="slurm")
    engine.update_parameters(
        name="escape_abm",
        timeout_min=executor.timeout_min,
        mem_gb=executor.memory_gb,
        cpus_per_task=1,
        slurm_array_parallelism=workers,
        **({"slurm_partition": executor.partition} if executor.partition else {}),
        **({"slurm_additional_parameters": dict(executor.options)} if executor.options else {}),
    )
    waiting: dict[Any, Future[Any]] = {}
    closed = threading.Event()

    def poll() -> None:
        unseen: set[Any] = set()
        while not closed.wait(POLL_SECONDS):
            # Asked here, since submitit asks Slurm's accounting, which not every cluster keeps.
            asked = subprocess.run(["squeue", "-h", "-r", "-o", "%i"], capture_output=True, text=True, check=False)
            queued = set(asked.stdout.split()) if asked.returncode == 0 else {job.job_id for job in waiting}
            for job, future in list(waiting.items()):
                gone = job.job_id not in queued
                if job.paths.result_pickle.exists():
                    del waiting[job]
                    try:
                        future.set_result(job.result())
                    except Exception as error:  # noqa: BLE001  (whatever it was, the sweep tells)
                        future.set_exception(WorkerDied(str(error)))
                elif gone and job in unseen:  # twice, since a result may come late through a network
                    del waiting[job]
                    future.set_exception(WorkerDied("it left the queue without a result (killed, memory, or time)"))
                elif gone:
                    unseen.add(job)

    class Door:
        def submit(self, do: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Future[Any]]:
            jobs = engine.map_array(do, tasks)  # one array: one call of sbatch
            futures: list[Future[Any]] = [Future() for _ in jobs]
            waiting.update(zip(jobs, futures, strict=True))
            return futures

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield Door()
    finally:
        closed.set()
        thread.join()
        for job in waiting:
            job.cancel()
