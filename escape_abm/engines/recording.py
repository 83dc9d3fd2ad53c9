"""When an engine returns, and what it records of each day on its way."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Goal(NamedTuple):
    """When an engine returns, beside the day that it runs to."""

    target: float = 0.0  # once the leukaemia has this many cells, or none (0: never)
    marrow_limit: float = math.inf  # when a whole day ends with this many leukaemic cells in the marrow
    sanctuary_limit: float = math.inf  # or in sanctuaries
    size_limit: float = math.inf  # above this many leukaemic or CAR T cells


class Seen(NamedTuple):
    """Records, a row for each whole day from day 0 on; no rows: none are kept."""

    cells: NDArray[np.int64]  # (D, S)
    car_t: NDArray[np.int64]  # (D, C, 3)
    b_cells: NDArray[np.int64]  # (D,)
    kills: NDArray[np.float64]  # (D,) largest number of targets killed per day by CAR T cells since the day before


def records(days: int, states: int, classes: int) -> Seen:
    """Empty records of so many days."""
    return Seen(
        np.zeros((days, states), dtype=np.int64),
        np.zeros((days, classes, 3), dtype=np.int64),
        np.zeros(days, dtype=np.int64),
        np.zeros(days),
    )
