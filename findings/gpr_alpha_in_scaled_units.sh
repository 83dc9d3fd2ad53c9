#!/usr/bin/env bash
# scikit-learn GPR: with normalize_y=True the noise variance alpha is in scaled units, not in those of y.
#
# Guess: alpha is "the variance of additional Gaussian measurement noise on the
#   training observations" (the help), so with replicate runs one passes their
#   variance; normalize_y=True is undone before predictions come back, so it cannot
#   change what alpha means.
# Seen: y is scaled to unit variance, alpha is not. Counts with noise sd 50 and
#   alpha=2500: the emulator takes the noise for 50 times the spread of all data and
#   falls back to the mean, 390 cells below the truth with sd 340 instead of 30.
#   For outputs much smaller than 1 (a fraction) the same slip works the other way:
#   the noise is taken for nought and the emulator runs nearly through every point
#   and calls itself sure. No warning.
# Versions: scikit-learn 1.9.1; bayesian-optimization 3.4.0 sets normalize_y=True
#   itself, so alpha given through set_gp_params meets the same.
# Who meets it: everyone who emulates a stochastic simulator and gives the Monte
#   Carlo variance of each design point as alpha.
# Way out: pass alpha = variance / y.std()**2, or scale y yourself.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "scikit-learn==1.9.1" "bayesian-optimization==3.4.0" "numpy==2.4.6" "scipy==1.17.1"
cat > run.py <<'PY'
from importlib.metadata import version
import warnings
import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from bayes_opt import BayesianOptimization

print({p: version(p) for p in ("scikit-learn", "numpy", "bayesian-optimization")})
warnings.simplefilter("error")
x = np.linspace(0, 1, 12)[:, None]
at = np.array([[0.5]])

def by_hand(y, noise):
    """Textbook GP: prior N(mean(y), var(y) * RBF(0.3)), noise variance in units of y."""
    cov = lambda p, q: y.var() * np.exp(-0.5 * ((p - q.T) / 0.3) ** 2)
    K = cov(x, x) + noise * np.eye(len(x))
    w = np.linalg.solve(K, cov(x, at))
    mean = y.mean() + (w.T @ (y - y.mean())).item()
    return mean, np.sqrt((cov(at, at) - cov(at, x) @ w).item())

def sk(y, alpha):
    kernel = ConstantKernel(1.0, "fixed") * RBF(0.3, "fixed")
    gp = GaussianProcessRegressor(kernel, alpha=alpha, normalize_y=True, optimizer=None).fit(x, y)
    m, s = gp.predict(at, return_std=True)
    resid = y - gp.predict(x)
    return m.item(), s.item(), resid.std()

for name, centre, size, sd in (("cell count", 5000.0, 1000.0, 50.0), ("fraction", 0.05, 0.01, 0.005)):
    rng = np.random.default_rng(0)
    y = centre + size * np.sin(3 * x[:, 0]) + rng.normal(0, sd, len(x))
    truth = centre + size * np.sin(1.5)
    hand = by_hand(y, sd**2)
    naive, right = sk(y, sd**2), sk(y, sd**2 / y.var())
    print("%-10s truth %.4f | by hand %.4f sd %.4f | alpha=var %.4f sd %.4f | alpha=var/y.var() %.4f sd %.4f"
          % (name, truth, *hand, *naive[:2], *right[:2]))
    assert np.allclose(hand, right[:2], rtol=1e-6)
    if name == "cell count":
        assert naive[1] > 8 * hand[1] and truth - naive[0] > 300
    else:
        print("           spread of data about the emulator: alpha=var %.5f, right %.5f, true noise %.5f"
              % (naive[2], right[2], sd))
        assert naive[1] < 0.5 * hand[1] and naive[2] < 0.6 * right[2]
opt = BayesianOptimization(lambda p: p, {"p": (0, 1)}, verbose=0)
print("bayesian-optimization, normalize_y:", opt._gp.normalize_y)
assert opt._gp.normalize_y is True
print("seen as described")
PY
env/bin/python run.py
