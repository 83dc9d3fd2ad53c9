"""The law: its states, its routes, and its hazards as functions without chance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from escape_abm.inputs.biology import Antigen, Biology, route_names
from escape_abm.inputs.products import Product, car_classes
from escape_abm.law import hazards, states
from escape_abm.law.rates import densities, make_rates
from escape_abm.law.states import PER_DAY, PER_DIVISION, alphabet_of, escapes, phenotype

BIOLOGY = Biology()
LETTERS = alphabet_of(BIOLOGY)


def test_every_open_route_is_used_and_known() -> None:
    # Silencing of CD22 and reactivation have rate zero by default: closed.
    closed = {"cd22_silencing", "cd22_reactivation", "cd19_reactivation"}
    assert set(LETTERS.route_names) == set(route_names(BIOLOGY.antigens)) - closed


def test_states_that_cannot_exist_are_not_states() -> None:
    assert len(set(LETTERS.states)) == len(LETTERS)
    for s in LETTERS.states:
        if s.lineage == "myeloid":
            assert all(a.shown == "lost" for a in s.antigens)
            assert not s.progenitor
        for a in s.antigens:
            assert (a.alleles == 0) == (a.shown == "lost")
        if escapes(s) == 0:
            assert s.origin == "founder"
    assert any(s.origin == "acquired" for s in LETTERS.states)


def test_only_a_new_escape_is_acquired() -> None:
    for r, (before, after) in enumerate(zip(LETTERS.to_before, LETTERS.to_after, strict=True)):
        source = LETTERS.states[int(np.searchsorted(LETTERS.route_first, r, side="right")) - 1]
        new = escapes(LETTERS.states[before]) > escapes(source)
        assert (before != after) == (new and source.origin == "founder")
        if new:
            assert LETTERS.states[before].origin == source.origin
            assert LETTERS.states[after].origin == "acquired"


def test_closed_routes_shrink_the_alphabet() -> None:
    alone = alphabet_of(Biology(routes_off=route_names(BIOLOGY.antigens)))
    assert alone.route_names == ()
    assert len(alone) == 3  # the founder, and the two that a measured negative fraction may put in
    no_switch = alphabet_of(Biology(routes_off=("lineage_switch",)))
    assert not any(s.lineage == "myeloid" for s in no_switch.states)


def test_a_third_antigen_needs_no_code() -> None:
    three = Biology(antigens=BIOLOGY.antigens | {"cd20": Antigen(hits_to_loss=1)})
    letters = alphabet_of(three)
    assert letters.antigens == ("cd19", "cd22", "cd20")
    assert phenotype(letters.states[0], letters.antigens) == "CD19+CD22+CD20+"
    assert make_rates(three).route_rate.size == len(letters.route_names)


def test_densities() -> None:
    density = densities(LETTERS, BIOLOGY)
    cd19 = BIOLOGY.antigens["cd19"]
    for i, s in enumerate(LETTERS.states):
        alleles, shown = s.antigens[0]
        expected = cd19.blast_density_molecules
        expected *= cd19.hemizygous_fold if alleles == 1 else 1
        expected *= {"high": 1.0, "dim": cd19.dim_fold, "silenced": 0.0, "lost": 0.0}[shown]
        expected *= BIOLOGY.leukaemia.progenitor_density_fold if s.progenitor else 1
        assert density[i, 0] == pytest.approx(expected, rel=1e-12)


def test_recognition(products: dict[str, Product]) -> None:
    classes = car_classes(products["bicistronic"], BIOLOGY.antigens)
    rates = make_rates(BIOLOGY, classes, infused=True)
    p = []
    for name, antigen in BIOLOGY.antigens.items():
        half, h = classes[0].half_density_molecules[name], BIOLOGY.killing.hill
        p.append(antigen.blast_density_molecules**h / (antigen.blast_density_molecules**h + half**h))
    assert rates.kill_probability[0, 0] == pytest.approx(1 - (1 - p[0]) * (1 - p[1]), rel=1e-12)
    gone = [i for i, s in enumerate(LETTERS.states) if all(a.shown in ("lost", "silenced") for a in s.antigens)]
    assert rates.kill_probability[0, gone] == pytest.approx(0, abs=1e-300)
    assert np.all(rates.stimulation <= rates.kill_probability)  # expansion needs more antigen


@pytest.mark.parametrize("arm", ["cd19_fmc63", "tandem", "cotransduced", "auto1_22"])
def test_leaving_is_the_sum_of_its_routes(products: dict[str, Product], arm: str) -> None:
    rates = make_rates(BIOLOGY, car_classes(products[arm], BIOLOGY.antigens), infused=True)
    n_classes = rates.kill_probability.shape[0]
    around = hazards.Surroundings(1e-10, 0.15, 0.5, np.full(n_classes, 1e9), np.full(n_classes, 0.3))
    for i in range(len(LETTERS)):
        routes = range(rates.route_first[i], rates.route_first[i + 1])
        each = [hazards.route_hazard(rates, around, i, r) for r in routes]
        assert hazards.leave_hazard(rates, around, i) == pytest.approx(sum(each), rel=1e-12)


def test_no_car_t_cell_kills_more_than_its_capacity(products: dict[str, Product]) -> None:
    rates = make_rates(BIOLOGY, car_classes(products["cotransduced"], BIOLOGY.antigens), infused=True)
    rates = rates._replace(half_saturation=1.0)  # targets far in excess of what limits by CAR T cells being few
    cells = np.zeros(len(LETTERS), dtype=np.int64)
    cells[0] = 10**12
    car_t = np.zeros((3, 3), dtype=np.int64)
    car_t[:, states.EFFECTOR] = 100
    around = hazards.surroundings(rates, cells, car_t, 1e10, 5.0)
    killed = hazards.kill_hazard(rates, around, 0) * cells[0] + hazards.kill_hazard_b(rates, around) * 1e10
    assert killed == pytest.approx(300 * rates.kills_per_car_t, rel=1e-8)


def test_carrying_capacity_is_where_growth_stops() -> None:
    assert hazards.division_hazard(0.1, 0.05, 0.0, 1e12) == pytest.approx(0.15)
    assert hazards.division_hazard(0.1, 0.05, 1e12, 1e12) == pytest.approx(0.05)
    assert hazards.division_hazard(0.1, 0.05, 1e13, 1e12) == 0


def test_kendall_limits() -> None:
    gone, more = hazards.kendall(0.2, 0.2, 3.0)  # critical
    assert gone == pytest.approx(0.6 / 1.6, rel=1e-9)
    assert more == pytest.approx(0.6 / 1.6, rel=1e-9)
    assert hazards.kendall(0.0, 0.5, 2.0) == pytest.approx((1 - math.exp(-1), 0.0))
    assert hazards.kendall(0.5, 0.0, 2.0) == pytest.approx((0.0, 1 - math.exp(-1)))
    assert hazards.kendall(0.1, 50.0, 10.0)[0] == pytest.approx(1, abs=1e-12)
    # Mean number of descendants: (1 - gone) / (1 - more) = exp((b - d) t).
    gone, more = hazards.kendall(1.3, 0.4, 0.7)
    assert (1 - gone) / (1 - more) == pytest.approx(math.exp(0.9 * 0.7), rel=1e-12)


def test_lymphopenia_and_recovery() -> None:
    host = BIOLOGY.host
    n = hazards.endogenous_t_cells(
        0.0, host.t_cell_nadir_cells, host.t_cell_capacity_cells, host.t_cell_recovery_per_day
    )
    assert n == pytest.approx(host.t_cell_nadir_cells)
    late = hazards.endogenous_t_cells(
        1e9, host.t_cell_nadir_cells, host.t_cell_capacity_cells, host.t_cell_recovery_per_day
    )
    assert late == pytest.approx(host.t_cell_capacity_cells)
    assert hazards.lymphopenia(n, 0.0, host.t_cell_nadir_cells, host.t_cell_capacity_cells) == pytest.approx(1)
    assert hazards.lymphopenia(late, 1e9, host.t_cell_nadir_cells, host.t_cell_capacity_cells) == 0


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_lymphopenia_drives_division_without_antigen(products: dict[str, Product], share: float) -> None:
    """Without a target in sight a share of it is left, until T cells are back; at saturation nothing changes."""
    car_t = BIOLOGY.car_t.model_copy(update={"homeostatic_fraction": share, "lymphopenia_independent_fraction": 0.2})
    biology = BIOLOGY.model_copy(update={"car_t": car_t})
    rates = make_rates(biology, car_classes(products["cd19_fmc63"], BIOLOGY.antigens), infused=True)
    none, few = np.zeros(len(LETTERS), dtype=np.int64), np.ones((1, 3), dtype=np.int64)
    most = car_t.effector_division_per_day

    def division(b_cells: float, days: float) -> float:
        return hazards.effector_birth(rates, hazards.surroundings(rates, none, few, b_cells, days), 0)

    assert division(0.0, 0.0) == pytest.approx(most * 0.8 * share, rel=1e-6)
    assert division(1e30, 0.0) == pytest.approx(most, rel=1e-6)
    assert division(0.0, 1e9) == 0
    assert division(1e30, 1e9) == pytest.approx(most * 0.2, rel=1e-6)


@pytest.mark.parametrize("tolerance", [0.1, 0.5])
def test_ticks_are_powers_of_two(tolerance: float) -> None:
    for fastest in (0.0, 0.01, 0.3, 1.0, 2.9, 40.0):
        days = hazards.tick_days(fastest, tolerance, 1.0)
        assert math.log2(days) == int(math.log2(days))
        assert days * fastest <= tolerance or days == 2.0**-10


def test_clocks() -> None:
    rates = make_rates(BIOLOGY)
    per_division = {n for n, c in zip(LETTERS.route_names, LETTERS.route_clock, strict=True) if c == PER_DIVISION}
    assert per_division == {
        "cd19_allele_loss",
        "cd19_silencing",
        "cd22_allele_loss",
        "progenitor_entry",
        "lineage_switch",
    }
    per_day = {n for n, c in zip(LETTERS.route_names, LETTERS.route_clock, strict=True) if c == PER_DAY}
    assert "sanctuary_entry" in per_day
    assert rates.leave_per_day[0] == pytest.approx(1e-5 + 1.4e-5 + 1e-3)


def test_the_pressure_of_killing_by_hand() -> None:
    """Half saturated by as many CAR T cells; halved again where targets are as many as they can kill."""
    assert hazards.killing_pressure(3.0, 15.0, 1e9, 1e9, 0.0) == pytest.approx(1.5e-9)
    assert hazards.killing_pressure(3.0, 15.0, 1e9, 1e9, 1e10) == pytest.approx(0.75e-9)


def test_what_a_cell_dies_of_adds_up(products: dict[str, Product]) -> None:
    leukaemia = BIOLOGY.leukaemia.model_copy(update={"death_per_day": 0.05})
    killing = BIOLOGY.killing.model_copy(update={"sanctuary_access": 0.5})
    cd19 = BIOLOGY.antigens["cd19"].model_copy(update={"fitness_cost_fraction": 0.2})
    update = {"leukaemia": leukaemia, "killing": killing, "antigens": BIOLOGY.antigens | {"cd19": cd19}}
    rates = make_rates(BIOLOGY.model_copy(update=update), car_classes(products["cd19_fmc63"], BIOLOGY.antigens))
    rates = rates._replace(graft=0.3, rejection=np.array([0.15]))
    around = hazards.Surroundings(1e-10, 0.15, 0.5, np.array([1e9]), np.array([0.3]))
    for i, s in enumerate(LETTERS.states):
        inside = 0.5 if s.niche == "sanctuary" else 1.0
        killed = 0.1 * inside * rates.kill_probability[0, i]
        assert hazards.death_hazard(rates, around, i) == pytest.approx(0.05 + 0.3 * inside + killed)
        gone = s.lineage == "B" and s.antigens[0].alleles == 0
        assert hazards.birth_hazard(rates, around, i) == pytest.approx(0.15 * (0.8 if gone else 1.0))
    c = BIOLOGY.car_t
    deaths = (c.memory_loss_per_day, c.effector_death_per_day, c.exhausted_death_per_day)
    for phenotype_, death in zip((states.MEMORY, states.EFFECTOR, states.EXHAUSTED), deaths, strict=True):
        assert hazards.car_t_death(rates, 0, phenotype_) == pytest.approx(death + 0.15)


def test_expected_numbers_are_the_slope_of_the_hazards(products: dict[str, Product]) -> None:
    """A short time on, each number has moved by what its hazards say, to second order in the time."""
    rates = make_rates(BIOLOGY, car_classes(products["cd19_fmc63"], BIOLOGY.antigens), infused=True)
    rates = rates._replace(to_memory=0.2, exhaustion=0.4)
    around = hazards.Surroundings(1e-10, 0.15, 0.5, np.array([1e9]), np.array([0.3]))
    cells, days = np.zeros(len(LETTERS), dtype=np.int64), 1e-4
    cells[[0, 5]] = 10**9, 10**7
    car_t = np.array([[5 * 10**8, 4 * 10**8, 3 * 10**8]], dtype=np.int64)
    later, later_car_t, b_cells = hazards.expected(rates, around, cells, car_t, 1e8, days)
    for i in (0, 5):
        net = hazards.birth_hazard(rates, around, i) - hazards.death_hazard(rates, around, i)
        assert (later[i] / cells[i] - 1) / days == pytest.approx(net, rel=1e-3)
    active, tired = hazards.activation_hazard(rates, around, 0), hazards.exhaustion_hazard(rates, around, 0)
    (m, e, x), dies = car_t[0], [hazards.car_t_death(rates, 0, i) for i in range(3)]
    slopes = (
        -(active + dies[0]) * m + 0.2 * e,
        (hazards.effector_birth(rates, around, 0) - dies[1] - 0.2 - tired) * e + 2 * active * m,
        tired * e - dies[2] * x,
    )
    assert (later_car_t[0] - car_t[0]) / days == pytest.approx(slopes, rel=1e-3)
    lost = rates.b_death + hazards.kill_hazard_b(rates, around)
    assert (b_cells - 1e8) / days == pytest.approx(rates.b_source - lost * 1e8, rel=1e-3)
