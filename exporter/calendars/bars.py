"""Which bars an exchange makes and when each is closed.

Intraday bars are aligned to the open of each segment (before and after lunch) for exchanges with
hours, and the last one of a segment is cut short; to UTC for FX and 24/7. A 1d bar ends with its
session, a 1w or 1M bar with the last session of its ISO week or month.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date
from functools import lru_cache

from exporter.calendars.overrides import Overrides
from exporter.calendars.sessions import Session, Sessions, Table
from exporter.util.local_time import DAY, date_of, is_midnight

INTERVAL_SECONDS: Mapping[str, float] = {
    "1m": 60.0, "3m": 180.0, "5m": 300.0, "15m": 900.0, "30m": 1800.0, "1h": 3600.0,
    "2h": 7200.0, "4h": 14400.0, "1d": 86400.0, "1w": 604800.0, "1M": 2592000.0,
}  # fmt: skip
"""Nominal length of each interval (a month counts 30 days)."""

_LONG = ("1d", "1w", "1M")


class Calendar(Sessions):
    """Sessions and bars of one exchange."""

    def __init__(self, name: str, table: Table, overrides: Overrides | None = None) -> None:
        super().__init__(name, table, overrides)
        # Hundreds of symbols ask the same question at each scrape.
        self._count = lru_cache(maxsize=512)(self._count_bars)

    def bar_end(self, start: float, interval: str) -> float:
        """The moment at which the bar stamped `start` is closed.

        Daily and longer bars may be stamped at 00:00 UTC or local midnight of their date, or within
        their session. A bar outside trading hours lasts its nominal interval.
        """
        seconds = INTERVAL_SECONDS[interval]
        if interval in _LONG:
            return self._long_bar_end(start, interval)
        session = self.session_at(start)
        if session is None:
            return start + seconds
        if self.continuous:
            end = session.close
            while end < start + seconds and (following := self.session_at(end)):
                end = following.close
            return min(start + seconds, end)
        for opened, closed in session.segments:
            if opened <= start < closed:
                return min(start + seconds, closed)
        return start + seconds

    def expected_bars(self, interval: str, after: float, until: float) -> int:
        """How many bars have after < end <= until."""
        return self._count(interval, after, until) if until > after else 0

    def first_bar_end_after(self, interval: str, t: float) -> float:
        """End of the first bar that ends after `t`. Raises :class:`LookupError`: none in years."""
        step = _grid(interval)
        day = self.day_of(t) - DAY
        for n in range(1000):
            session = self.session_on(day + n * DAY)
            if session is None or session.close <= t:
                continue
            for opened, closed, anchor, cut in self._pieces(session, interval):
                if closed > t:
                    end = anchor + (math.floor((max(t, opened) - anchor) / step) + 1) * step
                    if end <= closed:
                        return end
                    if cut:
                        return closed
        raise LookupError(f"{self.name} makes no {interval} bar after {t}")

    def last_bar_end_before(self, interval: str, t: float) -> float:
        """The newest bar end <= t. Raises :class:`LookupError` when there is none for years."""
        step = _grid(interval)
        day = self.day_of(t) + DAY
        for n in range(1000):
            session = self.session_on(day - n * DAY)
            if session is None or session.open >= t:
                continue
            for opened, closed, anchor, cut in reversed(list(self._pieces(session, interval))):
                if cut and closed <= t:
                    return closed
                end = anchor + math.floor((min(t, closed) - anchor) / step) * step
                if end > opened:
                    return end
        raise LookupError(f"{self.name} makes no {interval} bar before {t}")

    def _count_bars(self, interval: str, after: float, until: float) -> int:
        step = _grid(interval)
        count = 0
        for session in self.sessions(after, until + 1):
            for opened, closed, anchor, cut in self._pieces(session, interval):
                low, high = max(opened, after), min(closed, until)
                if high <= low:
                    continue
                count += math.floor((high - anchor) / step) - math.floor((low - anchor) / step)
                if cut and high == closed and (closed - anchor) % step:
                    count += 1
        return count

    def _pieces(
        self, session: Session, interval: str
    ) -> Iterator[tuple[float, float, float, bool]]:
        """Spans of trading as (open, close, anchor, cut): bars of the span end at anchor + k steps
        within it, and at the close too when `cut`."""
        if interval in _LONG:
            # One bar at the close, or none when the week or month goes on.
            last = interval == "1d" or self._ends_period(session, interval)
            yield session.open, session.close, session.open, last
        elif self.continuous:
            # A bar that the next session goes on with is not cut at this close.
            cut = self.session_at(session.close) is None
            yield session.open, session.close, 0.0, cut
        else:
            for opened, closed in session.segments:
                yield opened, closed, opened, True

    def _ends_period(self, session: Session, interval: str) -> bool:
        day = session.day + DAY
        while _period(day, interval) == _period(session.day, interval):
            if self.session_on(day):
                return False
            day += DAY
        return True

    def _long_bar_end(self, start: float, interval: str) -> float:
        day = self._day_of_stamp(start)
        if interval == "1d":
            session = self.session_on(day)
            return session.close if session else start + INTERVAL_SECONDS["1d"]
        period, last = _period(day, interval), None
        day = day.replace(day=1) if interval == "1M" else day - day.weekday() * DAY
        while _period(day, interval) == period:
            last = self.session_on(day) or last
            day += DAY
        return last.close if last else start + INTERVAL_SECONDS[interval]

    def _day_of_stamp(self, start: float) -> date:
        if start % 86400 == 0:
            return date_of(start, UTC)
        session = self.session_at(start)
        return session.day if session and not is_midnight(start, self.zone) else self.day_of(start)


def _grid(interval: str) -> float:
    # A step that no session reaches: the only end is then the close.
    return math.inf if interval in _LONG else INTERVAL_SECONDS[interval]


def _period(day: date, interval: str) -> tuple[int, int]:
    return (day.year, day.month) if interval == "1M" else day.isocalendar()[:2]
