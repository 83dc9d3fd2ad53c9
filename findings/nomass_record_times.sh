#!/usr/bin/env bash
# NoMaSS records each time point one event late, on a time grid other than the one it plots.
#
# Guess: run_simulations(Tend, timepoints=n) gives the state at n even times from 0
#   to Tend (the package's own plots say so); a count at time t is the state left by
#   the last event before t.
# Seen: (1) the recorded times are Tend*i/n: Tend itself is not among them, while
#   its own plots use linspace(0, Tend, n) for the same columns. With 5 points over
#   10 days the column drawn at day 10 is day 8. (2) A row is filled when the clock has
#   already passed its time, after that event: it holds the state left by the first event
#   after the time. For arrivals at 1 per day the mean at days 2 and 4 is 3 and 5.
#   For 20 dying cells at the half-way point the mean is one cell too few.
# Versions: nomass 1.0.0.
# Who meets it: waiting times that are not exponential (synapse, division with a fixed
#   lag) are the point of this package for CAR T models; small counts and time to
#   clearance are where one event and a fifth of the horizon count.
# Way out: take event times in the on_reaction hook; or use many time points, the true
#   grid above, and counts so large that one event does not matter.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "nomass==1.0.0" "numpy==2.4.6" "scipy==1.16.3" "matplotlib==3.11.2"
cat > run.py <<'PY'
from importlib.metadata import version
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from nomass import Gillespie_simulation, Reaction_channel

print("nomass", version("nomass"), "numpy", np.__version__)
n, Tend, runs = 5, 10.0, 4000
plotted, true_grid = np.linspace(0, Tend, n), np.arange(n) * Tend / n

def mean(channel, start, Tend, n):
    sim = Gillespie_simulation({"A": start}, [channel], Tend=Tend, N_simulations=runs,
                               timepoints=n, seed=1)
    return sim.run_simulations(verbose=False)[:, :, 0].mean(axis=0), sim

got, sim = mean(Reaction_channel("0 -> A", rate=1.0), 0, Tend, n)
print("arrivals, times as plotted      ", plotted)
print("arrivals, exact means for those ", plotted)
print("arrivals, means seen            ", got.round(2))
print("arrivals, true grid Tend*i/n    ", true_grid)
se = np.sqrt(true_grid[1:] / runs)
late = true_grid[1:] + 1 - np.exp(-(Tend - true_grid[1:]))   # one more, if any event is left
print("arrivals, exact if one event late", np.r_[0, late].round(2))
assert (np.abs(got[1:] - late) < 4 * se).all()

# what the package itself draws these columns against
plt.close("all")
sim.N_simulations = 1
sim.run_simulations(verbose=False)
sim.plot_populations()
drawn = [l.get_xdata() for f in map(plt.figure, plt.get_fignums()) for a in f.axes for l in a.lines]
ends = {float(np.max(x)) for x in drawn if len(x) == n}
print("last time drawn by the package  ", ends)
assert ends == {Tend}

m, T = 100, 2.0
cells, _ = mean(Reaction_channel("A -> 0", rate=1.0), 20, T, m)
i = m // 2
exact = 20 * np.exp(-T * i / m)
print("20 dying cells at time 1: exact %.2f, seen %.2f" % (exact, cells[i]))
assert 0.7 < exact - cells[i] < 1.2
print("seen as described")
PY
env/bin/python run.py
