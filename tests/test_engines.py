"""Two engines, one law: the same test bodies over the counts engine and over Mesa agents.

- Exact: invariants that hold in every run, and laws of one cell's descendants.
- Well mixed, the engines agree in distribution: means of thirty-odd groups of cells with every event on, for three
  products; whole distributions and variances of small populations; extinction and times of whole courses.
- They are seen to disagree when one engine's law is wrong: 10 % in any hazard.

Every statistical test fails by chance with probability FALSE_ALARM, shared among its comparisons (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from escape_abm import compose, counts, exact, law
from escape_abm.cells import CarTCell, CellModel, LeukaemicCell, NormalBCell
from escape_abm.chance import luck_of
from escape_abm.cohort import sample_patient
from escape_abm.engines import Advance
from escape_abm.law import CAR_T_PHENOTYPES, Rates
from escape_abm.marrow import MarrowGrid
from escape_abm.parameters import Antigen, Biology, CarT, Host, Killing, Leukaemia, rescale, route_names
from escape_abm.products import Product, car_classes
from escape_abm.settings import Settings, Space
from escape_abm.simulation import Trajectory, simulate
from escape_abm.states import B_LINEAGE, MYELOID, PER_DAY, PER_DIVISION, SANCTUARY, Alphabet, State, alphabet_of
from tests.test_verification import FALSE_ALARM

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

ENGINES = ("counts", "cells", "grid")
WELL_MIXED = ("counts", "cells")
PRODUCTS = ("tandem", "cotransduced", "coadministered")
WRONG = 1.1


@cache
def product(name: str) -> Product:
    return compose([f"product={name}", "comparators=none", "trial=none"]).product


def make_engine(name: str, biology: Biology, what: Product, seed: int, space: Space | None = None) -> Advance:
    """An engine of its own, for one run."""
    if name == "counts":
        return partial(counts.advance, luck_of(np.random.default_rng(seed)))
    return make_model(name, biology, what, seed, space).advance


def make_model(name: str, biology: Biology, what: Product, seed: int, space: Space | None = None) -> CellModel:
    letters, classes = alphabet_of(biology), car_classes(what, biology.antigens)
    rates = law.make_rates(biology, classes, infused=True)
    if name == "cells":
        return CellModel(letters, classes, rates, rng=seed)
    sites = min(2500, round(biology.leukaemia.carrying_capacity_cells))
    return MarrowGrid(letters, classes, rates, rng=seed, sites=sites, space=space or Space())


def run(
    engine: Advance,
    rates: Rates,
    letters: Alphabet,
    cells: Counts,
    car_t: Counts,
    b_cells: int,
    days: float,
    tolerance: float = 0.5,
) -> tuple[Counts, Counts, int]:
    """Numbers after these days from these, one day after lymphodepletion."""
    cells, car_t = cells.copy(), car_t.copy()
    goal, seen = counts.Goal(), counts.records(0, 0, 0)
    _, _, b_cells, _ = engine(rates, cells, car_t, b_cells, 0.0, days, -1.0, tolerance, goal, seen, letters.sanctuary)
    return cells, car_t, b_cells


# ------------------------------------------------------------------------------------------------------ a busy marrow


def antigen(**changes: float) -> Antigen:
    """An antigen whose every route is taken within days, seen well by some receptors and badly by others."""
    rates = {
        "first_hit_per_division": 0.3,
        "last_hit_per_division": 0.3,
        "silencing_per_division": 0.2,
        "reactivation_per_day": 0.1,
        "dimming_per_day": 0.1,
        "brightening_per_day": 0.2,
    }
    return Antigen(**(rates | changes))  # type: ignore[arg-type]


def busy(cells: float) -> Biology:
    """A biology in which all of the law happens at once, in a body whose marrow holds so many cells."""
    whole = Biology(
        leukaemia=Leukaemia(
            net_growth_per_day=0.25,
            death_per_day=0.25,
            progenitor_entry_per_division=0.2,
            progenitor_exit_per_day=0.15,
            lineage_switch_per_division=0.1,
            sanctuary_entry_per_day=0.15,
            sanctuary_exit_per_day=0.2,
        ),
        antigens={"cd19": antigen(), "cd22": antigen(blast_density_molecules=2000)},
        killing=Killing(kill_per_day=2.0, stripping_per_contact=1.0, sanctuary_access=0.5),
        car_t=CarT(
            effector_division_per_day=1.0,
            effector_death_per_day=0.3,
            memory_activation_per_day=0.4,
            memory_loss_per_day=0.2,
            effector_to_memory_per_day=0.2,
            exhaustion_per_day=0.3,
            exhausted_death_per_day=0.3,
        ),
        host=Host(b_cell_source_per_day=4e10, b_cells_at_start_cells=4e10, b_cell_life_days=3),
    )
    return rescale(whole, cells / whole.leukaemia.carrying_capacity_cells)


def start(biology: Biology, what: Product, leukaemia: int, car_t: int, b_cells: int) -> tuple[Counts, Counts, int]:
    """So many cells, spread evenly over all leukaemic states and over all CAR T classes and phenotypes."""
    states, classes = len(alphabet_of(biology)), len(car_classes(what, biology.antigens))
    return (
        np.full(states, max(1, leukaemia // states), dtype=np.int64),
        np.full((classes, 3), max(1, car_t // (3 * classes)), dtype=np.int64),
        b_cells,
    )


def groups(letters: Alphabet, cells: Counts, car_t: Counts, b_cells: int) -> dict[str, int]:
    """Numbers that different parts of the law move: by what the states show, and by CAR T class and phenotype."""
    states = letters.states
    is_b = [s.lineage == B_LINEAGE for s in states]

    def total(chosen: Iterator[bool]) -> int:
        return int(cells[list(chosen)].sum())

    out = {
        "leukaemia": int(cells.sum()),
        "myeloid": total(s.lineage == MYELOID for s in states),
        "progenitor": total(s.progenitor for s in states),
        "sanctuary": total(s.niche == SANCTUARY for s in states),
        "acquired": total(s.origin == "acquired" for s in states),
        "B cells": b_cells,
    }
    for i, name in enumerate(letters.antigens):
        for shown in ("high", "dim", "silenced", "lost"):
            out[f"{name} {shown}"] = total(
                b and s.antigens[i].shown == shown for b, s in zip(is_b, states, strict=True)
            )
        out[f"{name} one allele"] = total(b and s.antigens[i].alleles == 1 for b, s in zip(is_b, states, strict=True))
    for s in range(car_t.shape[0]):
        for phase, label in enumerate(CAR_T_PHENOTYPES):
            out[f"class {s} {label}"] = int(car_t[s, phase])
    return out


def largest_z(one: Floats, other: Floats) -> float:
    """Largest difference of means in standard errors; the spread is that of the larger sample."""
    larger = max(one, other, key=len)
    spread = np.maximum(larger.std(axis=0, ddof=1), 1e-9)
    error = spread * math.sqrt(1 / len(one) + 1 / len(other))
    return float(np.max(np.abs(one.mean(axis=0) - other.mean(axis=0)) / error))


def limit(comparisons: int) -> float:
    """Largest absolute z-score of so many two-sided comparisons."""
    return float(stats.norm.isf(FALSE_ALARM / 2 / comparisons))


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
    rates = law.make_rates(biology, classes, infused=True)
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
    rates = law.make_rates(biology, classes, infused=True)
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
    path = simulate_sample(name, "tandem", 0, ("engine.stop_at_failure=false",))
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
    rates, none = law.make_rates(biology), np.zeros((0, 3), dtype=np.int64)
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
    rates = law.make_rates(biology, classes, infused=True)._replace(rejection=np.full(len(classes), 0.1))
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


# -------------------------------------------------------------------------------------------- a wrong hazard is noticed


Change = Callable[[Rates, Alphabet], Rates]


class Setting(NamedTuple):
    """Where a wrong hazard is looked for: the routes that are open, where cells start, and how many there are."""

    routes: tuple[str, ...] = ()
    begin: str = "founder"
    leukaemia: int = 140_000
    car_t: int = 120_000
    b_cells: int = 120_000


def times(field: str) -> Change:
    """One field of the rates 10 % too large."""
    return lambda rates, _: rates._replace(**{field: getattr(rates, field) * WRONG})


def more_deaths(rates: Rates, _: Alphabet) -> Rates:
    """Deaths, and nothing else: births are deaths plus net growth."""
    return rates._replace(death=rates.death * WRONG, net_growth=rates.net_growth - (WRONG - 1) * rates.death)


def times_route(route: str) -> Change:
    """One route 10 % too fast, from every state that it leaves."""

    def change(rates: Rates, letters: Alphabet) -> Rates:
        fold = np.where(np.array(letters.route_names) == route, WRONG, 1.0)
        origin = np.repeat(np.arange(len(letters)), np.diff(letters.route_first))
        rate, strip, clock = rates.route_rate * fold, rates.strip_weight * fold, letters.route_clock

        def leaving(weights: Floats) -> Floats:
            return np.bincount(origin, weights=weights, minlength=len(letters))

        return rates._replace(
            route_rate=rate,
            strip_weight=strip,
            leave_per_division=leaving(np.where(clock == PER_DIVISION, rate, 0.0)),
            leave_per_day=leaving(np.where(clock == PER_DAY, rate, 0.0)),
            leave_by_contact=np.array([leaving(s) for s in strip]),
        )

    return change


FIELDS = (
    "division_fold", "kill", "effector_division", "effector_death", "memory_loss", "memory_activation", "to_memory",
    "exhaustion", "exhausted_death", "rejection", "graft", "b_source", "b_death",
)  # fmt: skip
STARTS: dict[str, Callable[[State], bool]] = {
    "founder": lambda s: _whole(s, "high") and not s.progenitor and s.niche != SANCTUARY,
    "brightening": lambda s: _whole(s, "dim"),
    "reactivation": lambda s: _whole(s, "silenced"),
    "progenitor_exit": lambda s: _whole(s, "high") and s.progenitor,
    "sanctuary_exit": lambda s: _whole(s, "high") and s.niche == SANCTUARY,
}
"""Where cells start: as founders, or where a route back starts."""
FORTH = {"brightening": "dimming", "reactivation": "silencing", "exit": "entry"}
"""A route back needs a state that only another route leads to: then that one is open too."""


def _whole(s: State, shown: str) -> bool:
    return s.lineage == B_LINEAGE and all(a.shown == shown and a.alleles == 2 for a in s.antigens)


def setting_of(route: str) -> Setting:
    back = next((word for word in FORTH if route.endswith(word)), "")
    needed = {route.replace(back, FORTH[back])} if back else set()
    if back in ("brightening", "reactivation"):  # of both antigens, to reach the state with both
        needed |= {f"{a}_{FORTH[back]}" for a in ("cd19", "cd22")}
    begin = next((word for word in STARTS if route.endswith(word)), "founder")
    return Setting((route, *sorted(needed)), begin, car_t=5000, b_cells=0)


HAZARDS: dict[str, tuple[Setting, Change]] = {f: (Setting(), times(f)) for f in FIELDS}
HAZARDS |= {"death": (Setting(), more_deaths)}
HAZARDS |= {route: (setting_of(route), times_route(route)) for route in route_names(Biology().antigens)}


def brisk() -> Biology:
    """Every hazard about one half a day, so that each happens often in a tick of a day, and no capacity is felt.

    Those that set the tick stay below one a day also when they are 10 % too large.
    """
    per_division, dim = 0.9, 600.0  # CARs see this density about half of the time
    routes = {
        "first_hit_per_division": per_division,
        "last_hit_per_division": per_division,
        "silencing_per_division": per_division,
        "reactivation_per_day": 0.5,
        "dimming_per_day": 0.5,
        "brightening_per_day": 0.5,
        "blast_density_molecules": dim,
    }
    return Biology(
        leukaemia=Leukaemia(
            net_growth_per_day=0.1,
            death_per_day=0.5,
            carrying_capacity_cells=1e15,
            progenitor_entry_per_division=per_division,
            progenitor_exit_per_day=0.5,
            lineage_switch_per_division=per_division,
            sanctuary_entry_per_day=0.5,
            sanctuary_exit_per_day=0.5,
        ),
        antigens={"cd19": Antigen(**routes), "cd22": Antigen(half_density_molecules=300, **routes)},  # type: ignore[arg-type]
        killing=Killing(
            kill_per_day=0.8, half_saturation_cells=1e4, kills_per_car_t_per_day=1000, stripping_per_contact=1.0
        ),
        car_t=CarT(
            effector_division_per_day=0.8,
            lymphopenia_independent_fraction=1.0,
            stimulation_half_cells=10.0,
            effector_death_per_day=0.5,
            memory_activation_per_day=0.6,
            memory_loss_per_day=0.9,
            effector_to_memory_per_day=0.5,
            exhaustion_per_day=0.5,
            exhausted_death_per_day=0.5,
        ),
        host=Host(b_cell_source_per_day=6e4, b_cell_life_days=2),
    )


@cache
def one_tick(name: str, setting: Setting, wrong: str = "") -> tuple[tuple[str, ...], Floats]:
    """Groups after one tick of a day, from leukaemic cells alike, CAR T cells in every phase and normal B cells."""
    what, everything = product("tandem"), brisk()
    closed = tuple(r for r in route_names(everything.antigens) if r not in setting.routes)
    biology = everything.model_copy(update={"routes_off": closed})
    letters, classes = alphabet_of(biology), car_classes(what, biology.antigens)
    rates = law.make_rates(biology, classes, infused=True)._replace(rejection=np.full(1, 0.3), graft=0.3)
    rates = HAZARDS[wrong][1](rates, letters) if wrong else rates
    here = np.array([STARTS[setting.begin](s) for s in letters.states])
    cells = np.where(here, setting.leukaemia // here.sum(), 0).astype(np.int64)
    car_t = np.full((1, 3), setting.car_t, dtype=np.int64)
    rows = []
    for i in range(300 if name == "counts" else 1):
        engine = make_engine(name, biology, what, seed=i)
        rows.append(groups(letters, *run(engine, rates, letters, cells, car_t, setting.b_cells, 1.0, tolerance=1.0)))
    return tuple(rows[0]), np.array([list(r.values()) for r in rows], dtype=float)


@pytest.mark.statistical
@pytest.mark.parametrize("hazard", HAZARDS)
def test_wrong_hazard_is_noticed(hazard: str) -> None:
    """The engines agree in one tick, and no longer do when one hazard of one of them is 10 % too large."""
    setting, _ = HAZARDS[hazard]
    names, one = one_tick("cells", setting)
    _, right = one_tick("counts", setting)
    _, wrong = one_tick("counts", setting, hazard)
    assert largest_z(one, right) < limit(len(names))
    assert largest_z(one, wrong) > limit(len(names))


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
