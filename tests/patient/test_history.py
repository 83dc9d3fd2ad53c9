"""What patients bring along: an earlier CAR, rejection, extramedullary disease; and histories that cannot be."""

from __future__ import annotations

import math
from dataclasses import fields
from dataclasses import replace as of

import numpy as np
import pytest
from scipy import stats

from escape_abm.engines.chance import luck_of
from escape_abm.inputs.biology import Biology
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.cohort import Cohort, Patient, sample_patient
from escape_abm.inputs.settings import Engine
from escape_abm.interface.composition import compose
from escape_abm.law.rates import densities, hill
from escape_abm.law.states import SANCTUARY, alphabet_of, shown_sign
from escape_abm.patient.leukaemia import _select, grow_leukaemia
from tests.patient.treated import FALSE_ALARM, MakePatient, binomial, is_kind, more_often, rows


def test_an_earlier_car_takes_what_it_recognises(make_patient: MakePatient) -> None:
    """Of each state the share left is 10 to the minus (log-kill times recognition by the reference CAR)."""
    patient = of(make_patient(0), prior_car_antigen="cd22", prior_car_log10_kill=2.0)
    biology, letters = patient.biology, alphabet_of(patient.biology)
    left = _select(luck_of(np.random.default_rng(1)), np.full(len(letters), 10**9), letters, patient)
    half = np.array([biology.antigens["cd22"].half_density_molecules])
    seen = hill(densities(letters, biology)[:, [1]], half, biology.killing.hill)[:, 0]
    assert all(binomial(n, 1e9, 10 ** (-2 * s), len(letters)) for n, s in zip(left, seen, strict=True))
    assert not binomial(left[0], 1e9, 10 ** (-2.02 * seen[0]))
    deep, few = of(patient, prior_car_log10_kill=12.0), np.eye(1, len(letters), dtype=np.int64)[0] * 100
    assert _select(luck_of(np.random.default_rng(1)), few, letters, deep).sum() == 1  # for the leukaemia did come back


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
