"""Terminal output of a run: progress, a table of the arms, published results beside it, and where the files are."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from escape_abm import __version__
from escape_abm.inputs.settings import Settings
from escape_abm.inputs.trial import NOT_SHARES
from escape_abm.trials.comparison import row_name
from escape_abm.trials.estimates import AT_ASSESSMENT, estimate, months_of
from escape_abm.trials.survival import Estimate, percent
from escape_abm.trials.virtual_trial import TrialResult

_quiet = False


def hush(quiet: bool = True, verbose: bool = False) -> None:
    """Say nothing from now on but where the results are, and what went wrong; or, of errors, all there is."""
    global _quiet
    _quiet = quiet
    if verbose:
        os.environ["HYDRA_FULL_ERROR"] = "1"


def _console(stderr: bool = False) -> Console:
    """Colour on a terminal only, and not where NO_COLOR is set: rich sees to it."""
    console = Console(stderr=stderr, quiet=_quiet)
    if console.is_jupyter:  # which would want widgets: plain text there
        return Console(stderr=stderr, quiet=_quiet, force_jupyter=False, force_terminal=False)
    return console


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar, on the error stream; gives the function that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("passed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=_console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, advance=done)


def about(settings: Settings, who: str = "", *, of_trial: bool = True) -> str:
    """One line that says what a picture is of; `who` if it is not of all patients, `of_trial` if it is of one trial."""
    who = who or f"{settings.cohort.size} virtual patients"
    trial = f"{settings.trial.label}; " if of_trial else ""
    return f"Simulated with escape_abm {__version__}. {trial}{who}, seed {settings.seed}.{sample(settings)}"


def uncertainty(settings: Settings) -> str:
    """What is said of intervals that hold more than the sampling of patients."""
    return (
        f" Intervals hold what is not known of the parameters ({settings.draw_count} draws)." if settings.draws else ""
    )


def sample(settings: Settings) -> str:
    """What is said of numbers of cells when they are of a sample."""
    if settings.sample_fraction == 1:
        return ""
    return f" Cells are those of a sample: 1 in {1 / settings.sample_fraction:.0e} of a patient."


def _cell(value: Estimate, shown: Callable[[float], str] = percent) -> str:
    if math.isnan(value.estimate):
        return "-"
    return f"{shown(value.estimate)}\n{shown(value.lower)}-{shown(value.upper)}"


def _shown(endpoint: str) -> Callable[[float], str]:
    """How values of an endpoint are written: shares in per cent, medians as they are."""
    return (lambda x: f"{x:.3g}") if endpoint in NOT_SHARES else percent


def overview(result: TrialResult, settings: Settings) -> pd.DataFrame:
    """The table of the arms as text, a row for each: % and 95 % interval; ≈ where a difference is not told."""
    last = months_of(settings.follow_up_months)[-1]
    relapse, survival = f"of CR\n{last:g} mo", f"{last:g} mo"
    columns = {
        "CR": ("complete_remission", settings.assessment_month),
        "MRD-\nnegative": ("mrd_negative", settings.assessment_month),
        f"antigen-\nnegative\n{relapse}": ("cumulative_incidence_antigen_negative", last),
        f"antigen-\npositive\n{relapse}": ("cumulative_incidence_antigen_positive", last),
        f"lineage\nswitch\n{relapse}": ("cumulative_incidence_lineage_switch", last),
        f"EFS\n{survival}": ("event_free_survival", last),
        f"OS\n{survival}": ("overall_survival", last),
    }
    estimates = {line[:3]: Estimate(*line[3:7]) for line in result.summary.itertuples(index=False, name=None)}
    unclear, lines = _unclear(result.contrasts), {}
    for arm in settings.arms:
        read = [_cell(estimates[arm.name, endpoint, month]) for endpoint, month in columns.values()]
        lines[arm.name] = [f"≈{c}" if (arm.name, e) in unclear else c for c, e in zip(read, OF, strict=True)]
    return pd.DataFrame.from_dict(lines, orient="index", columns=list(columns))


def footnote(settings: Settings) -> str:
    """What must be known to read the table of the arms."""
    return (
        "% and 95 % interval. Relapses (antigen-negative: lacks a target of its product): cumulative incidence in "
        "patients in CR, who differ between products. "
        f"Others: of all patients.{uncertainty(settings)}{sample(settings)}"
    )


def show(result: TrialResult, settings: Settings, folder: Path) -> None:
    """Print the table of the arms, what the trial published, and where the results are."""
    console = _console()
    if months_of(settings.follow_up_months):
        table = Table(
            title=f"{settings.trial.label}: {settings.cohort.size} virtual patients under each product",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            show_edge=False,
            caption=footnote(settings),
            title_justify="left",
            caption_justify="left",
        )
        table.add_column("product", no_wrap=True)
        cells = overview(result, settings)
        for name in cells.columns:
            table.add_column(name, justify="right", no_wrap=True)
        for arm, line in cells.iterrows():
            table.add_row(str(arm), *line)
        console.print(table)
        if unclear := _unclear(result.contrasts):
            first, n = settings.product.name, (len(settings.arms) - 1) * len(OF)
            say(
                f"≈ {len(unclear)} of {n} differences from {first} have a 95 % interval that holds 0 "
                "(contrasts.csv: of all, the same patients): they are not told, and more patients may tell"
            )
    if settings.trial.published:
        _show_published(console, result, settings)
    looks = [
        ("figures/relapse_by_product.png", "first: who relapses, and how"),
        ("summary.csv", "every endpoint, with its 95 % interval"),
    ]
    if len(settings.arms) > 1:
        looks.append(("contrasts.csv", f"products against {settings.product.name}, on the same patients"))
    where(folder, *looks, ("patients.parquet", "every patient; docs/outputs.md explains the columns"))


# What `contrasts.csv` calls the columns of the table above.
OF = (
    "complete_remission", "mrd_negative", "antigen_negative_relapse", "antigen_positive_relapse",
    "lineage_switch_relapse", "failure_or_death", "death",
)  # fmt: skip


def _unclear(contrasts: pd.DataFrame) -> set[tuple[str, str]]:
    """Arms and endpoints whose difference from the first arm has a 95 % interval that holds 0."""
    none = (contrasts["lower"] <= 0) & (contrasts["upper"] >= 0)
    lines = contrasts[none & contrasts["endpoint"].isin(OF)]
    return set(zip(lines["arm"], lines["endpoint"], strict=True))


def where(folder: Path, *looks: tuple[str, str]) -> None:
    """Print where the results are and what to look at next: files and what each shows, of those that are there."""
    if _quiet:
        Console().print(folder, highlight=False, markup=False, soft_wrap=True)
        return
    say(f"\nResults: {folder}")
    there = [(name, what) for name, what in looks if (folder / name).exists()]
    width = max((len(name) for name, _ in there), default=0)
    for name, what in there:
        say(f"  {name:{width}}  {what}")


def _table(title: str, caption: str, columns: tuple[str, ...], no_wrap: bool = False) -> Table:
    """An empty table: names at the left, numbers at the right."""
    table = Table(
        title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False,
        title_justify="left", caption_justify="left",
    )  # fmt: skip
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=no_wrap)
    return table


def _show_published(console: Console, result: TrialResult, settings: Settings) -> None:
    title = f"Published for {settings.trial.label}, and simulated here"
    caption = "% and 95 % interval of sampling. Not fitted to this trial alone."
    table = _table(title, caption, ("endpoint", "month", "published", "n", "simulated"), no_wrap=True)
    for point in settings.trial.published:
        if point.not_compared or point.stratum != "all" or (point.month or 0) > settings.follow_up_months:
            continue
        read = settings.assessment_month if point.endpoint in AT_ASSESSMENT else point.month
        shown = _shown(point.endpoint)
        said = shown(point.estimate)
        if point.lower is not None and point.upper is not None:
            said += f"\n{shown(point.lower)}-{shown(point.upper)}"
        at = "" if point.month is None else f"{point.month:g}" + ("" if read == point.month else f"; here {read:g}")
        here = estimate(result.patients, settings.product.name, point.endpoint, read or 0)
        name = row_name(point.model_copy(update={"month": None}))
        table.add_row(name, at, said, str(point.n), _cell(here, shown))
    console.print(table)


def show_comparison(table: pd.DataFrame, label: str) -> None:
    """Print every published figure beside its predictive interval, and how many lie inside."""
    console = _console()
    title = f"{label}: published, and simulated trials of that size"
    caption = "% (medians as they are) and 95 % interval. ×: outside. Rows not compared: comparison.csv says why."
    lines = _table(title, caption, ("endpoint", "published", "simulated", ""))
    row: Any
    for row in table[table["inside"].notna()].itertuples():
        shown = _shown(row.endpoint)
        published = _in_line(Estimate(row.published, row.published_lower, row.published_upper, 0), shown)
        simulated = _in_line(Estimate(row.simulated, row.lower, row.upper, 0), shown)
        lines.add_row(row_name(row), published, simulated, "" if row.inside else "×")
    console.print(lines)
    show_inside(table)


def _in_line(value: Estimate, shown: Callable[[float], str] = percent) -> str:
    if pd.isna(value.lower) or pd.isna(value.upper):
        return shown(value.estimate)
    return f"{shown(value.estimate)} ({shown(value.lower)}-{shown(value.upper)})"


def show_fit(parameters: pd.DataFrame, predicted: dict[str, pd.DataFrame], mixing: str) -> None:
    """Print what was learnt of each parameter, and how many figures lie inside with and without their own trial."""
    console = _console()
    columns = ("parameter", "fitted", "95 %", "shrinkage")
    lines = _table("Parameters: fitted value and posterior", mixing, columns, no_wrap=True)
    row: Any
    for row in parameters.itertuples():
        name = row.path.removeprefix("biology.").removeprefix("antigens.")
        found = f"{row.lower:.2g} to {row.upper:.2g}"
        lines.add_row(name, f"{row.fitted:.3g}", found, f"{max(row.shrinkage, 0):.0%}")
    console.print(lines)
    for name, table in predicted.items():
        console.print(f"\n{name}:")
        show_inside(table)


def show_inside(table: pd.DataFrame) -> None:
    """Print how many published figures lie inside their predictive intervals, by trial."""
    compared = table[table["inside"].notna()]
    console = _console()
    for trial, its in compared.groupby("trial", sort=False):
        console.print(f"{trial}: {int(its['inside'].sum())} of {len(its)} inside", highlight=False)
    if compared["trial"].nunique() > 1:
        console.print(f"all: {int(compared['inside'].sum())} of {len(compared)} inside", highlight=False)


def show_scores(table: pd.DataFrame) -> None:
    """Print how good predictions are by group of endpoints, beside those of a constant."""
    caption = (
        "Percentage points. Constant: the mean of what the other trials published of the endpoint. scores.csv: more."
    )
    columns = ("endpoints", "inside", "error", "absolute error", "of a constant", "interval score", "of a constant")
    lines = _table("How good these predictions are", caption, columns)
    row: Any
    for row in table.itertuples():
        each = (
            row.paired_absolute_error,
            row.constant_absolute_error,
            row.paired_interval_score,
            row.constant_interval_score,
        )
        points = ("–" if pd.isna(value) else f"{100 * value:.0f}" for value in each)
        lines.add_row(row.group, f"{row.inside} of {row.figures}", f"{100 * row.error:+.0f}", *points)
    _console().print(lines)


def show_prevented(table: pd.DataFrame, labels: dict[str, str], reference: str) -> None:
    """Print how many relapses of the reference each product would have prevented, and how many failures it causes."""
    console = _console()
    title = f"Relapses under {labels[reference]} that the same patients would not have had under"
    caption = "Caused: patients without failure under the first product who fail under this one."
    lines = _table(title, caption, ("product", "relapses", "prevented", "% (95 %)", "caused"))
    row: Any
    for row in table[table["mechanism"] == "any"].itertuples():
        share = _in_line(Estimate(row.estimate, row.lower, row.upper, row.relapses)) if row.relapses else "-"
        lines.add_row(labels[row.arm], str(row.relapses), str(row.prevented), share, str(row.caused))
    console.print(lines)


def say(text: str) -> None:
    """Print a line as it is."""
    _console().print(text, highlight=False, markup=False, soft_wrap=True)


def show_settings(settings: Settings, jobs: int) -> None:
    """Print every value that differs from the default rows; of a sweep, those of its first job."""
    differ = settings.differences()
    of = f" in the first of {jobs} jobs" if jobs > 1 else ""
    say(f"{len(differ)} values differ from the rows{of} (here; row):")
    width = max((len(path) for path, *_ in differ), default=0)
    for path, value, default in differ:
        say(f"  {path:{width}}  {value}" + (f"; {default}" if default != "" else ""))


def warn(text: str) -> None:
    """Print a line as it is on the error stream, also when all else is quiet."""
    Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """A time that a person can plan with."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def show_sweep(folder: Path, jobs: int, counts: Mapping[str, int], new: int, failed: list[dict[str, Any]]) -> None:
    """Print how a sweep ended and where it is; the last lines name the jobs that failed."""
    over = counts.get("done", 0) + counts.get("found", 0)
    say(f"{over} of {jobs} jobs are done, {new} of them computed now")
    if counts.get("found"):
        say(f"  {counts['found']} were found finished in other folders, which jobs.csv names")
    where(
        folder,
        ("figures/relapse_map.png", "first: relapse over the two parameters"),
        ("figures/relapse_against.png", "first: relapse against the parameter"),
        ("summary.csv", "every endpoint of all jobs"),
        ("patients.parquet", "every patient of all jobs"),
        ("jobs.csv", "each job: what was swept, its folder, how it ended"),
    )
    if counts.get("missing"):
        say(f"{counts['missing']} jobs were not run: the same command goes on with them")
    if failed:
        warn(f"\n{len(failed)} of {jobs} jobs failed (error.txt in the folder); the same command tries them again:")
    for line in failed:
        warn(f"  job {line['job']} ({line['overrides']}) in {line['folder']}: {line['error']}")
