"""Move the exact baseline: `python -m tests.update_baseline`. Say in CHANGELOG.md that results moved, and why."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from escape_abm.config import compose
from escape_abm.trial import run_trial

BASELINE = Path(__file__).with_name("baseline.csv")


def baseline() -> pd.DataFrame:
    """Ten patients of the default trial under every product: all columns of the patients table, as text."""
    settings = compose(["cohort.size=10", "workers=1", "trajectories.patients=0"])
    return run_trial(settings).patients.map(lambda v: "" if pd.isna(v) else repr(v) if isinstance(v, float) else str(v))


if __name__ == "__main__":
    baseline().to_csv(BASELINE, index=False)
