"""A feed's month of days: what part of each day had every bar."""

from __future__ import annotations

import math
from typing import Any

import pytest

from exporter.feeds import Feeds
from exporter.feeds.complete_days import DAYS, CompleteDays
from exporter.sources.base import SourceError
from tests.unit.feeds.test_poller import NEW_YORK, FakeState, PollerBench


class Kept(FakeState):
    """With values that can be forgotten."""

    async def forget(self, kind: str, name: str) -> None:
        self.rows[kind].pop(name)


class Month:
    """A feed that is looked at each minute."""

    def __init__(self, now: str = "2026-11-24T10:00:30") -> None:
        self.bench, self.state = PollerBench(now, delay="1m"), Kept()
        self.days = self.restart()

    def restart(self) -> CompleteDays:
        """A new process on the same state."""
        feeds: Feeds = self.bench.feeds
        self.days = CompleteDays(self.state, self.bench.clock, feeds, lambda: NEW_YORK)  # type: ignore[arg-type]
        return self.days

    async def pass_minutes(self, minutes: int, step: float = 60.0) -> None:
        """The feed polls, and time passes."""
        for _ in range(minutes):
            await self.bench.poll()
            await self.days.look()
            self.bench.clock.advance(step)


async def test_a_day_is_as_good_as_the_time_without_a_missing_bar() -> None:
    """An hour without an answer of two hours; the days before are not known."""
    month = Month()
    await month.pass_minutes(61)
    month.bench.source.error = SourceError("connect", "refused", retryable=True)
    await month.pass_minutes(60)
    *before, today = month.days.shares("f")
    assert len(before) == DAYS - 1
    assert all(map(math.isnan, before))
    assert today == pytest.approx(0.5, abs=0.03)


async def test_nothing_is_known_of_another_feed() -> None:
    """No picture then, rather than an empty one."""
    assert Month().days.shares("other") == ()


async def test_a_restart_keeps_the_days_and_blames_no_feed_for_itself() -> None:
    """What was known at the end of the old process is overdue until the first answer."""
    month = Month()
    await month.pass_minutes(30)
    (before,) = (share for share in month.days.shares("f") if share == share)
    month.bench.clock.advance(1800)
    month.bench.feeds = month.bench.restart()
    month.restart()
    await month.days.look()
    month.bench.clock.advance(60)
    await month.pass_minutes(5)
    assert month.days.shares("f")[-1] == before == 1.0


async def test_hours_of_a_suspend_are_not_known() -> None:
    """Only what was looked at counts."""
    month = Month()
    await month.pass_minutes(20)
    month.bench.source.error = SourceError("connect", "refused", retryable=True)
    month.bench.clock.advance(4 * 3600)
    await month.pass_minutes(1)
    assert month.days.shares("f")[-1] == pytest.approx(19 / 21, abs=0.01)


async def test_state_keeps_a_month_and_no_feed_that_is_gone() -> None:
    """However long it runs: 30 days of each feed, a write each ten minutes."""
    month = Month()
    old: dict[str, Any] = {f"2025-{m:02d}-01": [1, 2] for m in range(1, 13)}
    month.state.rows["feed_days"] = {"f": old, "gone": dict(old)}
    month.restart()
    await month.pass_minutes(35)
    assert list(month.state.rows["feed_days"]) == ["f"]
    assert list(month.state.rows["feed_days"]["f"]) == ["2026-11-24"]
    assert month.state.written == 3
