"""Ctrl-C and requests to end, between ticks: an exception in the middle of a compiled call would corrupt it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked = False


@contextmanager
def held_back() -> Iterator[None]:
    """Take Ctrl-C at the next `heed`, or at the end of this; a second one at once."""
    global _asked
    plain = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or not plain:
        yield
        return
    _asked = False
    signal.signal(signal.SIGINT, _ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    heed()


@contextmanager
def termination_heeded() -> Iterator[None]:
    """Take a request to end (SIGTERM, as batch systems send it before they kill) as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _ask(number: int, frame: FrameType | None) -> None:
    global _asked
    if _asked:
        signal.default_int_handler(number, frame)
    _asked = True


def heed() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed since `held_back`."""
    global _asked
    if _asked:
        _asked = False
        raise KeyboardInterrupt
