"""A folder is held against other processes where the file system can, and it is said where it cannot."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import filelock
import pytest

from escape_abm.runs import run_folder
from escape_abm.runs.run_folder import StorageError, held

NONE = (
    OSError(errno.ENOLCK, "No locks available"),
    OSError(errno.EOPNOTSUPP, "Operation not supported"),
    NotImplementedError("FileSystem does not appear to support flock"),
)


def refuse(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    run_folder.say_no_locks.cache_clear()


@pytest.mark.parametrize("error", NONE, ids=str)
def test_a_file_system_without_locks_is_worked_on_and_told_once(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(error, monkeypatch)
    for _ in range(2):
        with held(tmp_path / "new"):
            assert (tmp_path / "new").is_dir()
    assert capsys.readouterr().err.count("This file system has no locks") == 1


def test_other_faults_of_a_lock_are_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(OSError(errno.EACCES, "Permission denied"), monkeypatch)
    with pytest.raises(StorageError, match="Permission denied"), held(tmp_path):
        pass
    refuse(OSError(errno.EIO, "Input/output error"), monkeypatch)
    with pytest.raises(OSError, match="Input/output error"), held(tmp_path):
        pass


@pytest.mark.skipif(os.name != "posix", reason="names of 255 bytes")
def test_a_name_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="File name too long"), held(tmp_path / ("a" * 300)):
        pass
