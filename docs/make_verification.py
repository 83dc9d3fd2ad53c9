"""Run every exact law once and write what came of it: `python -m docs.make_verification` (a minute).

The laws, their settings, seeds and tolerances are those of `tests/test_verification.py`. Writes `verification.csv` and
the page made of it, `verification.md`.
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from scipy import stats

from docs.make_tables import first_words, table
from tests import test_verification as laws

HERE = Path(__file__).parent
HEAD = """# Verification

Does the simulator do what the law says? Each exact law of branching processes, beside the engine run as users run it.
Written by `python -m docs.make_verification` from the functions that the tests use (`tests/test_verification.py`; the
theory, which knows nothing of the rest of the package, is `escape_abm/law/exact.py`); do not edit. The numbers:
`docs/verification.csv`.

**How to read it.** z is the difference from theory in standard errors, which are theory's too. A law holds if |z| is
below its limit; if the engine is right that fails by chance in one of {alarms:,} runs of a line. The seed is fixed, so
a line that holds keeps holding until the code changes. Each law is tested again with one rate {wrong:.0%} too large in
the simulation alone, and must then reject. What the checks cannot see is told in
[accuracy](accuracy.md#what-these-checks-cannot-see).
"""


def setting(true: laws.Setting) -> str:
    """Rates of a setting that are not zero."""
    return ", ".join(f"{name} {value:g}" for name, value in vars(true).items() if value)


def checked() -> pd.DataFrame:
    """A line for each law: what is tested, in which setting, what came out."""
    lines = []
    for name, law in laws.LAWS.items():
        score = law.score(law.true)
        lines.append((name, first_words(law.score), setting(law.true), score.n, *score[:3], score.z, laws.LIMIT))
    both = float(stats.norm.isf(laws.FALSE_ALARM / 4))  # mean and variance share the false alarms
    for case in laws.RARE:
        n, p, draws = case.values
        for moment, z in zip(("mean", "variance"), laws.draws_z(n, p, 1.0, draws), strict=True):
            what = f"{n:g} cells, chance {p:g}"
            statement = f"The {moment} of a number that is drawn is that of the binomial law."
            lines.append((f"rare draws: {case.id}", statement, what, draws, *[math.nan] * 3, z, both))
    columns = ["law", "statement", "setting", "n", "observed", "expected", "standard_error", "z", "limit"]
    return pd.DataFrame(lines, columns=columns)


def page(found: pd.DataFrame) -> str:
    """The report."""
    head = HEAD.format(alarms=round(1 / laws.FALSE_ALARM), wrong=laws.WRONG - 1)
    lines = []
    for row in found.itertuples():
        numbers = [f"{x:.7g}" if math.isfinite(x) else "" for x in (row.observed, row.expected)]
        numbers.append(f"{row.standard_error:.2g}" if math.isfinite(row.standard_error) else "")
        verdict = "holds" if abs(row.z) < row.limit else "**fails**"
        what = f"{row.law}: {row.statement}"
        lines.append((what, row.setting, f"{row.n:g}", *numbers, f"{row.z:+.2f}", f"{row.limit:.2f}", verdict))
    columns = "law and what is tested, setting, replicates, observed, theory, standard error, z, limit, result"
    failed = (found["z"].abs() >= found["limit"]).sum()
    result = f"\n**{len(found) - failed} of {len(found)} lines hold.** Rates are per day, hits per division.\n\n"
    return head + result + table(columns, lines)


if __name__ == "__main__":
    found = checked()
    found.to_csv(HERE / "verification.csv", index=False, float_format="%.10g")
    (HERE / "verification.md").write_text(page(pd.read_csv(HERE / "verification.csv")), encoding="utf-8")
