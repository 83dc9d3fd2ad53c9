"""A hazard that is wrong in one engine only is noticed: every one of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from escape_abm.inputs.biology import Antigen, Biology, CarT, Host, Killing, Leukaemia, route_names
from escape_abm.inputs.products import car_classes
from escape_abm.law.rates import Rates, make_rates
from escape_abm.law.states import (
    B_LINEAGE,
    PER_DAY,
    PER_DIVISION,
    SANCTUARY,
    Alphabet,
    State,
    alphabet_of,
)
from tests.engines.populations import WRONG, Floats, groups, largest_z, limit, make_engine, product, run

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
    rates = make_rates(biology, classes, infused=True)._replace(rejection=np.full(1, 0.3), graft=0.3)
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
