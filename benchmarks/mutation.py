"""How many small faults the tests notice: random mutants of the law, the draws, endpoints and statistics.

pip install cosmic-ray && python benchmarks/mutation.py [--sample 40] [--seed 19] [--only law] [--into FOLDER]

Each mutant changes one operator, comparison, number or constant in a copy of the project and runs the narrow tests of
its module; `--sample 0` takes all mutants (days of one core). Compiled code runs as plain Python. The sessions that
remain in FOLDER can be looked at with `cr-report`; `docs/mutation.md` says what was found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from scipy import stats

ROOT = Path(__file__).parents[1]
PLAIN = "env NUMBA_DISABLE_JIT=1"
GROUPS: dict[str, tuple[list[str], str, str]] = {
    "law": (["law/hazards", "law/rates", "law/states"], PLAIN, "tests/law"),
    "chance": (["engines/chance"], PLAIN, "tests/engines/test_chance.py -m 'not statistical'"),
    "endpoints": (["patient/endpoints"], "", "tests/patient/test_endpoints.py"),
    "survival": (
        ["trials/survival"], "", "tests/trials/test_survival.py tests/trials/test_comparison.py -k 'not experiment'"
    ),
    "estimates": (
        ["trials/readings", "trials/estimates"], "",
        "tests/trials/test_comparison.py tests/trials/test_virtual_trial.py tests/evidence/test_posterior_draws.py "
        "-m 'not statistical' -k 'not experiment and not route and not courses'",
    ),
}  # fmt: skip
"""Modules, how Python is begun, and the tests that should notice."""


def thinned(session: Path, sample: int, seed: int) -> tuple[int, int]:
    """Leave a random sample of the mutants of a session; how many there were and are."""
    with sqlite3.connect(session) as base:
        every = sorted(line[0] for line in base.execute("SELECT job_id FROM work_items"))
        kept = set(random.Random(seed).sample(every, min(sample or len(every), len(every))))
        for table in ("mutation_specs", "work_items"):
            base.executemany(f"DELETE FROM {table} WHERE job_id = ?", [(i,) for i in every if i not in kept])
    return len(every), len(kept)


def try_group(name: str, copy: Path, into: Path, sample: int, seed: int) -> tuple[int, int]:
    """Run the tests of a group against its mutants; how many were noticed, of how many."""
    modules, how, tests = GROUPS[name]
    files = [f"escape_abm/{module}.py" for module in modules if (ROOT / "escape_abm" / f"{module}.py").exists()]
    command = f"{how} {sys.executable} -m pytest -q -x -p no:cacheprovider -W ignore::RuntimeWarning {tests}".strip()
    config, session = into / f"{name}.toml", into / f"{name}.sqlite"
    config.write_text(
        f"[cosmic-ray]\nmodule-path = {files}\ntimeout = 120.0\nexcluded-modules = []\n"
        f"test-command = {json.dumps(command)}\n[cosmic-ray.distributor]\nname = 'local'\n"
    )
    tool = str(Path(sys.executable).with_name("cosmic-ray"))
    here = os.environ | {"PYTHONPATH": str(copy)}  # the copy before the installed package
    if subprocess.run(command, shell=True, cwd=copy, env=here, stdout=subprocess.DEVNULL, check=False).returncode:
        raise SystemExit(f"{name}: its tests fail without any mutant; mend that first: {command}")
    subprocess.run([tool, "init", str(config), str(session)], cwd=copy, env=here, check=True)
    all_of_them, kept = thinned(session, sample, seed)
    print(f"{name}: {kept} of {all_of_them} mutants", flush=True)
    subprocess.run([tool, "exec", str(config), str(session)], cwd=copy, env=here, check=True)
    with sqlite3.connect(session) as base:
        survivors = base.execute("SELECT diff FROM work_results WHERE test_outcome = 'SURVIVED'").fetchall()
        (done,) = base.execute("SELECT count(*) FROM work_results").fetchone()
    for (diff,) in survivors:
        print("\n".join(line for line in diff.splitlines() if line[:1] in "+-"), flush=True)
    return done - len(survivors), done


def main() -> None:
    """Try every group and print the score with its 95 % interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=40, help="mutants of each group; 0: all")
    parser.add_argument("--seed", type=int, default=19)
    parser.add_argument("--only", choices=sorted(GROUPS))
    parser.add_argument("--into", type=Path, help="folder for the sessions")
    asked = parser.parse_args()
    into = (asked.into or Path(tempfile.mkdtemp())).resolve()
    into.mkdir(parents=True, exist_ok=True)
    copy = Path(tempfile.mkdtemp()) / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "outputs", "__pycache__", "site"))
    noticed = tried = 0
    for name in [asked.only] if asked.only else GROUPS:
        killed, done = try_group(name, copy, into, asked.sample, asked.seed)
        print(f"{name}: {killed} of {done} noticed", flush=True)
        noticed, tried = noticed + killed, tried + done
    interval = stats.binomtest(noticed, tried).proportion_ci(method="exact")
    print(f"\n{noticed} of {tried} mutants noticed: {noticed / tried:.0%} ({interval.low:.0%} to {interval.high:.0%})")


if __name__ == "__main__":
    main()
