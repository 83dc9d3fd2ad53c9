"""FCS 3.1 files byte by byte, since flowio's own writer loses gain and log scale, and patients of known density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HEADER = 58


class Detector(NamedTuple):
    """What a file says of a channel: `$PnN`, `$PnS`, `$PnG`, `$PnE`, `$PnR`, `$PnV`."""

    name: str
    stain: str = ""
    gain: float = 1.0
    log: str = "0,0"
    top: int = 262144
    voltage: str = ""

    def stored(self, linear: Floats) -> Floats:
        """What is stored of linear fluorescence."""
        decades, at_zero = (float(word) for word in self.log.split(","))
        if not decades:
            return linear * self.gain
        channel = np.log10(np.maximum(linear, 1e-9) / at_zero) / decades * self.top
        return np.clip(np.rint(channel), 0, self.top - 1)


def write(
    place: Path,
    detectors: Sequence[Detector],
    linear: Sequence[Any],
    kind: str = "F",
    spillover: tuple[Sequence[str], Any] | None = None,
    also: Mapping[str, str] | None = None,
) -> Path:
    """A file of events; `linear` has a column for each detector, as the light was seen (spilt, not yet compensated)."""
    stored = np.column_stack([d.stored(np.asarray(x, dtype=float)) for d, x in zip(detectors, linear, strict=True)])
    data = stored.astype({"F": "<f4", "D": "<f8", "I": "<u4"}[kind]).tobytes()
    bits = {"F": 32, "D": 64, "I": 32}[kind]
    words = {"$BYTEORD": "1,2,3,4", "$DATATYPE": kind, "$MODE": "L", "$NEXTDATA": "0", "$PAR": len(detectors)}
    words |= {"$TOT": len(stored), "$BEGINANALYSIS": 0, "$ENDANALYSIS": 0, "$BEGINSTEXT": 0, "$ENDSTEXT": 0}
    for n, d in enumerate(detectors, start=1):
        its = {"B": bits, "N": d.name, "R": d.top, "E": d.log, "G": f"{d.gain:g}", "S": d.stain, "V": d.voltage}
        words |= {f"$P{n}{letter}": value for letter, value in its.items() if value != ""}
    if spillover is not None:
        names, matrix = spillover
        words["$SPILLOVER"] = ",".join([str(len(names)), *names, *(f"{v:g}" for v in np.ravel(matrix))])
    words |= also or {}
    text = _text(words, len(data))
    start = HEADER + len(text)
    head = "FCS3.1" + " " * 4 + "".join(f"{n:8d}" for n in (HEADER, start - 1, start, start + len(data) - 1, 0, 0))
    place.write_bytes(head.encode() + text + data)
    return place


def _text(words: Mapping[str, object], size: int) -> bytes:
    """The text segment; offsets have a fixed width, as they lie in what they measure."""
    plain = "".join(f"|{key}|{value}" for key, value in words.items())
    length = len(plain.encode()) + len("|$BEGINDATA|") + 12 + len("|$ENDDATA|") + 12 + 1
    start = HEADER + length
    return f"{plain}|$BEGINDATA|{start:012d}|$ENDDATA|{start + size - 1:012d}|".encode()


SLOPE, PER_UNIT, BACKGROUND = 1.0, 4.0, 150.0
"""Of the instrument: molecules = 4 × fluorescence; unstained cells shine as 150 molecules do."""
SPILT = np.array([[1.0, 0.25, 0.02], [0.08, 1.0, 0.1], [0.01, 0.05, 1.0]])
"""Light of CD19, CD22 and CD45 (rows) in the detectors of PE, APC and V450 (columns)."""
NAMES = ("PE-A", "APC-A", "V450-A")


class Blasts(NamedTuple):
    """Known molecules of a patient, (events,) each."""

    cd19: Floats
    cd22: Floats
    cd45: Floats


def blasts(rng: np.random.Generator, cd19: float, cd22: float, low: float = 0.0, events: int = 20_000) -> Blasts:
    """Lognormal within the patient; a share `low` has a twentieth of its CD19."""
    dim = rng.random(events) < low
    spread = rng.standard_normal((3, events))
    first = cd19 * np.where(dim, 0.05, 1.0) * np.exp(0.4 * spread[0])
    return Blasts(first, cd22 * np.exp(0.5 * spread[1]), 2000 * np.exp(0.3 * spread[2]))


def light(known: Blasts) -> Floats:
    """(3, events): what the detectors see, linear, with background and spill."""
    return ((np.column_stack(known) + BACKGROUND) / PER_UNIT @ SPILT).T


def bead_table(place: Path, channels: Sequence[str] = ("PE-A", "APC-A")) -> Path:
    """Four beads of each channel on the instrument's line."""
    lines = [f"{c},{m / PER_UNIT:g},{m}" for c in channels for m in (300, 3000, 30000, 120000)]
    place.write_text("\n".join(["channel,fluorescence,molecules", *lines]) + "\n")
    return place


def unstained(place: Path, rng: np.random.Generator, events: int = 4000) -> Path:
    """Cells without stain, float and linear."""
    none = Blasts(*np.zeros((3, events)))
    seen = light(none) + rng.normal(0, 3, (3, events))
    return write(place, [Detector(n) for n in NAMES], seen, spillover=(NAMES, SPILT))


def linear_tube(place: Path, known: Blasts, gain: float = 2.0) -> Path:
    """Floats with gain, the matrix in another order than the channels."""
    order = [2, 0, 1]
    detectors = [Detector("PE-A", "CD19", gain), Detector("APC-A", "CD22", gain / 4), Detector("V450-A", "CD45")]
    return write(place, detectors, light(known), spillover=([NAMES[i] for i in order], SPILT[np.ix_(order, order)]))


def log_tube(place: Path, known: Blasts) -> Path:
    """Integers on a log scale of 4.5 decades, the channels in another order, too."""
    seen = light(known)
    detectors = [Detector("V450-A", "CD45", log="4.5,1", top=65536), Detector("APC-A", "CD22", log="4.5,1", top=65536)]
    detectors.append(Detector("PE-A", "CD19", log="4.5,1", top=65536))
    return write(place, detectors, seen[::-1], kind="I", spillover=(NAMES, SPILT))
