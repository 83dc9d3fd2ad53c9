"""How does a leukaemia escape? One patient's marrow, cell by cell, under each product: a film and stills.

python experiments/marrow.py [group=choice] [key=value] [-m]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from escape_abm.config import launch

if TYPE_CHECKING:
    from escape_abm.results import Run
    from escape_abm.settings import Settings

FRAMES, FRAMES_PER_SECOND = 100, 10
STILLS = (0, 7, 28)  # days; and the last


def watch(settings: Settings, run: Run) -> None:
    """Run the patient under each product side by side, and draw."""
    # Imported here so that --help and shell completion answer at once.
    from escape_abm import report

    if not run.finished:
        film(settings, run)
    if not run.quiet:
        report.where(
            run.folder,
            ("figures/marrow.gif", "first: the film"),
            ("figures", "stills"),
            ("courses.parquet", "cells day by day"),
        )


def film(settings: Settings, run: Run) -> None:
    """Run, draw and write."""
    from escape_abm import micrograph, report
    from escape_abm.bedside import Bedside

    models = [Bedside(settings.model_copy(update={"product": arm}), settings.patient) for arm in settings.arms]
    film = micrograph.Film(
        models, settings.follow_up_days, report.about(settings, f"virtual patient {settings.patient}")
    )
    with report.progress("days", settings.follow_up_days + 1) as advance:
        for _ in film.days(FRAMES, STILLS):
            advance(1)
    others = {"figures/marrow.gif": lambda path: film.write(path, FRAMES_PER_SECOND)}
    run.write({"courses.parquet": film.courses()}, film.stills, others)


if __name__ == "__main__":
    launch(watch, config_name="marrow")
