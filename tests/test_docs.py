"""Documentation that cannot drift: tables are those of the code, reports of their data, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import escape_abm
from docs import make_tables, make_validation
from docs.make_tables import CONF, GROUPS, opening_comment
from escape_abm.evidence.sensitivity import COLUMNS as INDICES
from escape_abm.inputs.rows import replace
from escape_abm.inputs.trial import COMPARED
from escape_abm.interface.composition import compose
from escape_abm.trials.comparison import COLUMNS
from escape_abm.trials.survival import Difference, Estimate

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]


def test_what_pages_say_of_the_code_is_that_of_the_code() -> None:
    stale = [page for page, text in make_tables.pages().items() if (DOCS / page).read_text(encoding="utf-8") != text]
    assert stale == [], "run python docs/make_tables.py"


def test_a_changed_default_changes_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_tables.default_run()
    changed = run.model_copy(update={"biology": replace(run.biology, {"antigens.cd19.last_hit_per_division": 3.21e-7})})
    monkeypatch.setattr(make_tables, "default_run", lambda: changed)
    page = (DOCS / "odd.md").read_text(encoding="utf-8")
    assert make_tables.filled(page).count("3.21e-07") == page.count("3.21e-07") + 2  # routes and values
    assert "3.21e-07 (" in make_tables.parameters_page()


def test_every_choice_says_what_it_is() -> None:
    groups = {p.name for p in CONF.iterdir() if p.is_dir()} - {"figure"}  # its choices have captions: docs/figures.md
    assert set(GROUPS) == groups
    files = [p for group in groups for p in (CONF / group).glob("*.yaml")]
    assert [str(p.relative_to(CONF)) for p in files if not opening_comment(p)] == []


def test_every_output_column_is_explained() -> None:
    page = (DOCS / "outputs.md").read_text(encoding="utf-8")
    patients = (ROOT / "tests/trials/baseline.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    summary = ("arm", "endpoint", "month", *Estimate._fields, "standard_error")
    contrasts = ("arm", "reference", "endpoint", "month", *Difference._fields)
    assert [c for c in patients if f"`{c}`" not in page] == []
    assert [c for c in (summary, contrasts, COLUMNS, INDICES) if f"`{', '.join(c)}" not in page] == []
    families = ("relapse_cd19", "median_")  # told of together
    short = [e.replace("cumulative_incidence_antigen", "..._antigen") for e in COMPARED if not e.startswith(families)]
    short = [e.replace("cumulative_incidence_lineage", "..._lineage") for e in short]
    assert [e for e in short if f"`{e}`" not in page] == []


def test_columns_of_figures_are_explained() -> None:
    """Of those whose small tables are stored."""
    page = (DOCS / "outputs.md").read_text(encoding="utf-8").partition("## figures/")[2]
    names = ("relapse_by_product", "outcomes_by_product", "mechanisms_by_product", "cumulative_incidence", "courses")
    for name in (*names, "prevented"):
        head = (ROOT / "tests/figures" / f"{name}.csv").read_text(encoding="utf-8").splitlines()[0]
        assert f"`{name}.csv`" in page
        assert f"`{head.replace(',', ', ')}`" in page, name


def test_every_name_of_the_package_is_on_the_page_of_python() -> None:
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    assert [name for name in escape_abm.__all__ if name != "__version__" and f"`{name}`" not in page] == []
    for module, name in re.findall(r"^::: escape_abm\.([\w.]+)\.(\w+)$", page, re.MULTILINE):
        assert hasattr(import_module(f"escape_abm.{module}"), name), name


def test_validation_report_holds_every_published_figure() -> None:
    found, about = make_validation.read(DOCS / "validation.csv")
    again = "run python -m docs.make_validation SWEEP"
    assert (DOCS / "validation.md").read_text(encoding="utf-8") == make_validation.page(found, about), again
    told = [tuple(x) for x in found[["trial", "endpoint", "published"]].itertuples(index=False)]
    published = []
    for name in make_validation.TRIALS:
        said = yaml.safe_load((CONF / "trial" / f"{name}.yaml").read_text(encoding="utf-8"))["trial"]
        published += [(name, p["endpoint"], float(f"{float(p['estimate']):.4g}")) for p in said["published"]]
    assert sorted(told) == sorted(published), again


def commands() -> list[str]:
    """Every command for an experiment in the pages, apart from those of figures, which have tests of their own."""
    pages = [page for page in PAGES if page.name != "figures.md"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages).replace("\\\n", " ")
    found = dict.fromkeys(re.findall(r"python experiments/\w+\.py(?: [^`\n#]*)?", text))
    # Patterns, and folders of the reader's.
    left_out = ("experiments/figures.py", "--config-dir", "-sc ", "...", "NAME", "ARGUMENTS", "KEY", "FOLDER")
    return [c for c in found if not any(part in c for part in left_out)]


CONFIG = {"trial": "published"} | {name: name for name in ("theory", "marrow", "calibrate", "sensitivity")}


@pytest.mark.parametrize("command", commands())
def test_commands_are_understood(command: str) -> None:
    """They compose; of a sweep its first job does."""
    _, script, *given = shlex.split(command)
    assert (ROOT / script).exists()
    sweep = "-m" in given
    overrides = [o for o in given if o != "-m" and not o.startswith("sweep.")]
    if sweep:
        overrides = [o for o in overrides if not re.search(r"=(tag|interval|int|range|plausible|glob)", o)]
        overrides = [o if "[" in o or "{" in o else o.split(",")[0] for o in overrides]
    compose(overrides, CONFIG.get(Path(script).stem, "config"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target
    for name in re.findall(r"`((?:escape_abm|docs|experiments|tests|benchmarks|conf)/[\w./]+)`", text):
        assert (ROOT / name).exists(), name
    for address in re.findall(r"https?:[^\s<>)\"'|`]*", text):
        assert re.fullmatch(r"https?://[\w.-]+\.\w+(/[^\s]*)?", address), address
