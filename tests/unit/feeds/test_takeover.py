"""A feed with a second source: it takes over when the first fails, says so, and gives it back."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import Config, Feed
from exporter.feeds import Feeds
from exporter.metrics import Metrics
from exporter.sources.base import SourceError
from tests.unit.clocks import ManualClock
from tests.unit.feeds.test_poller import FakeSource, FakeState, at
from tests.unit.tables import calendar

DOWN = SourceError("connect", "no route", retryable=True)


class TwoSources:
    """One feed on a moved clock, polled each 30 s."""

    def __init__(self) -> None:
        self.clock = ManualClock(at("2026-11-24 11:00:05"))
        self.first = FakeSource(self.clock, calendar("XNYS"), "1m")
        self.second = FakeSource(self.clock, calendar("XNYS"), "1m")
        self.second.name = "backup"
        self.registry = CollectorRegistry()
        self.feeds = Feeds(
            FakeState(), self.clock, Metrics(self.registry),
            {"s": self.first, "backup": self.second}.__getitem__, lambda _: calendar("XNYS"),
        )  # type: ignore[arg-type]  # fmt: skip
        feed = Feed(
            source="s", fallback="backup", symbols=("A.US", "B.US", "C.US"), interval="1m",
            exchange="XNYS",
        )  # fmt: skip
        self.feeds.apply(Config(feeds={"f": feed}))

    async def run(self, minutes: float) -> None:
        """Let time pass, with a poll each half minute."""
        for _ in range(int(minutes * 2)):
            self.clock.advance(30)
            await self.feeds.poll(self.feeds.feeds["f"])

    def value(self, name: str, **labels: str) -> float:
        found = self.registry.get_sample_value(name, {"feed": "f", **labels})
        return math.nan if found is None else found

    @property
    def since(self) -> float:
        return self.value("quant_feed_fallback_since_timestamp_seconds", source="backup")

    @property
    def overdue(self) -> float:
        return max(self.value("quant_data_overdue_seconds", symbol=s) for s in ("A.US", "B.US"))


@pytest.fixture
async def two() -> TwoSources:
    """Both are well."""
    made = TwoSources()
    await made.run(3)
    return made


def fails(source: FakeSource) -> None:
    source.error = DOWN


def stands_still(source: FakeSource) -> None:
    source.dead_since = source.clock.now()


@pytest.mark.parametrize("how", [fails, stands_still])
async def test_the_second_takes_over_when_the_first_lacks_what_is_due(
    two: TwoSources, how: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it does not answer, or answers with old bars; the feed is not overdue for long."""
    assert math.isnan(two.since)
    assert two.second.asked == []
    how(two.first)
    await two.run(6)
    assert two.clock.now() - 5 * 60 < two.since < two.clock.now()
    assert two.overdue == 0
    state = two.feeds.feeds["f"]
    assert "backup takes over from s, which lacks due bars of 3 of 3 symbols" in caplog.text
    assert state.takeover is not None
    assert state.takeover.text().startswith("bars come from backup since 2026-11-24T16:0")


async def test_the_first_gets_it_back_once_it_is_well_for_a_while(
    two: TwoSources, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at its first good answer."""
    caplog.set_level(logging.INFO)
    fails(two.first)
    await two.run(6)
    two.first.error = None
    await two.run(9)
    assert two.since > 0
    await two.run(3)
    assert math.isnan(two.since)
    assert "feed f: bars come from s again" in caplog.text
    asked = len(two.second.asked)
    await two.run(5)
    assert len(two.second.asked) == asked


async def test_a_source_that_comes_and_goes_does_not_flap(
    two: TwoSources, caplog: pytest.LogCaptureFixture
) -> None:
    """Each time it failed again within the hour, it has to be well for longer."""
    for _ in range(6):
        fails(two.first)
        await two.run(8)
        two.first.error = None
        await two.run(15)
    assert caplog.text.count("takes over") <= 3


async def test_a_halted_symbol_or_a_holiday_is_no_reason(two: TwoSources) -> None:
    """One symbol that stopped, or a day on which neither has anything."""
    good = two.first.bars
    two.first.bars = lambda symbol, count: [] if symbol == "A.US" else good(symbol, count)  # type: ignore[method-assign]
    await two.run(6)
    assert two.second.asked == []
    for source in (two.first, two.second):
        source.dead_since = two.clock.now()
    await two.run(10)
    assert math.isnan(two.since)


async def test_when_both_fail_the_feed_is_overdue_and_says_why(two: TwoSources) -> None:
    """Nothing hides it."""
    fails(two.first)
    fails(two.second)
    await two.run(10)
    assert math.isnan(two.since)
    assert two.overdue > 400
    assert two.feeds.feeds["f"].problem == "A.US and 2 more: no route"


async def test_each_symbol_has_the_newer_bars_of_the_two(two: TwoSources) -> None:
    """A second source that stands still in turn does not hide what the first has again."""
    fails(two.first)
    await two.run(6)
    two.first.error = None
    stands_still(two.second)
    await two.run(6)
    assert two.since > 0
    assert two.overdue == 0
    await two.run(6)
    assert math.isnan(two.since), "and the first gets the feed back"


async def test_a_second_that_fails_too_is_said_next_to_the_first(
    two: TwoSources, caplog: pytest.LogCaptureFixture
) -> None:
    """The feed is overdue, and the takeover is not told again."""
    fails(two.first)
    await two.run(6)
    two.second.error = SourceError("auth", "the key is refused")
    await two.run(10)
    assert two.overdue > 400
    state = two.feeds.feeds["f"]
    assert state.problem == "A.US and 2 more: s: no route; backup: the key is refused"
    assert state.takeover is not None
    assert state.takeover.text().endswith("s fails, and backup lacks 3 too")
    two.second.error = None
    await two.run(3)
    assert two.overdue == 0
    assert state.takeover.text().endswith("s fails")
    assert caplog.text.count("takes over") == 1


async def test_a_second_with_older_bars_does_not_take_over(
    two: TwoSources, caplog: pytest.LogCaptureFixture
) -> None:
    """Old bars are no better than none."""
    stands_still(two.second)
    await two.run(5)
    stands_still(two.first)
    await two.run(10)
    assert math.isnan(two.since)
    assert "takes over" not in caplog.text


async def test_a_reload_does_not_give_the_feed_back(
    two: TwoSources, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor tell it again; another fallback begins from scratch."""
    fails(two.first)
    await two.run(6)
    since, feed = two.since, two.feeds.feeds["f"].feed
    two.feeds.apply(Config(feeds={"f": feed}))
    await two.run(3)
    assert two.since == since
    assert caplog.text.count("takes over") == 1
    two.feeds.apply(Config(feeds={"f": feed.model_copy(update={"fallback": None})}))
    assert math.isnan(two.since)
