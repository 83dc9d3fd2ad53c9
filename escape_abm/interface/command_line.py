"""The command line: arguments and flags are separated, and wrong ones refused, before anything is composed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escape_abm.inputs.checks import InputError, suggest
from escape_abm.interface import own_choices
from escape_abm.interface.groups import choices

OWN_FOLDER, MULTIRUN, QUIET = ("--config-dir", "-cd"), ("--multirun", "-m"), ("--quiet", "-q")
VERBOSE, HELP, VERSION, CFG = ("--verbose", "-v"), ("--help", "-h"), ("--version",), ("--cfg", "-c")
PACKAGE, INFO = ("--package", "-p"), ("--info", "-i")
SHELL = ("--shell-completion", "-sc")
HYDRAS = (*CFG, "--resolve", *PACKAGE, *INFO, *SHELL, "--hydra-help")
"""Hydra's flags that show something and run nothing. Its others would go round the checks of ours."""
CFG_PARTS = ("job", "hydra", "all")
INFO_PARTS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")

EXTENSIBLE = ("comparators", "antigens", "components", "constructs", "options")  # nodes to which a user may add
NUMBERS = "Its numbers are keys of their own, for example regimen.dose_cells_per_kg=2e6: --cfg job shows them"
BRACKETS = "Put the whole of KEY=VALUE in quotes, for example 'trial.strata={responders: complete_remission}'"
CONSTRUCT = "Write for example construct@product.components.cd19.constructs.cd19=cat_41bb product.name=NAME"
SEVERAL = (
    "For a run of each, add -m (--multirun) and write a,b,c. To compare products on the same patients: product=A "
    "comparators=none +product@comparators.b=B +product@comparators.c=C"
)


@dataclass(frozen=True)
class Line:
    """A command line, taken apart."""

    words: list[str]
    """Overrides."""
    own: Path | None = None
    """Folder of the user's own choices."""
    asked: str = ""
    """`help`, `version`, `cfg` or `hydra` (flags that Hydra answers): then nothing is run."""
    multirun: bool = False
    quiet: bool = False
    verbose: bool = False
    hydras: tuple[str, ...] = ()
    """Flags that Hydra answers, with their values."""


def read(words: Sequence[str]) -> Line:
    """Take a command line apart.

    Raises:
        InputError: an unknown flag, a flag without its value, or a word that is no KEY=VALUE.
    """
    plain, seen, own, hydras = _parted(words)
    if seen & set(HELP):
        return Line(plain, own, "help")
    if seen & set(VERSION):
        return Line(plain, own, "version")
    if seen & set(CFG) and seen & set(MULTIRUN):
        raise InputError("--cfg shows one run: leave -m out, and give one value of each key")
    if seen & {"--resolve", *PACKAGE} and not seen & set(CFG):
        which = next(flag for flag in hydras if flag in ("--resolve", *PACKAGE))
        raise InputError(f"{which}: only --cfg takes it. Write --cfg job {which}")
    if seen & {*SHELL, "--hydra-help"}:
        if seen & set(SHELL) and not re.fullmatch("(install|uninstall|query)=(bash|fish|zsh)", " ".join(plain)):
            raise InputError(f"{SHELL[0]} {' '.join(plain)}: write {SHELL[0]} install=bash (or fish, zsh)")
        return Line(plain if seen & set(SHELL) else [], own, "hydra", hydras=hydras)
    for i, word in enumerate(plain):
        near = plain[i : i + (3 if plain[i + 1 : i + 2] == ["="] else 2)]
        apart = "=" not in word and near[-1] != word and near[1].startswith("=")
        apart |= word.endswith("=") and "=" not in near[-1]
        if apart and re.fullmatch(r"[^\s=~+]+=[^\s=]+", "".join(near)):
            raise InputError(f"{' '.join(near)}: no spaces around the = sign. Write {''.join(near)}")
    for word in plain:
        _check_word(word, own)
    _refuse_twice(plain)
    several, quiet, verbose = (bool(seen & set(flags)) for flags in (MULTIRUN, QUIET, VERBOSE))
    if quiet and verbose:
        raise InputError("--quiet and --verbose: leave one of them out")
    return Line(plain, own, "cfg" if hydras else "", several, quiet, verbose, hydras)


def _parted(words: Sequence[str]) -> tuple[list[str], set[str], Path | None, tuple[str, ...]]:
    """Overrides, flags, the folder of own choices, and the flags that Hydra answers with their values."""
    rest, plain, seen, own, hydras = list(words), [], set(), None, []
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if not flag.startswith("-"):
            plain.append(word)
        elif flag in OWN_FOLDER:
            value = value if equals else (rest.pop(0) if rest else "")
            if own is not None:
                raise InputError(f"{flag} is given twice: {own} and {value}. Put the choices of both into one folder")
            own = own_choices.folder_of(flag, value)
        else:
            seen.add(_flag(flag))
            if flag in HYDRAS:
                hydras += [flag, *_value(flag, value if equals else None, rest)]
            elif equals:
                raise InputError(f"{word}: {flag} takes no value. Write {flag}, or leave it out")
    return plain, seen, own, tuple(hydras)


def _flag(flag: str) -> str:
    ours = (*MULTIRUN, *QUIET, *VERBOSE, *HELP, *VERSION)
    if flag not in (*ours, *HYDRAS):
        known = [f for f in (*ours, *OWN_FOLDER, *HYDRAS) if f.startswith("--")]
        near = suggest(flag, known)
        hint = near if near.startswith("Did") else f"Flags: {', '.join(known)}."
        raise InputError(f"{flag}: no such flag. {hint} What is set has no dashes: key=value")
    return flag


def _value(flag: str, given: str | None, rest: list[str]) -> list[str]:
    """The value of a flag that Hydra answers, taken from the words after it unless it was given with a `=`."""
    known = CFG_PARTS if flag in CFG else INFO_PARTS if flag in INFO else ()
    if not known and flag not in PACKAGE:
        return []
    if given is None and rest and not rest[0].startswith(("-", "~")) and "=" not in rest[0]:
        given = rest.pop(0)
    if given is None and flag in INFO:
        given = "all"
    if not given or (known and given not in known):
        raise InputError(f"{flag} {given or ''}: which part? Write {flag} {' or '.join(known) or 'KEY'}")
    return [given]


def _check_word(word: str, own: Path | None) -> None:
    """Refuse a word that is no override, with what it may have been meant to be."""
    key, equals, value = word.lstrip("+~").partition("=")
    if not key:
        raise InputError(f"{word}: a word is KEY=VALUE, and this has no key. --help lists what can be set")
    if any(value.count(left) > value.count(right) for left, right in ("[]", "{}")) and not {"'", '"'} & set(value):
        raise InputError(f"{word}: a bracket is not closed; part of a value with spaces? {BRACKETS}")
    if equals or word.startswith("~"):
        return
    if any(word.count(right) > word.count(left) for left, right in ("[]", "{}", "()")):
        raise InputError(f"{word}: part of a value with spaces? {BRACKETS}")
    every = choices(own)
    if word in every:
        raise InputError(f"{word}: which one? Write {word}=CHOICE. Choices of {word}: {', '.join(every[word])}")
    groups = [group for group, found in every.items() if word in found]
    if groups:
        raise InputError(f"{word}: a word is KEY=VALUE. Did you mean {' or '.join(f'{g}={word}' for g in groups)}?")
    if word in ("help", "version"):
        raise InputError(f"{word}: write --{word}")
    key, colon, value = word.partition(":")
    meant = f"{key}={value}" if colon else f"{word}=VALUE"
    raise InputError(f"{word}: a word is KEY=VALUE. Write {meant}; --help lists what can be set")


def _refuse_twice(words: Sequence[str]) -> None:
    """Refuse a key that is set twice, of which Hydra would take the last."""
    seen: dict[str, str] = {}
    for word in words:
        key, equals, value = word.lstrip("+").partition("=")
        if equals and key in seen:
            before = seen[key]
            each = "" if before.partition("=")[2] == value else f", or for a run of each: -m {before},{value}"
            raise InputError(f"{before} and {word}: {key} is set twice. Keep one{each}")
        seen[key] = word


def refuse_hydras(words: Sequence[str]) -> None:
    """Refuse what Hydra's own sweeper and launchers would have done."""
    for word in words:
        name = word.lstrip("+").partition("=")[0]
        if name in ("hydra/launcher", "hydra/sweeper") or name.startswith("hydra.launcher."):
            raise InputError(f"{word}: sweeps run on executor=processes, dask or slurm, by designs of the group sweep")
        if name == "hydra.sweep.subdir":
            raise InputError(f"{word}: the folder of a job is named by its number and what it is: leave this out")


def refuse_product_as_value(words: Sequence[str]) -> None:
    """Refuse the name of a product where its whole content would stand."""
    for word in words:
        arm = re.fullmatch(r"\+?(comparators\.[\w-]+)=([\w-]+)", word)
        if arm:
            key, name = arm.groups()
            raise InputError(
                f"{word}: an arm is a product, not a value. To add a new one: +product@{key}={name} (without the + if "
                f"{key} is there already)"
            )


def refuse_twin(words: Sequence[str], product: str, arms: Mapping[str, str]) -> None:
    """Refuse an added arm that would hide another, or be hidden: arms of one name are shown once.

    Comparators of a list such as `all` may hold the product itself.
    """
    names = [product, *arms.values()]
    for word in words:
        key, _, _ = word.partition("=")
        arm = key.removeprefix("+product@comparators.")
        if arm != key and names.count(arms.get(arm, "")) > 1:
            raise InputError(
                f"{word}: {arms[arm]} is compared already. Leave one out, or give this one its own name and label: "
                f"comparators.{arm}.name=my_{arms[arm]} comparators.{arm}.label=Mine"
            )


def changes_product(words: Sequence[str]) -> bool:
    """Whether words change the product and do not say what it is called then."""
    keys = {word.lstrip("+~").partition("=")[0].rpartition("@")[2] for word in words}
    inside = {key for key in keys if key.startswith("product.")} - {"product.note"}
    return bool(inside) and not inside & {"product.name", "product.label"}


def added_to(word: str, kept: Sequence[str]) -> str:
    """What to say of a dictionary beside which these keys would stay."""
    key, _, value = word.lstrip("+").partition("=")
    more = f" and {len(kept) - 3} more" if len(kept) > 3 else ""
    return (
        f"{word}: this would not replace what is there: {', '.join(kept[:3])}{more} would stay. To replace it: "
        f"'~{key}' '+{key}={value}'; to change it or add to it: '+{key}={value}'"
    )


def unreadable_value(word: str) -> str:
    """What to say of a word whose value cannot be read, by what it seems to be."""
    key, _, value = word.partition("=")
    if not re.fullmatch(r"[+~]{0,2}[\w.@/$:-]+", key) or "~" in key[1:] or ".." in key:
        way = f"A key is names with points between them, as in biology.killing.hill; {key!r} is none"
    elif value.startswith("{"):
        way = f"A dictionary is written '{key}={{NAME: VALUE, NAME: VALUE}}', with colons, its brackets closed"
    elif value.startswith("["):
        way = f"A list is written '{key}=[1,2]', its brackets closed"
    elif value.startswith("~/"):
        way = f"Write the whole path: {key}={Path(value).expanduser()}"
    elif value.startswith(",") or value.endswith(",") or ",," in value:
        way = f"Several values, for -m, are {key}=A,B, without a comma before or after"
    elif re.match(r"(range|interval|choice|glob|sort|shuffle|tag)\(", value):
        way = f"For -m: {key}=range(1,9), {key}=interval(0.1,1), {key}=choice(a,b)"
    else:
        way = f"A text with spaces, commas, brackets or other signs takes both kinds of quotes: '{key}=\"{value}\"'"
    return f"{word}: cannot be read. {way}"


def decimal_point(word: str) -> str:
    """What to write if a value was meant to be a decimal number; "" if it does not look like one."""
    meant = re.fullmatch(r"[^=]+=-?\d+,\d+", word)
    return f"A decimal number takes a point: {word.replace(',', '.')}. " if meant else ""


def unknown_key(words: Sequence[str], there: Any) -> str:
    """What to say of the first word whose key is not in a configuration; "" if there is none."""
    for word in words:
        name = word.split("=")[0].lstrip("+~")
        owner, path = there, name.rpartition("@")[2]
        parts = path.split(".")
        for i, part in enumerate(parts):
            if not isinstance(owner, dict) or part not in owner:
                known = [str(k) for k in owner] if isinstance(owner, dict) else []
                near = suggest(part, known, "".join(f"{p}." for p in parts[:i])).removesuffix("?")
                end = "?" if near.startswith("Did") else "."
                group = "construct@" if parts[i - 1] == "constructs" and "@" not in name and "{" not in word else ""
                new = f" To add a new one: +{group}{word.lstrip('+')}" if i and parts[i - 1] in EXTENSIBLE else ""
                return f"{word}: no such key {name!r}. {near}{end}{new}"
            owner = owner[part]
        if isinstance(owner, dict) and "{" in word:
            plus = f"{word}: names are added to {name} with a plus: '+{word.lstrip('+')}'"
            return added_to(word, [str(key) for key in owner]) if owner else plus
    return ""
