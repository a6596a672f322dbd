"""Sessions: trading days, half days, lunch, DST, FX, 24/7, overrides, the table's end."""

from __future__ import annotations

import math
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from exporter.calendars.loader import Calendar
from exporter.calendars.own_hours import table_of
from exporter.config import OwnExchange
from tests.unit.tables import Changes, calendar, table

NY, LONDON = "America/New_York", "Europe/London"


def at(text: str, zone: str = NY) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def test_thanksgiving_is_closed_and_the_day_after_ends_early() -> None:
    """2026-11-26 has no session; 2026-11-27 closes at 13:00 and says that 16:00 is regular."""
    xnys = calendar("XNYS")
    assert not xnys.session_on(date(2026, 11, 26))
    for day in (date(2026, 11, 27), date(2026, 12, 24)):
        session = xnys.session_on(day)
        assert session is not None
        assert session.close == at(f"{day}T13:00")
        assert session.regular_close == at(f"{day}T16:00")
        assert session.open == session.regular_open == at(f"{day}T09:30")


def test_new_york_and_london_change_clocks_on_their_own_days() -> None:
    """Between the two changes London opens an hour closer to New York."""
    for day, hours in (("2026-03-06", 6.5), ("2026-03-16", 5.5), ("2026-03-30", 6.5),
                       ("2026-10-26", 5.5), ("2026-11-02", 6.5)):  # fmt: skip
        london = calendar("XLON").session_on(date.fromisoformat(day))
        new_york = calendar("XNYS").session_on(date.fromisoformat(day))
        assert london and new_york
        assert new_york.open - london.open == hours * 3600
        assert london.open == at(f"{day}T08:00", LONDON)


@pytest.mark.parametrize(
    ("name", "zone", "lunch"),
    [("XHKG", "Asia/Hong_Kong", ("12:00", "13:00")), ("XSHG", "Asia/Shanghai", ("11:30", "13:00"))],
)
def test_lunch_is_in_the_session_but_not_open(name: str, zone: str, lunch: tuple[str, str]) -> None:
    """The break is closed at its first moment and open at its end."""
    cal = calendar(name)
    start, end = (at(f"2026-11-24T{t}", zone) for t in lunch)
    session = cal.session_at(start)
    assert session and session.pause == (start, end)
    assert [cal.is_open(t) for t in (start - 1, start, end - 1, end)] == [True, False, False, True]
    assert cal.next_open(start) == end
    assert cal.next_close(start) == session.close


@pytest.mark.parametrize("name", ["XHKG", "XNYS", "CMES", "FX", "24/7"])
def test_between_two_changes_an_exchange_stays_as_it_is(name: str) -> None:
    """Thanksgiving week, looked at every ten minutes."""
    cal, t, end = calendar(name), at("2026-11-22T00:00"), at("2026-11-29T00:00")
    while t < end:
        change = cal.next_change(t)
        assert change > t
        moments = [t + 600 * n for n in range(int((min(change, end) - t) / 600))]
        assert {cal.is_open(moment) for moment in moments} <= {cal.is_open(t)}
        if cal.continuous is False:
            assert cal.is_open(change) is not cal.is_open(t)
        t = change


def test_a_half_day_in_hong_kong_has_no_lunch() -> None:
    """2026-12-24 ends at 12:00."""
    session = calendar("XHKG").session_on(date(2026, 12, 24))
    assert session and session.pause is None
    assert session.close == at("2026-12-24T12:00", "Asia/Hong_Kong")


def test_past_its_end_shanghai_trades_on_weekdays() -> None:
    """The table ends 2026-12-31; New Year's Day counts as a trading day, Saturday does not."""
    xshg = calendar("XSHG")
    assert xshg.end == at("2027-01-01T00:00", "Asia/Shanghai")
    session = xshg.session_on(date(2027, 1, 1))
    assert session and session.open == at("2027-01-01T09:30", "Asia/Shanghai")
    assert session.pause == (at("2027-01-01T11:30", "Asia/Shanghai"),
                             at("2027-01-01T13:00", "Asia/Shanghai"))  # fmt: skip
    assert not xshg.session_on(date(2027, 1, 2))


def test_fx_runs_from_sunday_to_friday_evening() -> None:
    """One session a trade day; open from Sunday 17:00 to Friday 17:00 New York."""
    fx = calendar("FX")
    sunday, friday = at("2026-11-22T17:00"), at("2026-11-27T17:00")
    assert [fx.is_open(t) for t in (sunday - 1, sunday, friday - 1, friday)] == [
        False, True, True, False]  # fmt: skip
    assert fx.next_close(sunday) == fx.next_close(friday - 1) == friday
    assert fx.next_open(sunday) == fx.next_open(friday) == at("2026-11-29T17:00")
    monday = fx.session_at(sunday)
    assert monday and monday.day == date(2026, 11, 23)
    assert fx.end == math.inf


def test_always_open_never_closes() -> None:
    """24/7 has a session per UTC day and neither a next open nor a next close."""
    cal = calendar("24/7")
    assert cal.is_open(at("2026-12-25T03:00", "UTC"))
    assert cal.next_open(0.0) == cal.next_close(0.0) == math.inf


def test_overrides_close_shorten_and_delay() -> None:
    """What the user says wins; a cut through lunch leaves one piece."""
    day = date(2026, 11, 24)
    zone = "Asia/Hong_Kong"
    base = table("XHKG")
    assert Calendar("XHKG", base, Changes(closed=(day,))).session_on(day) is None
    for close, expected in (("11:00", "11:00"), ("12:30", "12:00"), ("13:00", "12:00")):
        cut = Calendar("XHKG", base, Changes(early_close={day: close})).session_on(day)
        assert cut and cut.pause is None and cut.close == at(f"{day}T{expected}", zone)
        assert cut.regular_close == at(f"{day}T16:00", zone)
    late = Calendar("XHKG", base, Changes(late_open={day: "12:15"})).session_on(day)
    assert late and late.pause is None and late.open == at(f"{day}T13:00", zone)
    afternoon = Calendar("XHKG", base, Changes(early_close={day: "15:00"})).session_on(day)
    assert afternoon and afternoon.pause and afternoon.close == at(f"{day}T15:00", zone)


def test_fx_is_closed_on_christmas_and_new_years_day_unless_somebody_quotes_then() -> None:
    """From 17:00 of the day before to 17:00 of the day; overridable."""
    fx = calendar("FX")
    for day in ("2026-12-25", "2027-01-01"):
        end = at(f"{day}T17:00")
        before = end - 86400
        assert [fx.is_open(t) for t in (before - 1, before, end - 1)] == [True, False, False]
    assert fx.next_open(at("2026-12-24T18:00")) == at("2026-12-27T17:00")
    assert fx.is_open(at("2029-12-25T17:00"))  # a Tuesday: Wednesday's session follows
    assert fx.expected_bars("1m", at("2026-12-24T17:00"), at("2026-12-25T17:00")) == 0
    christmas = date(2026, 12, 25)
    quoted = Calendar("FX", table("FX"), Changes(open={christmas: "regular"}))
    assert quoted.is_open(at("2026-12-24T18:00"))


@pytest.mark.parametrize("name", ["CMES", "us_futures"])
def test_globex_pauses_for_an_hour_every_day(name: str) -> None:
    """16:00 to 17:00 in Chicago; an early close stays what it is."""
    cme, chicago = calendar(name), "America/Chicago"
    monday = at("2026-11-23T16:00", chicago)
    assert [cme.is_open(t) for t in (monday - 1, monday, monday + 3599, monday + 3600)] == [
        True, False, False, True]  # fmt: skip
    assert cme.next_close(monday - 1) == monday
    assert cme.next_open(monday) == monday + 3600
    assert cme.expected_bars("1m", monday, monday + 3600) == 0
    thanksgiving = cme.session_on(date(2026, 11, 26))
    if name == "CMES":
        assert thanksgiving and thanksgiving.close == at("2026-11-26T12:00", chicago)
        assert thanksgiving.regular_close == at("2026-11-26T16:00", chicago)
    assert cme.unused_overrides() == []


def test_a_day_without_a_session_can_be_opened() -> None:
    """A special session on a Sunday, by its hours or by the regular ones; other hours on a day."""
    sunday, holiday, tuesday = date(2026, 11, 22), date(2026, 11, 26), date(2026, 11, 24)
    special = Changes(
        open={sunday: "10:00-13:00", holiday: "regular", tuesday: "18:00-12:00"},
        early_close={holiday: "13:00"},
    )
    xnys = Calendar("XNYS", table("XNYS"), special)
    session = xnys.session_on(sunday)
    assert session
    assert (session.open, session.close) == (at("2026-11-22T10:00"), at("2026-11-22T13:00"))
    assert (session.regular_open, session.regular_close) == (session.open, session.close)
    opened = xnys.session_on(holiday)
    assert opened and opened.open == at(f"{holiday}T09:30")
    assert opened.close == at(f"{holiday}T13:00")
    overnight = xnys.session_on(tuesday)
    assert overnight and overnight.open == at("2026-11-23T18:00")
    regular_sunday = Calendar("XNYS", table("XNYS"), Changes(open={sunday: "regular"}))
    assert regular_sunday.is_open(at("2026-11-22T15:59"))
    assert xnys.unused_overrides() == []


def test_a_late_open_is_within_the_session_also_where_that_began_the_evening_before() -> None:
    """FX opens at 17:00: 18:00 is an hour later, and 09:00 the next morning."""
    day = date(2026, 11, 24)
    for time, expected in (("18:00", "2026-11-23T18:00"), ("09:00", "2026-11-24T09:00")):
        late = Calendar("FX", table("FX"), Changes(late_open={day: time})).session_on(day)
        assert late and late.open == at(expected)
        assert late.close == at("2026-11-24T17:00")


@pytest.mark.parametrize(
    ("changes", "key", "why"),
    [
        (Changes(closed=(date(2026, 11, 26),)), "closed", "there is no session that day"),
        (Changes(early_close={date(2026, 11, 22): "13:00"}), "early_close", "there is no session"),
        (Changes(early_close={date(2026, 11, 24): "16:00"}), "early_close", "is 09:30-16:00"),
        (Changes(late_open={date(2026, 11, 24): "17:00"}), "late_open", "is 09:30-16:00"),
        (Changes(late_open={date(2026, 11, 27): "13:30"}), "late_open", "is 09:30-13:00"),
        (Changes(open={date(2026, 11, 24): "regular"}), "open", "is 09:30-16:00 anyway"),
    ],
)
def test_an_override_that_changes_nothing_is_found_and_deletes_no_day(
    changes: Changes, key: str, why: str
) -> None:
    """The session stays as the calendar has it."""
    xnys = Calendar("XNYS", table("XNYS"), changes)
    (unused,) = xnys.unused_overrides()
    assert unused.key == key
    assert why in unused.why
    assert xnys.session_on(unused.day) == calendar("XNYS").session_on(unused.day)


def test_an_exchange_of_ones_own_has_its_hours_and_its_overrides() -> None:
    """Lunch, weekdays and evening opens; holidays are overrides."""
    zone, day = "Asia/Kuala_Lumpur", date(2026, 11, 24)
    hours = OwnExchange(timezone=zone, hours="09:00-17:00", lunch="12:30-14:30")
    myx = Calendar("MYX", table_of(hours), Changes(closed=(date(2026, 11, 25),)))
    session = myx.session_on(day)
    assert session and (session.open, session.close) == (
        at(f"{day}T09:00", zone), at(f"{day}T17:00", zone))  # fmt: skip
    assert not myx.is_open(at(f"{day}T13:00", zone))
    assert [myx.session_on(date(2026, 11, d)) is None for d in (25, 26, 27, 28, 29)] == [
        True, False, False, True, True]  # fmt: skip
    night = OwnExchange(timezone=zone, days="sun-thu", hours="18:00-02:00")
    around = OwnExchange(timezone=zone, hours="17:00-17:00")
    all_day = Calendar("AROUND", table_of(around)).session_on(day)
    assert all_day and all_day.close - all_day.open == 86400
    opened = Calendar("NIGHT", table_of(night)).session_on(date(2026, 11, 22))
    assert opened and opened.open == at("2026-11-21T18:00", zone)


def test_neighbouring_sessions_skip_the_holiday() -> None:
    """From Thanksgiving, Wednesday is previous and Friday next; bounds are exact."""
    xnys = calendar("XNYS")
    noon = at("2026-11-26T12:00")
    assert xnys.previous_session(noon).day == date(2026, 11, 25)
    assert xnys.next_session(noon).day == date(2026, 11, 27)
    close = at("2026-11-25T16:00")
    assert xnys.previous_session(close).day == date(2026, 11, 25)
    assert xnys.previous_session(close - 1).day == date(2026, 11, 24)
    days = [s.day.day for s in xnys.sessions(close, at("2026-11-30T09:30"))]
    assert days == [27]


def test_an_exchange_whose_records_begin_late_is_known_from_there() -> None:
    """XSAU is recorded from 2021 on; it trades from Sunday to Thursday."""
    xsau = calendar("XSAU")
    assert xsau.session_on(date(2026, 11, 22))
    assert not xsau.session_on(date(2026, 11, 27))
