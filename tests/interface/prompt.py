"""Commands that are started as from a prompt."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path


def in_front(words: Sequence[str], place: Path | None = None, out: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """Start a command that heeds Ctrl-C, even where the tests themselves run in the background and do not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(words, cwd=place, stdout=out, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
