"""Every figure of the documentation by name, from stored runs: PNG, SVG and the table that is drawn.

python experiments/figures.py [figure=NAME] [into=FOLDER] [workers=N]

A figure is a file in conf/figure/; a run that it needs and that is missing is made first. `into=docs/images` draws
those of the documentation; `small=true into=tests/figures` writes the tables that tests compare.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(words: list[str]) -> None:
    """Draw what is asked for, and say where it is."""
    # Imported here so that --help answers at once.
    from escape_abm import gallery, report
    from escape_abm.config import read
    from escape_abm.parameters import InputError

    chosen = dict(word.partition("=")[::2] for word in words).get("figure", "all")
    try:
        if chosen != "all":
            gallery.figure_config(chosen)  # says which name is nearest
        asked = read("figures", words)
        if chosen == "all":
            wanted = {name: gallery.figure_config(name) for name in gallery.names()}
        else:
            wanted = {chosen: gallery.checked(chosen, asked["figure"])}
        room = gallery.Gallery(Path(asked["into"]), small=bool(asked["small"]), workers=asked["workers"])
        for name, config in wanted.items():
            report.say(f"{name}: {room.draw(name, config)}")
    except InputError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        sys.stdout.write(f"{__doc__}\nFigures are listed in docs/figures.md and conf/figure/all.yaml.\n")
    else:
        main(sys.argv[1:])
