"""Do posteriors cover the parameters that made the data? Trials simulated at known parameters, each then calibrated on.

python benchmarks/coverage.py [REPLICATES] [FOLDER]

Three parameters, two small trials whose figures are each of other patients or of other outcomes, no differences between
trials: where the likelihood is exact, intervals of every level should hold the truth as often as they say. Writes
FOLDER/coverage.csv and a picture of it (default: docs/images).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from escape_abm import compose
from escape_abm.evidence.emulator import fit_emulator
from escape_abm.evidence.posterior import sample_posterior
from escape_abm.evidence.targets import Target, design, free_parameters, published, simulate, values
from escape_abm.figures import checks
from escape_abm.figures.style import save
from escape_abm.inputs.settings import Settings
from escape_abm.inputs.trial import Published

FREE = {
    "biology.antigens.cd19.last_hit_per_division": (1e-9, 1e-6),
    "biology.car_t.effector_division_per_day": (1.4, 2.2),
    "biology.car_t.effector_to_memory_per_day": (1e-4, 3e-3),
}
FIGURES = (
    ("cd19_fmc63", "complete_remission", None),
    ("cd19_fmc63", "cumulative_incidence_antigen_negative", 12.0),
    ("cd19_fmc63", "cumulative_incidence_antigen_positive", 12.0),
    ("cd22_m971", "complete_remission", None),
    ("cd22_m971", "cumulative_incidence_antigen_positive", 12.0),
)
PATIENTS = 100  # of each trial
RUNS, RUN_PATIENTS = 256, 30  # for the emulator
LEVELS = np.arange(0.1, 1.0, 0.1)


def trial(product: str) -> Settings:
    """A general cohort under one product."""
    return compose(["biology=cd19_kinetics", "trial=none", "comparators=none", f"product={product}"])


def main(replicates: int, folder: Path) -> None:
    """Simulate, calibrate, count, draw."""
    began = time.perf_counter()
    trials = {name: trial(name) for name in dict.fromkeys(f[0] for f in FIGURES)}
    free = free_parameters(next(iter(trials.values())), FREE)
    targets = [
        Target(name, Published(endpoint=e, month=m, estimate=0.5, n=PATIENTS, source="assumed"), PATIENTS, 1.0)
        for name, e, m in FIGURES
    ]

    def runs(x: NDArray[np.float64], patients: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Every trial has patients of its own: the same ones in both would make their outcomes alike."""
        tasks = (
            joblib.delayed(simulate)({name: trials[name]}, targets, values(free, p), patients, seed + 10_000 * k + i)
            for i, p in enumerate(x)
            for k, name in enumerate(trials)
        )
        done = joblib.Parallel(n_jobs=-1)(tasks)
        estimates, n = (np.array(part).reshape(len(x), len(trials), -1) for part in zip(*done, strict=True))
        return np.nanmax(estimates, axis=1), n.max(axis=1)  # a run tells of the figures of its own trial alone

    x = design(RUNS, len(free), 1)
    emulator = fit_emulator(x, *runs(x, RUN_PATIENTS, 1), np.ones(len(targets), dtype=bool))
    truth = np.random.default_rng(7).random((replicates, len(free)))
    seen, of = runs(truth, PATIENTS, 100_000)
    rank = np.zeros((replicates, len(free)))
    for i in range(replicates):
        told = [t._replace(patients=float(n), point=t.point.model_copy(update={"estimate": float(e), "n": int(n)}))
                for t, e, n in zip(targets, seen[i], of[i], strict=True)]  # fmt: skip
        found = sample_posterior(emulator, published(told), len(free), (0.0, 0.0), i, steps=400, draws=1000)
        rank[i] = (found.x < truth[i]).mean(axis=0)
    lines = []
    for j, f in enumerate(free):
        for level in LEVELS:
            held = int((np.abs(rank[:, j] - 0.5) <= level / 2).sum())
            band = stats.binom.interval(0.95, replicates, level)
            lines.append((f.path, level, held / replicates, band[0] / replicates, band[1] / replicates, replicates))
    table = pd.DataFrame(lines, columns=["path", "level", "held", "lower", "upper", "replicates"])
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "coverage.csv", index=False)
    save(checks.coverage(table)[0], folder / "coverage")
    print(table.round(2).to_string(index=False))
    print(f"lack of fit {emulator.lack_of_fit.round(2)}; {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    main(number, Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parents[1] / "docs" / "images")
