"""Which parameter drives which relapse, under which product?

python experiments/sensitivity.py [calibration.KEY=value] [product=NAME] [cohort=NAME]
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


def decide(settings: Settings, run: Run) -> None:
    """Find, draw, write, and say where it is."""
    # Imported here so that --help and shell completion answer at once.
    from escape_abm.runs import terminal

    if not run.finished:
        find(settings, run)
    if not run.quiet:
        terminal.where(
            run.folder,
            ("figures/sensitivity.png", "first: which parameter decides which relapse"),
            ("figures/tornado.png", "how far, and in which direction"),
            ("sensitivity.csv", "every index"),
        )


def find(settings: Settings, run: Run) -> None:
    """Run, find the indices, write."""
    from escape_abm.evidence import sensitivity
    from escape_abm.runs import terminal

    assert settings.calibration is not None
    runs = sum(settings.calibration.waves)
    with run.progress(f"runs of {len(settings.arms)} products", runs) as advance:
        table = sensitivity.sensitivity(settings, run.kept, advance)
    pictures = {}
    if run.pictures:
        from escape_abm.figures import fits, style

        labels = {arm.name: arm.label for arm in settings.arms}
        pictures = {
            "sensitivity": fits.indices(table, labels),
            "tornado": fits.tornado(table, settings.product.name, labels),
        }
        for figure, _ in pictures.values():
            style.stamp(figure, terminal.about(settings, f"{runs} runs of {settings.calibration.patients} patients"))
    run.write({"sensitivity.csv": table}, pictures)
    if not run.quiet:
        same = table[table["total"].isna()][["arm", "endpoint"]].drop_duplicates()
        for arm, endpoint in same.itertuples(index=False):
            terminal.warn(
                f"{arm}, {endpoint}: every run gave the same, so no parameter can be told to matter. More patients "
                "(calibration.patients), a longer follow_up_months or wider ranges (calibration.free) may show more"
            )


def check(settings: Settings) -> None:
    """Whether there are parameters to vary."""
    from escape_abm.evidence.targets import free_parameters
    from escape_abm.inputs.checks import InputError

    if settings.calibration is None:
        raise InputError("calibration: is missing; run this experiment with its own configuration")
    free_parameters(settings, settings.calibration.free)


if __name__ == "__main__":
    launch(decide, config_name="sensitivity", check=check)
