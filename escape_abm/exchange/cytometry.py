"""Files of flow cytometry (FCS 2.0 to 3.1) as linear, compensated fluorescence of named channels.

flowio reads the bytes and undoes gain and log scale (`as_array`): a stored 1000 with `$PnG` 2 is 500, and channel 512
of 1024 in four decades is 100. Channels are found by `$PnN` or `$PnS`. Compensation solves the file's own matrix by
name, so the order of its channels does not matter. No event is dropped. What other readers do is in docs/neighbours.md.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from escape_abm.inputs.checks import InputError, suggest

Floats = NDArray[np.float64]
MATRICES = ("spillover", "spill")
"""Keywords of the matrix: of FCS 3.1 with a $, of older programs without; flowio leaves the $ out."""


class Channel(NamedTuple):
    """A column of a file."""

    column: int
    name: str  # $PnN
    stain: str  # $PnS, or ""
    gain: float  # $PnG
    decades: float  # of $PnE; 0 is linear
    at_zero: float  # of $PnE
    top: float  # $PnR: one above the highest channel
    voltage: str  # $PnV, or ""

    def __str__(self) -> str:
        """Both names."""
        return f"{self.name} ({self.stain})" if self.stain else self.name


@dataclass(frozen=True)
class Tube:
    """One file.

    Attributes:
        place: Where it is.
        sha256: Of its bytes.
        channels: In the order of the file.
        stored: (events, channels), the numbers as they are stored.
        linear: (events, channels), without gain and log scale, and compensated.
        compensated: `$PnN` of the channels that the matrix changed; none if there was none.
        compensation: What was done, in words.
    """

    place: Path
    sha256: str
    channels: tuple[Channel, ...]
    stored: Floats
    linear: Floats
    compensated: tuple[str, ...]
    compensation: str

    def channel(self, word: str) -> Channel:
        """The channel of this `$PnN` or `$PnS`.

        Raises:
            InputError: there is none, several, or its scale has no meaning.
        """
        return _usable(self.place, _found(self.place, self.channels, word))

    def saturated(self, channel: Channel) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(events,) each: which events are at the top of the channel's range, and which at 0 or below, as stored."""
        stored = self.stored[:, channel.column]
        return stored >= channel.top - 1, stored <= 0


def read(place: Path, compensate: bool = True) -> Tube:
    """Read a file.

    Args:
        place: The file.
        compensate: By its own matrix, if it has one; False for files that have been compensated already.

    Raises:
        InputError: flowio is not installed, the file is no FCS file of single events, or its matrix cannot be solved.
    """
    flow, stored, linear = _flow(place)
    channels = tuple(_channel(flow, number) for number in sorted(flow.channels))
    said, names, matrix = _matrix(place, flow.text) if compensate else ("none: as asked", (), np.eye(0))
    if names:
        columns = [_usable(place, _found(place, channels, name)).column for name in names]
        linear[:, columns] = np.linalg.solve(matrix.T, linear[:, columns].T).T
    changed = names if names and not np.array_equal(matrix, np.eye(len(names))) else ()
    return Tube(place, digest(place), channels, stored, linear, changed, said)


def digest(place: Path) -> str:
    """SHA-256 of a file."""
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flow(place: Path) -> tuple[Any, Floats, Floats]:
    """What flowio makes of a file, and its numbers, stored and linear; it warns of what it cannot read."""
    try:
        import flowio
    except ImportError:
        raise InputError("flowio is not installed; it reads FCS files: pip install 'escape_abm[exchange]'") from None
    if not place.is_file():
        raise InputError(f"{place}: there is no such file")
    with place.open("rb") as file:
        head = file.read(6)
    if not head.startswith(b"FCS"):
        raise InputError(f"{place}: is no FCS file: it must begin with FCS, not {head!r}. Export it as FCS 3.1")
    try:
        with warnings.catch_warnings(), place.open("rb") as file:
            warnings.simplefilter("error")
            flow = flowio.FlowData(file)
            _check_kind(place, flow)
            return flow, flow.as_array(preprocess=False), flow.as_array()
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  (it raises many kinds)
        raise InputError(
            f"{place}: cannot be read: {error}. Export it anew as FCS 3.1, one data set of events"
        ) from None


def _check_kind(place: Path, flow: Any) -> None:
    """Refuse what flowio would read in another way than it is meant."""
    text = flow.text
    kind = str(text["datatype"]).upper()
    mixed = {v.upper() for k, v in text.items() if re.fullmatch(r"p\d+datatype", k)} - {kind}
    if mixed or str(text.get("mode", "L")).upper() != "L":
        what = f"$PnDATATYPE {', '.join(sorted(mixed))} beside $DATATYPE {kind}" if mixed else f"$MODE {text['mode']}"
        raise InputError(f"{place}: {what}: only lists of events of one type are read. Export it anew as FCS 3.1")
    _check_supplement(place, flow)
    if not flow.event_count or not len(flow.events):
        raise InputError(f"{place}: has no events; gate it again, or leave it out")
    if kind != "I" and any(about["pne"][0] for about in flow.channels.values()):
        logged = ", ".join(about["pnn"] for about in flow.channels.values() if about["pne"][0])
        raise InputError(
            f"{place}: {logged}: $PnE says log scale of numbers that are not integers, which the standard does not "
            "know: they may be linear already. Export it anew as FCS 3.1"
        )


def _check_supplement(place: Path, flow: Any) -> None:
    """Refuse keywords outside the primary text, where flowio does not look."""
    begin, end = (int(flow.text.get(key, "0").strip() or 0) for key in ("beginstext", "endstext"))
    if 0 < begin < end and begin != flow.header["text_start"]:
        raise InputError(
            f"{place}: has supplemental text ($BEGINSTEXT {begin}), which is not read and may hold gain, names or the "
            "spillover matrix. Export it anew as FCS 3.1 with all keywords in the primary text"
        )


def _channel(flow: Any, number: int) -> Channel:
    about = flow.channels[number]
    decades, at_zero = about["pne"]
    return Channel(
        number - 1,
        about["pnn"].strip(),
        about["pns"].strip(),
        about["png"] or 1.0,
        decades,
        at_zero,
        about["pnr"],
        flow.text.get(f"p{number}v", "").strip(),
    )


def _found(place: Path, channels: tuple[Channel, ...], word: str) -> Channel:
    """The one channel of a name."""
    its = [c for c in channels if word.strip() in (c.name, c.stain)]
    if len(its) > 1:
        raise InputError(f"{place}: {word}: is the name of {len(its)} channels; say which: {', '.join(map(str, its))}")
    if not its:
        known = list(dict.fromkeys(name for c in channels for name in (c.name, c.stain) if name))
        near = suggest(word, known)
        every = "" if near.startswith("Choose") else f" Channels: {', '.join(map(str, channels))}"
        raise InputError(f"{place}: {word!r}: no such channel. {near}{every}")
    return its[0]


def _usable(place: Path, channel: Channel) -> Channel:
    """Refuse a scale that has no meaning: the standard gives a gain to linear channels only."""
    if channel.decades and channel.gain != 1:
        raise InputError(
            f"{place}: {channel.name}: log scale ($PnE {channel.decades:g},{channel.at_zero:g}) and gain ($PnG "
            f"{channel.gain:g}) exclude each other. Export it anew as linear data"
        )
    return channel


def _matrix(place: Path, text: dict[str, str]) -> tuple[str, tuple[str, ...], Floats]:
    """What is said of a file's compensation, and the names and the spillover (row into column) of its matrix."""
    given = {text[key].strip() for key in MATRICES if text.get(key, "").strip()}
    if len(given) > 1:
        raise InputError(f"{place}: $SPILLOVER and SPILL differ: which one? Delete one, or compensate before")
    if not given:
        old = "; $COMP, without names, is not used" if "comp" in text else ""
        return f"none: the file has no matrix{old}", (), np.eye(0)
    words = [word.strip() for word in given.pop().split(",")]
    try:
        n = int(words[0])
        matrix = np.array([float(word) for word in words[n + 1 :]]).reshape(n, n)
    except ValueError:
        raise InputError(f"{place}: its spillover matrix is not n, n names and n × n numbers. Export it anew") from None
    names = tuple(words[1 : n + 1])
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{place}: its spillover matrix names {', '.join(twice)} twice. Export it anew")
    if not np.isfinite(matrix).all() or np.linalg.cond(matrix) > 1e8:
        raise InputError(f"{place}: its spillover matrix cannot be solved. Compensate before, and say so")
    if np.array_equal(matrix, np.eye(n)):
        return f"none: the file's matrix of {n} channels is the identity", names, matrix
    return f"by the file's matrix of {n} channels, by name", names, matrix
