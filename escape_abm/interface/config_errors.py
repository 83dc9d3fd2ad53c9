"""Hydra's errors about a configuration that it cannot compose, in plain words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import (
    InterpolationKeyError,
    InterpolationResolutionError,
    InterpolationToMissingValueError,
    OmegaConfBaseException,
)

from escape_abm.inputs.checks import suggest
from escape_abm.interface import command_line, own_choices
from escape_abm.interface.groups import GROUPS


def explain(error: Exception, overrides: Sequence[str], config_name: str) -> str:
    """What Hydra says, and the nearest name for a key that it does not know; Hydra must have been initialised."""
    if isinstance(error, yaml.YAMLError):
        return own_choices.unreadable(error)
    own = own_choices.own_folder(overrides)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        choices = sorted(error.options)
        near = f"{suggest(choice, choices)} " if suggest(choice, choices).startswith("Did") else ""
        if group == "comparators":
            near = f"To compare with one product more: +product@comparators.b={choice}. "
        mine = f"One of your own would be {own}/" if own else "Own choices need --config-dir FOLDER, which holds "
        return (
            f"{group}={choice}: no such choice. {near}Choices of {group}: {', '.join(choices)}. "
            f"{mine}{group}/{choice}.yaml"
        )
    if isinstance(error, InterpolationResolutionError | InterpolationKeyError | InterpolationToMissingValueError):
        key = str(error.full_key)
        what = str(error).splitlines()[0]
        return f"{key}: {what}. ${{KEY}} is the value of another key; --cfg job shows all keys"
    if gone := re.search(r"Could not delete (?:from config\. )?'([^'=]*)", str(error)):
        return (
            f"~{gone[1]}: there is nothing of this name to take away, or not with this value. --cfg job shows all keys"
        )
    if plus := re.search(r"force-add of config groups is not supported: '(\S*)'", str(error)):
        return f"{plus[1]}: a group takes no plus, it has a choice already. Write {plus[1].lstrip('+')}"
    if merged := re.match(r"Error merging override (.*)", text_of(error)):
        return f"{merged[1]}: {text_of(error).splitlines()[-1]}"
    if "Config group override must be" in str(error):
        which = next((o for o in overrides if o.lstrip("+~").partition("=")[0] in ("hydra", *GROUPS)), "")
        return f"{which}: a group takes a choice by its name"
    text = text_of(error)
    if "Ambiguous value" in text:
        which = next((o for o in overrides if "," in o), "")
        return f"{which}: this is several values. {command_line.decimal_point(which)}{command_line.SEVERAL}"
    twice = re.search(r"Multiple values for (\S+)\. |(\S+) appears more than once|is defined before '([^@]+):", text)
    if twice:
        group = next(filter(None, twice.groups()))
        which = next((o for o in overrides if o.startswith(f"+{group}=")), "")
        if which:
            return f"{which}: this group has a choice already, which is replaced without the +: {which.lstrip('+')}"
        return (own_choices.without_override(own, group) if own else "") or text
    if "Could not override" not in text:
        return text
    return _unknown_key(overrides, config_name) or text


def text_of(error: Exception) -> str:
    """What an error says, and the first line of what it was raised from."""
    cause, text = error.__cause__ or error.__context__, str(error).strip()
    if cause is not None and str(cause).strip() and str(cause).strip() not in text:
        text += "\n" + str(cause).strip().splitlines()[0]
    return text


def _unknown_key(overrides: Sequence[str], config_name: str) -> str:
    """What to say of the first key that is unknown beside the choices that these words make; "" if there is none."""
    loader = GlobalHydra.instance().config_loader()

    def is_choice(word: str) -> bool:
        group = word.lstrip("+~").partition("=")[0].partition("@")[0]
        return "@" in word.partition("=")[0] or group == "hydra.searchpath" or bool(loader.get_group_options(group))

    choices = [w for w in overrides if is_choice(w)]
    added = [w for w in overrides if w.startswith("+") and w not in choices]
    for taken in ([*choices, *added], choices, []):
        with suppress(HydraException, OmegaConfBaseException):
            whole = hydra.compose(config_name=config_name, overrides=taken, return_hydra_config=True)
            return command_line.unknown_key(
                [w for w in overrides if w not in taken], OmegaConf.to_container(whole, resolve=False)
            )
    return ""
