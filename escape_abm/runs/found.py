"""The finished runs below a folder, each once, with all that tells them apart.

A run is what it is made of (`fingerprint`): one that stands in two folders, or in the lists of two sweeps, is one run.
What it was made of is read from its own `provenance.json`, not from the list of a sweep, so that runs of different
sweeps have the same columns.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from escape_abm.runs.provenance import AGAIN, JOBS, PROVENANCE, RECORD, Damaged, fault, read_provenance, read_record

OVER = ("done", "found")
KEPT_FOUND = "found"  # folder of a sweep: provenance of the runs that it found in other folders
NO_PARAMETERS = ("hydra", "workers", "pictures", "sweep", "executor")  # how runs are made, which moves no result
UNSAID_OF = ("workers", "seed", "cohort.size", "trial.", "trajectories.")  # has a column already, or moves no patient


@dataclass
class Found:
    """A finished run.

    Attributes:
        folder: Of the run; of one that is told of by a sweep only, where it should be.
        experiment, seed, patients, seconds, identity: As provenance says; None where nothing does.
        given: What was given on the command line: key to text.
        settings: In full; None if only a sweep tells of the run.
        libraries: Versions that move bytes, and Python's.
        listings: Sweep and number of the job, wherever it is listed.
    """

    folder: Path
    experiment: str
    seed: int | None
    patients: int
    seconds: float | None
    identity: str
    given: dict[str, str]
    settings: dict[str, Any] | None = None
    libraries: dict[str, str] = field(default_factory=dict)
    listings: list[tuple[Path, int]] = field(default_factory=list)

    @property
    def code(self) -> str:
        """Of the code, the libraries and Python: the end of the name of the run's folder."""
        return self.identity.rpartition("_")[2]


# -------------------------------------------------------------------------------------------------------------- looking


def find(path: Path) -> tuple[list[Found], list[str]]:
    """Every finished run below a folder, those of sweeps first, and what had to be left out or is not whole."""
    path = Path(os.path.abspath(path))  # tables are read later, from wherever the reader is then
    found: dict[tuple[str, str], Found] = {}
    faults: list[str] = []
    singles = []
    for place in _walk(path, faults):
        if not (place / RECORD).exists():
            singles.append(place)
            continue
        try:
            listed = _listed(place, faults)
        except Damaged as error:  # its runs are there all the same
            faults.append(f"{error}. Until then its runs are read one by one")
            singles += sorted(p.parent for p in place.glob(f"*/{PROVENANCE}"))
            continue
        for run in listed:
            first = found.setdefault((run.experiment, run.identity), run)
            if first is not run:
                first.listings += run.listings
                first.given = run.given | first.given
    for place in singles:
        try:
            run = of_folder(place)
        except Damaged as error:
            faults.append(str(error))
            continue
        found.setdefault((run.experiment, run.identity), run)
    return list(found.values()), faults


def _walk(path: Path, faults: list[str]) -> Iterator[Path]:
    """Finished sweeps, and finished runs outside of them."""
    try:
        if (path / PROVENANCE).exists() or ((path / JOBS).exists() and (path / RECORD).exists()):
            yield path
            return
        below = sorted(place for place in path.iterdir() if place.is_dir() and not place.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        faults.append(f"{path}: {error.strerror}. What lies in it is left out")
        return
    for place in below:
        yield from _walk(place, faults)


def of_folder(folder: Path, name: str = PROVENANCE) -> Found:
    """A run, from its own provenance or a copy of it.

    Raises:
        Damaged: that cannot be read.
    """
    said = read_provenance(folder, name)
    try:
        parts, size = said.get("parts") or {}, int(said["settings"]["cohort"]["size"])
        return Found(
            Path(os.path.abspath(folder)), said["experiment"], said["seed"], size, said.get("wall_seconds"),
            said["identity"], _given(said.get("overrides") or []), said["settings"],
            {**parts.get("libraries", {}), "python": parts.get("python", "")},
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, ValueError):
        raise Damaged(f"{folder / name}: is not what a run of ours writes. {AGAIN}") from None


def read_jobs(folder: Path) -> pd.DataFrame:
    """The list of jobs of a sweep.

    Raises:
        Damaged: it cannot be read, or is not that of the sweep.
    """
    place, again = folder / JOBS, "Give the command of the sweep again, which writes it anew"
    if why := fault(place):
        raise Damaged(f"{place}: {why}. {again}")
    try:
        jobs = pd.read_csv(place)
    except (ValueError, OSError):
        raise Damaged(f"{place}: cannot be read. {again}") from None
    wanted = ("job", "overrides", "folder", "status", "patients", "seconds")
    lacks = [c for c in wanted if c not in jobs]
    if lacks or jobs["job"].tolist() != list(range(len(read_record(folder)["jobs"]))) or jobs["patients"].isna().any():
        what = f"it has no {', '.join(lacks)}" if lacks else "it has other jobs"
        raise Damaged(f"{place}: is not the list of this sweep: {what}. {again}")
    return jobs


def _listed(folder: Path, faults: list[str]) -> list[Found]:
    """The runs that a sweep lists, one for each job that is over."""
    record, jobs = read_record(folder), read_jobs(folder)
    lost: list[str] = []
    out: list[Found] = []
    for at, line in enumerate(jobs.to_dict("records")):
        if line["status"] not in OVER:
            continue
        place = Path(os.path.normpath(f"{os.path.abspath(folder)}/{line['folder']}"))
        given = _given(w for w in _words(str(line["overrides"])) if "=" in w or w.startswith("~"))
        given |= {key: str(line[key]) for key in record["swept"] if key in line}
        try:
            run = of_folder(place)
        except Damaged as error:
            lost.append(str(error))
            size, name = int(line["patients"]), record["jobs"][at]
            run = _kept(folder, place) or Found(place, record["experiment"], None, size, None, name, given)
            run.seed = int(given["seed"]) if run.seed is None and "seed" in given else run.seed
        run.given = given | run.given
        run.listings = [(folder, int(line["job"]))]
        out.append(run)
    seeds = {run.seed for run in out if run.seed is not None}
    for run in out:
        if run.seed is None and len(seeds) == 1:  # not swept, so that of the others
            run.seed = min(seeds)
    if lost:
        faults.append(
            f"{folder}: {len(lost)} of its {len(jobs)} jobs are not whole, or not where {JOBS} says (was it moved?): "
            f"their own tables and courses are lacking, what the tables of the sweep hold is there. First: {lost[0]}"
        )
    return out


def _kept(sweep: Path, folder: Path) -> Found | None:
    """A run whose folder is not there, from the copy of its provenance that its sweep has kept.

    There is none if the run was none of another folder, or if the sweep is of an older version.
    """
    try:
        run = of_folder(sweep / KEPT_FOUND, f"{folder.name}.json")
    except Damaged:
        return None
    run.folder = folder
    return run


def _words(line: str) -> list[str]:
    """Overrides as `jobs.csv` has them, apart."""
    try:
        return shlex.split(line)
    except ValueError:  # of an older version, which did not quote
        return line.split()


def _given(words: Iterable[str]) -> dict[str, str]:
    """What is said of a run by its words: key to text."""
    pairs = (word.lstrip("+").partition("=") for word in words)
    return {
        key: text if equals else "deleted" if key.startswith("~") else ""
        for key, equals, text in pairs
        if key.split(".")[0] not in NO_PARAMETERS
    }


# -------------------------------------------------------------------------------------------------------------- columns


def runs_table(runs: Sequence[Found], path: Path, *, by_job: bool) -> tuple[pd.DataFrame, list[str], list[str]]:
    """A row for each run; names of the columns that tell code and libraries apart, and of those that are parameters.

    A parameter that was given to one run has its value in all of them, from their settings. Settings that differ though
    nothing given says so, since conf/ has changed, have a column too.
    """
    number = [r.listings[0][1] for r in runs] if by_job else list(range(len(runs)))
    fixed = {
        "run": number,
        "experiment": [r.experiment for r in runs],
        "folder": [str(r.folder) for r in runs],
        "sweeps": ["; ".join(dict.fromkeys(os.path.relpath(s, path) for s, _ in r.listings)) for r in runs],
        "patients": [r.patients for r in runs],
        "seed": _column([r.seed for r in runs]),
        "seconds": pd.Series([r.seconds for r in runs], dtype="float64"),
        "code": [r.code for r in runs],
    }
    versions = {
        name: _column([r.libraries.get(name) for r in runs]) for name in _differing([r.libraries for r in runs])
    }
    keys = [key for key in dict.fromkeys(key for r in runs for key in r.given) if key != "seed"]
    if not by_job:
        keys += _unsaid(runs, keys)
    values = {key: _column([_value(r, key) for r in runs]) for key in keys}
    return pd.DataFrame(fixed | versions | values), ["code", *versions], keys


def _differing(each: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys whose values differ; a mapping without any says nothing."""
    told = [one for one in each if any(one.values())]
    return [k for k in dict.fromkeys(k for one in told for k in one) if len({str(one.get(k)) for one in told}) > 1]


def _column(values: Sequence[Any]) -> pd.Series[Any]:
    """Whole numbers stay whole, also where some are missing; values of several kinds become text."""
    kinds = {type(v) for v in values if v is not None}
    if kinds == {int}:
        return pd.Series(list(values), dtype="Int64" if None in values else "int64")
    if kinds == {bool}:
        return pd.Series(list(values), dtype="boolean" if None in values else "bool")
    if kinds == {float} or kinds == {int, float}:
        return pd.Series(list(values), dtype="float64")
    return pd.Series([v if v is None else str(v) for v in values], dtype="object")


def _value(run: Found, key: str) -> Any:
    """The value of a parameter in a run, whether it was given or not; None where it has none."""
    there: Any = run.settings
    for part in (key.partition("@")[2] or key).split("."):
        there = there.get(part) if isinstance(there, dict) else None
    if isinstance(there, list):
        return json.dumps(there)
    if there is None or isinstance(there, dict):  # a choice of a group, or a run that only its sweep tells of
        name = there.get("name") if isinstance(there, dict) else None
        return _as_value(run.given[key]) if key in run.given else name
    return there


def _as_value(text: str) -> Any:
    if text in ("null", "None"):
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _unsaid(runs: Sequence[Found], keys: Sequence[str]) -> list[str]:
    """Paths of settings that differ between runs for another reason than what was given."""
    told = [r for r in runs if r.settings is not None]
    flat = [dict(_leaves(r.settings, "")) for r in told]
    whole = tuple(f"{key}." for key in keys if any(r.given.get(key, "").startswith("{") for r in told))
    groups = [key for key in keys if not any(key in leaves for leaves in flat)]
    chosen = [tuple(str(_value(r, key)) for key in groups) for r in told]
    out = []
    for path in dict.fromkeys(p for leaves in flat for p in leaves):
        if path.startswith(UNSAID_OF) or path.endswith(("label", "name")) or path in keys:
            continue
        by_choice: dict[tuple[str, ...], set[str]] = {}
        for choice, leaves in zip(chosen, flat, strict=True):
            by_choice.setdefault(choice, set()).add(str(leaves.get(path)))
        if any(len(values) > 1 for values in by_choice.values()) and not path.startswith(whole):
            out.append(path)
    return out


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, below in node.items():
            yield from _leaves(below, f"{path}.{key}" if path else str(key))
    else:
        yield path, node
