"""Are stored results intact, and do they reproduce?

python -m escape_abm list PATH                 the finished runs of a run, a sweep, or outputs/
python -m escape_abm check PATH                is every file present and unchanged?
python -m escape_abm verify PATH [--sample 5]  repeats some runs and compares their tables byte by byte
python -m escape_abm score PREDICTION TRIAL    a registered prediction beside the results, for once

`verify` runs the scripts of experiments/ only; name another that you trust with --script FILE.

For and from other programs (--help after the verb tells more):

python -m escape_abm export RUN --into FOLDER  a finished run as ADSL and ADTTE (SAS transport, Dataset-JSON, CSV)
python -m escape_abm export-model KEY=VALUE ... --into FOLDER  one patient's model as SBML and Antimony
python -m escape_abm published FILE ...        results for an own trial, from ADTTE or a digitised Kaplan-Meier curve
python -m escape_abm densities FILE ...        antigen densities from FCS files and beads, as a choice of your own
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

try:
    import numpy as np
    import pandas as pd
except ModuleNotFoundError as missing:
    raise SystemExit(f"{missing}. Enter the environment first: python3 start.py setup says how") from None

from escape_abm.evidence import predictions
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.checks import check as check_section
from escape_abm.inputs.settings import Settings
from escape_abm.runs import terminal
from escape_abm.runs.fingerprint import Experiment, identify
from escape_abm.runs.found import OVER, read_jobs
from escape_abm.runs.jobs import load_task
from escape_abm.runs.provenance import JOBS, PROVENANCE, RECORD, Damaged, is_finished, read_provenance, read_record
from escape_abm.runs.run_folder import PARTIAL, Run, damage, digest, what_changed
from escape_abm.runs.stored import load

SCRIPTS = Path(__file__).resolve().parents[1] / "experiments"


def run_folders(path: Path) -> tuple[list[Path], list[Path]]:
    """Folders of finished runs below a path, and of those that were begun only."""
    begun = {p.parent.parent for p in path.rglob(".hydra/overrides.yaml")}
    finished = {
        p.parent for p in path.rglob(PROVENANCE) if p.parent.name != PARTIAL
    }  # half-written: its run was killed
    return sorted(finished), sorted(begun - finished)


def check(path: Path) -> int:
    """Say which files are not whole; the exit code."""
    finished, begun = run_folders(path)
    if not finished and not begun:
        raise InputError(f"{path}: holds no run")
    faults = [f"{folder}: {line}" for folder in finished for line in damage(folder)]
    sweeps = sorted({p.parent for p in path.rglob(RECORD)} | {p.parent for p in path.rglob(JOBS) if _is_ours(p)})
    faults += [f"{sweep}: {line}" for sweep in sweeps for line in _sweep_faults(sweep, finished)]
    faults += [f"{folder}: was begun and is not finished" for folder in begun]
    for fault in faults:
        terminal.say(fault)
    terminal.say(f"{len(finished)} finished runs and {len(sweeps)} sweeps looked at, {len(faults)} faults")
    return 1 if faults else 0


def _is_ours(jobs: Path) -> bool:
    """Whether a list of jobs is that of a sweep, whose record may be lost."""
    with jobs.open("rb") as file:
        return file.readline().startswith(b"job,overrides,folder,status")


def _sweep_faults(sweep: Path, looked_at: Sequence[Path]) -> list[str]:
    """What is wrong with the files of a sweep, and with the runs that it lists but those that were looked at."""
    try:
        files = read_record(sweep)["files"]
        if not files:
            return ["the sweep is not finished; its command goes on with it"]
        out = [
            f"{name} is missing or not what was written; the sweep's command makes it anew"
            for name, was in files.items()
            if not (sweep / name).is_file() or digest(sweep / name) != was
        ]
        jobs = read_jobs(sweep)
    except Damaged as error:
        return [str(error).removeprefix(f"{sweep}/")]
    seen = {Path(os.path.realpath(folder)) for folder in looked_at}
    places = jobs["folder"][jobs["status"].isin(OVER)].unique()
    elsewhere = [place for place in places if Path(os.path.realpath(sweep / place)) not in seen]
    lost = [place for place in elsewhere if not is_finished(sweep / place)]
    return out + [
        f"{place}: this run of the sweep is not there, or is damaged. Put it there (was the sweep moved?), or give the "
        "sweep's command again"
        for place in lost
    ]


def verify(path: Path, sample: int, seed: int | None, script: Path | None = None) -> int:
    """Run a random sample of finished runs again and compare bytes; the exit code."""
    finished, _ = run_folders(path)
    if not finished:
        raise InputError(f"{path}: holds no finished run")
    rng = np.random.default_rng(seed)
    chosen = [finished[i] for i in sorted(rng.choice(len(finished), min(sample, len(finished)), replace=False))]
    wrong = 0
    with terminal.progress("runs again", len(chosen)) as advance:
        for folder in chosen:
            faults = _again(folder, script)
            wrong += bool(faults)
            for fault in faults:
                terminal.say(f"{folder}: {fault}")
            advance(1)
    terminal.say(f"{len(chosen) - wrong} of {len(chosen)} runs came out the same, byte for byte")
    return 1 if wrong else 0


def _again(folder: Path, trusted: Path | None) -> list[str]:
    """What differs when a run is made again: by a script of ours or a trusted one, not by any that a folder names."""
    try:
        about = read_provenance(folder)
        settings = check_section(Settings, about["settings"])  # which an older version may have taken
    except InputError as error:
        return [str(error).removeprefix(f"{folder}/")]
    ours = {place.stem: place for place in [*SCRIPTS.glob("*.py"), *([trusted.resolve()] if trusted else [])]}
    if about["experiment"] not in ours:
        return [f"was made by {about['script']}, which is none of {SCRIPTS}. If you trust it: --script FILE"]
    experiment = Experiment(about["experiment"], ours[about["experiment"]], about["task"])
    identity = identify(experiment, settings)
    with tempfile.TemporaryDirectory() as place:
        run = Run(settings, Path(place), identity, pictures=False, quiet=True)
        load_task(experiment)(settings, run)
        tables = [name for name in about["files"] if "/" not in name and name.endswith((".csv", ".parquet"))]
        faults = [f"{name} is missing" for name in tables if not (folder / name).is_file()]
        there = [name for name in tables if (folder / name).is_file()]
        faults += [f"{name} differs" for name in there if digest(folder / name) != digest(Path(place, name))]
    if faults and identity.name != about["identity"]:
        faults.append(f"it was made by other code or libraries: {what_changed(folder, identity)}")
    return faults


def score(prediction: Path, results: Path | None) -> int:
    """Score a registered prediction, for once; the exit code."""
    if results is None:
        raise InputError("score: give the prediction and the file of the trial with its results")
    terminal.show_comparison(predictions.score(prediction, results), prediction.stem)
    return 0


def listed(runs: pd.DataFrame, parameters: Iterable[str], width: int = 120) -> str:
    """A line for each run: what it was, when it was made as its folder says, and what was asked of it."""
    shown = runs.reindex(columns=["run", "experiment", "date", "patients", "seconds"])
    shown["date"] = runs["folder"].str.extract(r"(\d{4}-\d{2}-\d{2})", expand=False).fillna("")
    given = runs[list(parameters)].astype(object)
    given = given.map(lambda v: f"{v:g}" if isinstance(v, float) else v).mask(given.isna())
    words = [" ".join(f"{k}={v}" for k, v in line.items() if pd.notna(v)) for line in given.to_dict("records")]
    lines = shown.to_string(index=False, na_rep="").splitlines()
    lines = [f"{line}  {word}" for line, word in zip(lines, ["overrides", *words], strict=True)]
    return "\n".join(line if len(line) <= width else f"{line[: width - 3]}..." for line in lines)


def main(words: list[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    words = sys.argv[1:] if words is None else words
    if words[:1] in (["export"], ["published"], ["export-model"], ["densities"]):
        return _neighbours(words)
    parser = argparse.ArgumentParser(
        prog="python -m escape_abm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=("list", "check", "verify", "score"))
    parser.add_argument("path", type=Path, nargs="?", default=Path("outputs"))
    parser.add_argument("results", type=Path, nargs="?", help="score: the file of the trial, with its results")
    parser.add_argument("--sample", type=int, default=5, help="verify: how many runs (default 5)")
    parser.add_argument("--seed", type=int, help="verify: the same sample again")
    parser.add_argument("--script", type=Path, help="verify: a script of your own, of whose runs there are some")
    asked: Any = parser.parse_args(words)
    try:
        if asked.verb == "check":
            return check(asked.path)
        if asked.verb == "verify":
            return verify(asked.path, asked.sample, asked.seed, asked.script)
        if asked.verb == "score":
            return score(asked.path, asked.results)
        found = load(asked.path)
        terminal.say(listed(found.runs, dict.fromkeys(["seed", *found.varied, *found.parameters])))
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _neighbours(words: list[str]) -> int:
    """Do what a command line about other programs' files says, and return the exit code."""
    from escape_abm.interface import models, neighbours

    try:
        return models.main(words[1:]) if words[0] == "export-model" else neighbours.main(words)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
