"""From parameters to rates: all rates of one patient under one product, as arrays over states and routes.

Recognition of an antigen at its density (`hill`) is here, since it depends on nothing that changes during a run.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from escape_abm.inputs.biology import Biology
from escape_abm.inputs.products import CarClass
from escape_abm.law.states import PER_CONTACT, PER_DAY, PER_DIVISION, Alphabet, alphabet_of


def parameter(biology: Biology, path: str) -> float:
    """Value of a dotted parameter path, for example `antigens.cd19.dim_fold`."""
    value: Any = biology
    for part in path.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return float(value)


def densities(letters: Alphabet, biology: Biology) -> NDArray[np.float64]:
    """Molecules per cell, shape (states, antigens)."""
    antigens = [biology.antigens[name] for name in letters.antigens]
    whole, half, dim = (
        np.array([getattr(a, trait) for a in antigens])
        for trait in ("blast_density_molecules", "hemizygous_fold", "dim_fold")
    )
    fold = np.where(letters.hemizygous, half, 1.0) * np.where(letters.dim, dim, 1.0)
    fold *= np.where(letters.progenitor, biology.leukaemia.progenitor_density_fold, 1.0)[:, None]
    return np.where(letters.absent, 0.0, whole * fold)


# ------------------------------------------------------------------------------------------------- rates of a run


class Rates(NamedTuple):
    """Everything a run needs, as numbers and arrays. S states, R routes, C classes of CAR T cells; hazards per day."""

    net_growth: float
    death: float
    capacity: float
    division_fold: NDArray[np.float64]  # (S,) births of a state against the founder's
    access: NDArray[np.float64]  # (S,) contacts with CAR T cells against the marrow
    kill_probability: NDArray[np.float64]  # (C, S) that a contact is recognised for killing
    stimulation: NDArray[np.float64]  # (C, S) that a contact is recognised for expansion
    kill_probability_b: NDArray[np.float64]  # (C,) the same for normal B cells
    stimulation_b: NDArray[np.float64]  # (C,)
    route_first: NDArray[np.int64]  # (S + 1,)
    route_to: NDArray[np.int64]  # (R,)
    route_clock: NDArray[np.int8]  # (R,)
    route_rate: NDArray[np.float64]  # (R,) per division, per day, or per contact that does not kill
    strip_weight: NDArray[np.float64]  # (C, R) contacts of a class that do not kill, times its stripping factor
    leave_per_division: NDArray[np.float64]  # (S,) sum over routes
    leave_per_day: NDArray[np.float64]  # (S,)
    leave_by_contact: NDArray[np.float64]  # (C, S)
    kill: float
    half_saturation: float
    kills_per_car_t: float
    effector_division: NDArray[np.float64]  # (C,)
    effector_death: float
    memory_loss: NDArray[np.float64]  # (C,)
    memory_activation: float
    to_memory: float
    exhaustion: float
    exhausted_death: float
    rejection: NDArray[np.float64]  # (C,) extra loss of cells that the patient rejects
    graft: float  # kill hazard of every leukaemic cell in the marrow by a donor's graft
    lymphopenia_independent: float
    homeostatic: float
    stimulation_half: float
    t_cell_capacity: float
    t_cell_nadir: float
    t_cell_recovery: float
    b_source: float
    b_death: float


def make_rates(biology: Biology, classes: tuple[CarClass, ...] = (), infused: bool = False) -> Rates:
    """Rates of one patient (whose biology this is) under these classes of CAR T cells.

    Args:
        biology: The patient's own parameters.
        classes: Classes of CAR T cells; none while the leukaemia grows.
        infused: Whether the first infusion has been: decides the origin of new escapes.
    """
    letters = alphabet_of(biology)
    density = densities(letters, biology)
    k, c = biology.killing, biology.car_t
    b_density = np.array([[biology.antigens[a].normal_b_density_molecules for a in letters.antigens]])
    kills, sees, kills_b, sees_b = [], [], [], []
    for car in classes:
        half = np.array([car.half_density_molecules.get(a, math.inf) for a in letters.antigens])
        far = half * c.stimulation_density_fold
        kills.append(any_receptor(hill(density, half, k.hill)))
        sees.append(any_receptor(hill(density, far, c.stimulation_hill)))
        kills_b.append(any_receptor(hill(b_density, half, k.hill))[0])
        sees_b.append(any_receptor(hill(b_density, far, c.stimulation_hill))[0])
    n_states, n_routes, n_classes = len(letters), len(letters.route_names), len(classes)
    kill_probability = np.array(kills).reshape(n_classes, n_states)

    values = np.array([parameter(biology, p) for p in letters.parameters])
    rate = values[letters.route_parameter] if n_routes else np.zeros(0)
    by_contact = letters.route_clock == PER_CONTACT
    strip = np.zeros((n_classes, n_routes))
    for i, car in enumerate(classes):
        fold = np.array([car.stripping_fold.get(a, 0.0) for a in letters.antigens] + [0.0])[letters.route_antigen]
        strip[i] = np.where(by_contact, rate * fold * (1 - kill_probability[i, letters.route_from]), 0.0)

    def leaving(rates: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(letters.route_from, weights=rates, minlength=n_states).astype(float)

    cost = np.array([biology.antigens[a].fitness_cost_fraction for a in letters.antigens])
    return Rates(
        net_growth=biology.leukaemia.net_growth_per_day,
        death=biology.leukaemia.death_per_day,
        capacity=biology.leukaemia.carrying_capacity_cells,
        division_fold=np.prod(1 - cost * letters.gone, axis=1),
        access=np.where(letters.sanctuary, min(k.sanctuary_access, 1.0), 1.0),
        kill_probability=kill_probability,
        stimulation=np.array(sees).reshape(n_classes, n_states),
        kill_probability_b=np.array(kills_b, dtype=float),
        stimulation_b=np.array(sees_b, dtype=float),
        route_first=letters.route_first,
        route_to=letters.to_after if infused else letters.to_before,
        route_clock=letters.route_clock,
        route_rate=rate,
        strip_weight=strip,
        leave_per_division=leaving(np.where(letters.route_clock == PER_DIVISION, rate, 0.0)),
        leave_per_day=leaving(np.where(letters.route_clock == PER_DAY, rate, 0.0)),
        leave_by_contact=np.array([leaving(s) for s in strip]).reshape(n_classes, n_states),
        kill=k.kill_per_day,
        half_saturation=k.half_saturation_cells,
        kills_per_car_t=k.kills_per_car_t_per_day,
        effector_division=np.array([c.effector_division_per_day * car.division_fold for car in classes]),
        effector_death=c.effector_death_per_day,
        memory_loss=np.array([c.memory_loss_per_day * car.memory_loss_fold for car in classes]),
        memory_activation=c.memory_activation_per_day,
        to_memory=c.effector_to_memory_per_day,
        exhaustion=c.exhaustion_per_day,
        exhausted_death=c.exhausted_death_per_day,
        rejection=np.zeros(n_classes),
        graft=0.0,
        lymphopenia_independent=c.lymphopenia_independent_fraction,
        homeostatic=c.homeostatic_fraction,
        stimulation_half=c.stimulation_half_cells,
        t_cell_capacity=biology.host.t_cell_capacity_cells,
        t_cell_nadir=biology.host.t_cell_nadir_cells,
        t_cell_recovery=biology.host.t_cell_recovery_per_day,
        b_source=biology.host.b_cell_source_per_day,
        b_death=1.0 / biology.host.b_cell_life_days,
    )


# ----------------------------------------------------------------------------------------- recognition and hazards


@njit(cache=True)
def hill(density: NDArray[np.float64], half: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Recognition of densities (S, A) by a receptor with these half-densities (A,); an infinite one sees nothing.

    Compiled, since the last digit of NumPy's power differs between processors, and with it a patient's course.
    """
    seen = np.zeros(density.shape)
    for i in range(density.shape[0]):
        for j in range(density.shape[1]):
            if density[i, j] > 0:
                seen[i, j] = 1.0 / (1.0 + math.pow(half[j] / density[i, j], exponent))
    return seen


def any_receptor(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Recognition by at least one of several receptors: 1 - product of (1 - p) over the last axis."""
    return np.asarray(1.0 - np.prod(1.0 - p, axis=-1))
