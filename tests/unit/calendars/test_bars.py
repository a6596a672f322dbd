"""Bars: where they end and how many there are, against a slow enumeration."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.calendars.bars import INTERVAL_SECONDS
from exporter.calendars.loader import Calendar
from tests.unit.tables import calendar, table

NY = "America/New_York"
BASE = datetime(2026, 10, 20, tzinfo=ZoneInfo("UTC")).timestamp()
INTRADAY = ["1m", "15m", "1h", "2h", "4h"]


def at(text: str, zone: str = NY) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def slow_ends(cal: Calendar, interval: str, start: float, end: float) -> list[float]:
    """Bar ends in (start, end], found by walking from one bar to the next."""
    step = INTERVAL_SECONDS[interval]
    ends: set[float] = set()
    spans = [seg for s in cal.sessions(start - 86400, end + 86400) for seg in s.segments]
    if cal.continuous:
        joined: list[tuple[float, float]] = []
        for opened, closed in spans:
            if joined and joined[-1][1] == opened:
                joined[-1] = (joined[-1][0], closed)
            else:
                joined.append((opened, closed))
        spans = joined
    for opened, closed in spans:
        edge = opened - opened % step if cal.continuous else opened
        while edge < closed:
            edge = min(edge + step, closed)
            ends.add(edge)
    return sorted(e for e in ends if start < e <= end)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["XNYS", "XHKG", "XLON", "FX", "24/7"]),
    st.sampled_from(INTRADAY),
    st.integers(0, 50 * 96),
    st.integers(0, 6 * 96),
)
def test_counts_agree_with_walking(name: str, interval: str, start: int, length: int) -> None:
    """Counting is arithmetic; walking bar by bar finds the same, and so do first and last."""
    cal = calendar(name)
    after = BASE + start * 900
    until = after + length * 900
    ends = slow_ends(cal, interval, after, until)
    assert cal.expected_bars(interval, after, until) == len(ends)
    if ends:
        assert cal.first_bar_end_after(interval, after) == ends[0]
        assert cal.last_bar_end_before(interval, until) == ends[-1]
        assert cal.bar_end(ends[-1] - 1, interval) >= ends[-1]


def test_hourly_bars_start_at_the_open_and_the_last_is_short() -> None:
    """XNYS 1h: 09:30 to 10:30, …, and 15:30 to 16:00; 12:30 to 13:00 on a half day."""
    xnys = calendar("XNYS")
    assert xnys.bar_end(at("2026-11-24T09:30"), "1h") == at("2026-11-24T10:30")
    assert xnys.bar_end(at("2026-11-24T15:30"), "1h") == at("2026-11-24T16:00")
    assert xnys.bar_end(at("2026-11-27T12:30"), "1h") == at("2026-11-27T13:00")
    assert xnys.expected_bars("1h", at("2026-11-27T00:00"), at("2026-11-28T00:00")) == 4
    assert xnys.bar_end(at("2026-11-24T07:00"), "1h") == at("2026-11-24T08:00")


def test_lunch_starts_the_grid_anew() -> None:
    """XSHG 1h: 11:30 ends the morning's short bar, and 13:00 to 14:00 follows."""
    xshg, zone = calendar("XSHG"), "Asia/Shanghai"
    assert xshg.bar_end(at("2026-11-24T10:30", zone), "2h") == at("2026-11-24T11:30", zone)
    assert xshg.first_bar_end_after("1h", at("2026-11-24T11:30", zone)) == at(
        "2026-11-24T14:00", zone
    )


@pytest.mark.parametrize("stamp", ["2026-11-27T00:00", "2026-11-26T19:00", "2026-11-27T09:30"])
def test_a_daily_bar_ends_at_the_close_however_it_is_stamped(stamp: str) -> None:
    """Local midnight, 00:00 UTC of the date (19:00 the evening before) and the open are one."""
    assert calendar("XNYS").bar_end(at(stamp), "1d") == at("2026-11-27T13:00")


def test_daily_bars_of_fx_end_in_the_new_york_evening() -> None:
    """A trade day's bar ends at 17:00, and Friday's is followed by Monday's."""
    fx = calendar("FX")
    assert fx.bar_end(at("2026-11-27T00:00", "UTC"), "1d") == at("2026-11-27T17:00")
    assert fx.first_bar_end_after("1d", at("2026-11-27T17:00")) == at("2026-11-30T17:00")
    assert fx.bar_end(at("2026-11-27T20:00", "UTC"), "4h") == at("2026-11-27T17:00")
    assert fx.bar_end(at("2026-11-24T20:00", "UTC"), "4h") == at("2026-11-25T00:00", "UTC")


def test_a_daily_bar_of_fx_that_is_stamped_at_its_open_belongs_to_the_next_day() -> None:
    """Sunday 18:00 in New York is Monday's trading."""
    fx, end = calendar("FX"), at("2026-11-30T17:00")
    assert fx.bar_end(at("2026-11-29T18:00"), "1d") == end
    assert fx.bar_end(at("2026-11-30T00:00"), "1d") == end
    assert fx.bar_end(at("2026-11-30T00:00", "UTC"), "1d") == end


def test_a_long_bar_is_closed_by_its_own_period_whatever_day_it_is_stamped() -> None:
    """A Tuesday's ends on Tuesday; a week's may be stamped on its Wednesday."""
    xnys = calendar("XNYS")
    assert xnys.bar_end(at("2026-11-24T00:00"), "1d") == at("2026-11-24T16:00")
    assert xnys.bar_end(at("2026-11-25T09:30"), "1w") == at("2026-11-27T13:00")
    assert xnys.bar_end(at("2026-11-17T00:00"), "1M") == at("2026-11-30T16:00")


def test_a_long_bar_without_a_session_lasts_its_nominal_length() -> None:
    """A source that stamps a bar on a holiday is odd, but no reason to fail."""
    holiday = at("2026-11-26T00:00")
    assert calendar("XNYS").bar_end(holiday, "1d") == holiday + 86400
    closed = Calendar("XNYS", replace(table("XNYS"), days="", regular=(None,) * 7))
    assert closed.bar_end(holiday, "1w") == holiday + 7 * 86400


def test_weeks_and_months_end_with_their_last_session() -> None:
    """The week of Thanksgiving ends Friday 13:00; November on Monday the 30th."""
    xnys = calendar("XNYS")
    assert xnys.bar_end(at("2026-11-23T00:00"), "1w") == at("2026-11-27T13:00")
    assert xnys.bar_end(at("2026-11-01T00:00", "UTC"), "1M") == at("2026-11-30T16:00")
    assert xnys.expected_bars("1w", at("2026-11-01T00:00"), at("2026-11-30T00:00")) == 4
    assert xnys.first_bar_end_after("1M", at("2026-11-24T00:00")) == at("2026-11-30T16:00")
    assert xnys.last_bar_end_before("1w", at("2026-11-27T12:00")) == at("2026-11-20T16:00")


def test_nothing_falls_due_on_a_holiday() -> None:
    """All of Thanksgiving expects no bar of any interval."""
    for interval in (*INTRADAY, "1d"):
        assert (
            calendar("XNYS").expected_bars(interval, at("2026-11-25T16:00"), at("2026-11-27T09:30"))
            == 0
        )
    assert calendar("XNYS").day_of(at("2026-11-26T23:59")) == date(2026, 11, 26)
