"""The guide's day, lived from the empty folder to the review of a week."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.a_day import live
from tests.browser.chromium import chromium, need_driver, needs_chromium
from tests.integration.processes import ROOT, need

pytestmark = [needs_chromium, pytest.mark.browser, pytest.mark.timeout(300)]

GUIDE = ROOT / "docs/guide/a-day.md"
MOST_BYTES = 150_000


async def test_a_day_goes_as_the_guide_tells_it(tmp_path: Path) -> None:
    """Every step of it, and a picture of each that the guide shows."""
    need_driver()
    need("prometheus")
    need("prometheus-alertmanager")
    async with chromium() as browser:
        await live(tmp_path / "day", browser, tmp_path / "pictures")
    taken = {picture.name for picture in (tmp_path / "pictures").iterdir()}
    shown = re.findall(r"!\[([^\]]+)\]\(pictures/day/([^)]+)\)", GUIDE.read_text())
    assert {name for _, name in shown} == taken
    assert all(len(words) > 20 for words, _ in shown), "what a picture shows, for who cannot see it"


def test_its_pictures_are_small() -> None:
    """Every clone has them."""
    sizes = {one.name: one.stat().st_size for one in (GUIDE.parent / "pictures/day").iterdir()}
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}
