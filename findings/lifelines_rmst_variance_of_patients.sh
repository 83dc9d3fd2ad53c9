#!/usr/bin/env bash
# lifelines: restricted_mean_survival_time(..., return_variance=True) returns the variance of patients, not of the mean.
#
# Guess: the variance that comes with an estimate is that of the estimate, so its root is the
#   standard error of the restricted mean, and falls as 1 / sqrt(n), as in R's survRM2.
# Seen: it is the variance between patients of the time until relapse or the end: with 50, 200
#   and 800 patients its root is 4.6, 4.3 and 4.4 months, while restricted means of repeated
#   trials spread by 0.63, 0.32 and 0.16. An interval made of it is 27 times too wide with
#   800 patients. The docstring mentions neither the argument nor what it gives.
# Versions: lifelines 0.30.3.
# Who meets it: who compares restricted mean survival of two arms whose curves cross (a
#   transplant, a late plateau) and takes the root of the variance as standard error.
# Way out: resample whole patients.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "lifelines==0.30.3" "numpy==2.4.6" "pandas==2.3.3" "scipy==1.17.1"
cat > run.py <<'PY'
import inspect
import warnings
from importlib.metadata import version
import numpy as np
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time as rmst

warnings.filterwarnings("ignore", message="The maximum number of subdivisions")  # it integrates steps by quadrature
print({p: version(p) for p in ("lifelines", "numpy", "pandas", "scipy")})
rng, month = np.random.default_rng(1), 12.0

def trial(n):
    relapse = np.where(rng.random(n) < 0.3, np.inf, rng.exponential(8.0, n))    # 30 % are cured
    end = rng.uniform(9, 30, n)
    return KaplanMeierFitter().fit(np.minimum(relapse, end), relapse <= end)

def mean(fit):                                                                  # the area under the steps, exactly
    curve = fit.survival_function_.iloc[:, 0]
    days = np.append(curve.index[curve.index < month], month)
    return float(np.sum(np.diff(days) * curve.to_numpy()[: len(days) - 1]))

print("patients   root of the variance   spread of the mean over trials")
roots, spreads = {}, {}
for n, trials in ((50, 200), (200, 200), (800, 200)):
    fit = trial(n)
    found, variance = rmst(fit, month, return_variance=True)
    assert abs(found - mean(fit)) < 0.01
    roots[n] = variance ** 0.5
    spreads[n] = float(np.std([mean(trial(n)) for _ in range(trials)], ddof=1))
    print("%8d %22.2f %32.2f" % (n, roots[n], spreads[n]))
assert abs(roots[800] / roots[50] - 1) < 0.25                 # does not fall with the number of patients
assert 3.2 < spreads[50] / spreads[800] < 5                   # which a standard error does: 4
assert roots[800] / spreads[800] > 20
assert "return_variance" in inspect.signature(rmst).parameters and "variance" not in rmst.__doc__.split("Parameters")[1]
print("seen as described")
PY
env/bin/python run.py
