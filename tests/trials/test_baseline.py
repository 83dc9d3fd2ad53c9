"""Results have not moved: an exact comparison that only `update_baseline.py` may change."""

from __future__ import annotations

import pandas as pd

from tests.trials.update_baseline import BASELINE, baseline


def test_results_have_not_moved() -> None:
    """The same patients with every Python, NumPy and numba that the package allows."""
    kept = pd.read_csv(BASELINE, dtype=str, keep_default_na=False)
    now = baseline()
    assert list(now.columns) == list(kept.columns)
    different = (now.reset_index(drop=True) != kept).any()
    assert not different.any(), f"columns that moved: {sorted(different.index[different])}"
