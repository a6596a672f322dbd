"""Take the guide's pictures: ``python -m tests.browser.pictures``, or ``make pictures``.

The moment and the data are fixed, so that a picture changes only when the page does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from playwright.async_api import Browser

from tests import views
from tests.browser.chromium import LAPTOP, PHONE, chromium
from tests.browser.serving import Site, serve

FOLDER = Path(__file__).parents[2] / "docs" / "guide" / "pictures"
SHOTS = {
    "well": ("well", LAPTOP, "light"),
    "failing": ("failing", LAPTOP, "light"),
    "failing-phone-dark": ("failing", PHONE, "dark"),
    "simulated": ("simulated", LAPTOP, "dark"),
    "overdue": ("overdue", LAPTOP, "light"),
}


async def take(browser: Browser, site: Site, name: str, folder: Path) -> Path:
    """One picture of :data:`SHOTS`; returns where it lies."""
    view, size, scheme = SHOTS[name]
    site.view = views.VIEWS[view]()
    page = await browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    await page.goto(site.url)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    await page.screenshot(path=path, full_page=True)
    await page.close()
    return path


async def _all() -> None:
    async with chromium() as browser, serve() as site:
        for name in SHOTS:
            print(await take(browser, site, name, FOLDER), file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(_all())
