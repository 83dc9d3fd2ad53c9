"""Write docs/answer.md from the tables of its figures: `python docs/make_answer.py`. A test compares.

First, once their runs or numbers have changed: `python experiments/figures.py into=docs/images`.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from escape_abm import compose

HERE = Path(__file__).parent
RELAPSE = {
    "complete_remission": "CR",
    "cumulative_incidence_antigen_negative": "antigen-negative",
    "cumulative_incidence_antigen_positive": "antigen-positive",
}
NEGATIVE, POSITIVE = "antigen-negative", "antigen-positive"


def per_cent(share: float) -> str:
    """A share in % with the digits that it deserves."""
    return f"{100 * share:.1f}" if share < 0.1 else f"{100 * share:.0f}"


def labels() -> dict[str, str]:
    """Products of the default comparison by name."""
    return {arm.name: arm.label for arm in compose(["trial=none"]).arms}


def stored(name: str) -> pd.DataFrame:
    """The table under a figure of the documentation."""
    return pd.read_csv(HERE / "images" / f"{name}.csv")


def relapse_table() -> str:
    """Remission and relapse by product with intervals."""
    table = stored("answer_relapse").set_index(["arm", "endpoint"])
    lines = ["| product | " + " | ".join(RELAPSE.values()) + " |", "| --- " * (len(RELAPSE) + 1) + "|"]
    for arm, label in labels().items():
        cells = []
        for endpoint in RELAPSE:
            e = table.loc[(arm, endpoint)]
            cells.append(f"{per_cent(e['estimate'])} ({per_cent(e['lower'])} to {per_cent(e['upper'])})")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mechanism_table() -> str:
    """Relapses of 1,000 treated patients by what let them happen."""
    table = stored("answer_mechanisms").pivot(index="mechanism", columns="arm", values="share")
    most = table.max(axis=1)
    shown = table[most >= 0.0005].loc[most[most >= 0.0005].sort_values(ascending=False).index]
    names = labels()
    lines = ["| what let it happen | " + " | ".join(names.values()) + " |", "| --- " + "| ---: " * len(names) + "|"]
    for mechanism, row in shown.iterrows():
        lines.append(f"| {mechanism} | " + " | ".join(f"{1000 * row[arm]:.0f}" for arm in names) + " |")
    return "\n".join(lines)


def span(name: str, kind: str, where: str = "") -> str:
    """Lowest and highest relapse of one kind in a map, in %."""
    table = stored(name)
    mine = (table.query(where) if where else table).query("kind == @kind")["estimate"]
    return f"{per_cent(mine.min())} to {per_cent(mine.max())}"
