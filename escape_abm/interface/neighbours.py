"""Files for other programs and from them: the verbs `export`, `published`, `densities` of `python -m escape_abm`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from escape_abm.exchange import adam, tables, time_to_event
from escape_abm.inputs.checks import InputError, suggest
from escape_abm.inputs.trial import RATES
from escape_abm.interface import densities
from escape_abm.runs import terminal
from escape_abm.runs.stored import load


def main(words: list[str]) -> int:
    """Do what a command line of one of the verbs says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m escape_abm")
    verbs = parser.add_subparsers(dest="verb", required=True)
    _export_arguments(
        verbs.add_parser("export", description="Write a finished run as ADSL and ADTTE, with definitions.")
    )
    _published_arguments(verbs.add_parser("published", description="Print results for the file of an own trial."))
    densities.arguments(verbs.add_parser("densities", description="Antigen densities from FCS files, as a choice."))
    asked = parser.parse_args(words)
    if asked.verb == "export":
        terminal.say("\n".join(map(str, export(asked.path, asked.into, asked.study, asked.format))))
    elif asked.verb == "densities":
        terminal.say(densities.run(asked))
    else:
        terminal.say(_published(asked))
    return 0


def export(run: Path, into: Path, study: str = "ESCAPE", form: str = "xpt") -> list[Path]:
    """Write ADSL and ADTTE of a finished run, and the definitions of its parameters; the files."""
    runs = load(run)
    if len(runs) != 1:
        raise InputError(f"{run}: holds {len(runs)} finished runs; name the folder of one")
    patients = runs.patients()
    files = [
        tables.write(made, into, name, adam.DATASETS[name], labels, form)
        for name, made, labels in (
            ("ADSL", adam.adsl(patients, study), adam.ADSL),
            ("ADTTE", adam.adtte(patients, study), adam.ADTTE),
        )
    ]
    adam.parameters().to_csv(into / "parameters.csv", index=False, lineterminator="\n")
    return [*files, into / "parameters.csv"]


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="folder of a finished run")
    parser.add_argument("--into", type=Path, required=True, help="folder to write to")
    parser.add_argument("--format", default="xpt", choices=list(tables.FORMATS), help="xpt: version 5 (default)")
    parser.add_argument("--study", default="ESCAPE", help="STUDYID")


def _published_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="ADTTE (.xpt, .json, .csv), or with --at-risk points of a curve (.csv)")
    parser.add_argument("--endpoint", required=True, choices=RATES, metavar="ENDPOINT", help=", ".join(RATES))
    parser.add_argument("--months", type=float, nargs="+", required=True)
    parser.add_argument("--source", required=True, help="a key of references.csv, or a citation")
    parser.add_argument("--parameter", help="of ADTTE: PARAMCD")
    parser.add_argument("--arm", help="of ADTTE: TRTP, if there are several")
    words = "values of CNSR, or texts of EVNTDESC or CNSDTDSC"
    parser.add_argument("--competing", type=_code, nargs="*", default=[], help=f"events that compete: {words}")
    parser.add_argument("--censored", type=_code, nargs="*", default=[1.0], help=f"censored: {words} (default 1)")
    parser.add_argument("--first-day", type=int, default=1, choices=(0, 1), help="day of the start in AVAL (default 1)")
    parser.add_argument("--unit", default="days", choices=list(time_to_event.UNITS), help="of AVAL")
    parser.add_argument("--steps", action="store_true", help="the whole curve too, to be drawn")
    parser.add_argument("--at-risk", type=Path, help="of a curve: numbers at risk (.csv)")
    parser.add_argument("--events", type=int, help="of a curve: all events, if published")


def _published(asked: Any) -> str:
    """Lines for `published` (and `steps`) of an own trial."""
    if asked.at_risk is not None:
        patients = time_to_event.from_curve(asked.path, asked.at_risk, asked.events)
    else:
        table = tables.read(asked.path)
        if asked.parameter is None:
            known = ", ".join(sorted(set(table.get("PARAMCD", []))))
            raise InputError(f"--parameter: is missing; of PARAMCD: {known}. A digitised curve needs --at-risk")
        patients = time_to_event.from_adtte(
            table, asked.parameter, asked.competing, asked.censored, asked.first_day, asked.unit
        )
    if asked.arm is not None:
        if asked.arm not in set(patients["arm"]):
            raise InputError(f"--arm {asked.arm}: not there. {suggest(asked.arm, sorted(set(patients['arm'])))}")
        patients = patients[patients["arm"] == asked.arm]
    results = time_to_event.published(patients, asked.endpoint, asked.months, asked.source)
    curves = {asked.endpoint: time_to_event.steps(patients, asked.endpoint)} if asked.steps else {}
    return time_to_event.as_yaml(results, curves)


def _code(word: str) -> float | str:
    """A value of CNSR as a number, a description as text."""
    try:
        return float(word)
    except ValueError:
        return word
