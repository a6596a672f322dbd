"""Pages behind the status page: a run with its log, a task's runs, a digest."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from exporter.config.paths import reports_folder
from exporter.util.nan import NAN
from exporter.web.headers import security_headers
from exporter.web.status import detail_pages as pages
from exporter.web.status.task_page import TaskPage
from tests.records import DAY, STARTED, Records, records
from tests.unit.web.test_status_page import Outline
from tests.views import HOSTILE

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Records]:
    """State, logs and a digest."""
    async with records(tmp_path) as there:
        yield there


@pytest.fixture
async def client(made: Records) -> AsyncIterator[Client]:
    """A browser of them."""
    async with browser(made) as running:
        yield running


async def a_month(task: str) -> tuple[float, ...]:
    return (NAN,) * 28 + (0.5, 1.0)


@asynccontextmanager
async def browser(made: Records, patience: float = 60.0) -> AsyncIterator[Client]:
    app = web.Application(middlewares=[security_headers])
    app.add_routes(pages.Records(made, patience=patience).routes())
    app.add_routes(TaskPage(made, lambda token: False, a_month).routes())
    async with TestClient(TestServer(app)) as running:
        yield running


async def read(client: Client, path: str, status: int = 200) -> Outline:
    async with client.get(path) as answer:
        assert answer.status == status
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        page = Outline()
        page.feed(await answer.text())
    page.close()
    assert page.open == []
    return page


async def test_pages_lead_to_the_board_of_the_task(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a run to the hours around it, where somebody said where Grafana is."""

    async def boards(path: str) -> list[str]:
        tags = (await read(client, path)).tags
        links = [a["href"] or "" for tag, a in tags if tag == "a" and "href" in a]
        return [link for link in links if "/d/quant-" in link]

    assert await boards("/runs/bad") == await boards("/tasks/signals") == []
    monkeypatch.setenv("QUANT_DASHBOARDS_URL", "unused: the address is in the config already")
    board = "http://localhost:3000/d/quant-task?var-task=signals"
    assert await boards("/tasks/signals") == [board]
    began, ended = round((STARTED - 3600) * 1000), round((STARTED + 4 + 3600) * 1000)
    assert await boards("/runs/bad") == [f"{board}&from={began}&to={ended}"]


async def test_run_shows_how_it_ended_and_its_own_lines(client: Client) -> None:
    """In the user's zone, with every line of that run and none of another."""
    page = await read(client, "/runs/bad")
    assert "signals: error" in page.text
    assert "attempt 1 of 3" in page.text
    assert "attempt 1 of 1" not in page.text
    assert "09:50" in page.text
    assert ("a", {"href": "../tasks/signals"}) in page.tags


async def test_hostile_lines_stay_text(client: Client) -> None:
    """Errors and log lines are shown, never obeyed."""
    page = await read(client, "/runs/bad")
    assert page.text.count(HOSTILE) == 2
    assert not [tag for tag, _ in page.tags if tag in ("script", "img")]


async def test_lines_of_compressed_files_are_found(client: Client, made: Records) -> None:
    """A part that was closed and compressed since."""
    path = made.config().logs.directory / "exporter-2026-11-24.jsonl"
    closed = path.with_name("exporter-2026-11-24.001.jsonl.gz")
    closed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert "attempt 1 of 3" in (await read(client, "/runs/bad")).text


async def test_without_log_files_the_kept_end_is_shown(client: Client, made: Records) -> None:
    """Logs go after a week; what the state kept stays longer, and the page says so."""
    (made.config().logs.directory / "exporter-2026-11-24.jsonl").unlink()
    page = await read(client, "/runs/bad")
    assert "the last line" in page.text
    assert "The log files of that time were deleted" in page.text
    assert "The run logged nothing" in (await read(client, "/runs/good")).text


async def test_log_that_takes_too_long_is_not_waited_for(
    made: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page comes with what is known; the next reader waits its turn and no longer."""
    ended = threading.Event()
    monkeypatch.setattr(pages, "lines_of_run", lambda *_: ended.wait(20) and [])
    async with browser(made, patience=0.5) as client:
        try:
            first, second = await asyncio.gather(
                read(client, "/runs/bad"), read(client, "/runs/bad")
            )
        finally:
            ended.set()
    for page in (first, second):
        assert "takes too long" in page.text
        assert "the last line" in page.text


async def test_unknown_run_task_and_digest_are_said(client: Client) -> None:
    """With a way back."""
    for path, words in (
        ("/runs/none", "There is no run none"),
        ("/runs/%3Cscript%3E", "There is no run <script>"),
        ("/tasks/none", "There is no task none"),
        ("/digests/2026-01-01", "There is no digest of 2026-01-01"),
        ("/digests/..%2f..%2fetc", "Write the day of a digest"),
    ):
        page = await read(client, path, 404)
        assert words in page.text
        assert ("a", {"href": "../"}) in page.tags


async def test_a_review_of_a_week_is_a_page(client: Client, made: Records) -> None:
    """As the task wrote it; what is not there, or no JSON, is not found."""
    folder = reports_folder(made.config())
    folder.mkdir(exist_ok=True)
    table = {"title": "Alerts", "head": ["Alert", ""], "rows": [[HOSTILE, "3"]], "note": "No more."}
    data = {"from": "2026-11-16", "to": "2026-11-22", "summary": "1 failed.", "tables": [table]}
    (folder / "weekly_review-2026-11-16.json").write_text(json.dumps(data))
    (folder / "weekly_review-2026-11-09.json").write_text("[")
    page = await read(client, "/reviews/2026-11-16")
    for words in ("Week from 2026-11-16 to 2026-11-22", "1 failed.", HOSTILE, "No more."):
        assert words in page.text
    assert ("a", {"href": "2026-11-09"}) in page.tags
    assert not [tag for tag, _ in page.tags if tag == "script"]
    await read(client, "/reviews/2026-11-09", 404)
    await read(client, "/reviews/..%2f..%2fetc", 404)


async def test_task_lists_its_runs_with_a_link_to_each(client: Client) -> None:
    """The newest first, below the bars of its month."""
    page = await read(client, "/tasks/signals")
    assert "Last 30 days: all runs succeeded on 1 of 2 days" in page.text
    assert "warning: chat after 1 failed run" in page.text
    links = {a["href"] for tag, a in page.tags if tag == "a"}
    assert {"../runs/bad", "../runs/good"} <= links
    assert "3 items" in page.text


async def test_digest_is_shown_whole(client: Client) -> None:
    """Headline and every part, and nothing of it is markup."""
    page = await read(client, f"/digests/{DAY}")
    assert "2 of 64 runs failed; 9 errors of 1 kind, 1 new" in page.text
    assert "QuantTaskFailing" in page.text
    assert HOSTILE in page.text
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert ("a", {"href": "../runs/bad"}) in page.tags
