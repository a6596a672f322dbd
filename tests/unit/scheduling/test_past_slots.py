"""Slots of the past, as a person names them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from exporter.scheduling.past_slots import NoSlotsError, span
from tests.unit.scheduling.test_scheduler import at, scheduler_at, task

ZONE = "America/New_York"


@pytest.mark.parametrize(
    ("first", "last", "begin", "end"),
    [
        ("2026-11-20", "2026-11-20", "2026-11-20T00:00", "2026-11-20T23:59:59"),
        ("yesterday", "today", "2026-11-23T00:00", "2026-11-24T23:59:59"),
        ("2026-11-20T09:30", "2026-11-20T10:00", "2026-11-20T09:30", "2026-11-20T10:00"),
        ("2026-11-20T14:30Z", "2026-11-20", "2026-11-20T09:30", "2026-11-20T23:59:59"),
    ],
)
def test_days_and_moments_are_those_of_the_schedules_zone(
    first: str, last: str, begin: str, end: str
) -> None:
    """A day is all of it, however many hours it has."""
    now = at("2026-11-24T05:00")
    assert span(first, last, ZoneInfo(ZONE), now) == (at(begin), at(end))


async def test_too_many_and_what_cannot_be_are_refused_without_counting_them() -> None:
    """A schedule of seconds has 31 million slots a year."""
    h, clock = await scheduler_at("2026-11-24T07:00", t=task("every 1s"))
    with pytest.raises(NoSlotsError, match="more than 1000 slots"):
        h.scheduler.past_slots("t", at("2020-01-01T00:00"), clock.now(), ())
    assert h.scheduler.past_slots("t", -62e9, -61e9, ()) == []
    assert h.scheduler.past_slots("t", clock.now() + 5, 1e300, ()) == []
    for first, last in (("0001-01-01", "2026-11-24"), ("9999-12-31", "9999-12-31")):
        with pytest.raises(NoSlotsError):
            span(first, last, h.scheduler.zone("t"), clock.now())


async def test_slots_that_are_skipped_are_not_run_once_more() -> None:
    """A holiday has none; an exchange's days are its own."""
    h, _ = await scheduler_at("2026-11-30T07:00", t=task("06:00", exchange="XNYS"))
    found = h.scheduler.past_slots("t", at("2026-11-25T00:00"), at("2026-11-29T23:00"), ())
    assert [each.slot for each in found] == [at("2026-11-25T06:00"), at("2026-11-27T06:00")]
    assert h.scheduler.newest_slot("t") == at("2026-11-30T06:00")
