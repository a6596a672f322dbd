"""A task's page of the running exporter: its buttons, pressed in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from exporter.config.paths import token_path
from tests.browser.chromium import PHONE, chromium, needs_chromium
from tests.integration.processes import free_port
from tests.unit.web.test_status_view import Exporter

pytestmark = [needs_chromium, pytest.mark.browser]


async def test_a_task_is_paused_and_run_from_its_page(tmp_path: Path) -> None:
    """With the token once. The enter key in its field must not press the first button."""
    async with Exporter(tmp_path, port=free_port()).running() as exporter, chromium() as browser:
        page = await browser.new_page(viewport=PHONE)  # type: ignore[arg-type]
        await page.goto(f"http://{exporter.app.config.listen}/tasks/weekly")
        token = page.get_by_label("Token")
        await token.fill(token_path(exporter.app.config).read_text().strip())
        await token.press("Enter")
        await page.locator("select[name=for]").select_option("1d")
        await page.get_by_role("button", name="Pause").click()
        await expect(page.locator("main")).to_contain_text("runs nothing and alerts nobody for 1d")
        await page.get_by_role("link", name="Back to weekly").click()
        await expect(page.get_by_role("heading", name="weekly: paused")).to_be_visible()
        await page.get_by_role("button", name="Resume").click()
        await expect(page.get_by_role("heading", name="Resumed")).to_be_visible()
        assert await exporter.services.state.history.runs(0.0, "weekly") == []
        await page.get_by_role("link", name="Back to weekly").click()
        await page.get_by_role("button", name="Run now").click()
        await expect(page.get_by_role("heading", name="Started")).to_be_visible()
    (run,) = await exporter.services.state.history.runs(0.0, "weekly")
    assert run.trigger == "manual"
