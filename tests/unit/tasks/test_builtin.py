"""The tasks that come with the exporter, on real parts and a simulated TickDB."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry

from exporter.calendars.loader import Calendar
from exporter.config import Config, Feed, Strategy, Task
from exporter.feeds import Feeds
from exporter.messages.message import MessageTable
from exporter.metrics import Metrics
from exporter.sources import DataSource, SourceError
from exporter.state import Claim, State
from exporter.strategies.tracker import Strategies
from exporter.tasks import (
    Context,
    NoData,
    StaleData,
    end_of_day_report,
    health_check,
    key_check,
    pre_market_scan,
)
from exporter.tasks.base_context import About
from exporter.tasks.builtin.parts import Parts
from exporter.tasks.errors import Permanent
from tests.runs import ended
from tests.unit.simulation import Shelf, World, world
from tests.unit.tables import calendar
from tests.unit.tasks.posted import Posted

SYMBOLS = ("NVDA.US", "TSLA.US", "SPY.US")


def new_york(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()


class TaskBench:
    """What the tasks ask for, on a world of simulated prices."""

    def __init__(self, folder: Path, w: World, symbols: tuple[str, ...] = SYMBOLS) -> None:
        self.world, self.clock, self.folder = w, w.clock, folder
        feed = Feed(source="sim", symbols=symbols, interval="1m", exchange="XNYS")
        tasks = {
            name: Task(run=f"exporter.tasks:{name}", schedule="12:00", exchange=exchange)
            for name, exchange in (
                ("pre_market_scan", "XNYS"), ("end_of_day_report", "XNYS"),
                ("health_check", None), ("key_check", None),
            )
        }  # fmt: skip
        self.config = Config(
            state=folder / "state.db",
            feeds={"us": feed},
            tasks=tasks,
            strategies={
                "momentum": Strategy(
                    equity_file=folder / "equity.csv", max_drawdown={"warning": 0.05}
                ),
                "carry": Strategy(currency="EUR", max_age=3600.0),
            },
        )
        self.config = self.config.model_copy(
            update={"logs": self.config.logs.model_copy(update={"directory": folder / "log"})}
        )
        self.state = State.open(self.config.state, self.clock)
        self.posted = Posted()
        self.sources: dict[str, Any] = {"sim": w.source}
        metrics = Metrics(CollectorRegistry())
        self.strategies = Strategies(self.state, self.clock, metrics)
        self.feeds = Feeds(self.state, self.clock, metrics, self.sources.__getitem__, calendar)
        self.strategies.apply(self.config)
        self.feeds.apply(self.config)

    @property
    def parts(self) -> Parts:
        return Parts(
            self.config, self.state, Shelf(), self.sources, self.feeds, self.strategies,  # type: ignore[arg-type]
            self.posted,  # type: ignore[arg-type]
        )  # fmt: skip

    def source(self, name: str | None) -> DataSource:
        return self.sources[name or "sim"]

    def calendar(self, exchange: str) -> Calendar:
        return calendar(exchange)

    def context(self, task: str, **params: Any) -> Context:
        return Context(About(task, "run", None, 1, params, None), self.clock, self)

    def report(self, name: str) -> tuple[str, dict[str, Any]]:
        """A report's Markdown and JSON."""
        path = self.folder / "reports" / name
        return path.with_suffix(".md").read_text(), json.loads(
            path.with_suffix(".json").read_text()
        )

    def requests(self) -> dict[str, int]:
        return dict(self.world.simulator._counts)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[TaskBench]:
    """At 7:00 in New York on Wednesday, the day before Thanksgiving."""
    async with world(new_york("2026-11-25T07:00:00")) as w:
        built = TaskBench(tmp_path, w)
        yield built
        await built.state.close()


async def daily(bench: TaskBench, symbol: str, day: str) -> float:
    """The close that the history has for a day."""
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()
    (bar,) = await bench.world.source.history(symbol, "1d", start, start + 1)
    return bar.close


async def test_the_scan_tells_each_symbol_s_close_and_move(
    bench: TaskBench, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log and as Markdown and JSON, the largest move first."""
    with caplog.at_level(logging.INFO):
        assert await pre_market_scan(bench.context("pre_market_scan")) == 3
    text, data = bench.report("pre_market_scan-2026-11-25")
    assert "| Symbol | Previous close | Price | Move |" in text
    prices = await bench.world.source.tickers(SYMBOLS)
    for row in data["symbols"]:
        close = await daily(bench, row["symbol"], "2026-11-24")
        assert row["previous_close"] == close
        assert row["price"] == prices.good[row["symbol"]].last
        assert row["move"] == pytest.approx(row["price"] / close - 1)
    moves = [abs(row["move"]) for row in data["symbols"]]
    assert moves == sorted(moves, reverse=True)
    assert (data["problems"], data["stale"]) == ({}, [])
    logged = {r.symbol: r.previous_close for r in caplog.records if r.event == "pre_market"}
    assert set(logged) == set(SYMBOLS)


async def test_the_scan_is_stale_when_the_last_session_s_bar_is_not_there(bench: TaskBench) -> None:
    """For one symbol; it is named with the end of its newest bar, the others are in the report."""
    bench.world.simulator.faults.add({"fault": "frozen", "symbol": "TSLA.US"})
    bench.clock.set(new_york("2026-11-27T07:00:00"))
    with pytest.raises(StaleData) as raised:
        await pre_market_scan(bench.context("pre_market_scan"))
    assert str(raised.value) == (
        "no bar for the session of 2026-11-25 for TSLA.US (last bar ended 2026-11-24T21:00:00Z)"
    )
    text, data = bench.report("pre_market_scan-2026-11-27")
    assert {row["symbol"] for row in data["symbols"]} == {"NVDA.US", "SPY.US"}
    assert "- stale: TSLA.US" in text


async def test_what_the_scan_remembers_does_not_hide_that_a_bar_went_away(bench: TaskBench) -> None:
    """It went well at 7:00; then the source falls back by a day."""
    await pre_market_scan(bench.context("pre_market_scan"))
    bench.clock.set(new_york("2026-11-24T08:00:00"))
    bench.world.simulator.faults.add({"fault": "frozen"})
    bench.clock.set(new_york("2026-11-25T07:10:00"))
    with pytest.raises(StaleData, match=r"session of 2026-11-24 for NVDA.US"):
        await pre_market_scan(bench.context("pre_market_scan"))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"fault": "server_error"}, "3 of 3 symbols, NVDA.US: the source answered 5000"),
        ({"fault": "missing_symbol", "symbol": "SPY.US"}, "1 of 3 symbols, SPY.US: .* leaves"),
        ({"fault": "missing_fields", "symbol": "SPY.US"}, "1 of 3 symbols, SPY.US: .* `close` is"),
    ],
)
async def test_the_scan_has_no_data_when_the_source_has_none(
    bench: TaskBench, fault: dict[str, str], says: str
) -> None:
    """With how many symbols, and why."""
    bench.world.simulator.faults.add(fault)
    with pytest.raises(NoData, match=says):
        await pre_market_scan(bench.context("pre_market_scan"))


async def test_the_scan_goes_on_without_pre_market_prices(bench: TaskBench) -> None:
    """The close is what matters; the move is then unknown."""
    bench.world.simulator.faults.add({"fault": "server_error", "endpoint": "/market/ticker"})
    assert await pre_market_scan(bench.context("pre_market_scan")) == 3
    text, data = bench.report("pre_market_scan-2026-11-25")
    assert {row["move"] for row in data["symbols"]} == {None}
    assert "| – | – |" in text


async def test_two_scans_do_not_overwrite_each_other_s_reports(bench: TaskBench) -> None:
    """The first task in the config has the plain name, a second one its own in addition."""
    more = {**bench.config.tasks, "asia": bench.config.tasks["pre_market_scan"]}
    bench.config = bench.config.model_copy(update={"tasks": more})
    await pre_market_scan(bench.context("pre_market_scan"))
    await pre_market_scan(bench.context("asia", symbols=["AAPL.US"]))
    assert len(bench.report("pre_market_scan-2026-11-25")[1]["symbols"]) == 3
    assert len(bench.report("pre_market_scan-asia-2026-11-25")[1]["symbols"]) == 1


async def test_the_scan_takes_symbols_of_its_own(bench: TaskBench) -> None:
    """From its parameters; without any, and without a feed, it says what to do."""
    assert await pre_market_scan(bench.context("pre_market_scan", symbols=["AAPL.US"])) == 1
    bench.config = bench.config.model_copy(update={"feeds": {}})
    with pytest.raises(NoData, match=r"no feed has this exchange\. Add one, or set params"):
        await pre_market_scan(bench.context("pre_market_scan"))


async def test_the_report_of_a_half_day(bench: TaskBench, caplog: pytest.LogCaptureFixture) -> None:
    """Half an hour after 13:00 on the day after Thanksgiving: moves since Wednesday, P&L."""
    bench.clock.set(new_york("2026-11-27T13:30:00"))
    (bench.folder / "equity.csv").write_text(
        "timestamp,equity,flow\n"
        "2026-11-25T16:00:00-05:00,100000,0\n"
        "2026-11-27T10:00:00-05:00,100500,0\n"
        "2026-11-27T13:00:00-05:00,91250.5,-10000\n"
    )
    with caplog.at_level(logging.INFO):
        assert await end_of_day_report(bench.context("end_of_day_report")) == 2 + 3
    text, data = bench.report("end_of_day-2026-11-27")
    assert data["strategies"]["momentum"]["pnl_today"] == pytest.approx(1250.5)
    assert data["strategies"]["momentum"]["drawdown"] == 0
    assert data["strategies"]["carry"]["equity"] is None
    assert "| momentum | USD | 91,250.50 | 1,250.50 |" in text
    assert "| carry | EUR | – | – | – |" in text
    for row in data["symbols"]:
        assert row["previous"] == await daily(bench, row["symbol"], "2026-11-25")
        assert row["close"] == await daily(bench, row["symbol"], "2026-11-27")
        assert row["move"] == pytest.approx(row["close"] / row["previous"] - 1)
    (line,) = [r.getMessage() for r in caplog.records if r.event == "end_of_day_report"]
    assert line == (
        "2026-11-27: 2 strategies, P&L 1,250.50 USD; 3 symbols, 0 without the day's bar"
    )


async def test_the_report_before_the_close_is_of_its_own_day(bench: TaskBench) -> None:
    """The day before was a holiday: neither title nor P&L are those of two days ago. By hand it is
    what somebody wants to see; at a slot that comes too early it fails."""
    bench.clock.set(new_york("2026-11-27T11:00:00"))
    (bench.folder / "equity.csv").write_text(
        "timestamp,equity\n2026-11-25T16:00:00-05:00,100000\n2026-11-27T10:00:00-05:00,100500\n"
    )
    assert await end_of_day_report(bench.context("end_of_day_report")) == 2
    about = About("end_of_day_report", "run", bench.clock.now(), 1, {}, None)
    early = Context(about, bench.clock, bench)
    with pytest.raises(StaleData, match="the session of 2026-11-27 has not ended"):
        await end_of_day_report(early)
    text, data = bench.report("end_of_day-2026-11-27")
    assert data["strategies"]["momentum"]["pnl_today"] == pytest.approx(500)
    assert "| Strategy | Currency | Equity | P&L | Drawdown |" in text


async def test_the_report_of_a_past_session_has_that_day_s_profit(bench: TaskBench) -> None:
    """Run on Saturday it is Friday's, and a point of Saturday is not part of it."""
    (bench.folder / "equity.csv").write_text(
        "timestamp,equity\n2026-11-27T10:00:00-05:00,100000\n2026-11-27T13:00:00-05:00,100500\n"
    )
    bench.clock.set(new_york("2026-11-28T11:00:00"))
    await end_of_day_report(bench.context("end_of_day_report"))
    _, data = bench.report("end_of_day-2026-11-27")
    assert data["strategies"]["momentum"]["pnl_today"] == pytest.approx(500)
    with (bench.folder / "equity.csv").open("a") as file:
        file.write("2026-11-28T10:00:00-05:00,90000\n")
    await end_of_day_report(bench.context("end_of_day_report"))
    _, data = bench.report("end_of_day-2026-11-27")
    friday = data["strategies"]["momentum"]
    assert friday["pnl_today"] == pytest.approx(500)
    assert (friday["equity"], friday["drawdown"]) == (100_500, 0)


async def test_the_report_is_written_although_a_bar_is_missing(bench: TaskBench) -> None:
    """And then the run is stale, with the symbol in both."""
    bench.world.simulator.faults.add({"fault": "frozen", "symbol": "SPY.US"})
    bench.clock.set(new_york("2026-11-25T16:30:00"))
    with pytest.raises(
        StaleData, match=r"1 symbols without the day's bar; SPY.US: no bar for 2026"
    ):
        await end_of_day_report(bench.context("end_of_day_report"))
    text, data = bench.report("end_of_day-2026-11-25")
    assert data["problems"] == {"SPY.US": "no bar for 2026-11-25"}
    assert len(data["symbols"]) == 2
    assert "- SPY.US: no bar for 2026-11-25" in text


async def test_a_day_s_bar_that_stopped_in_the_last_hour_is_no_close(bench: TaskBench) -> None:
    """The source died at 15:20 and still shows a bar of that day; the feed knows where it ends."""
    bench.clock.set(new_york("2026-11-25T15:20:00"))
    bench.world.simulator.faults.add({"fault": "frozen", "symbol": "SPY.US"})
    bench.clock.set(new_york("2026-11-25T16:30:00"))
    await bench.feeds.poll(bench.feeds.feeds["us"])
    with pytest.raises(StaleData, match=r"SPY.US: .* incomplete: bars stop at 2026-11-25T"):
        await end_of_day_report(bench.context("end_of_day_report"))
    bench.clock.set(new_york("2026-11-27T07:00:00"))
    with pytest.raises(StaleData, match=r"for SPY.US \(bars stop at 2026-11-25T20:21:00Z\)"):
        await pre_market_scan(bench.context("pre_market_scan"))


async def test_one_daily_bar_in_a_batch_is_enough_from_the_second_day_on(tmp_path: Path) -> None:
    """500 symbols of a source that shows one: the day before is remembered, not asked for."""
    symbols = tuple(f"S{n}.US" for n in range(500))
    async with world(new_york("2026-11-24T16:30:00"), simulator={"latest_bars": 1}) as w:
        bench = TaskBench(tmp_path, w, symbols)
        await end_of_day_report(bench.context("end_of_day_report"))
        assert bench.requests()["/market/kline"] == 100  # more would not end before the timeout
        _, data = bench.report("end_of_day-2026-11-24")
        assert len(data["symbols"]) == 500
        assert sum(row["previous"] is not None for row in data["symbols"]) == 100
        bench.clock.set(new_york("2026-11-25T16:30:00"))
        await end_of_day_report(bench.context("end_of_day_report"))
        assert bench.requests()["/market/kline"] == 100
        _, data = bench.report("end_of_day-2026-11-25")
        assert all(row["previous"] is not None for row in data["symbols"])
        assert data["symbols"][7]["previous"] == await daily(bench, "S7.US", "2026-11-24")
        bench.clock.set(new_york("2026-11-27T11:00:00"))  # now it shows nothing but today's
        assert await pre_market_scan(bench.context("pre_market_scan")) == 500
        await bench.state.close()


async def test_a_healthy_house_has_no_findings(
    bench: TaskBench, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says so; nobody is alerted."""
    await bench.feeds.poll(bench.feeds.feeds["us"])
    bench.config = bench.config.model_copy(update={"strategies": {}})
    bench.strategies.apply(bench.config)
    with caplog.at_level(logging.INFO):
        assert await health_check(bench.context("health_check")) == 1 + 0 + 4 + 2
    assert [r.getMessage() for r in caplog.records if r.event in ("health", "health_finding")] == [
        "7 things checked, 0 findings"
    ]


async def test_the_health_check_finds_what_is_wrong(
    bench: TaskBench, caplog: pytest.LogCaptureFixture
) -> None:
    """A late feed, a drawdown, equity that nobody updates, a failing task; it succeeds."""
    bench.clock.set(new_york("2026-11-25T10:00:00"))
    await bench.feeds.poll(bench.feeds.feeds["us"])
    bench.clock.set(new_york("2026-11-25T10:10:00"))
    now = bench.clock.now()
    (bench.folder / "equity.csv").write_text(
        f"timestamp,equity\n{now - 90},100\n{now - 60},94\nbroken\n"
    )
    await bench.strategies.refresh()
    await bench.state.register({"pre_market_scan": "12:00"}, now)
    await bench.state.claim(Claim("r", "pre_market_scan", now, "schedule", now))
    await bench.state.finish(
        ended("r", "pre_market_scan", slot=now, started_at=now, ended_at=now, outcome="no_data")
    )
    with caplog.at_level(logging.INFO):
        assert await health_check(bench.context("health_check")) == 1 + 2 + 4 + 2
    found = [r.getMessage() for r in caplog.records if r.event == "health_finding"]
    assert found == [
        "feed us: NVDA.US overdue for 7m 30s, last bar 2026-11-25T15:00:00Z, and 2 more",
        "strategy momentum: line 4 of equity.csv: 1 cells where the header has 2",
        "strategy momentum: drawdown 6.00%, limit 5.00%",
        "strategy carry: no equity for over 1h",
        "task pre_market_scan: 1 failures in a row, last success never",
    ]
    assert {r.levelname for r in caplog.records if r.event == "health_finding"} == {"WARNING"}


class Mute:
    """A source that does not tell."""

    name, key_expiry = "mute", math.nan

    async def subscription(self) -> float:
        raise SourceError("auth", "the source answered 1001: bad key", code=1001)


async def test_the_keys_of_all_sources_are_checked(
    bench: TaskBench, caplog: pytest.LogCaptureFixture
) -> None:
    """One that does not tell, or ends within three days, fails the run once all were asked."""
    bench.sources.clear()
    bench.sources |= {"mute": Mute(), "sim": bench.world.source}
    with caplog.at_level(logging.INFO), pytest.raises(SourceError, match="1001"):
        await key_check(bench.context("key_check"))
    assert bench.world.source.key_expiry == bench.clock.now() + 90 * 86400
    del bench.sources["mute"]
    bench.clock.advance(85 * 86400)
    assert await key_check(bench.context("key_check")) == 1
    for days in (3, 3):
        bench.clock.advance(days * 86400)
        with pytest.raises(Permanent, match="the key of sim"):
            await key_check(bench.context("key_check"))
    said = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "task.key_check"]
    assert said == [
        (
            "WARNING",
            "mute does not say when its key expires: the source answered 1001: bad key",
        ),
        ("INFO", "the key of sim expires in 90d (2027-02-23T12:00:00Z)"),
        ("WARNING", "the key of sim expires in 5d (2027-02-23T12:00:00Z)"),
        ("WARNING", "the key of sim expires in 2d (2027-02-23T12:00:00Z)"),
        ("WARNING", "the key of sim has expired (2027-02-23T12:00:00Z)"),
    ]


async def test_a_scan_is_sent_with_the_largest_move_first(bench: TaskBench) -> None:
    """An incomplete one at once, with what is missing; the complete one after it."""
    tasks = {
        name: task.model_copy(update={"report_to": ("chat",)})
        for name, task in bench.config.tasks.items()
    }
    bench.config = bench.config.model_copy(update={"tasks": tasks})
    bench.world.simulator.faults.add({"fault": "missing_symbol", "symbol": "SPY.US"})
    with pytest.raises(NoData):
        await pre_market_scan(bench.context("pre_market_scan"))
    bench.world.simulator.faults.remove()
    await pre_market_scan(bench.context("pre_market_scan"))
    (first, to, key), (second, _, other) = bench.posted.messages
    assert (first.title, to) == ("Pre-market scan, 2026-11-25", ("chat",))
    assert (key, other) == ("pre_market_scan|incomplete|run", "pre_market_scan|complete|run")
    table, problem = first.parts
    assert isinstance(table, MessageTable)
    assert len(table.rows) == 2
    assert str(problem).startswith("SPY.US: ")
    (table,) = second.parts
    assert isinstance(table, MessageTable)
    _, data = bench.report("pre_market_scan-2026-11-25")
    assert [row[0] for row in table.rows] == [row["symbol"] for row in data["symbols"]]
    assert set(second.charts[0].series) == set(SYMBOLS)


async def test_the_end_of_day_is_sent_with_the_curve_of_the_last_reports(bench: TaskBench) -> None:
    """P&L by currency, strategies, moves; the equity of a day without a report is a gap."""
    equity = bench.folder / "equity.csv"
    equity.write_text("timestamp,equity\n2026-11-25T16:00:00-05:00,100000\n")
    bench.clock.set(new_york("2026-11-25T16:30:00"))
    await end_of_day_report(bench.context("end_of_day_report"))
    equity.write_text(equity.read_text() + "2026-11-27T13:00:00-05:00,90000\n")
    bench.clock.set(new_york("2026-11-27T13:30:00"))
    await end_of_day_report(bench.context("end_of_day_report"))
    message, to, _ = bench.posted.messages[-1]
    assert to == ()
    assert message.title == "End of day, 2026-11-27"
    assert message.parts[0] == "P&L -10,000.00 USD"
    strategies, moves = message.parts[1:]
    assert isinstance(strategies, MessageTable)
    assert strategies.rows[0] == ("momentum", "-10,000.00", "10.00%")
    assert isinstance(moves, MessageTable)
    assert len(moves.rows) == 3
    assert message.charts[0].series == {"momentum": [0.0, pytest.approx(-0.1)]}
