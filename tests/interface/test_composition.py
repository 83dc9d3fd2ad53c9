"""The command line: everything can be overridden, and what is wrong is refused before anything is written."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
import pytest
import yaml
from hydra import version
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra

from escape_abm.inputs.checks import InputError
from escape_abm.inputs.settings import Settings
from escape_abm.interface.composition import compose, conf_dir
from escape_abm.interface.composition import read as read_config
from escape_abm.interface.launch import launch
from tests.inputs.test_parameters import ROWS

GROUPS = sorted(p.name for p in Path(conf_dir()).iterdir() if p.is_dir() and p.name != "figure")  # no settings
CHOICES = [(g, p.stem) for g in GROUPS for p in sorted((Path(conf_dir()) / g).glob("*.yaml"))]


def test_there_are_choices() -> None:
    assert len(CHOICES) > 25
    assert {
        "biology",
        "clinic",
        "cohort",
        "regimen",
        "product",
        "comparators",
        "engine",
        "trial",
        "dose",
        "construct",
        "sweep",
        "executor",
    } == set(GROUPS)


@pytest.mark.parametrize(("group", "choice"), [c for c in CHOICES if c[0] != "construct"])
def test_every_choice_composes(group: str, choice: str) -> None:
    settings = compose([f"{group}={choice}"])
    assert isinstance(settings, Settings)
    if group == "product":
        assert settings.product.name == choice
        assert settings.arms[0].name == choice


@pytest.mark.parametrize("choice", [c for g, c in CHOICES if g == "construct"])
def test_every_construct_composes(choice: str) -> None:
    group = "construct@product.components.cd19.constructs.cd19"
    settings = compose(["product=cd19_fmc63", f"{group}={choice}", "comparators=none"])
    (construct,) = settings.product.components["cd19"].constructs.values()
    assert construct.antigen in ("cd19", "cd22")


def test_every_parameter_can_be_overridden() -> None:
    overrides = [f"{line.path}={line.value}" for line in ROWS if not line.path.startswith("cohort.negative")]
    assert compose(["trial=none", *overrides]) == compose(["trial=none", "biology=starting_fit", "clinic=standard"])


def test_default_is_the_real_trial() -> None:
    settings = compose()
    assert settings.trial.name == "auto1_22"
    assert settings.cohort.negative_patients_fraction == 0.25
    assert len(settings.arms) >= 8
    assert settings.trial.published
    assert compose(["cohort.size=7", "seed=3", "biology=literature"]).trial.published
    assert compose(["clinic.death_after_relapse_per_day=0.003"]).trial.published  # how patients fare is the model's


@pytest.mark.parametrize(
    "change",
    ["product=tandem", "cohort=low_burden", "dose=fixed", "cohort.kmt2a_fraction=0.5", "clinic.assessment_day=40"],
)
def test_published_results_stand_only_beside_their_own_patients(change: str) -> None:
    assert not compose([change]).trial.published


def test_the_command_line_wins_over_the_trial() -> None:
    settings = compose(["trial=auto1_22", "product=tandem", "cohort=low_burden"])
    assert settings.product.name == "tandem"
    assert settings.cohort.burden_median_cells == 1e9


def test_own_arm_and_dropped_arm() -> None:
    settings = compose(["+product@comparators.mine=cd22_sensitive", "~product@comparators.tandem"])
    names = [a.name for a in settings.arms]
    assert "cd22_sensitive" in names
    assert "tandem" not in names


def test_a_changed_product_says_so_unless_it_is_renamed() -> None:
    words = ["product=cd19_fmc63", "construct@product.components.cd19.constructs.cd19=cat_41bb", "comparators=none"]
    changed, renamed = compose(words).product, compose([*words, "product.label=Mine"]).product
    assert (changed.name, changed.label) == ("cd19_fmc63", "CD19 (FMC63), changed")
    assert renamed.label == "Mine"
    assert compose([words[0], words[2], "product.note=seen"]).product.label == "CD19 (FMC63)"


def test_a_list_of_words_is_wanted() -> None:
    with pytest.raises(InputError, match=r"compose\(\['product=tandem', 'seed=2'\]\)"):
        compose("product=tandem seed=2")


BAD = {
    "unknown group": ("prodct=tandem", ["prodct", "Did you mean 'product'"]),
    "unknown choice": ("product=tandm", ["tandm", "Did you mean 'tandem'", "bicistronic"]),
    "what is only to be shown": ("--cfg job product=tandm", ["product=tandm: no such choice. Did you mean 'tandem'"]),
    "unknown trial": ("trial=eliana2", ["eliana2", "Choices of trial"]),
    "unknown engine": ("engine=contz", ["contz", "counts"]),
    "unknown key": (
        "biology.leukaemia.net_groth_per_day=1",
        ["net_groth", "mean 'biology.leukaemia.net_growth_per_day'"],
    ),
    "a new arm without a plus": ("product@comparators.b=tandem", ["To add a new one: +product@comparators.b=tandem"]),
    "a new arm as a value": (
        "comparators.b=cd19_cat",
        ["not a value. To add a new one: +product@comparators.b=cd19_cat"],
    ),
    "a new arm as a new value": ("+comparators.b=cd19_cat", ["To add a new one: +product@comparators.b=cd19_cat"]),
    "a new construct": (
        "product.components.dual.constructs.cd20=m971_41bb",
        ["constructs.cd22'? To add a new one: +construct@product.components.dual.constructs.cd20=m971_41bb"],
    ),
    "an arm that is the product": (
        "product=tandem +product@comparators.b=tandem",
        ["comparators.b=tandem: tandem is compared already", "comparators.b.name=my_tandem"],
    ),
    "an arm that is there": ("+product@comparators.b=bicistronic", ["bicistronic is compared already"]),
    "no folder": ("hydra.run.dir= hydra.sweep.dir=x", ["hydra.run.dir=: which folder?", "a new one in outputs/"]),
    "no folder of a sweep": ("-m seed=1,2 hydra.sweep.dir= hydra.run.dir=x", ["hydra.sweep.dir=: which folder?"]),
    "a choice with a plus": ("+product=tandem", ["without the +: product=tandem"]),
    "unreadable": ("seed=((", ["seed=((: cannot be read", "quotes"]),
    "unknown key with a plus": ("+cohort.sise=3", ["cohort.sise", "Did you mean 'cohort.size'"]),
    "wrong type": ("biology.killing.hill=abc", ["biology.killing.hill='abc'", "number", "1.5"]),
    "wrong type of seed": ("seed=first", ["seed='first'", "integer"]),
    "out of range": ("biology.leukaemia.net_growth_per_day=-1", ["-1", "between 0 and 1 (1/d)", "0.097"]),
    "fraction over one": ("cohort.kmt2a_fraction=1.5", ["1.5", "between 0 and 1", "the row's value is 0.08"]),
    "not a number": ("biology.killing.hill=nan", ["hill", "finite"]),
    "nobody": ("cohort.size=0", ["cohort.size=0", "at least 1"]),
    "no worker": ("workers=0", ["workers=0", "at least 1"]),
    "negative day": ("product.components.dual.day=-5", ["day=-5", "between 0 and 3650"]),
    "sequential at once": ("product=sequential product.components.cd22.day=0", ["sequential", "same day", "later day"]),
    "sequential alone": ("product=tandem product.schedule=sequential", ["one infusion", "second component"]),
    "unknown antigen": (
        "product.components.dual.constructs.cd19.antigen=cd91",
        ["cd91", "not an antigen", "Did you mean 'cd19'"],
    ),
    "unknown antigen at entry": ("cohort.negative_antigen=cd91", ["cd91", "Did you mean 'cd19'"]),
    "fractions of a dose": ("regimen.split_fractions=[0.5,0.6] regimen.split_days=[0,1]", ["0.6", "add up to 1"]),
    "two doses": ("dose=fixed regimen.dose_cells_per_kg=1e6", ["exactly one", "null"]),
    "transduction over one": ("product.components.dual.transduced_fraction.cd19=1.2", ["1.2", "between 0 and 1"]),
    "unknown route": ("biology.routes_off=[cd19_los]", ["biology.routes_off=['cd19_los']: a list", "mean 'cd19_"]),
    "routes that are no list": (
        "biology.routes_off=cd19",
        ["routes_off='cd19'", "[cd19_silencing]", "lineage_switch"],
    ),
    "a product without a name": ("product.name=", ["product.name=''", "letters, digits, _ and -", "into the label"]),
    "a name with a slash": ("product.name=a/b", ["product.name='a/b'", "letters, digits, _ and -"]),
    "an arm of no name": ("comparators.tandem.name=''", ["comparators.tandem.name=''", "letters"]),
    "a product without a label": ("product.label=", ["product.label=''", "must not be empty"]),
    "a trial without a name": ("trial.name=", ["trial.name=''", "write name: auto1_22"]),
    "a number for a group": ("dose=2e6", ["dose takes a choice by its name: ", "regimen.dose_cells_per_kg="]),
    "a construct without its place": ("construct=fmc63_28z", ["construct@product.components."]),
    "a product as comparators": ("comparators=tandem", ["+product@comparators.b=tandem"]),
    "short follow-up": ("follow_up_months=0.5", ["0.5", "day 28", "follow for longer"]),
    "infusion after the end": ("trial=none follow_up_months=3", ["sequential", "day 116", "~comparators.sequential"]),
    "burden over capacity": ("cohort.burden_max_cells=3e12", ["3e+12", "95 %", "raise the second"]),
    "sweep without -m": ("seed=range(1,3)", ["range", "multirun"]),
    "values without -m": ("product=tandem,bicistronic", ["tandem,bicistronic", "--multirun", "+product@comparators"]),
    "decimal comma": (
        "biology.killing.kill_per_day=1,5",
        ["takes a point: biology.killing.kill_per_day=1.5. For a run"],
    ),
    "list of a group": ("product=[tandem,cd19_fmc63]", ["takes one choice", "-m", "+product@comparators.b=B"]),
    "bad value in a sweep": ("-m seed=1,2 cohort.size=5,0", ["cohort.size=0", "at least 1"]),
    "infusion on a wrong day": ("regimen.split_fractions=[0.5,0.5] regimen.split_days=[-1,0]", ["-1", "start with 0"]),
    "second hit without a first": ("biology.antigens.cd22.hits_to_loss=2", ["hits_to_loss=2", "the second hit never"]),
    "size limit": ("engine.size_limit_cells=1e10", ["1e+10", "ten times", "raise the first"]),
    "two products of one name": (
        "product=tandem product.components.dual.constructs.cd22.half_density_fold=0.25",
        ["'tandem'", "differ", "product.name=my_tandem"],
    ),
    "remission of a packed marrow": (
        "clinic.relapse_blast_fraction=0.5 clinic.largest_blast_fraction=0.5",
        ["0.5", "packed"],
    ),
    "a dictionary that would be added": (
        "comparators={}",
        ["would not replace", "cd19_fmc63", "and 5 more would stay", "'~comparators' '+comparators={}'"],
    ),
    "a dictionary inside others": ("trial.strata={all:x}", ["responders", "'~trial.strata' '+trial.strata={all:x}'"]),
    "a dictionary in a dictionary": ("++biology.antigens.cd19={hits_to_loss:1}", ["blast_density_molecules"]),
    "a component of another product": (
        "product=cd22_m971 product.components.dual.day=1",
        ["no such key 'product.components.dual.day'", "Choose one of: cd22."],
    ),
    "a component of another arm": (
        "+product@comparators.b=sequential comparators.b.components.dual.day=3",
        ["Choose one of: cd19, cd22."],
    ),
    "an arm of none": ("comparators=none comparators.tandem.label=x", ["There is none to choose from"]),
    "a sweep of nothing": ("-m seed=range(5,5)", ["seed=range(5,5): no value at all"]),
    "a sweep of no choice": ("-m product=glob(zzz*) sweep=zip", ["product=glob(zzz*): no value at all"]),
    "a range that stands still": ("-m seed=range(1,5,0)", ["seed=range(1,5,0): cannot be read", "seed=range(1,9)"]),
    "empty values": ("-m seed=1,", ["without a comma before or after"]),
    "a name too long for a folder": (f"hydra.run.dir={'a' * 300}", ["File name too long", "Name another folder"]),
    "a path too long": (f"-m seed=1,2 hydra.sweep.dir={'a/' * 2500}x", ["File name too long"]),
    "a choice of a long name": (f"product={'a' * 300}", ["no such choice"]),
    "a home that the shell left alone": ("hydra.run.dir=~/x", ["Write the whole path"]),
    "a folder from nowhere": ("hydra.run.dir=${nope}", ["hydra.run.dir: Interpolation key 'nope' not found"]),
    "a value from nowhere": ("seed=${nope}", ["seed: Interpolation key 'nope' not found", "--cfg job"]),
    "a dictionary without colons": ("executor.options={a=1}", ["written 'executor.options={NAME: VALUE"]),
    "a dictionary left open": ("trial.strata={a:b", ["a bracket is not closed", "in quotes"]),
    "a list of nothing readable": ("biology.routes_off=[(]", ["written 'biology.routes_off=[1,2]'"]),
    "a new name in an empty dictionary": ("draws={a:[1]}", ["added to draws with a plus: '+draws={a:[1]}'"]),
    "no key": ("=3", ["=3: a word is KEY=VALUE, and this has no key"]),
    "nothing to take away": ("~", ["this has no key"]),
    "a port that is none": (
        "-m seed=1,2 executor=dask executor.address=tcp://127.0.0.1:99999",
        ["a port from 1 to 65535"],
    ),
    "no address": ("-m seed=1,2 executor=dask executor.address=here", ["tcp://HOST:PORT"]),
    "a file for a choice": ("trial=../trial/none", ["a choice is a name, without / or .."]),
    "a file for an arm": ("+product@comparators.b=/etc/passwd", ["a choice is a name", "product=NAME"]),
    "something to call": ("+hydra.callbacks.a._target_=os.getcwd", ["a configuration is data and calls nothing"]),
    "a log elsewhere": ("+hydra.job_logging.handlers.console.filename=x.log", ["in the folder of its run"]),
    "nothing to take away there": ("~comparators.nobody", ["~comparators.nobody: there is nothing of this name"]),
    "no choice to take away": ("~trial=eliana", ["~trial: there is nothing of this name", "not with this value"]),
    "a group with two plus": ("++cohort=low_burden", ["takes no plus", "Write cohort=low_burden"]),
    "a key that is none": ("biology..killing=1", ["'biology..killing' is none"]),
    "a key with an index": ("regimen.split_days[0]=1", ["A key is names with points between them"]),
    "a mode from nowhere": ("hydra.mode=${nope}", ["hydra.mode: Interpolation key 'nope' not found"]),
    "an environment of lists": ("hydra.job.env_copy=[[a],a]", ["str expected"]),
    "a sweep in a list": ("-m seed=shuffle(range(3)),4", ["seed=shuffle(range(3)),4: a sweep within a list"]),
    "a sweep in choices": ("dose=shuffle(range(3)),per_kg", ["a sweep within a list of values"]),
    "a mode that is none": ("hydra.mode=walk", ["hydra.mode=walk: Invalid value 'walk', expected one of [RUN"]),
    "a number for Hydra": ("hydra=3", ["hydra=3: a group takes a choice by its name"]),
    "empty window": ("biology.car_t.rejection_first_day=300", ["300", "120", "raise the last"]),
}


def test_there_are_twenty_bad_inputs() -> None:
    assert len(BAD) >= 20


@pytest.mark.parametrize("words", BAD.values(), ids=BAD.keys())
def test_bad_input_stops_at_the_door(
    words: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, expected = words
    GlobalHydra.instance().clear()
    out = [f"hydra.run.dir={tmp_path}/run", f"hydra.sweep.dir={tmp_path}/sweep"] * ("hydra." not in line)
    monkeypatch.setattr(sys, "argv", ["compare_products.py", *line.split(), *out])
    monkeypatch.chdir(tmp_path)

    def never(_settings: Settings, _folder: Path) -> None:
        pytest.fail("the experiment was started")

    with pytest.raises(SystemExit) as caught:
        launch(never)
    text = str(caught.value)
    for word in expected:
        assert word in text
    assert "Nothing was run and nothing was written." in text
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("product.components.dual.transduced_fraction", "{cd19: 0.5, cd22: 0.4}"), ("comparators", "{}")],
)
def test_a_dictionary_replaces_as_the_message_says(key: str, value: str) -> None:
    settings = compose([f"~{key}", f"+{key}={value}"]).model_dump()
    for part in key.split("."):
        settings = settings[part]
    assert settings == yaml.safe_load(value)


def test_a_dictionary_of_all_that_is_there_needs_no_more_words() -> None:
    key = "product.components.dual.transduced_fraction"
    assert compose([f"{key}={{cd19: 0.5, cd22: 0.4}}"]) == compose([f"{key}.cd19=0.5", f"{key}.cd22=0.4"])


def test_a_program_with_a_hydra_of_its_own(tmp_path: Path) -> None:
    """Neither sees the other's configuration, whatever they call their groups."""
    (tmp_path / "config.yaml").write_text("rate: 1\n")
    store = ConfigStore.instance()
    store.store(group="trial", name="theirs", node={"rate": 2})
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(version_base="1.2", config_dir=str(tmp_path)):
        assert compose(["cohort.size=3"]).cohort.size == 3
        assert read_config("figures", ["small=true"])["small"]
        with pytest.raises(InputError, match="no such choice") as caught:
            compose(["trial=their"])
        assert "theirs" not in str(caught.value)
        assert hydra.compose("config", ["+trial=theirs"]) == {"rate": 1, "trial": {"rate": 2}}
        assert str(version.getbase()) == "1.2"
    del store.repo["trial"]


@pytest.mark.parametrize(("group", "text"), [("biology", "killing: {kill_per_day: 3}"), ("clinic", "")])
def test_a_choice_of_ones_own_says_where_it_starts_from(group: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / group / "mine.yaml"
    file.parent.mkdir()
    file.write_text(text)
    words = [f"{group}=mine"]
    with pytest.raises(InputError, match=r"does not say where it starts from.*`defaults: \[fitted, _self_\]`"):
        compose(words, config_dir=tmp_path)
    rows = {"biology": "starting_fit", "clinic": "standard"}[group]
    for start in ("fitted", rows):
        file.write_text(f"defaults: [{start}, _self_]\n{text}")
        change = {"biology": ["biology.killing.kill_per_day=3"], "clinic": []}[group]
        assert compose(words, config_dir=tmp_path) == compose([f"{group}={start}", *change])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hydra: {callbacks: {x: {_target_: os.mkdir, path: made}}}", "of hydra a choice may set"),
        ("hydra: {job_logging: {handlers: {console: {class: os.mkdir, path: made}}}}", "of hydra a choice may set"),
        ("defaults: [fitted@biology, override /hydra/job_logging: disabled, _self_]", "of hydra a choice may set"),
        ("hydra: {run: {dir: ..}}", "of hydra a choice may set"),
        ("biology: !!python/object/apply:os.mkdir [made]", "could not determine a constructor"),
        ("biology: {killing: {_target_: os.mkdir}}", "_target_: no such key"),
    ],
)
def test_choices_of_others_are_data(text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they name is never called, and where a run goes they do not say."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "own" / "biology" / "theirs.yaml"
    file.parent.mkdir(parents=True)
    start = "" if text.startswith("defaults") else "defaults: [fitted@biology, _self_]\n"
    file.write_text(f"# @package _global_\n{start}{text}\n")
    with pytest.raises(InputError, match=told):
        compose(["biology=theirs"], config_dir=tmp_path / "own")
    assert [p.name for p in tmp_path.iterdir()] == ["own"]


def test_compose_raises_input_error() -> None:
    with pytest.raises(InputError, match=r"Did you mean 'cohort\.size'"):
        compose(["cohort.sice=3"])
