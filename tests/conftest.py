"""Patients, products and settings that many tests use, built as a user would build them."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from escape_abm import compose
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import Patient, sample_patient
from escape_abm.inputs.products import Product
from escape_abm.inputs.regimen import Regimen
from escape_abm.inputs.settings import Settings

SLOWEST_FIRST = (
    "test_sweeps", "test_engines", "test_verification", "test_tick", "test_wrong_hazards", "test_found_again",
    "test_designs", "test_second_products", "test_virtual_trial", "test_calibration", "test_memory", "test_survival",
)  # fmt: skip
"""Files that take long: begun first, so that at the end no worker waits for another's long file."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files; each is run by one worker (`--dist loadfile`), so that runs which its tests share are made once."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    rank = {name: i for i, name in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session")
def settings() -> Settings:
    """All default products on the default cohort, with the values of the parameter rows.

    What is tested with them is the code, which no later calibration may move.
    """
    return compose(["trial=none", "biology=starting_fit", "clinic=standard"])


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a script of experiments/ in this process, in an empty folder; gives what it says when it stops early."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *words: str) -> str:
        script = str(Path(__file__).parents[1] / "experiments" / f"{name}.py")
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", [script, *words])
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as stopped:
            return str(stopped.code)
        return ""

    return run


@pytest.fixture(scope="session")
def products(settings: Settings) -> dict[str, Product]:
    """Every default arm by name."""
    return {arm.name: arm for arm in settings.arms}


@pytest.fixture(scope="session")
def make_patient(settings: Settings) -> Callable[[int], Patient]:
    """Patient number i of seed 1."""
    return lambda i: sample_patient(i, 1, settings.cohort, settings.biology)


@pytest.fixture(scope="session")
def clinic() -> Clinic:
    """The default clinical definitions."""
    return Clinic()


@pytest.fixture(scope="session")
def regimen() -> Regimen:
    """The default regimen."""
    return Regimen()
