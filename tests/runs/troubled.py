"""Small sweeps of a script that fails where it is told to."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SMALL = ("comparators=none", "trial=none", "cohort.size=2", "trajectories.patients=1", "workers=2")


def small(*words: str) -> list[str]:
    """These words, and those of SMALL whose keys are not among them."""
    given = {word.partition("=")[0] for word in words}
    return [*(word for word in SMALL if word.partition("=")[0] not in given), *words]


# An experiment whose jobs fail as files in the folder of the caller say.
TROUBLED = '''
"""Compares, with trouble."""
import os, signal
from pathlib import Path
from escape_abm.interface.launch import launch

def compare(settings, run):
    place = Path(os.environ["TROUBLE"])
    if (place / f"fail_{settings.seed}").exists():
        raise RuntimeError(f"trouble with seed {settings.seed}\\nand more")
    if (place / f"die_{settings.seed}").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if (place / f"die_once_{settings.seed}").exists():
        (place / f"die_once_{settings.seed}").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if not run.finished:
        with (place / "computed.txt").open("a") as log:
            log.write(f"{settings.seed}\\n")
    run.write(run.trial("patients").files(), {})

if __name__ == "__main__":
    launch(compare)
'''


def computed(place: Path) -> list[int]:
    """Seeds in the order in which they were computed, since the last call."""
    log = place / "computed.txt"
    seeds = sorted(int(line) for line in log.read_text().split()) if log.exists() else []
    log.unlink(missing_ok=True)
    return seeds


def the_sweep(place: Path) -> Path:
    (folder,) = place.glob("outputs/troubled/*/*_sweep_*")
    return folder


def tables(folder: Path) -> dict[str, bytes]:
    names = ("patients.parquet", "trajectories.parquet", "summary.csv", "contrasts.csv")
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
