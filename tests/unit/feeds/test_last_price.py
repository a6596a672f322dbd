"""A feed's last price, and whether a newer one is due: what a rate of currencies is taken from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from exporter.config import Feed
from exporter.feeds.feed import FeedState
from exporter.feeds.symbol_state import SymbolState
from tests.unit.tables import calendar


def at(day: int, hour: int) -> float:
    """Of December 2026."""
    return datetime(2026, 12, day, hour, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "hours"),
    [
        (at(23, 13), 0),
        (at(23, 15), 1),  # the bar that ended at 14:00 is due
        (at(24, 14), 24),
    ],
)
def test_a_close_is_overdue_by_the_bars_that_should_have_come(now: float, hours: float) -> None:
    feed = Feed.model_validate(
        {"source": "x", "exchange": "24/7", "interval": "1h", "symbols": ["EURUSD"], "delay": "1s"}
    )
    none: Any = None
    state = FeedState("fx", feed, calendar, none, none)
    known = SymbolState(since=0.0, end=at(23, 13), close=1.1, priced=at(23, 13))
    assert state.close_overdue(known, now) == pytest.approx(max(0, hours * 3600 - 1))


def test_no_rate_is_due_at_christmas() -> None:
    """FX pauses on the 25th and at the weekend: a rate of the 24th is the newest that there is."""
    feed = Feed.model_validate(
        {"source": "x", "exchange": "FX", "interval": "1h", "symbols": ["EURUSD"]}
    )
    none: Any = None
    state = FeedState("fx", feed, calendar, none, none)
    table = calendar("FX")
    last = table.last_bar_end_before("1h", at(25, 12))
    known = SymbolState(since=0.0, end=last, close=1.1, priced=last)
    assert state.close_overdue(known, at(25, 12)) == 0
    assert state.close_overdue(known, at(26, 12)) == 0
    assert state.close_overdue(known, at(28, 20)) > 3600
