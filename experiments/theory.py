"""Does the simulator follow the exact laws of branching processes? Cells that divide, die and lose an antigen.

python experiments/theory.py [cohort.size=REPLICATES] [key=value]
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


def theory(settings: Settings, run: Run) -> None:
    """Simulate each law along an axis, write, and say where it is; replicates are the patients of the cohort."""
    # Imported here so that --help and shell completion answer at once.
    import numpy as np
    import pandas as pd

    from escape_abm.evidence import theory
    from escape_abm.runs import terminal

    if not run.finished:
        tables, rng = [], np.random.default_rng(settings.seed)
        with run.progress("curves", theory.CURVES) as advance:
            for table in theory.laws(settings.biology, settings.engine, settings.cohort.size, rng):
                tables.append(table)
                if advance is not None:
                    advance(1)
        run.write({"theory.csv": pd.concat(tables, ignore_index=True)}, {})
    if not run.quiet:
        terminal.where(run.folder, ("theory.csv", "each law beside the simulator"))


if __name__ == "__main__":
    launch(theory, config_name="theory")
