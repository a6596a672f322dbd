"""The button behind a message's link once more, in another browser's idea of Origin and cookies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.browser.firefox import Tab, firefox, needs_firefox
from tests.browser.test_acknowledge import QUERY, TOKEN, Acknowledgements, serving

pytestmark = [needs_firefox, pytest.mark.browser]


async def press(tab: Tab, url: str) -> None:
    """With the token where it is asked for, until the answer is there."""
    await tab.goto(url + QUERY)
    for name, text in (("token", TOKEN), ("comment", "on it")):
        fill = f"document.getElementsByName({name!r}).forEach(input => input.value = {text!r})"
        await tab.evaluate(fill)
    await tab.press("form button")
    async with asyncio.timeout(20):
        while await tab.evaluate("document.querySelector('h1')?.textContent") != "Acknowledged":
            await asyncio.sleep(0.05)


async def test_the_button_acknowledges_in_firefox_too(tmp_path: Path) -> None:
    """On loopback by name and by address; the token is asked for once."""
    acks = Acknowledgements()
    async with serving(tmp_path, acks) as port, firefox(tmp_path) as tab:
        for host in ("localhost", "127.0.0.1"):
            url = f"http://{host}:{port}/"
            await press(tab, url)
            await tab.goto(url + QUERY)
            assert await tab.evaluate("document.getElementsByName('token').length") == 0
        await press(tab, url)
    labels = {"alertname": "QuantTaskFailing", "task": "signals"}
    assert acks.made == [(labels, "link", "on it")] * 3
