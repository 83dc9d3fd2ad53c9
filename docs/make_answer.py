"""Write docs/answer.md from the tables of its figures: `python -m docs.make_answer`. A test compares.

First, once their runs or numbers have changed: `python experiments/figures.py into=docs/images`.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from scipy.special import logit

from escape_abm import compose

HERE = Path(__file__).parent
RELAPSE = {
    "complete_remission": "CR",
    "cumulative_incidence_antigen_negative": "antigen-negative",
    "cumulative_incidence_antigen_positive": "antigen-positive",
}
NEGATIVE, POSITIVE = "antigen-negative", "antigen-positive"
AT_ONCE = ("auto1_22", "tandem", "bicistronic", "cotransduced", "coadministered")
"""Products that see both antigens from the first infusion on."""
FEW = 20
"""Relapses below which draws of the posterior cannot be told apart."""


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
            few = "\\*" if e["estimate"] * e["n"] < FEW else ""
            cells.append(f"{per_cent(e['estimate'])} ({per_cent(e['lower'])} to {per_cent(e['upper'])}){few}")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def found(arm: str, kind: str, column: str = "estimate") -> float:
    """A number of the table of relapse by product."""
    table = stored("answer_relapse").set_index(["arm", "endpoint"])
    return float(table.loc[(arm, f"cumulative_incidence_{kind.replace('-', '_')}"), column])


def not_in_remission(arm: str) -> str:
    """Patients without remission, in whole %."""
    table = stored("answer_relapse")
    [share] = table.loc[(table["arm"] == arm) & (table["endpoint"] == "complete_remission"), "estimate"]
    return f"{100 * (1 - share):.0f}"


def negative(arm: str) -> str:
    """Antigen-negative relapse, in %."""
    return per_cent(found(arm, NEGATIVE))


def among(kind: str, column: str = "estimate", arms: tuple[str, ...] = AT_ONCE) -> str:
    """From the lowest to the highest of some products, in whole %."""
    values = [100 * found(arm, kind, column) for arm in arms]
    return f"{min(values):.0f} to {max(values):.0f} %"


def field(name: str, kind: str, **at: float | str) -> str:
    """One field of a map, by the ends of its parameters' names, in whole %."""
    table = stored(name).query("kind == @kind")
    for end, value in at.items():
        table = table[table[next(c for c in table.columns if c.endswith(end))] == value]
    [share] = table["estimate"]
    return f"{100 * share:.0f}"


def apart() -> str:
    """How far AUTO1/22 and the tandem product are apart in antigen-positive relapse, on the logit scale."""
    odds = [logit(found(arm, POSITIVE)) for arm in ("tandem", "auto1_22")]
    return f"{odds[0] - odds[1]:.1f}"


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
relapse at 12 months, in patients in CR. The first two sections have 50 draws of the posterior, so that 95 % intervals
hold what is not known of the parameters; the maps have the fitted set, and their intervals the sampling of patients.

**In short.** In patients whose leukaemia has both antigens, products that see both at once leave
{among(NEGATIVE)} of antigen-negative relapse where CD19 alone has {
        among(NEGATIVE, arms=("cd19_fmc63",))[-4:]
    }; a CD22 product
that follows the CD19 one leaves {found("sequential", NEGATIVE):.0%}. Antigen-positive relapse stays: {
        among(POSITIVE)
    } under
them, {found("cd19_fmc63", POSITIVE):.0%} under CD19 alone, {
        found("cd22_m971", POSITIVE):.0%} under CD22 alone. It comes from where
CAR T cells do not reach or after they are lost; persistence and transplantation decide it more than the number of
antigens. Lineage switch passes all products. What the second antigen is worth to a patient is therefore the
antigen-negative part alone.

## Relapse by product

![Remission and relapse of the same patients under each product](images/answer_relapse.png)

{relapse_table()}

\\* Fewer than {
        FEW
    } of the patients relapsed so: too few to say how much the draws differ, so that these intervals may be
far too narrow, or too wide.

How well a dual product closes antigen-negative relapse is known to a few per cent at best: where relapses are enough to
tell, intervals reach to {100 * found("sequential", NEGATIVE, "upper"):.0f} %, into that of CD19 alone
(from {100 * found("cd19_fmc63", NEGATIVE, "lower"):.0f} %).

## What each product closes

![What let relapses happen, by product](images/answer_mechanisms.png)

Relapses of 1,000 treated patients:

{mechanism_table()}

- **Closed by a second antigen**: clones that had lost CD19 before treatment, and those that lose it on therapy.
- **Given that an arm can fail, it matters whether both arms share a batch.** A batch of cells with both CARs fails as a whole:
  no remission, and no escape. Two batches fail in part for themselves. So co-administered products leave fewer patients
  without remission ({not_in_remission("coadministered")} % against {
        not_in_remission("tandem")
    } % under the tandem), but where the CD22 batch alone
  fails, the CD19 batch selects clones without CD19: {negative("coadministered")} % antigen-negative
  relapse, against {negative("tandem")} % under the tandem and {negative("cd19_fmc63")} % under CD19 alone.
- **Not closed**: lineage switch, which needs neither antigen; sanctuaries; loss and rejection of CAR T cells.
- **A CD22 CAR alone** has more of all of it: clones without CD22, survivors in sanctuaries, and CAR T cells that are lost
  sooner.

## What would change it

**How sensitive the CD22 arm is, and how many cells carry it.** Over a 256-fold range of sensitivity and 10 to 90 % of cells,
antigen-negative relapse after a co-transduced product {span("design_map", NEGATIVE)}, antigen-positive
{span("design_map", POSITIVE)}. A CD22 arm has to be far less sensitive than m971 before clones get through. At the
sensitivity of m971, antigen-positive relapse goes from {
        field("design_map", POSITIVE, half_density_fold=1.0, cd22=0.1)
    } to
{
        field("design_map", POSITIVE, half_density_fold=1.0, cd22=0.9)
    } % as more cells carry the CD22 CAR: it is taken to shorten the
life of the cells that carry it (published for another CD22 CAR; that a second CAR shares it is assumed). An arm 16 times
less sensitive adds to that ({field("design_map", POSITIVE, half_density_fold=16.0, cd22=0.9)} %).

![CD22 sensitivity and fraction of cells](images/design_map.png)

**Burden and persistence.** Under CD19 alone antigen-negative relapse {span(cd19, NEGATIVE)} and antigen-positive
{span(cd19, POSITIVE)}; under a co-transduced product antigen-negative relapse {
        span(both, NEGATIVE)
    } and antigen-positive
{span(both, POSITIVE)}. Burden decides
whether a clone without CD19 is there; how long memory lasts decides what antigen-positive cells can come back. More burden
means less antigen-positive relapse, not more, in those who reach CR (from {
        field(both, POSITIVE, burden_median_cells=1e10, memory_loss_per_day=0.0005)
    } to {field(both, POSITIVE, burden_median_cells=1e12, memory_loss_per_day=0.0005)} % under the
co-transduced product with the longest memory), presumably since more antigen drives more expansion.

![Burden and persistence, CD19 alone](images/persistence_map_cd19_fmc63.png)

![Burden and persistence, co-transduced](images/persistence_map_cotransduced.png)

**Transplantation.** For CD22 alone the fitted set and the posterior disagree
({field("transplant_map", NEGATIVE, product="cd22_m971", fraction=0.0)} and
{field("transplant_map", POSITIVE, product="cd22_m971", fraction=0.0)} % in this map,
{100 * found("cd22_m971", NEGATIVE):.0f} and {
        100 * found("cd22_m971", POSITIVE):.0f} % in the table above): the rate of CD22 loss is
hardly known. Without any transplant, relapse of both kinds together is {
        mean_of_both("transplant.fraction", 0)
    } % on average over
these products, with all patients in remission transplanted {mean_of_both("transplant.fraction", 1)} %.

![Transplantation by product](images/transplant_map.png)

To draw these maps with other values: {SENSITIVITY}, {VECTOR}, {BURDEN}, {LOSS}, {TRANSPLANT} in a
[sweep](sweeps.md).

## What the model cannot say

- **How much of a failure is the batch's.** Half of what decides it is taken to be the patient's, which both batches share
  (`biology.car_t.failed_shared_fraction`, assumed). The more it is, the less two batches protect each other, and the less they
  let antigen-negative clones through. A laboratory can measure it: expansion of both batches in the same patients.
- **CD19-CD22+ relapse after co-administration** (39 % of relapses published) is 6 % of them with the fitted set, and 20 % (2 to
  59) over the posterior when that trial is left out ([calibration](calibration.md)).
- **Where antigen-positive relapse is seen first.** One row, `clinic.extramedullary_cells`, decides that, and with it what is
  called "sanctuary" and what "CAR T lost"; it is fitted to the site of 85 relapses. How often relapse comes does not depend
  on it.
- **How much two antigens are worth in practice** depends on how many antigen-negative clones there are at infusion; the rate of
  CD19 loss is known to two orders of magnitude.
- **Which of the dual architectures is best.** Trials have other patients, doses and care, and differ by 0.4 on the logit scale
  for no reason of the model. AUTO1/22 and the tandem product are {apart()} apart here in antigen-positive relapse, so
  published trials of one product each can hardly tell them apart.
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
