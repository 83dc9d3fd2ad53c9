"""The same tables whatever the processor: what NumPy finds in it is switched off, and no byte differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[1] / "experiments"
FOUND = np.show_config(mode="dicts")["SIMD Extensions"]["found"]  # type: ignore[call-overload]
COMMANDS = (
    ["compare_products", "cohort.size=24"],
    ["trial", "trial=eliana", "cohort.size=24"],
)


def tables(place: Path, command: list[str], without: list[str]) -> dict[str, str]:
    """SHA-256 of each table of a run in a process whose NumPy goes without these features of the processor."""
    name, *words = command
    line = [sys.executable, str(SCRIPTS / f"{name}.py"), *words, "workers=1", "--quiet", f"hydra.run.dir={place}"]
    subprocess.run(line, check=True, env=os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(without)})
    files: dict[str, str] = json.loads((place / "provenance.json").read_text(encoding="utf-8"))["files"]
    return {file: digest for file, digest in files.items() if file.endswith((".csv", ".parquet"))}


@pytest.mark.skipif(not FOUND, reason="NumPy finds nothing here that it could go without")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_no_byte_depends_on_what_numpy_finds_in_the_processor(command: list[str], tmp_path: Path) -> None:
    every = tables(tmp_path / "every", command, [])
    assert {"patients.parquet", "summary.csv"} <= every.keys()
    assert tables(tmp_path / "none", command, FOUND) == every
