"""Calibration: the emulator finds a known surface, the likelihood is as stated, posteriors cover what made the data."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from escape_abm.evidence import calibration
from escape_abm.evidence.emulator import Emulator, features, fit_emulator
from escape_abm.evidence.left_out import leave_one_out
from escape_abm.evidence.posterior import sample_posterior
from escape_abm.evidence.sensitivity import COLUMNS, ENDPOINTS, all_alike, indices
from escape_abm.evidence.targets import (
    SPREADS,
    Data,
    Free,
    design,
    free_parameters,
    log_likelihood_of_run,
    own_seed,
    published,
    simulate,
    targets_of,
)
from escape_abm.figures import fits
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.rows import replace
from escape_abm.inputs.settings import Settings
from escape_abm.interface.composition import compose

Floats = NDArray[np.float64]

ROOT = Path(__file__).parents[2]
FALSE_ALARM = 1e-4
SHARE, MEDIAN = np.array([True]), np.array([False])


# ------------------------------------------------------------------------------------------------------ coverage


@pytest.mark.statistical
@pytest.mark.parametrize("sd", [0.0, 0.8])
def test_differences_between_trials_are_found(sd: float) -> None:
    """40 trials of 200 patients whose logits differ by this standard deviation about a known share, in one family.

    In another family trials do not differ, and that is found too.
    """
    rng, none = np.random.default_rng(4), np.full(80, math.nan)
    differ = np.repeat([sd, 0.0], 40)
    events = rng.binomial(200, expit(-0.4 + differ * rng.standard_normal(80))).astype(float)
    spread = np.repeat([SPREADS.index("crs"), SPREADS.index("remission")], 40)
    data = Data(events, np.full(80, 200.0), none, none, np.ones(80), np.ones(80, dtype=bool), spread)
    flat = Emulator(np.full(80, -0.4), np.zeros((80, 2)), np.zeros(80), data.is_share)
    found = sample_posterior(flat, data, 1, (0.0, 1.5), 1, steps=400, draws=400).between_trials_sd
    assert found.shape == (400, len(SPREADS))
    error = 0.8 / math.sqrt(2 * 40) if sd else 0.1  # of a standard deviation from 40; sampling alone has 0.15 of each
    limit = stats.norm.isf(FALSE_ALARM / 2)
    assert abs(np.median(found[:, SPREADS.index("crs")]) - sd) < limit * error
    assert np.median(found[:, SPREADS.index("remission")]) < limit * 0.1


TWO = (Free("a", 0.0, 1.0, False), Free("b", 1.0, 100.0, True))


def coverage(distrust: float, replicates: int = 60) -> float:
    """Of trials simulated at parameters drawn from the prior: how often the 80 % intervals hold those.

    `distrust` multiplies the published numbers of patients in the likelihood: 1 is right.
    """
    x = design(256, 2, 1)
    slopes = np.array([[1.5, -0.8], [-1.0, -1.2], [0.3, 1.6]])  # three endpoints
    rng = np.random.default_rng(3)

    def logits(places: Floats) -> Floats:
        return -0.4 + (2 * places - 1) @ slopes.T

    n = np.full((len(x), 3), 40.0)
    emulator = fit_emulator(x, rng.binomial(40, expit(logits(x))) / 40, n, np.ones(3, dtype=bool))
    held, none = 0, np.full(3, math.nan)
    for i in range(replicates):
        truth = rng.random(2)
        patients = np.array([25, 60, 100])
        events = rng.binomial(patients, expit(logits(truth[None]))[0])
        n = distrust * patients
        data = Data(distrust * events, n, none, none, np.ones(3), np.ones(3, dtype=bool), np.zeros(3, dtype=int))
        found = sample_posterior(emulator, data, 2, (0.0, 0.0), i, steps=160, draws=400)
        low, high = np.percentile(found.x, [10, 90], axis=0)
        held += int(((low <= truth) & (truth <= high)).sum())
    return held / (2 * replicates)


@pytest.mark.statistical
@pytest.mark.slow
def test_posteriors_cover_what_made_the_data() -> None:
    """80 % of 80 % intervals hold the truth; were the trials taken to be nine times as large, far fewer would."""
    n = 120
    error = math.sqrt(2 * 0.8 * 0.2 / n)  # two parameters of one data set are not independent: at worst, half of them
    limit = stats.norm.isf(FALSE_ALARM / 2)
    assert abs(coverage(1.0) - 0.8) < limit * error
    assert coverage(9.0) < 0.8 - limit * error


# ----------------------------------------------------------------------------------------------------- the whole fit

SMALL = (
    "calibration.waves=[24,6]", "calibration.patients=5", "calibration.steps=200", "calibration.draws=50",
    "workers=2", "calibration.last_patients=6", "calibration.confirmed=2", "calibration.confirmed_patients=5",
    "calibration.finalists=2", "calibration.finalist_patients=5", "calibration.left_out_draws=2",
    "calibration.left_out_patients=10",
    "calibration.trials=[cd22_fry,tisagenlecleucel_real_world]",
)  # fmt: skip


def small(*more: str) -> tuple[Settings, dict[str, Settings]]:
    settings = compose([*SMALL, *more], "calibrate")
    assert settings.calibration is not None
    return settings, {name: compose([f"trial={name}"], "published") for name in settings.calibration.trials}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[calibration.Fit, Path]:
    settings, trials = small()
    keep = tmp_path_factory.mktemp("fit")
    return calibration.calibrate(settings, trials, keep), keep


def test_a_killed_fit_ends_with_the_same_posterior(fitted: tuple[calibration.Fit, Path]) -> None:
    """Some of its runs are there, one half-written; the others are run again."""
    first, keep = fitted
    settings, trials = small()
    kept = sorted(keep.glob("*.json"))
    assert len(kept) == 34
    for path in kept[10:26]:
        path.unlink()
    (keep / "0_00012.part").write_text("{")
    kept[3].write_text(kept[3].read_text()[:40])
    kept[4].write_text("")
    ran: list[int] = []
    again = calibration.calibrate(settings, trials, keep, ran.append)
    assert sum(ran) == 34
    assert np.array_equal(first.posterior.x, again.posterior.x)
    assert np.array_equal(first.estimates, again.estimates, equal_nan=True)


def test_runs_of_another_fit_are_refused(fitted: tuple[calibration.Fit, Path]) -> None:
    settings, trials = small("seed=2")
    with pytest.raises(InputError, match="a run of another fit"):
        calibration.calibrate(settings, trials, fitted[1])


def test_tables_of_a_fit(fitted: tuple[calibration.Fit, Path]) -> None:
    found, keep = fitted
    parameters = found.parameters()
    assert ((parameters["low"] <= parameters["lower"]) & (parameters["upper"] <= parameters["high"])).all()
    assert found.predicted()["trial"].tolist() == [t.trial for t in found.targets]
    assert len(found.draws()) == 50
    assert len(found.runs()) == 30
    d = len(found.free)
    assert len(found.correlations()) == d * (d - 1) / 2
    settings, trials = small()
    left_out = leave_one_out(settings, found, trials, keep)
    assert len(left_out)
    assert set(left_out["trial"]) <= set(trials)  # of so few patients a trial may have no verdict
    assert len(left_out) <= len(found.targets)  # fewer where hardly any of its few patients count
    cut, whole = sorted(keep.glob("left_out_*.parquet"))
    cut.write_bytes(cut.read_bytes()[:100])
    written = whole.stat().st_mtime_ns
    assert leave_one_out(settings, found, trials, keep).equals(left_out)
    assert whole.stat().st_mtime_ns == written  # kept: not run again


def test_a_fit_is_a_choice_of_biology(fitted: tuple[calibration.Fit, Path], tmp_path: Path) -> None:
    found, base = fitted[0], compose(["biology=cd19_kinetics"])
    for name, text in found.as_choices(base, draws=5).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    here = f"hydra.searchpath=[file://{tmp_path}]"
    settings = compose(["biology=found", "clinic=found", "trial=none", here])
    expected = replace(base, {path: float(f"{value:.4g}") for path, value in found.fitted.items()})
    assert settings.biology == expected.biology
    assert settings.clinic.between_trials() == pytest.approx(found.between_trials, rel=1e-3)
    for path in (path for path in found.fitted if path.startswith("clinic.")):
        assert getattr(settings.clinic, path.removeprefix("clinic.")) == float(f"{found.fitted[path]:.4g}")
    several = compose(["biology=found_posterior", "trial=none", here])
    assert several.biology == settings.biology
    assert several.draw_count == 5
    assert set(several.draws) == set(found.fitted)


def test_values_are_replaced_by_path() -> None:
    settings = compose(["trial=none"])
    other = replace(settings, {"biology.antigens.cd22.dim_fold": 0.3, "clinic.assessment_day": 30})
    assert other.biology.antigens["cd22"].dim_fold == 0.3
    assert other.clinic.assessment_day == 30
    assert other.biology.antigens["cd19"] == settings.biology.antigens["cd19"]
    assert other.model_copy(update={"biology": settings.biology, "clinic": settings.clinic}) == settings


def test_trials_of_one_fit_have_patients_of_their_own() -> None:
    """Were patient k the same in every trial, chance would move the results of all trials together."""
    names = ("eliana", "tisagenlecleucel_germany")
    seeds = [own_seed(seed, name) for seed in (1, 2) for name in names]
    assert len(set(seeds)) == 4
    assert own_seed(1, "eliana") == seeds[0]
    trials = {name: compose(["trial=eliana"], "published") for name in names}  # one trial, by two names
    targets = [t._replace(trial=name) for name in names for t in targets_of({"eliana": trials["eliana"]})[:6]]
    estimates, _ = simulate(trials, targets, {}, 12, 1)
    assert not np.array_equal(estimates[:6], estimates[6:], equal_nan=True)


def test_figures_that_are_about_the_same_share_a_weight() -> None:
    """That of one; kinds of relapse, which exclude one another, that of one less than there are."""
    trials = {name: compose([f"trial={name}"], "published") for name in ("eliana", "coadministered")}
    targets = targets_of(trials)

    def weight(trial: str, stratum: str, *endpoints: str) -> float:
        of = (t for t in targets if (t.trial, t.point.stratum) == (trial, stratum))
        return sum(t.weight for t in of if t.point.endpoint in endpoints)

    survival = ("overall_survival", "event_free_survival", "relapse_free_survival", "relapse")
    assert weight("eliana", "all", *survival) == pytest.approx(1)
    assert weight("coadministered", "haematological", "complete_remission", "mrd_negative") == pytest.approx(1)
    kinds = [f"relapse_cd19{a}_cd22{b}" for a in ("pos", "neg") for b in ("pos", "neg")]
    assert weight("coadministered", "all", *kinds) == pytest.approx(3)
    assert all(t.patients <= (t.point.n or 79) for t in targets)
    assert not [t for t in targets_of(trials, ["overall_survival"]) if t.point.endpoint == "overall_survival"]


@pytest.mark.parametrize(
    ("free", "words"),
    [
        ({"biology.killing.kill_per_dya": None}, "is no parameter row. Did you mean 'biology.killing.kill_per_day'"),
        ({"biology.killing.kill_per_day": (3.0, 2.0)}, "the range 3 to 2 must rise"),
        ({"biology.killing.kill_per_day": (3.0, 200.0)}, "between 0 and 100"),
        ({"clinic.remission_blast_fraction": None}, "must rise"),
    ],
)
def test_bad_free_parameters_are_refused(free: dict[str, tuple[float, float] | None], words: str) -> None:
    with pytest.raises(InputError, match=words):
        free_parameters(compose(["trial=none"]), free)


def test_ranges_are_flat_on_the_scale_that_fits() -> None:
    free = free_parameters(
        compose(["trial=none"]), {"biology.killing.kill_per_day": (0.5, 8.0), "biology.killing.hill": (1, 2)}
    )
    assert [f.is_log for f in free] == [True, False]
    assert [f.value(0.5) for f in free] == pytest.approx([2.0, 1.5])
    assert TWO[1].value(0.5) == pytest.approx(10)


def test_features_are_all_quadratic_terms() -> None:
    assert features(np.zeros((1, 5))).shape == (1, 5 + 15)
    empty = Emulator(np.zeros(1), np.zeros((1, 20)), np.zeros(1), SHARE)
    assert empty.predict(np.zeros((3, 5))).shape == (3, 1)


def script(name: str, *words: str, cwd: Path) -> Path:
    """Run an experiment as a user does; gives the folder of its results."""
    command = [sys.executable, str(ROOT / "experiments" / f"{name}.py"), *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = cwd.glob(f"outputs/{name}/*/*")
    return folder


def test_the_fitted_set_is_the_most_likely_finalist(fitted: tuple[calibration.Fit, Path]) -> None:
    """By its own runs of the last round, and not by those of the round before or by the emulator."""
    found, keep = fitted
    data, sd = published(found.targets), np.array(list(found.between_trials.values()))
    last = [json.loads(path.read_text()) for path in sorted(keep.glob("3_*.json"))]
    own = [
        log_likelihood_of_run(np.array(r["estimates"], dtype=float), np.array(r["n"], dtype=float), data, sd)
        for r in last
    ]
    assert len(own) == 2
    assert own[0] != own[1]
    best = np.array(last[int(np.argmax(own))]["x"])
    assert np.array_equal(found.confirmed.x[0], best)
    assert list(found.fitted.values()) == [f.value(u) for f, u in zip(found.free, best, strict=True)]


@pytest.mark.statistical
def test_a_wrong_table_of_results_fits_worse() -> None:
    """The default biology is far likelier by what was published than by results of other months or other arms."""
    names = ("eliana", "coadministered", "sequential_adult", "adults_19_28z", "tisagenlecleucel_registry")
    trials = {name: compose([f"trial={name}"], "published") for name in names}
    targets = targets_of(trials)
    data, sd = published(targets), np.array(list(trials["eliana"].clinic.between_trials().values()))
    run = simulate(trials, targets, {}, 60, 1)
    share = data.events / data.patients

    def likely(order: Sequence[int]) -> float:
        return log_likelihood_of_run(*run, data._replace(events=share[list(order)] * data.patients), sd)

    def reversed_in(groups: Sequence[tuple[str, ...]]) -> list[int]:
        """Each figure with the share of another one of its group: the first with that of the last, and so on."""
        places = [[j for j, other in enumerate(groups) if other == group] for group in groups]
        return [its[-1 - its.index(i)] for i, its in enumerate(places)]

    months = reversed_in([(t.trial, t.point.stratum, t.point.endpoint) for t in targets])
    arms = reversed_in([(t.point.endpoint,) for t in targets])
    right = likely(range(len(targets)))
    for wrong in (months, arms):
        assert sum(i != j for i, j in enumerate(wrong)) >= 8
        assert likely(wrong) < right - 3  # of natural logarithms: twenty times less likely


@pytest.mark.slow
def test_calibrate_as_a_user_runs_it(tmp_path: Path) -> None:
    """It leaves tables, pictures and a configuration folder with which any experiment runs."""
    found = script("calibrate", *SMALL, cwd=tmp_path)
    for name in ("parameters", "predicted", "left_out"):
        assert len(pd.read_csv(found / f"{name}.csv"))
        assert (found / "figures" / f"{name}.png").stat().st_size > 10_000
    assert not (found / ".kept").exists()
    own = ("--config-dir", str(found / "conf"), "biology=found_posterior", "clinic=found")
    run = script("compare_products", *own, "comparators=none", "cohort.size=60", "workers=1", cwd=tmp_path)
    assert pd.read_parquet(run / "patients.parquet")["draw"].nunique() == 50


@pytest.mark.slow
def test_sensitivity_as_a_user_runs_it(tmp_path: Path) -> None:
    words = ("calibration.waves=[24]", "calibration.patients=5", "comparators=none", "workers=2")
    folder = script("sensitivity", *words, cwd=tmp_path)
    table = pd.read_csv(folder / "sensitivity.csv")
    assert set(table["arm"]) == {"cd19_fmc63"}
    assert not table["path"].str.startswith("clinic").any()
    assert table.groupby("endpoint")["path"].nunique().eq(25).all()
    assert (folder / "figures" / "tornado.png").stat().st_size > 10_000


def test_a_sensitivity_in_which_nothing_varied_says_so() -> None:
    """No index, and words in the place of bars of no length."""
    same = all_alike(np.array([[0.5, 0.0, math.nan, 1.0], [0.5, 0.2, math.nan, math.nan]]))
    assert same.tolist() == [True, False, True, True]
    lines = [
        ("a", e, p, math.nan, math.nan, math.nan, 0.0, math.nan) for e in ENDPOINTS for p in ("biology.x", "biology.y")
    ]
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    for figure, _ in (fits.indices(table, {"a": "A"}), fits.tornado(table, "a", {"a": "A"})):
        said = [t.get_text() for ax in figure.axes for t in ax.texts]
        assert said.count("the same in every run") == len(ENDPOINTS)


def test_chains_as_short_as_their_memory_say_so(fitted: tuple[calibration.Fit, Path]) -> None:
    fit = fitted[0]
    for forget, told in ((fit.posterior.steps, f"calibration.steps={10 * fit.posterior.steps} or more"), (1.0, "")):
        said = fit._replace(posterior=fit.posterior._replace(steps_to_forget=float(forget))).mixing()
        assert told in said
        assert ("Too few steps" in said) == bool(told)


@pytest.mark.statistical
def test_indices_of_a_known_surface() -> None:
    """Two parameters of which one matters alone: of a linear logit the index of each is its share of the variance."""
    x = design(300, 2, 1)
    logits = 0.3 * (2 * x[:, 0] - 1) + 0.1 * (2 * x[:, 1] - 1)  # small, so that shares are all but linear too
    n = np.full((300, 1), 5000.0)
    emulator = fit_emulator(x, np.random.default_rng(2).binomial(5000, expit(logits))[:, None] / 5000, n, SHARE)
    first, total, direction, variance, unseen = indices(emulator, 2, 1)
    share = 0.3**2 / (0.3**2 + 0.1**2)
    assert first[0].tolist() == pytest.approx([share, 1 - share], abs=0.05)
    assert total[0].tolist() == pytest.approx([share, 1 - share], abs=0.05)
    assert (direction[0] > 0).all()
    assert variance[0] > 0
    assert unseen[0] < 0.1
