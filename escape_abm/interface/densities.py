"""Antigen densities from cytometry as a choice of one's own: the verb `densities` of `python -m escape_abm`."""

from __future__ import annotations

import argparse
import json
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from escape_abm import __version__
from escape_abm.exchange import densities, density_cohort
from escape_abm.exchange.densities import Measured
from escape_abm.exchange.gates import Gate, gate
from escape_abm.figures import style
from escape_abm.figures.densities import densities as draw
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.settings import Settings
from escape_abm.interface.composition import compose
from escape_abm.interface.groups import conf_dir
from escape_abm.runs.run_folder import storage, write_csv, write_text

PRODUCTS = {"cd19": "cd19_fmc63", "cd22": "cd22_m971"}
"""The reference product of each antigen, with which half-densities are those of its row."""
SHOWN = ("patient", "antigen", "events", "median_molecules", "within_sigma")
LIBRARIES = ("flowio", "numpy", "pandas", "scipy", "matplotlib")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the verb."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="FCS files, the blasts of one patient each")
    parser.add_argument(
        "--antigen", action="append", default=[], metavar="NAME=CHANNEL", help="for example cd19=PE-A ($PnN or $PnS)"
    )
    parser.add_argument(
        "--beads", type=Path, help="CSV channel,fluorescence,molecules; file, for beads of single files"
    )
    parser.add_argument("--into", type=Path, required=True, help="folder of your own choices (--config-dir)")
    parser.add_argument("--name", default="measured", help="of the choice (default measured)")
    parser.add_argument(
        "--gate", action="append", default=[], metavar="CHANNEL=LOW:HIGH", help="blasts among all events"
    )
    parser.add_argument("--unstained", type=Path, nargs="*", default=[], help="one FCS file, or one for each patient")
    parser.add_argument("--product", nargs="*", default=[], help="whose half-densities (default: the reference CARs)")
    parser.add_argument("--compensated", action="store_true", help="the files are compensated already")


def run(asked: Any) -> str:
    """Measure, write, and say what was found."""
    antigens = dict(_antigen(word) for word in asked.antigen)
    if len(antigens) < len(asked.antigen):
        raise InputError(f"--antigen {' '.join(asked.antigen)}: an antigen is given twice; keep one channel of each")
    measured, files = measure(
        asked.files, antigens, asked.beads, asked.into, asked.name,
        gates=[gate(word) for word in asked.gate], unstained=asked.unstained, products=asked.product,
        compensate=not asked.compensated,
    )  # fmt: skip
    shown = [*SHOWN, *dict.fromkeys(f"below_{name}" for its in measured.halves.values() for name in its)]
    tables = [
        t.to_string(index=False, float_format="{:.3g}".format) for t in (measured.patients[shown], measured.cohort)
    ]
    use = f"Use it: --config-dir {asked.into} biology={asked.name}"
    return "\n".join([*tables, "", *measured.notes, "", *map(str, files), use])


def measure(
    files: Sequence[Path],
    antigens: Mapping[str, str],
    bead_table: Path | None,
    into: Path,
    name: str = "measured",
    *,
    gates: Sequence[Gate] = (),
    unstained: Sequence[Path] = (),
    products: Sequence[str] = (),
    compensate: bool = True,
) -> tuple[Measured, list[Path]]:
    """Measure densities (`exchange.densities.measure`) and write them, or nothing at all.

    Args:
        files, antigens, bead_table, gates, unstained, compensate: As there.
        into: Folder of own choices; `biology/NAME.yaml` is the choice, `densities/NAME.*` tells how it came about.
        name: Of the choice.
        products: Whose half-densities; none for the reference CARs.

    Returns:
        What was measured, and the files.

    Raises:
        InputError: as there; or a choice of this name is there already.
    """
    _check_name(into, name)
    chosen = _products(antigens, products)
    biology = chosen[0].biology.antigens
    densities.check_antigens(antigens, biology)
    halves = densities.half_densities([s.product for s in chosen], biology)
    measured = densities.measure(files, antigens, bead_table, halves, gates, unstained, compensate)
    text = density_cohort.choice(measured.cohort, biology)
    about = _provenance(measured, files, bead_table, gates, unstained)
    return measured, _write(measured, text, about, into, name, {s.product.name: s.product.label for s in chosen})


def _antigen(word: str) -> tuple[str, str]:
    name, equals, channel = word.partition("=")
    if not (name and equals and channel):
        raise InputError(f"--antigen {word}: must be NAME=CHANNEL, for example cd19=PE-A")
    return name.strip().lower(), channel.strip()


def _check_name(into: Path, name: str) -> None:
    """Refuse a name that is no choice's, or is taken."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise InputError(f"--name {name!r}: a name has letters, digits, _ and - only")
    if (conf_dir() / "biology" / f"{name}.yaml").exists():
        raise InputError(f"--name {name}: is a choice of conf/biology already; take another")
    place = into / "biology" / f"{name}.yaml"
    if place.exists():
        raise InputError(f"{place}: is there already, and is not overwritten; give another --name, or delete it")


def _products(antigens: Mapping[str, str], products: Sequence[str]) -> list[Settings]:
    """Settings of each product, of patients of no trial."""
    names = list(products) or [PRODUCTS[a] for a in antigens if a in PRODUCTS] or list(PRODUCTS.values())
    return [compose(["trial=none", "comparators=none", f"product={name}"]) for name in dict.fromkeys(names)]


def _provenance(
    measured: Measured,
    files: Sequence[Path],
    bead_table: Path | None,
    gates: Sequence[Gate],
    unstained: Sequence[Path],
) -> dict[str, Any]:
    """What these numbers were made of, and how."""
    return {
        "what": "antigen densities of blasts by flow cytometry",
        "escape_abm": __version__,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        "files": [str(place) for place in files],
        "beads": str(bead_table),
        "unstained": [str(place) for place in unstained],
        "sha256": measured.files,
        "gates": [f"{g.channel}={g.low:g}:{g.high:g}" for g in gates],
        "half_densities_molecules": measured.halves,
        "steps": [
            "stored numbers to linear fluorescence: gain ($PnG) and log scale ($PnE) undone by flowio",
            "compensation by the file's own matrix, by name (patients: compensation, compensated)",
            "gates in linear, compensated units; of unstained cells those of scatter only",
            "molecules by a straight line through the logarithms of the beads",
            "median of unstained cells taken off after that",
            "no event is dropped at the ends of the range (patients: at_top_fraction, at_bottom_fraction)",
        ],
        "notes": measured.notes,
        "cohort": _plain(measured.cohort),
        "patients": _plain(measured.patients),
    }


def _plain(table: Any) -> list[dict[str, Any]]:
    """Rows as JSON knows them: what is missing is null."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=10))
    return rows


def _write(
    measured: Measured, text: str, about: Mapping[str, Any], into: Path, name: str, labels: Mapping[str, str]
) -> list[Path]:
    """The choice last, so that it is there only if all that explains it is."""
    histograms = density_cohort.histograms(measured.molecules, measured.halves)
    figure, numbers = draw(histograms, measured.patients, measured.halves, labels)
    style.stamp(figure, f"Files of flow cytometry, read with escape_abm {__version__}.")
    folder, choice = into / "densities", into / "biology" / f"{name}.yaml"
    with storage(into):
        folder.mkdir(parents=True, exist_ok=True)
        choice.parent.mkdir(exist_ok=True)
        write_csv(measured.patients, folder / f"{name}.csv")
        write_csv(numbers, folder / f"{name}_histograms.csv")
        write_text(folder / f"{name}.json", json.dumps(about, indent=2) + "\n")
        style.save(figure, folder / name)
        write_text(choice, text)
    return [choice, *(folder / f"{name}{end}" for end in (".csv", "_histograms.csv", ".json", ".png", ".svg"))]
