#!/usr/bin/env bash
# rebop's full event record always ends with an event that is after the end time.
#
# Guess: run(init, tmax, nb_steps=0) ("all reactions are returned", "until tmax")
#   ends at the last event before tmax, so the last row is the state at tmax.
# Seen: the first event after tmax is also carried out and written, in every run.
#   Taking the last row as the final state is off by one event: a birth process
#   with mean 5 at tmax gives a mean of 6. With nb_steps=1 the mean is 5.
#   If the population dies out, a last row with time = inf is added, before which
#   nothing happened; a time-weighted mean then is nan, a time axis reaches inf.
# Versions: rebop 0.9.2 (the newest that pip gives for Python 3.11).
# Who meets it: small tumour or CAR T clones simulated exactly, where one event
#   matters and extinction (cure) is the outcome of interest.
# Way out: keep rows with time <= tmax, and carry the last kept state to tmax; or
#   ask for a fixed grid with nb_steps > 0.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "rebop==0.9.2" "numpy==2.4.6" "xarray==2026.2.0" "pandas==2.3.3"
cat > run.py <<'PY'
from importlib.metadata import version
import numpy as np
import rebop

print("rebop", version("rebop"), "numpy", np.__version__, "xarray", version("xarray"))
rng = np.random.default_rng(5)
birth = rebop.Gillespie()
birth.add_reaction(1.0, [], ["A"])               # rate 1, so the count at 5 is Poisson(5)
tmax, runs = 5.0, 4000
last_t, last_a, kept, grid = [], [], [], []
for _ in range(runs):
    d = birth.run({"A": 0}, tmax, 0, rng=rng)
    t, a = d.time.values, d.A.values
    last_t.append(t[-1]); last_a.append(a[-1]); kept.append(a[t <= tmax][-1])
    grid.append(birth.run({"A": 0}, tmax, 1, rng=rng).A.values[-1])
last_t = np.array(last_t)
print("share of runs whose last row is after tmax:", (last_t > tmax).mean())
print("mean final count: exact 5, last row %.3f, rows up to tmax %.3f, nb_steps=1 %.3f"
      % (np.mean(last_a), np.mean(kept), np.mean(grid)))
se = np.sqrt(5 / runs)
assert (last_t > tmax).all()
assert abs(np.mean(last_a) - 6) < 5 * se
assert abs(np.mean(kept) - 5) < 5 * se and abs(np.mean(grid) - 5) < 5 * se

clone = rebop.Gillespie()
clone.add_reaction(0.5, ["A"], ["A", "A"])
clone.add_reaction(1.0, ["A"], [])
d = clone.run({"A": 3}, 50.0, 0, rng=1)
t, a = d.time.values, d.A.values
print("a clone that dies out: last times", t[-3:], "counts", a[-3:])
assert np.isinf(t[-1]) and a[-1] == 0 and a[-2] == 0
with np.errstate(invalid="ignore"):
    w = np.diff(t); mean = (a[:-1] * w).sum() / w.sum()
print("time-weighted mean over the record:", mean)
assert np.isnan(mean)
print("seen as described")
PY
env/bin/python run.py
