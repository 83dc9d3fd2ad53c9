"""Models are let go of: three hundred of them need no more memory than fifty."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from escape_abm import compose
from escape_abm.inputs.cohort import sample_patient
from escape_abm.patient.course import simulate

settings = compose(["engine=cells", "engine.world=" + sys.argv[1], "engine.sample_cells=1000", "comparators=none"])
settings = settings.sampled()

def run(i):
    patient = sample_patient(i, 1, settings.cohort, settings.biology)
    simulate(patient, settings.product, settings.regimen, settings.clinic, follow_up_days=3, engine=settings.engine)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

for i in range(50):
    run(i % 50)
first = peak()
for i in range(250):
    run(i % 50)
print(first, peak())
"""


@pytest.mark.slow
@pytest.mark.parametrize("world", ["mixed", "grid"])
def test_three_hundred_models_need_no_more_than_fifty(world: str) -> None:
    """Mesa 3.3 keeps every model for ever (in a counter of its agents); ours does not let it."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, world], check=True, capture_output=True, text=True)
    first, last = map(int, done.stdout.split())
    assert last < 1.1 * first
