"""What the evidence covers: bundled trials and products lie within it, anything else is said once."""

from __future__ import annotations

from pathlib import Path

import pytest

from escape_abm.inputs.applicability import outside_evidence
from escape_abm.interface.composition import compose, conf_dir

TRIALS = sorted(path.stem for path in Path(conf_dir()).glob("trial/*.yaml"))
CD20 = "+biology.antigens.cd20={blast_density_molecules: 3000, normal_b_density_molecules: 90000}"


@pytest.mark.parametrize("trial", TRIALS)
def test_the_trials_lie_within_the_evidence(trial: str) -> None:
    assert outside_evidence(compose([f"trial={trial}"], "config" if trial == "none" else "published")) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("follow_up_months=60", "follow_up_months=60"),
        ("cohort.burden_median_cells=1e8", "burden_median_cells=1e+08"),
        ("cohort.burden_max_cells=1.8e12", "burden_max_cells=1.8e+12"),
        ("regimen.dose_cells=1e10", "a dose of 1e+10 cells"),
        ("product.components.cd19.constructs.cd19.antigen=cd20", "against cd20"),
    ],
)
def test_what_lies_outside_is_said(change: str, told: str) -> None:
    base = ["trial=none", "comparators=none", "product=cd19_fmc63"]
    words = [*base, change] + ([CD20] if "cd20" in change else [])
    if change.startswith("regimen"):
        words.append("dose=fixed")
    (said,) = outside_evidence(compose(words))
    assert told in said
    assert outside_evidence(compose(base)) == []
