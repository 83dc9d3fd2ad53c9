"""The door for Hydra: composes conf/ with the parameter rows, checks everything, then runs an experiment.

Beside it only `faults` imports Hydra. A notebook calls `compose(["product=tandem", "cohort.size=50"])`.
"""

from __future__ import annotations

import functools
import inspect
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from escape_abm import __version__, usage
from escape_abm.clinic import Clinic
from escape_abm.cohort import Cohort
from escape_abm.designs import Axis, Range, Sweep, plausible, points
from escape_abm.executors import Executor
from escape_abm.faults import explain
from escape_abm.identity import Earlier, Experiment, Identity, Index, identify
from escape_abm.parameters import Biology, InputError, check, parameter_rows
from escape_abm.products import Component, Construct, Product
from escape_abm.regimen import Regimen
from escape_abm.settings import Engine, Settings, Trajectories, Trial, make_settings

if TYPE_CHECKING:  # --help and shell completion answer before pandas and numba are imported
    from escape_abm.results import Run
    from escape_abm.sweep import Ask, Job

Gather = Callable[[Path, list[tuple[Settings, Path]]], None]
Task = Callable[[Settings, "Run"], None]
HYDRAS_BYTES = 100_000  # more than Hydra writes into the folder of a run
NOT_SETTINGS = ("sweep", "executor", "pictures")  # how runs are made, which moves no result


def conf_dir() -> str:
    """Absolute path of conf/."""
    return str(usage.conf_dir())


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
    register_rows()
    if config_dir is not None:
        overrides = [*overrides, usage.searched(config_dir)]
    if GlobalHydra.instance().is_initialized():  # within an experiment
        return _settings(_composed(overrides, config_name).data, config_name, _own(overrides))
    with hydra.initialize_config_dir(version_base="1.3", config_dir=conf_dir()):
        return _settings(_composed(overrides, config_name).data, config_name, _own(overrides))


def read(config_name: str, words: Sequence[str] = ()) -> dict[str, Any]:
    """A configuration of conf/ that is no run's, as plain data.

    Raises:
        InputError: a word names no known key or choice.
    """
    with hydra.initialize_config_dir(version_base="1.3", config_dir=conf_dir()):
        return _composed(words, config_name).data


def ask(experiment: Experiment, words: list[str], config_name: str, multirun: bool) -> Ask:
    """What a command line of an experiment asks for, checked; nothing is run or written.

    Raises:
        InputError: as `compose`.
    """
    register_rows()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=conf_dir(), job_name=experiment.name):
        return _ask(words, config_name, experiment, multirun)


@dataclass(frozen=True)
class Composed:
    """A composed configuration as plain data, and Hydra's own part of it."""

    data: dict[str, Any]
    hydra: DictConfig
    refers: bool
    """Whether a value is made from others, so that it changes with them."""


def _composed(overrides: Sequence[str], config_name: str) -> Composed:
    """Compose a configuration; Hydra must have been initialised."""
    for override in _parsed(overrides):
        group = Path(conf_dir()) / override.key_or_group
        if isinstance(override.value(), list) and group.is_dir():
            raise InputError(f"{override.input_line}: {override.key_or_group} takes one choice. {usage.SEVERAL}")
        if isinstance(override.value(), bool | int | float) and group.is_dir():
            names = ", ".join(sorted(file.stem for file in group.glob("*.yaml")))
            raise InputError(
                f"{override.input_line}: {group.name} takes a choice by its name: {names}. {usage.NUMBERS}"
            )
        if override.key_or_group == "construct" and override.package is None:
            raise InputError(f"{override.input_line}: a CAR is chosen for its place in a product. {usage.CONSTRUCT}")
    usage.refuse_product_as_value(overrides)
    try:
        whole = hydra.compose(config_name=config_name, overrides=list(overrides), return_hydra_config=True)
        ours = OmegaConf.masked_copy(whole, [str(k) for k in whole if k != "hydra"])
        refers = "${" in str(OmegaConf.to_container(ours, resolve=False))
        data: Any = OmegaConf.to_container(ours, resolve=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, OSError) as error:
        raise InputError(explain(error, overrides, config_name)) from None
    plain = _relabelled({str(k): v for k, v in data.items()}, overrides)
    _refuse_drawn([o.partition("=")[0] for o in overrides], plain)
    file, trial = whole.hydra.runtime.choices.get("trial"), plain.get("trial") or {}
    if trial.get("published") and trial["name"] != file:
        raise InputError(
            f"trial.name={trial['name']!r} is not the name of its file: write name: {file}, or call the file "
            f"{trial['name']}.yaml"
        )
    return Composed(plain, whole.hydra, refers)


def _parsed(words: Iterable[str], parser: OverridesParser | None = None) -> list[Override]:
    """Overrides as Hydra reads them."""
    parser, out = parser or OverridesParser.create(), []
    for word in words:
        try:
            out += parser.parse_overrides([word])
        except HydraException:
            key, _, value = word.partition("=")
            raise InputError(
                f"{word}: cannot be read. A value with spaces, commas, brackets or signs takes both kinds of quotes: "
                f"'{key}=\"{value}\"'. Lists are [1,2]; several values are a,b with -m"
            ) from None
    return out


def _refuse_drawn(keys: Iterable[str], data: dict[str, Any]) -> None:
    """Refuse to set what a posterior draws."""
    for key in keys:
        if key in (data.get("draws") or {}):
            raise InputError(f"{key}: this parameter is drawn from a posterior; choose another biology to set it")


def _own(overrides: Sequence[str]) -> tuple[str, ...]:
    return tuple(o for o in overrides if o.startswith("hydra.searchpath="))


def from_config(composed: DictConfig, config_name: str, words: Sequence[str]) -> Settings:
    """Settings from a configuration that Hydra composed of these words."""
    data: Any = OmegaConf.to_container(composed, resolve=True)
    return _settings(_relabelled(data, words), config_name, ())


def _relabelled(data: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The label of a product that was changed and not renamed says so."""
    if "product" in data and usage.changes_product(words):
        return _set(data, ["product", "label"], f"{data['product']['label']}, changed")
    return data


def _settings(data: dict[str, Any], config_name: str, own: tuple[str, ...]) -> Settings:
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
    """A trial as its file describes it."""
    composed = hydra.compose(config_name=config_name, overrides=[f"trial={name}", *own])
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


# ------------------------------------------------------------------------------------------------------------- sweeps


def _is_swept(override: Override) -> bool:
    return override.is_sweep_override() or override.value() == "plausible"


def _axis(override: Override, ranges: dict[str, tuple[float, float]]) -> Axis:
    """The values of a swept override: pairs of text and value, or a range."""
    value: Any = override.value()
    if value == "plausible":
        return plausible(override.key_or_group, ranges)
    if isinstance(value, IntervalSweep):
        low, high = value.start or 0, value.end or 0
        return Range(low, high, log="log" in value.tags, whole=isinstance(low, int) and isinstance(high, int))
    values = list(override.sweep_iterator())
    return tuple((Override._get_value_element_as_str(v), v.text if isinstance(v, QuotedString) else v) for v in values)


def _set(data: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy with one value set; what lies beside the path is shared."""
    first, *rest = path
    return data | {first: _set(data[first], rest, value) if rest else value}


def _holds(data: Any, key: str) -> bool:
    """Whether a key is a value, not a node, in composed data."""
    for part in key.split("."):
        if not isinstance(data, dict) or part not in data:
            return False
        data = data[part]
    return not isinstance(data, dict)


def _is_plain(data: Any, key: str, axis: Axis) -> bool:
    """Whether the values of a swept key can be set in composed data, as Hydra would."""
    return _holds(data, key) and not any(isinstance(v, tuple) and isinstance(v[1], dict) for v in axis)


def _choices(swept: Sequence[Override]) -> list[str]:
    """The first choice of each group that is swept, as overrides."""
    loader = GlobalHydra.instance().config_loader()
    groups = [o for o in swept if o.package or loader.get_group_options(o.key_or_group)]
    return [f"{o.get_key_element()}={next(o.sweep_string_iterator())}" for o in groups]


def _swept_words(words: Sequence[str], config_name: str) -> tuple[list[str], list[Override], Composed]:
    """Overrides of every job, those that are swept, and what is composed of the first choices.

    What `hydra.sweeper.params` names is swept too, unless the command line gives it.
    """
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    parsed = _parsed(words, parser)
    swept = [o for o in parsed if _is_swept(o) and not o.is_hydra_override()]
    fixed = [o.input_line or "" for o in parsed if o not in swept]
    composed = _composed([*fixed, *_choices(swept)], config_name)
    given = {o.get_key_element() for o in parsed}
    more = {str(k): v for k, v in (composed.hydra.sweeper.get("params") or {}).items() if str(k) not in given}
    if more:
        parsed = _parsed([f"{key}={value}" for key, value in more.items()], parser)
        fixed += [o.input_line or "" for o in parsed if not _is_swept(o)]
        swept += [o for o in parsed if _is_swept(o)]
        composed = _composed([*fixed, *_choices(swept)], config_name)
    return fixed, swept, composed


def _jobs(
    fixed: list[str], swept: list[Override], base: Composed, config_name: str, experiment: Experiment
) -> list[Job]:
    """Every job of a sweep, checked. Hydra composes once for each combination of choices; values are set after that."""
    from escape_abm.sweep import Job

    keys, own = {o.get_key_element(): o for o in swept}, _own(fixed)
    first = {word.partition("=")[0] for word in _choices(swept)}
    sweep = check_section(Sweep, base.data, "sweep")
    ranges = {}
    if any(o.value() == "plausible" for o in swept):
        ranges = {row.path: row.plausible for row in every_row(_settings(base.data, config_name, own))}
    axes = {key: _axis(o, ranges) for key, o in keys.items()}
    plain = {k for k in keys if k not in first and not base.refers and _is_plain(base.data, k, axes[k])}
    chosen = points(sweep, axes)
    if sweep.replicates > 1:
        if "seed" in keys:
            raise InputError(
                f"sweep.replicates={sweep.replicates}: these are seeds, and seed is swept too: leave one out"
            )
        seeds = range(int(base.data["seed"]), int(base.data["seed"]) + sweep.replicates)
        chosen = [point | {"seed": (str(seed), seed)} for point in chosen for seed in seeds]
        plain.add("seed")

    @functools.cache
    def composed(words: tuple[str, ...]) -> dict[str, Any]:
        return _composed([*fixed, *words], config_name).data if list(words) != _choices(swept) else base.data

    jobs = []
    _refuse_drawn(keys, base.data)
    for number, point in enumerate(chosen):
        pairs = {k: v if isinstance(v, tuple) else (repr(v), v) for k, v in point.items()}
        words = [f"{k}={text}" for k, (text, _) in pairs.items()]
        try:
            data = composed(tuple(word for k, word in zip(pairs, words, strict=True) if k not in plain))
            if all(_holds(data, k) for k in plain):
                for k in plain:
                    data = _set(data, k.split("."), pairs[k][1])
            else:  # a key that not every choice has: Hydra says which
                data = composed(tuple(words))
            settings = _settings(data, config_name, own)
        except InputError as error:
            raise InputError(f"job {number} ({' '.join(words)}): {error}") from None
        values = {k.lstrip("+"): v if isinstance(v, str | int | float) else text for k, (text, v) in pairs.items()}
        given = [w for w in fixed if not w.startswith("hydra") and w.partition("=")[0] not in pairs] + words
        identity = identify(experiment, settings)
        config = {k: v for k, v in data.items() if k not in NOT_SETTINGS}
        jobs.append(Job(number, values, given, settings, config, identity))
    return jobs


def every_row(settings: Settings) -> list[Any]:
    """The parameter rows of every section of these settings."""
    sections = ("biology", "clinic", "cohort", "regimen", "engine")
    return [row for name in sections for row in parameter_rows(getattr(settings, name), name)]


def check_section(model: Any, data: dict[str, Any], name: str) -> Any:
    """A node that is no part of the settings, checked."""
    return check(model, data.get(name) or {}, name)


# ------------------------------------------------------------------------------------------------------------ launching


def _folder(node: DictConfig, key: str) -> Path:
    if not str(node.dir).strip():
        raise InputError(f"{key}={node.dir}: which folder? Name one, or leave this out for a new one in outputs/")
    return Path(str(node.dir)).absolute()


def _by_hand(words: Sequence[str], key: str) -> bool:
    return any(w.lstrip("+").partition("=")[0] == key for w in words)


def _ask(words: list[str], config_name: str, experiment: Experiment, multirun: bool) -> Ask:
    """What is asked for, checked; a single run is a sweep of one job."""
    from escape_abm.sweep import Ask, Job

    fixed, swept, composed = _swept_words(words, config_name)
    sweeps = multirun or str(composed.hydra.mode).endswith("MULTIRUN")
    if not sweeps:
        if swept:
            composed = _composed(words, config_name)  # refuses several values
        settings = _settings(composed.data, config_name, _own(words))
        for model, name in ((Sweep, "sweep"), (Executor, "executor")):
            if check_section(model, composed.data, name) != model():
                raise InputError(f"{name}: only a sweep has it: add -m (--multirun)")
        given = [w for w in words if not w.startswith("hydra")]
        identity = identify(experiment, settings)
        jobs = [Job(0, {}, given, settings, composed.data, identity)]
    else:
        jobs = _jobs(fixed, swept, composed, config_name, experiment)
    if not any(o.key_or_group == "product" for o in swept):  # which may be each comparator in turn
        first = jobs[0].settings
        usage.refuse_twin(fixed, first.product.name, {key: arm.name for key, arm in first.comparators.items()})
    pictures = composed.data.get("pictures")
    if pictures not in (None, True, False):
        raise InputError(f"pictures={pictures!r}: must be true or false, or null for single runs only")
    key = "hydra.sweep.dir" if sweeps else "hydra.run.dir"
    folder = _folder(composed.hydra.sweep if sweeps else composed.hydra.run, key)
    return Ask(
        experiment, jobs, check_section(Sweep, composed.data, "sweep"),
        check_section(Executor, composed.data, "executor"), pictures, folder,
        None if _by_hand(words, key) else folder.parent.parent,
        shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), sweeps,
    )  # fmt: skip


def launch(
    task: Task,
    config_name: str = "config",
    gather: Gather | None = None,
    check: Callable[[Settings], None] | None = None,
) -> None:
    """Run an experiment script: check the command line before anything is written, then do what is not done yet.

    Args:
        task: Called with the settings and the run; a function of the script, which workers import.
        config_name: Primary configuration of the experiment in conf/.
        gather: Called after a sweep with its folder, and the settings and folder of each job that is done.
        check: Called with the settings of each job before anything is written; raises InputError.
    """
    script = Path(inspect.getsourcefile(task) or "").resolve()
    experiment = Experiment(script.stem, script, task.__name__)
    try:
        line = usage.read(sys.argv[1:])
    except InputError as error:
        raise _refused(error) from None
    if line.asked in ("help", "version"):
        about = inspect.getdoc(inspect.getmodule(task)) or experiment.name
        sys.stdout.write(usage.help_text(about, config_name, line.own) if line.asked == "help" else __version__)
        sys.stdout.write("\n")
        return
    register_rows()
    own = [usage.searched(line.own)] if line.own else []
    if line.asked:  # --cfg, shell completion and their kin
        if line.asked == "cfg":
            _refuse_unknown([*line.words, *own], config_name)
        _show(functools.partial(_hand_over, task, experiment, config_name), line)
        return
    sys.argv = [w for w in sys.argv if w not in (*usage.QUIET, *usage.VERBOSE)]
    from escape_abm import report
    from escape_abm.results import PROVENANCE
    from escape_abm.sweep import run_sweep

    report.hush(line.quiet, line.verbose)
    try:
        usage.refuse_hydras(line.words)
        with hydra.initialize_config_dir(version_base="1.3", config_dir=conf_dir(), job_name=experiment.name):
            ask = _ask([*line.words, *own], config_name, experiment, line.multirun)
            for job in ask.jobs:
                if check is not None:
                    check(job.settings)
        if not ask.several and (ask.folder / PROVENANCE).exists():
            _refuse_other(ask)
    except (InputError, HydraException) as error:
        raise _refused(error) from None
    if line.verbose:
        report.show_settings(ask.jobs[0].settings, len(ask.jobs))
    try:
        if ask.several:
            code = run_sweep(ask, gather)
            if code:
                raise SystemExit(code)
        else:
            _run_one(task, ask, config_name)
    except InputError as error:
        raise SystemExit(str(error)) from None


def _show(hydras: Callable[[], None], line: usage.Line) -> None:
    """Let Hydra show what is asked for; what it says to a shell is mended on its way."""
    wanted = "".join(line.words)
    flags: list[str] = []
    if wanted.startswith("query=") and "COMP_LINE" in os.environ:  # the tab key
        os.environ["COMP_LINE"], flags = usage.completed(os.environ["COMP_LINE"])
    if flags:
        sys.stdout.write("\n".join(flags) + "\n")
    elif wanted.startswith("install="):
        with redirect_stdout(io.StringIO()) as said:
            hydras()
        sys.stdout.write(usage.for_shell(said.getvalue()))
    else:
        hydras()


def _refuse_unknown(words: list[str], config_name: str) -> None:
    """Refuse in our words what Hydra would refuse in its own."""
    try:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=conf_dir()):
            _composed(words, config_name)
    except InputError as error:
        raise _refused(error) from None


def _refused(error: Exception) -> SystemExit:
    return SystemExit(f"{error}\nNothing was run and nothing was written.")


def _refuse_other(ask: Ask) -> None:
    """Refuse a folder, chosen by hand, that holds another finished run."""
    from escape_abm.results import read_provenance

    if read_provenance(ask.folder).get("identity") != ask.jobs[0].identity.name:
        raise InputError(
            f"hydra.run.dir={ask.folder}: this folder already holds a finished run. Choose another, or delete it"
        )


def _run_one(task: Task, ask: Ask, config_name: str) -> None:
    """A single run: shown if it is finished, gone on with if it was stopped, otherwise new."""
    from escape_abm.report import say
    from escape_abm.results import PROVENANCE, Run, held, storage

    job, pictures = ask.jobs[0], ask.pictures is not False
    folder, there = ask.folder, Earlier()
    if ask.root is not None:
        with held(ask.root):  # two that start together find the same folder
            there = Index([ask.root]).look(job.identity, pictures)
            new = folder.with_name(f"{folder.name}_{job.identity.name}")
            folder = there.finished or there.unfinished or new
            with storage(folder):
                folder.mkdir(parents=True, exist_ok=True)
    elif (folder / PROVENANCE).exists():
        there = Earlier(finished=folder)
    if there.finished is None:
        with held(folder, lambda f: say(f"Another process works on this run; waiting for {f}")):
            if not (folder / PROVENANCE).exists():
                with storage(folder):  # Hydra would end in a traceback
                    probe = folder / ".probe"
                    probe.write_bytes(bytes(HYDRAS_BYTES))
                    probe.unlink()
                _say_earlier(there, job.identity)
                _hand_over(task, ask.experiment, config_name, folder, there.same, pictures)
                return
    say(f"This run is finished already; nothing is computed again: {folder}")
    task(job.settings, Run(job.settings, folder, job.identity))


def _say_earlier(there: Earlier, identity: Identity) -> None:
    from escape_abm.report import say
    from escape_abm.results import what_changed

    if there.unfinished:
        say(f"This run was stopped before it was finished; it goes on in {there.unfinished}")
    if there.same:
        say(f"Patients are taken from {there.same}")
    elif there.other:
        changes = what_changed(there.other, identity)
        say(f"These settings were run by other code, and are computed anew beside {there.other}: {changes}")


def _hand_over(
    task: Task,
    experiment: Experiment,
    config_name: str,
    folder: Path | None = None,
    earlier: Path | None = None,
    pictures: bool = True,
) -> None:
    """Let Hydra run the task, in a folder if one is given."""

    @functools.wraps(task)
    def job(composed: DictConfig) -> None:
        from escape_abm.results import Run, StorageError, stopped

        place = Path(HydraConfig.get().runtime.output_dir)
        given = list(HydraConfig.get().overrides.task)
        settings = from_config(composed, config_name, given)
        identity = identify(experiment, settings)
        try:
            task(settings, Run(settings, place, identity, overrides=given, earlier=earlier, pictures=pictures))
        except StorageError as error:
            raise SystemExit(str(error)) from None
        except KeyboardInterrupt:
            stopped(place, identity)
            raise SystemExit(130) from None

    if folder is not None:
        quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
        sys.argv = [w for w in sys.argv if not w.startswith("hydra.run.dir=")] + [f"hydra.run.dir='{quoted}'"]
    hydra.main(version_base="1.3", config_path=conf_dir(), config_name=config_name)(job)()
