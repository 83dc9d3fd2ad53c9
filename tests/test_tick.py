"""The rule for the length of ticks: halving it moves no endpoint by more than its Monte Carlo error at 2,000 patients.

The same 2,000 patients are treated at the default tolerance and at half of it. An endpoint breaks the rule if the paired
difference is significantly larger than its Monte Carlo standard error at 2,000 patients: by the chance FALSE_ALARM over all
endpoints together if every difference is just as large as allowed, and less often if they are smaller.

What this can see: the CAR T peak is known to 0.001 log10 here, so a shift of 0.02 is rejected. Remission and MRD are known to
about 0.2 percentage points, so shifts of 1.5 points are rejected. Which clone a patient has is luck, and luck is another one
once ticks differ, so relapses of a kind differ by about 0.7 points between two runs of the very same law: only shifts above 3 to 4
points are sure to be rejected. For these, the courses in `benchmarks/tick_accuracy.py`, free of chance, say more.
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

from escape_abm.parameters import Biology
from escape_abm.settings import Engine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
tick_accuracy: Any = importlib.import_module("tick_accuracy")

PATIENTS = 2000
PRODUCT = ("cd19_fmc63",)
FALSE_ALARM = 1e-3
ENDPOINTS = (*tick_accuracy.SHARES, "log10_car_t_peak", "day_car_t_peak", "day_relapse")
BREAKS_THE_RULE = {
    "log10_car_t_peak": "surroundings are frozen at the start of a tick, an error of first order: halving the tick lowers the peak "
    "by 0.04 log10, about twice its Monte Carlo error",
}

pytestmark = [pytest.mark.statistical, pytest.mark.slow]


@cache
def outcomes(tolerance: float, faster_division: float = 1.0) -> pd.DataFrame:
    biology = Biology()
    division = biology.car_t.effector_division_per_day * faster_division
    car_t = biology.car_t.model_copy(update={"effector_division_per_day": division})
    changed = biology.model_copy(update={"car_t": car_t})
    return tick_accuracy.trial_outcomes(tolerance, PATIENTS, 2, PRODUCT, changed)  # type: ignore[no-any-return]


def excess(coarse: pd.DataFrame, fine: pd.DataFrame) -> pd.Series[float]:
    """How far each difference is above what is allowed and what chance explains; above 0: the rule is broken."""
    table = tick_accuracy.compare(coarse, fine).set_index("endpoint")
    z = stats.norm.isf(FALSE_ALARM / len(ENDPOINTS))
    allowed = table["monte_carlo_error_at_2000"] + z * table["standard_error"]
    return table["difference"].abs() - allowed


@pytest.mark.parametrize(
    "endpoint",
    [
        pytest.param(e, marks=pytest.mark.xfail(reason=BREAKS_THE_RULE[e], strict=True)) if e in BREAKS_THE_RULE else e
        for e in ENDPOINTS
    ],
)
def test_halving_the_tick_moves_no_endpoint_by_more_than_its_monte_carlo_error(endpoint: str) -> None:
    default = Engine().tolerance
    assert excess(outcomes(default), outcomes(default / 2))[endpoint] <= 0


def test_a_division_rate_that_is_ten_per_cent_off_breaks_the_rule() -> None:
    """Ten per cent faster division of effectors is about what too long a tick does to a course."""
    default = Engine().tolerance
    assert excess(outcomes(default, 1.1), outcomes(default)).max() > 0
