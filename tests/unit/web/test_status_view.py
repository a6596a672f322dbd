"""The running exporter as the status page sees it, with real parts and a clock that tests move."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import promql_parser
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from exporter.app import App
from exporter.config import Task, load
from exporter.metrics import TABLE
from exporter.state import TaskState
from exporter.state.history import StateHistory
from exporter.strategies.equity import EquityCurve
from exporter.strategies.equity_point import EquityPoint
from exporter.util.clock import iso
from exporter.util.nan import NAN
from exporter.web.status import render
from exporter.web.status.build_view import ViewOf
from exporter.web.status.past_month import EQUITY, PastMonth, draw, kept_curve
from exporter.web.status.verdict import judge
from exporter.web.status.view import StatusView, StrategyRow
from exporter.web.tasks_view import row
from tests.boards import BOARDS
from tests.runs import ended
from tests.unit.clocks import ManualClock
from tests.views import DAY, NOW

CONFIG = """
listen: 127.0.0.1:{port}
alertmanager_url: {alertmanager}
prometheus_url: http://127.0.0.1:9
tasks:
  weekly: {{command: ["true"], schedule: "sun 09:00"}}
  busy: {{command: ["true"], schedule: "every 1m"}}
strategies:
  filed: {{equity_file: nowhere.csv}}
  silent: {{max_age: 1d, severity: critical}}
logs: {{follow: {{bot: {{path: bot.log}}}}}}
"""


class Exporter:
    """One that runs nothing by itself, and its page."""

    def __init__(
        self, folder: Path, alertmanager: str = "http://127.0.0.1:9", port: int = 0
    ) -> None:
        config = folder / "exporter.yml"
        config.write_text(CONFIG.format(alertmanager=alertmanager, port=port))
        self.clock = ManualClock(NOW)
        self.app = App(config, load(config), self.clock)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Exporter]:
        async with contextlib.AsyncExitStack() as stack:
            self.services = await self.app.start(stack)
            await self.services.scheduler.stop()
            self.look = ViewOf(self.services)
            yield self

    async def ran(self, run_id: str, task: str, at: float, outcome: str, **more: str) -> None:
        await self.services.state.finish(
            ended(run_id, task, at, outcome, at, at + 2, **more)  # type: ignore[arg-type]
        )

    async def view(self) -> StatusView:
        """The view of now; nothing that was read a moment ago is used.

        A write that is under way while the clock jumps would look like a disk that hangs."""
        await self.services.strategies.refresh()
        await self.services.state.keep("test", "all before it is written", True)
        self.clock.advance(60)
        view = await self.look()
        render(view)
        return view


@pytest.fixture
async def exporter(tmp_path: Path) -> AsyncIterator[Exporter]:
    """Alertmanager is not there."""
    async with Exporter(tmp_path).running() as running:
        yield running


async def test_last_error_of_a_task_that_seldom_runs_is_shown(exporter: Exporter) -> None:
    """It failed more than a week ago, and another task ran a thousand times since."""
    await exporter.ran("sunday", "weekly", NOW - 9 * DAY, "error", error="boom", tail="a\nlast")
    for n in range(60):
        await exporter.ran(f"b{n}", "busy", NOW - 3600 + n * 60, "success")
    weekly, busy = (await exporter.view()).tasks
    assert weekly.failure
    assert (weekly.failure.message, weekly.failure.run_id) == ("boom", "sunday")
    assert [line.text for line in weekly.failure.lines] == ["a", "last"]
    assert [run.run_id for run in busy.runs] == [f"b{n}" for n in range(55, 60)]


async def test_week_grows_as_runs_end(exporter: Exporter) -> None:
    """Today is counted at every look, older days seldom."""
    await exporter.ran("old", "busy", NOW - 3 * DAY, "success")
    assert [[d.succeeded for d in days] for _, days in (await exporter.view()).week.rows] == [
        [0, 0, 0, 1, 0, 0, 0]
    ]
    await exporter.ran("new", "busy", NOW + 5, "timeout", error="did not end")
    week = (await exporter.view()).week
    assert week.rows[0][1][0].failed == 1
    assert [failure.run_id for failure in week.failures] == ["new"]


async def test_a_month_of_days_is_read_a_few_at_a_time(exporter: Exporter) -> None:
    """The first page does not wait for all of it."""
    for days in (0, 3, 20, 29):
        await exporter.ran(f"r{days}", "busy", NOW - days * DAY - 60, "success")
    await exporter.ran("bad", "busy", NOW - 20 * DAY - 30, "error")
    weekly, busy = (await exporter.view()).tasks
    assert weekly.days == ()
    assert [n for n, share in enumerate(busy.days) if share == 1.0] == [26, 29]
    for _ in range(6):
        _, busy = (await exporter.view()).tasks
    assert len(busy.days) == 30
    assert {n: share for n, share in enumerate(busy.days) if share == share} == {
        0: 1.0, 9: 0.5, 26: 1.0, 29: 1.0,
    }  # fmt: skip


async def test_days_of_feeds_need_no_prometheus(tmp_path: Path) -> None:
    """The exporter counts them itself."""
    made = Exporter(tmp_path)
    file = tmp_path / "exporter.yml"
    feed = "{source: mine, symbols: [A], interval: 1m, exchange: 24/7}"
    file.write_text(f"{file.read_text()}sources: {{mine: {{type: push}}}}\nfeeds: {{f: {feed}}}\n")
    made.app = App(file, load(file), made.clock)
    async with made.running() as exporter:
        await exporter.services.complete_days.look()
        exporter.clock.advance(60)
        await exporter.services.complete_days.look()
        (feed_row,) = (await exporter.view()).feeds
    assert feed_row.days[-1] == 1.0
    assert len(feed_row.days) == 30


class Remembered:
    """Stands in for Prometheus."""

    def __init__(self, answer: asyncio.Event | None = None) -> None:
        self.asked: list[str] = []
        self._answer = answer

    async def query_range(self, query: str, start: float, end: float, step: float) -> list[Any]:
        """Values as Prometheus writes them."""
        self.asked.append(query)
        if self._answer:
            await self._answer.wait()
        values = [[start, "100"], [start + step, "NaN"], [end, "90.5"]]
        return [{"metric": {"strategy": "silent"}, "values": values}]


async def test_equity_of_a_month_is_asked_of_prometheus_now_and_then() -> None:
    """What is no number is left out."""
    clock, prometheus = ManualClock(NOW), Remembered()
    past = PastMonth(prometheus, clock)  # type: ignore[arg-type]
    for _ in range(3):
        await past.refresh()
        clock.advance(60)
    assert len(prometheus.asked) == 1
    curve = past.curves["silent"]
    assert curve.path == "M0.0 1.0L240.0 39.0"
    assert curve.words == (
        "Equity of the last 30 days: 100.00 to 90.50, lowest 90.50, highest 100.00"
    )
    assert draw([(1.0, 5.0)]) is None


def test_what_prometheus_is_asked_is_there() -> None:
    """A query that it understands, of metrics that exist."""
    promql_parser.parse(EQUITY)
    (name,) = re.findall(r"quant_\w+", EQUITY)
    assert name in {metric.name for metric in TABLE}


async def test_nobody_waits_for_prometheus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later page has what came meanwhile."""
    monkeypatch.setattr("exporter.web.status.past_month.PATIENCE_SECONDS", 0.01)
    clock, answer = ManualClock(NOW), asyncio.Event()
    past = PastMonth(Remembered(answer), clock)  # type: ignore[arg-type]
    await past.refresh()
    assert past.curves == {}
    answer.set()
    await asyncio.sleep(0)
    await past.refresh()
    assert "silent" in past.curves


async def test_the_journal_knows_what_fires_and_who_was_told(exporter: Exporter) -> None:
    """With no Alertmanager that could be asked; the watchdog is none of it."""
    journal = exporter.services.alerts.journal
    for name, fingerprint in (("QuantTaskFailing", "f1"), ("QuantWatchdog", "f2")):
        alert = {
            "status": "firing",
            "labels": {"alertname": name, "severity": "critical", "task": "busy"},
            "annotations": {"summary": "A task fails", "description": "busy failed"},
            "startsAt": iso(exporter.clock.now()),
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": fingerprint,
        }
        for receiver in ("slack", "pagerduty", "journal"):
            await journal.record(receiver, {"alerts": [alert]})
    for channel in ("slack", "pagerduty"):
        failed = {"integration": channel, "attempts": 1, "receivers": [channel]}
        await journal.delivery("failed", failed, counts=True)
    view = await exporter.view()
    assert [(row.name, row.subject) for row in view.unresolved] == [("QuantTaskFailing", "busy")]
    (incident,) = view.incidents
    assert (incident.told, incident.refused) == ((), ("slack", "pagerduty"))
    assert incident.reached_nobody
    wrong = "QuantTaskFailing was delivered to nobody: not accepted by slack, pagerduty"
    assert wrong in [matter.text for matter in judge(view).matters]


async def test_equity_that_cannot_be_read_is_said_at_its_strategy(exporter: Exporter) -> None:
    """It needs attention; one that never had equity waits."""
    view = await exporter.view()
    filed, silent = view.strategies
    assert filed.problem.endswith("nowhere.csv: No such file or directory")
    assert [(s.level(view.now), s.word(view.now)) for s in (filed, silent)] == [
        ("warn", "unread"),
        ("idle", "waiting"),
    ]
    assert view.troubles == ()


async def test_page_comes_when_the_state_file_is_no_database(exporter: Exporter) -> None:
    """What memory holds is shown, and what is wrong is said."""
    other = exporter.services.state.path.with_name("other.db")
    other.write_bytes(b"no database at all, " * 500)
    exporter.services.state.history = StateHistory(other)
    view = await exporter.view()
    assert [task.name for task in view.tasks] == ["weekly", "busy"]
    assert "Last week's runs cannot be read" in "".join(view.troubles)


@contextlib.asynccontextmanager
async def alertmanager(body: str) -> AsyncIterator[str]:
    """One that gives this answer."""

    async def alerts(request: web.Request) -> web.Response:
        return web.json_response(text=body)

    app = web.Application()
    app.router.add_get("/api/v2/alerts", alerts)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def test_alerts_are_shown_and_their_links_lead_nowhere_else(tmp_path: Path) -> None:
    """A runbook that would be a script is left out; what is silenced is acknowledged."""
    alert = {
        "labels": {"alertname": "QuantTaskFailing", "severity": "critical", "task": "busy"},
        "annotations": {"summary": "A task fails", "runbook_url": "javascript:alert(1)"},
        "startsAt": "2026-11-24T14:00:00.123Z",
        "status": {"silencedBy": [], "inhibitedBy": []},
        "fingerprint": "f",
    }
    other = {
        **alert,
        "labels": {"alertname": "Other", "severity": "info"},
        "annotations": {"runbook_url": "https://example.com/other"},
        "status": {"silencedBy": ["x"], "inhibitedBy": []},
    }
    async with (
        alertmanager(json.dumps([other, alert])) as url,
        Exporter(tmp_path, url).running() as exporter,
    ):
        rows = (await exporter.view()).alerts
    assert rows is not None
    assert [(row.name, row.subject, row.acknowledged, row.runbook) for row in rows] == [
        ("QuantTaskFailing", "busy", False, ""),
        ("Other", "", True, "https://example.com/other"),
    ]


@pytest.mark.parametrize("body", ["[1]", "{", '[{"labels": {}}]', "null", '"x"'])
async def test_answers_of_others_are_no_alerts(tmp_path: Path, body: str) -> None:
    """Some other program listens there: nobody knows what fires."""
    async with (
        alertmanager(body) as url,
        Exporter(tmp_path, url).running() as exporter,
    ):
        view = await exporter.view()
    assert view.alerts is None
    assert not view.alertmanager_seen


async def test_dashboards_are_linked_where_somebody_said_where_they_are(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that leads nowhere helps nobody: `make run` starts no Grafana."""
    assert "Dashboards" not in dict((await exporter.view()).links)
    monkeypatch.setenv("QUANT_DASHBOARDS_URL", "https://grafana.example.com/")
    exporter.app.config = load(exporter.app.path)
    assert dict((await exporter.view()).links)["Dashboards"] == "https://grafana.example.com"


async def test_feeds_and_strategies_lead_to_their_boards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody said where Grafana is; else their names are plain."""
    made = Exporter(tmp_path)
    file = tmp_path / "exporter.yml"
    feed = "{source: mine, symbols: [A], interval: 1m, exchange: 24/7}"
    file.write_text(f"{file.read_text()}sources: {{mine: {{type: push}}}}\nfeeds: {{f: {feed}}}\n")
    made.app = App(file, load(file), made.clock)
    async with made.running():
        view = await made.view()
        assert {row.board for row in (*view.feeds, *view.strategies)} == {""}
        assert "<strong>filed</strong>" in render(view)
        monkeypatch.setenv("QUANT_DASHBOARDS_URL", "https://grafana.example.com/")
        made.app.config = load(file)
        view = await made.view()
    boards = [row.board for row in (*view.feeds, *view.strategies)]
    assert boards == [
        f"https://grafana.example.com/d/{board}"
        for board in (
            "quant-feed?var-feed=f",
            "quant-strategy?var-strategy=filed",
            "quant-strategy?var-strategy=silent",
        )
    ]
    for board in boards:
        assert f'href="{board}"' in render(view)
        assert board.rpartition("/")[2].partition("?")[0] in BOARDS


async def test_a_total_is_shown_with_what_it_lacks(tmp_path: Path) -> None:
    """A sum without one of its strategies would look like a loss: it is a dash, and says why."""
    made = Exporter(tmp_path)
    file = tmp_path / "exporter.yml"
    file.write_text(f"{file.read_text()}portfolio: {{currency: USD}}\n")
    made.app = App(file, load(file), made.clock)
    async with made.running():
        view = await made.view()
        assert view.total
        assert view.total.equity != view.total.equity
        assert "filed has no equity yet; silent has no equity yet" in render(view)
        for name, equity in (("filed", 1500.0), ("silent", 500.0)):
            await made.services.strategies.post_equity(name, EquityPoint(NOW + 60, equity))
        view = await made.view()
        assert view.total
        assert (view.total.currency, view.total.equity, view.total.missing) == ("USD", 2000.0, ())
        assert "2,000.00" in render(view)


@pytest.mark.parametrize(
    ("drawdown", "limit", "word", "level"),
    [(0.02, 0.05, "ok", "fine"), (0.05, 0.10, "limit", "warn"), (0.12, 0.10, "limit", "bad"),
     (NAN, 0.05, "ok", "fine")],
)  # fmt: skip
def test_a_drawdown_stands_beside_the_limit_that_comes_next(
    drawdown: float, limit: float, word: str, level: str
) -> None:
    """Or the last one, when all are crossed."""
    limits = (("warning", 0.05), ("critical", 0.10))
    row = StrategyRow("s", "USD", 1.0, drawdown, updated=5.0, limits=limits)
    assert (row.limit, row.word(10.0), row.level(10.0)) == (limit, word, level)


@pytest.mark.parametrize(
    ("failures", "running", "paused", "deadline", "word"),
    [
        (3, True, None, NOW + 60, "failing"),
        (0, True, None, NOW - 60, "late"),
        (0, True, None, NOW + 60, "running"),
        (3, False, NOW + 60, NOW - 60, "paused"),
        (3, False, None, NOW - 60, "failing"),
        (0, False, None, NOW + 60, "well"),
    ],
)
def test_running_again_heals_nothing(
    failures: int, running: bool, paused: float | None, deadline: float, word: str
) -> None:
    """A task that keeps failing, or is late, stays so until it succeeds, also while it runs."""
    task = Task(command=("true",), schedule="every 5m")
    known = TaskState(last_success=NOW - 900, consecutive_failures=failures)
    shown = row(
        "t", task, known, next_slot=NOW + 60, deadline=deadline, paused_until=paused,
        notice="", running=running, now=NOW,
    )  # fmt: skip
    assert shown["state"] == word


def test_an_empty_config_is_not_green() -> None:
    """Nothing fails where nothing runs; that is no good news."""
    verdict = judge(StatusView(NOW, "UTC", "1"))
    assert verdict.level == "warn"
    assert "Nothing is configured" in verdict.matters[0].text


async def test_a_followed_file_that_cannot_be_read_is_shown(
    exporter: Exporter, tmp_path: Path
) -> None:
    """Nothing in it can alert meanwhile."""
    (tmp_path / "bot.log").mkdir()
    await exporter.services.follower.step()
    view = await exporter.view()
    assert [note for note in view.notes if note.startswith("Log file bot cannot be read: ")]
    matters = [matter for matter in judge(view).matters if matter.anchor == "troubles"]
    assert [matter.level for matter in matters] == ["warn"]
    assert "Log file bot cannot be read" in render(view)
    (tmp_path / "bot.log").rmdir()
    (tmp_path / "bot.log").write_text("")
    await exporter.services.follower.step()
    assert not (await exporter.view()).notes


def test_without_prometheus_equity_is_drawn_by_the_days_that_state_keeps() -> None:
    """A point a day, the newest of each; one day alone is no line."""
    curve, zone = EquityCurve(), ZoneInfo("UTC")
    for day, equity in ((3, 1000.0), (3, 900.0), (1, 1100.0), (0, 1050.0)):
        curve = curve.add(EquityPoint(NOW - day * DAY, equity, 0.0), zone)
        if day == 3:
            assert kept_curve(curve) is None
    drawn = kept_curve(curve)
    assert drawn is not None
    assert drawn.words == (
        "Equity of the last 30 days: 900.00 to 1,050.00, lowest 900.00, highest 1,100.00"
    )
    assert drawn.path.count("L") == 2
    assert kept_curve(None) is None
