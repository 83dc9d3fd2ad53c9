"""The simulator against its own mean-field equations, solved by LSODA, in the limit of large numbers.

The law is homogeneous: with every number of cells `FOLD` times as large, hazards are the same and chance is sqrt(FOLD)
times smaller. What remains between one run and the equations is the error of the ticks. Its size is not guessed: runs
at a tolerance, its half and its quarter say what it is, and what is left of it after extrapolation.

Surroundings of the middle of a tick make an error of second order. Two things leave one of first order: that a cell
switches at most once in half a tick, also where it could come back or go on, and that `hazards.expected` leaves out
switching between leukaemic states. Rates are high here for the sake of the test, and make it the larger one: so the
runs are extrapolated at order 1. Where each cell can switch once, order 2 is tested.
"""

from __future__ import annotations

import importlib
import math
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from escape_abm.inputs.biology import Biology
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import Patient
from escape_abm.inputs.products import Product
from escape_abm.inputs.regimen import Regimen
from escape_abm.inputs.settings import Engine
from escape_abm.interface.composition import compose
from escape_abm.law.states import CAR_T_PHENOTYPES, MYELOID, SANCTUARY, alphabet_of
from escape_abm.patient.course import Trajectory, simulate

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
mean_field: Any = importlib.import_module("mean_field")

Floats = NDArray[np.float64]

FOLD = 1e6
DAYS = 60
FEWEST_CELLS = 1e10
"""Groups are compared while they have this many cells."""
TOLERANCES = (1 / 8, 1 / 16, 1 / 32)
ORDER, ORDER_ONCE = 1, 2
"""Order of the ticks, as measured: with every route open, and where each cell can switch only once."""
REGIMEN = Regimen(dose_cells=6e7, bridging_log10_kill=0.3, split_fractions=(0.4, 0.6), split_days=(0.0, 7.0))

FIXED = {
    "leukaemia.net_growth_per_day": 0.1,
    "leukaemia.death_per_day": 0.05,
    "leukaemia.carrying_capacity_cells": 2e12,
    "leukaemia.progenitor_entry_per_division": 1e-3,
    "leukaemia.progenitor_exit_per_day": 0.02,
    "leukaemia.progenitor_density_fold": 0.3,
    "leukaemia.sanctuary_entry_per_day": 1e-3,
    "leukaemia.sanctuary_exit_per_day": 0.01,
    "antigens.cd19.dimming_per_day": 1e-4,
    "antigens.cd19.brightening_per_day": 0.1,
    "killing.kill_per_day": 2.9,
    "killing.half_saturation_cells": 3.2e9,
    "killing.kills_per_car_t_per_day": 15.0,
    "killing.sanctuary_access": 0.5,
    "killing.stripping_per_contact": 0.02,
    "car_t.memory_fraction": 0.3,
    "car_t.effector_division_per_day": 0.9,
    "car_t.lymphopenia_independent_fraction": 0.47,
    "car_t.homeostatic_fraction": 0.3,
    "car_t.stimulation_half_cells": 1.7e9,
    "car_t.memory_activation_per_day": 0.5,
    "car_t.memory_loss_per_day": 0.02,
    "car_t.effector_death_per_day": 0.3,
    "car_t.effector_to_memory_per_day": 0.005,
    "car_t.exhaustion_per_day": 0.02,
    "car_t.exhausted_death_per_day": 0.2,
    "car_t.rejection_per_day": 0.1,
    "host.t_cell_recovery_per_day": 0.17,
    "host.b_cell_source_per_day": 1.35e8,
    "host.b_cell_life_days": 30.0,
}
"""Written here, so that a calibration does not move the tests."""
EVENTS = ("dimming", "brightening", "stripping", "silencing", "reactivation")
ALL_BUT_LOSS_OF_CD22 = (
    *(f"{antigen}_{event}" for antigen in ("cd19", "cd22") for event in EVENTS),
    "cd19_allele_loss",
    "lineage_switch",
    "progenitor_entry",
    "progenitor_exit",
    "sanctuary_entry",
    "sanctuary_exit",
)
ONCE = {
    "car_t.effector_to_memory_per_day": 0.0,
    "car_t.exhaustion_per_day": 0.0,
    "antigens.cd22.last_hit_per_division": 1e-3,
}
"""With `ALL_BUT_LOSS_OF_CD22`: a memory cell can become effectors, a leukaemic cell can lose CD22, and no more."""


def changed(biology: Biology, values: dict[str, float]) -> Biology:
    for path, value in values.items():
        biology = mean_field.with_value(biology, path, value)
    return biology


@cache
def product(name: str) -> Product:
    return compose([f"product={name}", "comparators=none", "trial=none"]).product


def make_patient(values: dict[str, float] | None = None, off: tuple[str, ...] = (), **kwargs: Any) -> Patient:
    who: dict[str, Any] = {"burden_cells": 3e11, "clones": "grown", "rejection_day": 40.5, "negative_fraction": 0.0}
    who |= {"index": 0, "seed": 1, "weight_kg": 30.0, "kmt2a": False, "negative_antigen": "cd19"} | kwargs
    biology = changed(Biology(), FIXED | (values or {})).model_copy(update={"routes_off": off})
    return Patient(biology=biology, **who)


def engine(tolerance: float) -> Engine:
    whole = Engine(tolerance=tolerance, stop_at_failure=False)
    return whole.model_copy(update={"size_limit_cells": 2e18})  # 64-bit counts wrap at 9.2e18


def in_groups(path: Any, labels: tuple[str, ...]) -> dict[str, Floats]:
    """Courses that are sensitive to different parts of the law: by antigen, niche, progenitor, class and phenotype."""
    states = path.alphabet.states

    def leukaemia(chosen: list[bool]) -> Floats:
        return np.asarray(path.cells[:, chosen].sum(axis=1), dtype=float)

    b = [s.lineage != MYELOID for s in states]
    out = {
        "committed": leukaemia([is_b and not s.progenitor for is_b, s in zip(b, states, strict=True)]),
        "progenitor": leukaemia([s.progenitor for s in states]),
        "sanctuary": leukaemia([s.niche == SANCTUARY for s in states]),
        "B cells": np.asarray(path.b_cells, dtype=float),
    }
    for i, name in enumerate(path.alphabet.antigens):
        out[f"{name} dim"] = leukaemia([s.antigens[i].shown == "dim" for s in states])
        hit = 1 if name == "cd19" else 0
        out[f"{name} hit"] = leukaemia(
            [is_b and s.antigens[i].alleles == hit for is_b, s in zip(b, states, strict=True)]
        )
    for c, label in enumerate(labels):
        for k, phenotype in enumerate(CAR_T_PHENOTYPES):
            out[f"{label} {phenotype}"] = np.asarray(path.car_t[:, c, k], dtype=float)
    return out


class LargeNumbers:
    """One patient `FOLD` times as large: runs at three tolerances, and the equations."""

    def __init__(self, patient: Patient, order: int) -> None:
        self.order = order
        self.product = product("cotransduced")
        self.entry = np.rint(mean_field.grow(patient)[0] * FOLD).astype(np.int64)
        self.patient, self.regimen = mean_field.enlarge(patient, REGIMEN, FOLD)
        runs = [self.run(t, seed) for t, seed in zip((*TOLERANCES, *TOLERANCES[:1] * 2), (1, 2, 3, 4, 5), strict=True)]
        self.labels = tuple(c.label for c in runs[0].classes)
        self.expected = self.solve(self.patient)
        self.compared = {name: cells > FEWEST_CELLS for name, cells in self.expected.items()}
        self.groups = tuple(name for name, days in self.compared.items() if days.sum() >= 5)
        self.logs = [{g: self.log(in_groups(r, self.labels), g) for g in self.groups} for r in runs]

    def run(self, tolerance: float, seed: int) -> Trajectory:
        patient = replace(self.patient, seed=seed)
        treatment = (patient, self.product, self.regimen, Clinic())
        return simulate(*treatment, follow_up_days=DAYS, engine=engine(tolerance), leukaemia=self.entry)

    def solve(self, patient: Patient) -> dict[str, Floats]:
        course = mean_field.solve(patient, self.product, self.regimen, Clinic(), DAYS, self.entry)
        return in_groups(course, self.labels)

    def log(self, courses: dict[str, Floats], group: str) -> Floats:
        return np.asarray(np.log(courses[group][self.compared[group]]))

    def noise(self, group: str) -> float:
        """Standard deviation of one run by chance, from three runs with the same ticks; its largest over the days."""
        return float(np.std([self.logs[i][group] for i in (0, 3, 4)], axis=0, ddof=1).max())

    def extrapolated(self, group: str) -> tuple[Floats, float]:
        """The course at ticks of length zero, and how far at most it may be off.

        At order p, y(h) = y + C h^p + D h^(p+1) + ..., so R(h) = (2^p y(h/2) - y(h)) / (2^p - 1) is free of C, and
        R(h/2) is off by a third (p = 1; a seventh at p = 2) of its distance from R(h). Ticks change length at other
        moments when the tolerance changes, which makes D differ between tolerances, so the whole distance is allowed:
        the largest over the days. So are five standard deviations of R(h/2) by chance, each at most
        (2^p + 1) / (2^p - 1) times that of one run.
        """
        coarse, middle, fine = (self.logs[i][group] for i in (0, 1, 2))
        fold = 2**self.order
        first, second = (fold * middle - coarse) / (fold - 1), (fold * fine - middle) / (fold - 1)
        return second, float(np.abs(second - first).max()) + 5 * (fold + 1) / (fold - 1) * self.noise(group)

    def disagreement(self, courses: dict[str, Floats]) -> dict[str, float]:
        """Largest distance of the equations from the extrapolated runs, in units of what is allowed."""
        out = {}
        for group in self.groups:
            course, allowed = self.extrapolated(group)
            out[group] = float(np.abs(self.log(courses, group) - course).max()) / allowed
        return out

    def errors(self, group: str) -> list[float]:
        """Largest distance of the runs from the equations, at the three tolerances."""
        expected = self.log(self.expected, group)
        return [float(np.abs(self.logs[i][group] - expected).max()) for i in (0, 1, 2)]

    def halving(self, group: str) -> list[tuple[float, float]]:
        """How far two halvings of the ticks are from dividing the error by 2^p, and how far they may be.

        Errors are C h^p + D h^(p+1), so their ratio is 2^p (1 + D h / 2 C); R(h/2) - R(h), which is D h^(p+1) times
        (1 - 2^-(p+1)) / (2 (2^p - 1)), says how large D h / 2 C is. As much again is allowed for higher orders.
        """
        errors, moved, fold = self.errors(group), self.extrapolated(group)[1], 2**self.order
        allowed = 2 * moved / errors[0] * (fold - 1) / (1 - 0.5 / fold)
        off = [abs(errors[i] / errors[i + 1] / fold - 1) for i in (0, 1)]
        return [(off[0], allowed), (off[1], allowed / 2)]


@pytest.fixture(scope="module")
def large() -> LargeNumbers:
    return LargeNumbers(make_patient(), ORDER)


def test_every_kind_of_cell_is_compared(large: LargeNumbers) -> None:
    assert {"committed", "progenitor", "sanctuary", "B cells", "cd19 dim", "cd19 hit", "cd22 dim"} <= set(large.groups)
    assert sum("CAR T" in g for g in large.groups) == 9


def test_the_runs_tend_to_the_equations(large: LargeNumbers) -> None:
    off = large.disagreement(large.expected)
    assert max(off.values()) < 1, off


def test_what_is_allowed_is_small(large: LargeNumbers) -> None:
    assert max(large.extrapolated(g)[1] for g in large.groups) < 0.002


ANOTHER_ORDER = 0.5
"""Half, or twice, as much as an order says is this far off or farther: bounds below it tell orders apart."""


def test_halving_the_ticks_halves_their_error(large: LargeNumbers) -> None:
    for group in large.groups:
        for off, allowed in large.halving(group):
            assert off < allowed < ANOTHER_ORDER, group


def test_surroundings_are_of_second_order() -> None:
    """All cells coupled, but each can switch only once: half a tick makes a quarter of the error.

    Surroundings frozen at the start of a tick would make it a half. Memory cells are left out: they meet hazards that
    hardly change, which ticks follow without error.
    """
    once = LargeNumbers(make_patient(ONCE, ALL_BUT_LOSS_OF_CD22), ORDER_ONCE)
    moving = [group for group in once.groups if "memory" not in group]
    assert set(moving) == {"committed", "B cells", "cd22 hit"} | {f"{label} effector" for label in once.labels}
    for group in moving:
        for off, allowed in once.halving(group):
            assert off < allowed < ANOTHER_ORDER, group


@pytest.mark.parametrize("path", sorted(FIXED.keys() - {"car_t.memory_fraction", "leukaemia.carrying_capacity_cells"}))
@pytest.mark.parametrize("factor", [1.05, 0.95])
def test_a_rate_that_is_five_per_cent_wrong_is_noticed(large: LargeNumbers, path: str, factor: float) -> None:
    fold = FOLD if path.endswith("_cells") or path == "host.b_cell_source_per_day" else 1
    wrong = changed(large.patient.biology, {path: FIXED[path] * fold * factor})
    off = large.disagreement(large.solve(replace(large.patient, biology=wrong)))
    assert max(off.values()) > 1, off


def test_switching_one_way_is_of_second_order_where_nothing_couples() -> None:
    """Strang's splitting: constant hazards, one route and no way back: half a tick makes a quarter of the error."""
    values = {
        "leukaemia.net_growth_per_day": 0.3,
        "leukaemia.death_per_day": 0.1,
        "leukaemia.carrying_capacity_cells": 1e300,
        "antigens.cd22.last_hit_per_division": 0.3,
        "antigens.cd22.fitness_cost_fraction": 0.8,
    }
    patient = make_patient(values, ALL_BUT_LOSS_OF_CD22, burden_cells=1e14, clones="none", rejection_day=math.inf)
    letters = alphabet_of(patient.biology)
    entry = np.zeros(len(letters), dtype=np.int64)
    entry[0] = round(patient.burden_cells)
    regimen = Regimen(dose_cells=0.0, lymphodepletion=False)
    treatment = (product("cd19_fmc63"), regimen, Clinic())
    expected = mean_field.solve(patient, *treatment, 28, entry).cells[-1]
    errors, chance = [], 1e-6
    for tolerance in (0.5, 0.25):  # at 0.4 births per day: ticks of one day and of half a day
        runs = [
            simulate(replace(patient, seed=i), *treatment, follow_up_days=28, engine=engine(tolerance), leukaemia=entry)
            for i in range(3)
        ]
        alive = expected > 0
        logs = np.log([r.cells[-1][alive] for r in runs])
        chance = max(chance, float(logs.std(axis=0, ddof=1).max()))
        errors.append(float(np.abs(logs.mean(axis=0) - np.log(expected[alive])).max()))
    assert chance < errors[1] / 20
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.4)


def test_the_course_grows_with_the_number_of_cells() -> None:
    """Hazards depend on ratios of numbers of cells alone."""
    patient, treatment = make_patient(), (product("cotransduced"), REGIMEN, Clinic())
    entry = mean_field.grow(patient)[0]
    larger, regimen = mean_field.enlarge(patient, REGIMEN, 100.0)
    one = mean_field.solve(patient, *treatment, DAYS, entry)
    many = mean_field.solve(larger, treatment[0], regimen, treatment[2], DAYS, entry * 100)
    for a, b in ((one.cells, many.cells), (one.car_t, many.car_t), (one.b_cells, many.b_cells)):
        seen = a > 1e3
        np.testing.assert_allclose(b[seen], 100 * a[seen], rtol=1e-4)


NOTHING = dict.fromkeys(
    (
        "leukaemia.net_growth_per_day",
        "leukaemia.death_per_day",
        "killing.kill_per_day",
        "car_t.effector_division_per_day",
        "car_t.memory_activation_per_day",
        "car_t.memory_loss_per_day",
        "car_t.effector_death_per_day",
        "car_t.exhausted_death_per_day",
        "host.b_cell_source_per_day",
    ),
    0.0,
)
"""No births, no deaths, no kills."""
QUICK = {
    "antigens.cd19.dimming_per_day": 0.3,
    "antigens.cd22.dimming_per_day": 0.2,
    "leukaemia.sanctuary_entry_per_day": 0.2,
    "leukaemia.sanctuary_exit_per_day": 0.3,
    "car_t.exhaustion_per_day": 0.3,
    "car_t.effector_to_memory_per_day": 0.2,
}


def test_switching_neither_makes_nor_loses_a_cell() -> None:
    patient = make_patient(NOTHING | QUICK | {"host.b_cell_life_days": 1e300}, clones="none", rejection_day=math.inf)
    regimen = Regimen(dose_cells=6e7, lymphodepletion=False)
    path = simulate(patient, product("cotransduced"), regimen, Clinic(), follow_up_days=60, engine=engine(0.5))
    assert (path.cells.sum(axis=1) == round(patient.burden_cells)).all()
    assert len(np.unique(path.car_t.sum(axis=2), axis=0)) == 1  # each class on its own
    assert len(set(path.car_t[0].sum(axis=1))) == 2  # 19 only, 22 only: alike; both: more of them
    assert len(np.unique(path.b_cells)) == 1
    assert path.cells[-1].max() < 0.9 * patient.burden_cells  # they did switch
    assert path.car_t[-1, :, 2].min() > 0

    course = mean_field.solve(patient, path.product, regimen, Clinic(), 60, path.entry)
    np.testing.assert_allclose(course.cells.sum(axis=1), patient.burden_cells, rtol=1e-9)
    np.testing.assert_allclose(course.car_t.sum(axis=2), path.car_t.sum(axis=2), rtol=1e-9)


@pytest.mark.parametrize("tolerance", [1.0, 0.25])
def test_classes_never_mix_and_nothing_is_negative(tolerance: float) -> None:
    """Under `sequential` the second class comes later: until then there is none, however much the first divides."""
    second = product("sequential")
    day = max(part.day for part in second.components.values())
    patient, entry = make_patient(), np.rint(mean_field.grow(make_patient())[0]).astype(np.int64)
    treatment = (patient, second, REGIMEN, Clinic())
    path = simulate(*treatment, follow_up_days=120, engine=engine(tolerance), leukaemia=entry)
    late = [i for i, c in enumerate(path.classes) if second.components[c.component].day == day]
    before = path.day < day
    assert path.car_t[before][:, late].sum() == 0
    assert path.car_t[before].sum() > 0
    assert path.car_t[~before][:, late].sum() > 0
    assert min(path.cells.min(), path.car_t.min(), path.b_cells.min()) >= 0

    course = mean_field.solve(*treatment, 120, entry)
    assert course.car_t[before][:, late].sum() == 0
    for c in (path, course):  # the second lymphodepletion thins those of the first batch
        first = np.delete(c.car_t, late, axis=1).sum(axis=(1, 2))
        assert 0 < first[int(day) + 1] < 0.3 * first[int(day)]
    # LSODA may leave zero by its absolute tolerance.
    lowest = min(course.cells.min(), course.car_t.min(), course.b_cells.min())
    assert lowest >= -10 * mean_field.SMALLEST_CELLS
