"""The identity of a run as a short name: its settings, its code, and the libraries that affect its bytes.

The name ends the name of its folder, so the file system is the index: a run is found by its folder name, and no index
can go stale. The number of patients is kept apart, since a longer run begins with the patients of a shorter one.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from escape_abm.inputs.settings import Settings
from escape_abm.runs.provenance import is_finished, read_provenance

LIBRARIES = ("numpy", "numba", "scipy", "pandas", "pyarrow", "mesa", "scikit-learn", "emcee")
BESIDE = frozenset(["exchange", "figures", "runs", "interface"])
"""Packages that translate, draw, keep and ask, and so move no table. All else counts: a new package too."""
FILM = "figures/marrow.py"
"""Counts all the same: a run of the marrow is its film."""
NAME = re.compile(r"_n(?P<size>\d+)_(?P<settings>[0-9a-f]{8})_(?P<code>[0-9a-f]{6})$")


class Experiment(NamedTuple):
    """A script in experiments/ and its task, by name: a worker elsewhere imports it from there."""

    name: str
    script: Path
    task: str


class Identity(NamedTuple):
    """What a run is. `parts` is what it was made of in full, to tell what changed."""

    experiment: Experiment
    size: int
    settings: str
    code: str
    parts: dict[str, Any]

    @property
    def name(self) -> str:
        """The end of the name of its folder."""
        return f"n{self.size}_{self.settings}_{self.code}"


class Earlier(NamedTuple):
    """What there is of a run already, in folders of its experiment."""

    finished: Path | None = None
    """The run itself."""
    unfinished: Path | None = None
    """The run itself, stopped before it was finished."""
    same: Path | None = None
    """The same run with another number of patients: the most there are."""
    other: Path | None = None
    """A finished run of the same settings, by other code or libraries: the latest."""


def identify(experiment: Experiment, settings: Settings) -> Identity:
    """The identity of a run of an experiment; its number of processes is no part of it."""
    plain = settings.model_dump(mode="json", exclude={"workers": True, "cohort": {"size"}})
    code = code_of(experiment.script)
    own = _digest(json.dumps([experiment.name, plain], sort_keys=True).encode())
    made = _digest(json.dumps(code, sort_keys=True).encode())
    return Identity(experiment, settings.cohort.size, own[:8], made[:6], {"settings": own, **code})


def moves_results(module: Path) -> bool:
    """Whether tables depend on a module of the package."""
    package = module.parent.name
    return package not in BESIDE or f"{package}/{module.name}" == FILM


@cache
def code_of(script: Path) -> dict[str, Any]:
    """Digests of the code and data that results depend on, and versions of the libraries that move bytes."""
    here = Path(__file__).parents[1]
    files = [*sorted(p for p in here.glob("*/*.py") if moves_results(p)), *sorted(here.glob("*.csv"))]
    # A script may be named as a module.
    ours = {f"{here.name}/{p.relative_to(here).as_posix()}": _digest(p.read_bytes())[:16] for p in files}
    return {
        "code": ours | {script.name: _digest(script.read_bytes())[:16]},
        "libraries": {name: library(name) for name in LIBRARIES},
        "python": ".".join(platform.python_version_tuple()[:2]),
    }


def name_of(files: Iterable[Path]) -> str:
    """A short name of the content of files."""
    return _digest(b"".join(_digest(file.read_bytes()).encode() for file in sorted(files)))[:8]


@cache
def library(name: str) -> str:
    """The version of an installed library."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names of what differs between the parts of two identities: files, libraries with versions, Python."""
    one, two = before.get("code", {}), now["code"]
    out = [name for name in sorted({*one, *two}) if one.get(name) != two.get(name)]
    for name, has in now["libraries"].items():
        if (had := before.get("libraries", {}).get(name)) != has:
            out.append(f"{name} {had} -> {has}")
    if before.get("python") != now["python"]:
        out.append(f"Python {before.get('python')} -> {now['python']}")
    return out


class Index:
    """The runs of an experiment by the names of their folders: date, then run, or a sweep and in it runs."""

    def __init__(self, roots: Iterable[Path]) -> None:
        """Look once; a folder that is not there holds no runs."""
        self._found: dict[str, list[tuple[Path, int, str]]] = {}
        for root in roots:
            for place in _folders(root, 3):
                if known := NAME.search(place.name):
                    line = (place, int(known["size"]), known["code"])
                    self._found.setdefault(known["settings"], []).append(line)

    def look(self, identity: Identity, pictures: bool = False) -> Earlier:
        """What there is of a run already; with pictures, one without them only lends its patients."""
        out = Earlier()
        best = 0
        for place, size, code in sorted(self._found.get(identity.settings, [])):
            finished = is_finished(place)
            if code != identity.code:
                out = out._replace(other=place) if finished else out
            elif finished and size == identity.size and (not pictures or read_provenance(place).get("pictures")):
                out = out._replace(finished=place)
            elif finished:
                if size > best and best < identity.size:
                    out, best = out._replace(same=place), size
            elif size == identity.size and "_sweep" not in place.parent.name:  # a sweep goes on with its own
                out = out._replace(unfinished=place)
        return out


def _folders(root: Path, depth: int) -> list[Path]:
    """Folders below one, without those inside runs."""
    try:
        with os.scandir(root) as entries:
            names = [e.name for e in entries if not e.name.startswith(".") and e.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    out = [root / name for name in names]
    if depth > 1:
        out += [p for q in out if not NAME.search(q.name) for p in _folders(q, depth - 1)]
    return out


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
