"""What a feed says of itself: limits, spreads, and trouble in the log."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest

from exporter.sources.base import SourceError
from tests.unit.feeds.test_poller import PollerBench, at


def test_each_tier_of_the_spread_limit_is_a_metric() -> None:
    """The rules compare with it, and know no other."""
    bench = PollerBench("2026-11-24T10:00:30", max_spread={"warning": "0.5%", "critical": "2%"})
    limits = {
        tier: bench.value("quant_feed_spread_limit_ratio", severity=tier)
        for tier in ("warning", "critical")
    }
    assert limits == {"warning": 0.005, "critical": 0.02}


async def test_a_fresh_spread_is_not_shown_once_the_exchange_has_closed() -> None:
    """Quotes after the close are wide; nobody can trade at them."""
    bench = PollerBench("2026-11-24T15:59:50")
    await bench.poll()
    assert bench.value("quant_data_spread_ratio", symbol="A.US") > 0
    bench.clock.set(at("2026-11-24T16:00:05"))
    assert math.isnan(bench.value("quant_data_spread_ratio", symbol="A.US"))


async def test_a_reload_keeps_the_spreads() -> None:
    """Or they would be missing until the next poll."""
    bench = PollerBench("2026-11-24T10:00:30")
    await bench.poll()
    bench.feeds.apply(bench.config)
    assert bench.value("quant_data_spread_ratio", symbol="B.US") > 0


@pytest.mark.parametrize(
    ("symbols", "whom"), [(("A.US", "B.US"), "A.US and 1 more"), (("A.US",), "A.US")]
)
async def test_trouble_is_logged_once_and_once_that_it_is_over(
    symbols: tuple[str, ...], whom: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A poll a minute must not be a line a minute."""
    bench = PollerBench("2026-11-24T10:00:30")
    feed = bench.config.feeds["f"].model_copy(update={"symbols": symbols})
    bench.config = bench.config.model_copy(update={"feeds": {"f": feed}})
    bench.feeds.apply(bench.config)
    with caplog.at_level(logging.INFO):
        bench.source.error = SourceError("connect", "refused", retryable=True)
        for _ in range(2):
            await bench.poll()
        bench.source.error = None
        for _ in range(2):
            await bench.poll()
    said = [(r.message, vars(r).get("event"), vars(r).get("feed")) for r in caplog.records]
    assert said == [
        (f"feed f has no current bars for {whom}: refused", "feed_trouble", "f"),
        ("feed f is ok again", "feed_well", "f"),
    ]


async def test_a_close_that_cannot_be_asked_for_alone_is_trouble() -> None:
    """The source shows only the forming bar, and refuses the request for the one before it."""
    bench = PollerBench("2026-11-24T10:00:30")
    bench.source.only_forming = True

    async def refused(*_: Any) -> Any:
        raise SourceError("api", "no history today")

    bench.source.recent = refused  # type: ignore[method-assign]
    bench.clock.advance(120)
    await bench.poll()
    assert bench.feed.problem is not None
    assert "no history today" in bench.feed.problem
