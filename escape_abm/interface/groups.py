"""The groups of conf/ and their choices: what each choice is, and which is the default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

GROUPS = {
    "trial": "a published trial: its patients, dose, product and follow-up; `none` for patients of no trial",
    "product": "the CAR T product that is asked about",
    "comparators": "products for the same patients; one more: +product@comparators.NAME=PRODUCT, one less: "
    "~product@comparators.NAME",
    "construct": "a CAR in a product: construct@product.components.COMPONENT.constructs.ANTIGEN=CHOICE",
    "cohort": "who the patients are: burden, history, disease without an antigen",
    "regimen": "bridging, lymphodepletion, infusions, transplant",
    "dose": "cells for everyone, or for each kg",
    "biology": "rates of the leukaemia, its antigens, killing and CAR T cells",
    "clinic": "what counts as remission, relapse and detection",
    "engine": "how the law is drawn: for all cells of a state at once, or cell by cell",
    "sweep": "of -m: which combinations of the values",
    "executor": "of -m: where the jobs run",
}
HIDDEN = ("rows", "figure")  # where configurations start from, and what experiments/figures.py draws
PLACES = {"trial": "_global_", "dose": "regimen"}
"""What the first line of a choice must give as its place, for groups whose name is not the place."""

STARTS = {"biology": ("fitted", "starting_fit"), "clinic": ("fitted", "standard")}
"""The default choice of groups whose default is not the parameter rows, and the choice that is the rows."""


def place(file: Path) -> str:
    """Where a choice belongs, as its first line says; "" (to the name of its group) if that says nothing."""
    said = re.match(r"\s*#\s*@package(.*)", file.read_text(encoding="utf-8"))
    return said[1].strip() if said else ""


# ---------------------------------------------------------------------------------------------------------------- help


def choices(own: Path | None = None, conf: Path | None = None) -> dict[str, dict[str, str]]:
    """The choices of every group and what each is: ours, then those of the user's own folder."""
    found: dict[str, dict[str, str]] = {group: {} for group in GROUPS}
    for folder in filter(None, (conf or conf_dir(), own)):
        for file in sorted(folder.glob("*/*.yaml")):
            if file.parent.name not in HIDDEN:
                found.setdefault(file.parent.name, {})[file.stem] = _what_it_is(file.read_text(encoding="utf-8"))
    return {group: those for group, those in found.items() if those}


def _what_it_is(text: str) -> str:
    """The label of a choice, or the first sentence of its comment."""
    label = re.search(r"^ *label: (.*?)\s*(?:#.*)?$", text, re.MULTILINE)
    if label:
        return label.group(1).strip("'\"")
    lines = [line for line in text.splitlines() if not line.startswith("# @package")]
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    first = re.split(r"(?<=[^\s.])[.;](?:\s|$)", " ".join(comment))[0]
    return first if first.count("(") == first.count(")") else first.rpartition("(")[0].rstrip()


def defaults(config_name: str, conf: Path | None = None) -> dict[str, str]:
    """The choice of each group that an experiment takes by default."""
    folder = conf or conf_dir()
    plain: Any = yaml.safe_load((folder / f"{config_name}.yaml").read_text(encoding="utf-8"))
    out: dict[str, str] = {}
    for item in plain.get("defaults", ()):
        if isinstance(item, str):
            out |= defaults(item, folder) if item != "_self_" else {}
        else:
            ((key, choice),) = item.items()
            out[str(key).removeprefix("override ").removeprefix("/")] = str(choice)
    return out


def taken(config_name: str) -> dict[str, str]:
    """The choice of each group that a run has by default: that of the experiment, unless its trial brings another."""
    own = defaults(config_name)
    return own | (defaults(f"trial/{own['trial']}") if "trial" in own else {})


def conf_dir() -> Path:
    """Absolute path of conf/: inside an installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parents[1]
    for place in (here / "conf", here.parent / "conf"):
        if (place / "config.yaml").is_file():
            return place
    raise FileNotFoundError("conf/config.yaml was not found beside the package: install escape_abm from its repository")
