"""A service on the pages, in the API and in `tasks`, with a stand-in for systemctl."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from exporter.app import App
from exporter.cli.tasks import tasks
from exporter.config import load
from exporter.runtime.wiring import ExporterServices
from exporter.util.clock import SystemClock
from tests.integration.processes import free_port

CONFIG = "listen: 127.0.0.1:{port}\ntasks: {{bot: {{service: bot.service}}}}\n"
FAILED = """\
LoadState=loaded
ActiveState=failed
SubState=failed
Result=exit-code
ExecMainStatus=3
NRestarts=2
ActiveExitTimestampMonotonic=1000000
"""


def program(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\ncat <<E\n{text}\nE\n")
    file.chmod(0o755)


@pytest.fixture
async def services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ExporterServices]:
    """A running exporter whose service has failed."""
    program(tmp_path, "systemctl", FAILED)
    program(tmp_path, "journalctl", "connecting\nbroker refused")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    file = tmp_path / "exporter.yml"
    file.write_text(CONFIG.format(port=free_port()))
    async with contextlib.AsyncExitStack() as stack:
        services = await App(file, load(file), SystemClock()).start(stack)
        for _ in range(2):
            await services.runner.service_watch.look()
        yield services


async def text_of(services: ExporterServices, path: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(services.config().local_url + path) as answer,
    ):
        assert answer.status == 200
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", await answer.text()))


async def test_a_service_that_failed_is_shown_with_the_end_of_its_journal(
    services: ExporterServices, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It cannot be run from here."""
    front = await text_of(services, "/")
    assert "bot.service, down since" in front
    assert "bot.service has failed (exit status 3); its last lines: broker refused" in front
    assert "Service bot: bot.service has failed (exit status 3)" in front, "the headline"
    assert "next never" not in front
    page = await text_of(services, "/tasks/bot")
    assert "bot: failing" in page
    assert "connecting broker refused" in page
    assert "warning: chat within 2 minutes after bot.service is down" in page
    assert "Run now" not in page
    assert 'quant_service_up{task="bot"} 0.0' in await text_of(services, "/metrics")
    assert await asyncio.to_thread(tasks, tmp_path / "exporter.yml", as_json=False) == 0
    said = capsys.readouterr().out
    assert re.search(r"bot +failing +failure .* bot\.service down since ", said)
    assert said.endswith("bot.service has failed (exit status 3)\n")
