"""A task's page of the running exporter: what it says, and its buttons."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from exporter.config.paths import token_path
from tests.integration.processes import free_port
from tests.unit.web.test_status_page import Outline
from tests.unit.web.test_status_view import Exporter


@contextlib.asynccontextmanager
async def person(exporter: Exporter) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser of the real server, with cookies."""
    jar = aiohttp.CookieJar(unsafe=True)  # cookies of an IP address
    async with aiohttp.ClientSession(
        f"http://{exporter.app.config.listen}", cookie_jar=jar, headers={"Accept": "text/html"}
    ) as session:
        yield session


@pytest.fixture
async def exporter(tmp_path: Path) -> AsyncIterator[Exporter]:
    """With the real server."""
    async with Exporter(tmp_path, port=free_port()).running() as running:
        yield running


async def page(answer: aiohttp.ClientResponse, status: int = 200) -> Outline:
    """The answer as text; every tag is closed."""
    outline = Outline()
    outline.feed(await answer.text())
    outline.close()
    assert answer.status == status
    assert outline.open == []
    outline.text = re.sub(r"\s+", " ", outline.text)
    return outline


async def test_it_says_when_it_runs_next_and_who_hears_of_it(exporter: Exporter) -> None:
    """Five slots, limits, tier, command."""
    async with person(exporter) as session:
        seen = await page(await session.get("/tasks/weekly"))
    assert sum(tag == "time" for tag, _ in seen.tags) >= 5
    for words in (
        "weekly: new",
        "sun 09:00",
        "timeout 5m, grace 5m, alert_after 1",
        "warning: chat after 1 failed run, at the latest Sun",
        "Runstrue",
        "It has not run yet.",
    ):
        assert words in seen.text


async def test_its_buttons_ask_for_the_token_once(exporter: Exporter) -> None:
    """Pause, resume and run; each says what was done."""
    token = token_path(exporter.app.config).read_text().strip()
    state = exporter.services.state
    async with person(exporter) as session:
        form = {"action": "pause", "for": "1h"}
        wrong = await page(await session.post("/tasks/weekly", data=form), 401)
        assert "Wrong token" in wrong.text
        paused = await session.post("/tasks/weekly", data={**form, "token": token})
        assert "weekly runs nothing and alerts nobody for 1h." in (await page(paused)).text
        assert state.tasks["weekly"].paused_until == exporter.clock.now() + 3600
        shown = await page(await session.get("/tasks/weekly"))
        assert "weekly: paused" in shown.text
        assert "Token" not in shown.text, "it is asked for once"
        refused = await page(await session.post("/tasks/weekly", data={"action": "run"}), 409)
        assert "weekly is paused" in refused.text
        await page(await session.post("/tasks/weekly", data={"action": "resume"}))
        ran = await page(await session.post("/tasks/weekly", data={"action": "run"}))
        assert re.search(r"Run \S+ of weekly has started\.", ran.text)
        for odd in (
            {"action": "explode"},
            {"action": "pause", "for": "9w"},
            {"action": "pause"},
            {"action": "run", "for": "AAA"},
            {},
        ):
            await page(await session.post("/tasks/weekly", data=odd), 400)
        await page(await session.post("/tasks/none", data={"action": "run"}), 404)


async def test_another_site_cannot_press_them(exporter: Exporter) -> None:
    """Not even with the token."""
    token = token_path(exporter.app.config).read_text().strip()
    async with person(exporter) as session:
        answer = await session.post(
            "/tasks/weekly",
            data={"action": "run", "token": token},
            headers={"Origin": "https://evil.example"},
        )
        assert "may not write here" in (await page(answer, 403)).text


async def test_a_page_that_is_not_there_leads_back(exporter: Exporter) -> None:
    """For a person; a program gets a line."""
    async with person(exporter) as session:
        missing = await page(await session.get("/taks"), 404)
        assert "There is no page /taks here." in missing.text
        assert ("a", {"href": "/"}) in missing.tags
        plain = await session.get("/taks", headers={"Accept": "*/*"})
        assert "<" not in await plain.text()


async def test_pages_and_api_answer_while_a_reload_is_under_way(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow disk it takes a while: until then nobody sees half of it."""
    state, release = exporter.services.state, asyncio.Event()
    register, asked = state.register, asyncio.Event()

    async def slow_register(tasks: Mapping[str, str], now: float) -> None:
        asked.set()
        await release.wait()
        await register(tasks, now)

    monkeypatch.setattr(state, "register", slow_register)
    config = exporter.app.path
    config.write_text(config.read_text().replace("busy:", "newly:"))
    reloading = asyncio.create_task(exporter.app._reloading.reload())
    await asked.wait()
    async with person(exporter) as session:
        for path in ("/", "/tasks/busy", "/api/v1/tasks"):
            assert (await session.get(path)).status == 200
        assert (await session.get("/tasks/newly")).status == 404
        release.set()
        assert await reloading == []
        for path in ("/", "/tasks/newly", "/api/v1/tasks"):
            assert (await session.get(path)).status == 200
        assert (await session.get("/tasks/busy")).status == 404
