"""Patients, products and settings that many tests use, built as a user would build them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from escape_abm import compose
from escape_abm.clinic import Clinic
from escape_abm.cohort import Patient, sample_patient
from escape_abm.products import Product
from escape_abm.regimen import Regimen
from escape_abm.settings import Settings


@pytest.fixture(scope="session")
def settings() -> Settings:
    """All default products on the default cohort, without the trial's own choices."""
    return compose(["trial=none"])


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
