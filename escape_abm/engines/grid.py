"""The marrow: the cells engine on a grid of sites, where contact, crowding and neighbourhood matter.

The law is the same; each cell faces it with the numbers of the surrounding sites, as if the whole marrow were like
them. This covers what lumping cannot express: CAR T cells must find their targets and kill only what they touch,
daughters need free sites, escaped clones grow as patches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from mesa.discrete_space import OrthogonalMooreGrid
from numba import njit

from escape_abm.engines.cells import CellModel, Counts, LivingCell, agent_of
from escape_abm.engines.one_cell import Floats, kills_per_day, one_cell, shares
from escape_abm.inputs.biology import Biology
from escape_abm.inputs.products import CarClass
from escape_abm.inputs.settings import Engine, Space
from escape_abm.law import hazards
from escape_abm.law.hazards import Surroundings
from escape_abm.law.rates import Rates, make_rates
from escape_abm.law.states import Alphabet, alphabet_of


@njit(nogil=True)
def nearby(
    rates: Rates,
    overall: tuple[float, float],
    kind_at: Counts,
    car_t_at: Counts,
    contacts: Counts,
    b_cells: float,
    since: float,
    days: float,
) -> Surroundings:
    """Surroundings of a site in the middle of a tick: the law's, were the whole marrow like the sites in contact.

    Lymphopenia and normal B cells are of the whole body and the same everywhere.

    Args:
        rates: The patient's rates.
        overall: Lymphopenia at the start and in the middle of the tick.
        kind_at: (sites,) state of the leukaemic cell on each site, -1 where there is none.
        car_t_at: (sites, C, 3) CAR T cells on each site.
        contacts: Sites in contact.
        b_cells: Normal B cells.
        since: Days since lymphodepletion.
        days: Length of the tick; 0: surroundings at its start.
    """
    cells, car_t = np.zeros(rates.access.shape[0]), np.zeros((car_t_at.shape[1], 3))
    fold = kind_at.shape[0] / contacts.shape[0]
    for site in contacts:
        if kind_at[site] >= 0:
            cells[kind_at[site]] += fold
        for s in range(car_t.shape[0]):
            for phase in range(3):
                car_t[s, phase] += fold * car_t_at[site, s, phase]
    a = hazards.surroundings(rates, cells, car_t, b_cells, since)
    a = Surroundings(a.pressure, a.division, overall[0], a.hunters, a.activation)
    if days == 0.0:
        return a
    a = hazards.midway(rates, a, cells, car_t, b_cells, since, days)
    return Surroundings(a.pressure, a.division, overall[1], a.hunters, a.activation)


class Compiled(NamedTuple):
    """What Python calls; compiled so that numba's cache knows the fingerprint of the law."""

    fastest_on_grid: Callable[..., float]
    on_grid: Callable[..., tuple[Floats, Floats, Floats]]
    at_site: Callable[..., tuple[tuple[float, float, float], Floats]]


def _compile(fingerprint: str) -> Compiled:
    @njit(cache=True, nogil=True)
    def fastest_on_grid(
        rates: Rates,
        overall: tuple[float, float],
        kind_at: Counts,
        car_t_at: Counts,
        neighbours: Counts,
        sites: Counts,
        b_cells: float,
        since: float,
    ) -> float:
        """The largest hazard at these sites, as `hazards.fastest_hazard`."""
        fingerprint  # noqa: B018
        fastest = 0.0
        for site in sites:
            around = nearby(rates, overall, kind_at, car_t_at, neighbours[site], b_cells, since, 0.0)
            fastest = max(fastest, hazards.fastest_hazard(rates, around))
        return fastest

    @njit(cache=True, nogil=True)
    def on_grid(
        rates: Rates,
        overall: tuple[float, float],
        kind_at: Counts,
        car_t_at: Counts,
        neighbours: Counts,
        sites: Counts,
        kinds: Counts,
        b_cells: float,
        since: float,
        days: float,
    ) -> tuple[Floats, Floats, Floats]:
        """Of cells of these kinds on these sites: (n, 3) `Chances`, (n,) kills per day, (n,) targets in contact."""
        fingerprint  # noqa: B018
        states = rates.access.shape[0]
        out, kills, touched = np.zeros((kinds.size, 3)), np.zeros(kinds.size), np.zeros(kinds.size)
        crowd = car_t_at.sum(axis=2).sum(axis=1)
        # Where there is no CAR T cell and all states divide alike, only the number of neighbours matters.
        alike, known = (rates.division_fold == 1.0).all(), np.full(neighbours.shape[1] + 1, -1.0)
        nobody = np.zeros(car_t_at.shape[1])
        for i in range(kinds.size):
            contacts, full, hunters = neighbours[sites[i]], 0, 0
            for site in contacts:
                full += kind_at[site] >= 0
                hunters += crowd[site]
            if alike and hunters == 0 and known[full] >= 0:
                around = Surroundings(0.0, known[full], overall[1], nobody, nobody)
            else:
                around = nearby(rates, overall, kind_at, car_t_at, contacts, b_cells, since, days)
                if hunters == 0:
                    known[full] = around.division
            out[i] = one_cell(rates, around, kinds[i], days)
            kills[i] = kills_per_day(rates, around, kinds[i], days)
            if kinds[i] > states:
                for site in neighbours[sites[i]]:
                    if kind_at[site] >= 0:
                        touched[i] += rates.kill_probability[(kinds[i] - states - 1) // 3, kind_at[site]]
        return out, kills, touched

    @njit(cache=True, nogil=True)
    def at_site(
        rates: Rates,
        overall: tuple[float, float],
        kind_at: Counts,
        car_t_at: Counts,
        contacts: Counts,
        kind: int,
        b_cells: float,
        since: float,
        days: float,
    ) -> tuple[tuple[float, float, float], Floats]:
        """`Chances` and `shares` of one kind at one site."""
        fingerprint  # noqa: B018
        around = nearby(rates, overall, kind_at, car_t_at, contacts, b_cells, since, days)
        return one_cell(rates, around, kind, days), shares(rates, around, kind)

    return Compiled(fastest_on_grid, on_grid, at_site)


compiled = _compile(hazards.FINGERPRINT)


class MarrowGrid(CellModel):
    """A marrow of sites, on a torus, with a protected niche.

    - A leukaemic cell has a site for itself; a daughter needs a free site beside her mother, or one anywhere when she
      recirculates (`Space.dispersal_fraction`); where there is none, no daughter is born.
    - CAR T cells move between them, slower while they touch a target; killing and stripping need contact: a cell meets
      the law with the numbers of the 9 sites around it, as if the whole marrow were like them.
    - Cells in a sanctuary state live on the sites of the niche, others on the rest.

    Attributes:
        grid: Mesa's grid; `agent.cell` is the site of an agent.
        niche: (sites,) which sites are of the niche.
        crowded_out: Daughters that found no room.
    """

    def __init__(
        self, letters: Alphabet, classes: tuple[CarClass, ...], rates: Rates, *, rng: int, sites: int, space: Space
    ) -> None:
        """Make an empty grid of about so many sites (a square)."""
        super().__init__(letters, classes, rates, rng=rng)
        self.space, self.side = space, math.ceil(math.sqrt(sites))
        self.grid = OrthogonalMooreGrid((self.side, self.side), torus=True, random=self.random)
        self.sites = list(self.grid.all_cells.cells)
        n = self.side**2
        x, y = np.divmod(np.arange(n), self.side)
        steps = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
        around = [((x + dx) % self.side) * self.side + (y + dy) % self.side for dx, dy in steps]
        self.neighbours = np.stack(around, axis=1).astype(np.int64)
        self.beside = [[s for s in row if s != i] for i, row in enumerate(self.neighbours.tolist())]
        centre = self.side / 4
        distance = (x + 0.5 - centre) ** 2 + (y + 0.5 - centre) ** 2
        self.niche = np.zeros(n, dtype=bool)
        self.niche[np.argsort(distance, kind="stable")[: round(space.sanctuary_sites_fraction * n)]] = True
        self.regions = np.flatnonzero(~self.niche).tolist(), np.flatnonzero(self.niche).tolist()
        self.kind_at = np.full(n, -1, dtype=np.int64)
        self.free = [True] * n
        self.crowded_out = 0

    def _gather(self) -> None:
        """Where the CAR T cells are."""
        self.car_t_agents = self.car_t_cells()
        self.car_t_sites = np.array([a.site for a in self.car_t_agents], dtype=np.int64)
        self.car_t_kinds = np.array([a.kind for a in self.car_t_agents], dtype=np.int64)
        classes = self.rates.memory_loss.size
        self.car_t_at = np.zeros((self.kind_at.size, classes, 3), dtype=np.int64)
        flat = self.car_t_sites * 3 * classes + self.car_t_kinds - self.b_kind - 1
        np.add.at(self.car_t_at.reshape(-1), flat, 1)

    def fastest_nearby(self, start: Surroundings) -> float:
        """The largest hazard around any CAR T cell."""
        self._gather()
        at = np.unique(self.car_t_sites)
        overall = start.lymphopenia, start.lymphopenia
        return compiled.fastest_on_grid(
            self.rates, overall, self.kind_at, self.car_t_at, self.neighbours, at, float(self.numbers[self.b_kind]),
            self.day - self.lymphodepleted,
        )  # fmt: skip

    def look_nearby(self, start: Surroundings, days: float, kills: float, kills_b: float) -> None:
        """Find the chances of each cell by its neighbourhood, and how many targets each CAR T cell touches."""
        occupied = np.flatnonzero(self.kind_at >= 0)
        sites = np.concatenate([occupied, self.car_t_sites])
        kinds = np.concatenate([self.kind_at[occupied], self.car_t_kinds])
        self.overall = start.lymphopenia, self.around.lymphopenia
        self.frozen = float(self.numbers[self.b_kind]), self.day - self.lymphodepleted, days
        found, local_kills, touched = compiled.on_grid(
            self.rates, self.overall, self.kind_at, self.car_t_at, self.neighbours, sites, kinds, *self.frozen
        )
        # Three lists, not a list of triples, which the garbage collector would go through all the time.
        local = np.zeros((3, self.kind_at.size + self.car_t_kinds.size))
        local[:, occupied] = found[: occupied.size].T
        local[:, self.kind_at.size :] = found[occupied.size :].T
        self.leaves, self.dies_out, self.more = local.tolist()
        for place, agent in enumerate(self.car_t_agents, start=self.kind_at.size):
            agent.place = place
        self.touched = touched[occupied.size :]
        self.kills = float(local_kills.sum()) + kills_b

    def chances(self, cell: LivingCell, kind: int) -> list[float] | tuple[float, ...]:
        """`Chances` of this cell, were it of this kind, where it is."""
        if kind == self.b_kind:
            return super().chances(cell, kind)
        if kind == cell.kind:
            return self.leaves[cell.place], self.dies_out[cell.place], self.more[cell.place]
        return self._at_site(cell, kind)[0]

    def shares(self, cell: LivingCell, kind: int) -> list[float]:
        """`shares` of the ways out of this kind for this cell, where it is."""
        return self._at_site(cell, kind)[1].tolist()

    def _at_site(self, cell: LivingCell, kind: int) -> tuple[tuple[float, float, float], Floats]:
        contacts = self.neighbours[cell.site]
        return compiled.at_site(self.rates, self.overall, self.kind_at, self.car_t_at, contacts, kind, *self.frozen)

    def apply(self, days: float) -> None:
        """Let everyone become what they decided, in random order since they compete for room; then CAR T cells move."""
        changing = [a for a in self.agents if a.becomes is not a.itself]
        self.random.shuffle(changing)
        for agent in changing:
            agent.apply()
        minutes = 24 * 60 * days
        slowed = 1 - np.minimum(self.touched, 1.0) * (1 - self.space.contact_motility_fold)
        sd = np.sqrt(2 * self.space.car_t_motility_um2_per_min * slowed * minutes) / self.space.site_um
        jumps = np.rint(self.rng.standard_normal((2, sd.size)) * sd).astype(np.int64)
        x, y = np.divmod(self.car_t_sites, self.side)
        new = (x + jumps[0]) % self.side * self.side + (y + jumps[1]) % self.side
        for agent, site, moved in zip(self.car_t_agents, new.tolist(), jumps.any(axis=0).tolist(), strict=True):
            if moved and agent.cell is not None:
                agent.site = site
                agent.cell = self.sites[site]

    def _room(self, kind: int) -> int:
        """A random free site for a leukaemic cell of this kind, -1 if there is none."""
        region = self.regions[int(self.letters.sanctuary[kind])]
        for _ in range(50):
            site = region[int(next(self.luck) * len(region))] if region else -1
            if region and self.free[site]:
                return site
        left = [site for site in region if self.free[site]]
        return left[int(next(self.luck) * len(left))] if left else -1

    def _room_beside(self, mother: LivingCell, kind: int) -> int:
        if next(self.luck) < self.space.dispersal_fraction or self.letters.sanctuary[kind] != self.niche[mother.site]:
            return self._room(kind)
        free = [s for s in self.beside[mother.site] if self.free[s] and self.niche[s] == self.niche[mother.site]]
        return free[int(next(self.luck) * len(free))] if free else -1

    def enter(self, kind: int) -> None:
        """A cell of this kind arrives on a random site; a leukaemic cell only where there is room."""
        site = self._room(kind) if kind < self.b_kind else int(next(self.luck) * len(self.sites))
        if site < 0:
            self.crowded_out += 1
        else:
            agent_of(kind, self.b_kind)(self, kind, site)

    def bear(self, mother: LivingCell, kind: int) -> None:
        """A daughter is born beside her mother, or where she recirculates to, if there is room."""
        site = self._room_beside(mother, kind) if kind < self.b_kind else mother.site
        if site < 0:
            self.crowded_out += 1
        else:
            type(mother)(self, kind, site)

    def change(self, cell: LivingCell, kind: int) -> None:
        """A cell changes its kind; one that changes its niche needs room there, or stays what it is."""
        if kind < self.b_kind:
            if self.letters.sanctuary[kind] != self.niche[cell.site]:
                site = self._room(kind)
                if site < 0:
                    return
                self.left(cell)
                cell.site = cell.place = site
                self.free[site] = False
                cell.cell = self.sites[site]
            self.kind_at[cell.site] = kind
        super().change(cell, kind)

    def arrived(self, cell: LivingCell) -> None:
        """A new cell takes its site. Normal B cells have none: they circulate."""
        if cell.kind == self.b_kind:
            return
        cell.cell = self.sites[cell.site]
        if cell.kind < self.b_kind:
            cell.place = cell.site
            self.kind_at[cell.site] = cell.kind
            self.free[cell.site] = False

    def left(self, cell: LivingCell) -> None:
        """A leukaemic cell gives up its site."""
        if cell.kind < self.b_kind:
            self.kind_at[cell.site] = -1
            self.free[cell.site] = True


def make_model(biology: Biology, classes: tuple[CarClass, ...], engine: Engine, *, rng: int) -> CellModel:
    """The model that `engine.world` names, empty, for a patient with this biology.

    Args:
        biology: The patient's; its carrying capacity is the number of sites of a grid.
        classes: Of the CAR T cells that may be infused.
        engine: World and space.
        rng: Seed of all chance in the model.
    """
    letters = alphabet_of(biology)
    rates = make_rates(biology, classes, infused=True)
    if engine.world == "mixed":
        return CellModel(letters, classes, rates, rng=rng)
    sites = round(biology.leukaemia.carrying_capacity_cells)
    return MarrowGrid(letters, classes, rates, rng=rng, sites=sites, space=engine.space)
