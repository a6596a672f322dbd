"""500 symbols at one minute within sixty requests a minute, however much `kline/latest` shows."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from exporter.config import Config, Feed
from exporter.feeds import Feeds, FeedState
from exporter.sources.tickdb import TickDB
from tests.unit.feeds.test_poller import FakeState
from tests.unit.tables import calendar
from tests.unit.tickdb_server import NOW, Bench, good, row, series

SYMBOLS = tuple(f"S{n}USDT" for n in range(500))
MINUTE = 60.0
START = NOW - NOW % MINUTE + 30.0


class Minutes:
    """A TickDB that shows the newest `shown` minutes, `lag` seconds late; the last one forms."""

    def __init__(self, bench: Bench, shown: int, lag: float = 0.0) -> None:
        self.bench, self.shown, self.lag = bench, shown, lag
        self.times: list[float] = []
        self.alone = 0

    def __call__(self, request: web.Request) -> web.Response:
        now = self.bench.clock.now()
        self.times.append(now)
        if request.path.endswith("ticker"):
            rows = [
                {"symbol": s, "last_price": "1", "timestamp": int(now * 1000)}
                for s in request.query["symbols"].split(",")
            ]
            return good(rows)
        newest = math.floor((now - self.lag) / MINUTE) * MINUTE
        if "symbol" in request.query:
            self.alone += 1
            return good(series(request.query["symbol"], self.rows(newest, 3)))
        symbols = request.query["symbols"].split(",")
        return good([series(s, self.rows(newest, self.shown)) for s in symbols])

    def rows(self, newest: float, count: int) -> list[dict[str, Any]]:
        return [row(newest - MINUTE * back, 100 + back) for back in range(count - 1, -1, -1)]

    def most_in_a_minute(self) -> int:
        return max(sum(start <= at < start + 60 for at in self.times) for start in self.times)


class Running:
    """The feed of 500 symbols on a real client, polled as the poller does."""

    def __init__(self, bench: Bench, source: TickDB, **more: Any) -> None:
        self.bench = bench
        more = {"interval": "1m", **more}
        feed = Feed(source="main", symbols=SYMBOLS, exchange="24/7", **more)
        config = Config(feeds={"f": feed}, sources={"main": bench.settings})
        self.feeds = Feeds(
            FakeState(),  # type: ignore[arg-type]
            bench.clock,
            bench.metrics,
            lambda _: source,
            lambda _: calendar("24/7"),
        )
        self.feeds.apply(config)

    @property
    def feed(self) -> FeedState:
        return self.feeds.feeds["f"]

    async def minutes(self, count: float) -> Iterator[float]:
        """Poll until `count` minutes have passed; the worst overdue of every moment asked."""
        clock, worst = self.bench.clock, []
        end = clock.now() + count * MINUTE
        while (at := self.feed.next_poll(clock.now())) < end:
            if at > clock.now():
                clock.set(at)
            worst.append(max(self.feed.overdue(k, clock.now()) for k in self.feed.known.values()))
            await self.feeds.poll(self.feed)
        return iter(worst)


@pytest.mark.parametrize("shown", [1, 2, 3])
@pytest.mark.parametrize("lag", [0.0, 20.0])
async def test_500_symbols_stay_fresh_within_their_budget(shown: int, lag: float) -> None:
    """Nothing is ever overdue, no request runs into the limit, and tasks have room left."""
    bench = Bench(requests_per_minute=60)
    bench.clock.set(START)
    market = Minutes(bench, shown, lag)
    bench.server.script = [market]
    async with bench.client() as source:
        running = Running(bench, source)
        assert max(await running.minutes(8)) == 0
        known = running.feed.known.values()
        now = bench.clock.now()
        assert all(now - k.end < 2 * MINUTE + lag for k in known)
    assert market.most_in_a_minute() <= 55
    if shown > 1:
        assert market.alone == 0
    if shown > 1 or lag:  # a source that lags shows the bar alone once it has ended
        assert all(k.priced == k.end for k in known)
    else:
        # A closed bar then costs a request a symbol: 25 a minute, each symbol in its turn.
        priced = [k for k in known if not math.isnan(k.priced)]
        assert len(priced) == market.alone
        assert 7 * 25 <= market.alone <= 8 * 25
        assert {k.close for k in priced} == {101.5}


async def test_closes_of_hours_are_all_known_within_minutes() -> None:
    """Between two bars there is time for every symbol, and no new poll for all is needed."""
    bench = Bench(requests_per_minute=60)
    hour = 3600.0
    bench.clock.set(NOW - NOW % hour + hour - 30)
    asked: list[str] = []

    def shown(request: web.Request) -> web.Response:
        asked.append(request.path.rpartition("/")[2])
        now, query = bench.clock.now(), request.query
        newest = math.floor(now / hour) * hour
        if "symbol" in query:
            return good(series(query["symbol"], [row(newest - hour), row(newest)], "1h"))
        if request.path.endswith("ticker"):
            return good([{"symbol": s, "last_price": "1", "timestamp": int(now * 1000)}
                         for s in query["symbols"].split(",")])  # fmt: skip
        return good([series(s, [row(newest)], "1h") for s in query["symbols"].split(",")])

    bench.server.script = [shown]
    async with bench.client() as source:
        running = Running(bench, source, interval="1h")
        assert max(await running.minutes(20)) == 0
        end = math.floor(bench.clock.now() / hour) * hour
        assert {k.priced for k in running.feed.known.values()} == {end}
    assert asked.count("kline") <= 500 + 44
    assert asked.count("latest") <= 40


async def test_few_symbols_have_every_close_although_the_forming_bar_comes_alone() -> None:
    """Up to what the budget has left, each close is asked for as soon as its bar ends."""
    bench = Bench(requests_per_minute=600)
    bench.clock.set(START)
    bench.server.script = [Minutes(bench, shown=1)]
    async with bench.client() as source:
        running = Running(bench, source)
        await running.minutes(3)
        minute = math.floor(bench.clock.now() / MINUTE) * MINUTE
        ends = [k.priced for k in running.feed.known.values()]
    assert sum(end >= minute - MINUTE for end in ends) >= 400


async def test_polls_that_no_budget_allows_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """At the start and at each reload, with what to change."""
    bench = Bench(requests_per_minute=60)
    async with bench.client() as source:
        with caplog.at_level(logging.WARNING):
            Running(bench, source, poll="15s")
    assert [r.getMessage() for r in caplog.records] == [
        "the feeds of main need 80 requests a minute and it has 60: polls come late. Give them a "
        "longer `poll`, or raise sources.main.requests_per_minute with your plan"
    ]
