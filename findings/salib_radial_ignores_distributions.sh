#!/usr/bin/env bash
# SALib's radial samplers drop the problem's distributions without a word.
#
# Guess: every SALib sampler honours "dists" in the problem, as sobol, latin,
#   fast and shapley do; a sampler that cannot would raise.
# Seen: radial_sobol.sample returns raw points of the unit cube. It calls the
#   scaling helper and throws the result away. (With plain bounds the helper
#   works in place, so all is well and nobody notices.)
#   radial_mc.sample reads "mean, sd" as "lower, upper" of a uniform.
#   finite_diff.sample scales well, then clips each changed value to
#   [mean, sd], so the changed column is one constant.
#   No warning in any of the three. With sobol_jansen the indices are wrong,
#   and with radial_mc the order of the two parameters is turned round.
# Versions: SALib 1.6.0.
# Who meets it: people who screen a cell-therapy simulator with radial designs
#   (few model runs) and give lognormal expansion or killing rates.
# Way out: check X.min(0), X.max(0) before the long runs; use sobol.sample or
#   shapley.sample; or sample on [0, 1] bounds and apply scipy.stats ppf yourself.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "SALib==1.6.0" "numpy==2.4.6" "scipy==1.17.1" "pandas==2.3.3"
cat > run.py <<'PY'
import warnings
from importlib.metadata import version
import numpy as np
from SALib.sample import sobol, finite_diff
from SALib.sample.radial import radial_mc, radial_sobol
from SALib.analyze import sobol as sobol_an, sobol_jansen

print("SALib", version("SALib"), "numpy", np.__version__)

def problem():
    return {"num_vars": 2, "names": ["expansion", "killing"],
            "bounds": [[3.0, 0.5], [10.0, 2.0]], "dists": ["lognorm", "norm"]}

model = lambda X: X.sum(axis=1)
v1 = (np.exp(0.5**2) - 1) * np.exp(2 * 3.0 + 0.5**2)
v2 = 2.0**2
exact = np.array([v1, v2]) / (v1 + v2)
print("exact total indices            ", exact.round(3))

N = 2048
with warnings.catch_warnings():
    warnings.simplefilter("error", UserWarning)     # a warning would stop the run
    X = sobol.sample(problem(), N, seed=1)
    st = sobol_an.analyze(problem(), model(X), seed=1)["ST"]
    print("sobol.sample        ST         ", st.round(3), "means", X.mean(0).round(2))
    assert np.allclose(st, exact, atol=0.02)

    Xr = radial_sobol.sample(problem(), N, seed=1)
    st_r = np.array(sobol_jansen.analyze(problem(), model(Xr), N, seed=1)["ST"])
    print("radial_sobol.sample ST         ", st_r.round(3), "range", Xr.min(), Xr.max())
    assert Xr.min() >= 0 and Xr.max() <= 1           # never left the unit cube
    assert np.allclose(st_r, 0.5, atol=0.03)

    Xm = radial_mc.sample(problem(), N, seed=1)
    st_m = np.array(sobol_jansen.analyze(problem(), model(Xm), N, seed=1)["ST"])
    print("radial_mc.sample    ST         ", st_m.round(3), "min", Xm.min(0).round(2), "max", Xm.max(0).round(2))
    assert Xm[:, 0].min() >= 0.5 and Xm[:, 0].max() <= 3.0
    assert Xm[:, 1].min() >= 2.0 and Xm[:, 1].max() <= 10.0
    assert st_m[0] < 0.15 and st_m[1] > 0.85         # order turned round

    Xf = finite_diff.sample(problem(), 256)
    base, changed = Xf[0::3, 0], Xf[1::3, 0]
    print("finite_diff.sample  base", base.min().round(2), "to", base.max().round(2),
          "| changed values", np.unique(changed))
    assert base.max() > 50 and np.unique(changed).tolist() == [3.0]
print("seen as described")
PY
env/bin/python run.py
