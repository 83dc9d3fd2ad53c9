#!/usr/bin/env bash
# A rule that no rate depends on stops COPASI's deterministic run, without an exception.
#
# Guess: an assignment rule that is only looked at (here: 1 in remission, 0 otherwise) changes
#   nothing about the course of a model.
# Seen: with that rule, a nested piecewise, beside a rate that has a piecewise too and an event on
#   time, the run stops on the first day: "Internal step limit exceeded" on the error stream, two
#   rows of 21, no exception. Without the rule, or with min() in place of its outer piecewise, all
#   21 rows come, and are those of libRoadRunner with the rule.
# Versions: copasi-basico 0.92 (COPASI 4.48.311), libRoadRunner 2.10.0.
# Who meets it: those who export a model with read-outs (remission, a clinical grade) as rules.
# Way out: keep read-outs out of the model, or write min and max in place of piecewise; count rows.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "copasi-basico==0.92" "python-copasi==4.48.311" "antimony==3.3.0" \
  "libroadrunner==2.10.0" "numpy==2.4.6" "pandas==3.1.1"
cat > run.py <<'PY'
from importlib.metadata import version

import antimony
import basico
import roadrunner

MODEL = """model m
  unit substance = item; unit extent = item; unit time_unit = 86400 second
  compartment body = 1
  substanceOnly species N in body, C in body
  N = 1e12; C = 0
  pressure := piecewise(2 / (3e9 + C), C > 0, 0)
  RULE
  J0: N -> N + N; 0.1 * N * (1 - N / 2e12)
  J1: N -> ; pressure * C * N
  J2: C -> C + C; C * N / (1e9 + N)
  J3: C -> ; 0.2 * C
  E0: at (time >= 0), t0 = false: C = C + 4.2e6, N = 0.23 * N
end"""
RULES = {
    "no rule": "",
    "piecewise": "remission := piecewise(0, 0.97 < N / 1e12, piecewise(1, N / 1e12 < 0.05, 0))",
    "with min": "share := min(N / 1e12, 0.97); remission := piecewise(1, share < 0.05, 0)",
}


def sbml(rule):
    antimony.clearPreviousLoads()
    assert antimony.loadAntimonyString(MODEL.replace("RULE", rule)) >= 0, antimony.getLastError()
    return antimony.getSBMLString("m")


print("basico", version("copasi-basico"), "COPASI", version("python-copasi"), "libroadrunner", version("libroadrunner"))
rows, last = {}, {}
for name, rule in RULES.items():
    model = basico.load_model(sbml(rule))
    table = basico.run_time_course(duration=20, intervals=20, use_numbers=True, max_steps=100_000, model=model)
    rows[name], last[name] = len(table), float(table["N"].iloc[-1])
    print(f"COPASI, {name}: {rows[name]} rows, N at the end {last[name]:.6g}")
theirs = roadrunner.RoadRunner(sbml(RULES["piecewise"]))
theirs.integrator.relative_tolerance = 1e-10
theirs.timeCourseSelections = ["time", "N"]
n = float(theirs.simulate(0, 20, 21)[-1][1])
print(f"libRoadRunner, piecewise: N at the end {n:.6g}")
print("expected: 21 rows with every rule, as the rule changes no rate")
assert rows["no rule"] == rows["with min"] == 21, rows
assert abs(last["no rule"] / n - 1) < 1e-3, (last, n)
assert rows["piecewise"] < 21, "behaviour has changed: the run is whole"
PY
env/bin/python run.py 2>&1 | grep -v "WARNING\|No output file"
