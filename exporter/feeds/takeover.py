"""A feed's second source: when it takes over from the first, and when the first gets it back.

The first has failed when at least half of the symbols lack a bar that is due, whether it does not
answer or answers with old bars, at two looks at least a minute apart; and the second must have
what it lacks: on a holiday that no calendar knows neither has. From then on each symbol has the
newer bars of the two. The first gets the feed back once it has lacked nothing that the second has
for ten minutes, and later each time when it failed again within the hour.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from exporter.calendars.loader import Calendar
from exporter.sources.base import Answer, Bar, DataSource, SourceError
from exporter.util.clock import iso
from exporter.util.nan import NAN

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0
BACK_AFTER_SECONDS, LONGEST_BACK_SECONDS = 600.0, 7200.0
_AGAIN_SECONDS = 3600.0


@dataclass
class Takeover:
    """Which of its two sources one feed uses. Moments are Unix seconds, NaN for none."""

    feed: str
    first: DataSource
    second: DataSource
    since: float = NAN
    """Since when the second has taken over."""
    failing_since: float = NAN
    well_since: float = NAN
    lacking: int = 0
    """Symbols of which the second lacks a due bar, too, while it has taken over."""
    returned_at: float = -math.inf
    back_after: float = BACK_AFTER_SECONDS

    @property
    def is_on(self) -> bool:
        """Whether bars come from the second."""
        return not math.isnan(self.since)

    def text(self) -> str:
        """For people; empty while bars come from the first."""
        if not self.is_on:
            return ""
        text = f"bars come from {self.second.name} since {iso(self.since)}: {self.first.name} fails"
        return f"{text}, and {self.second.name} lacks {self.lacking} too" if self.lacking else text

    def continued(self, first: DataSource, second: DataSource) -> Takeover:
        """The same with the sources of a new configuration."""
        return replace(self, first=first, second=second)

    async def with_second(
        self,
        answer: Answer[list[Bar]],
        symbols: Sequence[str],
        interval: str,
        *,
        calendar: Calendar,
        due_until: float,
        now: float,
    ) -> Answer[list[Bar]]:
        """The bars to use, where the first source gave `answer`. A bar that ended by `due_until` is
        due."""
        newest = calendar.last_bar_end_before(interval, due_until)

        def lacking(found: Answer[list[Bar]]) -> set[str]:
            return {
                symbol
                for symbol in symbols
                if not any(
                    calendar.bar_end(bar.start, interval) >= newest
                    for bar in found.good.get(symbol, ())
                )
            }

        missing = lacking(answer)
        if not self.is_on and not self._has_failed(missing, symbols, now):
            return answer
        wanted = symbols if self.is_on else sorted(missing)
        other = await self.second.latest(wanted, interval)
        gained = missing - lacking(other)
        self.lacking = len(missing - gained)
        if self.is_on:
            self._look_back(gained, missing, symbols, now)
        elif gained:
            self._take_over(now, len(missing), len(symbols))
        if not self.is_on:
            return answer
        return self._newer(answer, other, calendar, interval, now)

    def _newer(
        self,
        answer: Answer[list[Bar]],
        other: Answer[list[Bar]],
        calendar: Calendar,
        interval: str,
        now: float,
    ) -> Answer[list[Bar]]:
        """Of each symbol the bars that reach further, the second's where both are as new."""

        def reach(bars: Sequence[Bar]) -> float:
            ends = (calendar.bar_end(bar.start, interval) for bar in bars)
            return max((end for end in ends if end <= now), default=-math.inf)

        good = {**other.good}
        for symbol, bars in answer.good.items():
            if symbol not in good or reach(bars) > reach(good[symbol]):
                good[symbol] = bars
        bad = {
            symbol: self._both(symbol, answer.bad[symbol], error)
            for symbol, error in other.bad.items()
            if symbol not in good and symbol in answer.bad
        }
        return Answer(good, bad)

    def _both(self, symbol: str, first: SourceError, second: SourceError) -> SourceError:
        text = (
            f"{symbol}: {self.first.name}: {first.about(symbol)}; "
            f"{self.second.name}: {second.about(symbol)}"
        )
        return SourceError(second.reason, text, retryable=second.retryable, code=second.code)

    def _has_failed(self, missing: set[str], symbols: Sequence[str], now: float) -> bool:
        if 2 * len(missing) < len(symbols) or not missing:
            self.failing_since = NAN
            return False
        if math.isnan(self.failing_since) or self.failing_since > now:
            self.failing_since = now
        return now - self.failing_since >= PATIENCE_SECONDS

    def _take_over(self, now: float, missing: int, count: int) -> None:
        again = now - self.returned_at < _AGAIN_SECONDS
        longer = min(2 * self.back_after, LONGEST_BACK_SECONDS)
        self.back_after = longer if again else BACK_AFTER_SECONDS
        self.since, self.well_since = now, NAN
        logger.warning(
            "feed %s: %s takes over from %s, which lacks due bars of %d of %d symbols", self.feed,
            self.second.name, self.first.name, missing, count,
            extra={"event": "feed_fallback", "feed": self.feed, "source": self.second.name},
        )  # fmt: skip

    def _look_back(
        self, gained: set[str], missing: set[str], symbols: Sequence[str], now: float
    ) -> None:
        """Whether the first may have the feed back: it lacks nothing that the second has."""
        if gained or 2 * len(missing) >= len(symbols):
            self.well_since = NAN
            return
        if math.isnan(self.well_since) or self.well_since > now:
            self.well_since = now
        if now - self.well_since >= self.back_after:
            self.since = self.failing_since = NAN
            self.lacking = 0
            self.returned_at = now
            logger.info(
                "feed %s: bars come from %s again", self.feed, self.first.name,
                extra={"event": "feed_fallback_over", "feed": self.feed, "source": self.first.name},
            )  # fmt: skip
