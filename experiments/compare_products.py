"""Which CAR T product prevents which relapse? The same virtual patients under a product and its comparators.

python experiments/compare_products.py [group=choice] [key=value] [-m]
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


def compare(settings: Settings, run: Run) -> None:
    """Run, tabulate, draw, write, and say where it is."""
    arms = len(settings.arms)
    result = run.trial(f"patients x {arms} product{'s' if arms > 1 else ''}")
    pictures = {}
    if run.pictures:
        from escape_abm.runs.notebook import Plots

        pictures = Plots(settings, result).by_file()
    run.write(result.files(), pictures)
    if not run.quiet:
        from escape_abm.runs import terminal

        terminal.show(result, settings, run.folder)


if __name__ == "__main__":
    launch(compare)
