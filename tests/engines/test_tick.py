"""The rule for the length of ticks: halving it moves no endpoint by more than its Monte Carlo error at 2,000 patients.

The same 2,000 patients are treated at the default tolerance and at half of it. An endpoint breaks the rule if the
paired difference is significantly larger than the endpoint's Monte Carlo standard error at 2,000 patients. If every
difference were just as large as allowed, some endpoint would fail with the chance FALSE_ALARM; if smaller, more rarely.

What this can see (Monte Carlo error and 3.7 standard errors of the difference): the CAR T peak moves by 0.002 log10,
known to 0.0002, and a shift above 0.018 is rejected. Hardly a patient changes remission or MRD, so shifts above 0.7 and
0.9 percentage points are rejected; 1.2 for antigen-positive relapse. Which clone a patient has is luck, and it is
another luck once ticks differ: the share of antigen-negative relapses differs by 0.6 to 0.8 points (one standard error)
between two runs of the very same law, so that only shifts above 3 points are rejected, of failures too, and above 0.7
points of lineage switches, six in a thousand at most. For these the courses in `benchmarks/tick_accuracy.py`, which are
free of chance, say more.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from escape_abm.figures import checks
from escape_abm.inputs.biology import Biology
from escape_abm.inputs.settings import Engine

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
tick_accuracy: Any = importlib.import_module("tick_accuracy")

PATIENTS = 2000
FEWER_PATIENTS = 500
"""Enough to notice a wrong rate."""
PRODUCT = ("cd19_fmc63",)
FALSE_ALARM = 1e-3
ENDPOINTS = (*checks.SHARES, *checks.AMOUNTS)

pytestmark = [pytest.mark.statistical, pytest.mark.slow]


@cache
def outcomes(tolerance: float, patients: int = PATIENTS, faster_division: float = 1.0) -> pd.DataFrame:
    biology = Biology()
    division = biology.car_t.effector_division_per_day * faster_division
    car_t = biology.car_t.model_copy(update={"effector_division_per_day": division})
    changed = biology.model_copy(update={"car_t": car_t})
    return tick_accuracy.trial_outcomes(tolerance, patients, 2, PRODUCT, changed)  # type: ignore[no-any-return]


def excess(coarse: pd.DataFrame, fine: pd.DataFrame) -> pd.Series[float]:
    """How far each difference is above what is allowed and what chance explains; above 0: the rule is broken."""
    table = tick_accuracy.compare(coarse, fine).set_index("endpoint")
    z = stats.norm.isf(FALSE_ALARM / len(ENDPOINTS))
    allowed = table["monte_carlo_error_at_2000"] + z * table["standard_error"]
    over: pd.Series[float] = table["difference"].abs() - allowed
    return over


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_halving_the_tick_moves_no_endpoint_by_more_than_its_monte_carlo_error(endpoint: str) -> None:
    default = Engine().tolerance
    assert excess(outcomes(default), outcomes(default / 2))[endpoint] <= 0


def test_a_division_rate_that_is_ten_per_cent_off_breaks_the_rule() -> None:
    """The first patients again, whose effectors divide faster."""
    default = Engine().tolerance
    wrong = outcomes(default, FEWER_PATIENTS, 1.1)
    right = outcomes(default)
    same = right[right.index.get_level_values("patient") < FEWER_PATIENTS]
    assert excess(wrong, same).max() > 0
