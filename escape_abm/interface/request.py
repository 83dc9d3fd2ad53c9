"""What a command line asks for: a run or the jobs of a sweep, each composed and checked before anything is written."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, QuotedString
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from escape_abm.inputs.checks import InputError, check
from escape_abm.inputs.row_table import parameter_rows
from escape_abm.inputs.settings import Settings
from escape_abm.interface import command_line
from escape_abm.interface.composition import (
    NOT_SETTINGS,
    Composed,
    compose_words,
    our_hydra,
    own_search_path,
    parse_words,
    refuse_drawn,
    settings_of,
    with_value,
)
from escape_abm.runs.designs import Axis, Range, Sweep, plausible, points
from escape_abm.runs.executors import Executor
from escape_abm.runs.fingerprint import Experiment, identify

if TYPE_CHECKING:  # --help and shell completion answer before pandas and numba are imported
    from escape_abm.runs.jobs import Ask, Job


def ask(experiment: Experiment, words: list[str], config_name: str, multirun: bool) -> Ask:
    """What a command line of an experiment asks for, checked; nothing is run or written.

    Raises:
        InputError: as `compose`.
    """
    with our_hydra(experiment.name):
        return build_request(words, config_name, experiment, multirun)


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
    parsed = parse_words(words, parser)
    swept = [o for o in parsed if _is_swept(o) and not o.is_hydra_override()]
    fixed = [o.input_line or "" for o in parsed if o not in swept]
    composed = compose_words([*fixed, *_choices(swept)], config_name)
    given = {o.get_key_element() for o in parsed}
    more = {str(k): v for k, v in (composed.hydra.sweeper.get("params") or {}).items() if str(k) not in given}
    if more:
        parsed = parse_words([f"{key}={value}" for key, value in more.items()], parser)
        fixed += [o.input_line or "" for o in parsed if not _is_swept(o)]
        swept += [o for o in parsed if _is_swept(o)]
        composed = compose_words([*fixed, *_choices(swept)], config_name)
    return fixed, swept, composed


def _jobs(
    fixed: list[str], swept: list[Override], base: Composed, config_name: str, experiment: Experiment
) -> list[Job]:
    """Every job of a sweep, checked. Hydra composes once for each combination of choices; values are set after that."""
    from escape_abm.runs.jobs import Job

    keys, own = {o.get_key_element(): o for o in swept}, own_search_path(fixed)
    first = {word.partition("=")[0] for word in _choices(swept)}
    sweep = check_section(Sweep, base.data, "sweep")
    ranges = {}
    if any(o.value() == "plausible" for o in swept):
        ranges = {row.path: row.plausible for row in every_row(settings_of(base.data, config_name, own))}
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
        return compose_words([*fixed, *words], config_name).data if list(words) != _choices(swept) else base.data

    jobs = []
    refuse_drawn(keys, base.data)
    for number, point in enumerate(chosen):
        pairs = {k: v if isinstance(v, tuple) else (repr(v), v) for k, v in point.items()}
        words = [f"{k}={text}" for k, (text, _) in pairs.items()]
        try:
            data = composed(tuple(word for k, word in zip(pairs, words, strict=True) if k not in plain))
            if all(_holds(data, k) for k in plain):
                for k in plain:
                    data = with_value(data, k.split("."), pairs[k][1])
            else:  # a key that not every choice has: Hydra says which
                data = composed(tuple(words))
            settings = settings_of(data, config_name, own)
        except InputError as error:
            which = f"job {number} ({' '.join(words)}): " if words else ""
            raise InputError(f"{which}{error}") from None
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


LONGEST = 60  # characters that are added to the name of a folder, or a name inside it has


def _folder(node: DictConfig, key: str) -> Path:
    given = ""
    try:
        given = str(node.dir)
        if not given.strip():
            raise InputError(f"{key}={given}: which folder? Name one, or leave this out for a new one in outputs/")
        folder = Path(given).absolute()
        for name in (folder, folder.parent / f"{folder.name}{'_' * LONGEST}", folder / ("_" * LONGEST)):
            name.is_dir()  # of names that are too long, or through a file, the system complains
    except OmegaConfBaseException as error:
        raise InputError(f"{key}: {str(error).splitlines()[0]}. Name a folder") from None
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{key}={given[:60]}: {what}. Name another folder") from None
    return folder


def _by_hand(words: Sequence[str], key: str) -> bool:
    return any(w.lstrip("+").partition("=")[0] == key for w in words)


def build_request(words: list[str], config_name: str, experiment: Experiment, multirun: bool) -> Ask:
    """What is asked for, checked; a single run is a sweep of one job."""
    from escape_abm.runs.jobs import Ask, Job

    fixed, swept, composed = _swept_words(words, config_name)
    sweeps = multirun or str(composed.hydra.mode).endswith("MULTIRUN")
    if not sweeps:
        if swept:
            composed = compose_words(words, config_name)  # refuses several values
        settings = settings_of(composed.data, config_name, own_search_path(words))
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
        command_line.refuse_twin(fixed, first.product.name, {key: arm.name for key, arm in first.comparators.items()})
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
