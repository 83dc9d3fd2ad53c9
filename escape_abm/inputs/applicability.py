"""What the evidence covers: the patients, products and times of the published trials that the defaults rest on.

Outside it a run is not wrong, but nothing that was measured has checked it. `docs/credibility.md` tells the limits.
"""

from __future__ import annotations

from escape_abm.inputs.settings import Settings

ANTIGENS = ("cd19", "cd22")
LONGEST_MONTHS = 48
"""Just beyond the longest follow-up of a published result (sequential_adult, 46 months)."""
BURDEN_CELLS = (1e9, 1.5e12)
"""Medians: from residual disease only, as in `cohort=low_burden`, to the most that a patient of the trials has here."""
DOSE_CELLS = (5e6, 1e9)
"""0.2e6 per kg for a child, 1e7 per kg for an adult."""
MOST_INFUSIONS = 2


def outside_evidence(settings: Settings) -> list[str]:
    """In what these settings leave the patients, products and times that published results are of, in sentences."""
    return [
        f"Outside the evidence: {text}. No published result that this program is checked against is like that "
        "(docs/credibility.md)"
        for text in (*_products(settings), *_patients(settings), *_times(settings))
    ]


def _products(settings: Settings) -> list[str]:
    out = []
    for product in settings.arms:
        if others := sorted(product.targets - set(ANTIGENS)):
            out.append(f"{product.label} is against {', '.join(others)}")
        if len({part.day for part in product.components.values() if not part.donor}) > MOST_INFUSIONS:
            out.append(f"{product.label} is given in more than {MOST_INFUSIONS} steps")
    return out


def _patients(settings: Settings) -> list[str]:
    out, cohort, (least, most) = [], settings.cohort, BURDEN_CELLS
    if not least <= cohort.burden_median_cells <= most:
        out.append(f"cohort.burden_median_cells={cohort.burden_median_cells:g}")
    if cohort.burden_max_cells > most:
        out.append(f"cohort.burden_max_cells={cohort.burden_max_cells:g}")
    low, high = DOSE_CELLS
    dose = settings.regimen.dose(cohort.weight_median_kg)
    if not low <= dose <= high:
        out.append(f"a dose of {dose:.2g} cells for a patient of median weight")
    return out


def _times(settings: Settings) -> list[str]:
    far = settings.follow_up_months > LONGEST_MONTHS
    return [f"follow_up_months={settings.follow_up_months:g}"] if far else []
