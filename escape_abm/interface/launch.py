"""The entry point of every script of experiments/: read the command line, check all of it, compute what is missing."""

from __future__ import annotations

import functools
import inspect
import io
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from escape_abm import __version__
from escape_abm.engines.interrupt import termination_heeded
from escape_abm.inputs.applicability import outside_evidence
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.settings import Settings
from escape_abm.interface import command_line, help, own_choices
from escape_abm.interface.composition import compose_words, conf_dir, from_config, our_hydra, register_rows
from escape_abm.interface.request import build_request
from escape_abm.runs.fingerprint import Earlier, Experiment, Identity, Index, identify

if TYPE_CHECKING:  # --help and shell completion answer before pandas and numba are imported
    from escape_abm.runs.jobs import Ask
    from escape_abm.runs.run_folder import Run

Gather = Callable[[Path, list[tuple[Settings, Path]]], None]
Task = Callable[[Settings, "Run"], None]
HYDRAS_BYTES = 100_000  # more than Hydra writes into the folder of a run


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
        line = command_line.read(sys.argv[1:])
    except InputError as error:
        raise _refused(error) from None
    if line.asked in ("help", "version"):
        about = inspect.getdoc(inspect.getmodule(task)) or experiment.name
        sys.stdout.write(help.help_text(about, config_name, line.own) if line.asked == "help" else __version__)
        sys.stdout.write("\n")
        return
    register_rows()
    own = [own_choices.searched(line.own)] if line.own else []
    if line.asked:  # --cfg, shell completion and their kin
        if line.asked == "cfg":  # what it shows is a run that could be
            _refuse_unknown([*line.words, *own], config_name)
        words = [*line.hydras, *line.words, *own]
        _show(functools.partial(_hand_over, task, experiment, config_name, words), line)
        return
    from escape_abm.runs import terminal
    from escape_abm.runs.provenance import PROVENANCE
    from escape_abm.runs.sweep import run_sweep

    terminal.hush(line.quiet, line.verbose)
    try:
        command_line.refuse_hydras(line.words)
        with our_hydra(experiment.name):
            ask = build_request([*line.words, *own], config_name, experiment, line.multirun)
            for job in ask.jobs:
                if check is not None:
                    check(job.settings)
        if not ask.several and (ask.folder / PROVENANCE).exists():
            _refuse_other(ask)
    except (InputError, HydraException) as error:
        raise _refused(error) from None
    if not line.quiet:
        for told in dict.fromkeys(told for job in ask.jobs for told in outside_evidence(job.settings)):
            terminal.warn(told)
    if line.verbose:
        terminal.show_settings(ask.jobs[0].settings, len(ask.jobs))
    try:
        with termination_heeded():
            if ask.several:
                code = run_sweep(ask, gather)
                if code:
                    raise SystemExit(code)
            else:
                _run_one(task, ask, config_name, [*line.words, *own])
    except InputError as error:
        raise SystemExit(str(error)) from None


def _show(hydras: Callable[[], None], line: command_line.Line) -> None:
    """Let Hydra show what is asked for; what it says to a shell is mended on its way."""
    wanted = "".join(line.words)
    flags: list[str] = []
    if wanted.startswith("query=") and "COMP_LINE" in os.environ:  # the tab key
        os.environ["COMP_LINE"], flags = help.completed(os.environ["COMP_LINE"])
    if wanted.startswith("query=") and "COMP_LINE" not in os.environ:
        raise SystemExit(f"--shell-completion {wanted}: only a shell asks this. Write --shell-completion install=bash")
    if flags:
        sys.stdout.write("\n".join(flags) + "\n")
    elif wanted.startswith("install="):
        with redirect_stdout(io.StringIO()) as said:
            hydras()
        sys.stdout.write(help.for_shell(said.getvalue()))
    else:
        hydras()


def _refuse_unknown(words: list[str], config_name: str) -> None:
    """Refuse in our words what Hydra would refuse in its own."""
    try:
        with our_hydra():
            compose_words(words, config_name)
    except InputError as error:
        raise _refused(error) from None


def _refused(error: Exception) -> SystemExit:
    return SystemExit(f"{error}\nNothing was run and nothing was written.")


def _refuse_other(ask: Ask) -> None:
    """Refuse a folder, chosen by hand, that holds another finished run."""
    from escape_abm.runs.provenance import Damaged, read_provenance

    try:
        mine = read_provenance(ask.folder)["identity"] == ask.jobs[0].identity.name
    except Damaged as error:
        raise InputError(f"{error}. Whether it is this run cannot be told: or choose another folder") from None
    if not mine:
        raise InputError(
            f"hydra.run.dir={ask.folder}: this folder already holds a finished run. Choose another, or delete it"
        )


def _run_one(task: Task, ask: Ask, config_name: str, words: list[str]) -> None:
    """A single run: shown if it is finished, gone on with if it was stopped, otherwise new."""
    from escape_abm.runs.provenance import is_finished
    from escape_abm.runs.run_folder import Run, held, storage
    from escape_abm.runs.terminal import say

    job, pictures = ask.jobs[0], ask.pictures is not False
    folder, there = ask.folder, Earlier()
    if ask.root is not None:
        with held(ask.root):  # two that start together find the same folder
            there = Index([ask.root]).look(job.identity, pictures)
            new = folder.with_name(f"{folder.name}_{job.identity.name}")
            folder = there.finished or there.unfinished or new
            with storage(folder):
                folder.mkdir(parents=True, exist_ok=True)
    elif is_finished(folder):
        there = Earlier(finished=folder)
    if there.finished is None:
        with held(folder, lambda f: say(f"Another process works on this run; waiting for {f}")):
            if not is_finished(folder):
                with storage(folder):  # Hydra would end in a traceback
                    probe = folder / ".probe"
                    probe.write_bytes(bytes(HYDRAS_BYTES))
                    probe.unlink()
                _say_earlier(there, job.identity)
                _hand_over(task, ask.experiment, config_name, words, folder, there.same, pictures)
                return
    say(f"This run is finished already; nothing is computed again: {folder}")
    task(job.settings, Run(job.settings, folder, job.identity))


def _say_earlier(there: Earlier, identity: Identity) -> None:
    from escape_abm.runs.run_folder import what_changed
    from escape_abm.runs.terminal import say

    if there.unfinished:
        say(f"This run is not finished, or a file of it is damaged; it goes on in {there.unfinished}")
    if there.same:
        say(f"Patients are taken from {there.same}")
    elif there.other:
        changes = what_changed(there.other, identity)
        say(f"These settings were run by other code, and are computed anew beside {there.other}: {changes}")


def _hand_over(
    task: Task,
    experiment: Experiment,
    config_name: str,
    words: list[str],
    folder: Path | None = None,
    earlier: Path | None = None,
    pictures: bool = True,
) -> None:
    """Let Hydra run the task with these words, in a folder if one is given."""

    @functools.wraps(task)
    def job(composed: DictConfig) -> None:
        from escape_abm.runs.run_folder import Run, stopped

        place = Path(HydraConfig.get().runtime.output_dir)
        given = list(HydraConfig.get().overrides.task)
        settings = from_config(composed, config_name, given, list(HydraConfig.get().overrides.hydra))
        identity = identify(experiment, settings)
        try:
            task(settings, Run(settings, place, identity, overrides=given, earlier=earlier, pictures=pictures))
        except InputError as error:
            raise SystemExit(str(error)) from None
        except KeyboardInterrupt:
            stopped(place, identity)
            raise SystemExit(130) from None

    if folder is not None:
        quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
        words = [w for w in words if not w.startswith("hydra.run.dir=")] + [f"hydra.run.dir='{quoted}'"]
    sys.argv = [sys.argv[0], *words]  # overrides in a row: with flags between them, Hydra cannot read them
    hydra.main(version_base="1.3", config_path=conf_dir(), config_name=config_name)(job)()
