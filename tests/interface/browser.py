"""A headless Chromium, driven over its DevTools protocol: no driver program and no package but `websockets`.

Debian's Chromium is enough (`apt-get install chromium`). `websockets` comes with the extra `dashboard`.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


def installed() -> str | None:
    """Path of the browser, or None."""
    return next((path for path in map(shutil.which, PROGRAMS) if path), None)


def wait_for(what: str, check: Callable[[], Any], seconds: float = 30) -> Any:
    """The first true answer of `check`."""
    end = time.monotonic() + seconds
    while not (answer := check()):
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.05)
    return answer


class Browser:
    """One page in a browser of its own, with an empty profile.

    Attributes:
        requests: Address of everything that the page asked for.
        errors: What went wrong in its scripts.
    """

    def __init__(self, width: int = 1400, height: int = 900) -> None:
        self.width, self.height = width, height
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.ids, self.session = itertools.count(1), ""
        self.profile = tempfile.TemporaryDirectory(prefix="browser", ignore_cleanup_errors=True)

    def __enter__(self) -> Self:
        from websockets.sync.client import connect

        with contextlib.ExitStack() as stack:
            stack.callback(self.profile.cleanup)
            size = (f"--window-size={self.width},{self.height}", f"--user-data-dir={self.profile.name}")
            command = [installed() or "chromium", *FLAGS, *size, "--remote-debugging-port=0", "about:blank"]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait, timeout=20)
            stack.callback(process.terminate)
            told = Path(self.profile.name) / "DevToolsActivePort"
            port, path = wait_for("Chromium starts", lambda: told.exists() and told.read_text().split())
            self.socket = stack.enter_context(connect(f"ws://127.0.0.1:{port}{path}", max_size=None))
            target = self("Target.createTarget", url="about:blank")["targetId"]
            self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network"):
                self(f"{domain}.enable")
            metrics = {"width": self.width, "height": self.height}
            self("Emulation.setDeviceMetricsOverride", **metrics, deviceScaleFactor=1, mobile=False)
            self.end = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.close()

    def __call__(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol; what the page reports meanwhile is noted."""
        call = next(self.ids)
        session = {"sessionId": self.session} if self.session else {}
        self.socket.send(json.dumps({"id": call, "method": method, "params": params, **session}))
        while True:
            message = json.loads(self.socket.recv(timeout=60))
            if message.get("id") == call:
                assert "error" not in message, message
                return message["result"]
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, event: str | None, params: Any) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Network.webSocketCreated":
            self.requests.append(params["url"])
        elif event == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"])[:500])

    def js(self, expression: str) -> Any:
        """Value of a JavaScript expression."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, expression: str, across: float = 0.5) -> None:
        """Click on the element that a JavaScript expression gives, so far across it, as a hand would."""
        self.js(f"{expression}.scrollIntoView({{block: 'center'}})")
        box = self.js(f"(r => [r.x, r.y, r.width, r.height])({expression}.getBoundingClientRect())")
        at = {"x": box[0] + across * box[2], "y": box[1] + box[3] / 2, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, **at)

    def picture(self, expression: str = "", height: float = 1) -> bytes:
        """PNG of what the window shows, or of the upper part of the element that a JavaScript expression gives."""
        clip = {}
        if expression:
            box = self.js(f"(r => [r.x, r.y, r.width, r.height])({expression}.getBoundingClientRect())")
            clip = {"clip": {"x": box[0], "y": box[1], "width": box[2], "height": height * box[3], "scale": 1}}
        return base64.b64decode(self("Page.captureScreenshot", format="png", **clip)["data"])
