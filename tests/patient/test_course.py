"""One patient: degenerate cases, conservation, events of the regimen, and every escape route switched off."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from escape_abm.engines import counts, recording
from escape_abm.engines.chance import luck_of
from escape_abm.engines.engine import run as run_engine
from escape_abm.engines.engine import thin
from escape_abm.inputs.biology import Biology, route_names
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import Cohort, Patient, sample_patient
from escape_abm.inputs.products import Product, car_classes
from escape_abm.inputs.regimen import Regimen
from escape_abm.inputs.settings import Engine
from escape_abm.law.rates import make_rates
from escape_abm.law.states import EFFECTOR, MEMORY, alphabet_of, shown_sign
from escape_abm.patient.course import Stop, Trajectory, simulate
from escape_abm.patient.leukaemia import grow_leukaemia

MakePatient = Callable[[int], Patient]


def with_biology(patient: Patient, **sections: dict[str, object]) -> Patient:
    """The same patient with some parameters set."""
    biology = patient.biology
    for name, values in sections.items():
        biology = biology.model_copy(update={name: getattr(biology, name).model_copy(update=values)})
    return Patient(**(patient.__dict__ | {"biology": biology}))


def run(patient: Patient, product: Product, days: int = 60, **engine: object) -> Trajectory:
    return simulate(patient, product, Regimen(), Clinic(), follow_up_days=days, engine=Engine(**engine))


def plain(seed: int) -> partial[tuple[int, float, int, int]]:
    """The counts engine with chance from this seed."""
    return partial(counts.advance, luck_of(np.random.default_rng(seed)))


def test_same_seed_same_course(make_patient: MakePatient, products: dict[str, Product]) -> None:
    one, two = (run(make_patient(3), products["auto1_22"]) for _ in range(2))
    assert np.array_equal(one.cells, two.cells)
    assert np.array_equal(one.car_t, two.car_t)
    assert one.stop == two.stop


def test_patients_differ(make_patient: MakePatient, products: dict[str, Product]) -> None:
    finals = {run(make_patient(i), products["tandem"]).b_cells[-1] for i in range(8)}
    assert len(finals) == 8


def test_growth_lands_on_the_burden(make_patient: MakePatient) -> None:
    for i in range(10):
        patient = make_patient(i)
        assert grow_leukaemia(patient, Engine()).sum() == pytest.approx(patient.burden_cells, rel=0.01)


def test_one_cell_is_a_leukaemia(products: dict[str, Product]) -> None:
    cohort = Cohort(burden_median_cells=1, burden_median_cells_sigma=0)
    patient = sample_patient(0, 1, cohort, Biology())
    assert grow_leukaemia(patient, Engine()).sum() == 1
    assert run(patient, products["cd19_fmc63"]).cells[-1].sum() == 0


def test_no_cells_no_leukaemia(make_patient: MakePatient, products: dict[str, Product]) -> None:
    patient = make_patient(0)
    nothing = np.zeros(len(alphabet_of(patient.biology)), dtype=np.int64)
    path = simulate(patient, products["tandem"], Regimen(), Clinic(), follow_up_days=366, leukaemia=nothing)
    assert path.stop is Stop.COMPLETED
    assert not path.cells.any()


def test_no_car_t_no_effect(make_patient: MakePatient, products: dict[str, Product]) -> None:
    regimen = Regimen(dose_cells=0, lymphodepletion=False)
    path = simulate(make_patient(1), products["cd19_fmc63"], regimen, Clinic(), follow_up_days=40)
    assert not path.car_t.any()
    assert not path.kills.any()
    assert path.cells[20].sum() > path.cells[0].sum()


def test_zero_rates_change_nothing(make_patient: MakePatient) -> None:
    still = with_biology(make_patient(0), leukaemia={"net_growth_per_day": 0.0, "death_per_day": 0.0})
    biology = still.biology.model_copy(update={"routes_off": route_names(still.biology.antigens)})
    letters = alphabet_of(biology)
    cells = np.zeros(len(letters), dtype=np.int64)
    cells[0] = 12345
    code, day, _, _ = run_engine(plain(1), make_rates(biology), letters, cells, (0, 3650), Engine())
    assert (code, day, cells[0], cells.sum()) == (counts.REACHED_DAY, 3650, 12345, 12345)


def test_switching_conserves_cells(make_patient: MakePatient) -> None:
    """No births, deaths or kills: cells only move between states, whatever the routes."""
    still = with_biology(make_patient(0), leukaemia={"net_growth_per_day": 0.0, "death_per_day": 0.0})
    letters = alphabet_of(still.biology)
    cells = np.full(len(letters), 10**6, dtype=np.int64)
    before = cells.copy()
    run_engine(plain(1), make_rates(still.biology), letters, cells, (0, 100), Engine())
    assert cells.sum() == before.sum()
    assert not np.array_equal(cells, before)


def test_certain_extinction(make_patient: MakePatient) -> None:
    dying = with_biology(make_patient(0), leukaemia={"death_per_day": 5.0})
    letters = alphabet_of(dying.biology)
    rates = make_rates(dying.biology)._replace(division_fold=np.zeros(len(letters)))  # nothing divides
    cells = np.zeros(len(letters), dtype=np.int64)
    cells[0] = 10**12
    run_engine(plain(1), rates, letters, cells, (0, 60), Engine())
    assert not cells.any()


@pytest.mark.parametrize("years", [1, 10])
def test_huge_burden_and_long_time_stay_whole(products: dict[str, Product], years: int) -> None:
    biology = Biology()
    biology = biology.model_copy(
        update={"leukaemia": biology.leukaemia.model_copy(update={"carrying_capacity_cells": 2e13})}
    )
    cohort = Cohort(burden_median_cells=1e13, burden_median_cells_sigma=0, burden_max_cells=1e13)
    patient = sample_patient(0, 1, cohort, biology)
    path = run(patient, products["auto1_22"], days=365 * years, stop_at_failure=False)
    assert path.entry.sum() == pytest.approx(1e13, rel=0.01)
    assert path.day[-1] == 365 * years
    for table in (path.cells, path.car_t, path.b_cells):
        assert (table >= 0).all()
        assert (table <= 10**15).all()


def test_size_limit_is_a_stop_not_a_wrap(make_patient: MakePatient, products: dict[str, Product]) -> None:
    patient = with_biology(make_patient(0), leukaemia={"carrying_capacity_cells": 1e15, "net_growth_per_day": 1.0})
    nothing_kills = products["cd19_fmc63"]
    path = simulate(
        patient, nothing_kills, Regimen(dose_cells=0), Clinic(), follow_up_days=400,
        engine=Engine(stop_at_failure=False, size_limit_cells=1e13),
    )  # fmt: skip
    assert path.stop is Stop.SIZE_LIMIT
    assert path.day[-1] < 400
    assert (path.cells >= 0).all()
    assert path.cells[-1].sum() <= 1e13


def test_burden_above_capacity_is_refused(make_patient: MakePatient) -> None:
    patient = with_biology(make_patient(0), leukaemia={"carrying_capacity_cells": 1e9})
    with pytest.raises(InputError, match="raise the capacity"):
        grow_leukaemia(patient, Engine())


@pytest.mark.parametrize(
    ("growth", "engine"), [(1e-3, Engine()), (0.097, Engine(size_limit_cells=1e6))], ids=["too slow", "too large"]
)
def test_growth_that_never_arrives_is_refused(make_patient: MakePatient, growth: float, engine: Engine) -> None:
    patient = with_biology(make_patient(0), leukaemia={"net_growth_per_day": growth, "death_per_day": 0.0})
    patient = Patient(**(patient.__dict__ | {"burden_cells": 1e9 if growth > 0.01 else 1e11}))
    slow = with_biology(patient, leukaemia={"net_growth_per_day": growth / 10}) if growth < 0.01 else patient
    with pytest.raises(InputError, match="not reached within"):
        grow_leukaemia(slow, engine)


def test_log_kill_is_binomial() -> None:
    cells = np.full(2000, 1000, dtype=np.int64)
    left = thin(luck_of(np.random.default_rng(1)), cells, 1.0)
    # 2e6 cells at p = 0.1: five standard errors, a false alarm in 1.7 million.
    assert abs(left.sum() - 2e5) < 5 * math.sqrt(2e6 * 0.1 * 0.9)
    assert thin(luck_of(np.random.default_rng(1)), cells, 0.0).sum() == cells.sum()


def test_measured_negative_fraction(make_patient: MakePatient) -> None:
    patient = Patient(**(make_patient(0).__dict__ | {"negative_fraction": 0.3}))
    cells = grow_leukaemia(patient, Engine())
    letters = alphabet_of(patient.biology)
    lacking = np.array([s.lineage == "B" and shown_sign(s, 0) == "-" for s in letters.states])
    total = cells.sum()
    assert abs(cells[lacking].sum() - 0.3 * total) < 5 * math.sqrt(0.21 * total) + 1e-6 * total
    assert {letters.states[i].origin for i in np.flatnonzero(cells)} == {"founder"}


def test_clones_none_starts_pure(make_patient: MakePatient) -> None:
    patient = Patient(**(make_patient(0).__dict__ | {"clones": "none"}))
    cells = grow_leukaemia(patient, Engine())
    assert np.flatnonzero(cells).tolist() == [0]
    assert cells[0] == round(patient.burden_cells)


def test_infused_classes_and_dose(make_patient: MakePatient, products: dict[str, Product]) -> None:
    path = run(make_patient(0), products["auto1_22"])
    first = path.car_t[0]
    dose = Regimen().dose(30)
    for i, car in enumerate(path.classes):
        assert first[i].sum() == round(dose * car.fraction)
        assert first[i, MEMORY] == round(first[i].sum() * path.patient.biology.car_t.memory_fraction)


def test_only_the_engrafted_fraction_of_a_dose_is_there(
    make_patient: MakePatient, products: dict[str, Product]
) -> None:
    patient = with_biology(make_patient(0), car_t={"engrafted_fraction": 0.1})
    assert run(patient, products["cd19_fmc63"]).car_t[0].sum() == round(0.1 * Regimen().dose(30))


def test_split_dose_adds_up(make_patient: MakePatient, products: dict[str, Product]) -> None:
    fates = ("effector_division", "effector_death", "memory_loss", "memory_activation", "exhaustion")
    patient = with_biology(make_patient(0), car_t={f"{fate}_per_day": 0.0 for fate in fates})
    regimen = Regimen(split_fractions=(0.1, 0.3, 0.6), split_days=(0, 1, 2))
    path = simulate(
        patient, products["cd19_fmc63"], regimen, Clinic(), follow_up_days=40, engine=Engine(stop_at_failure=False)
    )
    assert path.car_t[:4].sum(axis=(1, 2)).tolist() == [6e6, 6e6, 24e6, 60e6]
    # A record is of the end of a day, before that day's infusion; day 0 is after the first.


def test_sequential_product_comes_later_after_new_lymphodepletion(
    make_patient: MakePatient, products: dict[str, Product]
) -> None:
    product = products["sequential"]
    path = run(make_patient(1), product, days=150, stop_at_failure=False)
    second = [i for i, c in enumerate(path.classes) if c.component == "cd22"]
    day = int(product.components["cd22"].day)
    assert not path.car_t[: day + 1, second].any()
    assert path.car_t[day + 1, second].any()
    assert path.t_cells[day + 1] < 0.1 * path.t_cells[day]
    # It takes the first CAR T cells with it, and spares the B cells.
    first = [i for i, c in enumerate(path.classes) if c.component == "cd19"]
    assert path.car_t[day + 1, first].sum() < 0.1 * path.car_t[day, first].sum()
    assert path.b_cells[day + 1] > 0.5 * path.b_cells[day]


def test_host_parameters_do_not_touch_the_growth_of_the_leukaemia(make_patient: MakePatient) -> None:
    patient = make_patient(2)
    other = with_biology(patient, host={"b_cell_source_per_day": 0.0, "b_cell_life_days": 3.0})
    assert np.array_equal(grow_leukaemia(patient, Engine()), grow_leukaemia(other, Engine()))


def test_bridging_thins(make_patient: MakePatient, products: dict[str, Product]) -> None:
    plain, bridged = (
        simulate(make_patient(1), products["cd19_fmc63"], Regimen(bridging_log10_kill=k), Clinic(), follow_up_days=30)
        for k in (0.0, 3.0)
    )
    growth = math.exp(make_patient(1).biology.leukaemia.net_growth_per_day * 30)
    assert bridged.cells[0].sum() == pytest.approx(plain.cells[0].sum() * 1e-3 * growth, rel=0.1)


def test_long_bridging_runs(make_patient: MakePatient, products: dict[str, Product]) -> None:
    regimen = Regimen(bridging_log10_kill=1.0, bridging_days=365)
    path = simulate(make_patient(1), products["cd19_fmc63"], regimen, Clinic(), follow_up_days=30)
    assert path.day.size > 1


def test_rejection_removes_car_t(make_patient: MakePatient, products: dict[str, Product]) -> None:
    kept = make_patient(1)
    rejecting = Patient(**(kept.__dict__ | {"rejection_day": 20.0}))
    a, b = (run(p, products["cd19_fmc63"], days=120, stop_at_failure=False) for p in (kept, rejecting))
    assert np.array_equal(a.car_t[:20], b.car_t[:20])
    assert b.car_t[90].sum() < 0.05 * a.car_t[90].sum()


def test_car_t_classes_never_mix(make_patient: MakePatient, products: dict[str, Product]) -> None:
    """Without CD22 CAR T cells infused, none ever appear."""
    path = run(make_patient(1), products["sequential"], days=117, stop_at_failure=False)
    assert path.car_t[:100, 1].sum() == 0
    assert path.car_t[50, 0, EFFECTOR] > 0


def test_kernel_and_plain_python_agree(make_patient: MakePatient, products: dict[str, Product]) -> None:
    """The compiled kernel and the same code as plain Python give the same numbers from one seed."""
    patient = make_patient(2)
    letters = alphabet_of(patient.biology)
    rates = make_rates(patient.biology, car_classes(products["auto1_22"], patient.biology.antigens), infused=True)

    def once(kernel: Callable[..., tuple[int, float, int, int]]) -> tuple[object, ...]:
        cells = np.full(len(letters), 50, dtype=np.int64)
        car_t = np.full((3, 3), 200, dtype=np.int64)
        goal, seen = recording.Goal(size_limit=1e15), recording.records(0, len(letters), 3)
        luck = luck_of(np.random.default_rng(4))
        end = kernel(luck, rates, cells, car_t, 10**6, 0.0, 5.0, 0.0, 0.5, goal, seen, letters.sanctuary)
        return end, cells.tolist(), car_t.tolist()

    assert once(counts.advance) == once(counts.advance.py_func)  # type: ignore[attr-defined]
