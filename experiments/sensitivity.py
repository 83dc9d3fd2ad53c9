"""Which parameter decides which relapse, under which product?

python experiments/sensitivity.py [calibration.KEY=value] [product=NAME] [cohort=NAME]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from escape_abm.config import launch

if TYPE_CHECKING:
    from escape_abm.results import Run
    from escape_abm.settings import Settings


def decide(settings: Settings, run: Run) -> None:
    """Find, draw, write, and say where it is."""
    # Imported here so that --help and shell completion answer at once.
    from escape_abm import report

    if not run.finished:
        find(settings, run)
    if not run.quiet:
        report.where(
            run.folder,
            ("figures/sensitivity.png", "first: which parameter decides which relapse"),
            ("figures/tornado.png", "how far, and in which direction"),
            ("sensitivity.csv", "every index"),
        )


def find(settings: Settings, run: Run) -> None:
    """Run, find the indices, write."""
    from escape_abm import report, sensitivity

    assert settings.calibration is not None
    runs = sum(settings.calibration.waves)
    with run.progress(f"runs of {len(settings.arms)} products", runs) as advance:
        table = sensitivity.sensitivity(settings, run.kept, advance)
    pictures = {}
    if run.pictures:
        from escape_abm import figures, fit_figures

        labels = {arm.name: arm.label for arm in settings.arms}
        pictures = {
            "sensitivity": fit_figures.indices(table, labels),
            "tornado": fit_figures.tornado(table, settings.product.name, labels),
        }
        for figure, _ in pictures.values():
            figures.stamp(figure, report.about(settings, f"{runs} runs of {settings.calibration.patients} patients"))
    run.write({"sensitivity.csv": table}, pictures)


def check(settings: Settings) -> None:
    """Whether there are parameters to vary."""
    from escape_abm.parameters import InputError
    from escape_abm.targets import free_parameters

    if settings.calibration is None:
        raise InputError("calibration: is missing; run this experiment with its own configuration")
    free_parameters(settings, settings.calibration.free)


if __name__ == "__main__":
    launch(decide, config_name="sensitivity", check=check)
