"""How good predictions of published figures are, beside those of a constant.

*Inside* alone says little: an interval that is wide enough holds everything. So beside it stand the error, the width
against what chance in a trial of that size allows, the interval score (width plus a penalty for each miss; Gneiting and
Raftery 2007), and the same of a constant: each figure predicted by what the other trials published of that endpoint,
whatever their product.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from escape_abm.inputs.trial import NOT_SHARES
from escape_abm.trials.comparison import LEVEL, RESAMPLES, family_of
from escape_abm.trials.survival import proportion

Floats = NDArray[np.float64]
FEWEST = 2
"""Results of other trials of the same endpoint below which a constant predicts nothing."""
NAMES = {
    "complete_remission": "remission",
    "event_free_survival": "event-free survival",
    "overall_survival": "overall survival",
}
"""Endpoints that are scored alone; the others by their family."""


def scores(comparison: pd.DataFrame) -> pd.DataFrame:
    """Predictions scored by group of endpoints, of shares only.

    Args:
        comparison: `comparison.COLUMNS` of several trials.

    Returns:
        `group, figures, inside, error, absolute_error, width, width_ratio, interval_score, rank`, and
        `constant_figures, constant_inside, constant_absolute_error, constant_interval_score`. `error` is signed, the
        model less what was published, in shares of 1; `width_ratio` is the median ratio to the width of the exact
        binomial interval of the published n; `rank` is Spearman's correlation. The constant and the model are compared
        on the figures that both predict: `paired_absolute_error` and `paired_interval_score` are the model's on those.
    """
    of = comparison[comparison["inside"].notna() & ~comparison["endpoint"].isin(NOT_SHARES)].reset_index(drop=True)
    of = of.assign(inside=of["inside"].astype(bool)).join(constants(of))
    group = of["endpoint"].map(lambda endpoint: NAMES.get(endpoint, family_of(endpoint)))
    groups = [(str(name), its) for name, its in of.groupby(group, sort=False)]
    return pd.DataFrame([_scored(name, its) for name, its in [*groups, ("all", of)]])


def constants(of: pd.DataFrame) -> pd.DataFrame:
    """Each figure by the mean of what other trials published of that endpoint, with their spread and chance.

    Returns:
        `constant, constant_lower, constant_upper` in the order of `of`; nan where too few other trials tell.
    """
    rng, lines = np.random.default_rng(1), []
    row: Any
    for row in of.itertuples():
        others = of[(of["endpoint"] == row.endpoint) & (of["trial"] != row.trial)]
        each = others.groupby("trial")["published"].mean().to_numpy(float)
        if each.size < FEWEST:
            lines.append((math.nan,) * 3)
            continue
        size = others["n"].fillna(50).mean()
        logits = np.log((each * size + 0.5) / ((1 - each) * size + 0.5))
        drawn = expit(logits.mean() + logits.std(ddof=1) * rng.standard_normal(RESAMPLES))
        n = int(size if pd.isna(row.n) else row.n)
        lower, upper = np.percentile(rng.binomial(n, drawn) / n, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
        lines.append((float(each.mean()), float(lower), float(upper)))
    return pd.DataFrame(lines, columns=["constant", "constant_lower", "constant_upper"], index=of.index)


def interval_score(lower: Floats, upper: Floats, seen: Floats) -> Floats:
    """Width of a 95 % interval, and 40 times (two over 5 %) by how far it missed."""
    penalty = 2 / (1 - LEVEL / 100)
    missed = np.maximum(lower - seen, 0) + np.maximum(seen - upper, 0)
    return np.asarray(upper - lower + penalty * missed)


def _scored(name: str, of: pd.DataFrame) -> dict[str, Any]:
    seen, model = of["published"].to_numpy(float), of["simulated"].to_numpy(float)
    lower, upper = of["lower"].to_numpy(float), of["upper"].to_numpy(float)
    known = np.isfinite(of["constant"].to_numpy(float))
    constant = of[known]
    own = interval_score(lower, upper, seen)
    theirs = interval_score(*(constant[c].to_numpy(float) for c in ("constant_lower", "constant_upper", "published")))
    within = constant["published"].between(constant["constant_lower"] - 1e-9, constant["constant_upper"] + 1e-9)
    return {
        "group": name,
        "figures": len(of),
        "inside": int(of["inside"].sum()),
        "error": (model - seen).mean(),
        "absolute_error": np.abs(model - seen).mean(),
        "width": (upper - lower).mean(),
        "width_ratio": _width_ratio(of),
        "interval_score": own.mean(),
        "rank": float(stats.spearmanr(model, seen).statistic) if len(set(seen)) > 2 < len(set(model)) else math.nan,
        "constant_figures": int(known.sum()),
        "constant_inside": int(within.sum()),
        "constant_absolute_error": (constant["constant"] - constant["published"]).abs().mean(),
        "constant_interval_score": theirs.mean() if known.any() else math.nan,
        "paired_absolute_error": np.abs(model - seen)[known].mean() if known.any() else math.nan,
        "paired_interval_score": own[known].mean() if known.any() else math.nan,
    }


def _width_ratio(of: pd.DataFrame) -> float:
    """Median of widths over those of exact binomial intervals at what was published; nan if no n is given."""
    sized = of[of["n"].notna()]
    n = sized["n"].to_numpy(int)
    events = np.rint(sized["published"].to_numpy(float) * n).astype(int)
    exact = [proportion(int(k), int(of_n)) for k, of_n in zip(events, n, strict=True)]
    widths = np.array([e.upper - e.lower for e in exact])
    return float(np.median((sized["upper"] - sized["lower"]).to_numpy(float) / widths)) if len(sized) else math.nan
