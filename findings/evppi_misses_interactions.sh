#!/usr/bin/env bash
# Value of information: the default EVPPI of two packages is near zero where the exact value is large.
#
# Guess: heormodel's evppi ("value jointly" a parameter group, default spline) and
#   voiage's evppi (its help cites the nonparametric method of Strong et al. 2014)
#   fit a flexible surface; and the EVPPI of all parameters equals the EVPI.
# Seen: heormodel's spline is additive. For a net benefit a*b (response rate times
#   gain, both centred) the exact group EVPPI is 1/pi = 0.318; the default gives
#   about 0.03, method="gp" about 0.32. The EVPPI of all uncertain parameters comes
#   out at half of the EVPI, though the two are equal by definition.
#   voiage's default is a straight line. For net benefit a^2 - 1 (harm when a dose or
#   an expansion is average, gain at both ends) the exact EVPPI is 0.484; it gives 0.00.
#   No warning in either; "not worth a study" is then read off the table.
# Versions: heormodel 0.7.4, voiage 0.2.1 (the newest that pip gives for Python 3.11).
# Who meets it: trial designers who feed simulator output (dose x expansion x burden
#   interact by construction) into a value-of-information package.
# Way out: method="gp" in heormodel, your own regression_model in voiage; always
#   check that EVPPI(all parameters) is close to EVPI, and EVPPI(group) to a nested
#   Monte Carlo for one case.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "heormodel==0.7.4" "voiage==0.2.1" "numpy==2.4.6" "pandas==2.3.3" "scikit-learn==1.9.1" "scipy==1.16.3"
cat > run.py <<'PY'
import os
os.environ.setdefault("OMP_NUM_THREADS", "1")
import warnings
from importlib.metadata import version
import numpy as np
import pandas as pd
from heormodel.models import Outcomes
from heormodel.voi import evppi as he_evppi
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import voiage
    from voiage.schema import ParameterSet

print({p: version(p) for p in ("heormodel", "voiage", "numpy", "scikit-learn")})
rng = np.random.default_rng(0)
n = 4000
a, b, c = rng.normal(size=n), rng.normal(size=n), 0.5 * rng.normal(size=n)
draws = pd.DataFrame({"a": a, "b": b, "c": c}, index=pd.RangeIndex(n, name="iteration"))
zero = np.zeros(n)

def outcomes(effect):
    return Outcomes.from_wide(pd.DataFrame({"old": zero, "new": zero}),
                              pd.DataFrame({"old": zero, "new": effect}))

def evpi(x):
    return np.maximum(x, 0).mean() - max(0.0, x.mean())

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    out = outcomes(a * b + c)
    spline = he_evppi(out, draws, ["a", "b"], wtp=1.0)
    every = he_evppi(out, draws, ["a", "b", "c"], wtp=1.0)
said = [w for w in said if issubclass(w.category, UserWarning)]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    gp = he_evppi(out, draws, ["a", "b"], wtp=1.0, method="gp", seed=0)
print("heormodel, a*b: exact %.3f, plain sample mean %.3f, default spline %.3f, gp %.3f"
      % (1 / np.pi, evpi(a * b), spline, gp))
print("heormodel, all parameters: %.3f, EVPI from the same draws %.3f" % (every, evpi(a * b + c)))
assert not said
assert abs(evpi(a * b) - 1 / np.pi) < 0.03 and abs(gp - 1 / np.pi) < 0.06
assert spline < 0.08 and every < 0.65 * evpi(a * b + c)

nb = np.column_stack([zero, a**2 - 1 + c])
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    ps = ParameterSet.from_numpy_or_dict({"a": a, "c": c})
    line = voiage.evppi(nb, ps, ["a"])
said = [w for w in said if issubclass(w.category, UserWarning)]
exact = 2 * np.exp(-0.5) / np.sqrt(2 * np.pi)
print("voiage, a^2-1: exact %.3f, plain sample mean %.3f, default %.4f" % (exact, evpi(a**2 - 1), line))
assert not said
assert abs(evpi(a**2 - 1) - exact) < 0.03 and line < 0.03
print("seen as described")
PY
env/bin/python run.py
