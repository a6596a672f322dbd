"""Feeds: when they ask, what they remember, and how overdue a symbol is at every moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry

from exporter.calendars.loader import Calendar
from exporter.config import Config, Feed
from exporter.feeds import SETTLE, Feeds, FeedState, SymbolState, spread_ratio
from exporter.metrics import Metrics
from exporter.sources.base import Answer, Bar, SourceError, Ticker
from tests.unit.clocks import ManualClock
from tests.unit.tables import calendar

NEW_YORK = ZoneInfo("America/New_York")


def at(text: str) -> float:
    """New York time to Unix seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()


class FakeState:
    """What feeds ask of state."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.written = 0

    def kept(self, kind: str) -> dict[str, Any]:
        return self.rows.get(kind, {})

    async def keep_many(self, rows: Sequence[tuple[str, str, Any]]) -> None:
        self.written += len(rows)
        for kind, name, value in rows:
            self.rows.setdefault(kind, {})[name] = value


class FakeSource:
    """Bars up to a moment; asked symbols are noted."""

    name, simulated, has_tickers, key_expiry = "s", False, True, math.nan

    def __init__(self, clock: ManualClock, of: Calendar, interval: str) -> None:
        self.clock, self.calendar, self.interval = clock, of, interval
        self.dead_since = math.inf
        self.only_forming = False
        self.error: SourceError | None = None
        self.asked: list[list[str]] = []

    def bars(self, symbol: str, count: int) -> list[Bar]:
        """Every minute of the last two hours, the last one forming."""
        now = min(self.clock.now(), self.dead_since)
        last = math.floor(now / 60) * 60
        starts = [last - 60 * n for n in range(count - 1, -1, -1)]
        starts = [s for s in starts if self.calendar.is_open(s)]
        return [Bar(symbol, s, 100, 101, 99, 100.5, 10) for s in starts]

    async def latest(self, symbols: Sequence[str], interval: str) -> Answer[list[Bar]]:
        self.asked.append(list(symbols))
        if self.error:
            return Answer({}, dict.fromkeys(symbols, self.error))
        return Answer({s: self.bars(s, 1 if self.only_forming else 3) for s in symbols}, {})

    async def recent(self, symbol: str, interval: str, limit: int) -> list[Bar]:
        return self.bars(symbol, limit)

    async def tickers(self, symbols: Sequence[str]) -> Answer[Ticker]:
        now = self.clock.now()
        return Answer({s: Ticker(s, 100, 99.9, 100.1, now) for s in symbols}, {})


class PollerBench:
    """One feed on a moved clock."""

    def __init__(self, now: str, interval: str = "1m", **more: Any) -> None:
        self.clock = ManualClock(at(now))
        self.calendar = calendar("XNYS")
        self.source = FakeSource(self.clock, self.calendar, interval)
        self.registry = CollectorRegistry()
        self.state = FakeState()
        self.config = Config(
            feeds={
                "f": Feed(
                    source="s", symbols=("A.US", "B.US"), interval=interval, exchange="XNYS", **more
                )
            }
        )
        self.feeds = self.restart()

    def restart(self) -> Feeds:
        """A new process on the same state."""
        self.registry = CollectorRegistry()
        self.feeds = Feeds(
            self.state,
            self.clock,
            Metrics(self.registry),
            lambda _: self.source,
            lambda _: self.calendar,
        )  # type: ignore[arg-type]
        self.feeds.apply(self.config)
        return self.feeds

    @property
    def feed(self) -> FeedState:
        """The one feed."""
        return self.feeds.feeds["f"]

    async def poll(self) -> None:
        """Once, now."""
        await self.feeds.poll(self.feed)

    def value(self, name: str, **labels: str) -> float:
        """As a scrape shows it."""
        labels = {"feed": "f", **labels}
        value = self.registry.get_sample_value(name, labels)
        assert value is not None, (name, labels)
        return value

    def overdue(self) -> float:
        """Of A.US."""
        return self.value("quant_data_overdue_seconds", symbol="A.US")


async def test_the_newest_closed_bar_counts_and_the_forming_one_does_not() -> None:
    """At 10:00:30 the bar of 09:59 is closed, that of 10:00 is forming."""
    bench = PollerBench("2026-11-24T10:00:30")
    await bench.poll()
    last = bench.value("quant_data_last_bar_timestamp_seconds", symbol="A.US")
    assert last == at("2026-11-24T10:00:00")
    assert bench.value("quant_data_age_seconds", symbol="A.US") == 30
    assert bench.value("quant_data_close_price", symbol="A.US") == 100.5
    assert bench.overdue() == 0
    assert bench.value("quant_data_spread_ratio", symbol="A.US") == pytest.approx(0.002)


async def test_a_poll_that_brings_no_bar_writes_nothing() -> None:
    """Also while a symbol has never had one."""
    bench = PollerBench("2026-11-24T10:00:30")
    bench.source.error = SourceError("connect", "refused", retryable=True)
    await bench.poll()
    assert bench.state.written == 2
    await bench.poll()
    assert bench.state.written == 2

    bench.source.error = None
    await bench.poll()
    assert bench.state.written == 4
    bench.clock.advance(20)
    await bench.poll()
    assert bench.state.written == 4


async def test_a_source_that_shows_the_forming_bar_alone_is_asked_for_its_predecessor() -> None:
    """Otherwise no bar would ever be closed."""
    bench = PollerBench("2026-11-24T10:00:30")
    bench.source.only_forming = True
    bench.clock.advance(120)
    await bench.poll()
    assert bench.value("quant_data_last_bar_timestamp_seconds", symbol="B.US") == at(
        "2026-11-24T10:02:00"
    )


async def test_overdue_grows_from_the_moment_the_first_missing_bar_is_late() -> None:
    """The newest bar ended at 10:00; the next ends at 10:01 and is due at 10:02:30."""
    bench = PollerBench("2026-11-24T10:00:30")
    await bench.poll()
    bench.clock.set(at("2026-11-24T10:02:30"))
    assert bench.overdue() == 0
    bench.clock.advance(1)
    assert bench.overdue() == 1
    assert bench.value("quant_feed_missing_bars") == 2  # one bar of each symbol


async def test_nothing_is_overdue_at_night_on_a_holiday_and_after_an_early_close() -> None:
    """The day before Thanksgiving to the half day after it and over the weekend."""
    bench = PollerBench("2026-11-25T15:59:30")
    for moment in (
        "2026-11-25T16:00:30", "2026-11-25T23:00:00", "2026-11-26T12:00:00", "2026-11-27T09:00:00",
    ):  # fmt: skip
        bench.clock.set(at(moment))
        if moment == "2026-11-25T16:00:30":
            await bench.poll()
        assert bench.overdue() == 0, moment
        assert bench.value("quant_feed_missing_bars") == 0
    bench.clock.set(at("2026-11-27T13:00:05"))
    await bench.poll()
    for moment in ("2026-11-27T15:30:00", "2026-11-28T12:00:00", "2026-11-30T09:31:00"):
        bench.clock.set(at(moment))
        assert bench.overdue() == 0, moment


async def test_a_feed_that_dies_in_the_last_hour_stays_overdue_through_the_night() -> None:
    """It keeps growing until the bar is there, and is 0 again at once when it comes."""
    bench = PollerBench("2026-11-24T15:10:05")
    await bench.poll()
    bench.source.dead_since = bench.clock.now()
    bench.clock.set(at("2026-11-24T15:20:00"))
    await bench.poll()
    # The bar that was forming when it died came to its end; the next one never came.
    assert bench.overdue() == at("2026-11-24T15:20:00") - at("2026-11-24T15:13:30")
    bench.clock.set(at("2026-11-25T03:00:00"))
    await bench.poll()
    assert bench.overdue() == at("2026-11-25T03:00:00") - at("2026-11-24T15:13:30")
    bench.source.dead_since = math.inf
    bench.clock.set(at("2026-11-25T09:31:30"))
    await bench.poll()
    assert bench.overdue() == 0


async def test_a_daily_bar_is_due_after_the_close_and_grows_over_the_weekend() -> None:
    """Its session ends at 16:00 on Friday; with 90 s of delay it is late from 16:01:30."""
    bench = PollerBench("2026-11-19T12:00:00", "1d")
    known = bench.feed.known
    bench.feed.known = {
        s: type(k)(k.since, at("2026-11-19T16:00:00"), 100) for s, k in known.items()
    }
    bench.clock.set(at("2026-11-20T16:01:30"))
    assert bench.overdue() == 0
    bench.clock.set(at("2026-11-22T16:01:30"))
    assert bench.overdue() == 2 * 86400
    assert bench.value("quant_feed_missing_bars") == 2


async def test_before_the_first_bar_nothing_older_than_our_start_is_missed() -> None:
    """A first start on a dead source at noon: what ends afterwards is due."""
    bench = PollerBench("2026-11-24T12:00:10")
    bench.source.error = SourceError("connect", "refused", retryable=True)
    await bench.poll()
    assert math.isnan(bench.value("quant_data_last_bar_timestamp_seconds", symbol="A.US"))
    bench.clock.set(at("2026-11-24T12:03:30"))
    assert bench.overdue() == 60


async def test_what_is_known_survives_a_restart() -> None:
    """Also of a symbol that never had a bar: when we began to wait for it."""
    bench = PollerBench("2026-11-24T10:00:30")
    await bench.poll()
    bench.clock.advance(600)
    bench.restart()
    assert bench.value("quant_data_close_price", symbol="A.US") == 100.5
    assert bench.overdue() == 600 + 30 - 60 - 90


async def test_another_interval_is_another_series() -> None:
    """After a reload from 1m to 5m the old newest bar says nothing."""
    bench = PollerBench("2026-11-24T10:00:30")
    await bench.poll()
    feed = bench.config.feeds["f"].model_copy(update={"interval": "5m"})
    bench.config = bench.config.model_copy(update={"feeds": {"f": feed}})
    bench.feeds.apply(bench.config)
    assert math.isnan(bench.value("quant_data_close_price", symbol="A.US"))


async def test_a_spread_that_nobody_renews_is_no_spread() -> None:
    """NaN once it is old, or the exchange is closed."""
    bench = PollerBench("2026-11-24T15:58:00")
    await bench.poll()
    bench.clock.advance(181)
    assert math.isnan(bench.value("quant_data_spread_ratio", symbol="A.US"))


async def test_a_spread_that_is_watched_is_asked_for_all_day() -> None:
    """Also by a feed of daily bars: the wide one at the open does not stand until the close."""
    bench = PollerBench("2026-11-24T09:30:02", "1d", max_spread={"warning": "0.5%"})
    await bench.poll()
    assert bench.feed.next_poll(bench.clock.now()) == at("2026-11-24T09:35:02")
    bench.clock.set(at("2026-11-24T09:35:02"))
    await bench.poll()
    assert bench.feed.last_full == bench.clock.now()
    unwatched = PollerBench("2026-11-24T09:30:02", "1d")
    await unwatched.poll()
    assert unwatched.feed.next_poll(unwatched.clock.now()) == at("2026-11-24T16:00:02")


async def test_a_feed_is_polled_when_it_matters() -> None:
    """At each bar's end while open; not at night; at the open; often while a bar is missing."""
    bench = PollerBench("2026-11-24T10:00:30")
    assert bench.feed.next_poll(bench.clock.now()) == bench.clock.now()
    await bench.poll()
    assert bench.feed.next_poll(bench.clock.now()) == at("2026-11-24T10:01:00") + SETTLE
    bench.clock.set(at("2026-11-24T16:00:02"))
    await bench.poll()
    bench.clock.set(bench.feed.next_poll(bench.clock.now()))
    assert bench.clock.now() == at("2026-11-24T16:01:30")  # the closing auction's price is in then
    await bench.poll()
    assert bench.feed.next_poll(bench.clock.now()) >= at("2026-11-25T09:30:00")
    bench.clock.set(at("2026-11-25T10:00:02"))
    bench.source.dead_since = at("2026-11-25T09:50:00")
    await bench.poll()
    assert bench.feed.next_poll(bench.clock.now()) == pytest.approx(bench.clock.now() + 15)


async def test_a_longer_poll_than_the_interval_saves_requests() -> None:
    """Every five minutes, at a bar's end; sooner only while the newest of those is not there."""
    bench = PollerBench("2026-11-24T10:00:02", poll="5m")
    await bench.poll()
    assert bench.feed.next_poll(bench.clock.now()) == at("2026-11-24T10:05:00") + SETTLE
    bench.clock.set(at("2026-11-24T10:05:02"))
    await bench.poll()
    assert bench.source.asked[-1] == ["A.US", "B.US"]
    assert bench.feed.next_poll(bench.clock.now()) == at("2026-11-24T10:10:00") + SETTLE
    bench.source.dead_since = at("2026-11-24T10:08:30")
    bench.clock.set(at("2026-11-24T10:10:02"))
    await bench.poll()
    assert bench.feed.next_poll(bench.clock.now()) == at("2026-11-24T10:10:32")


async def test_a_symbol_that_a_reload_adds_is_expected_from_then_on() -> None:
    """The others keep what is known of them."""
    bench = PollerBench("2026-11-24T10:00:30")
    await bench.poll()
    bench.clock.set(at("2026-11-24T12:00:30"))
    feed = bench.config.feeds["f"].model_copy(update={"symbols": ("A.US", "C.US")})
    bench.config = bench.config.model_copy(update={"feeds": {"f": feed}})
    bench.feeds.apply(bench.config)
    assert bench.overdue() == at("2026-11-24T12:00:30") - at("2026-11-24T10:02:30")
    assert bench.value("quant_data_overdue_seconds", symbol="C.US") == 0
    assert set(bench.feed.known) == {"A.US", "C.US"}
    bench.clock.set(at("2026-11-24T12:02:31"))
    assert bench.value("quant_data_overdue_seconds", symbol="C.US") == 1


async def test_an_hourly_feed_is_asked_right_after_its_bars_end() -> None:
    """Bars are aligned to the open: 10:30, not 11:00."""
    bench = PollerBench("2026-11-24T10:05:00", "1h")
    await bench.poll()
    assert bench.feed.next_poll(bench.clock.now()) == at("2026-11-24T10:30:00") + SETTLE
    bench.feed.last_poll = bench.feed.last_full = at("2026-11-24T10:30:02")
    end = at("2026-11-24T10:30:00")
    bench.feed.known = {s: SymbolState(0.0, end, 100.0, end) for s in bench.feed.known}
    # And once more for the same bar, when all its trades are in.
    assert bench.feed.next_poll(at("2026-11-24T10:30:03")) == at("2026-11-24T10:31:30")
    bench.feed.last_poll = at("2026-11-24T10:31:30")
    assert bench.feed.next_poll(at("2026-11-24T10:31:31")) == at("2026-11-24T11:30:00") + SETTLE


async def test_missing_symbols_alone_are_asked_for_between_polls() -> None:
    """A slow symbol must not cost the budget of all."""
    bench = PollerBench("2026-11-24T10:00:30")
    await bench.poll()
    known = dict(bench.feed.known)
    bench.clock.set(at("2026-11-24T10:01:03"))
    await bench.poll()
    bench.feed.known = {**known, "B.US": bench.feed.known["B.US"]}
    bench.clock.advance(15)
    await bench.poll()
    assert bench.source.asked[-1] == ["A.US"]


async def test_the_wall_clock_set_back_asks_at_once() -> None:
    """Rather than waiting for a moment that lies hours ahead."""
    bench = PollerBench("2026-11-24T10:00:30")
    await bench.poll()
    bench.clock.jump(-8 * 3600)
    assert bench.feed.next_poll(bench.clock.now()) == bench.clock.now()


async def test_limits_are_metrics_and_no_limit_is_no_series() -> None:
    """So the rules never change."""
    bench = PollerBench("2026-11-24T10:00:30", max_overdue={"critical": "2h"})
    assert bench.value("quant_feed_overdue_limit_seconds", severity="critical") == 7200
    labels = {"feed": "f", "severity": "warning"}
    assert bench.registry.get_sample_value("quant_feed_overdue_limit_seconds", labels) is None
    assert bench.registry.get_sample_value("quant_feed_spread_limit_ratio", labels) is None


@pytest.mark.parametrize(
    ("bid", "ask", "spread"),
    [
        (99.0, 101.0, 0.02),
        (101.0, 99.0, 0.02),
        (None, 101.0, math.nan),
        (0.0, 0.0, math.nan),
        (1.7e308, 1e308, 0.5185),
    ],
)
def test_spread_is_relative_to_the_middle(bid: float | None, ask: float, spread: float) -> None:
    """And unknown when a side is not quoted; a crossed book is not a narrow one."""
    ratio = spread_ratio(Ticker("A.US", 100, bid, ask, 0))
    assert ratio == pytest.approx(spread, nan_ok=True, rel=1e-4)


async def test_a_quote_that_is_repeated_for_long_is_no_spread() -> None:
    """A source whose quotes stand still answers, and nothing watches the spread."""
    bench = PollerBench("2026-11-24T10:00:30")
    await bench.poll()
    assert bench.value("quant_data_spread_ratio", symbol="A.US") > 0
    quoted = bench.clock.now()
    real = bench.source.tickers

    async def old(symbols: Sequence[str]) -> Answer[Ticker]:
        answer = await real(symbols)
        return replace(answer, good={s: replace(t, at=quoted) for s, t in answer.good.items()})

    bench.source.tickers = old  # type: ignore[method-assign]
    for seconds, known in ((800, True), (200, False)):
        bench.clock.advance(seconds)
        await bench.poll()
        assert math.isnan(bench.value("quant_data_spread_ratio", symbol="A.US")) != known
