"""Pictures of the dashboard for the documentation: `python -m docs.make_dashboard FOLDER`.

Plays the page in a headless Chromium as docs/dashboard.md tells. Ends with `os.EX_UNAVAILABLE` where it cannot.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.interface import browser

RELAPSE_DAY = 71
ALT = "document.querySelector('#marrow')?.alt ?? ''"


class Page:
    """The dashboard in a browser."""

    def __init__(self, page: browser.Browser) -> None:
        self.page = page

    def day(self) -> int:
        """The day that the marrow shows."""
        found = re.search(r"day (\d+)", str(self.page.js(ALT)))
        return int(found[1]) if found else -1

    def press(self, label: str) -> None:
        """Press a button."""
        named = f"b => b.innerText.trim().toUpperCase() == '{label}'"
        self.page.click(f"[...document.querySelectorAll('button')].find({named})")

    def reset(self) -> None:
        """Start anew with the controls as they are."""
        self.press("RESET")
        browser.wait_for("day 0", lambda: self.day() == 0)

    def step_to(self, goal: int) -> None:
        """A day at a time."""
        while (before := self.day()) < goal:
            self.press("STEP")
            browser.wait_for("a day passes", lambda before=before: self.day() > before)

    def choose(self, product: str) -> None:
        """Choose a product from the menu."""
        self.page.click("[...document.querySelectorAll('.v-select__slot')][0]")
        entry = f"[...document.querySelectorAll('.v-list-item')].find(e => e.innerText.trim() == '{product}')"
        browser.wait_for("the menu", lambda: self.page.js(f"!!{entry}"))
        self.page.js(f"{entry}.click()")  # it still moves: a click at a place may miss it
        browser.wait_for("word of it", lambda: "differ from this run" in self.page.js("document.body.innerText"))

    def picture(self, file: Path) -> None:
        """What the window shows, from the top."""
        self.page.js("window.scrollTo(0, 0); document.querySelector('.v-navigation-drawer__content')?.scrollTo(0, 0)")
        self.page.click("document.querySelector('header')")  # closes menus and takes the focus away
        browser.wait_for("the courses", lambda: self.page.js("document.querySelector('#whole')?.naturalWidth"))
        before, now = b"", self.page.picture()
        while now != before:  # the page fades in
            time.sleep(0.5)
            before, now = now, self.page.picture()
        file.write_bytes(now)


def main(folder: Path) -> None:
    """Play and take three pictures."""
    server = subprocess.Popen(
        [sys.executable, "-m", "escape_abm.interface.dashboard", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
        assert found is not None, "the dashboard did not start"
        folder.mkdir(parents=True, exist_ok=True)
        with browser.Browser() as opened:
            opened("Page.navigate", url=found[0])
            page = Page(opened)
            browser.wait_for("the page is drawn", lambda: opened.js("document.querySelector('#whole')?.naturalWidth"))
            browser.wait_for("day 0", lambda: page.day() == 0)
            page.picture(folder / "dashboard_start.png")
            page.step_to(RELAPSE_DAY)
            page.picture(folder / "dashboard_relapse.png")
            page.choose("Co-transduced")
            page.reset()
            page.step_to(RELAPSE_DAY)
            page.picture(folder / "dashboard_cotransduced.png")
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    lacks = {
        "Chromium is not here: apt-get install chromium": browser.installed() is None,
        "the dashboard is not set up: python3 start.py setup dashboard": importlib.util.find_spec("solara") is None,
    }
    for reason, true in lacks.items():
        if true:
            sys.stderr.write(f"{reason}\n")
            sys.exit(os.EX_UNAVAILABLE)
    main(Path(sys.argv[1]))
