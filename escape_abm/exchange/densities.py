"""Antigen density of patients from flow cytometry: molecules per blast, and the spread between and within patients.

One file holds the blasts of one patient. Fluorescence (`cytometry`) becomes molecules by the beads (`beads`); after
that the median of unstained cells is taken off. Every event of the gate counts, those at the ends of the range too, so
that the share of antigen-low blasts is whole. The law takes the median and the spread between patients
(`biology.antigens`); it has no place for the spread within a patient, which is reported only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from escape_abm.exchange import beads, cytometry
from escape_abm.exchange.cytometry import Channel, Tube
from escape_abm.exchange.density_cohort import cohort, notes
from escape_abm.exchange.gates import Gate, finite, inside, of_scatter
from escape_abm.inputs.biology import Antigen
from escape_abm.inputs.checks import InputError, suggest
from escape_abm.inputs.products import Product, car_classes
from escape_abm.trials.survival import proportion

Floats = NDArray[np.float64]
TWO_SIDES = stats.norm.cdf(1), stats.norm.cdf(-1)
"""Quantiles one standard deviation above and below the median of a normal distribution."""


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        patients: A row per patient and antigen; the columns are in docs/neighbours.md.
        cohort: A row per antigen: median and spread between patients with their 95 % intervals.
        molecules: (events,) of each patient and antigen, without background; may be negative.
        halves: Half-densities by antigen and product.
        notes: What a reader must know of these numbers.
        files: SHA-256 of every file.
    """

    patients: pd.DataFrame
    cohort: pd.DataFrame
    molecules: dict[tuple[str, str], Floats]
    halves: dict[str, dict[str, float]]
    notes: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


def half_densities(products: Iterable[Product], antigens: Mapping[str, Antigen]) -> dict[str, dict[str, float]]:
    """Half-densities for killing, in molecules per cell, by antigen and product, as the law has them."""
    out: dict[str, dict[str, float]] = {}
    for product in products:
        for car in car_classes(product, antigens):
            for antigen, half in car.half_density_molecules.items():
                its = out.setdefault(antigen, {})
                name = product.name if its.get(product.name, half) == half else f"{product.name}_{car.component}"
                its[name] = half
    return out


def measure(
    files: Sequence[Path],
    antigens: Mapping[str, str],
    bead_table: Path | None,
    halves: Mapping[str, Mapping[str, float]],
    gates: Sequence[Gate] = (),
    unstained: Sequence[Path] = (),
    compensate: bool = True,
) -> Measured:
    """Densities of patients.

    Args:
        files: FCS files, one per patient, who is called by its name.
        antigens: Channel (`$PnN` or `$PnS`) by antigen of the biology.
        bead_table: CSV, `channel,fluorescence,molecules`, in the linear units of the files (gain and log scale undone);
            with a column `file` for beads of single files.
        halves: As `half_densities` gives them.
        gates: An event must lie in all of them.
        unstained: One file for all patients, or one for each, in their order.
        compensate: False for files that have been compensated already.

    Raises:
        InputError: whatever would give a wrong number; see the tests.
    """
    table, seen = _beads(bead_table)
    _check_names(files, unstained)
    background: list[Path | None] = [*unstained] * (len(files) if len(unstained) == 1 else 1) or [None] * len(files)
    rows: list[dict[str, Any]] = []
    molecules: dict[tuple[str, str], Floats] = {}
    for place, dark in zip(files, background, strict=True):
        tube = cytometry.read(place, compensate)
        blank = cytometry.read(dark, compensate) if dark else None
        seen |= {str(t.place): t.sha256 for t in (tube, blank) if t}
        for antigen, word in antigens.items():
            row, its = _patient(tube, blank, word, table, gates)
            rows.append({"patient": place.stem, "antigen": antigen, **row, **_low(its, halves.get(antigen, {}))})
            molecules[place.stem, antigen] = its
    patients = pd.DataFrame(rows)
    _check_twins(seen)
    _check_voltage(patients, table)
    chosen = {antigen: dict(halves.get(antigen, {})) for antigen in antigens}
    said = notes(patients, chosen, bool(unstained))
    return Measured(patients, cohort(patients), molecules, chosen, said, seen)


def _beads(place: Path | None) -> tuple[pd.DataFrame, dict[str, str]]:
    """The table of beads, and its SHA-256."""
    if place is None:
        raise InputError(
            "no beads: fluorescence is in units of one instrument on one day, and has no molecules. Run calibration "
            f"beads at the same settings and give {beads.HOW}; without beads, keep the densities of the rows"
        )
    return beads.read(place), {str(place): cytometry.digest(place)}


def _check_names(files: Sequence[Path], unstained: Sequence[Path]) -> None:
    """Refuse patients who cannot be told apart, and unstained files that fit no patient."""
    if not files:
        raise InputError("no files: name an FCS file for each patient")
    names = [place.stem for place in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{twice[0]}: several files have this name, which is the patient's; rename them")
    if len(unstained) not in (0, 1, len(files)):
        raise InputError(f"{len(unstained)} unstained files, {len(files)} patients: give one for all, or one for each")


def _check_twins(seen: Mapping[str, str]) -> None:
    """Refuse a patient given twice."""
    by: dict[str, str] = {}
    for name, digest in seen.items():
        if digest in by:
            raise InputError(
                f"{by[digest]} and {name}: are the same bytes; give each patient, and unstained cells, once"
            )
        by[digest] = name


def _check_voltage(patients: pd.DataFrame, table: pd.DataFrame) -> None:
    """Refuse one line for files of other detector voltages: the same cell has another fluorescence in each."""
    for antigen, its in patients.groupby("antigen", sort=False):
        volts = list(dict.fromkeys(v for v in its["voltage"] if v))
        if len(volts) > 1 and "file" not in table:
            raise InputError(
                f"{antigen}: $PnV {', '.join(volts)}: files of several detector voltages cannot share beads. Give the "
                "bead table a column `file`, with the beads of each"
            )


def _patient(
    tube: Tube, blank: Tube | None, word: str, table: pd.DataFrame, gates: Sequence[Gate]
) -> tuple[dict[str, Any], Floats]:
    """One antigen of one patient: its row, and (events,) molecules."""
    channel = tube.channel(word)
    curve = beads.curve_of(table, channel, tube.place.name)
    kept = inside(tube, gates)
    fluorescence = finite(tube, channel, kept)
    top, bottom = (float(np.mean(its[kept])) for its in tube.saturated(channel))
    background = _background(blank, channel, curve, of_scatter(tube, gates)) if blank else 0.0
    molecules = curve.molecules(fluorescence) - background
    middle = float(np.median(molecules))
    _check_median(tube, channel, middle, top, blank is not None)
    return {
        "channel": channel.name,
        "stain": channel.stain,
        "events": molecules.size,
        "median_molecules": middle,
        "within_sigma": _within(molecules),
        "median_in_beads": bool(curve.lowest <= np.median(fluorescence) <= curve.highest),
        "below_beads_fraction": float(np.mean(fluorescence < curve.lowest)),
        "above_beads_fraction": float(np.mean(fluorescence > curve.highest)),
        "at_top_fraction": top,
        "at_bottom_fraction": bottom,
        "background_molecules": background if blank else math.nan,
        "gain": channel.gain,
        "log_decades": channel.decades,
        "range": channel.top,
        "voltage": channel.voltage,
        "compensation": tube.compensation,
        "compensated": channel.name in tube.compensated,
        "bead_slope": curve.slope,
        "bead_intercept": curve.intercept,
        "beads": curve.beads,
        "beads_largest_fold": curve.largest_fold,
        "beads_from_molecules": float(curve.molecules(np.array([curve.lowest]))[0]),
        "beads_to_molecules": float(curve.molecules(np.array([curve.highest]))[0]),
    }, molecules


def _background(blank: Tube, stained: Channel, curve: beads.BeadCurve, gates: Sequence[Gate]) -> float:
    """Molecules of the median unstained cell; gates on stains do not hold for it."""
    channel = blank.channel(stained.name)
    if channel.voltage != stained.voltage and channel.voltage and stained.voltage:
        raise InputError(
            f"{blank.place}: {channel}: $PnV {channel.voltage}, stained cells {stained.voltage}: unstained cells must "
            "be measured at the same detector voltage; give others"
        )
    values = finite(blank, channel, inside(blank, gates))
    return float(np.median(curve.molecules(values)))


def _check_median(tube: Tube, channel: Channel, middle: float, top: float, dark: bool) -> None:
    """Refuse a median that was not measured."""
    if top >= 0.5:
        raise InputError(
            f"{tube.place}: {channel}: {top:.0%} are at the top of the range ({channel.top:g}): the median is "
            "not measured. Lower the voltage, or leave the file out"
        )
    if middle <= 0:
        than = "not more than unstained cells" if dark else "not above 0"
        raise InputError(
            f"{tube.place}: {channel}: the median is {middle:.0f} molecules, {than}: such blasts are "
            "antigen-negative. Leave the file out and count the patient in cohort.negative_patients_fraction"
        )


def _within(molecules: Floats) -> float:
    """Spread of ln molecules by its quantiles, for which background may hide up to 16 % of cells; else NaN."""
    high, low = np.quantile(molecules, TWO_SIDES)
    return float((math.log(high) - math.log(low)) / 2) if low > 0 else math.nan


def _low(molecules: Floats, halves: Mapping[str, float]) -> dict[str, float]:
    """Share of blasts below each half-density, with its exact 95 % interval over events."""
    out: dict[str, float] = {}
    for name, half in halves.items():
        found = proportion(int((molecules < half).sum()), molecules.size)
        out |= {f"below_{name}": found.estimate, f"below_{name}_lower": found.lower, f"below_{name}_upper": found.upper}
    return out


def check_antigens(antigens: Mapping[str, str], known: Mapping[str, Antigen]) -> None:
    """Refuse antigens that the biology does not have."""
    for name in antigens:
        if name not in known:
            raise InputError(f"antigen {name!r}: not of the biology. {suggest(name, list(known))}")
    if not antigens:
        raise InputError("no antigen: write --antigen cd19=CHANNEL")
