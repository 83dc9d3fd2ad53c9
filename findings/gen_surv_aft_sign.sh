#!/usr/bin/env bash
# gen_surv's Weibull AFT generator makes data with the opposite sign of its own formula.
#
# Guess: a package that sells itself as "survival data with a known truth" makes
#   data that follow the formula in its help, and a positive AFT coefficient means
#   longer life in all its three AFT generators.
# Seen: the help of gen_aft_weibull gives S(t|X) = exp(-(t/scale)^shape * exp(-X*beta)),
#   so d log T / dX should be +beta/shape = +0.25. The data have -0.25.
#   gen_aft_log_normal has +beta = +0.5. gen_aft_log_logistic has -beta/shape.
#   So with one beta = 0.5 the three "AFT" generators give -0.25, -0.25 and +0.5:
#   other sign and other scale. simulate() reports beta = 0.5 as the truth for all.
# Versions: gen-surv 3.1.2.
# Who meets it: people who check the analysis part of a trial simulator (does the
#   fitted treatment effect come back?) against generated data.
# Way out: compare with log T on a big uncensored sample before use; read beta as a
#   log hazard ratio in the Weibull and a log odds ratio in the log-logistic
#   generator; divide by minus shape to get the AFT coefficient.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "gen-surv==3.1.2" "numpy==2.4.6" "pandas==2.3.3" "scipy==1.17.1"
cat > run.py <<'PY'
from importlib.metadata import version
import numpy as np
import gen_surv as gs

print("gen-surv", version("gen-surv"), "numpy", np.__version__)
common = dict(n=40000, beta=[0.5], model_cens="exponential", cens_par=1e9, seed=1)
shape, scale = 2.0, 3.0

def slope(df):
    keep = df["status"] == 1                     # censoring is next to nothing here
    assert keep.mean() > 0.999
    return np.polyfit(df.loc[keep, "X0"], np.log(df.loc[keep, "time"]), 1)[0]

help_text = gs.gen_aft_weibull.__doc__
assert "exp(-X*beta)" in help_text
weib = slope(gs.gen_aft_weibull(shape=shape, scale=scale, **common))
llog = slope(gs.gen_aft_log_logistic(shape=shape, scale=scale, **common))
lnor = slope(gs.gen_aft_log_normal(sigma=1.0, **common))
print("d log T / dX  Weibull      by its help %+.2f  in the data %+.3f" % (0.5 / shape, weib))
print("d log T / dX  log-logistic AFT meaning %+.2f  in the data %+.3f" % (0.5, llog))
print("d log T / dX  log-normal   AFT meaning %+.2f  in the data %+.3f" % (0.5, lnor))
truth = gs.simulate("aft_weibull", n=50, beta=[0.5], shape=shape, scale=scale,
                    model_cens="exponential", cens_par=1e9, seed=1).truth
print("truth reported for the Weibull data:", {k: truth[k] for k in truth if k.startswith("beta")})
assert abs(weib + 0.25) < 0.02
assert abs(llog + 0.25) < 0.03
assert abs(lnor - 0.50) < 0.03
print("seen as described")
PY
env/bin/python run.py
