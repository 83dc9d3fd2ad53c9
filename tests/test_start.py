"""The script that installs and starts everything, without installing anything."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "start.py"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """start.py as a module, set in an empty project; a command it runs is written to `start.calls` instead."""
    spec = importlib.util.spec_from_file_location("start", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "constraints.txt").write_text("numpy==2.4.6\n")
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "calls", calls, raising=False)

    def pretend(*command: str, quiet: bool = False) -> bool:
        calls.append(command)
        if "venv" in command:
            python = Path(module.tool("python"))
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        return True

    def run(command: list[str]) -> int:
        calls.append(tuple(command))
        return 7

    monkeypatch.setattr(module, "works", pretend)
    monkeypatch.setattr(module, "run", run)
    return module


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml"])
def test_stamp_changes_with_the_requirements(start: ModuleType, name: str) -> None:
    before = start.stamp()
    assert start.stamp() == before
    with (start.ROOT / name).open("a") as file:
        file.write("# more\n")
    assert start.stamp() != before


def test_stamp_changes_with_the_folder(start: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = start.stamp()
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("constraints.txt", "pyproject.toml"):
        (moved / name).write_bytes((tmp_path / name).read_bytes())
    monkeypatch.setattr(start, "ROOT", moved)
    assert start.stamp() != before


def test_installs_once(start: ModuleType) -> None:
    assert start.main(["setup"]) == 0
    assert len(start.calls) == 3  # venv, uv, packages
    start.calls.clear()
    assert start.main(["setup"]) == 0
    assert start.calls == []


def test_starts_over_when_killed_midway(start: ModuleType) -> None:
    start.main(["setup"])
    (start.ROOT / ".venv" / "stamp").unlink()
    start.calls.clear()
    start.main(["setup"])
    assert "--clear" in start.calls[0]


def test_falls_back_to_pip(start: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    works = start.works
    monkeypatch.setattr(start, "works", lambda *command, quiet=False: works(*command) and "uv" not in command)
    assert start.main(["setup"]) == 0
    assert start.calls[-1][1:3] == ("-m", "pip")
    assert ".[dev]" in start.calls[-1]


def test_failed_installation_leaves_no_stamp(start: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    works = start.works
    monkeypatch.setattr(start, "works", lambda *command, quiet=False: works(*command) and "pip" not in command)
    with pytest.raises(SystemExit, match="network"):
        start.main(["setup"])
    assert not start.is_ready()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("experiments/compare_products.py",)),
        (["run", "product=tandem"], ("experiments/compare_products.py", "product=tandem")),
        (
            ["test"],
            ("-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--durations", "12"),
        ),
        (["test", "-k", "survival"], ("-m", "pytest", "-k", "survival")),
    ],
)
def test_passes_arguments_and_exit_code(start: ModuleType, arguments: list[str], expected: tuple[str, ...]) -> None:
    assert start.main(arguments) == 7
    assert start.calls[-1] == (start.tool("python"), *expected)


def test_unknown_verb(start: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert start.main(["product=tandem"]) == 2
    assert "did you mean: python3 start.py run product=tandem\n" in capsys.readouterr().err.lower()
    assert start.main(["tests"]) == 2
    assert "did you mean" not in capsys.readouterr().err.lower()
    assert start.calls == []


def test_the_tab_key_completes_what_run_takes(start: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "python start.py run product=")
    assert start.main(["-sc", "query=bash"]) == 0  # which installs nothing
    assert start.calls == []
    start.main(["setup"])
    assert start.main(["-sc", "query=bash"]) == 7
    assert start.calls.pop() == (start.tool("python"), "experiments/compare_products.py", "-sc", "query=bash")
    monkeypatch.setenv("COMP_LINE", "python start.py te")
    assert start.main(["-sc", "query=bash"]) == 0


def test_setup_tells_how_to_enter(start: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    start.main(["setup"])
    assert capsys.readouterr().out.endswith("activate\n")


def test_old_python(start: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13, "final", 0))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer, but this is Python 3\.10"):
        start.main(["test"])
    assert start.calls == []


def test_missing_venv(start: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="python3-venv"):
        start.main(["test"])
