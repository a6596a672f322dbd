"""Debian's firefox-esr over WebDriver BiDi (https://w3c.github.io/webdriver-bidi/): headless, with
a profile of its own, and without talking to anybody but loopback."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

PROGRAM = shutil.which("firefox-esr")
needs_firefox = pytest.mark.skipif(
    PROGRAM is None, reason="firefox-esr is not installed; tools/install-test-packages does it"
)
START_SECONDS = 60.0
PREFERENCES = """\
user_pref("network.proxy.type", 1);
user_pref("network.proxy.http", "127.0.0.1");
user_pref("network.proxy.http_port", 9);
user_pref("network.proxy.ssl", "127.0.0.1");
user_pref("network.proxy.ssl_port", 9);
"""
"""Everything but loopback goes to a proxy that is not there."""


class Tab:
    """One page. Every answer that is an error raises :class:`AssertionError`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self._context = ""

    async def open(self) -> None:
        """Start the session, and take its first tab."""
        await self.ask("session.new", capabilities={})
        tree = await self.ask("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]

    async def ask(self, method: str, **params: Any) -> Any:
        """One command; events in between are not read."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async for message in self._socket:
            answer = message.json()
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return answer["result"]
        raise AssertionError(f"firefox closed the connection before it answered {method}")

    async def goto(self, url: str) -> None:
        """Until the page is loaded."""
        await self.ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, script: str) -> Any:
        """An expression's value."""
        target = {"context": self._context}
        answer = await self.ask(
            "script.evaluate", expression=script, target=target, awaitPromise=True
        )
        assert answer["type"] == "success", answer
        return answer["result"].get("value")

    async def press(self, selector: str) -> None:
        """Click it with the mouse, as a person does."""
        found = await self.ask(
            "browsingContext.locateNodes", context=self._context,
            locator={"type": "css", "value": selector},
        )  # fmt: skip
        (node,) = found["nodes"]
        origin = {"type": "element", "element": {"sharedId": node["sharedId"]}}
        await self.evaluate(f"document.querySelector({selector!r}).scrollIntoView()")
        await self.ask(
            "input.performActions", context=self._context,
            actions=[{"type": "pointer", "id": "mouse", "actions": [
                {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
                {"type": "pointerDown", "button": 0},
                {"type": "pointerUp", "button": 0},
            ]}],
        )  # fmt: skip


@asynccontextmanager
async def firefox(folder: Path) -> AsyncIterator[Tab]:
    """A running browser with one tab; its profile lies in `folder`."""
    profile = folder / "profile"
    profile.mkdir()
    (profile / "user.js").write_text(PREFERENCES)
    process = await asyncio.create_subprocess_exec(
        str(PROGRAM), "--headless", "--no-remote", "--profile", str(profile),
        "--remote-debugging-port", "0",
        stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert process.stderr
    try:
        async with asyncio.timeout(START_SECONDS):
            url = await _address(process.stderr)
        drained = asyncio.create_task(process.stderr.read())
        async with aiohttp.ClientSession() as client, client.ws_connect(f"{url}/session") as socket:
            tab = Tab(socket)
            await tab.open()
            yield tab
        drained.cancel()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _address(errors: asyncio.StreamReader) -> str:
    """What firefox says when it listens."""
    said = ""
    while line := (await errors.readline()).decode(errors="replace"):
        said += line
        if found := re.search(r"BiDi listening on (ws://127\.0\.0\.1:\d+)", line):
            return found[1]
    raise AssertionError(f"firefox did not start:\n{said}")
