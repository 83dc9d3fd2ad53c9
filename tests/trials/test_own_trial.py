"""A trial from outside the repository: the template runs, and broken versions of it are refused at the door."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from escape_abm.interface import groups, own_choices
from escape_abm.interface.composition import compose
from escape_abm.trials.survival import proportion

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "docs" / "own_trial" / "trial" / "my_trial.yaml"

BROKEN = {
    "endpoint": ("endpoint: overall_survival", "endpoint: overal_survival", "Did you mean 'overall_survival'?"),
    "percent": ("estimate: 0.72", "estimate: 72", "not a fraction between 0 and 1"),
    "source": (
        "events: 36, n: 40}",
        "events: 36, n: 40, source: smith2025}",
        "not a key of references.csv. Give a key",
    ),
    "misspelt source": ("  source: assumed ", "  source: maude2081 ", "Did you mean 'maude2018'?"),
    "events": ("events: 36, n: 40", "events: 42, n: 40", "events=42 with n=40"),
    "events without n": ("events: 36, n: 40", "events: 36", "events=36 with n=None"),
    "share": ("estimate: 0.9, events: 36", "estimate: 0.5, events: 36", "events=36 of n=40 are 0.9"),
    "n": ("upper: 0.84, n: 40", "upper: 0.84, n: 400", "n=400 is more than size=40"),
    "month": ("overall_survival, month: 12", "overall_survival", "month is missing"),
    "interval": ("lower: 0.55", "lower: 0.75", "outside its interval"),
    "stratum": ("stratum: transplanted", "stratum: transplnted", "Did you mean 'transplanted'?"),
    "condition": ("entry_blast_fraction > 0.3", "entry_blasts > 0.3", "entry_blasts"),
    "not a condition": ("day_transplant.notna()", "day_transplant + 1", "yes or no"),
    "split": ("[0.1, 0.3, 0.6]", "[0.1, 0.3, 0.5]", "must add up to 1"),
    "two doses": ("dose_cells: null", "dose_cells: 6.0e+7", "give exactly one"),
    "transplant too early": ("day: 75", "day: 20", "transplant later"),
    "range": ("negative_patients_fraction: 0.1 ", "negative_patients_fraction: 10 ", "must lie between 0 and 1"),
    "unknown key": ("weight_median_kg: 70", "weight_kg: 70", "weight_kg"),
    "product": ("override /product: tandem", "override /product: tandm", "Did you mean 'tandem'?"),
    "no size": ("  size: 40 ", "  # size: 40 ", "size"),
    "short run": ("follow_up_months: 24", "follow_up_months: 6", "follow_up_months"),
    "name": ("name: my_trial", "name: another", "call the file another.yaml"),
    "name of another": ("name: my_trial", "name: eliana", "write name: my_trial"),
    "no place": ("# @package _global_\n", "", "my_trial.yaml: the first line must be `# @package _global_`"),
    "place and more": ("_global_\n", "_global_ # mine\n", "the first line must be `# @package _global_`"),
    "no override": (
        "override /product: tandem",
        "/product: tandem",
        "my_trial.yaml: product has a choice already: write",
    ),
    "no override of the default": ("override /cohort: r", "/cohort: r", "write `- override /cohort: relapsed_ball`"),
    "no list": ("- override /product: tandem", "override /product: tandem", "line 10: expected <block end>"),
    "tab": ("  size: 40 ", "\tsize: 40 ", "cannot start any token. Indent by spaces, not by tabs"),
    "twice": ("follow_up_months: 24", "seed: 1\nseed: 2", "found duplicate key seed. Keep one"),
    "quotes": ("follow_up_months: 24", "seed: a: b", "line 13: mapping values are not allowed here"),
    "interpolation": ("follow_up_months: 24", "seed: ${nothing}", "'nothing' not found"),
    "a bell": ("follow_up_months: 24", "seed: \a", "my_trial.yaml: unacceptable character #x0007"),
    "steps in percent": ("[[0, 1], [2.1, 0.95]", "[[0, 100], [2.1, 95]", "divide percentages by 100"),
    "steps not in order": ("[[0, 1], [2.1, 0.95]", "[[2.1, 0.95], [0, 1]", "months must rise"),
    "steps of a share": ("    overall_survival: [[0", "    relapse: [[0", "not an endpoint that is read by months"),
    "follow-up": ("{median_months: 12}", "{median_months: 12, longest_months: 11}", "they must rise"),
}


def test_the_template_runs(tmp_path: Path) -> None:
    words = ["--config-dir", str(TEMPLATE.parents[1]), "trial=my_trial", "hydra.run.dir=run", "cohort.size=80"]
    line = [sys.executable, str(ROOT / "experiments" / "trial.py"), *words]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "run" / "comparison.csv")
    assert len(table) == 5
    assert table["inside"].notna().sum() == 4
    assert tuple(table.loc[0, ["published_lower", "published_upper"]]) == pytest.approx(proportion(36, 40)[1:3])
    assert "(80 for 40). cohort.size=400 is enough" in done.stderr
    patients = pd.read_parquet(tmp_path / "run" / "patients.parquet")
    assert patients["prior_car"].any()
    assert patients["day_transplant"].notna().any()


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_versions_are_refused(fault: str, tmp_path: Path, command: Callable[..., str]) -> None:
    """With a message that helps, and before anything is written."""
    right, wrong, told = BROKEN[fault]
    text = TEMPLATE.read_text()
    assert right in text
    (tmp_path / "mine" / "trial").mkdir(parents=True)
    (tmp_path / "mine" / "trial" / "my_trial.yaml").write_text(text.replace(right, wrong))
    said = command("trial", "--config-dir", "mine", "trial=my_trial", "hydra.run.dir=run")
    assert told in said
    assert "Nothing was run and nothing was written." in said
    assert not (tmp_path / "run").exists()


def test_traits_of_an_own_construct_need_a_source(tmp_path: Path, command: Callable[..., str]) -> None:
    (tmp_path / "mine" / "construct").mkdir(parents=True)
    file = tmp_path / "mine" / "construct" / "better.yaml"
    file.write_text("antigen: cd22\nhalf_density_fold: 0.5\n")
    words = ("--config-dir", "mine", "product=cd22_m971", "construct@product.components.cd22.constructs.cd22=better")
    assert "half_density_fold without a source" in command("compare_products", *words, "product.name=mine")
    assert not (tmp_path / "outputs").exists()


def test_the_page_holds_the_template() -> None:
    """The site puts the file in the place of this line."""
    page = (ROOT / "docs" / "own_trial.md").read_text(encoding="utf-8")
    assert f'--8<-- "{TEMPLATE.relative_to(ROOT / "docs").as_posix()}"' in page
    assert "pymdownx.snippets" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_a_missing_folder_is_named(tmp_path: Path, command: Callable[..., str]) -> None:
    assert f"no such folder ({tmp_path / 'nowhere'})" in command("trial", "--config-dir", "nowhere", "trial=my_trial")


def test_a_missing_choice_says_where_it_would_be(tmp_path: Path, command: Callable[..., str]) -> None:
    own = TEMPLATE.parents[1]
    assert "--config-dir FOLDER, which holds trial/my_trial.yaml" in command("trial", "trial=my_trial")
    assert f"would be {own / 'trial' / 'mine.yaml'}" in command("trial", "--config-dir", str(own), "trial=mine")
    assert f"Write --config-dir {own}" in command("trial", "--config-dir", str(own / "trial"), "trial=my_trial")
    assert "is given twice" in command("trial", "--config-dir", str(own), f"--config-dir={tmp_path}")


@pytest.mark.parametrize("text", ["hello", "- a", "# caf\xe9", "a: [1"])
def test_what_is_no_choice_is_refused(text: str, tmp_path: Path, command: Callable[..., str]) -> None:
    (tmp_path / "mine" / "cohort").mkdir(parents=True)
    (tmp_path / "mine" / "cohort" / "own.yaml").write_text(text, encoding="latin-1")
    assert f"{tmp_path}/mine/cohort/own.yaml" in command("trial", "--config-dir", "mine", "cohort=own")


def test_places_are_those_of_our_choices() -> None:
    for file in groups.conf_dir().glob("*/*.yaml"):
        if (file.parent.name, file.stem) not in (
            ("trial", "none"),
            ("biology", "posterior"),
        ):  # empty; more than biology
            assert groups.place(file) == groups.PLACES.get(file.parent.name, ""), file


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    own = tmp_path / "it's mine, (1)"
    (own / "cohort").mkdir(parents=True)
    (own / "cohort" / "few.yaml").write_text("size: 7\n")
    assert compose(["cohort=few"], config_dir=own).cohort.size == 7
    assert own_choices.own_folder([own_choices.searched(own)]) == own
