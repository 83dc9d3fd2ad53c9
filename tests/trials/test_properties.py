"""What holds in every trial that the door lets in, whatever its settings. The long form: EXAMPLES=2000 pytest FILE."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from escape_abm.inputs.checks import InputError
from escape_abm.inputs.settings import DAYS_PER_MONTH, Settings
from escape_abm.law.states import LINEAGE_SWITCH
from escape_abm.patient.course import Stop, Trajectory
from escape_abm.patient.endpoints import ANTIGEN_NEGATIVE, MECHANISMS, patient_row, relapse_kind, targets
from escape_abm.runs.run_folder import write_tables
from escape_abm.trials import checkpoints
from escape_abm.trials.readings import causes_of_failure
from escape_abm.trials.survival import cumulative_incidence, kaplan_meier
from escape_abm.trials.virtual_trial import TrialResult, course, row_of, tabulate, treat
from tests.trials.drawn import configurations, default, few, put

ESCAPED, REMAINED = MECHANISMS[:3], MECHANISMS[3:]


def paths_of(settings: Settings) -> list[Trajectory]:
    """Every patient under both products; not one for whom the burden cannot be reached, which is said."""
    try:
        return [path for i in range(settings.cohort.size) for path in treat(i, settings)]
    except InputError as refused:
        assume("cannot grow" not in str(refused) and "not reached" not in str(refused))
        raise


def tables_of(settings: Settings, paths: list[Trajectory]) -> TrialResult:
    done: dict[int, checkpoints.Done] = {}
    for path in paths:
        rows, courses = done.setdefault(path.patient.index, ([], []))
        rows.append(row_of(path, settings))
        courses.append(course(path.until(rows[-1]["day_death"]), settings.trajectories.every_days))
    return tabulate(list(done.values()), settings)


def with_rows(**values: float) -> Settings:
    """The default small trial with rows at these paths (`__` for a dot)."""
    data: dict[str, Any] = default().model_dump()
    for path, value in values.items():
        put(data, path.replace("__", "."), value)
    arms = data.pop("comparators")
    small = {"comparators": {"tandem": arms["tandem"]}, "product": arms["cd19_fmc63"], "follow_up_months": 2}
    return Settings.model_validate(data | small | {"cohort": data["cohort"] | {"size": 2}})


@few(25)
@given(configurations())
@example(with_rows(biology__car_t__effector_division_per_day_sigma=4, seed=100696))  # CAR T cells overflowed
def test_counts_are_counts(settings: Settings) -> None:
    for path in paths_of(settings):
        for numbers in (path.cells, path.car_t, path.b_cells, path.entry):
            assert numbers.dtype == np.int64
            assert (numbers >= 0).all()
        assert np.isfinite(path.kills).all()
        assert (path.kills >= 0).all()
        assert np.isfinite(path.t_cells).all()
        assert np.array_equal(path.day, np.arange(path.day.size))
        largest = settings.sampled().engine.size_limit_cells
        if path.stop is not Stop.SIZE_LIMIT:
            assert path.cells.sum(axis=1, dtype=float).max() <= largest


NOTHING_HAPPENS = {
    "cohort.clones": "none",
    "regimen.lymphodepletion": False,
    "regimen.transplant.fraction": 0,
    "regimen.reinfusion.fraction": 0,
    "regimen.bridging_log10_kill": 0,
    "biology.leukaemia.net_growth_per_day": 0,
    "biology.leukaemia.death_per_day": 0,
    "biology.killing.kill_per_day": 0,
    "biology.car_t.effector_division_per_day": 0,
    "biology.car_t.effector_death_per_day": 0,
    "biology.car_t.memory_loss_per_day": 0,
    "biology.car_t.exhausted_death_per_day": 0,
    "biology.car_t.memory_activation_per_day": 0,
    "biology.car_t.rejected_fraction": 0,
}


@few(12)
@given(configurations(*NOTHING_HAPPENS.items()))
def test_cells_are_conserved_across_events(settings: Settings) -> None:
    """Without births and deaths cells only change state; what treatment adds or takes is what it says."""
    for path in paths_of(settings):
        assert (path.cells.sum(axis=1) == path.entry.sum()).all()
        assert path.entry.sum() == round(path.patient.burden_cells)
        given = np.diff(path.car_t.sum(axis=(1, 2)))
        later = [day for day in path.infused.values() if day > 0]
        assert all(n == 0 for day, n in enumerate(given) if day not in later and day + 1 not in later)


@few(25)
@given(configurations())
def test_endpoints_agree_with_one_another(settings: Settings) -> None:
    s = settings.sampled()
    for path in paths_of(settings):
        row = row_of(path, settings)
        assert math.isnan(row["day_relapse"]) == (not row["relapse"])
        if row["relapse"]:
            assert row["complete_remission"]
            assert s.clinic.assessment_day < row["day_relapse"] == row["day_event"] <= row["day_last"]
            seen = relapse_kind(row["relapse_phenotype"], targets(path, row["day_relapse"]))
            escaped = row["relapse_kind"] in (ANTIGEN_NEGATIVE, LINEAGE_SWITCH)
            assert row["relapse_kind"] == seen
            assert row["relapse_mechanism"] in (ESCAPED if escaped else REMAINED)
        else:
            names = ("relapse_kind", "relapse_phenotype", "relapse_mechanism", "relapse_site")
            assert [row[name] for name in names] == [None] * 4
        if row["cause_of_death"]:
            assert row["day_event"] <= row["day_death"] == row["day_last"] <= s.follow_up_days
        else:
            assert math.isnan(row["day_death"])
            assert row["day_last"] == (path.day[-1] if path.stop is Stop.SIZE_LIMIT else s.follow_up_days)
        for name in ("day_watched", "day_transplant", "day_reinfusion", "day_car_t_peak", "day_car_t_lost"):
            assert not row[name] > row["day_last"]
        assert row["crs_any_grade"] >= row["crs_grade_3_or_higher"]
        assert row["complete_remission"] >= row["mrd_negative"]
        assert 0 <= row["blast_fraction_last"] <= 1
        assert course(path.until(row["day_death"]))["day"].max() <= row["day_last"]


@few(12)
@given(configurations(size=3))
def test_tables_add_up(settings: Settings) -> None:
    """Incidences and those without an event add up to 1; curves only rise or only fall; arms share their patients."""
    result = tables_of(settings, paths_of(settings))
    p, s = result.patients, result.summary
    shared = list(p.columns[p.columns.get_loc("sample_fraction") : p.columns.get_loc("entry_blast_fraction")])
    assert len(shared) > 15
    assert p.groupby("patient")[shared].nunique(dropna=False).eq(1).all(axis=None)
    for _, its in p[p["complete_remission"]].groupby("arm"):
        failing = causes_of_failure(its)
        of_causes = cumulative_incidence(failing["duration_days"], failing["cause"]).pivot(
            index="day", columns="cause", values="estimate"
        )
        free = kaplan_meier(failing["duration_days"], failing["cause"] > 0).groupby("day")["estimate"].last()
        assert np.allclose(of_causes.sum(axis=1) + free, 1)
    of_arm = s.pivot_table(index=["arm", "month"], columns="endpoint", values="estimate")
    if {"overall_survival", "event_free_survival"} <= set(of_arm):
        assert not (of_arm["event_free_survival"] > of_arm["overall_survival"] + 1e-9).any()
    for (_, endpoint), curve in s.dropna(subset=["month", "estimate"]).groupby(["arm", "endpoint"]):
        steps = curve.sort_values("month")["estimate"].diff().dropna()
        assert (steps <= 1e-9).all() or (steps >= -1e-9).all(), endpoint
    known = s.dropna(subset=["estimate", "lower", "upper"])
    assert ((known["lower"] <= known["estimate"] + 1e-9) & (known["estimate"] <= known["upper"] + 1e-9)).all()
    assert s["month"].max() * DAYS_PER_MONTH <= settings.follow_up_days or s["month"].isna().all()


WORSE: dict[str, tuple[str, float]] = {
    "treatment_death_fraction": ("day_last", 1.0),
    "death_after_relapse_per_day": ("day_last", 2.0),
    "death_without_remission_per_day": ("day_last", 2.0),
    "relapse_blast_fraction": ("day_relapse", 1.2),
    "car_t_detection_cells": ("day_car_t_lost", 0.5),
    "severe_crs_kills_per_day": ("crs_grade_3_or_higher", 0.5),
    "flow_limit_fraction": ("mrd_negative", 1.5),
}


@few(12)
@given(configurations(("engine.stop_at_failure", False)), st.sampled_from(sorted(WORSE)))
def test_what_must_be_monotone_is(settings: Settings, name: str) -> None:
    """One definition or one risk moves, the course and all luck stay: what depends on it moves one way only."""
    column, fold = WORSE[name]
    s = settings.sampled()
    value = getattr(s.clinic, name) * fold if fold != 1 else 1.0
    assume(value <= 1 or name not in ("relapse_blast_fraction", "flow_limit_fraction"))
    moved = s.clinic.model_copy(update={name: value})
    for path in paths_of(settings):
        before, after = (
            patient_row(path, c, s.follow_up_days, s.regimen.transplant)[column] for c in (s.clinic, moved)
        )
        earlier, later = (math.inf if math.isnan(x) else float(x) for x in (before, after))
        if column == "day_last":
            assert later <= earlier
        else:
            assert later >= earlier


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """The values alone, whatever a format makes of their types, and None for what is missing."""
    return table.astype(object).where(table.notna(), None).reset_index(drop=True)


@few(8)
@given(settings=configurations())
def test_tables_survive_every_format(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    result, place = tables_of(settings, paths_of(settings)), tmp_path_factory.mktemp("run")
    files = result.files()
    write_tables(place, files, {}, None, lambda _: "{}")
    again = TrialResult.read(place).files()
    for name, table in files.items():
        if name.endswith(".parquet"):
            pd.testing.assert_frame_equal(again[name], table, check_exact=True)
            with duckdb.connect() as base:
                pd.testing.assert_frame_equal(plain(base.sql(f"SELECT * FROM '{place / name}'").df()), plain(table))
        else:  # ten digits
            pd.testing.assert_frame_equal(plain(again[name]), plain(table), rtol=1e-9)
        table.to_csv(place / "all_digits.csv", index=False)
        pd.testing.assert_frame_equal(plain(pd.read_csv(place / "all_digits.csv")), plain(table), rtol=1e-14)
    kept = Path(place, "kept")
    rows = result.patients[result.patients["patient"] == 0].to_dict("records")
    checkpoints.save(kept, {0: ([{str(k): v for k, v in row.items()} for row in rows], [result.trajectories])})
    mine, courses = checkpoints.saved(kept)[0]
    pd.testing.assert_frame_equal(plain(pd.DataFrame(mine)), plain(pd.DataFrame(rows)), check_exact=True)
    pd.testing.assert_frame_equal(courses[0], result.trajectories)


def test_growth_beyond_all_numbers_is_said() -> None:
    """Rates that a tick cannot hold end the run at the size limit, with every number still a number."""
    settings = with_rows(biology__car_t__effector_division_per_day_sigma=4, cohort__size=12, seed=100696)
    settings = settings.model_copy(update={"cohort": settings.cohort.model_copy(update={"size": 12})})
    paths = paths_of(settings)
    assert {Stop.SIZE_LIMIT} <= {path.stop for path in paths}
    assert all((path.car_t >= 0).all() for path in paths)
