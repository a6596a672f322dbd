"""Take the guide's pictures: ``python -m tests.browser.pictures``, or ``make pictures``.

The moment and the data are fixed, so that a picture changes only when the page does; not those of
the day, which are of a real exporter.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser

from tests import views
from tests.browser.a_day import live
from tests.browser.chromium import LAPTOP, PHONE, chromium
from tests.browser.serving import Site, serve
from tests.records import records
from tests.runs import ended
from tests.views import NOW

FOLDER = Path(__file__).parents[2] / "docs" / "guide" / "pictures"
SHOTS = {
    "well": ("well", LAPTOP, "light"),
    "failing": ("failing", LAPTOP, "light"),
    "failing-phone-dark": ("failing", PHONE, "dark"),
    "simulated": ("simulated", LAPTOP, "dark"),
    "overdue": ("overdue", LAPTOP, "light"),
    "many": ("forty", LAPTOP, "light"),
}


async def take(browser: Browser, site: Site, name: str, folder: Path) -> Path:
    """One picture of :data:`SHOTS`; returns where it lies."""
    view, size, scheme = SHOTS[name]
    site.view = getattr(views, view)()
    page = await browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    await page.goto(site.url)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    await page.screenshot(path=path, full_page=True)
    await page.close()
    return path


async def take_task(browser: Browser, folder: Path) -> Path:
    """The page of a task with its runs."""
    with tempfile.TemporaryDirectory() as state:
        error = "ConnectionError: broker.example:443 refused the connection"
        async with records(Path(state), error) as made, serve(made) as site:
            for n in range(1, 15):
                at = NOW - 3600 - n * 300
                run = ended(f"run{n:02d}", "signals", at, "success", at, at + 2 + n % 4, items=3)
                await made.state.finish(run)
            at = NOW - 300
            failed = ended("run15", "signals", at, "error", at, at + 4, error=error, items=3)
            await made.state.finish(failed)
            page = await browser.new_page(viewport=LAPTOP)  # type: ignore[arg-type]
            await page.goto(f"{site.url}tasks/signals")
            path = folder / "task.png"
            await page.screenshot(path=path, full_page=True)
            await page.close()
    return path


async def take_day(browser: Browser, folder: Path) -> Path:
    """A first day with each of its steps; the pictures show the moment at which it was lived."""
    home = Path(tempfile.gettempdir(), "me")
    shutil.rmtree(home, ignore_errors=True)
    try:
        await live(home, browser, folder)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return folder


async def _all() -> None:
    async with chromium() as browser, serve() as site:
        for name in SHOTS:
            print(await take(browser, site, name, FOLDER), file=sys.stderr)
        print(await take_task(browser, FOLDER), file=sys.stderr)
        print(await take_day(browser, FOLDER / "day"), file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(_all())
