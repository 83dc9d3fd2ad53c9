"""From fluorescence to molecules per cell by calibration beads: a straight line through their logarithms."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from escape_abm.exchange import tables
from escape_abm.exchange.cytometry import Channel
from escape_abm.inputs.checks import InputError

Floats = NDArray[np.float64]
COLUMNS = ("channel", "fluorescence", "molecules")
HOW = "a CSV table channel,fluorescence,molecules with two beads or more, in linear units as the FCS file has them"


class BeadCurve(NamedTuple):
    """log10 molecules = intercept + slope × log10 fluorescence."""

    slope: float
    intercept: float
    beads: int
    lowest: float  # fluorescence
    highest: float
    largest_fold: float  # of a bead's molecules off the line

    def molecules(self, fluorescence: Floats) -> Floats:
        """Molecules per cell, before background is taken off; 0 at a fluorescence of 0 or below."""
        there = fluorescence > 0
        return np.where(there, 10**self.intercept * np.where(there, fluorescence, 1.0) ** self.slope, 0.0)


def read(place: Path) -> pd.DataFrame:
    """`channel, fluorescence, molecules` of a CSV table, and `file` if the beads are of single files.

    Raises:
        InputError: a column is missing, or a number is none or not above 0.
    """
    table = tables.read(place).rename(columns=str.lower)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise InputError(f"{place}: no column {', '.join(missing)}; give {HOW}")
    kept = table[[*COLUMNS, *(["file"] if "file" in table else [])]].copy()
    for name in COLUMNS[1:]:
        kept[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
        bad = ~(np.isfinite(kept[name]) & (kept[name] > 0))
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(
                f"{place}: row {row + 2}: {name}={table[name].iloc[row]!r}: must be a number above 0; "
                "leave blank beads out"
            )
    return kept


def curve_of(table: pd.DataFrame, channel: Channel, file: str) -> BeadCurve:
    """The line of a channel, named by `$PnN` or `$PnS`; of this file, if the table has a column `file`.

    Raises:
        InputError: fewer than two beads, or molecules that do not rise with fluorescence.
    """
    its = table[table["channel"].str.strip().isin([channel.name, channel.stain])]
    if "file" in its:
        its = its[its["file"].str.strip() == file]
    if len(its) < 2:
        raise InputError(f"{file}: beads of channel {channel}: {len(its)}; a line needs two or more: give {HOW}")
    its = its.sort_values(["fluorescence", "molecules"])
    x, y = (np.log10(its[name].to_numpy(dtype=float)) for name in COLUMNS[1:])
    if (np.diff(x) <= 0).any() or (np.diff(y) <= 0).any():
        at = int(np.argmax((np.diff(x) <= 0) | (np.diff(y) <= 0)))
        pair = [f"{10**a:g} with {10**b:g} molecules" for a, b in zip(x[at : at + 2], y[at : at + 2], strict=True)]
        raise InputError(
            f"{file}: beads of channel {channel}: {' and '.join(pair)}: molecules must rise; correct the table"
        )
    slope, intercept = (float(v) for v in np.polyfit(x, y, 1))
    off = float(10 ** np.max(np.abs(intercept + slope * x - y)))
    return BeadCurve(slope, intercept, len(x), float(10 ** x[0]), float(10 ** x[-1]), off)
