"""Sweeps that are killed: is the result that of an undisturbed one, byte for byte?

    python benchmarks/kills.py [--jobs 40] [--kills 50] [--configs 50]

The first part kills a sweep (the caller alone, or with all its workers) at random moments and gives the same command
again, until so many kills have hit. The second runs so many configurations on one worker and on two, undisturbed and
killed, in order and shuffled.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

SCRIPT = Path(__file__).parents[1] / "experiments" / "compare_products.py"
NAME = re.compile(r"_n\d+_[0-9a-f]{8}_[0-9a-f]{6}$")


def start(words: list[str], cwd: Path) -> subprocess.Popen[bytes]:
    """Start a sweep in a process group of its own."""
    cwd.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), "-m", *words], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def finish(words: list[str], cwd: Path) -> float:
    """Run a sweep to its end; seconds."""
    began = time.perf_counter()
    job = start(words, cwd)
    _, said = job.communicate()
    assert job.returncode == 0, said.decode()
    return time.perf_counter() - began


def kill_until(words: list[str], cwd: Path, kills: int, rng: np.random.Generator, longest: float) -> int:
    """Kill a sweep at random moments and start it again, so many times or until it is finished; how many kills hit."""
    hits = 0
    while hits < kills:
        job = start(words, cwd)
        try:
            job.wait(timeout=float(rng.uniform(0.2, longest)))
            return hits
        except subprocess.TimeoutExpired:
            if rng.random() < 0.5:
                os.killpg(job.pid, signal.SIGKILL)
            else:
                job.kill()
            job.wait()
            hits += 1
        finally:
            if job.stderr is not None:
                job.stderr.close()
    return hits


def content(folder: Path) -> dict[str, bytes]:
    """Every byte that a sweep leaves, but for times: what jobs made by what they are, and the tables of all jobs."""
    out: dict[str, bytes] = {}
    for place in sorted(folder.rglob("*")):
        inside = place.relative_to(folder).as_posix()
        head, _, rest = inside.partition("/")
        if place.is_dir() or place.name in ("provenance.json", "sweep.yaml", "jobs.csv"):
            continue
        known = NAME.search(head)
        out[f"{known[0]}/{rest}" if known else inside] = place.read_bytes()
    jobs = pd.read_csv(folder / "jobs.csv").drop(columns="seconds")
    out["jobs.csv"] = jobs.to_csv().encode()
    return out


def of_jobs(found: dict[str, bytes]) -> dict[str, bytes]:
    """The results of jobs in `content`: what does not depend on the command line, which `.hydra` keeps."""
    return {name: data for name, data in found.items() if name.startswith("_n") and ".hydra" not in name}


def the_sweep(cwd: Path) -> Path:
    """The one sweep below a folder."""
    (found,) = cwd.glob("outputs/*/*/*_sweep_*")
    return found


def check_kills(place: Path, jobs: int, kills: int, size: int = 60, seed: int = 1) -> int:
    """Kill sweeps of so many jobs until so many kills have hit; how many sweeps that took.

    Raises:
        AssertionError: a byte differs from the undisturbed sweep.
    """
    rng, words = np.random.default_rng(seed), ["comparators=none", "trial=none", f"cohort.size={size}", "workers=2"]
    words += [f"seed=range({jobs})", "trajectories.patients=2"]
    taken = finish(words, place / "straight")
    truth = content(the_sweep(place / "straight"))
    assert len(of_jobs(truth)) >= 4 * jobs
    hits = sweeps = 0
    while hits < kills:
        cwd = place / f"killed_{sweeps}"
        hits += kill_until(words, cwd, kills - hits, rng, max(4.0, taken / 3))
        finish(words, cwd)
        assert content(the_sweep(cwd)) == truth
        sweeps += 1
        shutil.rmtree(cwd)
    return sweeps


def check_orders(place: Path, configs: int, seed: int = 2, half: bool = False) -> None:
    """So many configurations on one and two workers, straight and killed, in order and shuffled.

    Of the eight ways, `half` takes four: of any two of the three all four combinations are among them.

    Raises:
        AssertionError: a byte differs.
    """
    rng = np.random.default_rng(seed)
    products = ["tandem", "bicistronic", "cd19_fmc63", "sequential", "auto1_22"]
    rates = [f"{x:.3g}" for x in np.linspace(0.06, 0.14, configs // len(products))]
    key = "biology.leukaemia.net_growth_per_day"

    def words(workers: int, shuffled: bool) -> list[str]:
        one, two = (rng.permutation(products), rng.permutation(rates)) if shuffled else (products, rates)
        fixed = ["comparators=none", "trial=none", "cohort.size=3", "trajectories.patients=1", f"workers={workers}"]
        return [*fixed, f"product={','.join(one)}", f"{key}={','.join(two)}"]

    truth: dict[str, bytes] = {}
    for workers in (1, 2):
        for shuffled in (False, True):
            for killed in (False, True):
                if half and (workers == 2) ^ shuffled ^ killed:
                    continue
                cwd, line = place / f"{workers}_{shuffled}_{killed}", words(workers, shuffled)
                if killed:
                    kill_until(line, cwd, 3, rng, 8.0)
                finish(line, cwd)
                found = of_jobs(content(the_sweep(cwd)))
                truth = truth or found
                assert len({name.split("/")[0] for name in found}) == configs
                assert found == truth
                shutil.rmtree(cwd)


def main() -> None:
    """Kill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--configs", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        sweeps = check_kills(Path(place), args.jobs, args.kills)
        taken = time.perf_counter() - began
        print(f"{args.kills} kills in {sweeps} sweeps of {args.jobs} jobs: no byte differs, {taken:.0f} s")
        began = time.perf_counter()
        check_orders(Path(place), args.configs)
        print(f"{args.configs} configurations, 8 ways each: no byte differs, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
