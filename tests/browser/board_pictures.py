"""Take the guide's pictures of the boards from any Grafana that has them:
``python -m tests.browser.board_pictures URL``, or ``make board-pictures GRAFANA=URL``.

With ``--at`` the browser's clock stands at that moment, so that history can be shown as if it were
now. A login is sent as ``GRAFANA_TOKEN``, a token of a service account.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.async_api import Browser, BrowserContext, Page, Request

from grafana.asked import BOARDS
from tests.browser.chromium import chromium

FOLDER = Path(__file__).parents[2] / "docs" / "guide" / "pictures" / "boards"
DESK = {"width": 1600, "height": 900}
PHONE = {"width": 390, "height": 844}
LONGEST = {"desk": 1800, "phone": 1688}
"""Pixels; below that a picture is cut off."""
NAMES = (
    "overview", "tasks", "task", "data", "feed", "strategies", "strategy", "limits", "alerts",
    "exporter",
)  # fmt: skip
QUIET_SECONDS = 3.0
"""So long no query may be under way before a board counts as drawn."""
PATIENCE_SECONDS = 60.0
LOADING = ".panel-loading, [aria-label='Panel loading bar']"
"""What Grafana 9, and newer ones, show while a panel's queries are under way."""


@dataclass(frozen=True)
class Shot:
    """One picture."""

    board: str
    size: str
    theme: str

    @property
    def file(self) -> str:
        """Its name, without the folder."""
        return f"{self.board}-{self.size}-{self.theme}.webp"


def shots() -> list[Shot]:
    """Each board on a desk and on a phone, dark and light."""
    looks = [(size, theme) for size in ("desk", "phone") for theme in ("dark", "light")]
    return [Shot(board, size, theme) for board in NAMES for size, theme in looks]


def address(url: str, shot: Shot, since: str, chosen: dict[str, str]) -> str:
    """Of a board without Grafana's own bars; of one thing, the chosen one, else all."""
    asked = {"from": since, "to": "now", "theme": shot.theme, "kiosk": "1", "orgId": "1"}
    one = {
        v["name"] for v in BOARDS[f"quant-{shot.board}"]["templating"]["list"] if not v.get("multi")
    }
    asked |= {f"var-{name}": value for name, value in chosen.items() if name in one}
    return f"{url.rstrip('/')}/d/quant-{shot.board}?{urlencode(asked)}"


async def take(context: BrowserContext, where: str, shot: Shot) -> bytes:
    """One picture as PNG, as high as the board, once all its panels are drawn."""
    page = await context.new_page()
    answers = Answers(page)
    width, height = (DESK if shot.size == "desk" else PHONE).values()
    await page.set_viewport_size({"width": width, "height": height})
    await page.goto(where)
    await page.wait_for_selector(".react-grid-layout", timeout=60_000)
    # Panels are drawn when they come into view.
    whole = await page.evaluate("document.querySelector('.react-grid-layout').scrollHeight")
    height = max(height, min(whole + 32, LONGEST[shot.size]))
    await page.set_viewport_size({"width": width, "height": height})
    await page.mouse.move(0, 0)
    await answers.all()
    await drawn(page)
    picture = await page.screenshot()
    await page.close()
    return picture


async def drawn(page: Page, patience: float = PATIENCE_SECONDS) -> None:
    """Wait until no panel says that it loads. Raises :class:`TimeoutError` after `patience`."""
    end = time.monotonic() + patience
    while loading := await page.locator(LOADING).count():
        if time.monotonic() > end:
            raise TimeoutError(f"{page.url}: {loading} panels have not loaded")
        await asyncio.sleep(0.2)


class Answers:
    """Which queries of a page are under way, and since when none is."""

    def __init__(self, page: Page) -> None:
        self._open: set[Request] = set()
        self._changed = time.monotonic()
        page.on("request", lambda request: self._note(request, begins=True))
        for event in ("requestfinished", "requestfailed"):
            page.on(event, lambda request: self._note(request, begins=False))  # type: ignore[call-overload]

    def _note(self, request: Request, *, begins: bool) -> None:
        if "/api/ds/query" not in request.url and "/resources/" not in request.url:
            return
        self._changed = time.monotonic()
        (self._open.add if begins else self._open.discard)(request)

    async def all(self) -> None:
        """Until none has been under way for a while; :class:`TimeoutError` after a minute."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self._open or time.monotonic() - self._changed < QUIET_SECONDS:
            if time.monotonic() > end:
                raise TimeoutError(f"{len(self._open)} queries have not been answered")
            await asyncio.sleep(0.1)


def packed(png: bytes) -> bytes:
    """The same as WebP, a quarter of the size."""
    made = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(made, "WEBP", quality=60, method=6)
    return made.getvalue()


async def take_all(browser: Browser, asked: argparse.Namespace) -> None:
    """Every picture, each told on stderr with its size."""
    chosen = dict(pair.split("=", 1) for pair in asked.choose)
    token = os.environ.get("GRAFANA_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked.folder.mkdir(parents=True, exist_ok=True)
    for shot in shots():
        if asked.only and shot.board not in asked.only:
            continue
        context = await browser.new_context(
            timezone_id=asked.timezone, extra_http_headers=headers, has_touch=shot.size == "phone"
        )
        if asked.at:
            await context.clock.set_system_time(asked.at)
        png = await take(context, address(asked.url, shot, asked.since, chosen), shot)
        path = asked.folder / shot.file
        path.write_bytes(packed(png))
        print(f"{path} {path.stat().st_size // 1000} kB", file=sys.stderr)
        await context.close()


async def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.board_pictures")
    parser.add_argument("url", help="Grafana, such as http://localhost:3000")
    parser.add_argument("--at", type=datetime.fromisoformat, help="what the browser's clock says")
    parser.add_argument("--since", default="now-8h", help="where the shown time begins")
    parser.add_argument("--timezone", default="America/New_York")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--only", nargs="*", default=[], help=", ".join(NAMES))
    parser.add_argument(
        "--choose", nargs="*", default=[], metavar="NAME=VALUE", help="variables, such as task=scan"
    )
    async with chromium() as browser:
        await take_all(browser, parser.parse_args())


if __name__ == "__main__":
    asyncio.run(_main())
