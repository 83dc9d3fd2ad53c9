"""What lumping cannot express: how much do remission, relapse and its phenotype differ between mixed and grid?

python benchmarks/space.py [--patients 100] [--csv PATH]

The patient of conf/marrow.yaml, many times over: they differ by chance alone. Each world has the same patients.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from escape_abm import compose, run_trial
from escape_abm.trials.survival import percent, proportion

GRID = "engine.world=grid"
WORLDS: dict[str, tuple[str, ...]] = {
    "well mixed": ("engine.world=mixed",),
    "grid": (GRID,),
    "grid, daughters settle anywhere": (GRID, "engine.space.dispersal_fraction=1"),
    "grid, all daughters beside": (GRID, "engine.space.dispersal_fraction=0"),
    "grid, fast CAR T cells": (GRID, "engine.space.car_t_motility_um2_per_min=70"),
    "grid, slow CAR T cells": (GRID, "engine.space.car_t_motility_um2_per_min=0.5"),
    "grid, no niche": (GRID, "engine.space.sanctuary_sites_fraction=0", "biology.leukaemia.sanctuary_entry_per_day=0"),
}


def row(patients: pd.DataFrame) -> dict[str, object]:
    """Outcomes of one product in one world; proportions in % with 95 % intervals."""
    responders = patients[patients["complete_remission"]]
    relapsed = responders[responders["relapse"]]

    def share(part: pd.DataFrame, whole: pd.DataFrame) -> str:
        found = proportion(len(part), len(whole))
        return f"{percent(found.estimate)} ({percent(found.lower)}-{percent(found.upper)})"

    negative = relapsed[relapsed["relapse_kind"] == "antigen-negative"]
    days = relapsed["day_relapse"]
    return {
        "remission, % of all": share(responders, patients),
        "relapse in 12 months, % of responders": share(relapsed, responders),
        "antigen-negative, % of relapses": share(negative, relapsed),
        "day of relapse, median (quartiles)": "{1:.0f} ({0:.0f}-{2:.0f})".format(*days.quantile([0.25, 0.5, 0.75])),
        "CAR T peak, cells, median": round(patients["car_t_peak_cells"].median()),
    }


def main() -> None:
    """Run every world and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--csv", type=Path)
    words = parser.parse_args()
    lines = []
    for world, overrides in WORLDS.items():
        print(f"{world} ...", file=sys.stderr, flush=True)
        common = (f"cohort.size={words.patients}", "follow_up_months=12", "trajectories.patients=0")
        result = run_trial(compose([*common, *overrides], config_name="marrow"))
        for arm, patients in result.patients.groupby("arm", sort=False):
            lines.append({"product": arm, "world": world, **row(patients)})
    table = pd.DataFrame(lines).sort_values("product", kind="stable")
    print(table.to_string(index=False))
    if words.csv:
        table.to_csv(words.csv, index=False)


if __name__ == "__main__":
    main()
