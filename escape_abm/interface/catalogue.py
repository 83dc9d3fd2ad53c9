"""Figures by name: the stored run that each is drawn from (made if missing) and the function that draws it.

A figure is a file in `conf/figure/`. Its run is the command line of an experiment. The name of the run
(`runs.fingerprint`) shows whether it is stored already, so a redrawn figure has the same numbers.
"""

from __future__ import annotations

import inspect
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from escape_abm.figures import style
from escape_abm.inputs.checks import InputError, check
from escape_abm.inputs.rows import Section
from escape_abm.interface.composition import conf_dir
from escape_abm.interface.painters import PAINTERS, TABLES, Made
from escape_abm.interface.request import ask
from escape_abm.runs import terminal
from escape_abm.runs.fingerprint import Experiment, Index, name_of
from escape_abm.runs.jobs import Planned, do_jobs
from escape_abm.runs.provenance import read_table
from escape_abm.runs.run_folder import held, storage, write_csv
from escape_abm.trials.processors import cores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Picture = tuple[Figure, pd.DataFrame]

EXPERIMENTS = {
    "calibrate": ("calibrate", "calibrate"),
    "compare_products": ("compare", "config"),
    "counterfactual": ("counterfactual", "config"),
    "marrow": ("watch", "marrow"),
    "sensitivity": ("decide", "sensitivity"),
    "theory": ("theory", "theory"),
    "trial": ("beside", "published"),
}
"""Task and configuration of each script that a figure may ask."""


class FigureConfig(Section):
    """One file of `conf/figure/`."""

    caption: str
    """What it shows, for docs/figures.md."""
    run: str = ""
    """What it is drawn from, as a reader would type it after `python`; without: from the code or a measured table."""
    draw: str = ""
    """The function here that draws it."""
    options: dict[str, Any] = {}
    """Arguments of that function."""
    of: str = "virtual patients"
    """What the size of the cohort counts, for the line at the foot."""
    small: str = ""
    """Words that replace words of `run` where its numbers are only checked."""
    copies: str = ""
    """A picture that the run itself drew, relative to its folder and without ending, in place of `draw`."""
    reads: str = ""
    """The table that is drawn: of the run's folder, or, without a run, measured and in the project."""
    kept: bool = False
    """The run takes too long to be made on the way: where it is not stored, the numbers in docs/images are drawn."""
    made_by: str = ""
    """The command that measured the table."""
    program: str = ""
    """A module that makes the picture itself, in the folder that it is given."""


# ---------------------------------------------------------------------------------------------------- what there is


def names() -> list[str]:
    """Every figure, in the order in which they tell the story (`conf/figure/all.yaml`)."""
    listed: list[str] = _file("all")["names"]
    return listed


def figure_config(name: str) -> FigureConfig:
    """The file of a figure, checked."""
    return checked(name, _file(name))


def _file(name: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(Path(conf_dir(), "figure", f"{name}.yaml").read_text(encoding="utf-8"))
    return data


def checked(name: str, data: dict[str, Any]) -> FigureConfig:
    """A figure's configuration, checked.

    Raises:
        InputError: it breaks a rule.
    """
    config = check(FigureConfig, data, f"figure={name}")
    known = tuple(TABLES if config.reads else PAINTERS)
    if config.draw and config.draw not in known:
        raise InputError(f"figure={name}: draw={config.draw!r} is unknown. Choose one of {', '.join(known)}")
    if [config.draw, config.copies, config.program].count("") != 2:
        raise InputError(f"figure={name}: needs one of draw, copies and program")
    if config.draw:
        _check_options(name, config)
    if config.run and not Path(conf_dir()).parent.joinpath(shlex.split(config.run)[0]).is_file():
        raise InputError(f"figure={name}: run={config.run!r} begins with no script; write experiments/NAME.py first")
    return config


def _check_options(name: str, config: FigureConfig) -> None:
    """Refuse options that what draws does not take, and what draws runs without one."""
    painter = (TABLES if config.reads else PAINTERS)[config.draw]
    takes = list(inspect.signature(painter).parameters)[1:]
    if set(takes) != set(config.options):
        raise InputError(f"figure={name}: draw={config.draw} takes the options {', '.join(takes) or 'none'}, not "
                         f"{', '.join(config.options) or 'none'}")  # fmt: skip
    if not config.reads and not config.run and config.draw != "law":
        raise InputError(f"figure={name}: run is missing; draw={config.draw} is drawn from one")


def command_of(run: str, others: Sequence[str] = ()) -> list[str]:
    """The words of a run's command; others replace words with the same key."""
    return list({w.partition("=")[0]: w for w in (*shlex.split(run), *others)}.values())


def stored(words: Sequence[str], make: bool = True, pictures: bool = False) -> list[Made]:
    """The runs of a command: found by what they are, else made.

    Args:
        words: The script, `-m` for a sweep, and its overrides.
        make: Whether to make what is missing.
        pictures: Whether its own pictures are wanted too.

    Returns:
        A run for each job; none if one is missing and is not to be made.

    Raises:
        InputError: the command cannot be read, or a run failed.
    """
    script, *rest = words
    task, config_name = EXPERIMENTS[Path(script).stem]
    experiment = Experiment(Path(script).stem, Path(conf_dir()).parent / script, task)
    wanted = ask(experiment, [w for w in rest if w != "-m"], config_name, "-m" in rest)
    assert wanted.root is not None
    index, out = Index([wanted.root]), []
    for job in wanted.jobs:
        with held(wanted.root):  # two that start together find the same folder
            there = index.look(job.identity, pictures)
            new = wanted.folder.with_name(f"{wanted.folder.name.removesuffix('_sweep')}_{job.identity.name}")
            folder = there.finished or there.unfinished or new
            if there.finished is None and make:
                with storage(folder):
                    folder.mkdir(parents=True, exist_ok=True)
        if there.finished is None:
            if not make:
                return []
            terminal.say(f"  {shlex.join(job.overrides) or 'default'}: {folder}")
            planned = Planned(job, folder, "missing", earlier=there.same)
            [outcome] = do_jobs(experiment, pictures, job.settings.workers or cores(), [planned])
            if outcome.status == "failed":
                raise InputError(f"python {shlex.join(words)}: {outcome.error}\nerror.txt is in {folder}")
        out.append(Made(job.settings, folder, job.values))
    return out


# ------------------------------------------------------------------------------------------------------------ drawing


class Gallery:
    """A folder of figures; several that are drawn from one run look for it once."""

    def __init__(
        self, into: Path, *, small: bool = False, workers: int | None = None, words: Sequence[str] = ()
    ) -> None:
        """Nothing is written yet; small: the tables alone, of small runs; words: overrides of every run."""
        self.into, self.small, self.workers, self.words = into, small, workers, tuple(words)
        self._runs: dict[tuple[str, ...], list[Made]] = {}

    def draw(self, name: str, config: FigureConfig) -> str:
        """Draw a figure as PNG and SVG with its table as CSV.

        Returns:
            Where it is; or why it is left out, in words.

        Raises:
            InputError: its run failed.
        """
        if self.small and (config.kept or config.made_by or config.program or config.copies):
            return "left out: it has no numbers of a small run"
        runs = self._made(config) if config.run else []
        with storage(self.into):
            self.into.mkdir(parents=True, exist_ok=True)
        if config.program:
            return self._photograph(name, config.program)
        if config.copies:
            return self._copy(name, runs[0].folder, config.copies)
        if config.reads:
            figure, numbers = TABLES[config.draw](self._table(name, config, runs), **config.options)
        else:
            figure, numbers = PAINTERS[config.draw](runs, **config.options)
        with storage(self.into):
            write_csv(numbers, self.into / f"{name}.csv")
            if self.small:
                return str(self.into / f"{name}.csv")
            if runs and not config.kept:  # the same picture, whether from the run or from its numbers
                style.stamp(figure, _foot(runs, config.of))
            style.save(figure, self.into / name)
        return str(self.into / f"{name}.png")

    def _made(self, config: FigureConfig) -> list[Made]:
        words = command_of(config.run, shlex.split(config.small if self.small else "") + list(self.words))
        if self.workers is not None:
            words.append(f"workers={self.workers}")
        if tuple(words) not in self._runs:
            make = not config.kept or bool(self.words)
            self._runs[tuple(words)] = stored(words, make=make, pictures=bool(config.copies))
        return self._runs[tuple(words)]

    @staticmethod
    def _table(name: str, config: FigureConfig, runs: list[Made]) -> pd.DataFrame:
        project = Path(conf_dir()).parent
        plain: dict[str, Any] = {"keep_default_na": False, "na_values": [""]}
        if runs:
            return read_table(runs[0].folder / config.reads, **plain)
        file = project / "docs" / "images" / f"{name}.csv" if config.kept else project / config.reads
        table: pd.DataFrame = pd.read_csv(file, **plain)
        return table

    def _copy(self, name: str, folder: Path, picture: str) -> str:
        files = sorted(folder.glob(f"{picture}.*"))
        with storage(self.into):
            for file in files:
                shutil.copyfile(file, self.into / f"{name}{file.suffix}")
        return ", ".join(str(self.into / f"{name}{file.suffix}") for file in files)

    def _photograph(self, name: str, program: str) -> str:
        """Copy what the program drew, once for each state of the code."""
        project = Path(conf_dir()).parent
        script = project.joinpath(*program.split(".")).with_suffix(".py")
        code = [script, *(project / "escape_abm").rglob("*.py"), *(project / "conf").rglob("*.yaml")]
        folder = Path("outputs", script.stem, name_of(code)).absolute()
        if not (folder / f"{name}.png").exists():
            done = subprocess.run(
                [sys.executable, "-m", program, str(folder)],
                cwd=project,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
            if done.returncode == os.EX_UNAVAILABLE:
                return f"left out: {done.stderr.strip()}"
            if done.returncode != 0:
                raise InputError(f"python -m {program} failed:\n{done.stderr}")
        return self._copy(name, folder, name)


def _foot(runs: list[Made], of: str) -> str:
    """What a picture of one or several runs is of."""
    settings = runs[0].settings
    if len(runs) == 1:
        return terminal.about(settings, f"{settings.cohort.size} {of}")
    trials = {run.settings.trial.name for run in runs}
    what = f"{len(trials)} trials" if len(trials) > 1 else f"{len(runs)} runs"
    return terminal.about(settings, f"{settings.cohort.size} {of} in each of {what}", of_trial=len(trials) == 1)


# --------------------------------------------------------------------------------------------------------------- page


def page(images: Path) -> str:
    """docs/figures.md: every figure with its caption, its table and its command.

    Args:
        images: Where the pictures are, beside the page; one that is not there is said to be missing.
    """
    lines = [PREAMBLE]
    for name in names():
        config = figure_config(name)
        lines += ["", f"## {name}", ""]
        there = [f"{name}.{kind}" for kind in ("gif", "png") if (images / f"{name}.{kind}").exists()]
        lines += [f"![{name.replace('_', ' ')}]({images.name}/{there[0]})" if there else "Not drawn yet."]
        lines += ["", config.caption, ""]
        if config.run:
            note = (
                " It takes long: without a stored run, the picture is drawn from its numbers here."
                if config.kept
                else ""
            )
            lines.append(f"Run: `python {config.run}`.{note}")
        if config.made_by:
            lines.append(f"Measured by `{config.made_by}`.")
        if config.program:
            lines.append(f"Made by `python -m {config.program} FOLDER`.")
        if (images / f"{name}.csv").exists():
            lines.append(f"[Numbers]({images.name}/{name}.csv).")
    return "\n".join(lines) + "\n"


PREAMBLE = """# Figures

Written by `docs/make_tables.py` from `conf/figure/`; do not edit. A figure is a file there: the run that it is drawn
from, what draws it, and its caption.

```
python experiments/figures.py                        # all, into outputs/figures/: PNG, SVG, and the table as CSV
python experiments/figures.py figure=twins           # one
python experiments/figures.py figure=twins cohort.size=50 product=tandem   # the same figure of another run
python experiments/figures.py into=docs/images       # those of this page, drawn anew
python experiments/figures.py small=true into=tests/figures   # tables of small runs, which tests compare exactly
```

From a fresh clone all of them take about a quarter of an hour on two cores, and less than a minute when they are drawn
again. The pictures of the dashboard need `python3 start.py setup dashboard` and Chromium, and are left out without.
A figure of your own is a file of the same form in `figure/` of a folder that `--config-dir` names.

A run that is stored under `outputs/` is found by what it is ([sweeps](sweeps.md)) and not made again, so a figure drawn
anew has the same numbers; after a change of the law or of a default they are made anew. Where a caption does not say
otherwise, intervals are of 95 % and hold the sampling of patients, not uncertainty of parameters.

One visual language: a colour, dash and marker for each phenotype (Okabe and Ito), which kinds of relapse and
mechanisms share by kinship (antigen gone: warm; still there: blue), a colour for each way to see the antigens and a
marker for each product (Tol's muted scheme)."""
