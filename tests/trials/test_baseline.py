"""Results have not moved: an exact comparison that only `update_baseline.py` may change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.trials.update_baseline import BASELINE, SAMPLERS, baseline


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) >= "2.5.0", reason=f"the exact baseline is of {SAMPLERS}")
def test_results_have_not_moved() -> None:
    kept = pd.read_csv(BASELINE, dtype=str, keep_default_na=False)
    now = baseline()
    assert list(now.columns) == list(kept.columns)
    different = (now.reset_index(drop=True) != kept).any()
    assert not different.any(), f"columns that moved: {sorted(different.index[different])}"
