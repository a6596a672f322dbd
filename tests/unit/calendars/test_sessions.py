"""Sessions: trading days, half days, lunch, DST, FX, 24/7, overrides, the table's end."""

from __future__ import annotations

import math
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from exporter.calendars.loader import Calendar
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
