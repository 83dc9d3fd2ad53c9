"""Fit the thresholds of CRS to the published rates of several trials at once, by maximum likelihood.

python benchmarks/crs_threshold.py [--patients 1000]

Each patient's threshold is lognormal with the spread `clinic.severe_crs_sigma`; a trial's rate is then the mean over
its virtual patients of the chance that the fiercest day of killing passes it. Two numbers are fitted: the median
threshold of grade >= 3, and the ratio to it of that of any grade. Rates per infusion, recalled ones and subsets are
left out.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from escape_abm import compose, run_trial

TRIALS = ("auto1_22", "cd28_ox40", "eliana")
ENDPOINTS = ("crs_grade_3_or_higher", "crs_any_grade")


def main() -> None:
    """Simulate the trials, fit, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=1000)
    size = parser.parse_args().patients
    peaks: dict[str, NDArray[np.float64]] = {}
    published: dict[str, list[tuple[str, int, int]]] = {e: [] for e in ENDPOINTS}
    for name in TRIALS:
        settings = compose([f"trial={name}", f"cohort.size={size}"], config_name="published")
        peaks[name] = run_trial(settings).patients["peak_kills_per_day"].to_numpy()
        for p in settings.trial.published:
            if p.endpoint in ENDPOINTS and p.stratum == "all" and not p.not_compared:
                n = p.n or settings.trial.size or 0
                published[p.endpoint].append((name, round(p.estimate * n), n))
    sigma = settings.clinic.severe_crs_sigma

    def rate(name: str, log_threshold: float) -> float:
        return float(stats.norm.cdf((np.log(np.maximum(peaks[name], 1)) - log_threshold) / sigma).mean())

    fitted = {}
    for endpoint, rows in published.items():

        def misfit(log_threshold: float, rows: list[tuple[str, int, int]] = rows) -> float:
            return -sum(float(stats.binom.logpmf(k, n, rate(t, log_threshold))) for t, k, n in rows)

        found = optimize.minimize_scalar(misfit, bounds=(np.log(1e8), np.log(1e14)), method="bounded").x
        fitted[endpoint] = float(np.exp(found))
        print(f"{endpoint}: median threshold {fitted[endpoint]:.3g} kills per day")
        for name, k, n in rows:
            print(f"  {name:12} published {k}/{n} = {k / n:.2f}, model {rate(name, found):.2f}")
    print(f"any_crs_kills_fold: {fitted['crs_any_grade'] / fitted['crs_grade_3_or_higher']:.3g}")


if __name__ == "__main__":
    main()
