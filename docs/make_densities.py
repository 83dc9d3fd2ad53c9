"""Draw antigen densities of simulated FCS files: `python -m docs.make_densities FOLDER`.

Six patients are drawn from the spread of the parameter rows, written as FCS files of two kinds (floats with gain,
integers on a log scale), and read with beads and unstained cells as `python -m escape_abm densities` reads files.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from escape_abm.inputs.biology import Biology
from escape_abm.interface import densities
from tests.exchange import fcs

LOW = (0.0, 0.25, 0.0, 0.02, 0.0, 0.0)
"""Share of each patient's blasts with a twentieth of the CD19."""


def simulate(folder: Path) -> list[Path]:
    """FCS files of patients, with beads and unstained cells beside them."""
    rng, files = np.random.default_rng(22), []
    antigens = Biology().antigens.values()
    medians = [(a.blast_density_molecules, a.blast_density_molecules_sigma) for a in antigens]
    fcs.bead_table(folder / "beads.csv")
    fcs.unstained(folder / "unstained.fcs", rng)
    for number, low in enumerate(LOW, start=1):
        cd19, cd22 = (median * np.exp(sigma * rng.standard_normal()) for median, sigma in medians)
        its = fcs.blasts(rng, cd19, cd22, low)
        if number == 6:
            its = its._replace(cd19=np.where(rng.random(its.cd19.size) < 0.1, 0.0, its.cd19))
        write = fcs.linear_tube if number % 2 else fcs.log_tube
        files.append(write(folder / f"Patient {number}.fcs", its))
    return files


def main(folder: Path) -> None:
    """Write the picture and its numbers."""
    with tempfile.TemporaryDirectory() as place:
        tubes, mine = Path(place), Path(place, "mine")
        files = simulate(tubes)
        densities.measure(
            files, {"cd19": "CD19", "cd22": "CD22"}, tubes / "beads.csv", mine, "simulated",
            unstained=[tubes / "unstained.fcs"], products=["cd19_fmc63", "cd22_m971", "tandem"],
        )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        for kind in (".png", ".svg"):
            shutil.copyfile(mine / "densities" / f"simulated{kind}", folder / f"densities{kind}")
        shutil.copyfile(mine / "densities" / "simulated_histograms.csv", folder / "densities.csv")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
