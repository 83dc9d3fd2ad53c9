"""The published trials: entered twice, compared or said why not, and simulated with the patients that they describe."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from escape_abm import run_trial
from escape_abm.inputs.cohort import sample_patient
from escape_abm.inputs.rows import references
from escape_abm.inputs.settings import Settings
from escape_abm.inputs.trial import COMPARED, RATES, Published
from escape_abm.interface.composition import compose, conf_dir
from escape_abm.law.states import alphabet_of
from escape_abm.patient.leukaemia import grow_leukaemia
from escape_abm.trials.comparison import chosen, compare
from escape_abm.trials.estimates import read
from escape_abm.trials.readings import readings

ROOT = Path(__file__).parents[2]
TRIALS = sorted(p.stem for p in (Path(conf_dir()) / "trial").glob("*.yaml") if p.stem != "none")
AGAIN = pd.read_csv(Path(__file__).with_name("published_again.csv"), dtype=str, keep_default_na=False)
"""Every figure as a second person entered it, under the names of the configuration."""
MARROW = 0.916  # of the blasts at entry are in the marrow; the others in sanctuaries

Key = tuple[str, str, float]  # stratum, endpoint, month (-1: none)
Figures = tuple[float | None, ...]  # estimate, lower, upper, events, n


@cache
def trial(name: str) -> Settings:
    return compose([f"trial={name}", "comparators=none"])


def key(point: Published) -> Key:
    return point.stratum, point.endpoint, -1.0 if point.month is None else point.month


def figures(point: Published) -> Figures:
    return point.estimate, point.lower, point.upper, point.events, point.n


def entered_again(name: str) -> dict[Key, Figures]:
    def number(text: str) -> float | None:
        return float(text) if text else None

    rows = AGAIN[AGAIN["trial"] == name].to_dict("records")
    found = {
        (r["stratum"], r["endpoint"], float(r["month"] or -1)): tuple(
            number(r[c]) for c in ("estimate", "lower", "upper", "events", "n")
        )
        for r in rows
    }
    assert len(found) == len(rows), "a figure stands there twice"
    return found


@pytest.fixture(scope="module")
def patients() -> pd.DataFrame:
    """Three patients, for their columns."""
    overrides = ["trial=cd28_ox40", "comparators=none", "cohort.size=3", "workers=1", "trajectories.patients=0"]
    return run_trial(compose(overrides)).patients


def test_there_are_sixteen_trials() -> None:
    assert len(TRIALS) == 16
    assert set(AGAIN["trial"]) == set(TRIALS)


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_composes_with_what_it_published(name: str) -> None:
    described = compose([f"trial={name}"]).trial  # beside all the usual comparators
    assert described == trial(name).trial
    assert described.name == name
    assert described.published
    assert described.size is not None
    assert "n = " in described.label
    assert described.assumed
    assert all(line.endswith(".") and line[0].isupper() for line in described.assumed)


@pytest.mark.parametrize("name", TRIALS)
def test_a_run_lasts_as_long_as_what_was_published(name: str) -> None:
    settings = trial(name)
    months = [p.month for p in settings.trial.published if p.month is not None]
    assert max(months, default=0) <= settings.follow_up_months


@pytest.mark.parametrize("name", TRIALS)
def test_two_people_entered_the_same_figures(name: str) -> None:
    published = trial(name).trial.published
    ours = {key(p): figures(p) for p in published}
    assert len(ours) == len(published), "a figure stands there twice"
    again = entered_again(name)
    assert sorted(ours.keys() - again.keys()) == []
    assert sorted(again.keys() - ours.keys()) == []
    assert {k: (ours[k], again[k]) for k in ours if ours[k] != again[k]} == {}


def test_second_entry_has_sources() -> None:
    assert set(AGAIN["source"]) <= set(references())


@pytest.mark.parametrize("name", TRIALS)
def test_every_figure_is_compared_or_says_why_not(name: str) -> None:
    for point in trial(name).trial.published:
        if point.not_compared:
            assert len(point.not_compared) < 120
            continue
        assert point.endpoint in COMPARED
        assert point.source != "recalled" or "no other figure" in point.note, f"{key(point)}: was not checked"
        assert point.month is not None or point.endpoint not in RATES, f"{key(point)}: a rate needs a month"


@pytest.mark.parametrize("name", TRIALS)
def test_figures_are_in_order(name: str) -> None:
    for point in trial(name).trial.published:
        bounds = [x for x in (point.lower, point.estimate, point.upper) if x is not None]
        assert bounds == sorted(bounds), key(point)
        if point.events is not None:
            assert point.n is not None
            assert point.estimate == pytest.approx(point.events / point.n, abs=0.006), key(point)


@pytest.mark.parametrize("name", TRIALS)
def test_conditions_tell_yes_from_no(name: str, patients: pd.DataFrame) -> None:
    described = trial(name).trial
    for condition in (described.analysed, *described.strata.values()):
        assert chosen(patients, condition).dtype == bool
        assert chosen(patients.iloc[:0], condition).size == 0


def test_conditions_choose_whom_they_name(patients: pd.DataFrame) -> None:
    p = patients.assign(
        complete_remission=[True, True, False],
        extramedullary_at_entry=[True, False, False],
        day_transplant=[math.nan, 69.0, math.nan],
        crs_any_grade=[True, True, False],
        crs_grade_3_or_higher=[True, False, False],
        entry_blast_fraction=[0.2, 0.3, 0.4],
        components_infused=[2, 1, 1],
    )

    def who(name: str, stratum: str) -> list[int]:
        return [int(i) for i in np.flatnonzero(chosen(p, trial(name).trial.strata[stratum]))]

    assert who("cd28_ox40", "transplanted") == [1]
    assert who("cd28_ox40", "not_transplanted") == [0, 2]
    assert who("cd28_ox40", "high_burden") == [2]
    assert who("cd28_ox40", "low_burden") == [0, 1]
    assert who("tisagenlecleucel_real_world", "non_responders") == [2]
    assert who("b019", "isolated_extramedullary") == [0]
    assert who("b019", "crs_grade_1_2") == [1]
    assert who("b019", "crs_grade_3_4") == [0]
    assert who("coadministered", "haematological_responders") == [1]
    assert chosen(p, trial("sequential_adult").trial.analysed).tolist() == [True, False, False]


def test_an_extramedullary_relapse_is_one_outside_the_marrow_alone(patients: pd.DataFrame) -> None:
    """Of those who relapsed: here two of three, the other in the marrow too."""
    sites = pd.array(["extramedullary", "extramedullary", "combined"], dtype="string")
    p = patients.assign(complete_remission=True, relapse=True, relapse_site=sites)
    assert read(readings(p)["relapse_extramedullary"], 0.0).estimate == pytest.approx(2 / 3)
    one = read(readings(p.assign(relapse=[True, False, True]))["relapse_extramedullary"], 0.0)
    assert (one.estimate, one.n) == (0.5, 2)


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_can_be_read_beside_its_figures(name: str, patients: pd.DataFrame) -> None:
    """The whole way from three patients to the table, for the names of endpoints and strata."""
    both = patients.assign(components_infused=2)
    table = compare(both, trial(name).trial, np.random.default_rng(1))
    assert len(table) == len(trial(name).trial.published)
    assert (table["inside"].notna() | table["note"].ne("")).all()


@pytest.mark.parametrize(
    ("name", "where", "published"),
    [
        ("auto1_22", "cohort.negative_patients_fraction", 3 / 12),
        ("auto1_22", "cohort.prior_car_fraction", 4 / 12),
        ("car22_19", "cohort.negative_patients_fraction", 5 / 9),
        ("car22_19", "cohort.prior_car_fraction", 3 / 9),
        ("cd22_fry", "cohort.negative_patients_fraction", 5 / 15),
        ("cd22_fry", "cohort.prior_car_fraction", 17 / 21),
        ("sequential_adult", "cohort.extramedullary_fraction", 5 / 23),
        ("b019", "cohort.extramedullary_fraction", 51 / 343),
        ("coadministered", "cohort.extramedullary_fraction", 31 / 225),
        ("cd28_ox40", "regimen.transplant.fraction", 14 / 22),
        ("eliana", "regimen.transplant.fraction", 8 / 65),
        ("cd28_ox40", "regimen.dose_cells_per_kg", 1e7),
        ("eliana", "regimen.dose_cells_per_kg", 3e6),
        ("sequential_adult", "product.components.cd22.day", 3.8 * 30.4375),
    ],
)
def test_what_a_document_says_is_what_is_simulated(name: str, where: str, published: float) -> None:
    value: object = trial(name)
    for step in where.split("."):
        value = value[step] if isinstance(value, dict) else getattr(value, step)
    assert value == pytest.approx(published, rel=0.003)


def test_part_of_the_blasts_is_not_in_the_marrow() -> None:
    """The share that the arithmetic of the cohorts takes."""
    settings = trial("cd28_ox40")
    away = alphabet_of(settings.biology).sanctuary
    shares = []
    for i in range(20):
        cells = grow_leukaemia(sample_patient(i, 1, settings.cohort, settings.biology), settings.engine)
        shares.append(1 - cells[away].sum() / cells.sum())
    assert np.mean(shares) == pytest.approx(MARROW, abs=0.01)


def share_above(name: str, blast_fraction: float) -> float:
    """Patients with more blasts in the marrow at entry than this, by the lognormal alone (no largest burden)."""
    settings = trial(name)
    cohort = settings.cohort
    cells = settings.clinic.marrow_cells(blast_fraction) / MARROW
    return float(stats.norm.sf(math.log(cells / cohort.burden_median_cells) / cohort.burden_median_cells_sigma))


def test_burdens_have_the_published_shares() -> None:
    assert share_above("cd28_ox40", 0.30) == pytest.approx(15 / 22, abs=0.005)
    assert share_above("eliana", 0.05) > 0.97  # eligibility; a lognormal cannot hold everyone above
    assert 0.116 < share_above("tisagenlecleucel_registry", 0.50) < 0.176  # under, and from, 18 years
    assert 1 - share_above("tisagenlecleucel_registry", 0.05) == pytest.approx(0.202, abs=0.005)


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_has_its_page(name: str) -> None:
    assert f"\n## `{name}`" in (ROOT / "docs/trials.md").read_text(encoding="utf-8")
