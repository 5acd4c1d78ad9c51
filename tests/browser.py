"""A real browser for the tests of pages: Debian's Chromium without a window. It notes what no page may do, and leaves pictures."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, sync_playwright

WIDTHS = (1280, 400)
_TIMEOUT_MS = 20_000
_SHOWN = "main:not([aria-busy])"
_DRAWN = "() => [...document.querySelectorAll('.plot')].every(plot => !plot.offsetParent || plot.querySelector('.main-svg'))"
_ROWS = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"


def executable() -> str:
    """Where Chromium is; the test is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium for the tests of pages: apt-get install chromium")
    return found


class Browser:
    """Pages of one dashboard.

    Parameters
    ----------
    chromium : str
        Program.
    address : str
        Of the dashboard, ``host:port``.
    folder : Path
        Where pictures go, and a line a page with the seconds that its words and its plots took.
    """

    def __init__(self, chromium: str, address: str, folder: Path) -> None:
        self.host, self._folder = address, folder
        self.faults: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._playwright = sync_playwright().start()
        # Root, as in containers, has no sandbox.
        self._chromium = self._playwright.chromium.launch(executable_path=chromium, chromium_sandbox=False)
        context = self._chromium.new_context(viewport={"width": WIDTHS[0], "height": 900})
        context.set_default_timeout(_TIMEOUT_MS)
        context.on("request", self._asked)
        context.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)
        context.on("weberror", lambda error: self.faults.append(str(error.error)))
        self.page: Page = context.new_page()

    def _asked(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.netloc != self.host:
            self.faults.append(f"asks elsewhere: {request.url}")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._chromium.close()
        self._playwright.stop()

    def open(self, path: str) -> Page:
        """A page, when it has shown all."""
        begin = time.monotonic()
        self.page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        self.page.goto(f"http://{self.host}/{path}")
        self.page.wait_for_selector(_SHOWN)
        words = time.monotonic() - begin
        self.page.wait_for_function(_DRAWN)
        took = {"page": path, "words_s": round(words, 2), "all_s": round(time.monotonic() - begin, 2)}
        with (self._folder / "pages.jsonl").open("a") as file:
            file.write(json.dumps(took) + "\n")
        return self.page

    def picture(self, name: str) -> None:
        """Pictures of the page, wide and narrow; nothing may stand over its edge."""
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 900})
            # Plots follow a moment later.
            self.page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
            self.page.screenshot(path=self._folder / f"{name}-{width}.png", full_page=True)

    def rows(self, place: str) -> list[list[str]]:
        """The cells of a table."""
        found: list[list[str]] = self.page.eval_on_selector_all(f"{place} tbody tr", _ROWS)
        return found

    def counts(self, place: str) -> dict[str, int]:
        """The rows of a table of names and numbers."""
        return {name: int(number.replace(",", "")) for name, number in self.rows(place)}
