"""Choices of one's own: a folder beside conf/ with files for the same groups, checked before Hydra reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from escape_abm.inputs.checks import InputError
from escape_abm.interface.groups import GROUPS, HIDDEN, PLACES, STARTS, conf_dir, place

SWEPT = {"mode": None, "sweeper": {"params": None}}
"""What a choice may say of Hydra."""


def folder_of(flag: str, given: str) -> Path:
    """The folder that a flag names, with every file in it checked.

    Raises:
        InputError: there is none, it holds no choices, or one of them cannot be read.
    """
    try:
        folder = Path(given).resolve()
        is_there = folder.is_dir()
    except OSError as error:
        raise InputError(f"{flag} {given[:60]}: {error.strerror}. Write {flag} FOLDER") from None
    if not given or ("=" in given and not is_there):
        raise InputError(f"{flag}: which folder? Write {flag} FOLDER; it holds your own choices")
    if not is_there:
        there = "" if Path(given).is_absolute() else f" ({folder})"
        raise InputError(
            f"{flag} {given}: no such folder{there}. It holds your own choices, for example trial/mine.yaml"
        )
    if not any((folder / group).is_dir() for group in (*GROUPS, *HIDDEN)):
        above = f"Write {flag} {folder.parent}" if folder.name in GROUPS else "It holds for example trial/mine.yaml"
        raise InputError(f"{flag} {given}: no folder of a group is in it. {above}")
    for file in sorted(file for group in GROUPS for file in folder.glob(f"{group}/*.yaml")):
        _check_file(file)
    return folder


def _check_file(file: Path) -> None:
    """Refuse an own choice that cannot be read or would land in another place than ours, and traits without a source.

    A trait that is set on the command line needs none.
    """
    try:
        said = place(file)
        content = yaml.safe_load(file.read_bytes()) or {}
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: byte {error.start} is no UTF-8. Save the file as UTF-8") from None
    except yaml.YAMLError as error:
        raise InputError(unreadable(error, file)) from None
    wanted = PLACES.get(file.parent.name, "")
    if (wanted and not said) or " " in said:
        raise InputError(f"{file}: the first line must be `# @package {wanted or said.split()[0]}`")
    if not isinstance(content, dict):
        raise InputError(f"{file}: a choice is lines of `key: value`, not {str(content)[:40]!r}")
    if left_beside(content.get("hydra"), SWEPT) or "hydra/" in str(content.get("defaults", "")):
        raise InputError(
            f"{file}: of hydra a choice may set mode and sweeper.params only. Set the rest on the command line"
        )
    _refuse_rows(file, content)
    bare = [k for k in content if str(k).endswith("_fold") and k not in (content.get("sources") or {})]
    if bare and file.parent.name == "construct":
        raise InputError(
            f"{file}: {', '.join(bare)} without a source. Add sources: {{{bare[0]}: assumed}}, a key of "
            "escape_abm/references.csv, or the citation"
        )


def _refuse_rows(file: Path, content: Mapping[str, Any]) -> None:
    """Refuse a choice that does not say where it starts from, if it lacks what the default choice sets."""
    group = file.parent.name
    if "defaults" in content or group not in STARTS:
        return
    default, rows = STARTS[group]
    own = content.get(group) or {} if place(file) == "_global_" else content
    if lacks := left_beside(yaml.safe_load((conf_dir() / group / f"{default}.yaml").read_bytes()), own):
        raise InputError(
            f"{file}: does not say where it starts from, and {group}={default} sets more than it does "
            f"({', '.join(lacks[:3])}). Write `defaults: [{default}, _self_]` in it to start from the default, or "
            f"`defaults: [{rows}, _self_]` to start from the parameter rows"
        )


def left_beside(there: Any, given: Mapping[Any, Any]) -> list[str]:
    """Keys of a mapping, at any depth, that stay beside those given for it."""
    if not isinstance(there, Mapping):
        return []
    names = {str(key): value for key, value in given.items()}
    kept = [str(key) for key in there if str(key) not in names]
    for key, value in names.items():
        if isinstance(value, Mapping):
            kept += [f"{key}.{below}" for below in left_beside(there.get(key), value)]
    return kept


def unreadable(error: yaml.YAMLError, file: Path | None = None) -> str:
    """Where a file is no YAML, and why."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return (f"{file}: " if file else "") + " ".join(str(error).split())
    problem = str(error.problem)
    way = "Look at the line before too; text with `: ` or `#` in it takes quotes"
    if "duplicate" in problem:
        way = "Keep one"
    elif r"\t" in problem:
        way = "Indent by spaces, not by tabs"
    return f"{file or mark.name}, line {mark.line + 1}: {problem}. {way}"


def searched(folder: str | Path) -> str:
    """The override with which Hydra looks in a folder too."""
    quoted = str(folder_of("config_dir", str(folder))).replace("\\", "\\\\").replace("'", "\\'")
    return f"hydra.searchpath=['file://{quoted}']"


def own_folder(words: Sequence[str]) -> Path | None:
    """The folder in which Hydra looks too."""
    for word in words:
        found = re.fullmatch(r"hydra\.searchpath=\['?file://(.*?)'?\]", word)
        if found:
            return Path(re.sub(r"\\(.)", r"\1", found[1]))
    return None


def without_override(own: Path, group: str) -> str:
    """What to write in the own choice that takes a group which has a choice already; "" if there is none."""
    for file in sorted(own.glob("*/*.yaml")):
        for item in (yaml.safe_load(file.read_bytes()) or {}).get("defaults") or ():
            for key, choice in item.items() if isinstance(item, dict) else ():
                if key.lstrip("/") == group:
                    return f"{file}: {group} has a choice already: write `- override /{group}: {choice}`"
    return ""
