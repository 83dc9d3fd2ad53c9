"""The door for Hydra: composes conf/ with the parameter rows, checks everything, then runs an experiment.

Nothing else in the package imports Hydra. A notebook calls `compose(["product=tandem", "cohort.size=50"])`.
"""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from escape_abm.clinic import Clinic
from escape_abm.cohort import Cohort
from escape_abm.parameters import Biology, InputError, suggest
from escape_abm.products import Component, Construct, Product
from escape_abm.regimen import Regimen
from escape_abm.settings import Engine, Settings, Trajectories, Trial, make_settings

Gather = Callable[[Path, list[Settings]], None]
Task = Callable[[Settings, Path], None]
SEVERAL = (
    "For a run of each, add -m (--multirun) and write a,b,c. To compare products on the same patients: product=A "
    "comparators=none +product@comparators.b=B +product@comparators.c=C"
)


def conf_dir() -> str:
    """Absolute path of conf/: inside an installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    for place in (here / "conf", here.parent / "conf"):
        if (place / "config.yaml").is_file():
            return str(place)
    raise FileNotFoundError("conf/config.yaml was not found beside the package: install escape_abm from its repository")


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


def compose(overrides: Sequence[str] = (), config_name: str = "config") -> Settings:
    """Settings from conf/ and these overrides, as on the command line.

    Raises:
        InputError: an override names no known key or choice, or a value breaks a rule.
    """
    register_rows()
    if GlobalHydra.instance().is_initialized():  # within an experiment
        return _checked(overrides, config_name)
    with hydra.initialize_config_dir(version_base="1.3", config_dir=conf_dir()):
        return _checked(overrides, config_name)


def _checked(overrides: Sequence[str], config_name: str) -> Settings:
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if isinstance(override.value(), list) and (Path(conf_dir()) / override.key_or_group).is_dir():
            raise InputError(f"{override.input_line}: {override.key_or_group} takes one choice. {SEVERAL}")
    try:
        composed = hydra.compose(config_name=config_name, overrides=list(overrides))
    except (ConfigCompositionException, HydraException, OmegaConfBaseException) as error:
        raise InputError(_explain(error, overrides, config_name)) from None
    settings = from_config(composed, config_name, tuple(o for o in overrides if o.startswith("hydra.searchpath=")))
    for word in overrides:
        if word.partition("=")[0] in settings.draws:
            raise InputError(f"{word}: this parameter is drawn from a posterior; choose another biology to set it")
    return settings


def from_config(composed: DictConfig, config_name: str, own: tuple[str, ...] = ()) -> Settings:
    """Settings from a composed configuration; what a trial published is kept only beside its own patients."""
    settings = _plain_settings(composed)
    if settings.trial.published and not _same_trial(settings, _trial_settings(settings.trial.name, config_name, own)):
        trial = settings.trial.model_copy(update={"published": ()})
        settings = settings.model_copy(update={"trial": trial})
    return settings


def _plain_settings(composed: DictConfig) -> Settings:
    data = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(data, dict)
    return make_settings({str(k): v for k, v in data.items() if k != "hydra"})


@cache
def _trial_settings(name: str, config_name: str, own: tuple[str, ...]) -> Settings:
    """A trial as its file describes it."""
    try:
        return _plain_settings(hydra.compose(config_name=config_name, overrides=[f"trial={name}", *own]))
    except MissingConfigException:
        raise InputError(f"trial.name={name!r} is not the name of its file: call the file {name}.yaml") from None


def _same_trial(one: Settings, two: Settings) -> bool:
    """Whether the patients and their treatment are the same, whatever their number."""
    same_size = one.cohort.model_copy(update={"size": two.cohort.size})
    if one.sample_fraction != two.sample_fraction:
        return False
    return (same_size, one.regimen, one.clinic, one.product) == (two.cohort, two.regimen, two.clinic, two.product)


def _explain(error: Exception, overrides: Sequence[str], config_name: str) -> str:
    """What Hydra says, and the nearest name for a key that it does not know."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        choices = sorted(error.options)
        return f"{group}={choice}: no such choice. {suggest(choice, choices)} Choices of {group}: {', '.join(choices)}"
    cause = error.__cause__ or error.__context__
    text = str(error).strip()
    if cause is not None and str(cause).strip() and str(cause).strip() not in text:
        text += "\n" + str(cause).strip().splitlines()[0]
    if "Ambiguous value" in text:
        which = next((o for o in overrides if "," in o), "")
        return f"{which}: this is several values. {SEVERAL}"
    if "Could not override" not in text:
        return text
    plain = OmegaConf.to_container(hydra.compose(config_name=config_name), resolve=False)
    assert isinstance(plain, dict)
    for item in overrides:
        name = item.split("=")[0].lstrip("+~")
        owner: Any = plain
        for part in name.split("."):
            if not isinstance(owner, dict) or part not in owner:
                known = [str(k) for k in owner] if isinstance(owner, dict) else []
                return f"{item}: no such key {name!r}. {suggest(part, known)}"
            owner = owner[part]
    return text


def _jobs(overrides: Sequence[str], multirun: bool) -> Iterator[list[str]]:
    """The overrides of the jobs to check: each value of each sweep once, not their product."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    swept = [o for o in parsed if o.is_sweep_override()] if multirun else []
    base = [o.input_line or "" for o in parsed if o not in swept]
    firsts = [f"{o.get_key_element()}={next(o.sweep_string_iterator())}" for o in swept if not o.is_hydra_override()]
    yield [o for o in base if not o.startswith("hydra")] + firsts
    for i, sweep in enumerate(o for o in swept if not o.is_hydra_override()):
        for value in list(sweep.sweep_string_iterator())[1:]:
            others = firsts[:i] + firsts[i + 1 :]
            yield [o for o in base if not o.startswith("hydra")] + others + [f"{sweep.get_key_element()}={value}"]


def _own_folder(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Where to look for the user's own choices (Hydra's --config-dir), as an override; and the other words."""
    rest, own = list(words), []
    for i, word in enumerate(words):
        flag, _, place = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            taken = [word] if place else list(words[i : i + 2])
            place = place or (words[i + 1] if len(words) > i + 1 else "")
            if not Path(place).is_dir():
                raise SystemExit(
                    f"{flag} {place}: no such folder. It holds your own choices, for example trial/mine.yaml"
                )
            own = [f"hydra.searchpath=[file://{Path(place).resolve()}]"]
            rest = [w for w in words if w not in taken]
    return own, rest


def _refuse_finished(overrides: Sequence[str], multirun: bool) -> None:
    """Refuse a folder, chosen by hand, that holds a finished run; Hydra would overwrite its configuration first."""
    key, runs = ("hydra.sweep.dir", "*/provenance.json") if multirun else ("hydra.run.dir", "provenance.json")
    for word in overrides:
        name, _, place = word.partition("=")
        if name == key and any(Path(place).glob(runs)):
            raise InputError(f"{word}: this folder already holds a finished run. Choose another, or delete it")


def launch(
    task: Task,
    config_name: str = "config",
    gather: Gather | None = None,
    check: Callable[[Settings], None] | None = None,
) -> None:
    """Run an experiment script: check the command line before anything is written, then hand over to Hydra.

    Args:
        task: Called with the settings and the folder of the run.
        config_name: Primary configuration of the experiment in conf/.
        gather: Called after a sweep with its folder and the settings of its jobs.
        check: Called with the settings of each job before anything is written; raises InputError.
    """
    register_rows()
    words = sys.argv[1:]
    multirun = bool({"-m", "--multirun"} & set(words))
    own, plain = _own_folder([w for w in words if w not in ("-m", "--multirun")])
    if not any(w.startswith("-") for w in plain):  # --help, --cfg and their kin are Hydra's
        try:
            with hydra.initialize_config_dir(version_base="1.3", config_dir=conf_dir()):
                for overrides in _jobs(plain, multirun):
                    settings = _checked([*overrides, *own], config_name)
                    if check is not None:
                        check(settings)
            _refuse_finished(plain, multirun)
        except (InputError, HydraException) as error:
            raise SystemExit(f"{error}\nNothing was run and nothing was written.") from None

    done: list[tuple[Path, Settings]] = []

    @functools.wraps(task)
    def job(composed: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            settings = from_config(composed, config_name)
            task(settings, folder)
            done.append((Path(HydraConfig.get().sweep.dir), settings))
        except KeyboardInterrupt:
            for ours in (".hydra", ".partial"):  # never the folder itself: it may hold what is not ours
                shutil.rmtree(folder / ours, ignore_errors=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
            sys.stderr.write("Stopped. Nothing of this run was kept.\n")
            raise SystemExit(130) from None

    hydra.main(version_base="1.3", config_path=conf_dir(), config_name=config_name)(job)()
    if multirun and gather is not None and done:
        gather(done[0][0], [settings for _, settings in done])
