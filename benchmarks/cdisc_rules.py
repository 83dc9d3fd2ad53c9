"""Exported tables checked by the CDISC rules engine (cdisc-rules-engine) with the rules of `cdisc_rules.yaml`.

The engine needs Python 3.12 and many packages, so it has an environment of its own; this file imports nothing of ours.

    python -m escape_abm export RUN --into tables
    python3.12 -m venv core && core/bin/pip install cdisc-rules-engine==0.17.1
    core/bin/python benchmarks/cdisc_rules.py tables

Each rule is first run on a copy of the tables with one error planted, which it must find: the engine passes over a rule
that it cannot run. Prints a line per rule and table, and ends with 1 if anything is found in the tables as they are.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyreadstat
import yaml
from cdisc_rules_engine.config import config
from cdisc_rules_engine.models.library_metadata_container import LibraryMetadataContainer
from cdisc_rules_engine.models.rule import Rule
from cdisc_rules_engine.rules_engine import RulesEngine
from cdisc_rules_engine.services.cache import InMemoryCacheService

NAMES = ("ADSL", "ADTTE")
RULES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())


def as_core(rule: dict[str, Any], table: str) -> dict[str, Any]:
    """A rule of the file, for one table, in the form that CDISC publishes."""
    check = {how: rule[how] for how in ("any", "all") if how in rule}
    published = {
        "Core": {"Id": rule["id"], "Status": "Draft"},
        "Authorities": [],
        "Description": rule["says"],
        "Executability": "Fully Executable",
        "Sensitivity": "Record",
        "Rule Type": rule.get("type", "Record Data"),
        "Scope": {"Domains": {"Include": [table]}},
        "Check": check,
        "Outcome": {"Message": f"not so: {rule['says']}"},
    }
    if "Operations" in rule:
        published["Operations"] = rule["Operations"]
    return Rule.from_cdisc_metadata(published)


def found(folder: Path, rule: dict[str, Any], table: str) -> tuple[str, int]:
    """What the engine says of one table (`success`, `issue reported`, `skipped`, ...) and how many errors it lists."""
    paths = [str(folder / f"{name.lower()}.xpt") for name in NAMES]
    engine = RulesEngine(
        cache=InMemoryCacheService(),
        config_obj=config,
        standard="adamig",
        standard_version="1-3",
        library_metadata=LibraryMetadataContainer(),
        max_dataset_size=max(Path(path).stat().st_size for path in paths),
        dataset_paths=paths,
    )
    (result,) = engine.validate_single_rule(as_core(rule, table))[table]
    return result["executionStatus"], len(result["errors"])


def plant(folder: Path, rule: dict[str, Any], table: str, into: Path) -> None:
    """The tables with the error of a rule in one of them."""
    for name in NAMES:
        rows, about = pyreadstat.read_xport(str(folder / f"{name.lower()}.xpt"))
        label = about.file_label
        if name == table:
            rows, label = with_error(rows, rule["planted"], label)
        pyreadstat.write_xport(rows, str(into / f"{name.lower()}.xpt"), label, table_name=name, file_format_version=5)


def with_error(rows: pd.DataFrame, error: str | dict[str, Any], label: str) -> tuple[pd.DataFrame, str]:
    """A table, or its label, with one error."""
    if error == "LABEL":
        return rows, "Subjects"
    if error == "SECOND":
        return pd.concat([rows, rows.iloc[:1]], ignore_index=True), label
    for column, value in error.items():
        if value is None:
            rows = rows.drop(columns=column)
        elif column not in rows:
            rows = rows.assign(**{column: value})
        else:
            rows.loc[rows.index[0], column] = "long " * 50 if value == "LONG" else value
    return rows, label


def main(folder: Path) -> int:
    """All rules on all tables."""
    print(f"cdisc-rules-engine {version('cdisc-rules-engine')}, {len(RULES)} rules")
    wrong = 0
    for rule in RULES:
        for table in rule["of"]:
            with tempfile.TemporaryDirectory() as place:
                plant(folder, rule, table, Path(place))
                seen = found(Path(place), rule, table)
            status, errors = found(folder, rule, table)
            good = status == "success" and not errors and seen[1] > 0
            wrong += not good
            note = "" if good else f"  <- {status}, {errors} errors; of the planted error: {seen[0]}, {seen[1]}"
            print(f"{'passed' if good else 'FAILED'}  {rule['id']:<12} {table:<6} {rule['says']}{note}")
    print(f"{wrong} failed")
    return int(wrong > 0)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.exit(main(Path(sys.argv[1])))
