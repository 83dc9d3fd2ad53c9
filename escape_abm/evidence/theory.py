"""The counts engine against exact laws of branching processes: cells that divide, die and lose an antigen.

`tests/engines/test_verification.py` tests each law at one setting; here it is drawn along an axis. Only birth, death
and antigen loss of the leukaemia come from a biology; every other route should be closed (`conf/theory.yaml`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from escape_abm.engines import counts
from escape_abm.engines import engine as engines
from escape_abm.engines.chance import luck_of
from escape_abm.inputs.biology import Biology
from escape_abm.inputs.settings import Engine
from escape_abm.law import exact
from escape_abm.law.rates import make_rates
from escape_abm.law.states import Alphabet, alphabet_of, founder
from escape_abm.trials.survival import proportion

COLUMNS = ("law", "setting", "x", "expected", "estimate", "lower", "upper", "n")
DAYS = (1, 2, 4, 7, 11, 16, 22, 30)
DEATH_FOLDS = (0.2, 0.6, 0.9)
"""Death as a share of birth."""
SIZE = 1e5
"""Cells at which a leukaemia is found; large enough for the laws, small enough for many of them."""
LOSSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Antigen losses per division times the size."""
NUMBERS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)


def laws(biology: Biology, engine: Engine, replicates: int, rng: np.random.Generator) -> Iterator[pd.DataFrame]:
    """Each curve of each law, with the simulator's share of replicates and its 95 % interval: `COLUMNS`.

    Args:
        biology: Its net growth and death (per day) make the births.
        engine: The ticks.
        replicates: For each curve of extinction, and for each rate of loss.
        rng: Source of chance.

    Yields:
        A table for each curve: "extinct" (x: days; setting: death / birth), "no loss" (x: losses per division times
        size) and "losses" (x: at most so many cells without the antigen).
    """
    birth = biology.leukaemia.net_growth_per_day + biology.leukaemia.death_per_day
    for fold in DEATH_FOLDS:
        yield _extinct(biology, engine, birth, fold, replicates, rng)
    death = biology.leukaemia.death_per_day
    found, expected = [], []
    for losses in LOSSES:
        lost = _lost_at_size(biology, engine, losses / SIZE, replicates, rng)
        found.append(lost)
        expected.append(exact.no_mutant_at_size(birth, death, losses / SIZE, SIZE))
    yield _table("no loss", f"{death / birth:g}", LOSSES, expected, [lost == 0 for lost in found])
    lost = found[-1]
    chances = exact.mutants_at_size(birth, death, LOSSES[-1] / SIZE, SIZE, 1024).cumsum()
    yield _table("losses", f"{death / birth:g}", NUMBERS, [chances[n] for n in NUMBERS], [lost <= n for n in NUMBERS])


CURVES = len(DEATH_FOLDS) + 2
"""How many tables `laws` yields."""


def _extinct(
    biology: Biology, engine: Engine, birth: float, fold: float, replicates: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Chance that the line of one cell has died out, by days."""
    death = fold * birth
    changed = {"death_per_day": death, "net_growth_per_day": birth - death}
    biology = biology.model_copy(update={"leukaemia": biology.leukaemia.model_copy(update=changed)})
    run, letters = _runner(biology, engine, rng), alphabet_of(biology)
    gone = np.zeros((len(DAYS), replicates), dtype=bool)
    for i in range(replicates):
        cells, day = _one_founder(biology, letters), 0
        for j, until in enumerate(DAYS):
            run(cells, day, until)
            day, gone[j, i] = until, not cells.any()
    return _table("extinct", f"{fold:g}", DAYS, [exact.extinct(birth, death, d) for d in DAYS], list(gone))


def _lost_at_size(
    biology: Biology, engine: Engine, loss: float, replicates: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Cells without the first antigen in leukaemias grown from one cell to the size, of lines that reach it."""
    name = next(iter(biology.antigens))
    changed = biology.antigens | {
        name: biology.antigens[name].model_copy(update={"hits_to_loss": 1, "last_hit_per_division": loss})
    }
    biology = biology.model_copy(update={"antigens": changed})
    run, letters = _runner(biology, engine, rng), alphabet_of(biology)
    without = np.array([s.antigens[0].shown == "lost" for s in letters.states])
    out = np.zeros(replicates, dtype=np.int64)
    for i in range(replicates):
        stop = counts.EXTINCT
        while stop != counts.REACHED_TARGET:
            cells = _one_founder(biology, letters)
            stop = run(cells, 0, 1e6, SIZE)
        out[i] = cells[without].sum()
    return out


def _runner(biology: Biology, engine: Engine, rng: np.random.Generator) -> Callable[..., int]:
    rates, letters, advance = make_rates(biology), alphabet_of(biology), partial(counts.advance, luck_of(rng))

    def run(cells: NDArray[np.int64], start: float, end: float, target: float = 0.0) -> int:
        return engines.run(advance, rates, letters, cells, (start, end), engine, target=target)[0]

    return run


def _one_founder(biology: Biology, letters: Alphabet) -> NDArray[np.int64]:
    cells = np.zeros(len(letters), dtype=np.int64)
    cells[letters.index(founder(tuple((name, a.hits_to_loss) for name, a in biology.antigens.items())))] = 1
    return cells


def _table(
    law: str, setting: str, x: tuple[float, ...], expected: list[float], happened: list[NDArray[np.bool_]]
) -> pd.DataFrame:
    lines = [
        (law, setting, at, float(theory), *proportion(int(events.sum()), events.size))
        for at, theory, events in zip(x, expected, happened, strict=True)
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))
