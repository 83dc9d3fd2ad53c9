"""Where the package finds itself: read-only installations, and Pythons without what it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import escape_abm

ROOT = Path(__file__).parents[1]


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither the package nor the home can be written; the temporary folder can."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(os, "access", lambda place, mode: str(place).startswith(str(tmp_path)))
    monkeypatch.setattr(escape_abm.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_compiled_code_finds_a_place_where_nothing_can_be_written(
    read_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    escape_abm.place_for_compiled()
    place = Path(os.environ["NUMBA_CACHE_DIR"])
    assert place.parent == read_only
    assert place.is_dir()
    assert "NUMBA_CACHE_DIR=FOLDER chooses another" in capsys.readouterr().err
    del os.environ["NUMBA_CACHE_DIR"]
    escape_abm.place_for_compiled()
    assert os.environ["NUMBA_CACHE_DIR"] == str(place)  # the same: what was compiled is found


@pytest.mark.skipif(os.name != "posix", reason="modes of folders")
def test_a_folder_that_others_can_write_holds_no_code_of_ours(read_only: Path) -> None:
    planted = read_only / f"escape_abm_{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    escape_abm.place_for_compiled()
    assert os.environ["NUMBA_CACHE_DIR"] != str(planted)


def test_a_writable_package_keeps_its_own(read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda place, mode: True)
    escape_abm.place_for_compiled()
    assert "NUMBA_CACHE_DIR" not in os.environ


def test_a_chosen_place_that_cannot_be_written_is_told(read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (read_only / "file").touch()
    for place in (read_only / "file" / "below", "/proc/none"):
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(place))
        with pytest.raises(SystemExit, match="Set it to a folder that can be written"):
            escape_abm.place_for_compiled()


@pytest.mark.parametrize("script", sorted(p.name for p in (ROOT / "experiments").glob("*.py")))
def test_a_python_without_the_package_is_told_the_way_in(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-I", str(ROOT / "experiments" / script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Enter the environment first: python3 start.py setup" in done.stderr


def test_the_checker_of_runs_is_told_the_way_in_too() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "escape_abm", "list"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Enter the environment first" in done.stderr
    assert "Traceback" not in done.stderr
