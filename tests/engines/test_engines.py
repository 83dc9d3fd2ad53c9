"""Two engines, one law: the same test bodies over the counts engine and over Mesa agents.

- Exact: invariants that hold in every run, and laws of one cell's descendants.
- Well mixed, the engines agree in distribution: means of thirty-odd groups of cells with every event on, for three
  products; whole distributions and variances of small populations; extinction and times of whole courses.
- They are seen to disagree when one engine's law is wrong: 10 % in any hazard.

Every statistical test fails by chance with probability FALSE_ALARM, shared among its comparisons (Bonferroni).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from escape_abm import compose
from escape_abm.engines.cells import CarTCell, CellModel, LeukaemicCell, NormalBCell
from escape_abm.engines.grid import MarrowGrid
from escape_abm.inputs.biology import Biology, Leukaemia, route_names
from escape_abm.inputs.cohort import sample_patient
from escape_abm.inputs.products import car_classes
from escape_abm.inputs.settings import Settings, Space
from escape_abm.law import exact
from escape_abm.law.rates import make_rates
from escape_abm.law.states import (
    SANCTUARY,
    alphabet_of,
)
from escape_abm.patient.course import Trajectory, simulate
from tests.engines.law_scores import FALSE_ALARM
from tests.engines.populations import (
    ENGINES,
    PRODUCTS,
    WELL_MIXED,
    Counts,
    Floats,
    busy,
    groups,
    largest_z,
    limit,
    make_engine,
    make_model,
    product,
    run,
    start,
)

# ------------------------------------------------------------------------------------------------------- exact, always


def still() -> Biology:
    """No births, no deaths, no kills; every route between states is open and fast."""
    b = busy(5000)
    return b.model_copy(
        update={
            "leukaemia": b.leukaemia.model_copy(update={"net_growth_per_day": 0.0, "death_per_day": 0.0}),
            "killing": b.killing.model_copy(update={"kill_per_day": 0.0}),
        }
    )


def once(name: str, biology: Biology, what: str = "cotransduced", days: float = 3.0, seed: int = 1) -> Any:
    """Numbers before and after a run of some fifteen hundred cells, and the engine."""
    treatment = product(what)
    letters, classes = alphabet_of(biology), car_classes(treatment, biology.antigens)
    rates = make_rates(biology, classes, infused=True)
    before = start(biology, treatment, 1000, 450, 50)  # no half of the grid is too small for them
    engine = make_engine(name, biology, treatment, seed, Space(sanctuary_sites_fraction=0.5))  # half of them are there
    return before, run(engine, rates, letters, *before, days), engine


@pytest.mark.parametrize("name", ENGINES)
def test_without_events_nothing_changes(name: str) -> None:
    calm = still().model_copy(update={"routes_off": route_names(still().antigens)})
    (before, *_), (after, *_), _ = once(name, calm)
    assert np.array_equal(before, after)


@pytest.mark.parametrize("name", ENGINES)
def test_switching_keeps_the_number_of_cells(name: str) -> None:
    (before, *_), (after, *_), _ = once(name, still())
    assert after.sum() == before.sum()
    assert not np.array_equal(before, after)


@pytest.mark.parametrize("name", ENGINES)
def test_without_births_cells_only_vanish(name: str) -> None:
    b = busy(5000)
    barren = b.model_copy(
        update={
            "leukaemia": b.leukaemia.model_copy(update={"net_growth_per_day": 0.0, "death_per_day": 0.0}),
            "routes_off": route_names(b.antigens),
        }
    )
    (before, *_), (after, *_), _ = once(name, barren)
    assert (after <= before).all()
    assert after.sum() < before.sum()


@pytest.mark.parametrize("name", ENGINES)
def test_classes_of_car_t_cells_never_mix(name: str) -> None:
    biology, treatment = busy(5000), product("cotransduced")
    letters, classes = alphabet_of(biology), car_classes(treatment, biology.antigens)
    cells, car_t, b_cells = start(biology, treatment, 1500, 450, 50)
    car_t[1] = 0
    rates = make_rates(biology, classes, infused=True)
    _, after, _ = run(make_engine(name, biology, treatment, 1), rates, letters, cells, car_t, b_cells, 3.0)
    assert not after[1].any()
    assert after[0].any()


@pytest.mark.parametrize("name", ENGINES)
def test_one_seed_one_run(name: str) -> None:
    one, same, other = (once(name, busy(5000), seed=seed)[1] for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


@pytest.mark.parametrize("name", ENGINES)
def test_the_door_is_the_same(name: str) -> None:
    """`simulate` gives the same kind of result, with a record for each day, whatever the engine."""
    path = simulate_sample(name, "tandem", 1, ("engine.stop_at_failure=false",))
    assert isinstance(path, Trajectory)
    assert path.day.tolist() == list(range(DAYS + 1))
    assert path.cells.shape == (DAYS + 1, len(path.alphabet))
    assert path.car_t.shape == (DAYS + 1, 1, 3)
    assert path.kills.max() > 0
    assert path.cells[0].sum() < path.entry.sum()  # lymphodepletion


@pytest.mark.parametrize("name", ["cells", "grid"])
def test_agents_are_what_the_model_counts(name: str) -> None:
    _, (cells, car_t, b_cells), advance = once(name, busy(5000))
    model: CellModel = advance.__self__  # type: ignore[attr-defined]
    kinds = np.bincount([a.kind for a in model.agents], minlength=len(model.numbers))
    assert kinds.tolist() == model.numbers
    assert len(model.agents_by_type[LeukaemicCell]) == cells.sum()
    assert len(model.agents_by_type[CarTCell]) == car_t.sum()
    assert len(model.agents_by_type.get(NormalBCell, ())) == b_cells
    told = model.datacollector.get_model_vars_dataframe()
    assert told["day"].tolist() == [1, 2, 3]
    assert told["CD19-CD22-"].iloc[-1] == sum(a.label == "CD19-CD22-" for a in model.agents)


def test_sites_of_the_grid_are_kept_in_order() -> None:
    """One leukaemic cell a site, in the niche if and only if its state is, and every record of it agrees."""
    _, _, advance = once("grid", busy(2500))
    model: MarrowGrid = advance.__self__  # type: ignore[attr-defined]
    leukaemic = list(model.agents_by_type[LeukaemicCell])
    assert len({a.site for a in leukaemic}) == len(leukaemic)
    for agent in leukaemic:
        assert agent.cell is model.sites[agent.site]
        assert model.kind_at[agent.site] == agent.kind
        assert not model.free[agent.site]
        assert model.niche[agent.site] == (agent.state.niche == SANCTUARY)
    assert sum(model.free) == len(model.free) - len(leukaemic)
    for agent in model.agents_by_type[CarTCell]:
        assert agent.cell is model.sites[agent.site]
    assert (np.array(model.beside) != np.arange(len(model.beside))[:, None]).all()
    coordinates = [site.coordinate for site in model.sites]
    assert coordinates == [divmod(i, model.side) for i in range(len(model.sites))]


def test_a_full_marrow_bears_no_daughters() -> None:
    b = still()
    growing = b.model_copy(
        update={
            "leukaemia": b.leukaemia.model_copy(update={"net_growth_per_day": 0.5, "carrying_capacity_cells": 2500.0}),
            "routes_off": route_names(b.antigens),
        }
    )
    treatment = product("tandem")
    model = make_model("grid", growing, treatment, 1)
    letters = alphabet_of(growing)
    cells = np.zeros(len(letters), dtype=np.int64)
    cells[0] = 1000
    none = np.zeros((1, 3), dtype=np.int64)
    after, _, _ = run(model.advance, model.rates, letters, cells, none, 0, 60.0)
    marrow_sites = int((~model.niche).sum())  # type: ignore[attr-defined]
    assert after.sum() == marrow_sites
    assert model.crowded_out > 0  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------ one cell and its line

LINES, LINE_DAYS, BIRTH, DEATH = {"counts": 20_000, "cells": 4000}, 4.0, 0.5, 0.4


@cache
def lines(name: str, birth: float) -> Counts:
    """Descendants of one cell after some days, many times."""
    biology = Biology(
        leukaemia=Leukaemia(net_growth_per_day=birth - DEATH, death_per_day=DEATH, carrying_capacity_cells=1e15),
        routes_off=route_names(Biology().antigens),
    )
    letters, what = alphabet_of(biology), product("tandem")
    rates, none = make_rates(biology), np.zeros((0, 3), dtype=np.int64)
    one = np.zeros(len(letters), dtype=np.int64)
    one[0] = 1
    engine = make_engine(name, biology, what, seed=3)
    return np.array([run(engine, rates, letters, one, none, 0, LINE_DAYS)[0].sum() for _ in range(LINES[name])])


def line_z(found: Counts) -> list[float]:
    """Extinction, mean and variance of the numbers of descendants, in standard errors (Kendall 1948)."""
    n, law_of = found.size, (BIRTH, DEATH, LINE_DAYS)
    extinct, variance = exact.extinct(*law_of), exact.variance_descendants(*law_of)
    spread = exact.fourth_central_moment_descendants(*law_of) - variance**2
    return [
        (float((found == 0).mean()) - extinct) / math.sqrt(extinct * (1 - extinct) / n),
        (float(found.mean()) - exact.mean_descendants(*law_of)) / math.sqrt(variance / n),
        (float(found.var(ddof=1)) - variance) / math.sqrt(spread / n),
    ]


@pytest.mark.statistical
@pytest.mark.parametrize("name", WELL_MIXED)
def test_one_cell_has_kendalls_descendants(name: str) -> None:
    assert max(map(abs, line_z(lines(name, BIRTH)))) < limit(3)


@pytest.mark.statistical
@pytest.mark.parametrize("name", WELL_MIXED)
def test_more_births_are_noticed(name: str) -> None:
    assert max(map(abs, line_z(lines(name, 1.15 * BIRTH)))) > limit(3)


# --------------------------------------------------------------------- means, distributions: everything happens at once

LARGE, LARGE_DAYS, LARGE_RUNS = 10_000, 2.0, {"counts": 600, "cells": 16}
SMALL, SMALL_DAYS, SMALL_RUNS = 150, 8.0, {"counts": 3000, "cells": 400}


@cache
def sample(name: str, what: str, cells: int, days: float, runs: int) -> tuple[tuple[str, ...], Floats]:
    """Groups (columns) at the end of so many runs (rows) of an engine."""
    biology, treatment = busy(2 * cells), product(what)
    letters, classes = alphabet_of(biology), car_classes(treatment, biology.antigens)
    rates = make_rates(biology, classes, infused=True)._replace(rejection=np.full(len(classes), 0.1))
    begin = start(biology, treatment, cells, cells // 2, cells // 5)
    rows = []
    for i in range(runs):
        engine = make_engine(name, biology, treatment, seed=1000 + i)
        rows.append(groups(letters, *run(engine, rates, letters, *begin, days)))
    return tuple(rows[0]), np.array([list(r.values()) for r in rows], dtype=float)


@pytest.mark.statistical
@pytest.mark.parametrize("what", PRODUCTS)
def test_means_agree(what: str) -> None:
    names, few = sample("cells", what, LARGE, LARGE_DAYS, LARGE_RUNS["cells"])
    _, many = sample("counts", what, LARGE, LARGE_DAYS, LARGE_RUNS["counts"])
    assert largest_z(few, many) < limit(len(names))


@pytest.mark.statistical
@pytest.mark.parametrize("what", PRODUCTS)
def test_distributions_of_small_populations_agree(what: str) -> None:
    """Some hundred cells, of which some groups die out: means, spreads and whole distributions."""
    names, few = sample("cells", what, SMALL, SMALL_DAYS, SMALL_RUNS["cells"])
    _, many = sample("counts", what, SMALL, SMALL_DAYS, SMALL_RUNS["counts"])
    assert (many == 0).any(), "no group ever dies out: the test says nothing of extinction"
    assert largest_z(few, many) < limit(len(names))
    for i, name in enumerate(names):
        for p in (
            stats.ks_2samp(few[:, i], many[:, i]).pvalue,
            stats.levene(few[:, i], many[:, i], center="median").pvalue,
        ):
            assert p > FALSE_ALARM / 2 / len(names), name


# -------------------------------------------------------------------------------------------------------- whole courses

DAYS, COURSES = 120, {"counts": 999, "cells": 201}
FAST = (
    "trial=none", "comparators=none", "engine=cells", "engine.sample_cells=4000", "engine.dose_fold=80",
    "cohort.burden_median_cells=6e11", "cohort.burden_median_cells_sigma=0.5", "biology.killing.kill_per_day=1.5",
    "biology.leukaemia.net_growth_per_day=0.2", "biology.antigens.cd19.last_hit_per_division=1e-2",
    "biology.antigens.cd19.first_hit_per_division=3e-2", "biology.antigens.cd22.last_hit_per_division=1e-2",
    "biology.car_t.memory_loss_per_day=0.05", "clinic.extramedullary_cells=2e11",
    "biology.car_t.effector_death_per_day=0.3",
)  # fmt: skip
"""A sample that relapses within months, of all kinds."""


def simulate_sample(name: str, what: str, index: int, more: tuple[str, ...] = ()) -> Trajectory:
    settings = sample_settings(what, more)
    change = {"counts": {"name": "counts"}, "cells": {}, "grid": {"world": "grid"}}[name]
    engine = settings.engine.model_copy(update=change)
    patient = sample_patient(index, 1, settings.cohort, settings.biology)
    return simulate(patient, settings.product, settings.regimen, settings.clinic, follow_up_days=DAYS, engine=engine)


@cache
def sample_settings(what: str, more: tuple[str, ...] = ()) -> Settings:
    return compose([*FAST, f"product={what}", *more]).sampled()


def courses(name: str) -> Floats:
    """Of each patient (row): last day (of relapse, unless follow-up ended), cells then, CAR T peak, day of it, AUC."""
    rows = []
    for i in range(COURSES[name]):
        path = simulate_sample(name, PRODUCTS[i % len(PRODUCTS)], i)
        car_t = path.car_t.sum(axis=(1, 2))
        rows.append([path.day[-1], path.cells[-1].sum(), car_t.max(), car_t.argmax(), car_t.sum()])
    return np.array(rows, dtype=float)


@pytest.mark.statistical
def test_whole_courses_agree() -> None:
    """From entry to relapse or the end of follow-up, through the door: whole distributions over patients.

    Each product in turn, in both engines alike: as many patients tell of what is wrong under every product as if all
    had the same one. What is wrong under one product alone shows in the means of `test_means_agree`.
    """
    few, many = courses("cells"), courses("counts")
    over = many[:, 0] < DAYS
    assert 0.1 < over.mean() < 0.9, "relapse must neither be rare nor the rule for the test to say something"
    for i in range(few.shape[1]):
        assert stats.ks_2samp(few[:, i], many[:, i]).pvalue > FALSE_ALARM / few.shape[1]
