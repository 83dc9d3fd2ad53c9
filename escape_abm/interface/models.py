"""The model for other programs: the verb `export-model` of `python -m escape_abm`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from escape_abm.exchange import archive
from escape_abm.exchange.treatment import mean_field
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.cohort import median_patient, sample_patient
from escape_abm.inputs.settings import Settings
from escape_abm.interface import command_line
from escape_abm.interface.composition import compose, read
from escape_abm.interface.groups import conf_dir
from escape_abm.runs import terminal


def main(words: list[str]) -> int:
    """Do what a command line says, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m escape_abm export-model",
        usage="%(prog)s [KEY=VALUE ...] [--config-dir FOLDER] [--patient NUMBER] --into FOLDER",
        description="Write the mean field of one patient under the product of a configuration as SBML and Antimony, "
        "with the published figures that parameters were judged by, and as a COMBINE archive.",
        epilog="KEY=VALUE as for a run, for example product=tandem biology=fitted cohort.burden_median_cells=1e12",
        allow_abbrev=False,
    )
    parser.add_argument("--into", type=Path, required=True, help="folder to write to")
    parser.add_argument("--patient", type=int, help="number of a patient of the run's seed (default: median traits)")
    asked, rest = parser.parse_known_args(words)
    line = command_line.read(rest)
    if line.asked or line.multirun:
        raise InputError(f"{' '.join(rest)}: export-model writes one model. Leave out flags that show or sweep")
    settings = compose(line.words, config_dir=line.own)
    terminal.say("\n".join(map(str, export_model(settings, asked.into, asked.patient))))
    return 0


def export_model(settings: Settings, into: Path, patient: int | None = None) -> list[Path]:
    """Write the mean field of one patient under the product of these settings; the files (`archive.write`).

    Args:
        settings: From `compose`; comparators do not count.
        into: Folder; it is made.
        patient: Number of a patient of the seed; the one with median traits if left out.

    Raises:
        InputError: there is no such patient, the burden cannot be reached, or a library is not installed; nothing is
            written then.
    """
    if patient is not None and not 0 <= patient < settings.cohort.size:
        raise InputError(
            f"--patient {patient}: patients of cohort.size={settings.cohort.size} have numbers from 0 to "
            f"{settings.cohort.size - 1}; raise cohort.size, or name another"
        )
    if into.exists() and not into.is_dir():
        raise InputError(f"--into {into}: is a file. Name a folder")
    mine = settings.drawn(patient or 0).sampled()
    if patient is None:
        who = median_patient(mine.seed, mine.cohort, mine.biology)
    else:
        who = sample_patient(patient, mine.seed, mine.cohort, mine.biology)
    network = mean_field(mine, who, mine.product)
    if patient is None:
        network = replace(
            network, id=network.id.replace("patient_0", "median"), name=f"{mine.product.label}, median patient"
        )
    names = read("calibrate")["calibration"]["trials"]
    trials = {name: compose([f"trial={name}"], "published") for name in names}
    citation = (conf_dir().parent / "CITATION.cff").read_text(encoding="utf-8")
    return archive.write(network, trials, citation, into)
