"""Draws of a posterior in a run: intervals hold what is not known of the parameters."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

from escape_abm import run_trial
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.rows import replace
from escape_abm.inputs.settings import make_settings
from escape_abm.interface.composition import compose
from escape_abm.trials.estimates import among_draws, contrast, read
from escape_abm.trials.readings import Reading

# ------------------------------------------------------------------------------------------- draws of a posterior


def drawn(spread: float, size: int = 2000, draws: int = 20) -> pd.DataFrame:
    """Patients table of a hand-made share whose logit differs by this standard deviation between draws."""
    rng = np.random.default_rng(5)
    draw = np.arange(size) % draws
    p = expit(-1.0 + spread * stats.norm.ppf((np.arange(draws) + 0.5) / draws))
    return pd.DataFrame({"draw": draw, "had": rng.random(size) < p[draw]})


@pytest.mark.statistical
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_intervals_hold_what_is_not_known_of_the_parameters(spread: float) -> None:
    """The variance on the logit scale is that of sampling and that between draws; the second is found."""
    table = drawn(spread)
    reading = Reading(np.ones(len(table), dtype=bool), table["had"].to_numpy().astype(np.int64))
    found = among_draws(reading, table["draw"].to_numpy(), 0.0).estimate
    width = math.log(found.upper / (1 - found.upper)) - math.log(found.lower / (1 - found.lower))
    sampling = 1 / math.sqrt(len(table) * found.estimate * (1 - found.estimate))
    sd = width / 2 / 1.96
    assert sd >= 0.99 * sampling
    assert math.sqrt(max(0.0, sd**2 - sampling**2)) == pytest.approx(spread, abs=0.25)
    alone = read(reading, 0.0)
    if spread:  # none is found too, to within what 20 draws tell
        assert found.upper - found.lower > 2 * (alone.upper - alone.lower)


@pytest.mark.statistical
@pytest.mark.parametrize("spread", [0.0, 0.15])
def test_differences_between_products_hold_it_too(spread: float) -> None:
    """Remission is better by 0.2 under one arm, by a spread that differs between 40 draws of 100 patients."""
    rng, draw = np.random.default_rng(8), np.arange(4000) % 40
    better = (0.2 + spread * stats.norm.ppf((np.arange(40) + 0.5) / 40))[draw]
    frame = {"patient": np.arange(4000), "draw": draw, "relapse_kind": pd.NA, "mrd_negative": False}
    frame |= dict.fromkeys(("day_relapse", "day_death", "day_event"), math.nan)
    arms = {"a": 0.4 - better / 2, "b": 0.4 + better / 2}
    table = pd.concat(
        pd.DataFrame(frame | {"arm": a, "complete_remission": rng.random(4000) < p}) for a, p in arms.items()
    )
    one = contrast(table, ["a", "b"], 12).set_index("endpoint").loc["complete_remission"]
    alone = contrast(table.drop(columns="draw"), ["a", "b"], 12).set_index("endpoint").loc["complete_remission"]
    variance = ((one["upper"] - one["lower"]) ** 2 - (alone["upper"] - alone["lower"]) ** 2) / (2 * 1.96) ** 2
    assert math.sqrt(max(0.0, variance)) == pytest.approx(spread, abs=0.05)
    assert one["lower"] < 0.2 < one["upper"]


def test_patients_get_draws_in_turn() -> None:
    settings = compose(["trial=none", "comparators=none", "product=cd19_fmc63", "cohort.size=4", "workers=1"])
    path = "biology.leukaemia.net_growth_per_day"
    data = settings.model_dump() | {"draws": {path: (0.08, 0.15)}}
    both = make_settings(data)
    assert [both.drawn(i).biology.leukaemia.net_growth_per_day for i in range(4)] == [0.08, 0.15, 0.08, 0.15]
    result = run_trial(both)
    assert result.patients["draw"].tolist() == [0, 1, 0, 1]
    one = run_trial(replace(settings, {path: 0.15})).patients
    mine = result.patients.drop(columns="draw")
    pd.testing.assert_frame_equal(mine[mine["patient"] % 2 == 1], one[one["patient"] % 2 == 1])


@pytest.mark.parametrize(
    ("draws", "words"),
    [
        ({"biology.killing.kill": (1.0,)}, "is no parameter row. Did you mean"),
        ({"biology.killing.kill_per_day": (1.0, 200.0)}, "2 values from 1 to 200; give 2 between 0 and 100"),
        ({"biology.killing.kill_per_day": (1.0,), "biology.killing.hill": (1.0, 2.0)}, "give 1 between"),
    ],
)
def test_bad_draws_are_refused(draws: dict[str, tuple[float, ...]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_settings(compose(["trial=none"]).model_dump() | {"draws": draws})


def test_draws_are_not_overridden_in_silence(tmp_path: Path) -> None:
    (tmp_path / "biology").mkdir()
    text = (
        "# @package _global_\ndefaults: [cd19_kinetics@biology, _self_]\ndraws:\n  biology.killing.hill: [1.2, 1.6]\n"
    )
    (tmp_path / "biology" / "two.yaml").write_text(text)
    here = f"hydra.searchpath=[file://{tmp_path}]"
    assert compose(["biology=two", here]).draw_count == 2
    with pytest.raises(InputError, match="hill: this parameter is drawn from a posterior; choose another biology"):
        compose(["biology=two", "biology.killing.hill=2", here])
