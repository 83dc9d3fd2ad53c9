"""Events and history: transplant, second and donor-derived batches, re-infusion, earlier CAR, extramedullary disease.

Each has a test of size, exact where it can be, and of direction over the same patients. Tolerances come from standard
errors; each statistical test fails by chance with probability FALSE_ALARM, shared among its comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from dataclasses import replace as of
from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from escape_abm.chance import luck_of
from escape_abm.clinic import Clinic
from escape_abm.cohort import Cohort, Patient, sample_patient
from escape_abm.config import compose
from escape_abm.law import densities, endogenous_t_cells, hill
from escape_abm.leukaemia import _select, grow_leukaemia
from escape_abm.parameters import Biology, InputError
from escape_abm.products import Component, Construct, Product
from escape_abm.regimen import Regimen, Reinfusion, Transplant
from escape_abm.settings import Engine
from escape_abm.simulation import Course, Trajectory, simulate
from escape_abm.states import MYELOID, SANCTUARY, alphabet_of, shown_sign
from escape_abm.trial import run_trial
from tests.test_simulation import with_biology

Counts = NDArray[np.int64]
MakePatient = Callable[[int], Patient]

FALSE_ALARM = 1e-4
CD19, CD22 = ({a: Construct(antigen=a)} for a in ("cd19", "cd22"))
EARLY = Clinic(assessment_day=5)


def z(comparisons: int = 1) -> float:
    """Standard errors that one of so many two-sided comparisons passes by chance with probability FALSE_ALARM."""
    return float(stats.norm.isf(FALSE_ALARM / comparisons / 2))


def binomial(count: float, n: float, p: float, comparisons: int = 1) -> bool:
    """Whether so many of n may each have had something happen with probability p."""
    return abs(count - n * p) <= z(comparisons) * math.sqrt(n * p * (1 - p))


def product(**components: Component) -> Product:
    days = {c.day for c in components.values() if not c.donor}
    return Product(name="x", label="X", schedule="sequential" if len(days) > 1 else "together", components=components)


OWN = product(own=Component(constructs=CD19))
WITH_DONOR = product(own=Component(constructs=CD19), graft=Component(constructs=CD22, donor=True, day=10))


def calm(patient: Patient) -> Patient:
    """The same patient, chosen for every event, in a body where nothing happens to any cell by itself."""
    fates = ("effector_division", "effector_death", "memory_activation", "memory_loss", "effector_to_memory")
    still = with_biology(
        patient,
        leukaemia={"net_growth_per_day": 0.0, "death_per_day": 0.0, "sanctuary_entry_per_day": 0.0},
        killing={"kill_per_day": 0.0},
        car_t={f"{fate}_per_day": 0.0 for fate in (*fates, "exhaustion", "exhausted_death")},
        host={"b_cell_source_per_day": 0.0, "b_cell_life_days": 1e15, "b_cells_at_start_cells": 1000},
    )
    return of(still, rejection_day=math.inf, transplant_luck=0.0, reinfusion_luck=0.0)


def with_threshold(patient: Patient) -> Patient:
    """The same calm patient, in whom fewer than 2e6 normal B cells are aplasia; 1000 are there."""
    return with_biology(patient, host={"b_cell_source_per_day": 1e-8})


def unseen(patient: Patient, cells: int, niche: str = "marrow") -> Counts:
    """So many leukaemic cells that no CAR sees and that stay what they are: myeloid ones."""
    letters = alphabet_of(patient.biology)
    out = np.zeros(len(letters), dtype=np.int64)
    out[next(i for i, s in enumerate(letters.states) if s.lineage == MYELOID and s.niche == niche)] = cells
    return out


def treat(
    patient: Patient, what: Product, regimen: Regimen, leukaemia: Counts | None = None, days: int = 60,
    engine: Engine | None = None, clinic: Clinic | None = None,
) -> Trajectory:  # fmt: skip
    return simulate(patient, what, regimen, clinic or Clinic(), follow_up_days=days, engine=engine, leukaemia=leukaemia)


def course(patient: Patient, what: Product, regimen: Regimen, leukaemia: Counts) -> Course:
    return Course(patient, what, regimen, Clinic(), follow_up_days=150, engine=Engine(), entry=leukaemia.copy())


@cache
def rows(*overrides: str, size: int = 400) -> pd.DataFrame:
    """The patients table of a trial of the first patients of seed 1, a CD19 CAR unless said otherwise.

    With the values of the parameter rows: what an event does must not hang on a later calibration.
    """
    base = ["trial=none", "comparators=none", "product=cd19_fmc63", "trajectories.patients=0", "workers=1"]
    base += ["biology=starting_fit", "clinic=standard", f"cohort.size={size}"]
    return run_trial(compose([*base, *overrides])).patients


def is_kind(p: pd.DataFrame, column: str, value: str) -> NDArray[np.bool_]:
    return (p[column] == value).fillna(False).to_numpy(dtype=bool)


def more_often(after: NDArray[np.bool_], before: NDArray[np.bool_]) -> float:
    """Paired sign test: probability by chance of so many patients, of those who changed, gaining the outcome."""
    gained, changed = int((after & ~before).sum()), int((after != before).sum())
    assert changed > 0
    return float(stats.binomtest(gained, changed, alternative="greater").pvalue)


def test_transplant_thins_leukaemia_own_car_t_and_b_cells_but_not_the_donors(make_patient: MakePatient) -> None:
    patient = of(make_patient(0), transplant_luck=0.0, graft_z=-1.3)
    how = Transplant(fraction=1, car_t_log10_kill=4)
    now = course(patient, WITH_DONOR, Regimen(transplant=how), unseen(patient, 1))
    now.day, now.b_cells = 69.0, 10**10
    now.cells[:], now.car_t[:] = 10**8, 10**9
    own, donors = (next(i for i, c in enumerate(now.classes) if c.component == name) for name in ("own", "graft"))
    now.transplant()
    n = now.cells.size + 4
    assert all(binomial(int(left), 1e8, 10**-how.conditioning_log10_kill, n) for left in now.cells)
    assert not binomial(now.cells.sum(), 1e8 * now.cells.size, 10 ** (-1.01 * how.conditioning_log10_kill))
    assert all(binomial(int(left), 1e9, 10**-how.car_t_log10_kill, n) for left in now.car_t[own])
    assert now.car_t[donors].tolist() == [10**9] * 3
    assert binomial(now.b_cells, 1e10, 10**-how.car_t_log10_kill, n)
    assert now.rates.graft == how.graft_kill_per_day * math.exp(-1.3 * how.graft_kill_per_day_sigma)
    assert now.day_transplant == now.lymphodepleted == 69.0


def test_nothing_happens_before_the_transplant(make_patient: MakePatient) -> None:
    for i in range(3):
        patient = of(make_patient(i), transplant_luck=0.0, burden_cells=1e9)
        host = patient.biology.host
        recovery = host.t_cell_nadir_cells, host.t_cell_capacity_cells, host.t_cell_recovery_per_day
        a, b = (treat(patient, OWN, Regimen(transplant=Transplant(fraction=f)), days=80) for f in (0, 1))
        for name in ("cells", "car_t", "b_cells", "t_cells"):  # of the end of a day, before that day's events
            assert np.array_equal(getattr(a, name)[:70], getattr(b, name)[:70]), name
        assert b.day_transplant == 69
        slow = (*recovery[:2], Transplant().t_cell_recovery_per_day)
        assert b.t_cells[[69, 70]].tolist() == [endogenous_t_cells(69.0, *recovery), endogenous_t_cells(1.0, *slow)]


@pytest.mark.parametrize("engine", [Engine(), Engine(name="cells", size_limit_cells=1e5)], ids=lambda e: e.name)
def test_transplant_and_graft_in_both_engines(make_patient: MakePatient, engine: Engine) -> None:
    """Where nothing else happens, numbers left are binomial: conditioning at once, then a graft day by day."""
    patient = of(calm(make_patient(0)), graft_z=0.5)
    how = Transplant(fraction=1, day=6, conditioning_log10_kill=0.4, car_t_log10_kill=0.6, graft_kill_per_day=0.1)
    graft = 0.1 * math.exp(0.5 * how.graft_kill_per_day_sigma)
    what = product(own=Component(constructs=CD19), graft=Component(constructs=CD22, donor=True, day=2))
    regimen = Regimen(transplant=how, dose_cells=3000, lymphodepletion=False)
    path = treat(patient, what, regimen, unseen(patient, 8000), 10, engine, EARLY)
    before = path.marrow[:7], path.car_t[:7, 0].sum(axis=1), path.b_cells[:7]
    assert [x.tolist() for x in before] == [[8000] * 7, [3000] * 7, [1000] * 7]
    for day in (7, 10):
        left = 10**-how.conditioning_log10_kill * math.exp(-graft * (day - 6))
        assert binomial(path.marrow[day], 8000, left, 4)
    assert not binomial(path.marrow[10], 8000, 10**-how.conditioning_log10_kill * math.exp(-4 * 1.5 * graft), 4)
    assert binomial(path.car_t[7, 0].sum(), 3000, 10**-how.car_t_log10_kill, 4)
    assert (path.car_t[7:, 0] == path.car_t[7, 0]).all()
    assert binomial(path.b_cells[7], 1000, 10**-how.car_t_log10_kill, 4)
    assert path.car_t[:, 1].sum(axis=1).tolist() == [0] * 9 + [3000] * 2  # the donor's: on day 8, seen on day 9


@pytest.mark.parametrize("niche", ["marrow", "sanctuary"])
def test_graft_is_one_more_death_hazard(make_patient: MakePatient, niche: str) -> None:
    """Leukaemia that no CAR sees declines as exp((b - d - graft) t), with the variance of birth and death.

    A sanctuary lets in as few of the donor's T cells as of CAR T cells.
    """
    growth, death, t = 0.1, 0.15, 30
    free = {"net_growth_per_day": growth, "death_per_day": death, "carrying_capacity_cells": 1e20}
    moves = {"sanctuary_entry_per_day": 1e-12, "sanctuary_exit_per_day": 1e-12}
    patient = with_biology(make_patient(0), leukaemia=free | moves, killing={"sanctuary_access": 0.2})
    patient = of(patient, transplant_luck=0.0, graft_z=1.0)
    how = Transplant(fraction=1, day=6, conditioning_log10_kill=0)
    regimen = Regimen(transplant=how, dose_cells=0)
    path = treat(patient, OWN, regimen, unseen(patient, 10**9, niche), 36, clinic=EARLY)
    n = int(path.cells[6].sum())

    def out_by(graft: float) -> float:
        """Standard errors from what a graft of this hazard leaves of n cells."""
        net, change = growth - graft, math.exp((growth - graft) * t)
        variance = n * (growth + 2 * death + graft) / net * change * (change - 1)
        return abs(int(path.cells[36].sum()) - n * change) / math.sqrt(variance)

    graft = how.graft_kill_per_day * math.exp(how.graft_kill_per_day_sigma) * {"marrow": 1, "sanctuary": 0.2}[niche]
    assert out_by(graft) < z(2) < out_by(1.01 * graft)
    assert (path.sanctuary[36] > 0.99 * path.cells[36].sum()) == (niche == SANCTUARY)


@pytest.mark.parametrize(
    ("cells", "niche", "given"),
    [(10**9, "marrow", True), (2 * 10**11, "marrow", False), (4 * 10**10, "sanctuary", False)],
)
def test_without_remission_neither_second_batch_nor_transplant(
    make_patient: MakePatient, cells: int, niche: str, given: bool
) -> None:
    still = {"net_growth_per_day": 0.0, "death_per_day": 0.0, "sanctuary_exit_per_day": 1e-12}
    patient = of(with_biology(make_patient(0), leukaemia=still), transplant_luck=0.0)
    regimen = Regimen(dose_cells=100, lymphodepletion=False, transplant=Transplant(fraction=1, day=50))
    second = Component(constructs=CD22, day=40, only_in_remission=True)
    what, go_on = product(own=Component(constructs=CD19), second=second), Engine(stop_at_failure=False)
    path = treat(patient, what, regimen, unseen(patient, cells, niche), engine=go_on)
    assert list(path.infused) == ["own", "second"][: 1 + given]
    assert not path.car_t[:41, 1].any()
    assert path.car_t[41, 1].any() == given
    assert (path.day_transplant == 50) == given
    assert (path.cells[51].sum() < 0.1 * cells) == given


def test_who_is_not_chosen_is_untouched() -> None:
    """Rows of patients without an event are bitwise those of a trial in which nobody has it."""
    none = rows()[:200]
    half = rows("regimen.transplant.fraction=0.5", "regimen.reinfusion.fraction=0.5", size=200)
    people = [sample_patient(i, 1, Cohort(), Biology()) for i in range(200)]
    spared = np.array([p.transplant_luck >= 0.5 and p.reinfusion_luck >= 0.5 for p in people])
    assert 25 < spared.sum() < 75
    pd.testing.assert_frame_equal(none[spared], half[spared], check_exact=True)
    assert half[~spared][["day_transplant", "day_reinfusion"]].notna().any().all()
    off = ["transplant.day=40", "transplant.death_fraction=1", "transplant.graft_kill_per_day=1"]
    off += ["reinfusion.window_days=300", "reinfusion.visit_days=10"]
    few = rows(*(f"regimen.{x}" for x in off), size=40)
    pd.testing.assert_frame_equal(few, none[:40], check_exact=True)


PUBLISHED_HAZARD_RATIO = 0.10, 0.25
"""Of relapse with consolidation: meta-analysis (parameters.yaml, HR_HSCT), observational, immortal time in some."""


@pytest.mark.statistical
def test_transplant_lowers_relapse_as_published() -> None:
    """The same patients, in remission and alive on day 69, with and without: no immortal time."""
    having = rows("regimen.transplant.fraction=1", "regimen.transplant.death_fraction=0")
    had = having["day_transplant"].notna().to_numpy()
    assert had.sum() > 250
    a, b = rows()[had], having[had]
    assert more_often(a["relapse"].to_numpy(), b["relapse"].to_numpy()) < FALSE_ALARM
    events = [int(p["relapse"].sum()) for p in (b, a)]
    at_risk = [float((p["day_relapse"].fillna(p["day_last"]) - 69).sum()) for p in (b, a)]
    ratio, error = events[0] / at_risk[0] / (events[1] / at_risk[1]), math.sqrt(sum(1 / e for e in events))
    lower, upper = (ratio * math.exp(sign * z() * error) for sign in (-1, 1))
    assert lower < PUBLISHED_HAZARD_RATIO[1] < 1, f"hazard ratio {ratio:.2f}"
    assert PUBLISHED_HAZARD_RATIO[0] < upper < 1, f"hazard ratio {ratio:.2f}"


@pytest.mark.statistical
def test_transplant_deaths_are_as_many_as_set() -> None:
    """With a graft that lets nobody relapse and no other death of treatment, they are binomial and come evenly."""
    common = ("clinic.treatment_death_fraction=0", "regimen.transplant.graft_kill_per_day=5")
    p = rows("regimen.transplant.fraction=1", "regimen.transplant.graft_kill_per_day_sigma=0", *common)
    had, died = p["day_transplant"].notna(), is_kind(p, "cause_of_death", "treatment")
    assert not p[had]["relapse"].any() | died[~had].any()
    share = Transplant().death_fraction
    assert stats.binomtest(int(died.sum()), int(had.sum()), share).pvalue > FALSE_ALARM / 2
    assert stats.binomtest(int(died.sum()), int(had.sum()), 2.5 * share).pvalue < FALSE_ALARM / 2
    days = p[died]["day_death"] - 69
    assert stats.kstest(days, stats.uniform(0, Transplant().death_last_day).cdf).pvalue > FALSE_ALARM / 2
    assert more_often(died, is_kind(rows(), "cause_of_death", "treatment")) < FALSE_ALARM


def test_second_batch_is_a_whole_dose_after_new_lymphodepletion(make_patient: MakePatient) -> None:
    patient = calm(make_patient(0))
    second = Component(constructs=CD22, day=40, only_in_remission=True, new_lymphodepletion=True, dose_fraction=0.5)
    what = product(own=Component(constructs=CD19), second=second)
    now = course(patient, what, Regimen(dose_cells=10**6), unseen(patient, 10**9))
    leukaemia, host = int(now.cells.sum()), patient.biology.host
    now.follow(40)
    left = host.t_cell_nadir_cells / host.t_cell_capacity_cells
    resting = round(5 * 10**5 * patient.biology.car_t.memory_fraction)
    assert now.car_t[1].tolist() == [resting, 5 * 10**5 - resting, 0]
    assert binomial(now.car_t[0].sum(), 1e6, left, 2)
    assert now.b_cells == 1000
    assert binomial(now.cells.sum(), leukaemia, 10 ** -Regimen().lymphodepletion_log10_kill, 2)
    assert now.lymphodepleted == 40


@pytest.mark.statistical
def test_second_car_holds_what_lacks_the_first_antigen() -> None:
    """Of 800 patients 41 lost such a relapse and 6 gained one: of 1,400 too few do once in 4,000 times."""
    change = ("product=sequential", "product.components.cd22.day=60", "product.components.cd22.only_in_remission=true")
    one, two = rows(size=1400), rows(*change, size=1400)
    both = two["components_infused"] == 2
    assert both.sum() > 250
    assert not ((two[both]["day_relapse"] <= 60) | is_kind(two[both], "stop", "no remission")).any()
    assert more_often(*(is_kind(p, "relapse_kind", "antigen-negative") for p in (one, two))) < FALSE_ALARM
    for column in ("complete_remission", "mrd_fraction"):
        pd.testing.assert_series_equal(one[column], two[column], check_exact=True)


def test_donor_batch_comes_after_a_transplant_only(make_patient: MakePatient) -> None:
    patient = of(calm(make_patient(0)), transplant_luck=0.5)
    for fraction in (0.0, 0.5, 0.51):  # luck must lie below
        regimen = Regimen(dose_cells=10**6, transplant=Transplant(fraction=fraction, day=40))
        path = treat(patient, WITH_DONOR, regimen, unseen(patient, 10**9))
        given = fraction > 0.5
        assert list(path.infused) == ["own", "graft"][: 1 + given]
        assert path.car_t[:, 1].sum(axis=1).tolist() == [0] * 51 + [given * 10**6] * 10
        assert path.t_cells[51] > path.t_cells[50]  # no new lymphodepletion unless the batch says so


def test_donor_car_t_is_not_rejected(make_patient: MakePatient) -> None:
    patient = of(calm(make_patient(0)), rejection_day=45.0)
    hazard = patient.biology.car_t.rejection_per_day
    how = Transplant(fraction=1, day=40, car_t_log10_kill=0)
    path = treat(patient, WITH_DONOR, Regimen(dose_cells=10**6, transplant=how), unseen(patient, 10**9))
    own, donors = path.car_t[:, 0].sum(axis=1), path.car_t[:, 1].sum(axis=1)
    assert (own[:46] == 10**6).all()
    assert binomial(own[60], 1e6, math.exp(-15 * hazard))
    assert not binomial(own[60], 1e6, math.exp(-15 * 1.1 * hazard))
    assert donors[51:].tolist() == [10**6] * 10


@pytest.mark.statistical
def test_donor_car_t_lowers_relapse_after_a_transplant() -> None:
    """Where no graft acts and the patient's own CAR T cells are lost, donor CAR T cells are all that is left."""
    how = ("fraction=1", "graft_kill_per_day=0", "car_t_log10_kill=12", "death_fraction=0")
    lost = [f"regimen.transplant.{x}" for x in how]
    part = "+product.components.graft={architecture: single, donor: true, constructs: {cd19: {antigen: cd19}}}"
    a, b = rows(*lost, size=150), rows(*lost, part, size=150)
    had = a["day_transplant"].notna().to_numpy()
    assert (b["components_infused"].to_numpy()[had] == 2).all()
    assert more_often(a["relapse"].to_numpy(), b["relapse"].to_numpy()) < FALSE_ALARM


def test_reinfusion_is_a_whole_dose_on_the_first_visit_with_b_cells(make_patient: MakePatient) -> None:
    """Once, on a visit in the window, with normal B cells back; the rest of the course is as without it till then."""
    back, found = Clinic().aplasia_below_cells(Biology().host), 0
    how = Reinfusion(fraction=1, visit_days=20, window_days=70, lymphodepletion=False)
    regimen = Regimen(reinfusion=how, split_fractions=(0.4, 0.6), split_days=(0, 3))
    without = regimen.model_copy(update={"reinfusion": Reinfusion()})
    for i in range(60):
        patient = of(make_patient(i), reinfusion_luck=0.0)
        path, plain = (treat(patient, OWN, r, days=150) for r in (regimen, without))
        seen = [d for d in (40, 60) if d <= path.day[-1] and path.b_cells[d] >= back > path.b_cells[:d].min()]
        seen = [d for d in seen if Clinic().in_remission(float(path.marrow[d]), float(path.sanctuary[d]))]
        assert (seen[0] if seen else None) == (None if math.isnan(path.day_reinfusion) else path.day_reinfusion)
        last = seen[0] if seen else path.day.size
        assert np.array_equal(path.car_t[: last + 1], plain.car_t[: last + 1])
        if not seen:
            assert path.stop is plain.stop
            continue
        found += 1
        now, dose = course(patient, OWN, regimen, path.entry), regimen.dose(30)
        now.follow(seen[0])
        assert now.car_t.sum() - path.car_t[seen[0]].sum() == round(0.4 * dose)
        planned = [(p[0], p[-1]) for p in now.plan if getattr(p[-1], "func", None) == now.infuse]
        assert [(day, event.args[1]) for day, event in planned] == [(seen[0] + 3, 0.6 * dose)]  # type: ignore[attr-defined]
        now.follow(150)
        assert now.day_reinfusion == seen[0]
    assert 10 < found < 60


@pytest.mark.parametrize("transplanted", [False, True])
def test_reinfusion_after_lymphodepletion(make_patient: MakePatient, transplanted: bool) -> None:
    """Lymphodepletion takes CAR T cells down as it takes normal T cells. Nobody gets it after a transplant."""
    patient = with_threshold(calm(make_patient(0)))
    left = patient.biology.host.t_cell_nadir_cells / patient.biology.host.t_cell_capacity_cells
    how = Transplant(fraction=int(transplanted), day=29)
    regimen = Regimen(dose_cells=10**8, reinfusion=Reinfusion(fraction=1), transplant=how)
    now = course(patient, OWN, regimen, unseen(patient, 10**9))
    now.follow(29)
    now.b_cells, before = 10**10, int(now.car_t.sum())
    now.follow(60)
    if transplanted:
        assert (math.isnan(now.day_reinfusion), now.car_t.sum(), now.b_cells) == (True, before, 10**10)
    else:
        assert now.day_reinfusion == 30
        assert binomial(now.car_t.sum() - 10**8, before, left)
        assert now.b_cells == 10**10


@pytest.mark.statistical
def test_reinfusion_restores_aplasia_in_some(make_patient: MakePatient) -> None:
    """Two weeks on, B cells are away again in more of the same patients.

    Published: restored in 33 of 63 (trials.yaml). The model is far below that, so only the direction is tested.
    """
    back, away = Clinic().aplasia_below_cells(Biology().host), []
    for i in range(300):
        patient = of(make_patient(i), reinfusion_luck=0.0)
        entry = grow_leukaemia(patient, Engine())
        how = [Regimen(reinfusion=Reinfusion(fraction=f, lymphodepletion=False)) for f in (1, 0)]
        a, b = (treat(patient, OWN, regimen, entry, 200) for regimen in how)
        if not math.isnan(a.day_reinfusion):
            day = int(a.day_reinfusion) + 14
            away.append([bool(p.b_cells[min(day, p.day.size - 1)] < back) for p in (a, b)])
    assert len(away) > 60
    assert more_often(*np.array(away).T) < FALSE_ALARM


def test_an_earlier_car_takes_what_it_recognises(make_patient: MakePatient) -> None:
    """Of each state the share left is 10 to the minus (log-kill times recognition by the reference CAR)."""
    patient = of(make_patient(0), prior_car_antigen="cd22", prior_car_log10_kill=2.0)
    biology, letters = patient.biology, alphabet_of(patient.biology)
    left = _select(luck_of(np.random.default_rng(1)), np.full(len(letters), 10**9), letters, patient)
    half = np.array(biology.antigens["cd22"].half_density_molecules)
    seen = hill(densities(letters, biology)[:, 1], half, biology.killing.hill)
    assert all(binomial(n, 1e9, 10 ** (-2 * s), len(letters)) for n, s in zip(left, seen, strict=True))
    assert not binomial(left[0], 1e9, 10 ** (-2.02 * seen[0]))
    deep, few = of(patient, prior_car_log10_kill=12.0), np.eye(1, len(letters), dtype=np.int64)[0] * 100
    assert _select(luck_of(np.random.default_rng(1)), few, letters, deep).sum() == 1  # for the leukaemia did come back


def test_a_patient_whose_b_cells_never_went_is_not_infused_again(make_patient: MakePatient) -> None:
    patient = with_threshold(calm(make_patient(0)))
    now = course(patient, OWN, Regimen(dose_cells=10**6, reinfusion=Reinfusion(fraction=1)), unseen(patient, 10**9))
    now.seen.b_cells[:1] = now.b_cells = 10**10
    now.follow(100)
    assert math.isnan(now.day_reinfusion)


def test_a_sequential_product_is_infused_again_in_its_sequence(make_patient: MakePatient) -> None:
    patient = with_threshold(calm(make_patient(0)))
    what = product(own=Component(constructs=CD19), second=Component(constructs=CD22, day=10))
    now = course(patient, what, Regimen(dose_cells=10**6, reinfusion=Reinfusion(fraction=1)), unseen(patient, 10**9))
    now.follow(29)
    now.b_cells = 10**10
    now.follow(100)
    given = [np.flatnonzero(np.diff(now.seen.car_t[:100, s].sum(axis=1)) > 0).tolist() for s in (0, 1)]
    assert given == [[30], [10, 40]]


@pytest.mark.parametrize("antigen", ["cd19", "cd22"])
def test_an_antigen_negative_relapse_after_an_earlier_car_lacks_the_antigen(
    make_patient: MakePatient, antigen: str
) -> None:
    for i in range(10):
        patient = of(make_patient(i), prior_car_antigen=antigen, prior_car_log10_kill=5.0, prior_car_escaped=True)
        letters, cells = alphabet_of(patient.biology), grow_leukaemia(patient, Engine())
        shown = densities(letters, patient.biology)[:, letters.antigens.index(antigen)]
        assert cells.sum() == pytest.approx(patient.burden_cells, rel=0.01)
        assert cells[shown > 0].sum() < 1e-3 * cells.sum()  # a silenced antigen may come back in some
        assert patient.lacking_at_entry == {antigen}
    few = np.eye(1, len(letters), dtype=np.int64)[0] * 100
    left = _select(luck_of(np.random.default_rng(1)), few, letters, patient)
    assert left.sum() == 1
    assert shown[left > 0] == 0


@pytest.mark.statistical
def test_who_relapsed_antigen_negative_before_does_not_respond_to_the_same_target() -> None:
    before = ("cohort.prior_car_fraction=1", "cohort.prior_car_rejected_fraction=0")
    p, q = (rows(*before, f"cohort.prior_car_negative_fraction={f}", size=60) for f in (1, 0))
    assert p["antigen_negative_at_entry"].all()
    assert not q["antigen_negative_at_entry"].any()
    assert not p["mrd_negative"].any()  # without residual disease; few blasts are there from the start in some
    assert more_often(*(r["complete_remission"].to_numpy() for r in (q, p))) < FALSE_ALARM


@pytest.mark.statistical
def test_who_is_immunised_rejects_before_the_response_is_read() -> None:
    before = ("cohort.prior_car_fraction=1", "cohort.prior_car_negative_fraction=0")
    p, q = (rows(*before, f"cohort.prior_car_rejected_fraction={f}") for f in (1, 0))
    assert more_often(*(~r["complete_remission"].to_numpy() for r in (p, q))) < FALSE_ALARM
    patients = [sample_patient(i, 1, Cohort(prior_car_fraction=1), Biology()) for i in range(2000)]
    early = [p.rejection_day for p in patients if p.rejection_day < Biology().car_t.rejection_first_day]
    assert binomial(len(early), len(patients), Cohort().prior_car_rejected_fraction)
    assert stats.kstest(early, stats.randint(0, 14).cdf).pvalue > FALSE_ALARM  # conservative: days are whole


@pytest.mark.statistical
@pytest.mark.parametrize("antigen", ["cd19", "cd22"])
def test_an_earlier_car_leaves_more_cells_without_its_antigen(make_patient: MakePatient, antigen: str) -> None:
    """Of the same burden."""
    risen = []
    for i in range(80):
        patient = make_patient(i)
        letters = alphabet_of(patient.biology)
        place = letters.antigens.index(antigen)
        weak = np.array([s.lineage == "B" and shown_sign(s, place) != "+" for s in letters.states])
        before = grow_leukaemia(patient, Engine())
        after = grow_leukaemia(of(patient, prior_car_antigen=antigen, prior_car_log10_kill=5.0), Engine())
        assert after.sum() == pytest.approx(patient.burden_cells, rel=0.01)
        risen.append(after[weak].sum() / after.sum() > before[weak].sum() / before.sum())
    assert stats.binomtest(sum(risen), len(risen), alternative="greater").pvalue < FALSE_ALARM


@pytest.mark.statistical
def test_after_an_earlier_cd19_car_more_relapses_lack_cd19() -> None:
    """Even if the earlier relapse was of cells that show it."""
    history = ("cohort.prior_car_fraction=1", "cohort.prior_car_negative_fraction=0")
    again = rows(*history, "cohort.prior_car_rejected_fraction=0")
    assert more_often(*(is_kind(p, "relapse_kind", "antigen-negative") for p in (again, rows()))) < FALSE_ALARM


@pytest.mark.statistical
def test_as_many_reject_as_set() -> None:
    """Who had an earlier CAR rejects for that reason or, as everyone may, without it."""
    cohort, anyway = Cohort(prior_car_fraction=0.4, extramedullary_fraction=0.2), Biology().car_t.rejected_fraction
    patients = [sample_patient(i, 4, cohort, Biology()) for i in range(3000)]
    had = np.array([bool(p.prior_car_antigen) for p in patients])
    rejects = np.array([math.isfinite(p.rejection_day) for p in patients])
    share = 1 - (1 - cohort.prior_car_rejected_fraction) * (1 - anyway)
    of_whom = (had, ~had, had | True, had | True)
    what = (rejects, rejects, had, np.array([p.extramedullary_fraction > 0 for p in patients]))
    for group, those, p in zip(of_whom, what, (share, anyway, 0.4, 0.2), strict=True):
        count, n = int(those[group].sum()), int(group.sum())
        assert stats.binomtest(count, n, p).pvalue > FALSE_ALARM / 4
        assert stats.binomtest(count, n, 2 * p).pvalue < FALSE_ALARM / 4


def test_extramedullary_disease_is_moved_not_made(make_patient: MakePatient) -> None:
    patient = make_patient(0)
    letters = alphabet_of(patient.biology)
    before, after = (grow_leukaemia(of(patient, extramedullary_fraction=f), Engine()) for f in (0, 0.4))
    marrow = [i for i, s in enumerate(letters.states) if s.niche != SANCTUARY]
    for i in marrow:
        j = letters.index(letters.states[i]._replace(niche=SANCTUARY))
        assert before[i] + before[j] == after[i] + after[j]
        assert before[i] < 100 or binomial(after[i], before[i], 0.6, len(marrow))
    assert not binomial(after[0], before[0], 0.601)


@pytest.mark.statistical
def test_extramedullary_disease_at_entry_comes_back_there() -> None:
    """More relapses are of sanctuaries. And, with a false alarm of ten times that, fewer patients reach remission.

    Published: 51 of 51 with isolated extramedullary disease reached it (trials.yaml, b019); of the model's 87 %.
    """
    with_it = rows("cohort.extramedullary_fraction=1")
    assert with_it["extramedullary_at_entry"].all()
    assert more_often(*(is_kind(p, "relapse_mechanism", "sanctuary") for p in (with_it, rows()))) < FALSE_ALARM
    assert more_often(*(~p["complete_remission"].to_numpy() for p in (with_it, rows()))) < 10 * FALSE_ALARM


@pytest.mark.statistical
def test_new_draws_change_nobody() -> None:
    """Whatever history the settings give, everything else about a patient is the same; luck is even."""
    some = {"prior_car_fraction": 0.7, "prior_car_rejected_fraction": 1.0, "extramedullary_fraction": 0.7}
    new = {"prior_car_antigen", "prior_car_log10_kill", "prior_car_escaped", "extramedullary_fraction"}
    new |= {"rejection_day"}
    luck = []
    for i in range(200):
        one, two = (sample_patient(i, 9, c, Biology()) for c in (Cohort(), Cohort(**some)))  # type: ignore[arg-type]
        luck.append((one.transplant_luck, one.reinfusion_luck, one.graft_z))
        assert {f.name for f in fields(Patient) if getattr(one, f.name) != getattr(two, f.name)} <= new
        assert two.rejection_day <= one.rejection_day
    for drawn, law in zip(zip(*luck, strict=True), (stats.uniform, stats.uniform, stats.norm), strict=True):
        assert stats.kstest(drawn, law.cdf).pvalue > FALSE_ALARM / 3


SOME, PRIOR, OUTSIDE = (
    "regimen.transplant.fraction=0.5",
    "cohort.prior_car_fraction=0.5",
    "cohort.extramedullary_fraction",
)
DONOR = "+product.components.graft={donor: true, day: 10, constructs: {cd22: {antigen: cd22}}}"
SECOND = "+product.components.two={only_in_remission: true, day: 20, constructs: {cd22: {antigen: cd22}}}"
BAD = {
    "transplant early": ([SOME, "regimen.transplant.day=20"], "day=20: .* known on day 28; transplant later"),
    "transplant that day": ([SOME, "regimen.transplant.day=28"], "day=28: .* known on day 28; transplant later"),
    "unknown CAR": ([PRIOR, "cohort.prior_car_antigen=cd91"], "antigen='cd91' is not .* Did you mean 'cd19'"),
    "transplant late": ([SOME, "regimen.transplant.day=400"], "day=400, but follow-up ends on day 366"),
    "donor without transplant": ([DONOR], "graft is donor-derived .*transplant.fraction=0: transplant some"),
    "donor late": ([DONOR, SOME, "regimen.transplant.day=360"], "graft is infused on day 370, but follow-up ends"),
    "remission not known": ([SECOND, "product.schedule=sequential"], "on day 20, but remission is known on day 28"),
    "early look": (
        ["regimen.reinfusion.fraction=1", "regimen.reinfusion.window_days=28"],
        "window_days=28: .* known on day 28; look for longer",
    ),
    "no clones": ([PRIOR, "cohort.clones=none"], "selects among clones; let them grow"),
    "no way out": ([f"{OUTSIDE}=0.2", "biology.routes_off=[sanctuary_entry]"], "no route leads to a sanctuary"),
    "only donors": (["product.components.cd19.donor=true"], "every component is donor-derived: at least one must be"),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused(change: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        compose(["trial=none", "comparators=none", "product=cd19_fmc63", *change])


def test_history_that_the_biology_cannot_have_is_refused(make_patient: MakePatient) -> None:
    with pytest.raises(InputError, match="prior_car_antigen='cd20' is not an antigen"):
        grow_leukaemia(of(make_patient(0), prior_car_antigen="cd20", prior_car_log10_kill=1.0), Engine())
    closed = make_patient(0).biology.model_copy(update={"routes_off": ("sanctuary_entry",)})
    with pytest.raises(InputError, match="open sanctuary_entry"):
        grow_leukaemia(of(make_patient(0), biology=closed, extramedullary_fraction=0.5), Engine())
