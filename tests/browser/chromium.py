"""Debian's chromium, without sandbox (tests may run as root) and without talking to anybody."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright

PROGRAM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    PROGRAM is None, reason="chromium is not installed; tools/install-test-packages does it"
)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 360, "height": 740}
LAPTOP = {"width": 1280, "height": 800}


def need_driver() -> None:
    """Skip the test when Playwright's driver does not start: its Node links to libatomic1."""
    started = subprocess.run(
        [sys.executable, "-m", "playwright", "--version"], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if started.returncode:
        pytest.skip(f"no driver ({started.stderr.strip()}); tools/install-test-packages")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A running browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=PROGRAM, args=QUIET)
        try:
            yield browser
        finally:
            await browser.close()
