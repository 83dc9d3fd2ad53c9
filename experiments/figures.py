"""Every figure of the documentation by name, from stored runs: PNG, SVG and the table that is drawn.

python experiments/figures.py [figure=NAME] [into=FOLDER] [workers=N]

A figure is a file in conf/figure/, and a run that is missing is made first. `into=docs/images` draws those of the
documentation; `small=true into=tests/figures` writes the tables that tests compare.
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

    try:
        asked = read("figures", words)
        chosen = dict(word.partition("=")[::2] for word in words).get("figure", "all")
        if chosen == "all":
            wanted = {name: gallery.figure_config(name) for name in gallery.names()}
        else:
            wanted = {chosen: gallery.checked(chosen, asked["figure"])}
        into, small, workers = Path(asked["into"]), bool(asked["small"]), asked["workers"]
        for name, config in wanted.items():
            report.say(f"{name}: {gallery.draw(name, config, into, small=small, workers=workers)}")
    except InputError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        sys.stdout.write(f"{__doc__}\nFigures: {', '.join(p.stem for p in sorted(Path(__file__).parents[1].glob('conf/figure/*.yaml')))}\n")
    else:
        main(sys.argv[1:])
