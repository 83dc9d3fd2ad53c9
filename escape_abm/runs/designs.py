"""The jobs of a sweep: a grid, paired lists, or samples of ranges, each with replicates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from escape_abm.inputs.checks import InputError
from escape_abm.inputs.rows import Section

LOG_FROM = 100.0  # a plausible range this many-fold or wider is sampled on a log scale
DIGITS = 6  # of a sampled value


class Sweep(Section):
    """How the jobs of a sweep are made, and what happens to those that fail."""

    design: Literal["grid", "zip", "latin_hypercube", "sobol"] = "grid"
    """grid: every combination; zip: the first of each list, the second of each, ...; the others sample ranges."""
    samples: int | None = Field(default=None, ge=1, le=2**20)
    """Of the ranges, in designs that sample; what is listed is crossed with them."""
    replicates: int = Field(default=1, ge=1, le=1_000_000)
    """Jobs of each setting, with this and the following seeds."""
    seed: int = Field(default=1, ge=0)
    """Of the samples; not of the patients."""
    retry_failed: bool = True
    """Run jobs again that failed before."""
    fail_fast: bool = False
    """Start no more jobs when one has failed."""
    dry_run: bool = False
    """Say what would be done, what it would take, and stop."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        sampled = self.design in ("latin_hypercube", "sobol")
        if sampled and self.samples is None:
            raise ValueError("samples is missing: say how many, with sweep.samples=N")
        if not sampled and self.samples is not None:
            raise ValueError(
                f"samples={self.samples}: a {self.design} has none; choose sweep=latin_hypercube or sweep=sobol"
            )
        if self.design == "sobol" and self.samples is not None and self.samples & (self.samples - 1):
            below = 1 << (self.samples.bit_length() - 1)
            raise ValueError(
                f"samples={self.samples}: Sobol points are balanced in powers of two only: take {below} or {2 * below}"
            )
        return self


class Range(NamedTuple):
    """Values between two, both included, evenly or on a log scale, whole or not."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> float | int:
        """The value at a share of the way from the one to the other."""
        if self.whole:
            return min(math.floor(self.low + share * (self.high - self.low + 1)), int(self.high))
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


Axis = tuple[Any, ...] | Range
"""Values of one swept parameter: listed, or a range."""


def plausible(key: str, ranges: Mapping[str, tuple[float, float]]) -> Range:
    """The plausible range of a row; on a log scale if it is a hundredfold or wider.

    Raises:
        InputError: there is no such row.
    """
    if key not in ranges:
        raise InputError(f"{key}=plausible: no parameter row has this name; docs/parameters.md lists them")
    low, high = ranges[key]
    return Range(low, high, log=low > 0 and high / low >= LOG_FROM)


def points(sweep: Sweep, axes: Mapping[str, Axis]) -> list[dict[str, Any]]:
    """The values of the swept parameters in each job, in order; the last parameter moves fastest.

    Raises:
        InputError: the design does not take these axes.
    """
    lists = {key: axis for key, axis in axes.items() if not isinstance(axis, Range)}
    ranges = {key: axis for key, axis in axes.items() if isinstance(axis, Range)}
    if sweep.samples is None and ranges:
        raise InputError(
            f"{next(iter(ranges))}: a {sweep.design} takes listed values, this is a range: list some, or sample with "
            "sweep=latin_hypercube sweep.samples=N (or sobol)"
        )
    if sweep.samples is not None and not ranges:
        raise InputError(f"sweep={sweep.design}: there is no range to sample: KEY=interval(A,B), or KEY=plausible")
    for key, span in ranges.items():
        if not span.low < span.high or (span.log and span.low <= 0):
            rule = "must rise" + (" from above 0 on a log scale" if span.log else "")
            raise InputError(f"{key}: the range {span.low:g} to {span.high:g} {rule}: give other bounds")
    if sweep.design == "zip":
        lengths = {key: len(values) for key, values in lists.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{key} has {n}" for key, n in lengths.items())
            raise InputError(f"sweep=zip pairs lists of one length, but {said}: list as many of each")
        combined: Sequence[tuple[Any, ...]] = list(zip(*lists.values(), strict=True)) or [()]
    else:
        combined = list(itertools.product(*lists.values()))
    sampled = [dict(zip(ranges, row, strict=True)) for row in _samples(sweep, list(ranges.values()))] or [{}]
    return [
        {key: chosen[key] for key in axes}
        for values in combined
        for sample in sampled
        for chosen in ({**dict(zip(lists, values, strict=True)), **sample},)
    ]


def _samples(sweep: Sweep, ranges: list[Range]) -> list[list[float | int]]:
    if not ranges or sweep.samples is None:
        return []
    n, d = sweep.samples, len(ranges)
    if sweep.design == "sobol":
        from scipy.stats import qmc  # slow to import, and --help needs the rest of this module

        shares = qmc.Sobol(d, scramble=True, seed=sweep.seed).random(n)
    else:  # each of n equal parts of every range is met once
        rng = np.random.default_rng(sweep.seed)
        parts = rng.permuted(np.tile(np.arange(n), (d, 1)), axis=1).T
        shares = (parts + rng.random((n, d))) / n
    return [[span.at(float(share)) for span, share in zip(ranges, row, strict=True)] for row in shares]
