"""A sweep of many short runs: what each costs, everything included.

    python benchmarks/short_runs.py [runs]

Each run is one patient for one year under one product. Wall time is that of the whole command, from the start of Python
to the joint tables. CPU time over the number of workers is what it would be on a machine that does nothing else.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "experiments" / "compare_products.py"
WORKERS = 2


def main(runs: int = 1000) -> None:
    """Run, print."""
    words = ["-m", "cohort.size=1", "comparators=none", "trial=none", f"seed=range({runs})", f"workers={WORKERS}"]
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        subprocess.run([sys.executable, str(SCRIPT), *words], cwd=place, check=True, capture_output=True)
        wall = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime
        print(f"{runs} runs on {WORKERS} workers: {wall:.1f} s, {1e3 * wall / runs:.1f} ms each", end="")
        print(f" (CPU {cpu:.1f} s, {1e3 * cpu / WORKERS / runs:.1f} ms each on an idle machine)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
