"""Write docs/answer.md from the tables of its figures: `python -m docs.make_answer`. A test compares.

First, once their runs or numbers have changed: `python experiments/figures.py into=docs/images`.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from escape_abm import compose

HERE = Path(__file__).parent
RELAPSE = {
    "complete_remission": "CR",
    "cumulative_incidence_antigen_negative": "antigen-negative",
    "cumulative_incidence_antigen_positive": "antigen-positive",
}
NEGATIVE, POSITIVE = "antigen-negative", "antigen-positive"


def per_cent(share: float) -> str:
    """A share in % with the digits that it deserves."""
    return f"{100 * share:.1f}" if share < 0.1 else f"{100 * share:.0f}"


def labels() -> dict[str, str]:
    """Products of the default comparison by name."""
    return {arm.name: arm.label for arm in compose(["trial=none"]).arms}


def stored(name: str) -> pd.DataFrame:
    """The table under a figure of the documentation."""
    return pd.read_csv(HERE / "images" / f"{name}.csv")


def relapse_table() -> str:
    """Remission and relapse by product with intervals."""
    table = stored("answer_relapse").set_index(["arm", "endpoint"])
    lines = ["| product | " + " | ".join(RELAPSE.values()) + " |", "| --- " * (len(RELAPSE) + 1) + "|"]
    for arm, label in labels().items():
        cells = []
        for endpoint in RELAPSE:
            e = table.loc[(arm, endpoint)]
            cells.append(f"{per_cent(e['estimate'])} ({per_cent(e['lower'])} to {per_cent(e['upper'])})")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mechanism_table() -> str:
    """Relapses of 1,000 treated patients by what let them happen."""
    table = stored("answer_mechanisms").pivot(index="mechanism", columns="arm", values="fraction")
    most = table.max(axis=1)
    shown = table[most >= 0.0005].loc[most[most >= 0.0005].sort_values(ascending=False).index]
    lines = ["| product | " + " | ".join(map(str, shown.index)) + " |", "| --- " + "| ---: " * len(shown) + "|"]
    for arm, label in labels().items():
        lines.append(f"| {label} | " + " | ".join(f"{1000 * share:.0f}" for share in shown[arm]) + " |")
    return "\n".join(lines)


def span(name: str, kind: str) -> str:
    """Lowest and highest relapse of one kind in a map, in %."""
    mine = stored(name).query("kind == @kind")["estimate"]
    low, high = per_cent(mine.min()), per_cent(mine.max())
    return f"stays at {low} %" if low == high else f"goes from {low} to {high} %"


SENSITIVITY = "`product.components.dual.constructs.cd22.half_density_fold`"
VECTOR = "`product.components.dual.transduced_fraction.cd22`"
BURDEN, LOSS = "`cohort.burden_median_cells`", "`biology.car_t.memory_loss_per_day`"
TRANSPLANT = "`regimen.transplant.fraction`"


def page() -> str:
    """The whole page."""
    cd19, both = "persistence_map_cd19_fmc63", "persistence_map_cotransduced"
    return f"""# Which product prevents which relapse, and why

Written by `docs/make_answer.py` from the tables of its figures ([figures](figures.md) tells the runs); do not edit. In %;
relapse at 12 months, in patients in CR. The first section has 50 draws of the posterior, so that its 95 % intervals hold
what is not known of the parameters; the maps have the fitted set, and their intervals the sampling of patients.

**In short.** Any product that sees CD22 as well as CD19 all but ends antigen-negative relapse in patients whose leukaemia has both
antigens. None ends antigen-positive relapse, which comes from where CAR T cells do not reach or after they are lost:
there products differ little, and persistence, burden and transplantation decide. Lineage switch passes them all. What the
second antigen is worth to a patient is therefore the antigen-negative part alone.

## Relapse by product

![Remission and relapse of the same patients under each product](images/answer_relapse.png)

{relapse_table()}

Products with both antigens differ from each other in antigen-negative relapse by less than is known. They differ from CD19
alone by more.

## What each product closes

![What let relapses happen, by product](images/answer_mechanisms.png)

Relapses of 1,000 treated patients:

{mechanism_table()}

- **Closed by a second antigen**: clones that had lost CD19 before treatment, and those that lose it on therapy.
- **Not closed**: lineage switch, which needs neither antigen; sanctuaries; loss and rejection of CAR T cells.
- **A CD22 CAR alone** exchanges one escape for others: low density protects cells without any mutation, its CAR T cells are
  lost sooner.

## What would change it

**How sensitive the CD22 arm is, and how many cells carry it.** Over a 256-fold range of sensitivity and 10 to 90 % of cells,
antigen-negative relapse after a co-transduced product {span("design_map", NEGATIVE)}, antigen-positive
{span("design_map", POSITIVE)}. A CD22 arm has to be far less sensitive than m971 before clones get through. More cells
with both CARs mean more antigen-positive relapse here only because the CD22 CAR is taken to shorten the life of the cells
that carry it (published for another CD22 CAR; that a second CAR shares it is assumed).

![CD22 sensitivity and fraction of cells](images/design_map.png)

**Burden and persistence.** Under CD19 alone antigen-negative relapse {span(cd19, NEGATIVE)} and antigen-positive
{span(cd19, POSITIVE)}; under a co-transduced product antigen-negative relapse {span(both, NEGATIVE)} and antigen-positive
{span(both, POSITIVE)}. Burden
decides whether a clone without CD19 is there; how long memory lasts decides what antigen-positive cells can come back.

![Burden and persistence, CD19 alone](images/persistence_map_cd19_fmc63.png)

![Burden and persistence, co-transduced](images/persistence_map_cotransduced.png)

**Transplantation.** Without any, relapse of both kinds together is {mean_of_both("transplant.fraction", 0)} % on average over
these products, with all patients in remission transplanted {mean_of_both("transplant.fraction", 1)} %.

![Transplantation by product](images/transplant_map.png)

To draw these maps with other values: {SENSITIVITY}, {VECTOR}, {BURDEN}, {LOSS}, {TRANSPLANT} in a
[sweep](sweeps.md).

## What the model cannot say

- **CD19-CD22+ relapse after co-administration** (39 % of relapses published) is all but absent here. If a CD22 arm fails for a
  reason that is not in the law, products look better here than they are. This is the first thing to find out.
- **Where antigen-positive relapse is seen first.** Most of it is isolated extramedullary with the fitted set, several times as
  much as known; one assumed row decides that, and with it what is called "sanctuary" and what "CAR T lost"
  ([calibration](calibration.md)). How often it comes does not depend on that row.
- **How much two antigens are worth in practice** depends on how many antigen-negative clones there are at infusion; the rate of
  CD19 loss is known to two orders of magnitude.
- **Which of the dual architectures is best.** The trials have other patients, doses and care; what differs between them for
  no reason of the model (0.5 on the logit scale) is larger than what differs between architectures.
- **Survival after relapse** is one hazard; toxicity is a threshold of CRS. Nothing here weighs benefit against harm.
- What is not modelled at all: [limits](limits.md). What trials contradict: [validation](validation.md).
"""


def mean_of_both(key: str, value: float) -> str:
    """Relapse of both kinds, on average over the products of the map of transplantation, in %."""
    table = stored("transplant_map")
    column = next(c for c in table.columns if c.endswith(key))
    mine = table[table[column] == value]
    return per_cent(mine["estimate"].sum() / mine["product"].nunique())


if __name__ == "__main__":
    (HERE / "answer.md").write_text(page(), encoding="utf-8")
