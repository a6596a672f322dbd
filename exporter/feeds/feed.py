"""One feed at work: what is missing, how overdue it is, and when its source is asked next."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from exporter.calendars.loader import Calendar
from exporter.config import INTERVAL_SECONDS, Feed
from exporter.feeds.request_share import Share
from exporter.feeds.symbol_state import SymbolState
from exporter.feeds.takeover import Takeover
from exporter.sources.base import DataSource
from exporter.util.nan import NAN

SETTLE = 2.0
"""Seconds after a bar's end at which the source is first asked for it."""
_MISSING_RETRY = 60.0
_EARLY = 5.0
_AUCTION = 60.0
"""Seconds after a bar's end after which it is complete, at least."""
_SHORT = 300.0


@dataclass
class FeedState:
    """One feed at work."""

    name: str
    feed: Feed
    calendar_of: Callable[[str], Calendar]
    source: DataSource
    share: Share
    known: dict[str, SymbolState] = field(default_factory=dict)
    saved: dict[str, SymbolState] = field(default_factory=dict)
    """As the state file has it."""
    takeover: Takeover | None = None
    """Where it has a second source."""
    spread: dict[str, tuple[float, float]] = field(default_factory=dict)
    forming: set[str] = field(default_factory=set)
    """Symbols of which the newest answer had no closed bar."""
    fetched_individually: dict[str, float] = field(default_factory=dict)
    """When each symbol was last requested individually."""
    individually_answered: dict[str, float] = field(default_factory=dict)
    """When such a request of each symbol was last answered."""
    last_poll: float = NAN
    last_full: float = NAN
    """The newest poll for all symbols."""
    problem: str | None = None
    unanswered: frozenset[str] = frozenset()
    """Symbols for which the newest answer had nothing that can be used."""

    @property
    def calendar(self) -> Calendar:
        """The exchange's calendar as it is now: it is renewed before it ends."""
        return self.calendar_of(self.feed.exchange)

    @property
    def answers(self) -> bool:
        """Whether the newest answers had something of at least one symbol."""
        return not math.isnan(self.last_full) and not self.unanswered >= self.known.keys()

    def watched(self, now: float) -> dict[str, SymbolState]:
        """The symbols that are not ignored."""
        if not self.feed.ignore:
            return self.known
        ignored = self.feed.ignored_on(self.calendar.day_of(now))
        return {s: k for s, k in self.known.items() if s not in ignored}

    def missing(self, now: float) -> list[str]:
        """Symbols whose newest closed bar is not there yet, due or not."""
        newest = self.calendar.last_bar_end_before(self.feed.interval, now)
        return [s for s, k in self.watched(now).items() if k.from_when < newest]

    def missing_closes(self, now: float) -> list[str]:
        """Symbols whose close needs an individual request; those that waited longest come first."""
        newest = self.calendar.last_bar_end_before(self.feed.interval, now)
        # What a symbol's own series lacks a minute after the bar's end does not exist.
        lacking = [
            s
            for s in self.forming
            if self.known[s].close_is_missing(newest)
            and not newest + _AUCTION <= self.individually_answered.get(s, -math.inf) <= now
        ]
        return sorted(lacking, key=lambda symbol: self.fetched_individually.get(symbol, -math.inf))

    def overdue(self, known: SymbolState, now: float) -> float:
        """Seconds since the oldest missing bar fell due; 0 when none is missing."""
        return self.overdue_from(known.from_when, now)

    def overdue_from(self, moment: float, now: float) -> float:
        """The same of a symbol whose bars are expected from `moment`."""
        first = self.calendar.first_bar_end_after(self.feed.interval, moment)
        return max(0.0, now - first - self.feed.delay)

    def close_overdue(self, known: SymbolState, now: float) -> float:
        """Seconds since a close that is newer than the known one fell due; 0 when none has."""
        first = self.calendar.first_bar_end_after(self.feed.interval, known.priced)
        return max(0.0, now - first - self.feed.delay)

    def overdue_by_moment(self, now: float) -> dict[float, float]:
        """How overdue symbols are, by their :attr:`~SymbolState.from_when`. Most of 500 symbols
        share their newest bar, so there are few moments."""
        moments = {each.from_when for each in list(self.known.values())}
        return {moment: self.overdue_from(moment, now) for moment in moments}

    def is_full_poll_due(self, now: float) -> bool:
        """Whether it is time to ask for all symbols, rather than for those with a missing bar."""
        poll = self.feed.poll_seconds
        # A poll that waits for a bar's end may come a little before its time.
        return not self.last_full + poll - min(poll / 4, _EARLY) > now or self.last_full > now

    def single_requests_left(self, now: float) -> int:
        """How many symbols may be asked for in requests of their own at this moment."""
        since = now - 0.9 * min(self.feed.poll_seconds, 60.0)
        used = sum(since < at <= now for at in self.fetched_individually.values())
        return max(0, self.share.single_requests - used)

    def next_poll(self, now: float) -> float:
        """When to ask next: at bar ends, each poll while open, often while a bar is missing."""
        if math.isnan(self.last_poll) or self.last_poll > now:
            return now
        feed, calendar = self.feed, self.calendar
        seldom = feed.poll_seconds > INTERVAL_SECONDS[feed.interval]
        after, looked_for = max(self.last_poll - SETTLE, 0.0), now - SETTLE
        if seldom:  # then not at each bar's end, but at that of the first bar after `poll`
            after = max(after, self.last_full + feed.poll_seconds - _EARLY - SETTLE)
            looked_for = min(looked_for, self.last_full)
        due = [calendar.first_bar_end_after(feed.interval, after) + SETTLE]
        if calendar.is_open(now):
            due += [] if seldom else [self.last_poll + feed.poll_seconds]
        else:
            due.append(calendar.next_open(now) + SETTLE)
        due += self._second_look(now)
        if self.missing_closes(now):
            due.append(self.last_poll + _MISSING_RETRY)
        if self.missing(looked_for):
            due.append(self.last_poll + self._retry_pause(now))
        return max(min(due), self.last_poll + 1.0)

    def _second_look(self, now: float) -> list[float]:
        """When to ask again for the newest bar, which may have come before all its trades were in.

        After the close the auction is still missing, and a source may be late by a minute. Minutes
        while it is open are skipped: the next one is about to replace it.
        """
        interval = self.feed.interval
        if INTERVAL_SECONDS[interval] < _SHORT and self.calendar.is_open(now):
            return []
        newest = self.calendar.last_bar_end_before(interval, now)
        settled = newest + max(self.feed.delay, _AUCTION)
        return [settled] if self.last_poll < settled else []

    def _retry_pause(self, now: float) -> float:
        poll = self.feed.poll_seconds
        newest = self.calendar.last_bar_end_before(self.feed.interval, now)
        pause = _MISSING_RETRY
        if now < newest + self.feed.delay:
            pause = max(min(max(poll / 4, 5.0), 30.0), self.share.retry_pause)
        return min(poll, pause)
