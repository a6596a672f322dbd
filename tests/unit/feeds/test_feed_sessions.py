"""How overdue a symbol is at every hour of the calendar; all times were worked out by hand."""

from __future__ import annotations

from datetime import datetime
from typing import cast
from zoneinfo import ZoneInfo

import pytest

from exporter.config import Feed
from exporter.feeds import FeedState, SymbolState
from exporter.feeds.request_share import Share
from exporter.sources import DataSource
from tests.unit.tables import calendar

NEW_YORK, LONDON, HONG_KONG, SHANGHAI, UTC = (
    "America/New_York", "Europe/London", "Asia/Hong_Kong", "Asia/Shanghai", "UTC",
)  # fmt: skip


def at(text: str, zone: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def feed(exchange: str, interval: str) -> FeedState:
    """A feed with the default delay of 90 s."""
    settings = Feed(source="s", symbols=("A",), interval=interval, exchange=exchange)
    return FeedState("f", settings, calendar, cast(DataSource, None), Share(0, 1))


# Exchange, interval, zone; end of the newest bar there is; when the next one falls due, 90 s late.
CASES = {
    "the next minute": ("XNYS", "1m", NEW_YORK, "2026-11-24 10:00", "2026-11-24 10:01"),
    "overnight": ("XNYS", "1m", NEW_YORK, "2026-11-24 16:00", "2026-11-25 09:31"),
    "over Thanksgiving": ("XNYS", "1m", NEW_YORK, "2026-11-25 16:00", "2026-11-27 09:31"),
    "after the half day": ("XNYS", "1m", NEW_YORK, "2026-11-27 13:00", "2026-11-30 09:31"),
    "the half day's last bar": ("XNYS", "1m", NEW_YORK, "2026-11-27 12:59", "2026-11-27 13:00"),
    "over New Year": ("XNYS", "1m", NEW_YORK, "2026-12-31 16:00", "2027-01-04 09:31"),
    "New York in summer": ("XNYS", "1m", UTC, "2026-10-30 20:00", "2026-11-02 14:31"),
    "London in winter": ("XLON", "1m", UTC, "2026-10-23 15:30", "2026-10-26 08:01"),
    "an hour from the open": ("XNYS", "1h", NEW_YORK, "2026-11-24 10:30", "2026-11-24 11:30"),
    "the hour that is half": ("XNYS", "1h", NEW_YORK, "2026-11-24 15:30", "2026-11-24 16:00"),
    "four hours": ("XNYS", "4h", NEW_YORK, "2026-11-24 13:30", "2026-11-24 16:00"),
    "four hours, half day": ("XNYS", "4h", NEW_YORK, "2026-11-25 16:00", "2026-11-27 13:00"),
    "before lunch": ("XHKG", "1m", HONG_KONG, "2026-11-24 11:59", "2026-11-24 12:00"),
    "lunch": ("XHKG", "1m", HONG_KONG, "2026-11-24 12:00", "2026-11-24 13:01"),
    "an hour across lunch": ("XHKG", "1h", HONG_KONG, "2026-11-24 12:00", "2026-11-24 14:00"),
    "no afternoon": ("XHKG", "1m", HONG_KONG, "2026-12-24 12:00", "2026-12-28 09:31"),
    "a day": ("XNYS", "1d", NEW_YORK, "2026-11-24 16:00", "2026-11-25 16:00"),
    "the half day": ("XNYS", "1d", NEW_YORK, "2026-11-25 16:00", "2026-11-27 13:00"),
    "a week": ("XNYS", "1w", NEW_YORK, "2026-11-20 16:00", "2026-11-27 13:00"),
    "a month": ("XNYS", "1M", NEW_YORK, "2026-10-30 16:00", "2026-11-30 16:00"),
    "FX at the weekend": ("FX", "1m", NEW_YORK, "2026-11-20 17:00", "2026-11-22 17:01"),
    "FX hours": ("FX", "1h", UTC, "2026-11-24 10:00", "2026-11-24 11:00"),
    "FX, clocks back on Sunday": ("FX", "1m", UTC, "2026-10-30 21:00", "2026-11-01 22:01"),
    "FX, clocks on": ("FX", "1m", UTC, "2026-03-06 22:00", "2026-03-08 21:01"),
    "a day of FX": ("FX", "1d", NEW_YORK, "2026-11-20 17:00", "2026-11-23 17:00"),
    "crypto on a Sunday": ("24/7", "1m", UTC, "2026-11-22 03:00", "2026-11-22 03:01"),
    "a day of crypto": ("24/7", "1d", UTC, "2026-11-22 00:00", "2026-11-23 00:00"),
    "past the calendar's end": ("XSHG", "1d", SHANGHAI, "2027-01-04 15:00", "2027-01-05 15:00"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_overdue_begins_when_the_next_bar_falls_due_and_grows_until_it_is_there(name: str) -> None:
    """0 until then, whatever lies between; then seconds, through night, lunch and weekend."""
    exchange, interval, zone, end, following = CASES[name]
    state, known = feed(exchange, interval), SymbolState(0.0, at(end, zone), 100.0)
    due = at(following, zone) + 90
    for moment in (at(end, zone), (at(end, zone) + due) / 2, due):
        assert state.overdue(known, moment) == 0
    for late in (1.0, 3600.0, 86400.0, 5 * 86400.0):
        assert state.overdue(known, due + late) == late
    assert state.calendar.expected_bars(interval, at(end, zone), due - 90) == 1


@pytest.mark.parametrize("exchange", ["XNYS", "XHKG", "XLON", "FX", "24/7"])
@pytest.mark.parametrize("interval", ["1m", "15m", "1h", "4h", "1d", "1w", "1M"])
def test_a_feed_that_never_lags_is_never_overdue(exchange: str, interval: str) -> None:
    """Five weeks with both DST days, Thanksgiving and a half day, looked at every 37 minutes."""
    state = feed(exchange, interval)
    moment, end = at("2026-10-24 00:00", UTC), at("2026-11-28 00:00", UTC)
    while moment < end:
        newest = state.calendar.last_bar_end_before(interval, moment)
        assert newest <= moment
        assert state.overdue(SymbolState(0.0, newest, 1.0), moment) == 0
        assert state.calendar.first_bar_end_after(interval, newest) > moment
        moment += 37 * 60
