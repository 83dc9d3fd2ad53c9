"""What a run says on the terminal: progress, a table of the arms, published results beside, where the files are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from escape_abm.settings import Settings
from escape_abm.trial import TrialResult, months_of


@contextmanager
def progress(settings: Settings) -> Iterator[Callable[[int], None]]:
    """A progress bar over patients, on the error stream; gives the function that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    arms = len(settings.arms)
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"patients x {arms} product{'s' if arms > 1 else ''}", total=settings.cohort.size)
        yield lambda done: bar.update(task, advance=done)


def _cell(summary: pd.DataFrame, arm: str, endpoint: str, month: float | None) -> str:
    here = summary[(summary["arm"] == arm) & (summary["endpoint"] == endpoint)]
    if month is not None:
        here = here[here["month"] == month]
    if here.empty or pd.isna(here["estimate"].iloc[0]):
        return "-"
    line = here.iloc[0]
    return f"{100 * line['estimate']:.0f}\n{100 * line['lower']:.0f}-{100 * line['upper']:.0f}"


def show(result: TrialResult, settings: Settings, folder: Path) -> None:
    """Print the table of the arms, what the trial published, and where the results are."""
    console = Console()
    months = months_of(settings.follow_up_months)
    if months:
        last = months[-1]
        table = Table(
            title=f"{settings.trial.label}: {settings.cohort.size} virtual patients under each product",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            show_edge=False,
            caption=(
                f"% and 95 % interval. CR, MRD and survival: of all patients. Antigen-negative, antigen-positive and "
                f"lineage switch: relapse by {last:g} months of patients in CR."
            ),
            title_justify="left",
            caption_justify="left",
        )
        table.add_column("product", no_wrap=True)
        columns = {
            "CR": ("complete_remission", settings.assessment_month),
            "MRD-\nnegative": ("mrd_negative", settings.assessment_month),
            "antigen-\nnegative": ("cumulative_incidence_antigen_negative", last),
            "antigen-\npositive": ("cumulative_incidence_antigen_positive", last),
            "lineage\nswitch": ("cumulative_incidence_lineage_switch", last),
            "EFS": ("event_free_survival", last),
            "OS": ("overall_survival", last),
        }
        for name in columns:
            table.add_column(name, justify="right", no_wrap=True)
        for arm in settings.arms:
            cells = [_cell(result.summary, arm.name, endpoint, month) for endpoint, month in columns.values()]
            table.add_row(arm.name, *cells)
        console.print(table)
    if settings.published:
        _show_published(console, result, settings)
    console.print(f"\nResults: {folder}", highlight=False, soft_wrap=True)
    console.print(
        "  figures/antigen_negative_relapse.png first; summary.csv for every endpoint; contrasts.csv for products "
        f"against {settings.product.name} on the same patients",
        highlight=False,
        soft_wrap=True,
    )


def _show_published(console: Console, result: TrialResult, settings: Settings) -> None:
    table = Table(
        title=f"Published for {settings.trial.label}, and simulated here",
        caption="% and 95 % interval. The biology is not fitted to this trial.",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        title_justify="left",
        caption_justify="left",
    )
    for name in ("endpoint", "month", "published", "n", "simulated"):
        table.add_column(name, justify="left" if name == "endpoint" else "right", no_wrap=True)
    months = months_of(settings.follow_up_months)
    for point in settings.published:
        read = (
            None
            if point.month is None
            else min((m for m in months), key=lambda m: abs(m - (point.month or 0)), default=None)
        )
        if point.endpoint in ("complete_remission", "mrd_negative"):
            read = settings.assessment_month
        said = f"{100 * point.estimate:.0f}"
        if point.lower is not None and point.upper is not None:
            said += f"\n{100 * point.lower:.0f}-{100 * point.upper:.0f}"
        at = "" if point.month is None else f"{point.month:g}" + ("" if read == point.month else f"; here {read:g}")
        table.add_row(
            point.endpoint.replace("cumulative_incidence", "incidence"),
            at,
            said,
            str(point.n),
            _cell(result.summary, settings.product.name, point.endpoint, read),
        )
    console.print(table)
