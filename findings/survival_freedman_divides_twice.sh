#!/usr/bin/env bash
# survival 2.0.0 (Python) divides by the chance of an event twice in sample_size_survival_freedman.
#
# Guess: Freedman's formula gives a number of events that depends on the hazard ratio and
#   the power only: 71 for a hazard ratio of 0.5 (Schoenfeld's, in the same package: 66).
#   Divided by the chance of an event, 40 % under control and 23 % under treatment, that
#   is 226 patients. So n_events = 71 and n_total = 226.
# Seen: n_events = 226 and n_total = 723. `n_events` is already the number of patients, and
#   `n_total` divides it by the chance of an event once more: 3.2 times the trial. With an
#   event in 10 % of controls it is 13 times. Only if nearly everybody has the event are
#   both numbers right. No warning.
# Versions: survival 2.0.0.
# Who meets it: whoever plans a trial of relapse or survival with few events; the answer
#   looks plausible, and the other formula of the package takes no chance of an event.
# Way out: events from sample_size_survival (Schoenfeld), divided by the mean chance of an
#   event by hand; simulate the planned trial.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "survival==2.0.0" "numpy==2.4.6" "scipy==1.17.1"
cat > run.py <<'PY'
import math
from importlib.metadata import version
import numpy as np
from scipy.stats import norm
from survival import validation

print({p: version(p) for p in ("survival", "numpy", "scipy")})
z = (norm.ppf(0.975) + norm.ppf(0.8)) ** 2
print("ratio  chance  Freedman: events patients   package: n_events n_total   Schoenfeld: n_events")
for ratio, chance in ((0.5, 0.999), (0.5, 0.8), (0.5, 0.4), (0.5, 0.1), (0.7, 0.4)):
    events = z * ((1 + ratio) / (1 - ratio)) ** 2
    mean = (chance + 1 - (1 - chance) ** ratio) / 2     # of an event, over both arms
    got = validation.sample_size_survival_freedman(ratio, chance)
    other = validation.sample_size_survival(ratio).n_events
    print("%5.1f  %6.3f  %16.1f %8.1f %19d %7d %21d"
          % (ratio, chance, events, events / mean, got.n_events, got.n_total, other))
    assert abs(got.n_events - math.ceil(events / mean)) <= 1          # these are the patients
    assert abs(got.n_total / got.n_events - 1 / mean) < 0.04 / mean   # and divided once more
    assert abs(other / events - 1) < 0.08                             # the two formulas agree

# The power of the trial that Freedman's formula asks for, by simulation: it is enough.
rng, n, hits, trials = np.random.default_rng(1), 113, 0, 400
rate = -math.log(1 - 0.4)                                # 40 % of controls have the event in 1 year
for _ in range(trials):
    time = np.concatenate([rng.exponential(1 / rate, n), rng.exponential(2 / rate, n)])
    event, time = (time <= 1).astype(int), np.minimum(time, 1.0)
    test = validation.logrank_test(time.tolist(), event.tolist(), [0] * n + [1] * n)
    hits += test.p_value < 0.05
print("power of 226 patients, simulated: %.2f (asked for: 0.80)" % (hits / trials))
assert hits / trials > 0.72
got = validation.sample_size_survival_freedman(0.5, 0.4)
assert (got.n_events, got.n_total) == (226, 723)
print("seen as described")
PY
env/bin/python run.py
