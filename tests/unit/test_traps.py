"""What programs of this kind get wrong, trap by trap. Each is tested in depth elsewhere."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from exporter.calendars.loader import Calendars
from exporter.config import Config, Logs, Strategy, Task
from exporter.config import schedule_syntax as timetable
from exporter.logs.digest.build import build
from exporter.logs.digest.facts import Request
from exporter.logs.files import files_of
from exporter.metrics import Metrics
from exporter.runner.runner import Runner
from exporter.scheduling.scheduler import Scheduler
from exporter.scheduling.slots import slots
from exporter.sources import SourceError
from exporter.state import State
from exporter.strategies.equity_point import EquityPoint
from exporter.strategies.tracker import Strategies
from exporter.tasks.builtin.closes import closed
from exporter.util.backoff import retry_after_seconds
from exporter.util.clock import Clock
from tests.unit.clocks import ManualClock
from tests.unit.feeds.test_poller import PollerBench
from tests.unit.own_log import own_log
from tests.unit.simulation import world
from tests.unit.tables import calendar
from tests.unit.tickdb_server import NOW, Bench, error, good, row, series

NEW_YORK = ZoneInfo("America/New_York")
ROOT = Path(__file__).parents[2]


def at(text: str) -> float:
    """New York time to Unix seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()


def runs_of(schedule: str, first: str, last: str, exchange: str | None = None) -> list[str]:
    """When it runs, in New York."""
    found = slots(
        timetable.parse(schedule), NEW_YORK, calendar(exchange) if exchange else None,
        at(first), at(last),
    )  # fmt: skip
    return [
        f"{datetime.fromtimestamp(slot.at, NEW_YORK):%a %d %H:%M}"
        for slot in found
        if slot.skip is None
    ]


async def test_a_slot_missed_while_the_process_was_down_is_caught_up(tmp_path: Path) -> None:
    """A scheduler that computes the next time from now forgets it, with and without a store."""
    clock = ManualClock(at("2026-11-24T06:59"))
    for moment in ("2026-11-24T06:59", "2026-11-24T07:40", "2026-11-24T07:41"):
        clock.set(at(moment))
        ran = await one_life(tmp_path, clock)
    assert ran == [("scan", at("2026-11-24T07:00"), "catch_up")]


async def one_life(folder: Path, clock: Clock) -> list[tuple[str, float | None, str]]:
    """A process starts, catches up, and is gone; all runs until then."""
    state = State.open(folder / "state.db", clock)
    metrics = Metrics(CollectorRegistry())
    code = folder / "mine.py"
    code.write_text("async def scan(): return 1\n")
    task = Task(run="mine:scan", schedule="07:00", grace=3600.0)
    config = Config(tasks={"scan": task}, code=(folder,), timezone="America/New_York")
    services = SimpleNamespace(calendar=None)
    runner = Runner(state, metrics, clock, services, folder=folder)  # type: ignore[arg-type]
    scheduler = Scheduler(state, runner, Calendars(folder, {}, clock), clock, metrics)
    runner.apply(config)
    await scheduler.apply(config)
    await scheduler.start()
    await runner.drain(20.0)
    await scheduler.stop()
    claimed = [(run.task, run.slot, run.trigger) for run in await state.history.runs(0.0)]
    await state.close()
    return claimed


def test_holidays_are_left_out_and_the_report_follows_the_real_close() -> None:
    """Thanksgiving, and the day after, on which trading ends at 13:00."""
    week = ("2026-11-25T12:00", "2026-11-28T00:00", "XNYS")
    assert runs_of("mon-fri 07:00", *week) == ["Fri 27 07:00"]
    assert runs_of("close + 30m", *week) == ["Wed 25 16:30", "Fri 27 13:30"]


def test_weekdays_are_names_and_in_a_crontab_sunday_is_0() -> None:
    """In crontab's 1-5 the week begins on Sunday or on Monday, depending on who reads it."""
    week = runs_of("mon-fri 12:00", "2026-11-23T00:00", "2026-11-30T00:00")
    assert [run[:3] for run in week] == ["Mon", "Tue", "Wed", "Thu", "Fri"]
    assert runs_of("0 12 * * 1-5", "2026-11-23T00:00", "2026-11-30T00:00") == week


def test_a_repeated_hour_runs_once_and_a_missing_one_at_its_end() -> None:
    """01:30 on the day in autumn, 02:30 on the one in spring."""
    assert runs_of("01:30", "2026-11-01T00:00", "2026-11-02T00:00") == ["Sun 01 01:30"]
    assert runs_of("02:30", "2026-03-08T00:00", "2026-03-09T00:00") == ["Sun 08 03:00"]


async def test_the_newest_bars_are_asked_for_and_read_as_they_are_documented() -> None:
    """The parameter is `symbols`, the answer a list, prices are strings."""
    bench = Bench()
    async with bench.client() as source:
        bars = (await source.latest(["A.US", "B.US"], "1m")).good
    (asked,) = bench.server.requests
    assert asked.query["symbols"] == "A.US,B.US"
    assert "symbol" not in asked.query
    assert {symbol: type(found[-1].close) for symbol, found in bars.items()} == {
        "A.US": float, "B.US": float,
    }  # fmt: skip


async def test_a_bar_that_still_forms_is_no_close() -> None:
    """At noon the last daily bar is today's: yesterday's is the previous close."""
    async with world(at("2026-11-24T12:00")) as w:
        bars = await w.source.recent("NVDA.US", "1d", 5)
    days = closed(bars, calendar("XNYS"), at("2026-11-24T12:00"))
    assert max(days) == at("2026-11-23T16:00")


async def test_bars_lie_below_klines() -> None:
    """The length of `data` is the number of its keys."""
    bench = Bench()
    bars = [row(NOW - 60 * n) for n in (3, 2, 1)]
    bench.server.script = [lambda _: good({"type": "stock", **series("A.US", bars)})]
    async with bench.client() as source:
        assert len(await source.recent("A.US", "1m", 3)) == 3


async def test_ninety_days_of_hours_are_more_than_one_page() -> None:
    """1000 bars are the most that a request brings."""
    async with world() as w:
        end = math.floor(w.clock.now() / 3600) * 3600
        bars = await w.source.history("BTCUSDT", "1h", end - 90 * 86400, end)
    assert len({bar.start for bar in bars}) == len(bars) == 90 * 24


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3.0), ("1.5", 1.5), ("Mon, 21 Sep 2026 14:13:30 GMT", 10.0)]
)
def test_retry_after_comes_in_three_forms(text: str, seconds: float) -> None:
    """int() raises on two of them."""
    now = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC).timestamp()
    assert retry_after_seconds({"Retry-After": text}, now) == seconds


async def test_a_limit_s_end_in_the_body_is_honoured() -> None:
    """`reset_at` in Unix seconds, where there is no header."""
    bench = Bench()
    limited = error(3001, "Rate limit exceeded", data={"reset_at": NOW + 7})
    bench.server.script = [lambda _: limited, *bench.server.script]
    async with bench.client() as source:
        assert (await source.latest(["A.US"], "1m")).good
    assert 7 - 1e-6 <= sum(bench.slept) < 15


async def test_what_may_pass_is_asked_again_after_a_random_while() -> None:
    """A 5xx and a refused connection, too; no two clients come back in step."""
    bench = Bench()
    down = [web.Response(status=503) for _ in range(3)]
    bench.server.script = [*(lambda _, one=one: one for one in down), *bench.server.script]
    async with bench.client() as source:
        assert (await source.latest(["A.US"], "1m")).good
    assert len(bench.slept) == 3
    assert all(pause != round(pause) for pause in bench.slept)
    bench = Bench(retries=2)
    async with bench.client(url="http://127.0.0.1:9") as source:
        assert (await source.latest(["A.US"], "1m")).bad["A.US"].reason == "connect"
    labels = {"source": "main", "endpoint": "/market/kline/latest"}
    assert bench.value("quant_fetch_retries_total", **labels) == 2


async def test_an_error_page_is_a_counted_failure() -> None:
    """HTML where JSON should be."""
    bench = Bench(retries=0)
    bench.server.script = [lambda _: web.Response(text="<html>", content_type="text/html")]
    async with bench.client() as source:
        answer = await source.latest(["A.US"], "1m")
    assert isinstance(answer.bad["A.US"], SourceError)
    assert bench.failures() == {"malformed": 1.0}


@pytest.mark.parametrize("moment", ["2026-11-25T03:00", "2026-11-26T15:00", "2026-11-29T15:00"])
async def test_nothing_is_stale_while_the_exchange_is_closed(moment: str) -> None:
    """At night, on Thanksgiving, on a Sunday: the newest bar is hours old, and all is well."""
    bench = PollerBench(moment)
    bench.feeds = bench.restart()
    await bench.feeds.poll(bench.feed)
    labels = {"feed": "f", "symbol": "A.US"}
    assert bench.registry.get_sample_value("quant_data_overdue_seconds", labels) == 0


def test_a_healthy_check_tells_nobody() -> None:
    """Forty-eight messages a day: a success is announced only where that is asked for."""
    config = Config(tasks={"t": Task(run="m:f", schedule="every 30m")})
    assert not config.tasks["t"].announce
    rules = (ROOT / "prometheus/rules/quant.yml").read_text()
    assert "quant_task_announced == 1" in rules.partition("alert: QuantTaskSucceeded")[2]


async def test_the_digest_counts_what_the_logs_say_also_after_midnight(tmp_path: Path) -> None:
    """A line is in the file of its own day, and its text where the digest looks for it."""
    clock = ManualClock(at("2026-11-24T23:59:58"))
    with own_log(Logs(directory=tmp_path), clock):
        for moment, text in (("2026-11-24T23:59:59", "before"), ("2026-11-25T00:00:01", "after")):
            record = logging.makeLogRecord({"name": "mine", "levelno": 40, "levelname": "ERROR"})
            record.msg, record.created = text, at(moment)
            clock.set(at(moment))
            logging.getLogger("mine").handle(record)
    assert [str(file.day) for file in files_of(tmp_path, "exporter")] == [
        "2026-11-24", "2026-11-25",
    ]  # fmt: skip
    for day, text in ((24, "before"), (25, "after")):
        start = at(f"2026-11-{day}T00:00")
        digest = build(Request(tmp_path, "America/New_York", start, start + 86400, "d", tmp_path))
        assert [(error.example, error.count) for error in digest.errors] == [(text, 1)]


async def test_a_peak_survives_a_restart_and_a_withdrawal_is_no_loss(tmp_path: Path) -> None:
    """100, then 90 is a drawdown of a tenth; taking 45 out of 90 leaves it so."""
    clock = ManualClock()
    config = Config(strategies={"m": Strategy()})
    found = []
    for points in ([(100.0, 0.0), (90.0, 0.0)], [(45.0, -45.0)], []):
        state = State.open(tmp_path / "state.db", clock)
        strategies = Strategies(state, clock, Metrics(CollectorRegistry()))
        strategies.apply(config)
        for equity, flow in points:
            clock.advance(60)
            await strategies.post_equity("m", EquityPoint(clock.now(), equity, flow))
        found.append(strategies.curves["m"].drawdown)
        await state.close()
    assert found == pytest.approx([0.1, 0.1, 0.1])


def test_the_service_reaches_its_program_and_a_release_is_a_folder() -> None:
    """A hidden /home with the program in it cannot start; a detached checkout cannot be pulled."""
    unit = (ROOT / "deploy/systemd/quant-exporter.service").read_text()
    assert "ProtectHome=yes" in unit
    assert "ExecStart=/opt/quant/current/" in unit
    code = "".join(file.read_text() for file in (ROOT / "deploy").rglob("*.py"))
    assert "git checkout" not in code
    assert "git pull" not in code
