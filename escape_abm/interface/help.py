"""The text of `--help`, and tab completion."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

from escape_abm.interface.command_line import CFG, HELP, MULTIRUN, OWN_FOLDER, QUIET, VERBOSE, VERSION
from escape_abm.interface.groups import GROUPS, choices, taken

FLAGS = {
    "-m, --multirun": "a run for each value: key=a,b, key=range(1,9), key=interval(0.1,1) sweep=sobol",
    "-q, --quiet": "say nothing but the folder of the results, and what went wrong",
    "-v, --verbose": "say first every value that differs from the parameter rows; tracebacks are whole",
    "--config-dir FOLDER": "choices of your own beside these, as FOLDER/trial/mine.yaml: trial=mine",
    "--cfg job": "show every key with the value that it would have, and run nothing",
    "--version": "show the version",
    "--shell-completion": "complete keys and choices of `python experiments/NAME.py` with the tab key, in this folder: "
    'eval "$(python experiments/NAME.py -sc install=bash)" (or zsh; fish: -sc install=fish | source)',
}
WORDS = {
    "key=value": "set a key; `--cfg job` shows all, docs/parameters.md tells what they mean",
    "+key=value": "add a key that is not there yet",
    "~key": "take away a key or an arm",
    "'key=\"a, b\"'": "a value with spaces, commas or brackets: in both kinds of quotes",
}
KEYS = {
    "cohort.size": "how many patients",
    "seed": "of chance: the same seed and settings give the same bytes",
    "follow_up_months": "how long patients are followed",
    "workers": "processes at the same time; by default one for each core that this process may use",
    "pictures": "true or false; by default single runs draw and the jobs of a sweep do not",
    "hydra.run.dir": "folder of the results (of -m: hydra.sweep.dir); by default a new one in outputs/",
}
LAST = (
    "A run that was done is found again, one that was stopped goes on. Colour is for terminals, not where NO_COLOR=1 "
    "is set."
)


# ----------------------------------------------------------------------------------------------------------- completion


def completed(line: str) -> tuple[str, list[str]]:
    """A line to complete as Hydra can read it, without flags and other words, and the flags that its end may become."""
    words = line.split()[2:]  # after the interpreter and the script
    last = words.pop() if words and not line[-1].isspace() else ""
    known = (*OWN_FOLDER, *MULTIRUN, *QUIET, *VERBOSE, *HELP, *VERSION, *CFG)
    flags = [flag for flag in known if flag.startswith(last)] if last.startswith("-") else []
    plain = [word for word in words if word in MULTIRUN or re.match(r"~|[^-].*=", word)]
    return " ".join(["python script", *plain, last]), flags


def for_shell(script: str) -> str:
    """Hydra's script for a shell, for `python3` too, and without what goes wrong in the middle of a prompt.

    In bash Hydra's calls every script, whatever it does; ours only those of experiments/ and start.py.
    """
    ours = '"launch import launch\\|^def is_ready"'
    for old, new in (
        ('"${words[0]}" ==', '"${words[0]%3}" =='),
        ("-F hydra_bash_completion python", "-F hydra_bash_completion python python3"),
        ("-sc query=bash", "-sc query=bash 2> /dev/null"),
        ("-sc query=fish", "-sc query=fish 2> /dev/null"),
        ('grep "@hydra.main" $file_path -q', f'grep -q {ours} "$file_path" || return'),
        ('"@hydra.main"', ours),
    ):
        script = script.replace(old, new)
    return script


def help_text(about: str, config_name: str, own: Path | None = None, width: int = 0) -> str:
    """What `--help` says: what the experiment asks, every group with its choices, keys, words and flags."""
    width = width or max(60, min(shutil.get_terminal_size((120, 24)).columns, 120))
    stars = taken(config_name)
    head = "GROUPS: group=choice. * is taken by default; a trial brings its own cohort, dose, product"
    out = [about.strip(), "", *textwrap.wrap(head, width)]
    for group, found in choices(own).items():
        out += ["", *_entry(group, GROUPS.get(group, ""), 0, 13, width)]
        for choice, what in found.items():
            out += _entry(choice + (" *" if stars.get(group) == choice else ""), what, 2, 31, width)
    for title, table in (("KEYS", KEYS), ("WORDS", WORDS), ("FLAGS", FLAGS)):
        out += ["", title]
        for name, what in table.items():
            out += _entry(name, what, 2, 24, width)
    return "\n".join([*out, "", *textwrap.wrap(LAST, width)])


def _entry(name: str, what: str, indent: int, column: int, width: int) -> list[str]:
    """A name and what it is, beside it, or below it if the name is long."""
    head = " " * indent + name
    space = " " * (column - len(head)) if len(head) < column else f"\n{' ' * column}"
    body = textwrap.wrap(what, width - column, break_long_words=False, break_on_hyphens=False) or [""]
    return f"{head}{space}{body[0]}".rstrip().split("\n") + [" " * column + line for line in body[1:]]
