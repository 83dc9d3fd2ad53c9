"""Every figure of the documentation by name, from stored runs: PNG, SVG and the table behind it.

python experiments/figures.py [figure=NAME] [into=FOLDER] [workers=N] [--config-dir FOLDER] [key=value of the run]

A figure is a file in conf/figure/, or in figure/ of your own folder (`--config-dir`). A run that is missing is made
first. `figure=twins cohort.size=50` draws it for another run. `into=docs/images` draws the figures of the
documentation; `small=true into=tests/figures` writes the tables that tests compare.
"""

from __future__ import annotations

import sys
from pathlib import Path

OWN = ("figure", "into", "small", "workers")


def main(words: list[str]) -> None:
    """Draw what is asked for, and say where it is."""
    # Imported here so that --help answers at once.
    try:
        from escape_abm.inputs.checks import InputError
    except ModuleNotFoundError as missing:
        raise SystemExit(f"{missing}. Enter the environment first: python3 start.py setup says how") from None
    from escape_abm.interface import catalogue, own_choices
    from escape_abm.interface.composition import read
    from escape_abm.runs import terminal

    try:
        searched = []
        if "--config-dir" in words:
            at = words.index("--config-dir")
            searched = [own_choices.searched("".join(words[at + 1 : at + 2]))]
            words = words[:at] + words[at + 2 :]
        own = [word for word in words if word.partition("=")[0] in OWN]
        others = [word for word in words if word not in own]
        asked = read("figures", [*own, *searched])
        chosen = dict(word.partition("=")[::2] for word in own).get("figure", "all")
        if chosen == "all" and others:
            raise InputError(f"{' '.join(others)}: of which figure? Write figure=NAME too")
        if chosen == "all":
            wanted = {name: catalogue.figure_config(name) for name in catalogue.names()}
        else:
            wanted = {chosen: catalogue.checked(chosen, asked["figure"])}
            if others and not wanted[chosen].run:
                raise InputError(f"{' '.join(others)}: figure={chosen} is not drawn from a run")
        into, words = Path(asked["into"]), [*others, *searched]
        room = catalogue.Gallery(into, small=bool(asked["small"]), workers=asked["workers"], words=words)
        for name, config in wanted.items():
            terminal.say(f"{name}: {room.draw(name, config)}")
    except InputError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        sys.stdout.write(f"{__doc__}\nFigures are listed in docs/figures.md and conf/figure/all.yaml.\n")
    else:
        main(sys.argv[1:])
