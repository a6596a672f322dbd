"""Feeds with a stream: the age of each symbol's newest message, while its exchange trades."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import Config, Feed
from exporter.feeds import Feeds
from exporter.metrics import Metrics
from exporter.sources.realtime_messages import Tick
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


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = registry.get_sample_value(name, {"feed": "f", **labels})
    assert found is not None
    return found


def test_a_clock_that_is_set_back_does_not_make_a_silent_stream_fresh(
    played: tuple[Feeds, ManualClock, CollectorRegistry],
) -> None:
    """Nor one that is set ahead; what counts is the age of the newest message."""
    feeds, clock, registry = played
    hear = feeds.streams._listener("s")
    hear(Tick("A.US", 101.5, clock.now()))
    clock.jump(-1800)
    clock.advance(90)
    silence = "quant_stream_silence_seconds"
    stamp = "quant_stream_last_message_timestamp_seconds"
    assert value(registry, silence, symbol="A.US") == 90
    assert value(registry, silence, symbol="B.US") == 90
    assert value(registry, stamp, symbol="A.US") == clock.now() - 90
    hear(Tick("A.US", 102.0, clock.now() + 1801))  # the clock before knew better
    clock.jump(3600)
    assert value(registry, silence, symbol="A.US") == 3600
    hear(Tick("A.US", 102.5, clock.now()))
    assert value(registry, silence, symbol="A.US") == 0


def test_a_late_message_is_as_old_as_its_stamp_and_an_older_one_is_not_the_last_price(
    played: tuple[Feeds, ManualClock, CollectorRegistry],
) -> None:
    """A server that is minutes behind is not fresh because it sends a lot."""
    feeds, clock, registry = played
    hear = feeds.streams._listener("s")
    clock.advance(600)
    hear(Tick("A.US", 101.5, clock.now() - 240))
    assert value(registry, "quant_stream_silence_seconds", symbol="A.US") == 240
    hear(Tick("A.US", 99.0, clock.now() - 250))
    assert value(registry, "quant_stream_last_price", symbol="A.US") == 101.5
    hear(Tick("A.US", 103.0, clock.now() + 30))
    assert value(registry, "quant_stream_silence_seconds", symbol="A.US") == 0


def test_a_symbol_that_a_reload_adds_is_not_silent_since_before(
    played: tuple[Feeds, ManualClock, CollectorRegistry],
) -> None:
    """Others keep what is known of them."""
    feeds, clock, registry = played
    clock.advance(600)
    feed = feeds.streams.feeds["f"]
    more = feed.model_copy(update={"symbols": (*feed.symbols, "C.US")})
    feeds.apply(Config(feeds={"f": more}))
    clock.advance(10)
    assert value(registry, "quant_stream_silence_seconds", symbol="C.US") == 10
    assert value(registry, "quant_stream_silence_seconds", symbol="B.US") == 610


def test_silence_is_said_in_words(played: tuple[Feeds, ManualClock, CollectorRegistry]) -> None:
    """On the page, once it is longer than the lowest limit; what never came as what stopped."""
    feeds, clock, _ = played
    feeds.streams._listener("s")(Tick("A.US", 1.0, clock.now()))
    clock.advance(119)
    assert feeds.streams.trouble("f", clock.now()) == ""
    clock.advance(2)
    said = feeds.streams.trouble("f", clock.now())
    assert said == "the stream has had no message about A.US and 1 more for 2m 1s of trading"
    assert feeds.streams.trouble("another", clock.now()) == ""
