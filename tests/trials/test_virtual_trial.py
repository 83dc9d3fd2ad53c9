"""A virtual trial: its tables, their independence of workers, and what its parameters do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError
from scipy import stats

from escape_abm.inputs.biology import route_names
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import Patient
from escape_abm.inputs.products import Product
from escape_abm.inputs.regimen import Regimen
from escape_abm.inputs.settings import Engine, Settings
from escape_abm.inputs.trial import COMPARED, MEDIAN_TIMES, MEDIANS, PHENOTYPES, SHARES
from escape_abm.interface.composition import compose
from escape_abm.law.states import State, alphabet_of
from escape_abm.patient.course import simulate
from escape_abm.patient.endpoints import MECHANISMS, RELAPSE_KINDS
from escape_abm.runs import notebook
from escape_abm.trials import checkpoints, virtual_trial
from escape_abm.trials.estimates import AT_ASSESSMENT, contrast, summarise
from escape_abm.trials.readings import causes_of_failure
from escape_abm.trials.survival import paired_difference
from escape_abm.trials.virtual_trial import TrialResult, run_trial

ENDPOINTS = {
    "complete_remission",
    "mrd_negative",
    "mrd_negative_ngs",
    "overall_survival",
    "event_free_survival",
    "relapse_free_survival",
    "cumulative_incidence_relapse",
    "cumulative_incidence_antigen_negative",
    "cumulative_incidence_antigen_positive",
    "cumulative_incidence_lineage_switch",
    "non_relapse_mortality",
    "crs_grade_3_or_higher",
    "car_t_persistence",
    "b_cell_aplasia",
    *(e for e in COMPARED if e not in MEDIAN_TIMES),
}


@pytest.fixture(scope="module")
def result() -> TrialResult:
    return run_trial(compose(["cohort.size=24", "workers=2", "trajectories.patients=3"]))


@pytest.mark.parametrize("error", [TerminatedWorkerError("killed. {SIGKILL(-9)}"), MemoryError()])
def test_a_lost_worker_is_replaced_once(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No byte differs after one loss; after two, what is done is kept and the way out is said."""
    settings = compose(["trial=none", "comparators=none", "cohort.size=5", "workers=1", "trajectories.patients=2"])
    straight, plain = run_trial(settings), virtual_trial._compute
    losses: list[int] = []

    def breaks(indices: list[int], settings: Settings) -> Iterator[Any]:
        for i in indices:
            if i == 3 and len(losses) < most:
                losses.append(i)
                raise error
            yield from plain([i], settings)

    monkeypatch.setattr(virtual_trial, "_compute", breaks)
    most = 1
    again = run_trial(settings)
    for name, table in straight.files().items():
        pd.testing.assert_frame_equal(again.files()[name], table)
    most = 3
    with pytest.raises(InputError, match=r"lost twice.*(SIGKILL|MemoryError).*2 patients are still.*fewer workers"):
        run_trial(settings, keep=tmp_path)
    assert sorted(checkpoints.saved(tmp_path)) == [0, 1, 2]


def test_workers_and_size_change_nothing(result: TrialResult) -> None:
    alone = run_trial(compose(["cohort.size=24", "workers=1", "trajectories.patients=3"]))
    for name in ("patients", "trajectories", "summary", "contrasts"):
        pd.testing.assert_frame_equal(getattr(alone, name), getattr(result, name), check_exact=True)
    fewer = run_trial(compose(["cohort.size=7", "workers=1", "trajectories.patients=0"]))
    pd.testing.assert_frame_equal(
        fewer.patients, result.patients[result.patients["patient"] < 7].reset_index(drop=True), check_exact=True
    )


def test_patients_table(result: TrialResult) -> None:
    p = result.patients
    assert list(p.columns[:2]) == ["patient", "arm"]
    assert not p.duplicated(["patient", "arm"]).any()
    assert p.groupby("patient")["burden_cells"].nunique().eq(1).all()  # the same patient in every arm
    assert p.groupby("arm").size().eq(24).all()
    relapsed = p[p["relapse"]]
    assert set(relapsed["relapse_kind"].dropna()) <= set(RELAPSE_KINDS)
    assert set(relapsed["relapse_mechanism"].dropna()) <= set(MECHANISMS)
    assert relapsed["relapse_phenotype"].notna().all()
    assert p.loc[~p["relapse"], "relapse_kind"].isna().all()
    assert (p["day_last"] <= 366).all()
    assert (p.loc[p["day_death"].notna(), "day_death"] >= p.loc[p["day_death"].notna(), "day_event"]).all()


def test_summary_table(result: TrialResult) -> None:
    s = result.summary
    assert list(s.columns) == ["arm", "endpoint", "month", "estimate", "lower", "upper", "n", "standard_error"]
    assert set(s["endpoint"]) == ENDPOINTS
    assert set(s["month"].dropna()) == {1, 3, 6, 12}
    assert set(s.loc[s["month"].isna(), "endpoint"]) == {*SHARES, *PHENOTYPES, *MEDIANS} - set(AT_ASSESSMENT)
    known = s.dropna(subset=["estimate", "lower"])
    assert ((known["lower"] <= known["estimate"]) & (known["estimate"] <= known["upper"])).all()
    known = known[~known["endpoint"].isin(list(MEDIANS))]
    assert known[["lower", "upper"]].apply(lambda c: c.between(0, 1)).all(axis=None)


def test_incidences_add_up(result: TrialResult) -> None:
    wide = result.summary.pivot(index=["arm", "month"], columns="endpoint", values="estimate")
    kinds = [f"cumulative_incidence_{k}" for k in ("antigen_negative", "antigen_positive", "lineage_switch")]
    wide = wide.dropna(subset=kinds)
    assert len(wide) > 0
    assert np.allclose(wide[kinds].sum(axis=1), wide["cumulative_incidence_relapse"], atol=1e-12)


def test_summary_of_hand_made_patients() -> None:
    """Five patients by hand: 4 in CR; one antigen-negative relapse on day 100, one death of treatment on day 50."""
    nan = math.nan
    p = pd.DataFrame(
        {
            "patient": range(5),
            "arm": "x",
            "complete_remission": [True, True, True, True, False],
            "mrd_negative": [True, True, False, True, False],
            "mrd_negative_ngs": [True, False, False, False, False],
            "crs_any_grade": [True, True, True, False, False],
            "crs_grade_3_or_higher": [True, False, False, False, False],
            "relapse": [False, True, False, False, False],
            "relapse_phenotype": pd.array([None, "CD19-CD22dim", None, None, None], dtype="string"),
            "relapse_site": pd.array([None, "marrow", None, None, None], dtype="string"),
            "car_t_lost_at_relapse": pd.array([None, True, None, None, None], dtype="boolean"),
            "day_transplant": [nan, nan, 40.0, nan, nan],
            "relapse_kind": pd.array([None, "antigen-negative", None, None, None], dtype="string"),
            "cause_of_death": pd.array([None, None, "treatment", None, "leukaemia"], dtype="string"),
            "day_relapse": [nan, 100.0, nan, nan, nan],
            "day_event": [nan, 100.0, 50.0, nan, 28.0],
            "day_death": [nan, nan, 50.0, nan, 200.0],
            "day_last": [366.0, 366.0, 50.0, 366.0, 200.0],
            "day_watched": [366.0, 100.0, 50.0, 366.0, 28.0],
            "day_car_t_lost": [nan, nan, nan, 90.0, nan],
            "day_b_cell_recovery": [nan, nan, nan, 80.0, nan],
            "car_t_fold_expansion": [10.0, 1000.0, nan, 100.0, 1.0],
            "day_car_t_peak": [9.0, 10.0, 11.0, 12.0, 13.0],
            "car_t_peak_cells": [1, 2, 3, 4, 5],
            "car_t_fraction_day_90": [0.1, nan, nan, 0.3, nan],
            "car_t_fraction_day_360": [nan] * 5,
        }
    )
    assert causes_of_failure(p[p["complete_remission"]])["cause"].tolist() == [0, 1, 4, 0]
    s = summarise(p, ["x"], 12).set_index(["endpoint", "month"])["estimate"]
    shares = summarise(p, ["x"], 12).set_index("endpoint")["estimate"]
    assert shares["relapse"] == 1 / 5
    assert shares["transplanted"] == 1 / 5
    assert shares["crs_any_grade"] == 3 / 5
    seen = {name for name in PHENOTYPES if shares[name] == 1}  # of the one relapse
    assert seen == {"relapse_cd19neg_cd22pos", "relapse_cd19neg", "relapse_antigen_negative"}
    assert shares["median_car_t_fold_expansion"] == 55
    assert shares["median_day_car_t_peak"] == 11
    assert shares["median_car_t_fraction_day_90"] == pytest.approx(0.2)
    assert math.isnan(shares["median_car_t_fraction_day_360"])
    assert s["complete_remission", 1] == 4 / 5
    assert s["mrd_negative", 1] == 3 / 5
    assert s["mrd_negative_ngs", 1] == 1 / 5
    assert s["overall_survival", 12] == pytest.approx(3 / 5)
    assert s["event_free_survival", 12] == pytest.approx(2 / 5)
    assert s["relapse_free_survival", 12] == pytest.approx(2 / 4)
    assert s["cumulative_incidence_antigen_negative", 12] == pytest.approx(1 / 4)
    assert s["cumulative_incidence_antigen_negative", 3] == 0
    assert s["cumulative_incidence_antigen_positive", 12] == 0
    assert s["non_relapse_mortality", 12] == pytest.approx(1 / 5)
    # Persistence of patients in CR: 4 until one is lost to death at day 50, then 1 of 3 loses CAR T cells at day 90.
    assert s["car_t_persistence", 6] == pytest.approx(2 / 3)
    assert s["b_cell_aplasia", 6] == pytest.approx(2 / 3)


def test_contrasts_are_paired(result: TrialResult) -> None:
    c = result.contrasts
    assert c["reference"].eq("auto1_22").all()
    assert set(c["arm"]) == set(result.patients["arm"]) - {"auto1_22"}
    assert c["n"].eq(24).all()
    p = result.patients.set_index(["arm", "patient"])["complete_remission"].unstack(0)
    line = c[(c["arm"] == "cd22_m971") & (c["endpoint"] == "complete_remission")].iloc[0]
    assert line["difference"] == pytest.approx(p["cd22_m971"].mean() - p["auto1_22"].mean())
    assert c["unpaired_n"].dtype == "Int64"
    unpaired = paired_difference(p["cd22_m971"].astype(bool), p["auto1_22"].astype(bool)).unpaired_n
    assert line["unpaired_n"] == math.ceil(round(unpaired, 6))
    same = contrast(
        pd.concat([result.patients[result.patients["arm"] == "tandem"].assign(arm=a) for a in "ab"]), "ab", 12
    )
    assert same["difference"].eq(0).all()


def test_trajectories(result: TrialResult) -> None:
    t = result.trajectories
    assert list(t.columns) == ["patient", "arm", "day", "group", "cells"]
    assert set(t["patient"]) == {0, 1, 2}
    assert (t["cells"] >= 0).all()
    wide = t.pivot(index=["patient", "arm", "day"], columns="group", values="cells").fillna(0)
    phenotypes = [g for g in wide if g.startswith("CD19") or g == "lineage switch"]
    assert (wide[phenotypes].sum(axis=1) == wide["leukaemia"]).all()


@pytest.mark.parametrize(
    "words",
    [
        ["clinic.treatment_death_fraction=1", "clinic.treatment_death_last_day=60"],
        ["engine.stop_at_failure=false", "clinic.death_after_relapse_per_day=0.1", "product=cd19_fmc63"],
        [
            "regimen.transplant.fraction=1",
            "regimen.transplant.death_fraction=1",
            "regimen.transplant.death_last_day=30",
        ],
    ],
)
def test_courses_end_with_the_patient(words: list[str]) -> None:
    """In the stored table, at the prompt and in its picture, whatever the patient died of."""
    base = ["trial=none", "biology=starting_fit", "clinic=standard", "comparators=none", "workers=1"]
    settings = compose([*base, "cohort.size=6", "trajectories.patients=6", "trajectories.every_days=7", *words])
    result = notebook.run_trial(settings)
    fates = result.patients.set_index("patient")
    last = result.trajectories.groupby("patient")["day"].max()
    of_treatment = fates["cause_of_death"].eq("treatment") | (not settings.engine.stop_at_failure)
    died = fates.index[fates["day_death"].notna() & of_treatment]  # others: courses end with failure, before it
    assert len(died) >= 2
    shown = result.plot.courses().table.groupby("patient")["day"].max()
    for i in died:
        assert last[i] == math.floor(fates["day_death"][i])
        assert shown.get(i, last[i]) == last[i]
    alive = fates.index.difference(died)
    assert (last[alive] >= fates["day_watched"][alive]).all()
    assert not (last > fates["day_last"]).any()
    one = notebook.VirtualPatient(settings, int(died[0]))
    assert one.courses["day"].max() == one.plot().table["day"].max() == last[died[0]]
    assert one.trajectories[settings.product.name].day[-1] == last[died[0]]
    assert one.fates["day_death"].tolist() == [fates["day_death"][died[0]]]


# ------------------------------------------------------------------------------------------- routes, one by one


def _cd19_dim(s: State) -> bool:
    return s.antigens[0].shown == "dim"


def _cd22_dim(s: State) -> bool:
    return s.antigens[1].shown == "dim"


ROUTE_LEADS_TO: dict[str, Callable[[State], bool]] = {
    "cd19_allele_loss": lambda s: s.lineage == "B" and s.antigens[0].alleles < 2,
    "cd19_silencing": lambda s: s.antigens[0].shown == "silenced",
    "cd19_dimming": _cd19_dim,
    "cd19_stripping": _cd19_dim,
    "cd22_allele_loss": lambda s: s.lineage == "B" and s.antigens[1].shown == "lost",
    "cd22_dimming": _cd22_dim,
    "cd22_stripping": _cd22_dim,
    "progenitor_entry": lambda s: s.progenitor,
    "lineage_switch": lambda s: s.lineage == "myeloid",
    "sanctuary_entry": lambda s: s.niche == "sanctuary",
}


def _eager(settings: Settings, routes_off: set[str]) -> Settings:
    """Escape made frequent, so that every route that is open is taken in one patient."""
    b = settings.biology
    rates = {"last_hit_per_division": 1e-6, "silencing_per_division": 1e-7}
    cd19, cd22 = (b.antigens[a].model_copy(update=rates) for a in ("cd19", "cd22"))
    leukaemia = b.leukaemia.model_copy(update={"lineage_switch_per_division": 1e-7})
    biology = b.model_copy(
        update={
            "antigens": {"cd19": cd19, "cd22": cd22},
            "leukaemia": leukaemia,
            "routes_off": tuple(sorted(routes_off)),
        }
    )
    return settings.model_copy(update={"biology": biology})


@pytest.mark.parametrize("route", ROUTE_LEADS_TO)
def test_a_closed_route_is_never_taken_and_an_open_one_is(
    route: str, settings: Settings, products: dict[str, Product], make_patient: Callable[[int], Patient]
) -> None:
    leads = ROUTE_LEADS_TO[route]
    twins = {r for r, other in ROUTE_LEADS_TO.items() if other is leads}

    def reached(routes_off: set[str]) -> bool:
        patient = make_patient(1)
        biology = _eager(settings, routes_off).biology
        patient = Patient(**(patient.__dict__ | {"biology": biology}))
        letters = alphabet_of(biology)
        path = simulate(
            patient, products["auto1_22"], Regimen(), Clinic(), follow_up_days=60, engine=Engine(stop_at_failure=False)
        )
        there = np.array([leads(s) for s in letters.states])
        return bool(path.cells[:, there].any())

    every = set(route_names(settings.biology.antigens))
    assert not reached(twins)  # all others open
    assert reached(every - {route})  # it alone


@cache  # the same patients without a change stand beside many changes
def _patients(*overrides: str, size: int = 120) -> pd.DataFrame:
    """Patients of one product on the default cohort with the values of the parameter rows, in this process."""
    base = ["trial=none", "comparators=none", f"cohort.size={size}", "trajectories.patients=0", "workers=1"]
    if not any(word.startswith("biology=") for word in overrides):
        base += ["biology=starting_fit", "clinic=standard"]
    return run_trial(compose([*base, *overrides])).patients


@pytest.mark.statistical
def test_no_escape_no_escaped_relapse() -> None:
    """With every escape route closed no relapse is antigen-negative or dim, though patients still relapse."""
    p = _patients("product=cd19_fmc63", "biology=no_escape")
    assert p["relapse"].sum() > 5
    assert set(p["relapse_phenotype"].dropna()) == {"CD19+CD22+"}
    assert not set(p["relapse_mechanism"].dropna()) & {"pre-existing clone", "acquired on therapy", "antigen low"}


def test_no_clones_no_pre_existing_relapse() -> None:
    p = _patients("product=cd22_m971", "cohort.clones=none")
    assert p["relapse"].sum() > 20
    assert "pre-existing clone" not in set(p["relapse_mechanism"].dropna())


# --------------------------------------------------------------------------------------------- direction of effects

# product, change, column, sign of the effect, settings common to both sides
EFFECTS: list[tuple[str, str, str, int, tuple[str, ...]]] = [
    ("cd19_fmc63", "biology.antigens.cd19.last_hit_per_division=2.6e-6", "antigen_negative", 1, ()),
    ("cd19_fmc63", "biology.antigens.cd19.silencing_per_division=8.7e-12", "antigen_negative", 1, ()),
    ("cd22_m971", "biology.antigens.cd22.last_hit_per_division=1e-9", "antigen_negative", 1, ()),
    ("cd22_m971", "biology.antigens.cd22.half_density_molecules=210", "mrd_negative", 1, ()),
    ("cd22_m971", "biology.antigens.cd22.blast_density_molecules=700", "complete_remission", -1, ()),
    ("cd19_fmc63", "cohort.burden_median_cells=1e9", "complete_remission", 1, ()),
    ("cd19_fmc63", "cohort.burden_median_cells=1e9", "antigen_negative", -1, ()),
    ("cd19_fmc63", "biology.car_t.effector_division_per_day=1.5", "complete_remission", 1, ()),
    ("cd19_fmc63", "biology.car_t.effector_death_per_day=0.4", "mrd_negative", -1, ()),
    ("cd19_fmc63", "biology.killing.kill_per_day=0.8", "mrd_negative", -1, ()),
    ("cd19_fmc63", "biology.killing.sanctuary_access=0.1", "antigen_positive", 1, ()),
    ("cd19_fmc63", "biology.car_t.rejected_fraction=1", "car_t_lost", 1, ()),
    ("cd19_fmc63", "biology.car_t.effector_death_per_day=0.3", "b_cells_back", 1, ()),
    ("cd19_fmc63", "biology.leukaemia.lineage_switch_per_division=1e-12", "lineage_switch", 1, ()),
    ("cd19_fmc63", "cohort.kmt2a_fraction=1", "lineage_switch", 1,
     ("biology.leukaemia.lineage_switch_per_division=1e-15",)),
    ("cd19_fmc63", "regimen.lymphodepletion=false", "mrd_negative", -1, ()),
    ("cd19_fmc63", "regimen.bridging_log10_kill=3", "complete_remission", 1, ("cohort.burden_median_cells=1e12",)),
    ("tandem", "biology.antigens.cd22.tandem_fold=90", "antigen_negative", 1,
     ("biology.antigens.cd19.last_hit_per_division=1e-5",)),
    ("cotransduced", "product.components.dual.transduced_fraction.cd22=0.0001", "antigen_negative", 1,
     ("biology.antigens.cd19.last_hit_per_division=1e-5",)),
]  # fmt: skip
FALSE_ALARM = 1e-3  # one-sided, of each line of the table


def _outcome(p: pd.DataFrame, column: str) -> pd.Series:
    if column in ("antigen_negative", "antigen_positive", "lineage_switch"):
        kind = {"lineage_switch": "lineage switch"}.get(column, column.replace("_", "-"))
        return (p["relapse_kind"] == kind).fillna(False).astype(bool)
    if column == "car_t_lost":
        return p["day_car_t_lost"].notna()
    if column == "b_cells_back":
        return p["day_b_cell_recovery"] < 100
    return p[column].astype(bool)


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("arm", "change", "column", "sign", "common"), EFFECTS, ids=[f"{e[1]}:{e[2]}" for e in EFFECTS]
)
def test_direction_of_effect(arm: str, change: str, column: str, sign: int, common: tuple[str, ...]) -> None:
    """The same patients with and without a change: the paired difference has the expected sign, beyond chance."""
    before, after = (_patients(f"product={arm}", *common, *more, size=160) for more in ([], [change]))
    first, second = _outcome(after, column), _outcome(before, column)
    d = paired_difference(first, second)
    gained, lost = int((first & ~second).sum()), int((~first & second).sum())
    p_value = stats.binomtest(
        max(gained if sign > 0 else lost, 0), max(gained + lost, 1), 0.5, alternative="greater"
    ).pvalue
    assert d.difference * sign > 0
    assert p_value < FALSE_ALARM
