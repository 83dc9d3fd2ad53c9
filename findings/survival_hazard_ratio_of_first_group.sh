#!/usr/bin/env bash
# survival 2.0.0 (Python): hazard_ratio(group) is of group 0 over group 1; coxph in the same package is of 1 over 0.
#
# Guess: hazard_ratio(time, status, group) with group 0 = control and 1 = treatment is the
#   hazard under treatment over that under control, as exp(coef) of coxph(Surv ~ group)
#   in the same package, and as in R and lifelines. A treatment that halves the hazard: 0.5.
# Seen: 1.9 with an interval above 1: the treatment that halves relapse seems to double it.
#   It is the lower label over the higher one, whatever they are called; with labels
#   swapped it is 0.52. The result has no name of the groups, and no text says which is
#   over which. (The size is right: it is Peto's one-step estimate of the log-rank test.)
# Versions: survival 2.0.0.
# Who meets it: two-arm trials coded 0 and 1, where p is right and the direction is wrong.
# Way out: take exp(coef) of coxph, or 1 / hazard_ratio; look at the curves.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "survival==2.0.0" "numpy==2.4.6"
cat > run.py <<'PY'
from importlib.metadata import version
import numpy as np
import survival
from survival import validation

print({p: version(p) for p in ("survival", "numpy")})
rng, n = np.random.default_rng(0), 200
group = np.repeat([0, 1], n)                                        # 1 is treated
relapse = rng.exponential(1 / np.where(group == 1, 0.5, 1.0))      # and has half the hazard
end = rng.uniform(1, 3, 2 * n)
time, status = np.minimum(relapse, end).tolist(), (relapse <= end).astype(int).tolist()

by_function = validation.hazard_ratio(time, status, group.tolist())
swapped = validation.hazard_ratio(time, status, (1 - group).tolist())
model = survival.coxph("Surv(time, status) ~ group", data={"time": time, "status": status, "group": group.tolist()})
by_cox = float(np.exp(survival.coef(model)[0]))
share = [np.mean(np.array(status)[group == g]) for g in (0, 1)]
print("relapses: control %.0f %%, treated %.0f %%" % (100 * share[0], 100 * share[1]))
print("hazard_ratio           %.2f (%.2f to %.2f), p = %.1e"
      % (by_function.hazard_ratio, by_function.ci_lower, by_function.ci_upper, by_function.p_value))
print("hazard_ratio, swapped  %.2f" % swapped.hazard_ratio)
print("exp(coef) of coxph     %.2f" % by_cox)
assert share[1] < share[0] and by_cox < 0.65
assert by_function.hazard_ratio > 1.5 and by_function.ci_lower > 1
assert abs(by_function.hazard_ratio * by_cox - 1) < 0.05
assert abs(by_function.hazard_ratio * swapped.hazard_ratio - 1) < 1e-9
assert not [name for name in dir(by_function) if "group" in name]
print("seen as described")
PY
env/bin/python run.py
