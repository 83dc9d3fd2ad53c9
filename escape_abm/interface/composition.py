"""From conf/ and overrides to settings: Hydra composes them with the parameter rows, then everything is checked.

Only this package imports Hydra. A notebook calls `compose(["product=tandem", "cohort.size=50"])`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import yaml
from hydra import version
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.core.override_parser.types import Sweep as HydrasSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from escape_abm.inputs.biology import Biology
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.clinic import Clinic
from escape_abm.inputs.cohort import Cohort
from escape_abm.inputs.products import Component, Construct, Product
from escape_abm.inputs.regimen import Regimen
from escape_abm.inputs.settings import Engine, Settings, Trajectories, make_settings
from escape_abm.inputs.trial import Trial
from escape_abm.interface import command_line, groups, own_choices
from escape_abm.interface.config_errors import explain
from escape_abm.runs.designs import Sweep
from escape_abm.runs.executors import Executor

if TYPE_CHECKING:  # --help and shell completion answer before pandas and numba are imported
    pass
STORED = ("rows", "construct")
"""What `register_rows` puts where Hydra looks."""
CALLED = (
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    "logging.StreamHandler", "logging.FileHandler", "colorlog.ColoredFormatter",
)  # fmt: skip
"""What Hydra's own configuration names to be called."""
NOT_SETTINGS = ("sweep", "executor", "pictures")  # how runs are made, which moves no result


def conf_dir() -> str:
    """Absolute path of conf/."""
    return str(groups.conf_dir())


@cache
def register_rows() -> None:
    """Put the defaults of the parameter rows where configurations start from (`rows` and `construct/reference`)."""
    sections = {
        "biology": Biology(),
        "clinic": Clinic(),
        "cohort": Cohort(),
        "regimen": Regimen(),
        "engine": Engine(),
        "trajectories": Trajectories(),
        "trial": Trial(),
        "sweep": Sweep(),
        "executor": Executor(),
    }
    store = ConfigStore.instance()
    # Hydra copies its whole store for every group that it looks up, though loading from it copies again: with our rows
    # in it, --help took twice as long.
    ConfigStore.__deepcopy__ = lambda self, _: self  # type: ignore[attr-defined]
    every = {name: section.model_dump(mode="json") for name, section in sections.items()}
    store.store(group="rows", name="all", node=every)
    store.store(group="rows", name="product", node=_defaults(Product))
    store.store(group="rows", name="component", node=_defaults(Component))
    store.store(group="construct", name="reference", node=_defaults(Construct))


def _defaults(model: type[Product] | type[Component] | type[Construct]) -> dict[str, Any]:
    return {name: f.get_default() for name, f in model.model_fields.items() if not f.is_required()}


@contextmanager
def our_hydra(job_name: str = "app") -> Iterator[None]:
    """Hydra on conf/, whatever a program around us has set up for itself; that is as before afterwards."""
    register_rows()
    around, store, base = GlobalHydra.instance(), ConfigStore.instance(), version.VersionBase.instance()
    places = around.config_loader().get_search_path().get_path() if around.is_initialized() else []
    if any(place.path == conf_dir() for place in places):
        yield  # within an experiment, whose own choices are found too
        return
    theirs, repo, before, around.hydra = around.hydra, store.repo, base.version_base, None
    store.repo = {name: node for name, node in repo.items() if name in ("hydra", "_dummy_empty_config_.yaml", *STORED)}
    try:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=conf_dir(), job_name=job_name):
            yield
    finally:
        store.repo, GlobalHydra.instance().hydra = repo, theirs
        base.version_base = before


def compose(
    overrides: Sequence[str] = (), config_name: str = "config", config_dir: str | Path | None = None
) -> Settings:
    """Settings from conf/ and these overrides, as on the command line.

    Args:
        overrides: For example `["product=tandem", "cohort.size=50"]`.
        config_name: Primary configuration of the experiment in conf/.
        config_dir: Folder with choices of your own, as `--config-dir` on the command line.

    Raises:
        InputError: an override names no known key or choice, or a value breaks a rule.
    """
    if isinstance(overrides, str):
        raise InputError(f"{overrides}: a list of words is wanted. Write compose({overrides.split()})")
    if config_dir is not None:
        overrides = [*overrides, own_choices.searched(config_dir)]
    with our_hydra():
        return settings_of(compose_words(overrides, config_name).data, config_name, own_search_path(overrides))


def read(config_name: str, words: Sequence[str] = ()) -> dict[str, Any]:
    """A configuration of conf/ that is no run's, as plain data.

    Raises:
        InputError: a word names no known key or choice.
    """
    with our_hydra():
        return compose_words(words, config_name).data


@dataclass(frozen=True)
class Composed:
    """A composed configuration as plain data, and Hydra's own part of it."""

    data: dict[str, Any]
    hydra: DictConfig
    refers: bool
    """Whether a value is made from others, so that it changes with them."""


def compose_words(overrides: Sequence[str], config_name: str) -> Composed:
    """Compose a configuration; Hydra must have been initialised."""
    parsed = parse_words(overrides)
    for override in parsed:
        _refuse_path(override)
        group = Path(conf_dir()) / override.key_or_group
        if isinstance(override.value(), list) and group.is_dir():
            raise InputError(f"{override.input_line}: {override.key_or_group} takes one choice. {command_line.SEVERAL}")
        if isinstance(override.value(), bool | int | float) and group.is_dir():
            names = ", ".join(sorted(file.stem for file in group.glob("*.yaml")))
            raise InputError(
                f"{override.input_line}: {group.name} takes a choice by its name: {names}. {command_line.NUMBERS}"
            )
        if override.key_or_group == "construct" and override.package is None:
            raise InputError(
                f"{override.input_line}: a CAR is chosen for its place in a product. {command_line.CONSTRUCT}"
            )
    command_line.refuse_product_as_value(overrides)
    try:
        whole = hydra.compose(config_name=config_name, overrides=list(overrides), return_hydra_config=True)
        ours = OmegaConf.masked_copy(whole, [str(k) for k in whole if k != "hydra"])
        refers = "${" in str(OmegaConf.to_container(ours, resolve=False))
        data: Any = OmegaConf.to_container(ours, resolve=True)
        str(whole.hydra.mode)  # may refer to what is not there
        _refuse_code(OmegaConf.to_container(whole.hydra, resolve=False), "hydra")
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, TypeError, OSError) as error:
        raise InputError(explain(error, overrides, config_name)) from None
    _refuse_merged(parsed, data)
    plain = _relabelled({str(k): v for k, v in data.items()}, overrides)
    refuse_drawn([o.partition("=")[0] for o in overrides], plain)
    file, trial = whole.hydra.runtime.choices.get("trial"), plain.get("trial") or {}
    if trial.get("published") and trial["name"] != file:
        raise InputError(
            f"trial.name={trial['name']!r} is not the name of its file: write name: {file}, or call the file "
            f"{trial['name']}.yaml"
        )
    return Composed(plain, whole.hydra, refers)


def _sweeps_within(override: Override) -> bool:
    """Whether values of a list are sweeps themselves, which Hydra cannot make runs of."""
    value = override.value()
    inner = value.list if isinstance(value, ChoiceSweep) else ()
    return any(isinstance(one, HydrasSweep) for one in inner)


def _refuse_merged(parsed: Iterable[Override], data: dict[str, Any]) -> None:
    """Refuse a dictionary in which other keys stay than those given: Hydra adds it to what is there."""
    for override in parsed:
        given, there = override.value(), data
        if not isinstance(given, dict) or override.is_add() or override.is_hydra_override():
            continue
        for part in override.key_or_group.split("."):
            there = there.get(part, {}) if isinstance(there, dict) else {}
        if kept := own_choices.left_beside(there, given):
            raise InputError(command_line.added_to(str(override.input_line), kept))


def _refuse_code(node: Any, at: str) -> None:
    """Refuse what Hydra, or logging, would call by its name, other than what they bring: a configuration is data."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if key in ("_target_", "class", "()", "factory") and value not in CALLED:
            raise InputError(f"{at}.{key}={value}: a configuration is data and calls nothing. Leave it out")
        if key == "filename" and "hydra.runtime.output_dir" not in str(value):
            raise InputError(f"{at}.{key}={value}: a log lies in the folder of its run. Leave it out")
        _refuse_code(value, f"{at}.{key}")


def _refuse_path(override: Override) -> None:
    """Refuse a path where the name of a choice stands: Hydra would read that file."""
    loader = GlobalHydra.instance().config_loader()
    if override.package is None and not loader.get_group_options(override.key_or_group):
        return
    given = override.value()
    for choice in given if isinstance(given, list) else [given]:
        if isinstance(choice, str) and re.search(r"[/\\]|^\.+$", choice):
            raise InputError(
                f"{override.input_line}: a choice is a name, without / or ..; a file of your own is "
                f"FOLDER/{override.key_or_group}/NAME.yaml, with --config-dir FOLDER {override.key_or_group}=NAME"
            )


def parse_words(words: Iterable[str], parser: OverridesParser | None = None) -> list[Override]:
    """Overrides as Hydra reads them."""
    parser, out = parser or OverridesParser.create(), []
    for word in words:
        try:
            parsed = parser.parse_overrides([word])
            empty = any(o.is_discrete_sweep() and next(o.sweep_iterator(), None) is None for o in parsed)
        except (HydraException, ValueError):  # which is of range(1,5,0)
            raise InputError(command_line.unreadable_value(word)) from None
        if any(_sweeps_within(o) for o in parsed):
            raise InputError(f"{word}: a sweep within a list of values. List the values: KEY=A,B")
        if empty:
            raise InputError(f"{word}: no value at all, so that there would be no run. Give one or more: KEY=A,B")
        out += parsed
    return out


def refuse_drawn(keys: Iterable[str], data: dict[str, Any]) -> None:
    """Refuse to set what a posterior draws."""
    for key in keys:
        if key in (data.get("draws") or {}):
            raise InputError(f"{key}: this parameter is drawn from a posterior; choose another biology to set it")


def own_search_path(overrides: Sequence[str]) -> tuple[str, ...]:
    """The words that name a folder with choices of one's own."""
    return tuple(o for o in overrides if o.startswith("hydra.searchpath="))


def from_config(composed: DictConfig, config_name: str, words: Sequence[str], of_hydra: Sequence[str] = ()) -> Settings:
    """Settings from a configuration that Hydra composed of these words, and of these of its own."""
    data: Any = OmegaConf.to_container(composed, resolve=True)
    return settings_of(_relabelled(data, words), config_name, own_search_path(of_hydra))


def _relabelled(data: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The label of a product that was changed and not renamed says so."""
    if "product" in data and command_line.changes_product(words):
        return with_value(data, ["product", "label"], f"{data['product']['label']}, changed")
    return data


def settings_of(data: dict[str, Any], config_name: str, own: tuple[str, ...]) -> Settings:
    """Settings from plain data; what a trial published is kept only beside its own patients."""
    settings = _plain_settings(data)
    if settings.trial.published:
        theirs, trial = _trial_settings(settings.trial.name, config_name, own), settings.trial
        if not _same_trial(settings, theirs):
            changed = "" if _same_patients(settings, theirs) else ", changed"
            trial = trial.model_copy(update={"published": (), "label": f"{trial.label}{changed}"})
        settings = settings.model_copy(update={"trial": trial})
    return settings


def _plain_settings(data: dict[str, Any]) -> Settings:
    return make_settings({k: v for k, v in data.items() if k not in ("hydra", *NOT_SETTINGS)})


@cache
def _trial_settings(name: str, config_name: str, own: tuple[str, ...]) -> Settings:
    """A trial as its file describes it; without other products, which take most of the time and are no part of it."""
    composed = hydra.compose(config_name=config_name, overrides=[f"trial={name}", "comparators=none", *own])
    data: Any = OmegaConf.to_container(composed, resolve=True)
    return _plain_settings(data)


def _same_trial(one: Settings, two: Settings) -> bool:
    """Whether the patients, their treatment and what counts as what are the same, whatever the number of patients."""
    if one.sample_fraction != two.sample_fraction or one.clinic.definitions() != two.clinic.definitions():
        return False
    return _same_patients(one, two) and one.product == two.product


def _same_patients(one: Settings, two: Settings) -> bool:
    """Whether the patients and their treatment, whatever the product, are the same."""
    return (one.cohort.model_copy(update={"size": two.cohort.size}), one.regimen) == (two.cohort, two.regimen)


def with_value(data: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy with one value set; what lies beside the path is shared."""
    first, *rest = path
    return data | {first: with_value(data[first], rest, value) if rest else value}
