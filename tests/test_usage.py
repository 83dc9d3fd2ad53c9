"""The command line as a user meets it: help that names everything, mistakes with a way out, colour on terminals."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from escape_abm import __version__, report, usage
from escape_abm.config import compose
from escape_abm.parameters import InputError

CONF = usage.conf_dir()
MISTAKES = {
    "--foo=3": "--foo: no such flag.",
    "--quite": "Did you mean '--quiet'?",
    "-x seed=3": "-x: no such flag. Flags: --multirun",
    "--run": "no such flag",  # Hydra's, but round the checks
    "--config-dir": "which folder? Write --config-dir FOLDER",
    "--config-dir trial=mine": "which folder?",
    "--config-dir=nowhere": "no such folder",
    "seed = 5": "no spaces around the = sign. Write seed=5",
    "product=tandem seed =5": "Write seed=5",
    "seed= 5 product=tandem": "Write seed=5",
    "seed x=3": "seed: a word is KEY=VALUE",
    "cohort": "which one? Write cohort=CHOICE. Choices of cohort: b019",
    "tandem": "Did you mean product=tandem?",
    "coadministered": "product=coadministered",
    "cohort.size": "Write cohort.size=VALUE",
    "cohort.size:5": "Write cohort.size=5",
    "help": "write --help",
    "x={a: 1}": "part of a value with spaces",
    "seed=1 product=tandem seed=2": "seed=1 and seed=2: seed is set twice. Keep one, or for a run of each: -m seed=1,2",
    "--cfg job -m seed=1,2": "--cfg shows one run",
}


@pytest.mark.parametrize(("line", "told"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_told_with_the_way_out(line: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        usage.read(line.split())
    assert told in str(caught.value)


def test_a_line_is_taken_apart(tmp_path: Path) -> None:
    (tmp_path / "trial").mkdir()
    words = ["-m", "seed=1,2", "-q", "+x=", "~product@comparators.tandem", 'product.note="a = b"']
    line = usage.read([*words, "--config-dir", str(tmp_path)])
    assert line == usage.Line([words[1], *words[3:]], tmp_path, "", multirun=True, quiet=True)
    assert usage.read(["--cfg", "job", "seed=2"]) == usage.Line(["seed=2"], None, "cfg")
    assert usage.read(["-sc", "install=bash"]).asked == "hydra"
    assert usage.read(["seed=1", "-h", "help"]).asked == "help"


@pytest.mark.parametrize("width", [60, 120])
def test_help_names_every_group_and_choice(width: int) -> None:
    text = usage.help_text("What?", "config", width=width)
    there = {p.relative_to(CONF).with_suffix("") for p in CONF.glob("*/*.yaml")}
    there = {p for p in there if p.parent.name not in usage.HIDDEN}
    assert {p.parent.name for p in there} == set(usage.GROUPS)
    lines = text.splitlines()
    for place in there:
        assert any(line.split()[:1] == [place.name] for line in lines), place
    assert all(len(line) <= width or " " not in line.strip() for line in lines if "eval" not in line)
    assert "\n  auto1_22 * " in text


def test_every_choice_says_what_it_is() -> None:
    for group, found in usage.choices().items():
        for choice, what in found.items():
            assert 3 < len(what) < 300, f"{group}={choice}"
            assert what.count("(") == what.count(")"), what


def test_what_is_taken_by_default_is_that_of_the_experiment(tmp_path: Path) -> None:
    assert usage.defaults("config")["comparators"] == "all"
    assert usage.defaults("sensitivity")["comparators"] == "dual"
    run, taken = compose(), usage.taken("config")  # the trial brings its own cohort and dose
    assert compose([f"{group}={taken[group]}" for group in ("cohort", "dose", "product", "regimen", "biology")]) == run
    assert taken["dose"] != usage.defaults("config")["dose"]
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "mine.yaml").write_text("# @package _global_\n# My own trial. With more to say.\n")
    assert usage.choices(tmp_path)["trial"]["mine"] == "My own trial"


def test_help_and_version_of_a_script(command: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command("sensitivity", "--help") == ""
    assert capsys.readouterr().out.startswith("Which parameter decides which relapse")
    assert command("sensitivity", "--version") == ""
    assert capsys.readouterr().out == f"{__version__}\n"
    assert list(Path().iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
@pytest.mark.parametrize("plain", [False, True])
def test_colour_on_a_terminal_unless_refused(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with report.progress("patients", 2) as advance:
            advance(2)
    said = ""
    with suppress(OSError):  # a terminal that is closed says so once all is read
        while part := os.read(ours, 4096):
            said += part.decode()
    os.close(ours)
    assert "patients" in said
    assert ("\x1b[38;5;" in said or "\x1b[32m" in said) != plain


def test_only_what_is_there_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "summary.csv").touch()
    report.where(tmp_path, ("figures/a.png", "first"), ("summary.csv", "every endpoint"))
    assert capsys.readouterr().out == f"\nResults: {tmp_path}\n  summary.csv  every endpoint\n"
    report.hush()
    try:
        report.say("nothing")
        report.where(tmp_path, ("summary.csv", "every endpoint"))
        report.warn("wrong")
    finally:
        report.hush(False)
    assert capsys.readouterr() == (f"{tmp_path}\n", "wrong\n")
