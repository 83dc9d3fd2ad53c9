"""Move the exact baseline: `python -m tests.trials.update_baseline`. CHANGELOG.md then says why results moved."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from escape_abm.interface.composition import compose
from escape_abm.trials.virtual_trial import run_trial

BASELINE = Path(__file__).with_name("baseline.csv")


def baseline() -> pd.DataFrame:
    """Ten patients of the default trial under every product: all columns of the patients table, as text."""
    settings = compose(["cohort.size=10", "workers=1", "trajectories.patients=0"])
    return run_trial(settings).patients.map(lambda v: "" if pd.isna(v) else repr(v) if isinstance(v, float) else str(v))


if __name__ == "__main__":
    baseline().to_csv(BASELINE, index=False)
