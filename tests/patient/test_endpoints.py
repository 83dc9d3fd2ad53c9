"""Endpoints from hand-made courses, where the answer is known without simulating."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from escape_abm.inputs.biology import Biology
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import Cohort, sample_patient
from escape_abm.inputs.products import Component, Product, car_classes
from escape_abm.inputs.regimen import Transplant
from escape_abm.law.states import Alphabet, State, alphabet_of, founder, lose_antigen
from escape_abm.patient.course import Stop, Trajectory
from escape_abm.patient.endpoints import patient_row, relapse_kind, relapse_phenotype

BIOLOGY = Biology()
LETTERS: Alphabet = alphabet_of(BIOLOGY)
NORMAL = founder((("cd19", 2), ("cd22", 1)))
CLINIC = Clinic(treatment_death_fraction=0, severe_crs_sigma=0)
DAYS = 366


def at(state: State) -> int:
    return LETTERS.index(state)


def make_path(
    product: Product, *, relapse: dict[State, float] | None = None, day: int = 100, **change: Any
) -> Trajectory:
    """Everything gone by day 10; the cells of `relapse` are there from `day` on."""
    days = np.arange(DAYS + 1, dtype=float)
    cells = np.zeros((DAYS + 1, len(LETTERS)), dtype=np.int64)
    cells[:10, at(NORMAL)] = 10**11
    for state, n in (relapse or {}).items():
        cells[day:, at(state)] = int(n)
    classes = car_classes(product, BIOLOGY.antigens)
    car_t = np.zeros((DAYS + 1, len(classes), 3), dtype=np.int64)
    car_t[:, 0, 1] = 10**8
    patient = sample_patient(0, 1, Cohort(), BIOLOGY)
    fields: dict[str, Any] = {
        "day": days,
        "cells": cells,
        "car_t": car_t,
        "b_cells": np.full(DAYS + 1, 10**7, dtype=np.int64),
        "recoveries": ((-1.0, 0.0, 0.17),),
        "kills": np.zeros(DAYS + 1),
        "entry": cells[0],
        "stop": Stop.COMPLETED,
        "ticks": 1,
        "alphabet": LETTERS,
        "classes": classes,
        "patient": patient,
        "product": product,
        "infused": dict.fromkeys(product.components, 0.0),
    }
    return Trajectory(**(fields | change))


def row(path: Trajectory, clinic: Clinic = CLINIC) -> dict[str, Any]:
    return patient_row(path, clinic, DAYS, Transplant())


def test_lasting_remission(products: dict[str, Product]) -> None:
    r = row(make_path(products["tandem"]))
    assert r["complete_remission"]
    assert r["mrd_negative"]
    assert not r["relapse"]
    assert math.isnan(r["day_relapse"])
    assert math.isnan(r["day_death"])
    assert r["day_last"] == DAYS
    assert r["relapse_kind"] is None
    assert math.isnan(r["day_event"])


def test_marrow_conversion_is_its_own_inverse() -> None:
    for fraction in (1e-6, 1e-4, 0.05, 0.6):
        assert CLINIC.blast_fraction(CLINIC.marrow_cells(fraction)) == pytest.approx(fraction, rel=1e-12)
    assert CLINIC.marrow_cells(0.05) == pytest.approx(9.545e10, rel=1e-3)  # of 1.909e12 cells
    assert CLINIC.marrow_cells(1e-4) == pytest.approx(1.909e8, rel=1e-3)


@pytest.mark.parametrize(("cells", "relapses"), [(9.54e10, False), (9.55e10, True)])
def test_relapse_is_five_percent_of_marrow(products: dict[str, Product], cells: float, relapses: bool) -> None:
    r = row(make_path(products["tandem"], relapse={NORMAL: cells}))
    assert r["relapse"] is relapses
    if relapses:
        assert r["day_relapse"] == 100
        assert r["relapse_phenotype"] == "CD19+CD22+"
        assert r["relapse_kind"] == "antigen-positive"


@pytest.mark.parametrize(
    ("in_marrow", "hidden", "site"),
    [(1e10, 3e10, "extramedullary"), (1.04e11, 2.9e10, "marrow"), (1.04e11, 3e10, "combined")],
)
def test_site_of_a_relapse(products: dict[str, Product], in_marrow: float, hidden: float, site: str) -> None:
    assert CLINIC.extramedullary_cells == 3e10
    r = row(make_path(products["tandem"], relapse={NORMAL: in_marrow, NORMAL._replace(niche="sanctuary"): hidden}))
    assert (r["relapse"], r["relapse_site"]) == (True, site)
    assert (r["relapse_mechanism"] == "sanctuary") == (site == "extramedullary")


def test_no_remission(products: dict[str, Product]) -> None:
    r = row(make_path(products["tandem"], relapse={NORMAL: 2e11}, day=5))
    assert not r["complete_remission"]
    assert not r["relapse"]
    assert r["day_event"] == 28


NEGATIVE = lose_antigen(NORMAL, 0)
DIM = next(
    s
    for s in LETTERS.states
    if [a.shown for a in s.antigens] == ["dim", "high"] and s.niche == "marrow" and not s.progenitor
)
MYELOID = next(s for s in LETTERS.states if s.lineage == "myeloid" and s.niche == "marrow" and s.origin == "founder")


@pytest.mark.parametrize(
    ("cells", "phenotype"),
    [
        ({NORMAL: 100}, "CD19+CD22+"),
        ({NEGATIVE: 100}, "CD19-CD22+"),
        ({NEGATIVE: 51, NORMAL: 49}, "CD19-CD22+"),
        ({NEGATIVE: 49, NORMAL: 51}, "CD19+CD22+"),
        ({NEGATIVE: 30, DIM: 30, NORMAL: 40}, "CD19dimCD22+"),
        ({lose_antigen(NEGATIVE, 1): 100}, "CD19-CD22-"),
        ({lose_antigen(NORMAL, 1): 100}, "CD19+CD22-"),
        ({MYELOID: 60, NORMAL: 40}, "lineage switch"),
        ({MYELOID: 40, NEGATIVE: 40, NORMAL: 20}, "CD19-CD22+"),
    ],
)
def test_phenotype(cells: dict[State, int], phenotype: str) -> None:
    counts = np.zeros(len(LETTERS), dtype=np.int64)
    for state, n in cells.items():
        counts[at(state)] = n
    assert relapse_phenotype(counts, LETTERS, 0.5) == phenotype


@pytest.mark.parametrize(
    ("arm", "phenotype", "kind"),
    [
        ("cd19_fmc63", "CD19-CD22+", "antigen-negative"),
        ("cd19_fmc63", "CD19+CD22-", "antigen-positive"),
        ("cd22_m971", "CD19-CD22+", "antigen-positive"),
        ("cd22_m971", "CD19+CD22-", "antigen-negative"),
        ("tandem", "CD19+CD22-", "antigen-negative"),
        ("tandem", "CD19dimCD22dim", "antigen-positive"),
        ("tandem", "lineage switch", "lineage switch"),
    ],
)
def test_antigen_negative_is_of_the_products_own_antigens(
    products: dict[str, Product], arm: str, phenotype: str, kind: str
) -> None:
    assert relapse_kind(phenotype, products[arm].targets) == kind


@pytest.mark.parametrize(
    ("origin", "mechanism"), [("founder", "pre-existing clone"), ("acquired", "acquired on therapy")]
)
def test_escape_mechanism(products: dict[str, Product], origin: str, mechanism: str) -> None:
    r = row(make_path(products["cd19_fmc63"], relapse={NEGATIVE._replace(origin=origin): 2e11}))
    assert (r["relapse_kind"], r["relapse_mechanism"]) == ("antigen-negative", mechanism)


def test_other_mechanisms(products: dict[str, Product]) -> None:
    single = products["cd19_fmc63"]
    assert row(make_path(single, relapse={DIM: 2e11}))["relapse_mechanism"] == "antigen low"
    assert row(make_path(single, relapse={NORMAL: 2e11}))["relapse_mechanism"] == "outgrown"
    path = make_path(single, relapse={NORMAL: 2e11})
    path.car_t[50:] = 0
    assert row(path)["relapse_mechanism"] == "CAR T lost"
    rejecting = type(path.patient)(**(path.patient.__dict__ | {"rejection_day": 30.0}))
    assert row(replace(path, patient=rejecting))["relapse_mechanism"] == "rejected"
    tired = make_path(single, relapse={NORMAL: 2e11})
    tired.car_t[:, 0, 2] = 10**9
    assert row(tired)["relapse_mechanism"] == "exhausted"
    entered = type(path.patient)(**(path.patient.__dict__ | {"negative_fraction": 0.9}))
    negative = make_path(single, relapse={NEGATIVE: 2e11}, patient=entered)
    assert row(negative)["relapse_mechanism"] == "negative at entry"
    # CD22 lost besides: that loss is what the product missed.
    both = lose_antigen(NEGATIVE, 1)._replace(origin="acquired")
    for arm in ("cd22_m971", "tandem"):
        path = make_path(products[arm], relapse={both: 2e11}, patient=entered)
        assert row(path)["relapse_mechanism"] == "acquired on therapy"


def test_car_t_and_b_cells(products: dict[str, Product]) -> None:
    path = make_path(products["cd19_fmc63"])
    path.car_t[:] = 0
    path.car_t[:, 0, 1] = 10**6
    path.car_t[5:60, 0, 1] = 10**8
    path.car_t[9, 0, 1] = 10**9
    path.b_cells[:4] = 10**10
    path.b_cells[200:] = 10**10
    r = row(path)
    assert (r["car_t_peak_cells"], r["day_car_t_peak"], r["day_car_t_lost"]) == (10**9, 9, 60)
    assert (r["day_b_cell_aplasia"], r["day_b_cell_recovery"]) == (4, 200)
    expected = np.trapezoid([1e6] * 5 + [1e8] * 4 + [1e9] + [1e8] * 19)
    assert r["car_t_auc_28_cell_days"] == pytest.approx(expected)


def test_severe_crs_follows_killing(products: dict[str, Product]) -> None:
    path = make_path(products["cd19_fmc63"])
    path.kills[7] = 0.99 * CLINIC.severe_crs_kills_per_day
    assert not row(path)["crs_grade_3_or_higher"]
    path.kills[7] = 1.01 * CLINIC.severe_crs_kills_per_day
    assert row(path)["crs_grade_3_or_higher"]


def test_a_cd28_domain_lowers_the_threshold_of_crs(products: dict[str, Product]) -> None:
    clinic = CLINIC.model_copy(update={"cd28_crs_fold": 0.25})
    product = products["cd19_fmc63"]
    car = product.components["cd19"].constructs["cd19"]
    for domain, severe in (("CD28", True), ("CD28-OX40", True), ("4-1BB", False)):
        changed = {"cd19": Component(constructs={"cd19": car.model_copy(update={"costimulation": domain})})}
        path = make_path(product.model_copy(update={"components": changed}))
        path.kills[7] = 0.3 * clinic.severe_crs_kills_per_day
        assert row(path, clinic)["crs_grade_3_or_higher"] == severe


def test_adults_die_of_the_treatment_more_often(products: dict[str, Product]) -> None:
    """As many more as set: of patients whose luck lies between the two fractions, adults die and children do not."""
    clinic = CLINIC.model_copy(update={"treatment_death_fraction": 0.3, "adult_death_fold": 2.0})
    died = {False: 0, True: 0}
    for i in range(200):
        for adult in died:
            patient = replace(sample_patient(i, 1, Cohort(), BIOLOGY), adult=adult)
            died[adult] += row(make_path(products["tandem"], patient=patient), clinic)["cause_of_death"] == "treatment"
    for adult, share in ((False, 0.3), (True, 0.6)):
        assert stats.binomtest(died[adult], 200, share).pvalue > 1e-4
        assert stats.binomtest(died[adult], 200, 0.9 - share).pvalue < 1e-4


def test_failed_batches_are_counted(products: dict[str, Product]) -> None:
    biology = BIOLOGY.model_copy(update={"car_t": BIOLOGY.car_t.model_copy(update={"failed_fraction": 1.0})})
    pair = products["coadministered"]
    patient = sample_patient(0, 1, Cohort(), biology)
    assert row(make_path(pair, patient=patient))["components_failed"] == 2
    assert row(make_path(pair, patient=patient, infused={"cd19": 0.0}))["components_failed"] == 1
    assert row(make_path(pair))["components_failed"] == 0


def test_adults_die_sooner_after_relapse(products: dict[str, Product]) -> None:
    """The same luck at twice the hazard: half of the time from relapse to death."""
    clinic = CLINIC.model_copy(update={"death_after_relapse_per_day": 0.05, "adult_death_fold": 2.0})
    days = []
    for adult in (False, True):
        patient = replace(sample_patient(0, 1, Cohort(), BIOLOGY), adult=adult)
        days.append(row(make_path(products["tandem"], relapse={NORMAL: 2e11}, patient=patient), clinic)["day_death"])
    assert days[0] - 100 == pytest.approx(2 * (days[1] - 100))


def test_treatment_death_comes_first(products: dict[str, Product]) -> None:
    clinic = Clinic(treatment_death_fraction=1, treatment_death_last_day=60)
    r = row(make_path(products["tandem"], relapse={NORMAL: 2e11}, day=200), clinic)
    assert r["cause_of_death"] == "treatment"
    assert r["day_death"] <= 60
    assert not r["relapse"]
    assert r["day_event"] == r["day_death"] == r["day_last"]


def test_death_after_failure_follows_its_hazard(products: dict[str, Product]) -> None:
    """Exponential with the stated hazard, a luck of its own for each patient (five standard errors)."""
    days = []
    for i in range(2000):
        path = make_path(products["tandem"], relapse={NORMAL: 2e11}, patient=sample_patient(i, 1, Cohort(), BIOLOGY))
        days.append(row(path)["day_death"])
    died = np.mean(~np.isnan(days))
    expected = 1 - math.exp(-CLINIC.death_after_relapse_per_day * (DAYS - 100))
    assert abs(died - expected) < 5 * math.sqrt(expected * (1 - expected) / 2000)


def test_mrd_is_sampled(products: dict[str, Product]) -> None:
    """At the limit of flow cytometry about half of the samples are negative; far from it none or all."""
    shares = []
    for cells in (0.8, 1.0, 1.2):
        negative = 0
        for i in range(300):
            patient = sample_patient(i, 1, Cohort(), BIOLOGY)
            path = make_path(
                products["tandem"], relapse={NORMAL: cells * CLINIC.marrow_cells(1e-4)}, day=20, patient=patient
            )
            negative += row(path)["mrd_negative"]
        shares.append(negative / 300)
    assert shares[0] > 0.95
    assert shares[2] < 0.05
    assert abs(shares[1] - 0.5) < 5 * math.sqrt(0.25 / 300) + 0.02  # 100 of 1e6 cells: one in 25 samples has just 100


def test_only_what_the_patient_got_counts_as_a_target(products: dict[str, Product]) -> None:
    """A relapse without CD22 before the CD22 batch of a sequential product is antigen-positive; after it, negative."""
    lost = lose_antigen(NORMAL, 1)
    for second, kind in ((math.inf, "antigen-positive"), (90.0, "antigen-negative")):
        path = make_path(products["sequential"], relapse={lost: 2e11}, infused={"cd19": 0.0, "cd22": second})
        assert row(path)["relapse_kind"] == kind


def test_a_transplant_ends_what_tells_of_the_product(products: dict[str, Product]) -> None:
    """B cells that come back after it are no recovery, CAR T cells that went with it not lost; relapse says so."""
    path = make_path(products["cd19_fmc63"], relapse={NORMAL: 2e11}, day_transplant=60.0)
    path.b_cells[65:] = 10**10
    path.car_t[61:] = 0
    r = row(path)
    assert r["day_relapse"] == 100
    assert r["day_watched"] == 60
    assert math.isnan(r["day_b_cell_recovery"])
    assert math.isnan(r["day_car_t_lost"])
    assert r["car_t_lost_at_relapse"] is None
    assert r["relapse_mechanism"] == "after transplant"


def test_a_relapse_that_is_half_myeloid_is_a_lineage_switch() -> None:
    counts = np.zeros(len(LETTERS), dtype=np.int64)
    counts[[at(MYELOID), at(NORMAL)]] = 50
    assert relapse_phenotype(counts, LETTERS, 0.5) == "lineage switch"


def test_car_t_cells_against_their_start_and_their_peak(products: dict[str, Product]) -> None:
    path = make_path(products["tandem"])
    path.car_t[10, 0, 1], path.car_t[90, 0, 1], path.car_t[360, 0, 1] = 250_000_000, 200_000_000, 50_000_000
    r = row(path)
    assert r["car_t_fold_expansion"] == 2.5
    assert (r["car_t_fraction_day_90"], r["car_t_fraction_day_360"]) == (0.8, 0.2)


def test_death_of_the_transplant_is_even_over_its_days(products: dict[str, Product]) -> None:
    """False alarm 1e-4; days that end a tenth later are noticed. A dead patient gets nothing more."""
    how = Transplant(fraction=1, death_fraction=1, death_last_day=100)
    rows = [
        patient_row(
            make_path(products["tandem"], patient=sample_patient(i, 1, Cohort(), BIOLOGY), day_transplant=60.0),
            CLINIC, DAYS, how,
        )
        for i in range(600)
    ]  # fmt: skip
    days = np.array([r["day_death"] for r in rows])
    assert stats.kstest(days, stats.uniform(60, 100).cdf).pvalue > 1e-4
    assert stats.kstest(days, stats.uniform(60, 120).cdf).pvalue < 1e-4
    assert {r["day_transplant"] for r in rows} == {60.0}
    early = row(
        make_path(products["tandem"], day_transplant=60.0, day_reinfusion=70.0),
        CLINIC.model_copy(update={"treatment_death_fraction": 1, "treatment_death_last_day": 50}),
    )
    assert math.isnan(early["day_transplant"])
    assert math.isnan(early["day_reinfusion"])


def test_thresholds_of_crs_are_lognormal(products: dict[str, Product]) -> None:
    """One standard deviation above the median threshold 84 % have severe CRS; CRS of any grade begins at its fold."""
    clinic = CLINIC.model_copy(update={"severe_crs_sigma": 0.5, "any_crs_kills_fold": 0.25})
    severe = 0
    for i in range(400):
        path = make_path(products["tandem"], patient=sample_patient(i, 1, Cohort(), BIOLOGY))
        path.kills[5] = clinic.severe_crs_kills_per_day * math.exp(0.5)
        severe += row(path, clinic)["crs_grade_3_or_higher"]
    assert stats.binomtest(severe, 400, stats.norm.cdf(1)).pvalue > 1e-4
    assert stats.binomtest(severe, 400, stats.norm.cdf(1.5)).pvalue < 1e-4
    for fold, grades in ((0.24, (False, False)), (0.26, (True, False)), (1.01, (True, True))):
        path = make_path(products["tandem"])
        path.kills[5] = fold * CLINIC.severe_crs_kills_per_day
        r = row(path, clinic.model_copy(update={"severe_crs_sigma": 0}))
        assert (r["crs_any_grade"], r["crs_grade_3_or_higher"]) == grades
