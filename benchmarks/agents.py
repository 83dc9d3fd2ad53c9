"""Speed of the cells engine in agent-steps per second, beside a bare Mesa birth-death model in the same run.

python benchmarks/agents.py [agents] [ticks]

An agent-step is one agent in one tick. The bare model draws one number for each agent, which then dies, divides or does
nothing: the least that any Mesa model of cells can do. Everything is compiled before the clock starts.
"""

from __future__ import annotations

import sys
import time

import mesa
import numpy as np

from escape_abm import compose
from escape_abm.engines.cells import uniforms
from escape_abm.engines.grid import make_model
from escape_abm.inputs.rows import rescale
from escape_abm.law.states import founder, lose_antigen

REPEATS, REFILL = 3, 4
BARE = "bare Mesa birth-death"


class BareCell(mesa.Agent):
    """Dies or divides with fixed probabilities."""

    fate = 1

    def decide(self) -> None:
        """Draw."""
        u = next(self.model.luck)
        self.fate = 0 if u < self.model.dies else 2 if u < 2 * self.model.dies else 1

    def apply(self) -> None:
        """Become what was drawn."""
        if self.fate == 0:
            self.remove()
        elif self.fate == 2:
            BareCell(self.model)


class BareModel(mesa.Model):
    """So many cells, as many births as deaths."""

    def __init__(self, agents: int, dies: float, rng: int) -> None:
        super().__init__(rng=rng)
        self.dies, self.luck = dies, uniforms(self.rng)
        for _ in range(agents):
            BareCell(self)

    def refill(self) -> None:
        """It keeps its number."""

    def tick(self) -> None:
        """Decide, apply."""
        self.agents.do("decide")
        self.agents.do("apply")


class Escaping:
    """A marrow in the middle of an escape: 6 agents in 10 are leukaemia with both antigens, 2 without CD19, 2 CAR T."""

    def __init__(self, agents: int, world: str) -> None:
        settings = compose([f"engine.world={world}", "product=cotransduced"], config_name="marrow")
        biology = rescale(settings.biology, 1.5 * agents / settings.biology.leukaemia.carrying_capacity_cells)
        self.model = make_model(biology, settings.product, settings.engine, rng=1)
        first = founder(tuple((n, a.hits_to_loss) for n, a in biology.antigens.items()))
        self.cells = np.zeros(self.model.b_kind, dtype=np.int64)
        self.cells[self.model.letters.index(first)] = 0.6 * agents
        self.cells[self.model.letters.index(lose_antigen(first, 0))] = 0.2 * agents
        shape = len(self.model.classes), 3
        self.car_t = np.full(shape, round(0.2 * agents / np.prod(shape)), dtype=np.int64)
        self.agents, self.tick = self.model.agents, self.model.tick

    def refill(self) -> None:
        """As at the start: the fight changes the mixture of agents within days."""
        self.model.populate(self.cells, self.car_t, 0)
        self.model.day = 0.0


def speed(name: str, agents: int, ticks: int) -> float:
    """Million agent-steps per second; refilling is not on the clock."""
    model = BareModel(agents, 0.01, rng=1) if name == BARE else Escaping(agents, name)
    model.refill()
    model.tick()
    steps, spent = 0, 0.0
    for tick in range(ticks):
        if tick % REFILL == 0:
            model.refill()
        steps, began = steps + len(model.agents), time.perf_counter()
        model.tick()
        spent += time.perf_counter() - began
    return steps / spent / 1e6


def main(agents: int = 20_000, ticks: int = 100) -> None:
    """Measure, and print the best of some repeats, interleaved since the machine may be busy."""
    names = (BARE, "mixed", "grid")
    speeds = {name: max(speed(name, agents, ticks) for _ in range(REPEATS)) for name in names}
    print(f"{agents} agents, {ticks} ticks, best of {REPEATS}, mesa {mesa.__version__}")
    for name, found in speeds.items():
        print(f"{name:24} {found:6.2f} M agent-steps/s, {found / speeds[BARE]:5.2f} of the bare model")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
