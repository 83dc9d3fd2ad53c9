"""The troubled script, and sweeps that are killed on their way."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from escape_abm.interface.launch import launch
from escape_abm.runs import sweep
from escape_abm.runs.fingerprint import Experiment
from escape_abm.runs.jobs import load_task
from tests.runs.troubled import ROOT, TROUBLED, small


@pytest.fixture
def troubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the troubled experiment in this process, in a folder of its own; gives the exit code."""
    script = tmp_path / "script" / "troubled.py"
    script.parent.mkdir()
    script.write_text(TROUBLED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TROUBLE", str(tmp_path))

    def run(*words: str) -> Any:
        load_task.cache_clear()
        task = load_task(Experiment("troubled", script, "compare"))
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["troubled.py", *small(*words)])
        try:
            launch(task)
        except SystemExit as stopped:
            return stopped.code
        return 0

    run.script = script  # type: ignore[attr-defined]
    return run


@pytest.fixture
def inside(troubled: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As `troubled`, with the jobs of sweeps in this process too, which is quicker."""

    def submit(do: Callable[[Any], Any], batches: list[Any]) -> list[Future[Any]]:
        futures: list[Future[Any]] = [Future() for _ in batches]
        for future, batch in zip(futures, batches, strict=True):
            future.set_result(do(batch))
        return futures

    monkeypatch.setattr(sweep, "open_workers", lambda *_: nullcontext(SimpleNamespace(submit=submit)))

    def run(*words: str) -> Any:
        return troubled("workers=1", "pictures=false", *words)

    run.script = troubled.script  # type: ignore[attr-defined]
    return run


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("kills")
