"""Feeds with a stream: the age of each symbol's newest message, while its exchange trades."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import Config, Feed
from exporter.feeds import Feeds
from exporter.metrics import Metrics
from exporter.sources.realtime import Tick
from tests.unit.clocks import ManualClock
from tests.unit.feeds.test_poller import FakeSource, FakeState, at
from tests.unit.tables import calendar


@pytest.fixture
def played() -> tuple[Feeds, ManualClock, CollectorRegistry]:
    """A feed of two symbols, at 11 in New York."""
    clock, registry = ManualClock(at("2026-11-24 11:00:00")), CollectorRegistry()
    source = FakeSource(clock, calendar("XNYS"), "1m")
    feeds = Feeds(
        FakeState(), clock, Metrics(registry), lambda _: source, lambda _: calendar("XNYS")
    )  # type: ignore[arg-type]
    feed = Feed(
        source="s", symbols=("A.US", "B.US"), interval="1m", exchange="XNYS", stream=("ticker",),
        max_silence={"warning": 120.0},
    )  # fmt: skip
    feeds.apply(Config(feeds={"f": feed}))
    return feeds, clock, registry


def test_silence_counts_trading_time_since_the_newest_message(
    played: tuple[Feeds, ManualClock, CollectorRegistry],
) -> None:
    """From when we began to listen; it stands still at night and goes on the next day."""
    feeds, clock, registry = played

    def silence(symbol: str) -> float | None:
        labels = {"feed": "f", "symbol": symbol}
        return registry.get_sample_value("quant_stream_silence_seconds", labels)

    hear = feeds.streams._listener("s")
    clock.advance(60)
    hear(Tick("A.US", 101.5, clock.now()))
    clock.advance(30)
    assert (silence("A.US"), silence("B.US")) == (30, 90)
    labels = {"feed": "f", "symbol": "A.US"}
    assert registry.get_sample_value("quant_stream_last_price", labels) == 101.5
    limit = {"feed": "f", "severity": "warning"}
    assert registry.get_sample_value("quant_feed_silence_limit_seconds", limit) == 120
    clock.set(at("2026-11-24 15:59:00"))
    hear(Tick("A.US", 101.5, clock.now()))
    clock.set(at("2026-11-25 03:00:00"))
    assert silence("A.US") == 60
    clock.set(at("2026-11-25 09:31:00"))
    assert silence("A.US") == 120
    assert feeds.streams._wanted("s") == {"ticker": ("A.US", "B.US")}
