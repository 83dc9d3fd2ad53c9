"""Lay every published figure beside the model: `python -m docs.make_validation SWEEP`.

SWEEP is the folder of `python experiments/trial.py -m trial=...` over all trials. Writes `validation.csv`, its table of
comparisons with a first line that says which run it is, and the page made of it, `validation.md`.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from docs.make_tables import CONF, chosen, table
from escape_abm import load
from escape_abm.evidence.scores import scores
from escape_abm.inputs.trial import NOT_SHARES

HERE = Path(__file__).parent
TRIALS = sorted(p.stem for p in (CONF / "trial").glob("*.yaml") if p.stem != "none")
HEAD = """# Validation

Every figure that the trials published, beside what a trial of that size, selection and follow-up would have published,
were the model right. Written from `docs/validation.csv`; do not edit. To make it anew, about ten minutes:

```
python experiments/trial.py -m trial={trials}
python -m docs.make_validation outputs/trial/DATE/TIME_sweep_...
```

The run: {about}.

**How to read it.** "model" is the median of 1,000 trials drawn from the virtual patients, in brackets the interval that
95 % of them lie in, differences between trials included. A published figure outside it tells against the model; of a
model that is right 5 % lie outside by chance. Inside says little where the interval is wide: small trials. Which
figures were shown to the parameters, so that agreement is no test: [calibration](calibration.md). How each trial is
simulated, and what is assumed: [trials](trials.md).
"""
SCORES = """Percentage points, of shares only. *Constant*: what the other trials published of that endpoint, on average,
with their spread and the chance of this trial's size; the columns beside it are of the figures that both predict.
*Interval score*: width plus 40 times what is missed (Gneiting and Raftery 2007). *Width*: median ratio to the exact
binomial interval of the published n. *Rank*: Spearman's correlation of model and published.
"""
ONE_HAZARD = (
    "survival after relapse and without remission is one hazard each here, taken from other patients; other programmes "
    "did better or worse"
)
RESPONDERS = (
    "remission is 99 % and more in these programmes and 82 to 86 % after tisagenlecleucel, also with the same burden; "
    "one set of parameters gives one or the other"
)
GENETICS = "17 % had TP53 mutations and 43 % were Ph+, which has no effect here"
WHY: dict[tuple[str, str], str] = {
    ("cd28_ox40", "overall_survival"): f"{GENETICS}; {ONE_HAZARD}",
    ("cd28_ox40", "cumulative_incidence_relapse"): GENETICS,
    ("sequential_adult", "overall_survival"): ONE_HAZARD,
    ("b019", "overall_survival"): ONE_HAZARD,
    ("eliana", "overall_survival"): ONE_HAZARD,
    ("b019", "complete_remission"): RESPONDERS,
    ("coadministered", "complete_remission"): RESPONDERS,
    ("coadministered", "mrd_negative"): RESPONDERS,
    ("cd28_ox40", "complete_remission"): RESPONDERS,
}
"""Why a figure may lie outside, where that follows from what the model leaves out, whatever its parameters."""


def about_run(sweep: Path) -> str:
    """Which run it is, in a sentence."""
    job = Path(load(sweep).runs["folder"].iloc[0])  # jobs that were found lie elsewhere
    said = json.loads((job / "provenance.json").read_text(encoding="utf-8"))
    given = dict(o.split("=", 1) for o in said["overrides"] if "=" in o)
    biology = given.pop("biology", chosen("biology"))
    settings = said["settings"]
    others = ", ".join(f"`{k}={v}`" for k, v in given.items() if k.startswith(("biology.", "clinic", "engine")))
    about = f"{settings['cohort']['size']} virtual patients of each trial, biology `{biology}`, seed {settings['seed']}"
    return about + (f", {others}" if others else "")


def shown(value: float, row: Any) -> str:
    """A share in %, a median as a number; nothing where there is none."""
    if not math.isfinite(value):
        return ""
    if row.endpoint in NOT_SHARES:
        return f"{value:,.0f}" if 100 <= value < 1e6 else f"{value:.3g}"
    return f"{100 * value:.1f}" if row.n >= 100 else f"{100 * value:.0f}"


def with_interval(estimate: float, lower: float, upper: float, row: Any) -> str:
    """An estimate with its interval in brackets."""
    if not math.isfinite(lower):
        return shown(estimate, row)
    return f"{shown(estimate, row)} ({shown(lower, row)} to {shown(upper, row)})"


def what(row: Any) -> str:
    """The endpoint, by which month, of whom."""
    month = f", {row.month:g} months" if math.isfinite(row.month) else ""
    return f"`{row.endpoint}`{month}" + ("" if row.stratum == "all" else f" ({row.stratum.replace('_', ' ')})")


def scored(found: pd.DataFrame) -> str:
    """How good the predictions are by group of endpoints, beside a constant."""
    lines = []
    for row in scores(found.assign(inside=found["inside"].astype("boolean"))).itertuples():
        kinds = ("absolute_error", "interval_score")
        each = [getattr(row, f"{of}_{kind}") for kind in kinds for of in ("paired", "constant")]
        points = ["–" if math.isnan(value) else f"{100 * value:.0f}" for value in each]
        rank = "–" if math.isnan(row.rank) else f"{row.rank:.2f}"
        first = row.group, f"{row.inside} of {row.figures}", f"{100 * row.error:+.0f}"
        lines.append((*first, *points, f"{row.width_ratio:.1f}", rank))
    heads = "endpoints, inside, error, absolute error, of a constant, interval score, of a constant, width, rank"
    return table(heads, lines)


def page(found: pd.DataFrame, about: str) -> str:
    """The report."""
    compared = found[found["inside"].notna()].assign(inside=lambda t: t["inside"].astype(bool))
    text = [HEAD.format(trials=",".join(TRIALS), about=about)]
    text.append(f"\n**{compared['inside'].sum()} of {len(compared)} figures lie inside.**\n\n")
    alone = compared["published"].between(compared["chance_lower"] - 1e-9, compared["chance_upper"] + 1e-9)
    text.append(
        f"By chance in a trial of that size alone, without differences between trials that no parameter explains, "
        f"{alone.sum()} would.\n\n{SCORES}\n"
    )
    text.append(scored(found))
    text.append("\n")
    counts = compared.groupby("trial", sort=False)["inside"].agg(["sum", "size"])
    text.append(
        table("trial, inside, of", [(f"[{t}](#{t})", str(n["sum"]), str(n["size"])) for t, n in counts.iterrows()])
    )
    text.append(
        "\n## Outside, and why\n\nA dash: nothing that the model leaves out is known to explain it. It may be the "
        "parameters ([calibration](calibration.md)).\n\n"
    )
    lines = []
    for row in compared[~compared["inside"]].itertuples():
        model = with_interval(row.simulated, row.lower, row.upper, row)
        why = WHY.get((row.trial, row.endpoint), "–")
        lines.append((row.trial, what(row), shown(row.published, row), model, why))
    text.append(table("trial, endpoint, published, model, why", lines))
    for trial, rows in found.groupby("trial", sort=False):
        text.append(f"\n## {trial}\n\nShares in %.\n\n")
        lines = []
        for row in rows[rows["inside"].notna()].itertuples():
            published = with_interval(row.published, row.published_lower, row.published_upper, row)
            model = with_interval(row.simulated, row.lower, row.upper, row)
            n = f"{row.n:.0f}" if math.isfinite(row.n) else ""
            verdict = "inside" if row.inside in (True, "True") else "**outside**"
            lines.append((what(row), published, n, model, verdict, row.source))
        text.append(table("endpoint, published (95 %), n, model (95 % of trials), result, source", lines))
        left = rows[rows["inside"].isna()]
        if len(left):
            said = [f"{what(r)}: {r.note}" if isinstance(r.note, str) else what(r) for r in left.itertuples()]
            text.append("\nNot compared: " + "; ".join(said) + ".\n")
    return "".join(text)


def read(place: Path) -> tuple[pd.DataFrame, str]:
    """The table, and which run it is."""
    with place.open(encoding="utf-8") as file:
        about = file.readline().removeprefix("# ").rstrip("\n")
        return pd.read_csv(file), about


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "comparison.csv").is_file():
        raise SystemExit(f"{__doc__}\nGive the folder of a finished sweep: it holds comparison.csv.")
    sweep = Path(sys.argv[1])
    place = HERE / "validation.csv"
    comparison = pd.read_csv(sweep / "comparison.csv")
    place.write_text(f"# {about_run(sweep)}\n" + comparison.to_csv(index=False, float_format="%.4g"), encoding="utf-8")
    (HERE / "validation.md").write_text(page(*read(place)), encoding="utf-8")
