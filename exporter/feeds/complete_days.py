"""For how much of each day all bars of a feed were there. State remembers a month of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from exporter.feeds.feed import FeedState
from exporter.feeds.poller import Feeds
from exporter.state import State
from exporter.util.clock import Clock
from exporter.util.local_time import date_of
from exporter.util.nan import NAN

DAYS = 30
LOOK_SECONDS = 60.0
KEEP_SECONDS = 600.0
"""Between two writes: what a kill costs."""
_KIND = "feed_days"
_MOST = 2 * LOOK_SECONDS
"""Of the time between two looks; the rest of a longer one, as after a suspend, is not known."""
_Day = tuple[float, float]
"""Seconds without a missing bar, and seconds that are known."""


class CompleteDays:
    """Call :meth:`look` every :data:`LOOK_SECONDS`."""

    def __init__(
        self, state: State, clock: Clock, feeds: Feeds, zone: Callable[[], ZoneInfo]
    ) -> None:
        self._state, self._clock, self._feeds, self._zone = state, clock, feeds, zone
        self._days: dict[str, dict[str, _Day]] = {
            feed: {day: (float(seen[0]), float(seen[1])) for day, seen in days.items()}
            for feed, days in state.kept(_KIND).items()
        }
        self._looked: float | None = None
        self._kept = clock.monotonic()

    async def look(self) -> None:
        """Count the time since the previous look, by how things are now. The first look counts
        nothing: feeds have not asked their sources yet."""
        now, before = self._clock.monotonic(), self._looked
        self._looked = now
        if before is None:
            return
        seconds, at = min(now - before, _MOST), self._clock.now()
        today = date_of(at, self._zone())
        for name, feed in self._feeds.feeds.items():
            days = self._days.setdefault(name, {})
            complete, known = days.get(today.isoformat(), (0.0, 0.0))
            good = seconds if _is_complete(feed, at) else 0.0
            days[today.isoformat()] = complete + good, known + seconds
        if now - self._kept >= KEEP_SECONDS:
            self._kept = now
            await self._keep(today)

    async def _keep(self, today: date) -> None:
        first = (today - timedelta(DAYS - 1)).isoformat()
        for name, days in list(self._days.items()):
            self._days[name] = {day: seen for day, seen in days.items() if day >= first}
            if not self._days[name]:  # of a feed that has been gone for a month
                del self._days[name]
                await self._state.forget(_KIND, name)
        await self._state.keep_many(
            [
                (_KIND, name, {day: list(seen) for day, seen in days.items()})
                for name, days in self._days.items()
            ]
        )

    def shares(self, feed: str) -> tuple[float, ...]:
        """The share of each of the last days without a missing bar, oldest first; NaN: not known.
        Empty for a feed of which nothing is known."""
        days = self._days.get(feed)
        if not days:
            return ()
        today = date_of(self._clock.now(), self._zone())
        wanted = [(today - timedelta(n)).isoformat() for n in reversed(range(DAYS))]
        seen = [days.get(day, (0.0, 0.0)) for day in wanted]
        return tuple(complete / known if known else NAN for complete, known in seen)


def _is_complete(feed: FeedState, now: float) -> bool:
    overdue = feed.overdue_by_moment(now)
    return not any(overdue[known.from_when] > 0 for known in feed.watched(now).values())
