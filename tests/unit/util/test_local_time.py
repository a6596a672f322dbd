"""Local times on the days on which clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from exporter.util.local_time import date_of, day_bounds, is_midnight, local_time, midnight

NEW_YORK = ZoneInfo("America/New_York")


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("day", "minutes", "expected"),
    [
        (date(2026, 11, 24), 9 * 60 + 30, "2026-11-24T14:30"),
        (date(2026, 11, 24), -7 * 60, "2026-11-23T22:00"),
        (date(2026, 11, 24), 24 * 60, "2026-11-25T05:00"),
        (date(2026, 11, 1), 90, "2026-11-01T05:30"),  # repeated: the first one
        (date(2027, 3, 14), 150, "2027-03-14T07:00"),  # skipped: 03:00, the end of the gap
        (date(2027, 3, 14), 180, "2027-03-14T07:00"),
    ],
)
def test_a_wall_time_is_one_moment(day: date, minutes: int, expected: str) -> None:
    """First occurrence where clocks repeat it, end of the gap where they skip it."""
    assert local_time(day, minutes, NEW_YORK) == utc(expected)


def test_a_day_whose_midnight_does_not_exist_begins_at_one() -> None:
    """Cairo goes forward at 00:00."""
    cairo, day = ZoneInfo("Africa/Cairo"), date(2026, 4, 24)
    assert midnight(day, cairo) == utc("2026-04-23T22:00")
    start, end = day_bounds(day, cairo)
    assert end - start == 23 * 3600
    assert date_of(start, cairo) == day
    assert date_of(start - 1, cairo) == date(2026, 4, 23)
    assert not is_midnight(start, cairo)


def test_a_day_has_the_hours_that_the_clocks_give_it() -> None:
    """25 in autumn, 23 in spring."""
    for day, hours in ((date(2026, 11, 1), 25), (date(2027, 3, 14), 23), (date(2026, 6, 1), 24)):
        start, end = day_bounds(day, NEW_YORK)
        assert end - start == hours * 3600
        assert is_midnight(start, NEW_YORK)
