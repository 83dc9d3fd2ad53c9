#!/usr/bin/env bash
# GillesPy2 reads concentrations of SBML as numbers of molecules, whatever the size of the compartment.
#
# Guess: 1000 per litre in 2 litres are 2000 molecules, which decay at k N body = 0.1 per second each:
#   736 molecules (368 per litre) after 10 seconds.
# Seen: the species starts at 1000 and 135 are left, by the ODE solver and by the stochastic one: the
#   rate has the size of the compartment in it, the number has not, so it decays twice as fast. No
#   fault is reported. libRoadRunner: 368 per litre, 736 molecules.
# Versions: gillespy2 1.8.3, libRoadRunner 2.10.0.
# Who meets it: those who take a model of a public repository (mostly concentrations, few compartments
#   of size 1) for stochastic runs.
# Way out: give species in amounts (hasOnlySubstanceUnits), or all compartments the size 1.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "gillespy2==1.8.3" "python-libsbml==5.21.2" "antimony==3.3.0" \
  "libroadrunner==2.10.0" "numpy==2.4.6" "setuptools==65.5.0"
cat > run.py <<'PY'
from importlib.metadata import version

import antimony
import gillespy2
import numpy as np
import roadrunner
from gillespy2.core import import_SBML

MODEL = """model m
  unit substance = item; unit extent = item; unit volume = litre; unit time_unit = second
  compartment body = SIZE
  species N in body
  N = 1000
  k = 0.1
  J: N -> ; k * N * body
end"""


def after_ten(size):
    antimony.clearPreviousLoads()
    assert antimony.loadAntimonyString(MODEL.replace("SIZE", str(size))) >= 0, antimony.getLastError()
    xml = antimony.getSBMLString("m")
    with open("m.xml", "w") as file:
        file.write(xml)
    model, faults = import_SBML("m.xml")
    assert faults == [], faults
    model.timespan(np.linspace(0, 10, 11))
    ode = model.run(solver=gillespy2.ODESolver)["N"]
    drawn = model.run(solver=gillespy2.NumPySSASolver, seed=1)["N"]
    other = roadrunner.RoadRunner(xml)
    other.timeCourseSelections = ["[N]", "N"]
    per_litre, molecules = other.simulate(0, 10, 11)[-1]
    print(f"{size} litre: GillesPy2 starts at {ode[0]:.0f}, leaves {ode[-1]:.0f} (ODE), {drawn[-1]:.0f} (drawn); "
          f"libRoadRunner {per_litre:.0f} per litre, {molecules:.0f} molecules")
    return ode[-1], drawn[-1], per_litre


print("gillespy2", version("gillespy2"), "libroadrunner", version("libroadrunner"))
one, two = after_ten(1), after_ten(2)
print("expected of 2 litre: 736 molecules, or 368 per litre")
assert abs(one[0] - one[2]) < 1 and abs(one[1] - one[2]) < 80
assert abs(two[2] - 1000 * np.exp(-1)) < 1
assert abs(two[0] - 1000 * np.exp(-2)) < 1 and abs(two[1] - 1000 * np.exp(-2)) < 60, "behaviour has changed"
PY
env/bin/python run.py
