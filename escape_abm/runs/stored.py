"""Finished runs as one table: the combined tables of a sweep, and `load` for a run, a sweep, or all of outputs/.

Large tables stay on disk until they are needed; `query` runs SQL on them and reads only what it needs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from escape_abm.inputs.checks import InputError, suggest
from escape_abm.inputs.settings import Settings
from escape_abm.runs.notebook import Picture, Result
from escape_abm.runs.run_folder import PROVENANCE, digest, read_provenance, storage, write_tables
from escape_abm.runs.terminal import about
from escape_abm.trials.virtual_trial import TrialResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JOBS_COLUMNS = ("job", "overrides", "folder", "status", "patients", "seconds", "error")
OVER = ("done", "found")


# ------------------------------------------------------------------------------------------------ what a sweep leaves


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
    jobs = pd.DataFrame(lines).astype({"seconds": "float64"})
    over = [(line, s) for line, s in zip(lines, settings, strict=True) if line["status"] in OVER]
    others: dict[str, Any] = {}
    figures: dict[str, tuple[Figure, pd.DataFrame]] = {}
    if summary := _joint_text(folder, [line for line, _ in over], swept, "summary.csv"):
        others["summary.csv"] = lambda place: place.write_text(summary, encoding="utf-8")
    if (patients := _joint_table(folder, [line for line, _ in over], jobs[swept])) is not None:
        others["patients.parquet"] = lambda place: pq.write_table(patients, place)
        axes = [key for key in swept if key != "seed" and 1 < jobs[key].nunique() <= 60]
        if pictures and len(axes) in (1, 2):
            wanted = ["job", *axes, *_needed(patients.column_names)]
            table = patients.select(list(dict.fromkeys(wanted))).to_pandas()
            name = ("relapse_against", "relapse_map")[len(axes) - 1]
            figures[name] = _relapse(table, axes, {line["job"]: s for line, s in over}, "job")
    write_tables(folder, {"jobs.csv": jobs}, figures, others)
    return {name: digest(folder / name) for name in ("jobs.csv", *others)}


def _relapse(
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


def _needed(columns: Iterable[str]) -> list[str]:
    """Columns that curves are drawn from."""
    those = ("patient", "day_", "relapse", "cause_", "complete_", "arm", "mrd_", "crs_", "car_t_")
    return [c for c in columns if c.startswith(those)]


def _joint_text(folder: Path, lines: list[dict[str, Any]], swept: list[str], name: str) -> str:
    """The lines of a small table of every job, behind the number and the swept values of the job; "" if there is none.

    Text is joined, not numbers, so that every estimate stays as its run wrote it.
    """
    head, out = "", []
    for line in lines:
        place = folder / line["folder"] / name
        if not place.exists():
            continue
        first, *rest = place.read_text(encoding="utf-8").splitlines()
        own = pd.DataFrame([[line["job"], *(line[key] for key in swept)]]).to_csv(index=False, header=False).strip("\n")
        head = head or ",".join(["job", *swept, first])
        out += [f"{own},{text}" for text in rest]
    return "\n".join([head, *out]) + "\n" if out else ""


def _joint_table(folder: Path, lines: list[dict[str, Any]], values: pd.DataFrame) -> pa.Table | None:
    """Patients of every job, with its number and its swept values; None if the experiment has none."""
    tables, numbers = [], []
    for line in lines:
        place = folder / line["folder"] / "patients.parquet"
        if place.exists():
            tables.append(pq.read_table(place, use_threads=False))
            numbers.append(line["job"])
    if not tables:
        return None
    table = pa.concat_tables(tables, promote_options="default")
    rows = [t.num_rows for t in tables]
    repeat = pd.Index(numbers).repeat(rows)
    for at, key in enumerate(["job", *values.columns]):
        column = repeat if key == "job" else values[key].iloc[numbers].repeat(rows)
        if key != "job" and column.dtype == object:  # values of several kinds
            column = column.map(str)
        name = key if key not in table.column_names[at:] else f"{key}_swept"
        table = table.add_column(at, name, pa.array(column, from_pandas=True))
    return table


# -------------------------------------------------------------------------------------------------------------- loading


class Runs:
    """Finished runs below a folder, as tables with the swept parameters (or the overrides of a run) as columns.

    Attributes:
        path: What was loaded.
        runs: A row for each run: `experiment`, `folder`, `patients`, `seed`, `seconds`, and a column for each parameter
            that was given on the command line.
    """

    def __init__(self, path: Path, runs: pd.DataFrame, joint: dict[str, str]) -> None:
        """Made by `load`."""
        self.path, self.runs, self._joint = path, runs, joint

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
        if not (folder / "contrasts.csv").exists():
            raise InputError(f"{folder}: this experiment ({mine['experiment'].iloc[0]}) leaves no tables of patients")
        return Result(**vars(TrialResult.read(folder)), settings=_settings_of(folder))

    def plot(self, *parameters: str) -> Picture:
        """Antigen-negative and antigen-positive relapse against one parameter, or as maps over two.

        Runs that differ in other parameters are read together. Where these have the same patients, intervals are as
        wide as those of one of them.

        Args:
            parameters: One or two names of `parameters`; if none is given, those with several values.

        Raises:
            InputError: a name is not one of them, or they are not one or two.
        """
        axes = list(parameters) or [c for c in self.parameters if c != "seed" and self.runs[c].nunique() > 1]
        for name in axes:
            if name not in self.parameters:
                raise InputError(f"{name!r} was not given to these runs. {suggest(name, self.parameters)}")
        if len(axes) not in (1, 2):
            raise InputError(
                f"one or two parameters can be drawn, not {len(axes)}: {', '.join(axes) or 'none differs'}"
            )
        patients = self.patients()
        table = patients[["run", *_needed(patients.columns)]].merge(self.runs[["run", *axes]], on="run")
        folders = zip(self.runs["run"], self.runs["folder"], strict=True)
        others = [c for c in self.parameters if c not in (*axes, "seed") and self.runs[c].nunique() > 1]
        return _relapse(table, axes, {run: _settings_of(Path(folder)) for run, folder in folders}, "run", others)

    def query(self, sql: str) -> pd.DataFrame:
        """The answer to a query in SQL (DuckDB) of the tables `runs`, `patients`, `summary`, `trajectories`.

        Raises:
            InputError: the query names a table or column that is not there.
        """
        import duckdb

        try:
            out: pd.DataFrame = self._base.cursor().execute(sql).df()
            return out
        except duckdb.Error as error:
            raise InputError(f"{sql}: {error}") from None

    def _whole(self, table: str) -> pd.DataFrame:
        return self.query(f"SELECT * FROM {table}").sort_values("run", kind="stable", ignore_index=True)

    @cached_property
    def _base(self) -> Any:
        import duckdb

        base = duckdb.connect()
        base.register("frame", self.runs)
        base.execute("CREATE TABLE runs AS SELECT * FROM frame")
        for table, name in (("patients", "patients.parquet"), ("summary", "summary.csv"),
                            ("trajectories", "trajectories.parquet")):  # fmt: skip
            base.execute(f"CREATE VIEW {table} AS {self._source(name)}")
        return base

    def _source(self, name: str) -> str:
        """Where a table is read from: one joint file if the sweep has one, else the files of the runs."""
        read = "read_parquet" if name.endswith("parquet") else "read_csv"
        how = "union_by_name = true" + ("" if read == "read_parquet" else ", nullstr = '', auto_detect = true")
        if name in self._joint:
            return f"SELECT job AS run, * EXCLUDE (job) FROM {read}({_quoted([self._joint[name]])}, {how})"
        files = {str(Path(f, name)): r for r, f in zip(self.runs["run"], self.runs["folder"], strict=True)}
        files = {f: r for f, r in files.items() if os.path.exists(f)}
        if not files:
            return "SELECT NULL AS run WHERE false"
        base = "run, " + "".join(f'runs."{c}" AS "{c}", ' for c in self.parameters if c not in ("patient", "arm"))
        pairs = ", ".join(f"({_text(f)}, {r})" for f, r in files.items())
        return (
            f"SELECT {base} t.* EXCLUDE (filename) FROM {read}({_quoted(files)}, filename = true, {how}) t "
            f"JOIN (VALUES {pairs}) AS f(filename, run) USING (filename) JOIN runs USING (run)"
        )

    @property
    def parameters(self) -> list[str]:
        """Columns of `runs` that are parameters."""
        seed = ["seed"] if self.runs.get("seed", pd.Series()).nunique() > 1 else []
        return seed + [c for c in self.runs.columns if c not in RUN_COLUMNS]

    def __len__(self) -> int:
        return len(self.runs)

    def _repr_html_(self) -> str:
        head = self.runs.drop(columns="folder").head(10)
        rest = f"<p>and {len(self.runs) - 10} more</p>" if len(self.runs) > 10 else ""
        return f"<p><b>{len(self.runs)} runs</b> in {self.path}</p>{head.to_html(index=False)}{rest}"

    def __repr__(self) -> str:
        by = f", by {', '.join(self.parameters)}" if self.parameters else ""
        return f"{len(self.runs)} run{'s' if len(self.runs) != 1 else ''} in {self.path}{by}"


RUN_COLUMNS = ("run", "experiment", "folder", "patients", "seed", "seconds")


def load(path: str | Path = "outputs") -> Runs:
    """Finished runs: one, those of a sweep, or all below a folder such as outputs/.

    Raises:
        InputError: there is none.
    """
    path = Path(path)
    sweeps, singles = [], []
    for place in _walk(path):
        if (place / "jobs.csv").exists():
            sweeps.append(place)
        else:
            singles.append(place)
    tables = [_jobs(place) for place in sweeps]
    if singles:
        tables.append(pd.DataFrame([_line(place) for place in singles]))
    if not tables or not sum(map(len, tables)):
        raise InputError(f"{path}: holds no finished run (a folder with provenance.json) and no finished sweep")
    runs = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    runs.insert(0, "run", range(len(runs)) if len(tables) > 1 or singles else runs.pop("job"))
    joint = {}
    if len(sweeps) == 1 and not singles:
        names = ("patients.parquet", "summary.csv")
        joint = {name: str(sweeps[0] / name) for name in names if (sweeps[0] / name).exists()}
    else:
        runs = runs.drop(columns="job", errors="ignore")
    return Runs(path, runs, joint)


def _walk(path: Path) -> Iterator[Path]:
    """Finished sweeps, and finished runs outside of them."""
    if (path / "jobs.csv").exists() or (path / PROVENANCE).exists():
        yield path
        return
    if path.is_dir():
        for place in sorted(path.iterdir()):
            if place.is_dir() and not place.name.startswith("."):
                yield from _walk(place)


def _jobs(folder: Path) -> pd.DataFrame:
    """The runs of a finished sweep, from its own table."""
    jobs = pd.read_csv(folder / "jobs.csv")
    jobs = jobs[jobs["status"].isin(OVER)].drop(columns=["overrides", "status", "error"]).reset_index(drop=True)
    jobs.insert(1, "experiment", read_record(folder)["experiment"])
    base = os.path.abspath(folder)
    jobs["folder"] = [os.path.normpath(f"{base}/{place}") for place in jobs["folder"]]
    return jobs


def _line(folder: Path) -> dict[str, Any]:
    """A run, from its provenance."""
    about = read_provenance(folder)
    given = {}
    for word in about.get("overrides", []):
        key, _, value = word.lstrip("+").partition("=")
        if key.split(".")[0] not in ("hydra", "workers", "pictures", "sweep", "executor"):
            given[key] = yaml.safe_load(value) if value else None
    given = {k: json.dumps(v) if isinstance(v, (dict, list)) else v for k, v in given.items()}
    return {
        "experiment": about.get("experiment", ""),
        "folder": os.path.abspath(folder),
        "patients": about["settings"]["cohort"]["size"],
        "seed": about["seed"],
        "seconds": about["wall_seconds"],
        **{k: v for k, v in given.items() if k != "seed"},
    }


def _settings_of(folder: Path) -> Settings:
    """With what a run was made."""
    return Settings.model_validate(read_provenance(folder)["settings"])


def read_record(folder: Path) -> dict[str, Any]:
    """What `sweep.yaml` says."""
    with storage(folder):
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        out: dict[str, Any] = yaml.load((folder / "sweep.yaml").read_text(encoding="utf-8"), Loader=loader)
    return out


def _quoted(files: Mapping[str, Any] | Iterable[str]) -> str:
    return "[" + ", ".join(map(_text, files)) + "]"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
