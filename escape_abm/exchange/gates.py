"""Gates as ranges of named channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escape_abm.exchange.cytometry import Channel, Tube
from escape_abm.inputs.checks import InputError

SCATTER = ("FSC", "SSC")
"""How the channels begin whose gates hold for unstained cells too."""


class Gate(NamedTuple):
    """Events from low to high, both included, in linear, compensated units."""

    channel: str
    low: float
    high: float


def gate(word: str) -> Gate:
    """A gate from `CHANNEL=low:high`, in which one of the bounds may be left out.

    Raises:
        InputError: it is not of this form, or holds nothing.
    """
    channel, _, between = word.rpartition("=")
    low, colon, high = between.partition(":")
    try:
        found = Gate(channel.strip(), float(low or -math.inf), float(high or math.inf))
    except ValueError:
        colon = ""
    if not channel or not colon or not low + high:
        raise InputError(
            f"gate {word!r}: must be CHANNEL=low:high, for example SSC-A=0:40000; one bound may be left out"
        )
    if not found.low < found.high:
        raise InputError(f"gate {word!r}: low must be below high; exchange them")
    return found


def inside(tube: Tube, gates: Sequence[Gate]) -> NDArray[np.bool_]:
    """(events,): whether an event lies in all gates."""
    kept = np.ones(len(tube.stored), dtype=bool)
    for its in gates:
        values = finite(tube, tube.channel(its.channel), np.ones_like(kept))
        new = kept & (values >= its.low) & (values <= its.high)
        if not new.any():
            raise InputError(
                f"{tube.place}: gate {its.channel}={its.low:g}:{its.high:g} is empty: of {kept.sum()} events before it "
                f"the values are {values[kept].min():g} to {values[kept].max():g}, linear and compensated"
            )
        kept = new
    return kept


def finite(tube: Tube, channel: Channel, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Linear, compensated fluorescence of these events."""
    values: NDArray[np.float64] = tube.linear[inside, channel.column]
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise InputError(f"{tube.place}: {channel}: {bad} events have no number. Gate them out before, or export anew")
    return values


def of_scatter(tube: Tube, gates: Sequence[Gate]) -> list[Gate]:
    """Those that hold for unstained cells too, by `$PnN`: unstained files seldom have the names of stains."""
    named = [its._replace(channel=tube.channel(its.channel).name) for its in gates]
    return [its for its in named if its.channel.upper().startswith(SCATTER)]
