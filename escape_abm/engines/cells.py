"""The cells engine: every cell is an agent of a Mesa model and draws from the law for itself.

`counts` draws for all cells of a state at once; here each cell draws on its own, from the same hazards (`one_cell`).
The law is read, never repeated. A tick has two phases. Every agent *decides* its fate, against surroundings that are
the same for all; then all decisions are *applied*.

Here all cells meet all others, so the engine has the distribution of the counts engine; `grid` puts them on sites. It
handles up to about 1e5 cells: a sample of a patient (`settings.Engine.sample_cells`).

A kind is a number: leukaemic states in the order of the alphabet, then normal B cells, then, class by class, memory,
effector and exhausted CAR T cells.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import mesa
import numpy as np
from mesa.discrete_space import CellAgent
from numpy.typing import NDArray

from escape_abm.engines.counts import GOES_ON, REACHED_DAY, end_tick, tick_length
from escape_abm.engines.interrupt import heed
from escape_abm.engines.one_cell import compiled
from escape_abm.engines.recording import Goal, Seen
from escape_abm.inputs.products import CarClass
from escape_abm.inputs.settings import Engine
from escape_abm.law import hazards
from escape_abm.law.hazards import Surroundings
from escape_abm.law.rates import Rates
from escape_abm.law.states import CAR_T_PHENOTYPES, EFFECTOR, EXHAUSTED, MEMORY, Alphabet, State, phenotype

Counts = NDArray[np.int64]


# ---------------------------------------------------------------------------------------------------------- agents


class _Counters(WeakKeyDictionary[Any, Iterator[int]]):
    """Numbers for agents, by model. Mesa 3.3 keeps them in a dictionary that never lets go of a model."""

    def __getitem__(self, model: Any) -> Iterator[int]:
        if model not in self:
            self[model] = iter(range(1, 2**62))
        return super().__getitem__(model)


class LivingCell(CellAgent):  # type: ignore[misc]
    """A cell that decides by the law and then becomes what it decided.

    Attributes:
        kind: What it is, as a number (see the module).
        becomes: Kinds of its living descendants at the tick's end, itself the first; set by `decide`.
        itself: The same if nothing happens.
        place: Where the model looks up its chances.
    """

    _ids: ClassVar[_Counters] = _Counters()
    model: CellModel

    def __init__(self, model: CellModel, kind: int, site: int = -1) -> None:
        super().__init__(model)
        self.kind, self.site, self.place = kind, site, kind
        self.itself: tuple[int, ...] = (kind,)
        self.becomes: tuple[int, ...] = self.itself
        model.numbers[kind] += 1
        model.arrived(self)

    @property
    def label(self) -> str:
        """What a reader calls this kind of cell."""
        return self.model.labels[self.kind]

    def decide(self) -> None:
        """Draw what becomes of this cell: half a tick of switching, birth and death, half a tick of switching.

        One number tells most cells that nothing happens, and the others what happens first.
        """
        kind, model = self.kind, self.model
        leaves, dies_out, more = model.chances(self, kind)
        u = next(model.luck)
        stays = 1.0 - leaves
        one = stays * (1.0 - dies_out) * (1.0 - more)
        if u < one * stays:
            self.becomes = self.itself
        elif u < one:  # one cell to the end, which then leaves its kind
            self.becomes = model.destination(self, kind)
        elif u < stays - stays * dies_out:  # more than one
            self.becomes = self.switch(kind, self.more_than_one(more))
        elif u < stays:  # none
            self.becomes = ()
        else:  # it leaves its kind before
            kinds = model.destination(self, kind)
            self.becomes = tuple(k for first in kinds for k in self.switch(first, self.descendants(first)))

    def descendants(self, kind: int) -> int:
        """Number of living descendants of a cell of this kind after a tick of birth and death (Kendall's law)."""
        _, dies_out, more = self.model.chances(self, kind)
        u = next(self.model.luck)
        if u < dies_out:
            return 0
        return 1 if u >= dies_out + (1.0 - dies_out) * more else self.more_than_one(more)

    def more_than_one(self, more: float) -> int:
        """That number, given that it is more than one."""
        return 2 + int(math.log(1.0 - next(self.model.luck)) / math.log(more))

    def switch(self, kind: int, cells: int) -> tuple[int, ...]:
        """What so many cells of this kind are after half a tick in which each leaves its kind at most once."""
        leaves = self.model.chances(self, kind)[0]
        luck, destination = self.model.luck, self.model.destination
        return tuple(
            last for _ in range(cells) for last in (destination(self, kind) if next(luck) < leaves else (kind,))
        )

    def apply(self) -> None:
        """Become what was decided."""
        if self.becomes is self.itself:
            return
        if not self.becomes:
            self.remove()
            return
        if self.becomes[0] != self.kind:
            self.model.change(self, self.becomes[0])
        for kind in self.becomes[1:]:
            self.model.bear(self, kind)

    def remove(self) -> None:
        """Die, or be taken out."""
        self.model.numbers[self.kind] -= 1
        self.model.left(self)
        super().remove()


class LeukaemicCell(LivingCell):
    """A leukaemic cell in a state of the alphabet."""

    @property
    def state(self) -> State:
        """Lineage, antigens, niche and origin."""
        return self.model.letters.states[self.kind]


class NormalBCell(LivingCell):
    """A normal B cell: it circulates, so that it meets all CAR T cells alike, whatever the world."""


class CarTCell(LivingCell):
    """A CAR T cell of a class (its receptors) in a phase: memory, effector or exhausted."""

    @property
    def car_class(self) -> CarClass:
        """What its receptors see."""
        return self.model.classes[(self.kind - self.model.b_kind - 1) // 3]

    @property
    def phase(self) -> str:
        """Memory, effector or exhausted."""
        return CAR_T_PHENOTYPES[(self.kind - self.model.b_kind - 1) % 3]


# ---------------------------------------------------------------------------------------------------------- worlds


def uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Uniform numbers one by one; drawn in blocks, which is ten times as fast."""
    while True:
        yield from rng.random(4096).tolist()


def agent_of(kind: int, b_kind: int) -> type[LivingCell]:
    """Which agent a kind is."""
    return LeukaemicCell if kind < b_kind else NormalBCell if kind == b_kind else CarTCell


class CellModel(mesa.Model):  # type: ignore[misc]
    """A well-mixed sample of a patient: each cell meets all others.

    A Mesa model: `agents`, `step()` (one tick), `datacollector` (a row for each whole day). `patient.course.Course`
    runs it through `advance`, between its events.

    Attributes:
        day: Days from infusion.
        numbers: Cells of each kind.
        labels: What a reader calls each kind.
        kills: Expected kills per day in the last tick.
    """

    def __init__(self, letters: Alphabet, classes: tuple[CarClass, ...], rates: Rates, *, rng: int) -> None:
        """Make an empty marrow.

        Args:
            letters: Leukaemic states.
            classes: Classes of CAR T cells that may be infused.
            rates: Rates of the patient, until `advance` gives others.
            rng: Seed of all chance in the model.
        """
        super().__init__(rng=rng)
        self.letters, self.classes, self.rates = letters, classes, rates
        self.b_kind = len(letters)
        self.labels = [phenotype(s, letters.antigens) for s in letters.states] + ["normal B cells"]
        self.labels += [f"{c.label} {phase}" for c in classes for phase in CAR_T_PHENOTYPES]
        self.numbers = [0] * len(self.labels)
        self.luck = uniforms(self.rng)
        self.day, self.lymphodepleted, self.tolerance, self.kills = 0.0, 0.0, Engine().tolerance, 0.0
        kinds: dict[str, list[int]] = {}
        for kind, label in enumerate(self.labels):
            kinds.setdefault(label, []).append(kind)
        reporters = {label: _counter(mine) for label, mine in kinds.items()}
        self.datacollector = mesa.DataCollector(model_reporters={"day": "day", **reporters})

    def step(self) -> None:
        """One tick."""
        self.tick()

    def count(self) -> tuple[Counts, Counts, int]:
        """Leukaemic cells (S,), CAR T cells (C, 3), normal B cells."""
        numbers, b = np.array(self.numbers), self.b_kind
        return numbers[:b], numbers[b + 1 :].reshape(len(self.classes), 3), int(numbers[b])

    def car_t_cells(self) -> list[CarTCell]:
        """The CAR T cells, oldest first."""
        return list(self.agents_by_type.get(CarTCell, ()))

    def populate(self, cells: Counts, car_t: Counts, b_cells: int) -> None:
        """Make the agents as many as these numbers: random ones of a kind are taken out, new ones come to random sites.

        Cells of a kind are alike, so who dies of chemotherapy is chance; CAR T cells are infused everywhere.
        """
        wanted = np.concatenate([cells, [b_cells], car_t.ravel()])
        wanted = np.pad(wanted, (0, len(self.numbers) - wanted.size))
        change = wanted - np.array(self.numbers)
        if (change < 0).any():
            groups: dict[int, list[LivingCell]] = {}
            for agent in self.agents:
                groups.setdefault(agent.kind, []).append(agent)
            for kind in np.flatnonzero(change < 0).tolist():
                group = groups[kind]
                for i in self.rng.choice(len(group), size=int(-change[kind]), replace=False).tolist():
                    group[i].remove()
        for kind in np.flatnonzero(change > 0).tolist():
            for _ in range(int(change[kind])):
                self.enter(kind)

    def advance(
        self,
        rates: Rates,
        cells: Counts,
        car_t: Counts,
        b_cells: int,
        day: float,
        until: float,
        lymphodepleted: float,
        tolerance: float,
        goal: Goal,
        seen: Seen,
        sanctuary: NDArray[np.bool_],
    ) -> tuple[int, float, int, int]:
        """The same as `counts.advance`, by agents: run ticks from `day` to `until`, changing the arrays in place."""
        self.rates, self.day, self.lymphodepleted, self.tolerance = rates, day, lymphodepleted, tolerance
        self.populate(cells, car_t, b_cells)
        ticks = 0
        while self.day < until:
            heed()
            began = self.day
            self.tick(until, goal.target)
            ticks += 1
            cells[:], everyone, b_cells = self.count()
            car_t[:] = everyone[: car_t.shape[0]]
            code = end_tick(cells, car_t, b_cells, self.kills, began, self.day, goal, seen, sanctuary)
            if code != GOES_ON:
                return code, self.day, b_cells, ticks
        return REACHED_DAY, self.day, b_cells, ticks

    def tick(self, until: float = math.inf, target: float = 0.0) -> None:
        """One tick: look, decide, apply."""
        began = self.day
        days = self.look(until, target)
        self.agents.do("decide")
        self.apply(days)
        # The body makes normal B cells at a constant rate, while there are CAR T cells for whom they matter.
        if self.rates.memory_loss.size:
            lost = self.rates.b_death + hazards.kill_hazard_b(self.rates, self.around)
            for _ in range(self.rng.poisson(self.rates.b_source * hazards.happens(lost, days) / lost)):
                self.enter(self.b_kind)
        self.day = began + days
        if math.floor(self.day) > math.floor(began):
            self.datacollector.collect(self)

    def look(self, until: float, target: float) -> float:
        """Choose the length of the tick and find the chances of everyone in it."""
        r, (cells, car_t, b_cells) = self.rates, self.count()
        car_t, since = car_t[: r.memory_loss.size], self.day - self.lymphodepleted
        start = hazards.surroundings(r, cells, car_t, float(b_cells), since)
        fastest = max(hazards.fastest_hazard(r, start), self.fastest_nearby(start))
        days: float = tick_length(r, start, fastest, cells, self.day, until, self.tolerance, target)
        self.around = hazards.midway(r, start, cells, car_t, float(b_cells), since, days)
        table, kills = compiled.everywhere(r, self.around, self.b_kind + 1 + car_t.size, days)
        self.table = table.tolist()
        self.destinations: dict[int, list[float]] = {}
        self.look_nearby(start, days, float(kills[: self.b_kind] @ cells), float(kills[self.b_kind] * b_cells))
        return days

    def chances(self, cell: LivingCell, kind: int) -> list[float] | tuple[float, ...]:
        """`Chances` of this cell, were it of this kind."""
        return self.table[kind]

    def shares(self, cell: LivingCell, kind: int) -> list[float]:
        """`shares` of the ways out of this kind for this cell."""
        if kind not in self.destinations:
            self.destinations[kind] = compiled.ways(self.rates, self.around, kind).tolist()
        return self.destinations[kind]

    def destination(self, cell: LivingCell, kind: int) -> tuple[int, ...]:
        """What a cell that leaves this kind becomes: an activated memory cell two effectors, others one cell."""
        phase = (kind - self.b_kind - 1) % 3
        if kind > self.b_kind and phase == MEMORY:
            return (kind + EFFECTOR - MEMORY,) * 2
        way = bisect(self.shares(cell, kind), next(self.luck))
        if kind > self.b_kind:
            return (kind + (EXHAUSTED if way else MEMORY) - EFFECTOR,)
        first, last = self.rates.route_first[kind], self.rates.route_first[kind + 1]
        return (int(self.rates.route_to[min(first + way, last - 1)]),)

    # What the world adds; well mixed, it adds nothing.

    def fastest_nearby(self, start: Surroundings) -> float:
        """The largest hazard that one cell meets where it is."""
        return 0.0

    def look_nearby(self, start: Surroundings, days: float, kills: float, kills_b: float) -> None:
        """Find the chances of each cell where it is."""
        self.kills = kills + kills_b

    def apply(self, days: float) -> None:
        """Let everyone become what they decided, and move."""
        self.agents.do("apply")

    def enter(self, kind: int) -> None:
        """A cell of this kind arrives."""
        agent_of(kind, self.b_kind)(self, kind)

    def bear(self, mother: LivingCell, kind: int) -> None:
        """A daughter of this kind is born."""
        type(mother)(self, kind)

    def change(self, cell: LivingCell, kind: int) -> None:
        """A cell changes its kind."""
        self.numbers[cell.kind] -= 1
        self.numbers[kind] += 1
        cell.kind, cell.itself = kind, (kind,)

    def arrived(self, cell: LivingCell) -> None:
        """A new cell takes its place."""

    def left(self, cell: LivingCell) -> None:
        """A cell gives up its place."""


def _counter(kinds: list[int]) -> Callable[[CellModel], int]:
    return lambda model: sum(model.numbers[k] for k in kinds)
