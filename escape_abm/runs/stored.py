"""Finished runs as one table: `load` for a run, a sweep, or all of outputs/.

Large tables stay on disk until they are needed; `query` runs SQL on them and reads only what it needs.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from escape_abm.inputs.checks import InputError, check, suggest
from escape_abm.inputs.settings import Settings
from escape_abm.runs import terminal
from escape_abm.runs.found import Found, find, runs_table
from escape_abm.runs.joined import needed_columns, relapse_picture
from escape_abm.runs.notebook import Picture, Result
from escape_abm.runs.provenance import AGAIN, PROVENANCE, RECORD, Damaged, fault, read_provenance, read_record
from escape_abm.runs.run_folder import damage, read_tables

NO_AXES = ("seed", "cohort.size", "trajectories.", "comparators", "~comparators", "product@comparators")
"""Parameters that no outcome under the product depends on: which patients, how many, what is kept, what lies beside."""
FILES = {"patients": "patients.parquet", "summary": "summary.csv", "trajectories": "trajectories.parquet"}
FAULTS_SHOWN = 5


class Runs:
    """Finished runs below a folder, as tables with everything that was given on the command line as columns.

    A run is one row wherever it lies: a run that a second sweep found, or that was copied, is not there twice.

    Attributes:
        path: What was loaded.
        runs: A row for each run: `run, experiment, folder, sweeps, patients, seed, seconds, code`, where `code` is the
            end of the name of its folder (of code, libraries and Python); a column for each library whose version
            differs between the runs; and a column for each parameter that was given to one of them, with its value in
            all of them. Settings that differ without having been given, since conf/ has changed, have columns too.
        listings: `run, sweep, job`: every sweep that lists a run, and the number of the job there.
        parameters: Columns of `runs` that are parameters.
    """

    def __init__(
        self, path: Path, runs: pd.DataFrame, versions: list[str], parameters: list[str], found: list[Found]
    ) -> None:
        """Made by `load`."""
        self.path, self.runs, self.parameters = path, runs, parameters
        self._versions, self._found = versions, dict(zip(runs["run"], found, strict=True))
        lines = [(run, str(sweep), job) for run, one in self._found.items() for sweep, job in one.listings]
        self.listings = pd.DataFrame(lines, columns=["run", "sweep", "job"])

    def where(self, condition: str) -> Runs:
        """The runs for which a condition holds, in SQL, of the columns of `runs`: `where("code = 'd4953f'")`.

        Raises:
            InputError: the condition cannot be read, or holds for no run.
        """
        names = self.query(f"SELECT run FROM runs WHERE {condition}")["run"]
        mine = self.runs[self.runs["run"].isin(names)].reset_index(drop=True)
        if mine.empty:
            raise InputError(
                f"where({condition!r}): holds for none of {len(self)} runs. Their columns are those of .runs"
            )
        return Runs(self.path, mine, self._versions, self.parameters, [self._found[run] for run in mine["run"]])

    def patients(self) -> pd.DataFrame:
        """A row for each patient, arm and run: columns as docs/outputs.md says."""
        return self._whole("patients")

    def summary(self) -> pd.DataFrame:
        """A row for each arm, endpoint, month and run."""
        return self._whole("summary")

    def trajectories(self) -> pd.DataFrame:
        """The courses that were kept: `patient, arm, day, group, cells` of each run; without rows if there are none."""
        return self._whole("trajectories")

    def result(self, run: int | None = None) -> Result:
        """The tables, settings and pictures of one run of virtual patients, as `run_trial` gives them.

        Raises:
            InputError: there are several runs and none is named, there is no such run, or it has no patients.
        """
        if run is None and len(self) == 1:
            run = int(self.runs["run"].iloc[0])
        mine = self.runs[self.runs["run"] == run]
        if mine.empty:
            which = "which run?" if run is None else f"run={run}: there is no such run."
            raise InputError(
                f"{which} Write result(N), with N of the column run of .runs: 0 to {self.runs['run'].max()}"
            )
        folder = Path(str(mine["folder"].iloc[0]))
        if "contrasts.csv" not in read_provenance(folder)["files"]:
            raise InputError(f"{folder}: this experiment ({mine['experiment'].iloc[0]}) leaves no tables of patients")
        return Result(**vars(read_tables(folder)), settings=self._settings(int(mine["run"].iloc[0])))

    def plot(self, *parameters: str) -> Picture:
        """Antigen-negative and antigen-positive relapse against one parameter, or as maps over two.

        Values of other parameters are read together, if every point has the same of them; the foot of the picture says
        so. Where runs have the same patients, intervals are as wide as those of one of them.

        Args:
            parameters: One or two columns of `runs`; if none is given, the parameters with several values.

        Raises:
            InputError: a name is no such column, there are not one or two, or the runs cannot be drawn together.
        """
        axes = list(parameters) or [c for c in self.varied if not c.startswith(NO_AXES)]
        known = ["experiment", *self._versions, *self.parameters]
        for name in axes:
            if name not in known:
                raise InputError(f"{name!r} was not given to these runs. {suggest(name, known)}")
        if len(axes) not in (1, 2):
            raise InputError(
                f"one or two parameters can be drawn, not {len(axes)}: {', '.join(axes) or 'none differs'}. "
                f"Pass them by name, and choose runs that are alike in others: {_example(self.runs, axes)}"
            )
        patients = self.patients()
        mine = self.runs[self.runs["run"].isin(patients["run"])]
        mine = mine if "cohort.size" in axes else self._longest(mine)
        others = [c for c in self.varied if c not in axes and not c.startswith(NO_AXES)]
        self._refuse_versions(mine, axes)
        self._refuse_unlike(mine, axes, others)
        table = patients[["run", *needed_columns(patients.columns)]].drop(columns=axes, errors="ignore")
        settings = {run: self._settings(run) for run in mine["run"]}
        return relapse_picture(table.merge(mine[["run", *axes]], on="run"), axes, settings, "run", others)

    def _refuse_versions(self, runs: pd.DataFrame, axes: list[str]) -> None:
        """Refuse to draw as one what different code, libraries or experiments made."""
        if runs.empty:
            raise InputError(f"{self.path}: these runs leave no tables of patients")
        for name in ("experiment", *self._versions):
            alike = runs["experiment"] if "experiment" in axes else runs["run"] * 0  # the script is part of the code
            if name not in axes and runs.groupby(alike)[name].nunique(dropna=False).max() > 1:
                raise InputError(
                    f"these runs differ in {name}: {_values(runs[name])}. Draw those of one, {_example(runs, [name])}, "
                    f"or tell them apart: .plot({', '.join(map(repr, [name, *axes][:2]))})"
                )

    def _refuse_unlike(self, runs: pd.DataFrame, axes: list[str], others: list[str]) -> None:
        """Refuse to draw as one what differs in more parameters than are drawn."""
        for name in axes:
            if runs[name].isna().any():
                raise InputError(
                    f"{name}: {int(runs[name].isna().sum())} of {len(runs)} runs have no value of it. Leave them out: "
                    f".where('\"{name}\" IS NOT NULL').plot({', '.join(map(repr, axes))})"
                )
        if len(axes) == 2 and not self._one_sweep(runs):
            there, all_of = len(runs[axes].drop_duplicates()), runs[axes[0]].nunique() * runs[axes[1]].nunique()
            if there < all_of:
                raise InputError(
                    f"{' and '.join(axes)} were not varied together: {there} of {all_of} pairs were run. Draw "
                    f"one sweep, load(FOLDER).plot(), or one parameter of runs alike in the other: "
                    f".where('\"{axes[1]}\" = ...').plot({axes[0]!r})"
                )
        if others and not self._one_sweep(runs):
            met = {frozenset(map(tuple, its[others].astype(str).to_numpy())) for _, its in runs.groupby(axes)}
            if len(met) > 1:
                raise InputError(
                    f"these runs differ in {', '.join(others)} too, and not every value of {' and '.join(axes)} "
                    f"was run with the same of them. Choose runs that are alike: {_example(runs, others)}"
                )

    def _longest(self, runs: pd.DataFrame) -> pd.DataFrame:
        """Of runs that differ in the number of patients only the longest: it begins with those of the others."""
        but_size = pd.Series([self._found[run].identity.partition("_")[2] for run in runs["run"]], index=runs.index)
        longest = runs.groupby([runs["experiment"], but_size], sort=False)["patients"].idxmax()
        return runs.loc[longest.sort_values()]

    def _one_sweep(self, runs: pd.DataFrame) -> bool:
        """Whether one sweep asked for all of these runs: then its design is meant."""
        mine = self.listings[self.listings["run"].isin(runs["run"])]
        return bool((mine.groupby("sweep")["run"].nunique() == len(runs)).any())

    def query(self, sql: str) -> pd.DataFrame:
        """The answer to SQL (DuckDB) about the tables `runs`, `listings`, `patients`, `summary`, `trajectories`.

        Whole numbers stay whole, also where some are missing (pandas `Int64`).

        Raises:
            InputError: the query names a table or column that is not there, or a file cannot be read.
        """
        import duckdb

        try:
            answer = self._base.cursor().sql(sql)
            # Through the DataFrames of DuckDB whole numbers with gaps would become floats.
            return pd.DataFrame() if answer is None else _as_frame(answer.to_arrow_table())
        except (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException) as error:
            raise InputError(f"{sql}: {error}") from None
        except (duckdb.Error, OSError) as error:
            raise InputError(f"{sql}: {error}.{self._damaged()}") from None

    def _settings(self, run: int) -> Settings:
        """With what a run was made."""
        said = self._found[run].settings
        if said is None:
            place = self._found[run].folder / PROVENANCE
            raise Damaged(f"{place}: with what run {run} was made is not known without it. {AGAIN}, or leave it out")
        try:
            return check(Settings, said)
        except InputError as error:
            raise Damaged(f"{self._found[run].folder / PROVENANCE}: of another version, or changed: {error}") from None

    def _damaged(self) -> str:
        """The first files that are not what was written, for a message."""
        said = [f"{run.folder}: {line}" for run in self._found.values() for line in damage(run.folder)]
        return f" Damaged: {'; '.join(said[:3])}. {AGAIN}" if said else ""

    def _whole(self, table: str) -> pd.DataFrame:
        return self.query(f"SELECT * FROM {table}").sort_values("run", kind="stable", ignore_index=True)

    @cached_property
    def _base(self) -> Any:
        import duckdb

        base = duckdb.connect()
        for name, frame in (("runs", self.runs), ("listings", self.listings)):
            base.register("frame", frame)
            base.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")
        for table, file in FILES.items():
            base.execute(f"CREATE VIEW {table} AS {self._source(file)}")
        return base

    def _source(self, name: str) -> str:
        """Where a table is read from: the joint files of sweeps, else the files of the runs themselves."""
        joints = {sweep: self._joint(Path(sweep), name) for sweep in dict.fromkeys(self.listings["sweep"])}
        joint: list[tuple[str, int, int]] = []
        single: list[tuple[str, int]] = []
        for run, found in self._found.items():
            listed = next(((joints[str(s)], job) for s, job in found.listings if joints[str(s)]), None)
            if listed:
                joint.append((str(listed[0]), listed[1], run))
            elif (place := found.folder / name).exists():
                if why := _foreign(place):
                    terminal.warn(f"{place}: {why}; left out. {AGAIN}")
                else:
                    single.append((str(place), run))
        parts = [
            self._select(sorted({line[0] for line in lines}), lines, by)
            for lines, by in ((joint, ["filename", "job"]), (single, ["filename"]))
            if lines
        ]
        return " UNION ALL BY NAME ".join(parts) or "SELECT NULL::BIGINT AS run WHERE false"

    def _joint(self, sweep: Path, name: str) -> Path | None:
        """The table of all jobs of a sweep; None if it has none, or none that can be used."""
        place = sweep / name
        if name not in read_record(sweep)["files"]:
            return None
        if why := _foreign(place):
            terminal.warn(f"{place}: {why}. The jobs are read one by one; the command of the sweep makes it anew")
            return None
        return place

    def _select(self, files: list[str], rows: Sequence[tuple[Any, ...]], by: list[str]) -> str:
        """What is read from files, with what is said of each run; `rows` are values of `by`, and the run."""
        own = {c for f in files for c in _swept_columns(Path(f))} if "job" in by else set()
        names = {c for f in files[: len(files) if own else 1] for c in _columns(Path(f))} - own
        said = ["seed", *(v for v in self._versions if _several(self.runs[v])), *self.parameters]
        said = [f"runs.{_name(c)} AS {_name(f'{c}_swept' if c in names else c)}" for c in said]
        kind, more = (
            ("read_csv", ", nullstr = '', auto_detect = true") if files[0].endswith("csv") else ("read_parquet", "")
        )
        those = ", ".join(map(_text, files))
        read = f"{kind}([{those}], filename = true, union_by_name = true{more})"
        without = ", ".join(map(_name, sorted({*own, *by})))
        pairs = ", ".join(f"({', '.join(_text(v) if isinstance(v, str) else str(v) for v in row)})" for row in rows)
        return (
            f"SELECT {', '.join(['run', *said])}, t.* EXCLUDE ({without}) FROM {read} t "
            f"JOIN (VALUES {pairs}) AS f({', '.join(by)}, run) USING ({', '.join(by)}) JOIN runs USING (run)"
        )

    @property
    def varied(self) -> list[str]:
        """Parameters with several values."""
        seed = ["seed"] if _several(self.runs["seed"]) else []
        return seed + [c for c in self.parameters if _several(self.runs[c])]

    def __len__(self) -> int:
        return len(self.runs)

    def _repr_html_(self) -> str:
        head = self.runs.drop(columns="folder").head(10)
        rest = f"<p>and {len(self.runs) - 10} more</p>" if len(self.runs) > 10 else ""
        return f"<p><b>{len(self.runs)} runs</b> in {self.path}</p>{head.to_html(index=False)}{rest}"

    def __repr__(self) -> str:
        by = f", by {', '.join(self.varied)}" if self.varied else ""
        return f"{len(self.runs)} run{'s' if len(self.runs) != 1 else ''} in {self.path}{by}"


def load(path: str | Path = "outputs") -> Runs:
    """Finished runs: one, those of a sweep, or all below a folder such as outputs/.

    What is damaged or is not where its sweep says is told on the error stream and left out.

    Raises:
        InputError: there is none, or none that can be read.
    """
    path = Path(path)
    found, faults = find(path)
    if not found and faults:
        raise Damaged("\n".join(faults))
    if not found:
        raise InputError(f"{path}: holds no finished run (a folder with provenance.json) and no finished sweep")
    for text in faults[:FAULTS_SHOWN]:
        terminal.warn(text)
    if len(faults) > FAULTS_SHOWN:
        terminal.warn(f"{len(faults) - FAULTS_SHOWN} more are not whole: python -m escape_abm check {path} names them")
    runs, versions, parameters = runs_table(found, path, by_job=(path / RECORD).exists())
    return Runs(path, runs, versions, parameters, found)


def _as_frame(table: pa.Table) -> pd.DataFrame:
    """As pandas: decimals as floats or whole numbers, and whole numbers stay whole where some are missing."""
    out = {}
    for i, column in enumerate(table.columns):
        if pa.types.is_decimal(column.type):
            column = column.cast("int64" if column.type.scale == 0 else "float64", safe=False)
        nullable = pa.types.is_integer(column.type) and column.null_count
        out[i] = column.to_pandas(types_mapper={column.type: pd.Int64Dtype()}.get if nullable else None)
    return pd.DataFrame(out).set_axis(table.column_names, axis=1)


def _several(column: pd.Series[Any]) -> bool:
    return column.nunique(dropna=False) > 1


def _values(column: pd.Series[Any]) -> str:
    """The first values of a column, for a message."""
    each = [str(v) for v in column.unique()]
    return ", ".join(each[:5]) + (f" and {len(each) - 5} more" if len(each) > 5 else "")


def _example(runs: pd.DataFrame, names: Sequence[str]) -> str:
    """How the first run, and those like it, are chosen by these columns."""
    first = runs.iloc[0]
    told = [
        f"{_name(c)} "
        + ("IS NULL" if pd.isna(first[c]) else f"= {_text(first[c]) if isinstance(first[c], str) else first[c]}")
        for c in names
    ]
    return f".where({' AND '.join(told[:3])!r})" if told else ".where(...)"


def _foreign(place: Path) -> str:
    """Why a table cannot be read, or is none of ours; "" if it can. What its pages hold is not looked at."""
    if why := fault(place):
        return why
    try:
        return "" if "arm" in _columns(place) else "is no table of a run: it has no column arm"
    except (OSError, ValueError, StopIteration):  # of pyarrow too
        return "was changed, and cannot be read"


def _columns(place: Path) -> list[str]:
    """Names of the columns of a table."""
    if place.suffix == ".parquet":
        return list(pq.read_schema(place).names)
    with place.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def _swept_columns(place: Path) -> list[str]:
    """Columns that the joint table of a sweep has before those of its runs: the job, and the swept parameters."""
    return _columns(place)[: 1 + len(read_record(place.parent)["swept"])]


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
