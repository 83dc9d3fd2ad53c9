"""Write the tables of the documentation from the code: `python docs/make_tables.py`. A test compares them."""

from __future__ import annotations

from pathlib import Path

from escape_abm.clinic import Clinic
from escape_abm.cohort import Cohort
from escape_abm.gallery import page as figures_page
from escape_abm.parameters import Biology, Section, parameter_rows, references
from escape_abm.products import Component, Construct
from escape_abm.regimen import Regimen
from escape_abm.settings import Engine
from escape_abm.states import PER_CONTACT, PER_DAY, PER_DIVISION, alphabet_of

HERE = Path(__file__).parent
CLOCKS = {PER_DIVISION: "at division", PER_DAY: "per day", PER_CONTACT: "per contact that does not kill"}


PREAMBLE = """# Parameters

Written by `docs/make_tables.py` from the rows in `escape_abm/`; do not edit. Any of them is set on the command line by
its name: `biology.killing.kill_per_day=2`. `allowed`: outside it the value is refused. `plausible`: what the evidence
leaves open. Grade A: measured in patients; B: in vitro or in animals; C: fitted, tuned or assumed. Source `start` is
the starting fit of the law: a place to start, not a measurement. Besides, a run has `seed`, `follow_up_months`,
`workers`, `trajectories.patients` and `trajectories.every_days`."""


def parameters_page() -> str:
    """Every parameter with value, unit, ranges, grade and source, and the list of sources."""
    lines = [PREAMBLE]
    construct = Construct(antigen="cd19")
    sections: dict[str, Section] = {
        "biology": Biology(),
        "cohort": Cohort(),
        "regimen": Regimen(),
        "clinic": Clinic(),
        "engine": Engine(),
        "product.components.NAME": Component(constructs={"NAME": construct}),
    }
    for name, section in sections.items():
        lines += ["", f"## {name}", "", "| parameter | value | unit | allowed | plausible | grade | source | meaning |"]
        lines += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
        for r in parameter_rows(section, name):
            allowed, plausible = (f"{low:g} to {high:g}" for low, high in (r.allowed, r.plausible))
            cells = (f"`{r.path}`", f"{r.value:g}", r.unit, allowed, plausible, r.grade, r.source, r.meaning)
            lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "## Sources", "", "| key | source |", "| --- | --- |"]
    for key, line in sorted(references().items()):
        address = f" <{line['url']}>" if line["url"] else ""
        lines.append(f"| {key} | {line['citation']}{address} |")
    return "\n".join(lines) + "\n"


def routes_table() -> str:
    """Routes between leukaemic states with the parameter that sets their rate."""
    letters = alphabet_of(Biology())
    seen: dict[str, tuple[str, list[str]]] = {}
    for name, clock, parameter in zip(letters.route_names, letters.route_clock, letters.route_parameter, strict=True):
        _, paths = seen.setdefault(name, (CLOCKS[int(clock)], []))
        path = letters.parameters[parameter]
        if path not in paths:
            paths.append(path)
    lines = [f"The default biology has {len(letters)} states and {len(letters.route_names)} routes between them.", ""]
    lines += ["| route | when | rate |", "| --- | --- | --- |"]
    lines += [f"| `{n}` | {what} | {', '.join(f'`{p}`' for p in paths)} |" for n, (what, paths) in sorted(seen.items())]
    return "\n".join(lines) + "\n"


def model_page(text: str) -> str:
    """The model page with its table of routes brought up to date."""
    begin, end = "<!-- routes: begin -->\n", "<!-- routes: end -->"
    head, rest = text.split(begin)
    return head + begin + routes_table() + end + rest.split(end)[1]


if __name__ == "__main__":
    (HERE / "parameters.md").write_text(parameters_page(), encoding="utf-8")
    (HERE / "figures.md").write_text(figures_page(HERE / "images"), encoding="utf-8")
    page = HERE / "model.md"
    page.write_text(model_page(page.read_text(encoding="utf-8")), encoding="utf-8")
