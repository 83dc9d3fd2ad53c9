"""A trial beside what it published: estimators by weights, follow-up, strata, who is inside, the experiments."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from escape_abm import compose, run_trial
from escape_abm.figures.trials import forest
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.settings import DAYS_PER_MONTH
from escape_abm.inputs.trial import FollowUp, Published, Trial
from escape_abm.trials.comparison import COLUMNS, as_followed, chosen, compare, interval, resample
from escape_abm.trials.estimates import pairs_to_tell_apart, prevented, read, small_trials, tell_apart
from escape_abm.trials.readings import readings
from escape_abm.trials.survival import chance_of_none, patients_to_see_one, patients_to_tell_apart, proportion
from escape_abm.trials.weighted import weighted
from tests.engines.law_scores import FALSE_ALARM

ROOT = Path(__file__).parents[2]
FOLLOW_UP = FollowUp(shortest_months=3, median_months=6, longest_months=11)


@pytest.fixture(scope="module")
def patients() -> pd.DataFrame:
    changes = ["regimen.transplant.fraction=0.4", "cohort.negative_patients_fraction=0.3"]
    words = ["trial=none", "comparators=none", "cohort.size=150", "trajectories.patients=0", "workers=2"]
    return run_trial(compose([*words, *changes])).patients


def test_weights_count_as_repeated_patients(patients: pd.DataFrame) -> None:
    """Every endpoint at three times: the weighted estimate is that of the table with patients repeated."""
    rng = np.random.default_rng(1)
    drawn = resample(patients, Trial(size=25, follow_up=FOLLOW_UP), rng)
    weights, compared = rng.multinomial(25, np.full(len(drawn.patients), 1 / len(drawn.patients)), size=6), 0
    for name, reading in readings(drawn.patients).items():
        for day in (60.0, 150.0, 300.0):
            by_weight = weighted(reading, weights.astype(float), day)
            for w, found in zip(weights, by_weight, strict=True):
                repeated = drawn.patients.loc[np.repeat(np.arange(w.size), w)].reset_index(drop=True)
                expected = read(readings(repeated)[name], day).estimate
                assert found == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True), (name, day)
                compared += math.isfinite(expected)
    assert compared > 300


def test_nobody_is_known_beyond_follow_up(patients: pd.DataFrame) -> None:
    p = as_followed(patients, FOLLOW_UP, np.random.default_rng(1))
    end = FOLLOW_UP.longest_months * DAYS_PER_MONTH
    for column in ("day_last", "day_watched", "day_relapse", "day_death", "day_event", "day_transplant"):
        assert not (p[column] > end).any()
    assert (p["day_last"] <= patients["day_last"]).all()
    assert p["relapse"].sum() < patients["relapse"].sum()
    assert p.loc[p["relapse_kind"].notna(), "day_relapse"].notna().all()
    alive = patients["day_death"].isna() & patients["day_event"].isna()
    followed = p.loc[alive, "day_last"] / DAYS_PER_MONTH
    assert followed.median() == pytest.approx(FOLLOW_UP.median_months, abs=1.0)
    assert as_followed(patients, None, np.random.default_rng(1)).equals(patients)


def test_a_trial_of_the_same_law_is_inside(patients: pd.DataFrame) -> None:
    """Published by the model itself, figures fall inside as often as they should; shifted by 30 points they do not."""
    rng, inside, n = np.random.default_rng(5), [], 40
    real = Trial(name="x", size=n)
    for _ in range(60):
        trial = patients.iloc[rng.integers(0, len(patients), n)].reset_index(drop=True)
        found = read(readings(trial)["event_free_survival"], 12 * DAYS_PER_MONTH).estimate
        points = [_point("event_free_survival", 12, v) for v in (found, found - 0.3)]
        table = compare(patients, real.model_copy(update={"published": tuple(points)}), rng)
        inside.append(table["inside"].tolist())
    hits, shifted = np.array(inside, dtype=bool).sum(axis=0)
    assert stats.binom.sf(60 - hits - 1, 60, 0.06) > FALSE_ALARM  # at most 6 % outside: ties count as inside
    assert shifted < 10


@pytest.mark.statistical
@pytest.mark.parametrize("sd", [0.0, 0.6])
def test_trials_that_differ_are_inside_if_it_is_said(patients: pd.DataFrame, sd: float) -> None:
    """Trials whose odds differ (0.6, logit) lie inside intervals that hold it, and often outside others."""
    rng, n = np.random.default_rng(6), 300
    real, share = Trial(name="x", size=n), read(readings(patients)["event_free_survival"], 12 * DAYS_PER_MONTH).estimate
    odds = share / (1 - share) * np.exp(0.6 * rng.standard_normal(120))
    found = rng.binomial(n, odds / (1 + odds)) / n
    points = tuple(_point("event_free_survival", 12, v, n=n) for v in found)
    table = compare(patients, real.model_copy(update={"published": points}), rng, {"survival": sd, "remission": 9.0})
    inside = int(table["inside"].sum())
    if sd:
        assert stats.binom.sf(120 - inside - 1, 120, 0.06) > FALSE_ALARM
    else:
        assert inside < 90


def _point(endpoint: str, month: float | None, estimate: float, **more: object) -> Published:
    given = {"endpoint": endpoint, "month": month, "estimate": max(0.0, estimate), "source": "assumed", "n": 40} | more
    return Published(**given)  # type: ignore[arg-type]


def test_comparison_table(patients: pd.DataFrame) -> None:
    points = (
        _point("overall_survival", 6, 0.9, lower=0.8, upper=0.95),
        _point("overall_survival", 6, 0.9, stratum="transplanted"),
        _point("icans_grade_3_or_higher", None, 0.1, not_compared="ICANS is not modelled"),
        _point("relapse_cd19neg_cd22pos", None, 0.5),
    )
    trial = Trial(name="x", size=40, published=points, strata={"transplanted": "day_transplant.notna()"})
    table = compare(patients, trial, np.random.default_rng(1))
    assert tuple(table.columns) == COLUMNS
    assert len(table) == len(points)
    assert table["inside"].isna().tolist() == [False, False, True, False]
    assert table.loc[2, "note"] == "ICANS is not modelled"
    told = table[table["inside"].notna()]
    assert ((told["lower"] <= told["simulated"]) & (told["simulated"] <= told["upper"])).all()


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("day_transpant.notna()", "day_transpant"),
        ("day_last + 1", "yes or no"),
        ("burden >", "condition"),
        ("relapse = True", "condition"),  # which sets a column
        ("day_last = 3", "condition"),
        ("(day_last := 3)", "only columns"),
        ("@pd.io.common.os.mkdir('made')", "condition"),  # which pandas runs
        ("day_last.to_csv('made')", "only columns"),
        ("day_last.isna().to_csv('made')", "only columns"),
        ("relapse.__class__", "only columns"),
        ("9 ** 9 ** 9 > day_last", "only columns"),
    ],
)
def test_bad_conditions_are_refused(
    patients: pd.DataFrame, condition: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=told):
        chosen(patients, condition)
    assert list(tmp_path.iterdir()) == []


def test_what_conditions_may_say(patients: pd.DataFrame) -> None:
    p = patients
    for condition, who in (
        ("complete_remission and not relapse", p["complete_remission"] & ~p["relapse"]),
        ("relapse_kind.isin(['CD19-', 'antigen-negative'])", p["relapse_kind"].isin(
            ["CD19-", "antigen-negative"])),
        ("(day_last - 10) / 2 > 100 | relapse == True", ((p["day_last"] - 10) / 2 > 100) | p["relapse"]),
        ("day_last.between(100, 200)", p["day_last"].between(100, 200)),
        ("-day_last < -100", p["day_last"] > 100),
    ):  # fmt: skip
        assert chosen(p, condition).tolist() == who.fillna(False).tolist(), condition


@pytest.mark.parametrize("endpoint", ["complete_remission", "relapse"])
def test_a_stratum_in_which_nothing_varied_says_so(patients: pd.DataFrame, endpoint: str) -> None:
    strata = {"responders": "complete_remission and relapse"}
    trial = Trial(name="x", size=40, published=(_point(endpoint, None, 1.0, stratum="responders"),), strata=strata)
    (line,) = compare(patients, trial, np.random.default_rng(1)).itertuples()
    n = int(chosen(patients, strata["responders"]).sum())
    assert line.note == f"no virtual patient differs from another: {n} count"
    assert line.lower < line.upper == 1  # rare among so few, not impossible
    assert 1 - line.simulated < 1 / n
    nobody = trial.model_copy(update={"strata": {"responders": "day_last < 0"}})
    (line,) = compare(patients, nobody, np.random.default_rng(1)).itertuples()
    assert line.note.startswith("no verdict")
    assert "0 virtual patients count" in line.note


@pytest.mark.parametrize(("estimate", "good"), [(0.89, True), (0.895, True), (0.9, False), (0.88, False), (0.5, False)])
def test_events_must_give_the_estimate(estimate: float, good: bool) -> None:
    """34 of 38 are 0.8947: right within the rounding of what is given."""
    given = {"events": 34, "n": 38}
    if good:
        _point("complete_remission", None, estimate, **given)
        return
    with pytest.raises(ValueError, match=r"events=34 of n=38 are 0\.8947"):
        _point("complete_remission", None, estimate, **given)


def test_intervals_that_were_not_published_are_derived() -> None:
    point = _point("complete_remission", None, 0.9, events=36)
    assert interval(point) == proportion(36, 40)[1:3]
    assert interval(point.model_copy(update={"lower": 0.8})) == (0.8, None)
    assert interval(point.model_copy(update={"events": None})) == (None, None)


def test_a_citation_is_a_source() -> None:
    cited = "Smith 2025, Blood 145:100"
    assert _point("overall_survival", 12, 0.5, source=cited).source == cited


def test_bad_published_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'overall_survival'"):
        _point("overal_survival", 12, 0.5)
    with pytest.raises(ValueError, match="not a fraction"):
        _point("overall_survival", 12, 50)
    with pytest.raises(ValueError, match="not defined in strata"):
        Trial(size=10, published=(_point("overall_survival", 12, 0.5, stratum="rich"),))
    with pytest.raises(ValueError, match="n=40 is more than size=38"):
        Trial(size=38, published=(_point("overall_survival", 12, 0.5),))
    with pytest.raises(ValueError, match="they must rise"):
        FollowUp(shortest_months=9, median_months=6, longest_months=12)


def test_small_trials() -> None:
    """0 of 10 responders when the true rate is 16 %: one trial in six sees none."""
    assert chance_of_none(0.16, 10) == pytest.approx(0.1749, abs=1e-4)
    assert patients_to_see_one(0.16) == 18
    table = small_trials([0.16], [10, 100])
    assert table["chance_of_none"].tolist() == pytest.approx([0.84**10, 0.84**100])


def test_sample_sizes_have_their_power() -> None:
    """By simulation: with the number of patients that is said, four trials in five see the difference."""
    rng, trials = np.random.default_rng(3), 4000
    one, other = 0.3, 0.2
    n = int(patients_to_tell_apart(one, other))
    a, b = rng.binomial(n, one, trials) / n, rng.binomial(n, other, trials) / n
    pooled = (a + b) / 2
    power = np.mean(np.abs(a - b) > 1.96 * np.sqrt(2 * pooled * (1 - pooled) / n))
    assert power == pytest.approx(0.8, abs=0.03)
    n = int(pairs_to_tell_apart(0.2, 0.1))
    pairs = rng.multinomial(n, [0.2, 0.1, 0.7], trials)
    z = (pairs[:, 0] - pairs[:, 1]) / np.sqrt(pairs[:, 0] + pairs[:, 1])
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.03)
    assert patients_to_tell_apart(0.1, 0.1) == math.inf
    assert pairs_to_tell_apart(0.1, 0.1) == math.inf


def test_what_another_product_would_have_prevented() -> None:
    words = ["trial=none", "product=cd19_fmc63", "cohort.size=60", "trajectories.patients=0", "workers=2"]
    p = run_trial(compose([*words, "comparators=none", "+product@comparators.b=cotransduced"])).patients
    table = prevented(p, "cd19_fmc63").set_index("mechanism")
    first, other = (p[p["arm"] == arm].set_index("patient") for arm in ("cd19_fmc63", "cotransduced"))
    assert table.loc["any", "relapses"] == first["relapse"].sum()
    by_hand = (first["relapse"] & other["day_event"].isna()).sum()
    assert table.loc["any", "prevented"] == by_hand
    assert table.drop("any")["relapses"].sum() == table.loc["any", "relapses"]
    assert table.drop("any")["prevented"].sum() == table.loc["any", "prevented"]
    line = tell_apart(p, "cd19_fmc63").iloc[0]
    assert line["reference_share"] == (first["relapse_kind"] == "antigen-negative").fillna(False).mean()


@pytest.mark.slow
def test_the_experiment_over_two_trials(tmp_path: Path) -> None:
    """A sweep over two trials leaves a run for each, one table and one figure."""
    script = str(ROOT / "experiments" / "trial.py")
    done = subprocess.run(
        [sys.executable, script, "-m", "trial=auto1_22,b019", "cohort.size=60", f"hydra.sweep.dir={tmp_path / 's'}"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "s" / "comparison.csv")
    assert set(table["trial"]) == {"auto1_22", "b019"}
    assert (tmp_path / "s" / "figures" / "forest.png").stat().st_size > 1000
    for job in ("0", "1"):
        there = {p.name for p in (tmp_path / "s" / job).iterdir()}
        assert {"comparison.csv", "summary.csv", "patients.parquet", "provenance.json"} <= there


@pytest.mark.slow
def test_the_counterfactual_experiment(tmp_path: Path) -> None:
    script = str(ROOT / "experiments" / "counterfactual.py")
    words = ["trial=none", "product=cd19_fmc63", "cohort.size=40", f"hydra.run.dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, script, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    there = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"prevented.csv", "tell_apart.csv", "small_trials.csv", "patients.parquet", "provenance.json"} <= there
    assert (tmp_path / "run" / "figures" / "prevented.png").stat().st_size > 1000


def test_no_verdict_without_patients_or_over_everything(patients: pd.DataFrame) -> None:
    """Two virtual patients, or an interval from 0 to 1, are neither inside nor outside."""
    three = patients["burden_cells"].nsmallest(3).iloc[-1]
    strata = {"two": f"burden_cells < {three}", "some": "burden_cells > 0"}
    points = (
        _point("complete_remission", None, 0.5, stratum="two", n=2),
        _point("relapse_antigen_negative", None, 0.4, n=2),
        _point("complete_remission", None, 0.9, stratum="some", n=2),
    )
    trial = Trial(name="x", size=2, published=points, strata=strata)
    table = compare(patients, trial, np.random.default_rng(1))
    assert table["inside"].isna().tolist()[:2] == [True, True]
    assert "2 virtual patients count" in table["note"][0]
    assert table["note"][1] == "no verdict: a trial of this size may find anything from 0 to 1"
    assert (table["lower"][1], table["upper"][1]) == (0, 1)
    drawn, _ = forest(table.assign(inside=table["inside"].where(table.index < 2, True)), {"x": "X"})
    assert sum(t.get_text().endswith("1 of 1 inside") for ax in drawn.axes for t in ax.texts) == 1
