#!/usr/bin/env bash
# lifelines: the row "At risk" below a curve (add_at_risk_counts, at_risk_counts=True) counts who is left after the day.
#
# Guess: the number below day t is of the patients at risk at t, whose time is t or later, as in
#   R (summary(survfit)$n.risk, survminer) and in published figures.
# Seen: patients with an event or censored on the day itself are not counted. With visits on
#   the days under which numbers stand, the row is one column ahead: 8 7 4 3 1 0 in place of
#   8 8 7 4 3 1, and the last patient, followed to the end, is not at risk at the end.
# Versions: lifelines 0.30.3, matplotlib 3.10.8.
# Who meets it: who takes patients back from such a figure (Guyot's method, meta-analyses), or
#   puts it beside one drawn in R: events on the day itself then seem to happen to patients
#   who have left.
# Way out: count durations of t or more; in a figure by lifelines take the number as one just
#   after the day.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "lifelines==0.30.3" "numpy==2.4.6" "pandas==2.3.3" "scipy==1.17.1" "matplotlib==3.10.8"
cat > run.py <<'PY'
from importlib.metadata import version
import matplotlib
matplotlib.use("Agg")
import numpy as np
from lifelines import KaplanMeierFitter
from lifelines.plotting import add_at_risk_counts

print({p: version(p) for p in ("lifelines", "matplotlib", "numpy", "pandas")})
months = np.array([3, 6, 6, 6, 9, 12, 12, 15])
event = np.array([1, 1, 1, 0, 1, 0, 1, 0])
ticks = [0, 3, 6, 9, 12, 15]
fit = KaplanMeierFitter().fit(months, event)
axes = fit.plot_survival_function()
axes.set_xlim(0, 15)
axes.set_xticks(ticks)
add_at_risk_counts(fit, ax=axes, rows_to_show=["At risk"])
shown = [int(t.get_text().split()[-1]) for t in axes.figure.axes[-1].get_xticklabels()]
before = [int((months >= t).sum()) for t in ticks]
after = [int((months > t).sum()) for t in ticks]
by_table = fit.event_table["at_risk"].reindex(ticks).tolist()
print("month                ", ticks)
print("in the figure        ", shown)
print("followed to t or more", before, "and in lifelines' own event_table:", by_table)
print("followed beyond t    ", after)
assert shown == after != before
assert by_table == before
print("seen as described")
PY
env/bin/python run.py
