"""Medians of curves by weights, the number of patients of one figure, and what a trial file may leave out."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from escape_abm.inputs.checks import InputError, check
from escape_abm.inputs.trial import FollowUp, Published, Trial
from escape_abm.trials.comparison import compare, resample
from escape_abm.trials.estimates import months_of
from escape_abm.trials.readings import Reading, readings
from escape_abm.trials.weighted import weighted_median_days
from tests.trials.test_comparison import patients  # noqa: F401  (a fixture)

EVERYONE = np.ones(4, dtype=bool)


def by_hand(days: list[float], died: list[int], of: np.ndarray = EVERYONE) -> Reading:
    return Reading(of, np.array(died), np.array(days), survival=True)


@pytest.mark.parametrize(
    ("days", "died", "weights", "median"),
    [
        ([10, 20, 30, 40], [1, 1, 1, 1], [1, 1, 1, 1], 20),  # at exactly one half from day 20 to 30: the first day
        ([10, 20, 30, 40], [1, 1, 1, 1], [1, 2, 1, 1], 20),
        ([10, 20, 30, 40], [1, 1, 1, 1], [1, 0, 2, 2], 30),
        ([10, 20, 30, 40], [0, 1, 0, 0], [1, 1, 1, 1], math.inf),  # 2 of 3 are left
        ([10, 20, 30, 40], [0, 0, 1, 1], [1, 1, 1, 1], 30),
    ],
)
def test_medians_of_curves(days: list[float], died: list[int], weights: list[int], median: float) -> None:
    assert weighted_median_days(by_hand(days, died), np.array([weights], dtype=float)).tolist() == [median]
    nobody = by_hand(days, died, ~EVERYONE)
    assert np.isnan(weighted_median_days(nobody, np.array([weights], dtype=float))).all()


def test_sevenths_are_one_half_too() -> None:
    """6/7 x 5/6 x 4/5 ... is not 1/2 in floats where it is by hand."""
    n = 14
    reading = Reading(np.ones(n, dtype=bool), np.ones(n, dtype=int), np.arange(1.0, n + 1), survival=True)
    assert weighted_median_days(reading, np.ones((1, n))).tolist() == [7]


def test_published_medians_are_compared(patients: pd.DataFrame) -> None:  # noqa: F811
    """In months; one that was not reached by some month is inside if trials can be above that too."""
    strata = {"failing": "not complete_remission", "well": "complete_remission"}
    given = {"source": "assumed", "n": 40}
    points = (
        Published(endpoint="median_event_free_survival_months", stratum="failing", estimate=28 / 30.4375, **given),
        Published(endpoint="median_event_free_survival_months", stratum="failing", estimate=9, **given),
        Published(endpoint="median_overall_survival_months", stratum="well", estimate=10, reached=False, **given),
        Published(endpoint="median_overall_survival_months", stratum="failing", estimate=300, reached=False, **given),
    )
    table = compare(patients, Trial(name="x", size=40, published=points, strata=strata), np.random.default_rng(1))
    assert table["inside"].tolist() == [True, False, True, False]
    assert table["simulated"][0] == pytest.approx(28 / 30.4375, abs=0.1)
    assert table["upper"][2] == math.inf


@pytest.mark.parametrize("estimate", [0, -3])
def test_medians_are_above_zero(estimate: float) -> None:
    """And only they can be not reached."""
    with pytest.raises(InputError, match="is for median_overall_survival_months"):
        check(Published, {"endpoint": "relapse", "estimate": 0.5, "source": "assumed", "reached": False})
    with pytest.raises(InputError, match="give a time above 0; if it was not reached"):
        check(Published, {"endpoint": "median_overall_survival_months", "estimate": estimate, "source": "assumed"})


@pytest.mark.statistical
@pytest.mark.parametrize("n", [12, 60])
def test_a_figure_is_of_as_many_as_it_says(patients: pd.DataFrame, n: int) -> None:  # noqa: F811
    """Shares of n who count vary as a binomial of n, whatever the size of the trial."""
    reading = readings(patients)["complete_remission"]._replace(of=np.arange(len(patients)) % 2 == 0)
    drawn = resample(patients, Trial(name="x", size=200), np.random.default_rng(1))
    found = drawn.read(reading, [0.0], np.random.default_rng(2), size=n)[0]
    had = reading.cause[reading.of] == 1
    share = (had.sum() + 0.5) / (had.size + 1)
    assert set(np.round(found * n, 9) % 1) == {0.0}
    limit = stats.norm.isf(1e-4 / 2)
    assert abs(found.mean() - share) < limit * math.sqrt(share * (1 - share) / n / found.size)
    ratio = found.var() / (share * (1 - share) / n)  # of 1,000 draws: a standard error of at most 7 %
    assert abs(ratio - 1) < limit * math.sqrt((2 + 1 / (n * share * (1 - share))) / found.size)
    whole = drawn.read(reading, [0.0], np.random.default_rng(2))[0]  # about 100 of a trial of 200
    assert abs(whole.var() / (share * (1 - share) / 100) - 1) < 0.3
    assert abs(whole.var() / (share * (1 - share) / n) - 1) > 0.3


def test_follow_up_by_its_median_alone() -> None:
    assert check(FollowUp, {"median_months": 9}) == FollowUp(shortest_months=0, median_months=9, longest_months=18)
    assert check(FollowUp, {"median_months": 9, "shortest_months": 4}).longest_months == 14
    for wrong in ({"median_months": 9, "longest_months": 8}, {"median_months": "long"}, {"shortest_months": 3}):
        with pytest.raises(InputError):
            check(FollowUp, wrong)


def test_one_source_of_all_results() -> None:
    points = [{"endpoint": "complete_remission", "estimate": 0.8}, {"endpoint": "mrd_negative", "estimate": 0.7}]
    cited = [points[0], points[1] | {"source": "assumed"}]
    trial = check(Trial, {"size": 20, "source": "Smith 2025, Blood 145:100", "published": cited})
    assert [p.source for p in trial.published] == ["Smith 2025, Blood 145:100", "assumed"]
    with pytest.raises(InputError, match="source"):
        check(Trial, {"size": 20, "published": points})
    with pytest.raises(InputError, match="source"):
        check(Trial, {"size": 20, "source": "mispelt", "published": points})


def test_months() -> None:
    assert months_of(12) == (1, 3, 6, 12)
    assert months_of(2) == (1,)
    assert months_of(30) == (1, 3, 6, 12, 18, 24)
