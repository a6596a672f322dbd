"""Journal rows to incidents: many of them, odd ones, pages, and what is left out is said."""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from exporter.alerts.journal import Journal
from exporter.alerts.timeline import build_timeline, read_timeline
from exporter.cli.alerts import alerts
from exporter.metrics import Metrics
from exporter.state import JournalRow, State
from exporter.util.clock import iso
from exporter.web.alert_pages import AlertPages
from tests.unit.clocks import ManualClock

NOW = 1795485600.0
DAY = 86400.0


def alert(number: int, at: float, **more: Any) -> dict[str, Any]:
    """As the journal keeps it."""
    return {
        "labels": {"alertname": "QuantTaskFailing", "severity": "warning", "task": f"t{number}"},
        "annotations": {"summary": "s", "description": "d"}, "status": "firing",
        "starts_at": iso(at), "ends_at": None, "fingerprint": f"f{number}", "receiver": "slack",
        **more,
    }  # fmt: skip


def fill(path: Path, rows: list[tuple[str, float, Any]]) -> None:
    """Straight into the file, as months of running would."""
    with sqlite3.connect(path) as db:
        texts = ((k, at, f if isinstance(f, str) else json.dumps(f)) for k, at, f in rows)
        db.executemany("INSERT INTO journal (kind, at, fields) VALUES (?, ?, ?)", texts)


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    made = State.open(tmp_path / "state.db", ManualClock(now=NOW))
    yield made
    await made.close()


async def test_an_alert_is_found_among_runs_of_many_tasks(state: State) -> None:
    """200 tasks that ran often leave more rows than anybody reads at once."""
    runs = [("run", NOW - DAY + n / 2, {"task": "t"}) for n in range(120_000)]
    fill(state.path, [("notification", NOW - 6 * DAY, alert(1, NOW - 6 * DAY)), *runs])
    found = await read_timeline(state, NOW - 7 * DAY)
    assert [one.labels["task"] for one in found.incidents] == ["t1"]
    assert (found.older, found.unreadable) == (0, 0)


async def test_60_000_rows_do_not_hold_the_loop(state: State) -> None:
    """Notifications, and a silence for each hundredth of them."""
    rows: list[tuple[str, float, Any]] = []
    matcher = {"name": "task", "value": "t5", "isRegex": False, "isEqual": True}
    for n in range(30_000):
        at = NOW - 7 * DAY + n * 20
        rows.append(("notification", at, alert(n, at)))
        resolved = alert(n, at, status="resolved", ends_at=iso(at + 60))
        rows.append(("notification", at + 60, resolved))
        if n % 100 == 0:
            rows.append(("silenced", at, {"matchers": [matcher], "by": "me", "comment": ""}))
    fill(state.path, rows)
    longest, done = 0.0, asyncio.Event()

    async def watch() -> None:
        nonlocal longest
        while not done.is_set():
            began = time.thread_time()  # of the loop's own thread: other processes do not count
            await asyncio.sleep(0.02)
            longest = max(longest, time.thread_time() - began)

    watching = asyncio.ensure_future(watch())
    found = await read_timeline(state, NOW - 8 * DAY)
    done.set()
    await watching
    assert (len(found.incidents), found.older) == (1_000, 29_000)
    assert found.incidents[-1].labels["task"] == "t29999"
    assert longest < 0.2


async def test_pages_have_each_incident_once(state: State) -> None:
    """From the newest back: `until` is the start of the oldest that is known."""
    fill(state.path, [("notification", NOW + n, alert(n, NOW + n)) for n in range(10)])
    app = web.Application()
    journal = Journal(state, Metrics(CollectorRegistry()), ManualClock(now=NOW + 10))
    app.add_routes(
        AlertPages(journal, None, state, ManualClock(now=NOW + 10), lambda t: False,  # type: ignore[arg-type]
               runbook_url=lambda: None).routes()
    )  # fmt: skip
    async with TestClient(TestServer(app)) as client:
        seen, until, left = [], None, 1
        while left:
            more = {} if until is None else {"until": f"{until:.3f}"}
            answer = await client.get("/api/v1/alerts", params={"limit": "4", **more})
            body = await answer.json()
            seen += [one["labels"]["task"] for one in reversed(body["alerts"])]
            until, left = body["alerts"][0]["started_at"], body["older"]
        assert seen == [f"t{n}" for n in reversed(range(10))]
        for odd in ({"limit": "0"}, {"limit": "9" * 400}, {"until": "nan"}, {"since": "soon"}):
            assert (await client.get("/api/v1/alerts", params=odd)).status == 400


ODD: list[Any] = [
    "{", "null", "[]", "7", {}, {"labels": 1}, alert(2, NOW, starts_at="yesterday"),
    alert(2, NOW, starts_at=None), alert(2, NOW, labels={}), alert(2, NOW, annotations=[1]),
    alert(2, NOW, status="resolved", ends_at=None),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["notification", "fired", "over", "acknowledged", "silenced"])
@pytest.mark.parametrize("odd", ODD, ids=str)
async def test_an_odd_row_is_counted_and_spoils_nothing_else(
    state: State, kind: str, odd: Any
) -> None:
    """Whatever an older version or a damaged disk left there."""
    if isinstance(odd, dict) and (kind in ("acknowledged", "silenced") or "status" in odd):
        odd = {
            name: value for name, value in odd.items() if name not in ("receiver", "fingerprint")
        }
    good = ("notification", NOW, alert(1, NOW))
    fill(state.path, [good, (kind, NOW + 1, odd), ("notification", NOW + 2, alert(3, NOW + 2))])
    found = await read_timeline(state, NOW - 1)
    assert [one.labels["task"] for one in found.incidents] == ["t1", "t3"]
    assert found.unreadable == 1


def test_the_command_says_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the terminal the newest thousand; as JSON all."""
    clock = ManualClock(now=NOW)
    path = tmp_path / "exporter.yml"
    path.write_text("timezone: UTC\n")
    (tmp_path / "var").mkdir()
    state = State.open(tmp_path / "var/state.db", clock)
    fill(state.path, [("notification", NOW - n, alert(n, NOW - n)) for n in range(1_002)])
    fill(state.path, [("notification", NOW, "{")])
    asyncio.run(state.close())
    assert alerts(path, since="7d", as_json=False, clock=clock) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("2 older ones are left out; --json shows all\n")
    assert shown.endswith("1 journal rows are not readable and were left out\n")
    assert alerts(path, since="7d", as_json=True, clock=clock) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1_002


def test_rows_of_other_kinds_are_no_incidents() -> None:
    """What tasks did is in the journal, too."""
    assert build_timeline([JournalRow(1, "run", NOW, {"task": "t"})]) == []
