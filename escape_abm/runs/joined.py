"""What a finished sweep leaves: the list of its jobs, their tables as one, and a picture of the swept parameters."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from escape_abm.inputs.settings import Settings
from escape_abm.runs.found import KEPT_FOUND, OVER
from escape_abm.runs.notebook import Picture
from escape_abm.runs.provenance import AGAIN, JOBS, PROVENANCE, Damaged, fault
from escape_abm.runs.run_folder import digest, write_tables
from escape_abm.runs.terminal import about

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JOBS_COLUMNS = ("job", "overrides", "folder", "status", "patients", "seconds", "error")
TABLES = ("patients.parquet", "summary.csv")
"""Of each run that are put together."""
END = "\x1e"  # of a line whose values may hold ends of lines


def join(folder: Path, lines: list[dict[str, Any]], settings: Sequence[Settings], pictures: bool) -> dict[str, str]:
    """Write `jobs.csv`, and the tables of all jobs that are done as one, with the swept parameters as columns.

    Args:
        folder: Of the sweep.
        lines: One for each job, as in `jobs.csv`.
        settings: Of each job.
        pictures: Whether one or two swept parameters are drawn.

    Returns:
        SHA-256 of each file.
    """
    swept = [key for key in lines[0] if key not in JOBS_COLUMNS]
    texts, tables = _read(folder, lines)
    jobs = pd.DataFrame(lines).astype({"seconds": "float64"})
    over = {line["job"]: s for line, s in zip(lines, settings, strict=True) if line["status"] in OVER}
    others: dict[str, Any] = {}
    figures: dict[str, tuple[Figure, pd.DataFrame]] = {}
    if texts:
        summary = _joint_text(texts, jobs[swept])
        others["summary.csv"] = lambda place: place.write_text(summary, encoding="utf-8")
    if tables:
        patients = _joint_table(tables, jobs[swept])
        others["patients.parquet"] = lambda place: pq.write_table(patients, place)
        axes = [key for key in swept if key != "seed" and 1 < jobs[key].nunique() <= 60]
        if pictures and len(axes) in (1, 2):
            name = ("relapse_against", "relapse_map")[len(axes) - 1]
            figures[name] = relapse_picture(_of_jobs(patients, jobs, axes), axes, over, "job")
    for line in lines:
        if line["status"] == "found":  # so that a sweep that is moved still knows what its runs were
            there = folder / line["folder"]
            others[f"{KEPT_FOUND}/{there.name}.json"] = partial(shutil.copyfile, there / PROVENANCE)
    write_tables(folder, {JOBS: jobs}, figures, others)
    return {name: digest(folder / name) for name in (JOBS, *others)}


def _read(folder: Path, lines: list[dict[str, Any]]) -> tuple[dict[int, list[str]], dict[int, pa.Table]]:
    """Lines of `summary.csv` and patients of every job that is over, by its number; a run that is there twice once.

    A job whose tables cannot be read has failed, and its line says why.
    """
    texts: dict[int, list[str]] = {}
    tables: dict[int, pa.Table] = {}
    seen: set[str] = set()
    for line in lines:
        if line["status"] not in OVER or line["folder"] in seen:
            continue
        place = folder / line["folder"]
        try:
            text = _lines_of(place / "summary.csv", next(iter(texts.values()), []))
            table = _rows_of(place / "patients.parquet", next(iter(tables.values()), None))
        except Damaged as error:
            line.update(status="failed", error=str(error))
            continue
        seen.add(line["folder"])
        if text:
            texts[line["job"]] = text
        if table is not None:
            tables[line["job"]] = table
    return texts, tables


def _lines_of(place: Path, like: list[str]) -> list[str]:
    """Lines of a small table, with the head of the others; none if the experiment has no such table."""
    if not place.exists():
        return []
    if why := fault(place):
        raise Damaged(f"{place}: {why}. {AGAIN}")
    lines = place.read_text(encoding="utf-8", errors="replace").splitlines()
    if lines[0] != (like or lines)[0] or "arm" not in lines[0].split(","):
        raise Damaged(f"{place}: its columns are not those of the other jobs. {AGAIN}")
    return lines


def _rows_of(place: Path, like: pa.Table | None) -> pa.Table | None:
    """A large table, of columns that go with those of the others; None if the experiment has no such table."""
    if not place.exists():
        return None
    if why := fault(place):
        raise Damaged(f"{place}: {why}. {AGAIN}")
    try:
        table = pq.read_table(place, use_threads=False)
        if "arm" not in table.column_names:
            raise pa.ArrowInvalid("it has no column arm")
        if like is not None:
            pa.unify_schemas([like.schema, table.schema])
    except (OSError, pa.ArrowException) as error:
        said = str(error).splitlines()[0]
        raise Damaged(f"{place}: cannot be read with the others ({said}). {AGAIN}") from None
    return table


def _of_jobs(patients: pa.Table, jobs: pd.DataFrame, axes: list[str]) -> pd.DataFrame:
    """What curves are drawn from, for every job, also for those that are the same run."""
    table = patients.select(["job", *needed_columns(patients.column_names)]).to_pandas()
    first = jobs.drop_duplicates("folder").rename(columns={"job": "first"})[["folder", "first"]]
    each = jobs[["job", "folder", *axes]].merge(first, on="folder")
    table = table.rename(columns={"job": "first"})
    return pd.merge(table, each.drop(columns="folder"), on="first").drop(columns="first")


def relapse_picture(
    table: pd.DataFrame, axes: list[str], settings: Mapping[int, Settings], number: str, others: Sequence[str] = ()
) -> Picture:
    """Relapse against one or two parameters, under the product of each run; `number` is the column that tells it.

    Values of `others` are read together, which the foot of the picture says.
    """
    from escape_abm.figures.style import stamp
    from escape_abm.figures.trials import relapse_against, relapse_map

    table = table[table["arm"] == table[number].map({run: s.product.name for run, s in settings.items()})]
    table = table.assign(seed=table[number].map({run: s.seed for run, s in settings.items()}))
    months = min(s.follow_up_months for s in settings.values())
    labels = {s.product.name: s.product.label for s in settings.values()}
    picture = (
        relapse_against(table, axes[0], months, labels)
        if len(axes) == 1
        else relapse_map(table, axes, months, labels=labels)
    )
    first = next(iter(settings.values()))
    distinct = len(table[["seed", "patient"]].drop_duplicates())
    over = f", over all values of {', '.join(key.rpartition('.')[2] for key in others)}" if others else ""
    under = f" under {next(iter(labels.values()))}" if len(labels) == 1 else ""
    stamp(picture[0], about(first, f"{distinct} virtual patients{under}, in {len(settings)} {number}s{over}"))
    return Picture(*picture)


def needed_columns(columns: Iterable[str]) -> list[str]:
    """Columns that curves are drawn from."""
    those = ("patient", "day_", "relapse", "cause_", "complete_", "arm", "mrd_", "crs_", "car_t_")
    return [c for c in columns if c.startswith(those)]


def _joint_text(texts: Mapping[int, list[str]], values: pd.DataFrame) -> str:
    """The lines of a small table of every job, behind the number and the swept values of the job.

    Text is joined, not numbers, so that every estimate stays as its run wrote it.
    """
    head = ",".join(["job", *values.columns, next(iter(texts.values()))[0]])
    own = values.loc[list(texts)].to_csv(header=False, lineterminator=END).split(END)[:-1]
    lines = (f"{mine},{text}" for mine, (_, *rest) in zip(own, texts.values(), strict=True) for text in rest)
    return "\n".join([head, *lines]) + "\n"


def _joint_table(tables: Mapping[int, pa.Table], values: pd.DataFrame) -> pa.Table:
    """Patients of every job, with its number and its swept values."""
    table = pa.concat_tables(tables.values(), promote_options="default")
    rows = [t.num_rows for t in tables.values()]
    repeat = pd.Index(list(tables)).repeat(rows)
    for at, key in enumerate(["job", *values.columns]):
        column = repeat if key == "job" else values[key].loc[list(tables)].repeat(rows)
        if key != "job" and column.dtype == object:  # values of several kinds
            column = column.map(str)
        name = key if key not in table.column_names[at:] else f"{key}_swept"
        table = table.add_column(at, name, pa.array(column, from_pandas=True))
    return table
