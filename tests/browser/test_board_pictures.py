"""When a picture of a board is taken."""

from __future__ import annotations

import pytest

from tests.browser.board_pictures import drawn
from tests.browser.chromium import chromium, needs_chromium

pytestmark = [needs_chromium, pytest.mark.browser]


async def test_no_picture_is_taken_while_a_panel_loads() -> None:
    """Neither of Grafana 9's spinner nor of a newer one's bar; a panel that never loads fails."""
    spinner, bar = (
        '<div class="panel-loading">…</div>',
        '<div aria-label="Panel loading bar">…</div>',
    )
    async with chromium() as browser:
        page = await browser.new_page()
        for loading in (spinner, bar):
            await page.set_content(f"<body>{loading}</body>")
            with pytest.raises(TimeoutError, match="1 panels have not loaded"):
                await drawn(page, patience=0)
        await page.evaluate("() => { setTimeout(() => document.body.replaceChildren(), 100) }")
        await drawn(page, patience=20)
