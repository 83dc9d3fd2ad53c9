"""The command line as a user meets it: help that names everything, mistakes with a way out, colour on terminals."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from escape_abm import __version__
from escape_abm.inputs.checks import InputError
from escape_abm.interface import command_line, groups, help
from escape_abm.interface.composition import compose
from escape_abm.runs import terminal

CONF = groups.conf_dir()
MISTAKES = {
    "--foo=3": "--foo: no such flag.",
    "--quite": "Did you mean '--quiet'?",
    "-q --verbose": "leave one of them out",
    "-x seed=3": "-x: no such flag. Flags: --multirun",
    "--run": "no such flag",  # Hydra's, but round the checks
    "--config-dir": "which folder? Write --config-dir FOLDER",
    "--config-dir trial=mine": "which folder?",
    "--config-dir=nowhere": "no such folder",
    "seed = 5": "no spaces around the = sign. Write seed=5",
    "product=tandem seed =5": "Write seed=5",
    "seed= 5 product=tandem": "Write seed=5",
    "seed x=3": "seed: a word is KEY=VALUE",
    "cohort": "which one? Write cohort=CHOICE. Choices of cohort: ",
    "tandem": "Did you mean product=tandem?",
    "coadministered": "product=coadministered",
    "cohort.size": "Write cohort.size=VALUE",
    "cohort.size:5": "Write cohort.size=5",
    "help": "write --help",
    "x={a: 1}": "part of a value with spaces",
    "seed=1 product=tandem seed=2": "seed=1 and seed=2: seed is set twice. Keep one, or for a run of each: -m seed=1,2",
    "seed=1 seed=1": "seed is set twice. Keep one",
    "--cfg job -m seed=1,2": "--cfg shows one run",
    f"--config-dir {'a' * 300}": "File name too long. Write --config-dir FOLDER",
    f"-cd {'a/' * 2500}": "File name too long",
    "--cfg": "which part? Write --cfg job",
    "-c jobs": "-c jobs: which part?",
    "--info nothing": "--info nothing: which part?",
    "--cfg job tandem": "Did you mean product=tandem?",
    "--package biology": "--package: only --cfg takes it. Write --cfg job --package",  # it ran, unchecked
    "--resolve seed=1": "--resolve: only --cfg takes it",
    "--resolve --hydra-help": "--resolve: only --cfg takes it",
    "-sc install=tcsh": "write --shell-completion install=bash",
    "-sc": "write --shell-completion",
    "--quiet=false": "--quiet takes no value",
    "-m=1 seed=1,2": "-m takes no value",
}


@pytest.mark.parametrize(("line", "told"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_told_with_the_way_out(line: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        command_line.read(line.split())
    assert told in str(caught.value)


def test_a_line_is_taken_apart(tmp_path: Path) -> None:
    (tmp_path / "trial").mkdir()
    words = ["-m", "seed=1,2", "-q", "+x=", "~product@comparators.tandem", 'product.note="a = b"']
    line = command_line.read([*words, "--config-dir", str(tmp_path)])
    assert line == command_line.Line([words[1], *words[3:]], tmp_path, "", multirun=True, quiet=True)
    assert command_line.read(["seed=2", "-v"]).verbose
    assert command_line.read(["--cfg", "job", "seed=2"]) == command_line.Line(
        ["seed=2"], None, "cfg", hydras=("--cfg", "job")
    )
    assert command_line.read(["-sc", "install=bash"]).asked == "hydra"
    assert command_line.read(["seed=1", "-h", "help"]).asked == "help"


@pytest.mark.parametrize(
    ("line", "read", "flags"),
    [
        ("python x.py product=ta", "product=ta", []),
        ("python3 x.py -q --config-dir mine -m seed=1,2 ", "-m seed=1,2 ", []),
        ("python start.py run ~draws  cohort.", "~draws cohort.", []),
        ("python x.py --qu", "--qu", ["--quiet"]),
        ("python x.py ", "", []),
    ],
)
def test_completion_passes_over_what_hydra_cannot_read(line: str, read: str, flags: list[str]) -> None:
    assert help.completed(line) == (f"python script {read}", flags)


@pytest.mark.skipif(not shutil.which("bash"), reason="bash")
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("python3 x.py -q engine=c", ["engine=cells", "engine=counts"]),
        ("python x.py --qu", ["--quiet"]),
        ("python x.py -q --nothing=", []),
        ("python x.py ((=( engine=c", []),
        ("python another.py engine=c", []),
    ],
)
def test_the_tab_key_in_bash(line: str, told: list[str], tmp_path: Path) -> None:
    """Completions and nothing else, whichever Python is called."""
    script = Path(__file__).parents[2] / "experiments" / "compare_products.py"
    (tmp_path / "x.py").write_text(script.read_text())
    (tmp_path / "another.py").write_text("import escape_abm\nprint('engine=called')\n")
    (tmp_path / "bin").mkdir()
    for name in ("python", "python3"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    asked = (
        f'eval "$(python x.py -sc install=bash)"; COMP_LINE="{line}"; COMP_WORDS=($COMP_LINE); '
        'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); complete -p python3; hydra_bash_completion; echo "${COMPREPLY[@]}"'
    )
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", asked], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True
    )
    registered, *given = done.stdout.splitlines()
    assert "hydra_bash_completion python3" in registered
    assert " ".join(given).split() == told
    assert done.stderr == ""


@pytest.mark.parametrize("width", [60, 120])
def test_help_names_every_group_and_choice(width: int) -> None:
    text = help.help_text("What?", "config", width=width)
    there = {p.relative_to(CONF).with_suffix("") for p in CONF.glob("*/*.yaml")}
    there = {p for p in there if p.parent.name not in groups.HIDDEN}
    assert {p.parent.name for p in there} == set(groups.GROUPS)
    lines = text.splitlines()
    for place in there:
        assert any(line.split()[:1] == [place.name] for line in lines), place
    assert all(len(line) <= width or " " not in line.strip() for line in lines if "eval" not in line)
    assert "\n  auto1_22 * " in text


def test_every_choice_says_what_it_is() -> None:
    for group, found in groups.choices().items():
        for choice, what in found.items():
            assert 3 < len(what) < 300, f"{group}={choice}"
            assert what.count("(") == what.count(")"), what


def test_what_is_taken_by_default_is_that_of_the_experiment(tmp_path: Path) -> None:
    assert groups.defaults("config")["comparators"] == "all"
    assert groups.defaults("sensitivity")["comparators"] == "dual"
    run, taken = compose(), groups.taken("config")  # the trial brings its own cohort and dose
    assert compose([f"{group}={taken[group]}" for group in ("cohort", "dose", "product", "regimen", "biology")]) == run
    assert taken["dose"] != groups.defaults("config")["dose"]
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "mine.yaml").write_text("# @package _global_\n# My own trial. With more to say.\n")
    assert groups.choices(tmp_path)["trial"]["mine"] == "My own trial"


def test_help_and_version_of_a_script(command: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command("sensitivity", "--help") == ""
    assert capsys.readouterr().out.startswith("Which parameter drives which relapse")
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
    with os.fdopen(theirs, "w") as screen:
        monkeypatch.setattr(sys, "stderr", screen)
        with terminal.progress("patients", 2) as advance:
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
    terminal.where(tmp_path, ("figures/a.png", "first"), ("summary.csv", "every endpoint"))
    assert capsys.readouterr().out == f"\nResults: {tmp_path}\n  summary.csv  every endpoint\n"
    terminal.hush()
    try:
        terminal.say("nothing")
        terminal.where(tmp_path, ("summary.csv", "every endpoint"))
        terminal.warn("wrong")
    finally:
        terminal.hush(False)
    assert capsys.readouterr() == (f"{tmp_path}\n", "wrong\n")


def test_shells_know_our_scripts(command: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    command("compare_products", "-sc", "install=fish")
    said = capsys.readouterr().out
    assert "-sc query=fish 2> /dev/null" in said
    found = re.search(r'grep -q "(.*)" \$parts', said)
    assert found
    root, ours = CONF.parent, found[1].replace(r"\|", "|")
    scripts = [p for p in (root / "experiments").glob("*.py") if p.stem != "figures"]  # which draws and asks no Hydra
    for file in (root / "start.py", *scripts):
        assert re.search(ours, file.read_text(), re.MULTILINE), file
    assert not re.search(ours, (root / "docs" / "make_tables.py").read_text(), re.MULTILINE)
