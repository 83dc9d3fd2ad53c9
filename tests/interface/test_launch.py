"""From a command line to a run: what Hydra is told, and what is left when it is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from escape_abm.inputs.settings import Settings
from escape_abm.interface.launch import launch
from escape_abm.runs import terminal
from escape_abm.runs.run_folder import Run
from tests.interface import fuzz

Door = Callable[..., list[Settings] | str]


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    """Takes a command line; gives the settings of what would be run, or what is said if it is refused."""
    monkeypatch.chdir(tmp_path)

    def take(*words: str) -> list[Settings] | str:
        ran: list[Settings] = []

        def task(settings: Settings, _run: Run) -> None:
            ran.append(settings)

        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["compare_products.py", *words])
        try:
            launch(task)
        except SystemExit as stopped:
            return str(stopped.code)
        finally:
            terminal.hush(False)
        return ran

    return take


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A folder with a biology of one's own."""
    (tmp_path / "own" / "biology").mkdir(parents=True)
    (tmp_path / "own" / "biology" / "my.yaml").write_text("defaults: [fitted, _self_]\nkilling: {kill_per_day: 3}\n")
    return str(tmp_path / "own")


@pytest.mark.parametrize(
    "line",
    [
        "trial=none --config-dir {} biology=my",
        "trial=none -q biology=my -cd {} comparators=none",
        "trial=none --config-dir={} -q biology=my --quiet",
    ],
)
def test_flags_may_stand_between_overrides(line: str, door: Door, mine: str) -> None:
    (settings,) = door(*line.format(mine).split())
    assert isinstance(settings, Settings)
    assert settings.biology.killing.kill_per_day == 3
    assert not settings.trial.published


def test_what_is_shown_takes_flags_between_overrides_too(
    door: Door, mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    door("trial=none", "--cfg", "job", "--config-dir", mine, "biology=my", "-p", "biology.killing.kill_per_day")
    assert capsys.readouterr().out == "3\n"


def test_no_line_ends_in_a_traceback() -> None:
    """A few of the lines that `python -m tests.interface.fuzz` tries; it says how each that went wrong ended."""
    with fuzz.door_only():
        for number in range(30):
            line = fuzz.Lines(2, number)
            end, said = fuzz.end_of(line.script, words := line.words())
            assert end in ("ran", "refused"), f"{line.script}.py {words}\n{said}"


def test_the_fuzz_sees_tracebacks_and_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for body, told in (
        ("raise OSError('raw')", "OSError: raw"),
        ("import pathlib; pathlib.Path('left').touch()\nraise SystemExit('no. Nothing was run')", "left ['left']"),
        ("raise SystemExit('full_key: seed')", "not our words"),
    ):
        (tmp_path / "script.py").write_text(body)
        monkeypatch.setattr(fuzz, "FOLDER", tmp_path)
        end, said = fuzz.end_of("script", [])
        assert end == "wrong"
        assert told in said
