#!/usr/bin/env bash
# greenwood's mixture cure model reports a standard error for the cure fraction that is below the possible.
#
# Guess: the standard errors come from a bootstrap of patients, so the one of the
#   cure intercept is near the spread over repeated trials, and never below that of a
#   logistic fit to the true cure states, which knows more.
# Seen: the bootstrap draws events and censored patients apart, so every resample has
#   exactly the same number of relapses. The cure fraction, which is mostly that
#   number, hardly moves. The reported standard error of the intercept is about 0.6
#   of the real spread, and below the bound of the fit with known cure states.
#   z and p are then wrong too. No warning. (The estimates themselves are right.)
# Versions: greenwood 0.8.0.
# Who meets it: CAR T trials with a plateau; "cured share 60 %, narrow interval" is
#   the headline number.
# Way out: bootstrap whole patients yourself around fit(), or compare with
#   lifelines' MixtureCureFitter.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "greenwood==0.8.0" "formulaic==1.2.2" "numpy==2.4.6" "pandas==2.3.3" "scipy==1.17.1"
cat > run.py <<'PY'
import os
os.environ.setdefault("OMP_NUM_THREADS", "1")
import inspect, time
from importlib.metadata import version
import numpy as np
import pandas as pd
import greenwood as gw

print({p: version(p) for p in ("greenwood", "numpy", "pandas")})
n, coef = 200, np.array([0.3, 0.8])

def trial(rng):
    x = np.arange(n) % 2
    sick = rng.random(n) < 1 / (1 + np.exp(-(coef[0] + coef[1] * x)))
    t = np.where(sick, rng.exponential(1 / (0.8 * np.exp(0.5 * x))), np.inf)
    c = rng.uniform(8, 20, n)                 # long follow-up: nearly every relapse is seen
    return pd.DataFrame({"time": np.minimum(t, c), "event": (t <= c).astype(int), "x": x})

def fit(df, nboot):
    return gw.MixtureCure().fit("Surv(time, event) ~ x", cure=["x"], data=df, nboot=nboot)

t0 = time.time()
rng = np.random.default_rng(1)
est = np.array([fit(trial(rng), 2).cure_coef_ for _ in range(60)])
spread = est[:, 0].std(ddof=1)
reported = np.array([fit(trial(rng), 60).cure_se_[0] for _ in range(2)])
p0 = 1 / (1 + np.exp(-coef[0]))
bound = 1 / np.sqrt(n / 2 * p0 * (1 - p0))    # logistic fit to the true states, group x = 0

# whole-patient bootstrap on one trial
df = trial(rng)
own = np.std([fit(df.iloc[rng.integers(0, n, n)].reset_index(drop=True), 2).cure_coef_[0]
              for _ in range(40)], ddof=1)
print("intercept: mean %.2f (true %.2f)" % (est[:, 0].mean(), coef[0]))
print("spread over 60 trials          %.3f" % spread)
print("bound, cure states known       %.3f" % bound)
print("whole-patient bootstrap        %.3f" % own)
print("reported standard errors      ", reported.round(3))
print("seconds %.0f" % (time.time() - t0))
assert abs(est[:, 0].mean() - coef[0]) < 0.12
assert spread > 0.8 * bound and own > 0.8 * bound
assert (reported < 0.85 * bound).all() and (reported < 0.8 * spread).all()
print("seen as described")
PY
env/bin/python run.py
