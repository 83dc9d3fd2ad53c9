"""How does a leukaemia escape? One patient's marrow, cell by cell, under each product: a film and stills.

python experiments/marrow.py [group=choice] [key=value] [-m]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from escape_abm.interface.launch import launch
except ModuleNotFoundError as missing:
    raise SystemExit(f"{missing}. Enter the environment first: python3 start.py setup says how") from None

if TYPE_CHECKING:
    from escape_abm.inputs.settings import Settings
    from escape_abm.runs.run_folder import Run

FRAMES, FRAMES_PER_SECOND = 100, 10
STILLS = (0, 7, 28)  # days; and the last


def watch(settings: Settings, run: Run) -> None:
    """Run the patient under each product side by side, and draw."""
    # Imported here so that --help and shell completion answer at once.
    from escape_abm.runs import terminal

    if not run.finished:
        film(settings, run)
    if not run.quiet:
        terminal.where(
            run.folder,
            ("figures/marrow.gif", "first: the film"),
            ("figures", "stills"),
            ("courses.parquet", "cells day by day"),
        )


def film(settings: Settings, run: Run) -> None:
    """Run, draw and write."""
    from escape_abm.figures import marrow
    from escape_abm.patient.marrow_model import MarrowModel
    from escape_abm.runs import terminal

    models = [MarrowModel(settings.model_copy(update={"product": arm}), settings.patient) for arm in settings.arms]
    film = marrow.Film(models, settings.follow_up_days, terminal.about(settings, f"virtual patient {settings.patient}"))
    with terminal.progress("days", settings.follow_up_days + 1) as advance:
        for _ in film.days(FRAMES, STILLS):
            advance(1)
    others = {"figures/marrow.gif": lambda path: film.write(path, FRAMES_PER_SECOND)}
    run.write({"courses.parquet": film.courses()}, film.stills, others)


if __name__ == "__main__":
    launch(watch, config_name="marrow")
