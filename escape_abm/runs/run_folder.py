"""The folder of a run, complete or absent.

Files are written to a hidden folder beside their destination and moved at the end, `provenance.json` last. A folder
without it is not a finished run. Its SHA-256 of every file shows later whether the file is still intact.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import pandas as pd

from escape_abm import __version__
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.settings import Settings
from escape_abm.runs.fingerprint import Identity, changed, library
from escape_abm.runs.provenance import AGAIN, PROVENANCE, Damaged, is_finished, read_provenance
from escape_abm.runs.terminal import progress, warn
from escape_abm.trials.checkpoints import how_many
from escape_abm.trials.virtual_trial import TrialResult, run_trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIBRARIES = (
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "numba",
    "pydantic",
    "hydra-core",
    "omegaconf",
    "matplotlib",
    "seaborn",
    "mesa",
    "scikit-learn",
    "emcee",
)
ERROR, LOCK, PARTIAL, KEPT = "error.txt", ".lock", ".partial", ".kept"
NO_ROOM = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
)


NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


class StorageError(InputError):
    """The disk is full, or may not be written."""


@contextmanager
def storage(folder: Path, *also: int) -> Iterator[None]:
    """Say what to do about a full disk or a folder that may not be written, or about `also` other errors.

    Raises:
        StorageError: in place of the error of the system.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (*NO_ROOM, *also):
            raise
        raise StorageError(
            f"{folder}: {error.strerror}. Nothing half-written counts as done: make room, or choose a folder that "
            "can be written with hydra.run.dir (of a sweep hydra.sweep.dir), and give the same command again"
        ) from error


class Run:
    """One run of an experiment: its settings, its folder, and what is there of it already.

    Attributes:
        settings: What to run.
        folder: Where its files go.
        pictures: Whether to draw.
        quiet: Whether it says nothing, as the jobs of a sweep.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        identity: Identity,
        *,
        overrides: list[str] | None = None,
        earlier: Path | None = None,
        pictures: bool = True,
        quiet: bool = False,
    ) -> None:
        """`earlier` is a finished run of the same identity with another number of patients."""
        self.settings, self.folder, self.identity = settings, folder, identity
        self.overrides, self.earlier, self.quiet = overrides or [], earlier, quiet
        self.finished = is_finished(folder)
        self.pictures = pictures and not self.finished
        self._began = time.perf_counter()

    @property
    def kept(self) -> Path:
        """Where what is done is kept until the run is finished."""
        return self.folder / KEPT / self.identity.name

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int], None] | None]:
        """A progress bar, unless the run is quiet; gives the function that moves it."""
        if self.quiet:
            yield None
        else:
            with progress(what, total) as advance:
                yield advance

    def trial(self, what: str) -> TrialResult:
        """The tables of the virtual trial: read if the run is finished, otherwise computed from where it stopped."""
        if self.finished:
            return read_tables(self.folder)
        if self.earlier is not None and (faults := damage(self.earlier)):
            warn(f"{self.earlier}: {faults[0]}. No patients are taken from there")
            self.earlier = None
        with self.progress(what, self.settings.cohort.size) as advance:
            return run_trial(self.settings, advance, self.kept, self.earlier)

    def write(
        self,
        tables: dict[str, pd.DataFrame],
        figures: Mapping[str, tuple[Figure, pd.DataFrame]],
        others: Mapping[str, Callable[[Path], Any]] | None = None,
    ) -> None:
        """Write tables, figures (each with the table that it drew) and provenance; nothing if the run is finished.

        Args:
            tables: File name (.csv or .parquet) to table.
            figures: Name to (figure, table).
            others: File name to what writes it, for files of other kinds.
        """
        if self.finished:
            return
        hydras = {str(p.relative_to(self.folder)): p for p in sorted(self.folder.glob(".hydra/*.yaml"))}

        def last(files: dict[str, str]) -> str:
            about = provenance(self.settings, time.perf_counter() - self._began, "completed")
            made = {
                "experiment": self.identity.experiment.name,
                "script": str(self.identity.experiment.script),
                "task": self.identity.experiment.task,
                "identity": self.identity.name,
                "overrides": self.overrides,
                "pictures": self.pictures,
                "parts": self.identity.parts,
                "files": {name: digest(path) for name, path in hydras.items()} | files,
            }
            return json.dumps(about | made, indent=1) + "\n"

        write_tables(self.folder, tables, figures, others, last)
        self.finished = True
        shutil.rmtree(self.folder / KEPT, ignore_errors=True)
        for name in (ERROR, LOCK):
            (self.folder / name).unlink(missing_ok=True)


def provenance(settings: Settings, wall_seconds: float, ended: str) -> dict[str, Any]:
    """How a run was made: versions, commit, seed, settings, time, and how it ended."""
    return {
        "package": "escape_abm",
        "version": __version__,
        **_checkout(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: library(name) for name in LIBRARIES},
        "seed": settings.seed,
        "wall_seconds": round(wall_seconds, 3),
        "ended": ended,
        "settings": settings.model_dump(mode="json"),
    }


@cache
def _checkout() -> dict[str, Any]:
    return {
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", ":/escape_abm", ":/conf", ":/experiments")),
    }


def _git(*words: str) -> str | None:
    """What git says about the checkout that the package runs from; None outside one."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def write_tables(
    folder: Path,
    tables: dict[str, pd.DataFrame],
    figures: Mapping[str, tuple[Figure, pd.DataFrame]],
    others: Mapping[str, Callable[[Path], Any]] | None = None,
    last: Callable[[dict[str, str]], str] | None = None,
) -> None:
    """Write tables, figures and other files beside their place, then move all of them there.

    `last` gives what provenance says, from the SHA-256 of every file; it is moved last.
    """
    with storage(folder):
        part = folder / PARTIAL
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, table in tables.items():
            if name.endswith(".parquet"):
                table.to_parquet(part / name, index=False)
            else:
                write_csv(table, part / name)
        if figures:
            (part / "figures").mkdir()
            from escape_abm.figures.style import save

            for name, (figure, table) in figures.items():
                write_csv(table, part / "figures" / f"{name}.csv")
                save(figure, part / "figures" / name)
        for name, write in (others or {}).items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            write(part / name)
        files = sorted(p for p in part.rglob("*") if p.is_file())
        if last is not None:
            digests = {str(p.relative_to(part)): digest(p) for p in files}
            files.append(part / PROVENANCE)
            files[-1].write_text(last(digests), encoding="utf-8")
        for place in files:
            to = folder / place.relative_to(part)
            to.parent.mkdir(parents=True, exist_ok=True)
            os.replace(place, to)
        shutil.rmtree(part)


def write_csv(table: pd.DataFrame, place: Path) -> None:
    """Write a table of estimates with ten significant digits.

    The last of the sixteen digits of NumPy's `exp` and `log` differs between processors; with ten of them a table is
    the same bytes everywhere. What is counted or drawn (patients.parquet) does not go through them and is kept whole.
    """
    table.to_csv(place, index=False, float_format=lambda x: repr(float(f"{x:.10g}")))


def write_text(place: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    new = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        new.write_text(text, encoding="utf-8")
        os.replace(new, place)
    finally:
        new.unlink(missing_ok=True)


def digest(place: Path) -> str:
    """SHA-256 of a file."""
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tables(folder: Path) -> TrialResult:
    """The tables of a finished run of virtual patients.

    Raises:
        Damaged: a file of it is missing or cannot be read.
    """
    try:
        tables = TrialResult.read(folder)
        if not all("arm" in table for table in (tables.patients, tables.summary, tables.contrasts)):
            raise ValueError("a table without the column arm is none of ours")
        return tables
    except (OSError, ValueError) as error:  # of pyarrow too
        said = "; ".join(damage(folder)) or str(error)
        raise Damaged(f"{folder}: cannot be read: {said}. {AGAIN}") from None


def damage(folder: Path) -> list[str]:
    """What is wrong with a finished run: a line for each file that is missing or is not what was written."""
    try:
        files = read_provenance(folder)["files"]
    except Damaged as error:
        return [str(error).removeprefix(f"{folder}/")]
    out = []
    for name, was in files.items():
        place = folder / name
        if not place.is_file():
            out.append(f"{name} is missing")
        elif digest(place) != was:
            out.append(f"{name} is not what was written")
    return out


def what_changed(folder: Path, identity: Identity) -> str:
    """In words, how the code and libraries of a finished run differ from the present ones."""
    return ", ".join(changed(read_provenance(folder).get("parts", {}), identity.parts))


@contextmanager
def held(folder: Path, say: Callable[[Path], None] | None = None) -> Iterator[None]:
    """Hold a folder against other processes; the system lets go when a process dies.

    `say` is called first if another process holds it, and then it is waited for.
    """
    with storage(folder, errno.ENOENT):  # as /proc says that it takes no folder
        folder.mkdir(parents=True, exist_ok=True)
    with storage(folder):
        lock = filelock.FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if say is not None:
                say(folder)
            lock.acquire()
        except (OSError, NotImplementedError) as error:  # the latter is filelock's word for ENOSYS
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                raise
            say_no_locks()
    try:
        yield
    finally:
        lock.release()


@cache
def say_no_locks() -> None:
    """Once for each process."""
    warn(
        "This file system has no locks: two commands that work in one folder would not notice each other. Run them one "
        "after the other, or choose a folder elsewhere with hydra.run.dir (of a sweep hydra.sweep.dir)"
    )


def stopped(folder: Path, identity: Identity) -> None:
    """Say what is kept of a run that was stopped; if nothing is, leave nothing of ours."""
    done = how_many(folder / KEPT / identity.name)
    if done:
        sys.stderr.write(f"Stopped. {done} patients are kept: the same command goes on from there, in {folder}\n")
        return
    for ours in (".hydra", PARTIAL, KEPT):  # never the folder itself: it may hold what is not ours
        shutil.rmtree(folder / ours, ignore_errors=True)
    (folder / LOCK).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    sys.stderr.write("Stopped. Nothing of this run was kept.\n")
