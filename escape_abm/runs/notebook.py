"""Results at a prompt: a trial, one patient under every product, and their figures.

Nothing here changes a table. Matplotlib is imported only when a figure is asked for.
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from escape_abm.inputs.checks import InputError, suggest
from escape_abm.inputs.cohort import Patient
from escape_abm.inputs.settings import Settings
from escape_abm.law.states import MYELOID, State, phenotype
from escape_abm.patient.course import Trajectory
from escape_abm.runs.terminal import about, footnote, overview
from escape_abm.trials import virtual_trial
from escape_abm.trials.comparison import compare
from escape_abm.trials.virtual_trial import TrialResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS_PER_INCH = 100  # as shown; drawn with twice as many, for sharp screens


class Picture(NamedTuple):
    """A figure, and the table that it drew. A notebook shows the figure.

    Attributes:
        figure: Of matplotlib, with all its methods.
        table: What is drawn, in long form; docs/outputs.md tells the columns of each picture.
    """

    figure: Figure
    table: pd.DataFrame

    def save(self, stem: str | Path) -> None:
        """Write it as PNG and SVG, for example `picture.save("relapse")`."""
        from escape_abm.figures.style import save

        save(self.figure, Path(stem))

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Write the figure as Matplotlib does, for example `picture.savefig("relapse.pdf")`."""
        self.figure.savefig(*args, **kwargs)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        import matplotlib as mpl

        from escape_abm.figures.style import STYLE

        place = io.BytesIO()
        with mpl.rc_context(STYLE):
            self.figure.savefig(place, dpi=2 * PIXELS_PER_INCH)
        return place.getvalue(), {"width": round(self.figure.get_figwidth() * PIXELS_PER_INCH)}

    def __repr__(self) -> str:
        return f"a picture of {len(self.table)} lines: .figure, .table, .save(name)"


class Plots:
    """The pictures of a trial, for example `result.plot.incidence()`; each has the table that it drew.

    Shares and bounds in the tables are fractions from 0 to 1, bounds are 95 %; `arm` is the name of the product.
    """

    def __init__(self, settings: Settings, tables: TrialResult) -> None:
        """Of these tables, that came of these settings."""
        self._settings, self._tables = settings, tables
        self._labels = {arm.name: arm.label for arm in settings.arms}

    def relapse(self) -> Picture:
        """The answer in one picture: relapse of all patients under each product, by what they entered with.

        Table: `arm, entry, kind, estimate, lower, upper, n`.
        """
        from escape_abm.figures import products

        return self._stamped(
            products.relapse_by_product(self._tables.patients, self._labels, self._settings.follow_up_months)
        )

    def outcomes(self) -> Picture:
        """What became of all patients by the end of follow-up. Table: `arm, outcome, fraction`."""
        from escape_abm.figures import products

        return self._stamped(
            products.outcomes_by_product(self._tables.patients, self._labels, self._settings.follow_up_months)
        )

    def mechanisms(self) -> Picture:
        """What let the relapses happen, in shares of all patients. Table: `arm, mechanism, fraction`."""
        from escape_abm.figures import products

        return self._stamped(products.mechanisms_by_product(self._tables.patients, self._labels))

    def incidence(self) -> Picture:
        """Cumulative incidence of each kind of relapse in patients in CR, with what the trial published.

        Table: `arm, kind, day, estimate, lower, upper`, a row for each step of a curve; the published points are not
        in it.
        """
        from escape_abm.figures import products

        s = self._settings
        return self._stamped(
            products.incidence_by_product(self._tables.patients, self._labels, s.follow_up_months, s.trial.published)
        )

    def courses(self, arms: Sequence[str] = ()) -> Picture:
        """Day by day, the patients and products whose fates differ most among those whose courses were kept.

        Table: `patient, arm, line, day, cells`; `line` is what the legend says, `cells` those of the whole body.

        Args:
            arms: Names of products to show; if none is given, the four whose fates differ most.

        Raises:
            InputError: a product is not one of this trial, or no course was kept.
        """
        from escape_abm.figures import courses

        if not len(self._tables.trajectories):
            raise InputError("trajectories.patients=0: no course was kept; keep some with trajectories.patients=12")
        arms = [arms] if isinstance(arms, str) else list(arms)
        for arm in arms:
            if arm not in self._labels:
                raise InputError(f"{arm!r} is no product of this trial. {suggest(arm, list(self._labels))}")
        chosen, most = {arm: self._labels[arm] for arm in arms or self._labels}, len(arms) or 4
        clinic = self._settings.sampled().clinic
        lines = {"5 % blasts": clinic.marrow_cells(0.05), "MRD 1e-4": clinic.marrow_cells(1e-4)}
        return self._stamped(courses.courses(self._tables.trajectories, self._tables.patients, chosen, lines, 3, most))

    def published(self) -> Picture:
        """What the trial published beside simulated trials of its size: of the first product.

        Table: the rows of `Result.published()` that are drawn.

        Raises:
            InputError: the settings have no trial with published figures.
        """
        from escape_abm.figures import trials

        name, label = self._settings.trial.name, self._settings.trial.label
        return self._stamped(trials.forest(beside_published(self._settings, self._tables), {name: label}))

    def by_file(self) -> dict[str, Picture]:
        """Every picture of a comparison, by the name of its file."""
        pictures: dict[str, Callable[[], Picture]] = {
            "relapse_by_product": self.relapse,
            "outcomes_by_product": self.outcomes,
            "mechanisms_by_product": self.mechanisms,
            "cumulative_incidence": self.incidence,
        }
        if len(self._tables.trajectories):
            pictures["courses"] = self.courses
        return {name: draw() for name, draw in pictures.items()}

    def _stamped(self, picture: tuple[Figure, pd.DataFrame]) -> Picture:
        from escape_abm.figures.style import stamp

        who = "" if self._tables.patients["patient"].nunique() > 1 else "one virtual patient"
        stamp(picture[0], about(self._settings, who))
        return Picture(*picture)


def beside_published(settings: Settings, tables: TrialResult) -> pd.DataFrame:
    """Every published figure beside the predictive interval of trials of that size (`comparison.compare`).

    Raises:
        InputError: the settings have no trial with published figures.
    """
    if not settings.trial.published:
        raise InputError(f"trial.name={settings.trial.name!r}: nothing published lies beside it; choose a trial=NAME")
    first = tables.patients[tables.patients["arm"] == settings.product.name]
    return compare(first, settings.trial, np.random.default_rng([settings.seed, 1]))


@dataclass(frozen=True, repr=False, eq=False)
class Result(TrialResult):
    """The tables of a virtual trial, the settings that they came of, and their pictures.

    `run_trial` gives one, and so does `load(FOLDER).result()` of a stored run. With P patients under A products:

    Attributes:
        patients: P x A rows, one for each patient and product: covariates and every endpoint, days from the first
            infusion (docs/outputs.md tells every column).
        trajectories: Long table `patient, arm, day, group, cells` of the patients whose courses were kept
            (`trajectories.patients`); without rows if none was.
        summary: `arm, endpoint, month, estimate, lower, upper, n, standard_error`: every endpoint, bounds of 95 %.
        contrasts: `arm, reference, endpoint, month, difference, lower, upper, n, unpaired_n, standard_error,
            within_error`: each other product minus the first, over the same patients.
        settings: What was run.
    """

    settings: Settings

    @property
    def plot(self) -> Plots:
        """Pictures: `.relapse()`, `.outcomes()`, `.mechanisms()`, `.incidence()`, `.courses()`, `.published()`."""
        return Plots(self.settings, self)

    def published(self) -> pd.DataFrame:
        """A row for each figure that the trial published, beside what trials of its size would have.

        Columns are those of `comparison.csv` (docs/outputs.md).

        Raises:
            InputError: the settings have no trial with published figures.
        """
        return beside_published(self.settings, self)

    def patient(self, index: int) -> VirtualPatient:
        """One of the patients, treated once more: chance is the patient's own, so that the course is the same.

        Raises:
            InputError: there was no such patient in the run.
        """
        size = self.settings.cohort.size
        if not isinstance(index, int | np.integer) or not 0 <= index < size:
            raise InputError(
                f"patient({index!r}): a whole number from 0 to {size - 1} is wanted, as in the column `patient`. "
                "VirtualPatient(settings, number) shows others of the same seed"
            )
        return VirtualPatient(self.settings, int(index))

    def __repr__(self) -> str:
        arms = ", ".join(arm.name for arm in self.settings.arms)
        who = "" if self.settings.trial.name == "none" else f" of {self.settings.trial.label}"
        return f"{self.settings.cohort.size} virtual patients{who} under {arms}"

    def _repr_html_(self) -> str:
        title = f"{self.settings.trial.label}: {self.settings.cohort.size} virtual patients under each product"
        cells = overview(self, self.settings).rename(columns=lambda name: name.replace("-\n", "-").replace("\n", " "))
        return _shown(title, cells, footnote(self.settings))


def run_trial(settings: Settings, on_progress: Callable[[int], None] | None = None) -> Result:
    """Run every patient under every product on `settings.workers` processes.

    Args:
        settings: What to run, for example from `compose`.
        on_progress: Called with the number of patients done since the last call.
    """
    return Result(**vars(virtual_trial.run_trial(settings, on_progress)), settings=settings)


class VirtualPatient:
    """One patient under every product: virtual twins, who share everything up to the first infusion.

    `result.patient(8)` is patient 8 of a trial; `VirtualPatient(settings, 8)` treats the patient without the trial.
    Numbers of cells are those of the whole body (of a sample with `engine.sample_cells`), days are from the first
    infusion.

    Attributes:
        settings: With what and how the patient is treated.
        trajectories: The whole course under each product, by its name: cells by day and state, until the patient's
            death (`Trajectory`).
        fates: A row for each product, with the columns of `patients.parquet` (docs/outputs.md).
        traits: Who the patient is, printed with one trait a line; `.biology` holds the patient's own parameters.
    """

    def __init__(self, settings: Settings, index: int | None = None) -> None:
        """Treat patient number `index` of the seed (default: `settings.patient`) with every product.

        Raises:
            InputError: there is no such number.
        """
        index = settings.patient if index is None else index
        if not isinstance(index, int | np.integer) or index < 0:
            raise InputError(f"patient={index!r}: a whole number is wanted; patients are numbered from 0")
        self.settings = settings
        rows = [(path, virtual_trial.row_of(path, settings)) for path in virtual_trial.treat(index, settings)]
        self.fates = virtual_trial.as_table([row for _, row in rows])
        self.trajectories: dict[str, Trajectory] = {p.product.name: p.until(row["day_death"]) for p, row in rows}
        self.traits: Patient = _Traits(**vars(next(iter(self.trajectories.values())).patient))

    @cached_property
    def courses(self) -> pd.DataFrame:
        """Long table `patient, arm, day, group, cells`, every day, with the groups of `trajectories.parquet`.

        Day 0 is just after the first infusion: bridging and lymphodepletion have thinned the leukaemia by then. A
        course ends at relapse or without remission, unless `engine.stop_at_failure=false`, and always with death.
        """
        return pd.concat([virtual_trial.course(path) for path in self.trajectories.values()], ignore_index=True)

    @cached_property
    def clones(self) -> pd.DataFrame:
        """The leukaemia at entry, the largest clone first: `phenotype, <each antigen>, maturity, cells, share`.

        Cells are counted at entry, before bridging and lymphodepletion, so that `courses` begin with fewer on day 0.
        Marrow and sanctuaries are counted together. The table is the same under every product. Columns:

        - `phenotype`: what flow cytometry would call the cell, as in `courses`;
        - one for each antigen, such as `cd19`: high, dim, silenced or lost, and whether one allele of two is lost;
        - `maturity`: committed, progenitor-like (with less of every antigen, so called dim even where the antigen's own
          column says high) or myeloid (lineage switch);
        - `cells`: how many, `share`: of all leukaemic cells.
        """
        path = next(iter(self.trajectories.values()))
        letters, cells = path.alphabet, path.entry
        by = ["phenotype", *letters.antigens, "maturity"]
        of = [[phenotype(s, letters.antigens), *_antigens(s, self.traits), _maturity(s)] for s in letters.states]
        table = pd.DataFrame(of, columns=by).assign(cells=cells).groupby(by)["cells"].sum().reset_index()
        table = table[table["cells"] > 0].sort_values("cells", ascending=False, ignore_index=True)
        return table.assign(share=table["cells"] / cells.sum())

    def plot(self, arms: Sequence[str] = ()) -> Picture:
        """Leukaemic cells by phenotype, CAR T cells and normal B cells, day by day.

        Table: `patient, arm, line, day, cells`, as `Plots.courses`.

        Args:
            arms: Names of products to show; all if none is given.

        Raises:
            InputError: a product is not one of these settings.
        """
        none = pd.DataFrame()
        return Plots(self.settings, TrialResult(self.fates, self.courses, none, none)).courses(
            arms or [arm.name for arm in self.settings.arms]
        )

    def __repr__(self) -> str:
        return f"virtual patient {self.traits.index} of seed {self.traits.seed} under {', '.join(self.trajectories)}"

    def _repr_html_(self) -> str:
        from escape_abm.figures.products import outcome_of

        who, f = self.traits, self.fates
        history = [
            f"{who.burden_cells:.2g} leukaemic cells at entry",
            f"{who.weight_kg:.0f} kg",
            "KMT2A rearranged" if who.kmt2a else "KMT2A wild type",
            *(f"{name.upper()}-negative in part at entry" for name in sorted(who.lacking_at_entry)),
            *(["relapsed after an earlier CAR"] if who.prior_car_antigen else []),
            *(["extramedullary disease at entry"] if who.extramedullary_fraction else []),
        ]
        shown = {
            "": outcome_of(f),
            "day of failure": f["day_event"],
            "relapsed as": f["relapse_phenotype"].str.replace("-", "−"),
            "mechanism": f["relapse_mechanism"],
            "CAR T cells at the peak": f["car_t_peak_cells"].map("{:.1e}".format),
            "CAR T cells lost, day": f["day_car_t_lost"],
            "B cells back, day": f["day_b_cell_recovery"],
        }
        cells = pd.DataFrame(shown).set_axis([arm.label for arm in self.settings.arms])
        title = f"Virtual patient {who.index} of seed {who.seed}: {', '.join(history)}"
        return _shown(title, cells.map(lambda v: "" if pd.isna(v) else f"{v:g}" if isinstance(v, float) else str(v)))


class _Traits(Patient):
    """A patient who is printed with one trait a line, by the columns of `patients.parquet`."""

    def __repr__(self) -> str:
        own = self.covariates() | {"rejection_day": self.rejection_day, "biology": "all parameters: .biology"}
        width = max(map(len, own))
        lines = [f"{name:{width}}  {f'{v:.4g}' if isinstance(v, float) else v}" for name, v in own.items()]
        return "\n".join([f"virtual patient {self.index} of seed {self.seed}", *lines])


def _antigens(state: State, patient: Patient) -> list[str]:
    """What a cell shows of each antigen, and whether it has lost an allele of it."""
    names: dict[str, Any] = dict(patient.biology.antigens)
    hit = [0 < a.alleles < antigen.hits_to_loss for a, antigen in zip(state.antigens, names.values(), strict=True)]
    return [a.shown + (", one allele lost" if h else "") for a, h in zip(state.antigens, hit, strict=True)]


def _maturity(state: State) -> str:
    return MYELOID if state.lineage == MYELOID else "progenitor-like" if state.progenitor else "committed"


def _shown(title: str, cells: pd.DataFrame, foot: str = "") -> str:
    """A table of text under a title; lines break where the text does."""
    table = cells.to_html(border=0).replace("\\n", "<br>")
    return f"<p><b>{html.escape(title)}</b></p>{table}<p><small>{html.escape(foot)}</small></p>"
