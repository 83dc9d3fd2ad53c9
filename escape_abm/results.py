"""What a run leaves behind: one folder, complete or absent.

Files are written into a hidden folder beside their place and moved at the end, `provenance.json` last. A folder without
it is not a finished run.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from escape_abm import __version__
from escape_abm.figures import save
from escape_abm.parameters import InputError
from escape_abm.settings import Settings

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
)


def provenance(settings: Settings, wall_seconds: float, ended: str) -> dict[str, Any]:
    """How a run was made: versions, commit, seed, settings, time, and how it ended."""
    libraries = {}
    for name in LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            libraries[name] = "not installed"
    return {
        "package": "escape_abm",
        "version": __version__,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", ":/escape_abm", ":/conf", ":/experiments")),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": libraries,
        "seed": settings.seed,
        "wall_seconds": round(wall_seconds, 3),
        "ended": ended,
        "settings": settings.model_dump(mode="json"),
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


def write_run(
    folder: Path,
    settings: Settings,
    tables: dict[str, pd.DataFrame],
    figures: dict[str, tuple[Figure, pd.DataFrame]],
    wall_seconds: float,
    others: dict[str, Callable[[Path], Any]] | None = None,
) -> None:
    """Write tables, figures (each with the table that it drew) and provenance into the folder of a run.

    Args:
        folder: Where; made if it is not there.
        settings: What was run.
        tables: File name (.csv or .parquet) to table.
        figures: Name to (figure, table).
        wall_seconds: How long the run took.
        others: File name to what writes it, for files of other kinds.

    Raises:
        InputError: the folder already holds a finished run.
    """
    if (folder / "provenance.json").exists():
        raise InputError(f"{folder} already holds a finished run: choose another hydra.run.dir, or delete it")
    about = json.dumps(provenance(settings, wall_seconds, "completed"), indent=1) + "\n"
    last = {"provenance.json": lambda path: path.write_text(about, encoding="utf-8")}
    write_tables(folder, tables, figures, (others or {}) | last)


def write_tables(
    folder: Path,
    tables: dict[str, pd.DataFrame],
    figures: dict[str, tuple[Figure, pd.DataFrame]],
    others: Mapping[str, Callable[[Path], Any]] | None = None,
) -> None:
    """Write tables, figures and other files beside their place, then move all of them there, the last of them last."""
    part = folder / ".partial"
    shutil.rmtree(part, ignore_errors=True)
    (part / "figures").mkdir(parents=True)
    for name, table in tables.items():
        if name.endswith(".parquet"):
            table.to_parquet(part / name, index=False)
        else:
            table.to_csv(part / name, index=False)
    for name, (figure, table) in figures.items():
        table.to_csv(part / "figures" / f"{name}.csv", index=False)
        save(figure, part / "figures" / name)
    for name, write in (others or {}).items():
        write(part / name)
    for item in sorted(part.iterdir(), key=lambda p: p.name == "provenance.json"):
        os.replace(item, folder / item.name)
    part.rmdir()
