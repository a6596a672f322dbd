"""Slots: what each schedule means, on ordinary days and on the odd ones."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.calendars.loader import Calendar
from exporter.config import schedule_syntax as timetable
from exporter.scheduling.slots import Slot, around_session, next_slot, slots
from tests.unit.slot_properties import check_that_pieces_give_the_whole
from tests.unit.tables import Changes, calendar, table

NY, LONDON, HK = "America/New_York", "Europe/London", "Asia/Hong_Kong"
BASE = datetime(2026, 10, 20, tzinfo=ZoneInfo("UTC")).timestamp()


def at(text: str, zone: str = NY) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def found(schedule: str, first: str, last: str, exchange: str | None = None, zone: str = NY):
    cal = calendar(exchange) if exchange else None
    return list(
        slots(timetable.parse(schedule), ZoneInfo(zone), cal, at(first, zone), at(last, zone))
    )


def times(rows: list[Slot], zone: str = NY) -> list[str]:
    return [
        datetime.fromtimestamp(s.at, ZoneInfo(zone)).strftime("%d %H:%M")
        + (f" {s.skip}" if s.skip else "")
        for s in rows
    ]


@pytest.mark.parametrize(
    ("zone", "day", "after"),
    [(NY, "2026-11-01", "2026-10-31T12:00"), (LONDON, "2026-10-25", "2026-10-24T12:00")],
)
def test_a_time_in_the_repeated_hour_is_a_slot_once(zone: str, day: str, after: str) -> None:
    """01:30 on the fall day comes twice; the first one counts."""
    rows = found("01:30", after, f"{day}T12:00", zone=zone)
    assert [r.at for r in rows] == [at(f"{day}T01:30", zone)]


@pytest.mark.parametrize(
    ("zone", "missing", "first"),
    [
        (NY, "2026-03-08T02:30", "2026-03-08T03:00"),
        (LONDON, "2026-03-29T01:30", "2026-03-29T02:00"),
    ],
)
def test_a_time_in_the_missing_hour_is_a_slot_at_its_end(
    zone: str, missing: str, first: str
) -> None:
    """02:30 in New York and 01:30 in London run once, at the first moment after the gap."""
    day, clock = missing.split("T")
    assert [r.at for r in found(clock, f"{day}T00:00", f"{day}T23:00", zone=zone)] == [
        at(first, zone)
    ]


def test_every_counts_elapsed_time_through_the_change_of_clocks() -> None:
    """25 hourly slots on the fall day, 23 on the spring day; 12h and 1d gain no extra one."""
    assert len(found("every 1h", "2026-10-31T23:59", "2026-11-01T23:59")) == 25
    assert len(found("every 1h", "2026-03-07T23:59", "2026-03-08T23:59")) == 23
    assert times(found("every 1d", "2026-10-31T23:59", "2026-11-02T00:00")) == [
        "01 00:00", "02 00:00"]  # fmt: skip
    assert len(found("every 12h", "2026-10-31T23:59", "2026-11-01T23:59")) == 2
    assert times(found("every 7h", "2026-11-23T23:59", "2026-11-25T00:00")) == [
        "24 00:00", "24 07:00", "24 14:00", "24 21:00", "25 00:00"]  # fmt: skip


def test_a_schedule_may_name_its_own_zone() -> None:
    """Sunday 09:00 Berlin is 03:00 in New York, whatever the config's zone."""
    assert times(found("sun 09:00 Europe/Berlin", "2026-11-20T00:00", "2026-11-25T00:00")) == [
        "22 03:00"
    ]


def test_thanksgiving_week() -> None:
    """Holiday skipped; on the half day 14:00 is skipped, 07:00 and 16:30 are not moved."""
    span = ("2026-11-25T23:00", "2026-11-27T23:00")
    assert times(found("mon-fri 07:00", *span, "XNYS")) == ["26 07:00 exchange_closed", "27 07:00"]
    assert times(found("mon-fri 14:00", *span, "XNYS")) == [
        "26 14:00 exchange_closed", "27 14:00 early_close"]  # fmt: skip
    assert times(found("mon-fri 16:30", *span, "XNYS")) == ["26 16:30 exchange_closed", "27 16:30"]
    assert times(found("close + 30m", *span, "XNYS")) == ["27 13:30"]
    assert times(found("every 6h", "2026-11-26T23:00", span[1], "XNYS")) == [
        "27 00:00", "27 06:00", "27 12:00", "27 18:00"]  # fmt: skip
    assert times(found("every 5h", "2026-11-26T23:00", span[1], "XNYS"))[3] == (
        "27 15:00 early_close"
    )


def test_offsets_belong_to_their_session() -> None:
    """20 h before Monday's open is Sunday, and is no slot of a closed day."""
    assert times(found("open - 20h", "2026-11-28T00:00", "2026-11-30T12:00", "XNYS")) == [
        "29 13:30"
    ]
    assert times(found("open - 2h30m", "2026-12-24T00:00", "2026-12-28T12:00", "XNYS")) == [
        "24 07:00", "28 07:00"]  # fmt: skip


def test_an_evening_on_which_a_session_opens_counts_as_trading() -> None:
    """FX trades from Sunday 17:00: before that slots are skipped, from then on they run."""
    rows = found("every 30m", "2026-11-29T16:00", "2026-11-29T18:00", "FX")
    assert times(rows) == ["29 16:30 exchange_closed", "29 17:00", "29 17:30", "29 18:00"]
    assert times(found("sat 12:00", "2026-11-28T00:00", "2026-11-29T00:00", "FX")) == [
        "28 12:00 exchange_closed"
    ]


def test_the_zone_of_a_schedule_need_not_be_the_exchange_s() -> None:
    """The date that counts is the exchange's: Saturday morning in Tokyo is Friday in New York."""
    tokyo = "Asia/Tokyo"
    rows = found("sat 06:00 Asia/Tokyo", "2026-11-20T00:00", "2026-11-29T00:00", "XNYS")
    assert times(rows, tokyo) == ["21 06:00", "28 06:00"]
    rows = found("22:00 Asia/Tokyo", "2026-11-25T00:00", "2026-11-28T00:00", "XNYS")
    assert times(rows, tokyo) == ["25 22:00", "26 22:00 exchange_closed", "27 22:00"]


def test_the_day_after_thanksgiving() -> None:
    """Everything by the real close at 13:00; 13:00 itself is outside of the session."""

    def friday(schedule: str) -> list[str]:
        return times(found(schedule, "2026-11-26T00:00", "2026-11-28T00:00", "XNYS"))

    assert friday("close - 15m") == ["27 12:45"]
    assert friday("close + 30m") == ["27 13:30"]
    assert friday("open - 2h30m") == ["27 07:00"]
    assert friday("fri 12:59") == ["27 12:59"]
    assert friday("fri 13:00") == ["27 13:00 early_close"]
    assert friday("fri 16:30") == ["27 16:30"]
    assert friday("every 30m while open")[-1] == "27 12:30"


def test_while_open_starts_anew_after_lunch() -> None:
    """From the open, not at the close, not in the break."""
    rows = found("every 50m while open", "2026-11-24T00:00", "2026-11-24T23:00", "XHKG", HK)
    assert times(rows, HK) == [
        "24 09:30", "24 10:20", "24 11:10",
        "24 13:00", "24 13:50", "24 14:40", "24 15:30"]  # fmt: skip
    assert times(found("every 1h while open", "2026-11-27T00:00", "2026-11-28T00:00", "XNYS")) == [
        "27 09:30", "27 10:30", "27 11:30", "27 12:30"]  # fmt: skip


def test_a_late_open_skips_what_lies_before_it() -> None:
    """An override counts as a shortened session too."""
    late = Calendar("XNYS", table("XNYS"), Changes(late_open={date(2026, 11, 24): "11:00"}))
    rows = slots(timetable.parse("10:00"), ZoneInfo(NY), late,
                 at("2026-11-24T00:00"), at("2026-11-24T12:00"))  # fmt: skip
    assert [r.skip for r in rows] == ["early_close"]


def test_a_shortened_session_runs_from_its_own_open_to_before_its_own_close() -> None:
    """The regular open is skipped when it opens late; the late open itself runs."""
    late = Calendar("XNYS", table("XNYS"), Changes(late_open={date(2026, 11, 24): "11:00"}))
    for time, skip in (("09:29", None), ("09:30", "early_close"), ("11:00", None)):
        rows = slots(timetable.parse(time), ZoneInfo(NY), late,
                     at("2026-11-24T00:00"), at("2026-11-24T23:00"))  # fmt: skip
        assert [r.skip for r in rows] == [skip], time


@pytest.mark.parametrize(
    ("time", "schedule"),
    [
        ("15:45", "close - 15m"), ("16:00", "close"), ("14:15", "close - 1h45m"),
        ("09:30", "open"), ("09:45", "open + 15m"), ("12:45", "open + 3h15m"),
        ("12:46", "close - 3h14m"),
    ],
)  # fmt: skip
def test_a_time_of_day_can_be_said_by_open_or_close(time: str, schedule: str) -> None:
    """By the nearer of the two, as of a day with regular hours; and it can be read again."""
    half_day, regular = at(f"2026-11-27T{time}"), at(f"2026-11-24T{time}")
    xnys = calendar("XNYS")
    assert around_session(xnys, half_day) == schedule
    found = list(slots(timetable.parse(schedule), ZoneInfo(NY), xnys, regular - 1, regular))
    assert [slot.at for slot in found] == [regular]
    with pytest.raises(ValueError, match="XNYS has no session on 2026-11-26"):
        around_session(xnys, at("2026-11-26T12:00"))


def test_a_day_of_23_hours_has_23_hourly_slots_and_midnight_once() -> None:
    """The next day begins where it ends."""
    rows = found("every 1h", "2027-03-13T23:30", "2027-03-15T00:30")
    assert len(rows) == len({row.at for row in rows}) == 24


def test_the_next_slot_is_one_that_runs() -> None:
    """After Wednesday's, 14:00 runs on Monday again."""
    plan = timetable.parse("mon-fri 14:00")
    assert next_slot(plan, ZoneInfo(NY), calendar("XNYS"), at("2026-11-25T14:00")) == at(
        "2026-11-30T14:00"
    )


def test_past_its_end_shanghai_runs_on_weekdays() -> None:
    """2027-01-01 is not known to be a holiday: the task runs."""
    rows = found("mon-sun 10:00", "2027-01-01T00:00", "2027-01-02T12:00", "XSHG", "Asia/Shanghai")
    assert times(rows, "Asia/Shanghai") == ["01 10:00", "02 10:00 exchange_closed"]


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(
        ["mon-fri 07:00", "01:30", "02:30", "every 30m", "every 7h", "every 20m while open",
         "close + 30m", "open - 20h", "close - 15m"]
    ),
    st.sampled_from(["XNYS", "XHKG", "FX", "24/7"]),
    st.sampled_from([NY, LONDON, "Asia/Kathmandu", "Africa/Cairo", "UTC"]),
    st.integers(-230 * 48, 40 * 48),
    st.lists(st.integers(0, 3 * 86400), min_size=1, max_size=5),
)  # fmt: skip
def test_piecewise_enumeration_gives_each_slot_once_in_order(
    schedule: str, exchange: str, zone: str, start: int, pieces: list[int]
) -> None:
    """However often we wake, the slots are the same, strictly rising, and inside the span."""
    plan, first = timetable.parse(schedule), BASE + start * 1800
    check_that_pieces_give_the_whole(plan, zone, calendar(exchange), first, pieces)
