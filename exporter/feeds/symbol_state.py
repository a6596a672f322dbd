"""What is known of one symbol's bars, and what an answer adds to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from exporter.calendars.bars import INTERVAL_SECONDS
from exporter.calendars.loader import Calendar
from exporter.sources.base import Bar
from exporter.util.nan import NAN, nan_to_none, none_to_nan


@dataclass(frozen=True, eq=False)
class SymbolState:
    """What is remembered of one symbol; times are Unix seconds. ``since``: when we first asked.

    ``end`` is the end of the newest closed bar, ``close`` the close of the bar that ended at
    ``priced``: the same bar, unless the source showed a later bar that is still forming.
    ``volume`` is that bar's, and ``unchanged`` how many bars up to it repeat the close and volume
    of the one before. ``past`` is a moment by which the source has shown all that it has: bars that
    ended by then and did not come never will, as in a minute without trades.
    """

    since: float
    end: float = NAN
    close: float = NAN
    priced: float = NAN
    past: float = NAN
    volume: float = NAN
    unchanged: int = 0

    def _key(self) -> tuple[float | None, ...]:
        numbers = (
            self.since, self.end, self.close, self.priced, self.past, self.volume, self.unchanged
        )  # fmt: skip
        return tuple(nan_to_none(number) for number in numbers)

    def __eq__(self, other: object) -> bool:
        """NaN equals NaN here: unknown on both sides is the same."""
        return isinstance(other, SymbolState) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @cached_property
    def from_when(self) -> float:
        """Bars that end after this moment are expected."""
        known = [moment for moment in (self.end, self.past) if not math.isnan(moment)]
        return max(known, default=self.since)

    def close_is_missing(self, newest: float) -> bool:
        """Whether the close of the bar that ended at `newest`, or of a later one, is not known."""
        return not self.priced >= newest

    def to_json(self, series: list[str]) -> dict[str, Any]:
        """For the state file; `series` is its source and interval."""
        numbers = {
            "end": self.end, "close": self.close, "priced": self.priced, "volume": self.volume
        }  # fmt: skip
        return {
            "since": self.since,
            "series": series,
            "unchanged": self.unchanged,
            **{name: nan_to_none(value) for name, value in numbers.items()},
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> SymbolState:
        """The reverse of :meth:`to_json`, and of what older versions wrote."""
        end, close = none_to_nan(saved["end"]), none_to_nan(saved["close"])
        priced = none_to_nan(saved["priced"]) if "priced" in saved else end
        return cls(
            float(saved["since"]), end, close, priced,
            volume=none_to_nan(saved.get("volume")), unchanged=int(saved.get("unchanged", 0)),
        )  # fmt: skip


def after_answer(
    known: SymbolState, bars: Iterable[Bar], calendar: Calendar, interval: str, now: float
) -> tuple[SymbolState, bool]:
    """What is known once `bars` came, and whether a closed one was among them.

    A bar that is still forming is not closed, but it shows that the source is past all bars before
    it. Where it comes alone, as in some versions of TickDB, the newest of those is assumed to
    exist; its close stays unknown. A bar may come again with another close: closing auctions
    are added after the bell.
    """
    newest = -math.inf
    past = known.past
    for bar in bars:
        end = calendar.bar_end(bar.start, interval)
        if end > now:
            before = calendar.last_bar_end_before(interval, end - 1.0)
            if before <= now and not before <= past:
                past = before
            continue
        newest = max(newest, end)
        if not end < known.priced:
            in_session = calendar.is_open(bar.start) or _is_long(interval)
            known = _priced(known, bar, end, in_session)
    if newest == -math.inf:
        # Where closed bars are shown too, `past` may lie after the newest of them: no trades since.
        shown = math.isnan(known.end) or past > known.from_when
        return replace(known, end=past if shown else known.end, past=past), False
    return replace(known, end=known.end if known.end > newest else newest, past=past), True


def _is_long(interval: str) -> bool:
    return INTERVAL_SECONDS[interval] >= INTERVAL_SECONDS["1d"]


def _priced(known: SymbolState, bar: Bar, end: float, in_session: bool) -> SymbolState:
    """With the close of a bar that is not older than the one whose close is known."""
    no_volume = math.isnan(bar.volume) and math.isnan(known.volume)
    same = bar.close == known.close and (no_volume or bar.volume == known.volume)
    unchanged = known.unchanged if same else 0
    if same and end > known.priced and in_session:
        unchanged += 1
    return replace(known, close=bar.close, volume=bar.volume, priced=end, unchanged=unchanged)
