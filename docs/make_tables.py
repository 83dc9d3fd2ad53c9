"""Write what the documentation says of the code from the code: `python docs/make_tables.py`. A test compares.

Whole pages (parameters, choices) and blocks of pages that are written by hand, between `<!-- NAME: begin -->` and
`<!-- NAME: end -->`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from escape_abm.exchange import adam
from escape_abm.inputs import cohort
from escape_abm.inputs.biology import Biology
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import Cohort, Patient
from escape_abm.inputs.products import Component, Construct, car_classes
from escape_abm.inputs.regimen import Regimen
from escape_abm.inputs.row_table import ParameterRow, parameter_rows
from escape_abm.inputs.rows import Section, references
from escape_abm.inputs.settings import Engine, Settings
from escape_abm.interface import groups
from escape_abm.interface.catalogue import page as figures_page
from escape_abm.interface.composition import compose
from escape_abm.law import hazards
from escape_abm.law.rates import any_receptor, hill, parameter
from escape_abm.law.states import CAR_T_PHENOTYPES, PER_CONTACT, PER_DAY, PER_DIVISION, alphabet_of
from escape_abm.patient import endpoints
from escape_abm.patient.course import Course

HERE = Path(__file__).parent
CONF = HERE.parent / "conf"
CLOCKS = {PER_DIVISION: "at division", PER_DAY: "per day", PER_CONTACT: "per contact that does not kill"}


@cache
def default_run() -> Settings:
    """What a run is without any override but the trial: the biology and clinic that the ODD tells of."""
    return compose(["trial=none", "comparators=none"])


def table(head: str, lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; `head` has its columns, separated by commas."""
    columns = head.split(", ")
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in rows) + "\n"


def first_words(thing: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


# ------------------------------------------------------------------------------------------------- whole pages

PARAMETERS = """# Parameters

Written by `docs/make_tables.py` from the rows in `escape_abm/`; do not edit. Any of them is set on the command line by
heading and name: `biology.killing.kill_per_day=2`. `allowed`: outside it the value is refused. `plausible`: what the
evidence leaves open. Grade A: measured in patients; B: in vitro or in animals; C: fitted, tuned or assumed. Source
`start` is the starting fit of the law: a place to start, not a measurement. Besides, a run has `seed`,
`follow_up_months`, `workers`, `trajectories.patients` and `trajectories.every_days`.
"""
NOT_THE_ROW = """
A default run has the biology `{name}` (`conf/biology/{name}.yaml`). Where its value is not that of the row it stands
first, and the row's in brackets; sources, grades and ranges are those of the row.
"""


def parameters_page() -> str:
    """Every parameter with value, unit, ranges, grade and source, and the list of sources."""
    sections: dict[str, Section] = {
        "biology": Biology(),
        "cohort": Cohort(),
        "regimen": Regimen(),
        "clinic": Clinic(),
        "engine": Engine(),
        "product.components.NAME": Component(constructs={"NAME": Construct(antigen="cd19")}),
    }
    used = {r.path: r.value for r in parameter_rows(default_run().biology)}
    page = [PARAMETERS]
    if any(used[r.path] != r.value for r in parameter_rows()):
        page.append(NOT_THE_ROW.format(name=chosen("biology")))
    head = "parameter, value, unit, allowed, plausible, grade, source, meaning"
    for name, section in sections.items():
        parts: dict[str, list[ParameterRow]] = {}
        for r in parameter_rows(section, name):
            parts.setdefault(r.path.rpartition(".")[0], []).append(r)
        for heading, rows in parts.items():
            lines = []
            for r in rows:
                value = used.get(r.path, r.value)
                shown = f"{value:g}" if value == r.value else f"{value:g} ({r.value:g})"
                allowed, plausible = (f"{low:g} to {high:g}" for low, high in (r.allowed, r.plausible))
                short = f"`{r.path.removeprefix(heading + '.')}`"
                lines.append((short, shown, r.unit, allowed, plausible, r.grade, r.source, r.meaning))
            page.append(f"\n## {heading}\n\n" + table(head, lines))
    sources = []
    for key, line in sorted(references().items()):
        address = f" <{line['url']}>" if line["url"] else ""
        sources.append((key, f"{line['citation']}{address}"))
    return "".join([*page, "\n## Sources\n\n", table("key, source", sources)])


CHOICES = """# Choices

Written by `docs/make_tables.py` from `conf/`; do not edit. A choice is made as `GROUP=NAME` on the command line and, of
several, as `-m GROUP=NAME,NAME`. Each file holds only its differences from the [rows](parameters.md). A folder of your
own adds choices: [how](own_trial.md). **Bold**: what a default run has, with what its trial brings. A trial sets
cohort, dose, regimen and product, unless they are given on the command line; `trial=none` sets none of them.
"""
GROUPS = {
    "trial": "A published trial: its patients, schedule, product and figures.",
    "product": "A CAR T product: which constructs, in which architecture, on which day.",
    "comparators": "Products that the same patients get besides.",
    "construct": "A single CAR, a part of products: antigen, signalling domain, traits against the reference CAR. "
    "Used inside a product file, or in place of one that a product has, as "
    "`construct@product.components.PART.constructs.NAME=CHOICE`; a changed product wants a name and a label of its own:"
    "\n\n```bash\npython experiments/compare_products.py product=cd19_fmc63 \\\n"
    "  construct@product.components.cd19.constructs.cd19=cat_41bb product.name=cat_test \\\n"
    "  'product.label=\"CD19 (CAT, test)\"'\n```",
    "cohort": "Who is treated.",
    "regimen": "What is done around the product.",
    "dose": "How many CAR T cells.",
    "biology": "The parameters of the law.",
    "clinic": "Clinical definitions, and how patients fare after failure.",
    "engine": "How the law is drawn.",
    "sweep": "Which jobs `-m` makes of lists and ranges ([sweeps](sweeps.md)).",
    "executor": "Where the jobs of a sweep run ([sweeps](sweeps.md#more-than-one-machine)).",
}


def chosen(group: str) -> str:
    """The choice of a group in a default run."""
    return groups.taken("config").get(group, "")


def opening_comment(place: Path) -> str:
    """The comment that a configuration file starts with."""
    said = []
    for line in place.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            said.append(line.removeprefix("#").strip())
    return " ".join(said)


def choices_page() -> str:
    """Every group of the configuration with its choices and what each is for."""
    page = [CHOICES]
    for group, what in GROUPS.items():
        page.append(f"\n## {group}\n\n{what}\n\n")
        lines = []
        for place in sorted((CONF / group).glob("*.yaml")):
            name = f"**`{place.stem}`**" if place.stem == chosen(group) else f"`{place.stem}`"
            lines.append((name, opening_comment(place)))
        page.append(table("choice, what it is", lines))
    return "".join(page)


# ------------------------------------------------------------------------------------------------------- blocks


def routes() -> str:
    """Routes between leukaemic states, with the parameter that sets the rate of each."""
    biology = default_run().biology
    letters = alphabet_of(biology)
    found = zip(letters.route_names, letters.route_clock, letters.route_parameter, strict=True)
    seen = {(name, CLOCKS[int(clock)], letters.parameters[place]) for name, clock, place in found}
    lines = [(f"`{n}`", when, f"`{path}`", f"{parameter(biology, path):g}") for n, when, path in sorted(seen)]
    count = f"The default biology has {len(letters)} states and {len(letters.route_names)} routes between them.\n\n"
    return count + table("route, when, rate, value (median)", lines)


def states() -> str:
    """What a leukaemic cell can be: the values that occur in the alphabet of the default biology."""
    letters = alphabet_of(default_run().biology)
    values: dict[str, set[object]] = {
        "`lineage`": {s.lineage for s in letters.states},
        **{
            f"`{name}`: intact alleles, surface": {(s.antigens[i].alleles, s.antigens[i].shown) for s in letters.states}
            for i, name in enumerate(letters.antigens)
        },
        "`progenitor`": {"progenitor-like" if s.progenitor else "committed" for s in letters.states},
        "`niche`": {s.niche for s in letters.states},
        "`origin`": {s.origin for s in letters.states},
    }

    def words(value: object) -> str:
        return f"{value[0]} {value[1]}" if isinstance(value, tuple) else str(value)

    found = [(name, ", ".join(sorted(words(v) for v in seen))) for name, seen in values.items()]
    return table("variable, values that occur", found) + f"\nTogether {len(letters)} states can be reached.\n"


@cache  # composes every product
def car_t_cells() -> str:
    """Classes of CAR T cells by product."""
    lines = []
    for place in sorted((CONF / "product").glob("*.yaml")):
        product = compose([f"product={place.stem}", "trial=none", "comparators=none"]).product
        parts = []
        for c in car_classes(product, default_run().biology.antigens):
            share = f" {c.fraction:.0%}" if c.fraction < 1 else ""
            parts.append(f"{c.label.removeprefix('CAR T ')}{share} (day {product.components[c.component].day:g})")
        shapes = ", ".join(dict.fromkeys(part.architecture for part in product.components.values()))
        lines.append((f"`{place.stem}`", shapes, "; ".join(parts)))
    return table("product, architecture, classes of CAR T cells by what they see", lines)


def patient() -> str:
    """State variables of a patient, from the docstring of `Patient`."""
    said = (inspect.getdoc(Patient) or "").split("Attributes:\n")[1]
    entries = re.findall(r"^ {4}(\w[\w, ]*): (.+?)(?=\n {4}\w|\Z)", said, flags=re.S | re.M)
    lines = [(", ".join(f"`{n}`" for n in names.split(", ")), " ".join(what.split())) for names, what in entries]
    return table("variable, meaning", lines)


def hazard_table() -> str:
    """What each hazard of the law is, from its function."""
    rules = (
        hazards.division_hazard, hazards.birth_hazard, hazards.death_hazard, hazards.kill_hazard,
        hazards.killing_pressure, hill, any_receptor, hazards.route_hazard, hazards.effector_birth,
        hazards.activation_hazard, hazards.exhaustion_hazard, hazards.car_t_death, hazards.kill_hazard_b,
        hazards.endogenous_t_cells, hazards.lymphopenia, hazards.kendall, hazards.tick_days,
    )  # fmt: skip
    return table("function of `escape_abm/law/`, rule", [(f"`{f.__name__}`", first_words(f)) for f in rules])


def events() -> str:
    """Events of treatment, from the methods of `Course`."""
    methods = (Course.lymphodeplete, Course.give, Course.infuse, Course.reject, Course.assess, Course.transplant)
    lines = [(f"`{m.__name__}`", first_words(m)) for m in (*methods, Course.visit)]
    return table("event, what it does", lines)


def definitions() -> str:
    """Endpoints, from the docstring of their module."""
    return table("endpoint, definition", [(f"`{name}`", said) for name, said in adam.definitions().items()])


def mechanisms() -> str:
    """Names of mechanisms of relapse, in the order of the rules."""
    return ", ".join(endpoints.MECHANISMS) + ".\n"


def phenotypes() -> str:
    """Phenotypes of CAR T cells."""
    return ", ".join(CAR_T_PHENOTYPES) + ".\n"


def streams() -> str:
    """Streams of chance of one patient."""
    names = ("TRAITS", "LEUKAEMIA", "COURSE", "READOUT", "AGENTS")
    return ", ".join(f"{name.lower()} ({getattr(cohort, name)})" for name in names) + ".\n"


def values() -> str:
    """Every parameter of the default biology and cohort: value, unit, spread between patients, grade."""
    run = default_run()
    sections = {"biology": run.biology, "cohort": Cohort(), "regimen": Regimen(), "clinic": run.clinic}
    page = []
    for name, section in sections.items():
        rows = list(parameter_rows(section, name))
        spreads = {r.path.removesuffix("_sigma"): r.value for r in rows if r.path.endswith("_sigma")}
        lines = []
        for r in rows:
            if r.path.removesuffix("_sigma") in spreads and r.path.endswith("_sigma"):
                continue
            spread = f"{spreads[r.path]:g}" if spreads.get(r.path) else ""
            path = f"`{r.path.removeprefix(name + '.')}`"
            lines.append((path, f"{r.value:g}", r.unit, spread, r.grade, r.meaning))
        page.append(f"**{name}**\n\n" + table("parameter, value, unit, sd of ln, grade, meaning", lines))
    return "\n".join(page)


BLOCKS = (
    routes, states, car_t_cells, patient, hazards, events, definitions, mechanisms, phenotypes, streams, values,
)  # fmt: skip


def filled(text: str) -> str:
    """A page with its blocks brought up to date."""
    for block in BLOCKS:
        begin, end = f"<!-- {block.__name__}: begin -->\n", f"<!-- {block.__name__}: end -->"
        if begin in text:
            head, rest = text.split(begin)
            text = head + begin + block() + end + rest.split(end)[1]
    return text


def pages() -> dict[str, str]:
    """Every page with something of the code in it, as it should be."""
    by_hand = {place.name: place.read_text(encoding="utf-8") for place in sorted(HERE.glob("*.md"))}
    mixed = {name: filled(text) for name, text in by_hand.items() if ": begin -->" in text}
    written = {
        "parameters.md": parameters_page(),
        "choices.md": choices_page(),
        "figures.md": figures_page(HERE / "images"),
    }
    return written | mixed


if __name__ == "__main__":
    for page, text in pages().items():
        (HERE / page).write_text(text, encoding="utf-8")
