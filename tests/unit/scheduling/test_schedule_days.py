"""Schedules by crontab, trading day, nth day and offset, against an independent computation."""

from __future__ import annotations

import calendar as month_calendar
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import exchange_calendars
import pandas
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.calendars.loader import Calendar
from exporter.config.schedule_syntax import parse
from exporter.scheduling.in_words import in_words
from exporter.scheduling.session_facts import session_facts
from exporter.scheduling.slots import next_slot, slots, upcoming_slots
from tests.unit.slot_properties import check_that_pieces_give_the_whole
from tests.unit.tables import Changes, calendar, table

NY, LONDON, HK = "America/New_York", "Europe/London", "Asia/Hong_Kong"
ZONES = {"XNYS": NY, "XLON": LONDON, "XHKG": HK}


def at(text: str, zone: str = NY) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def moments(
    schedule: str, first: float, last: float, exchange: str | None = None, zone: str = NY
) -> list[float]:
    found = slots(
        parse(schedule), ZoneInfo(zone), calendar(exchange) if exchange else None, first, last
    )
    return [slot.at for slot in found if slot.skip is None]


def shown(schedule: str, first: str, last: str, exchange: str | None = None) -> list[str]:
    found = moments(schedule, at(first), at(last), exchange)
    return [datetime.fromtimestamp(t, ZoneInfo(NY)).strftime("%a %Y-%m-%d %H:%M") for t in found]


# --- crontab: every minute of a span is asked whether cron would run at it


def fields(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """One field as text, and the numbers that it means."""
    numbers = st.integers(low, high)
    everything = frozenset(range(low, high + 1))
    one = numbers.map(lambda n: (str(n), frozenset([n])))
    span = (
        st.tuples(numbers, numbers)
        .map(sorted)
        .map(lambda ends: (f"{ends[0]}-{ends[1]}", frozenset(range(ends[0], ends[1] + 1))))
    )
    stepped = st.tuples(numbers, numbers, st.integers(1, 9)).map(
        lambda t: (
            f"{min(t[:2])}-{max(t[:2])}/{t[2]}",
            frozenset(range(min(t[:2]), max(t[:2]) + 1, t[2])),
        )
    )
    star = st.integers(1, 9).map(
        lambda n: ("*", everything) if n == 1 else (f"*/{n}", frozenset(range(low, high + 1, n)))
    )
    single = st.one_of(one, span, stepped)
    several = st.lists(single, min_size=2, max_size=3).map(
        lambda parts: (",".join(t for t, _ in parts), frozenset().union(*(n for _, n in parts)))
    )
    return st.one_of(star, single, several)  # fmt: skip


def vixie_runs(parts: list[tuple[str, frozenset[int]]], local: datetime) -> bool:
    """What cron's manual says of a minute that the clock shows."""
    (_, minutes), (_, hours), (day_text, days), (_, months), (week_text, week) = parts
    by_day = local.day in days
    by_week = local.isoweekday() % 7 in week or (local.isoweekday() == 7 and 7 in week)
    starred = day_text.startswith("*") or week_text.startswith("*")
    meant = (by_day and by_week) if starred else (by_day or by_week)
    return meant and local.month in months and local.minute in minutes and local.hour in hours


@cache
def clock(zone: ZoneInfo, first: float) -> list[tuple[int, datetime]]:
    """Each minute of two days, and what the clock shows then."""
    span = range(int(first) - 7200, int(first) + 2 * 86400, 60)
    return [(m, datetime.fromtimestamp(m, zone).replace(tzinfo=None)) for m in span]


def brute_force(
    parts: list[tuple[str, frozenset[int]]], zone: ZoneInfo, first: float, last: float
) -> list[float]:
    """By looking at each minute. A job at set times runs at a repeated time once, and at a skipped
    one when the gap is over; one with a star in minute or hour runs as the clock is shown."""
    as_shown = parts[0][0].startswith("*") or parts[1][0].startswith("*")
    found = []
    newest = clock(zone, first)[0][1] - timedelta(minutes=1)
    for moment, local in clock(zone, first):
        if moment > last:
            break
        if as_shown:
            due = vixie_runs(parts, local)
        else:  # every time of day that the clock passed since it was last ahead of all before
            passed, due = newest, False
            while passed < local:
                passed += timedelta(minutes=1)
                due = due or vixie_runs(parts, passed)
            newest = max(newest, local)
        if due and moment > first:
            found.append(float(moment))
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(fields(0, 59), fields(0, 23), fields(1, 31), fields(1, 12), fields(0, 7)),
    st.sampled_from([
        (NY, "2026-10-31T20:00"), (NY, "2026-03-07T20:00"), (LONDON, "2026-10-24T20:00"),
        ("Australia/Lord_Howe", "2026-04-04T20:00"), ("Africa/Cairo", "2026-04-23T20:00"),
        ("UTC", "2026-02-27T20:00"), (NY, "2028-02-28T20:00"),
    ]),
)  # fmt: skip
@example(
    (("30", frozenset([30])), ("2", frozenset([2])), ("*", frozenset(range(1, 32))),
     ("*", frozenset(range(1, 13))), ("*", frozenset(range(8)))),
    (NY, "2026-03-07T20:00"),
)  # fmt: skip
def test_a_crontab_s_line_runs_when_cron_would_run_it(
    parts: tuple[tuple[str, frozenset[int]], ...], where: tuple[str, str]
) -> None:
    """On the days around a change of clocks, too; a day that does not exist is refused."""
    zone, start = where
    line = " ".join(text for text, _ in parts)
    try:
        parse(line)
    except ValueError as error:
        if "is a range of one" in str(error):
            assert any(a == b for a, b in re.findall(r"(\d+)-(\d+)/", line))
            return
        assert "a day that does not exist" in str(error)
        most = max(29 if m == 2 else 31 - (m in (4, 6, 9, 11)) for m in parts[3][1])
        assert min(parts[2][1]) > most
        return
    first = at(start, zone)
    last = first + 1.4 * 86400
    assert moments(line, first, last, zone=zone) == brute_force(
        list(parts), ZoneInfo(zone), first, last
    )


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("@daily", "0 0 * * *"), ("@midnight", "00:00"), ("@hourly", "0 * * * *"),
        ("@weekly", "sun 00:00"), ("@monthly", "first day of month 00:00"),
        ("@yearly", "first day of year 00:00"), ("@annually", "0 0 1 JAN *"),
        ("0 9 * * MON-FRI", "mon-fri 09:00"), ("0 9 * * 7", "sun 09:00"),
        ("0 9 * * mon,WED", "mon,wed 09:00"), ("30 16 L * *", "month end 16:30"),
        ("0 12 * * fri#3", "third fri 12:00"), ("0 12 * * 5L", "last fri 12:00"),
        ("0 9 * * 1-5 Europe/Berlin", "mon-fri 09:00 Europe/Berlin"),
        ("@daily UTC", "00:00 UTC"), ("5 */4 * * * UTC", "every 4h + 5m UTC"),
        ("0,30 9,15 * * *", "09:00, 09:30,15:00,15:30"),
    ],
)  # fmt: skip
def test_a_crontab_s_line_means_the_same_as_ours(line: str, same: str) -> None:
    """Two ways to write it."""
    span = (at("2026-11-05T00:30"), at("2028-01-05T00:00"))
    found = moments(line, *span)
    assert found == moments(same, *span)
    assert found


def test_a_dense_line_follows_the_clock_through_the_repeated_hour() -> None:
    """No hour without a run in autumn, no second run at once in spring."""
    fall = moments("*/5 * * * *", at("2026-10-31T23:58"), at("2026-11-01T23:58"))
    assert len(fall) == 25 * 12
    assert {b - a for a, b in pairwise(fall)} == {300.0}
    spring = moments("*/5 * * * *", at("2026-03-07T23:58"), at("2026-03-08T23:58"))
    assert len(spring) == 23 * 12


# --- trading days: exchange_calendars' own sessions, grouped by pandas


@cache
def closes(exchange: str) -> pandas.Series:  # type: ignore[type-arg]
    """Session to close, as the library has them."""
    return exchange_calendars.get_calendar(exchange, start="2020-01-01").closes


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["XNYS", "XLON", "XHKG"]),
    st.sampled_from([("week", "W-SUN"), ("month", "M"), ("quarter", "Q"), ("year", "Y")]),
    st.sampled_from([("first", 0), ("second", 1), ("3rd", 2), ("last", -1), ("second last", -2)]),
    st.integers(-180, 180),
    st.integers(0, 1800),
)  # fmt: skip
def test_the_nth_session_of_a_period_is_the_library_s(
    exchange: str, period: tuple[str, str], which: tuple[str, int], minutes: int, day: int
) -> None:
    """By its real close, with an offset; its date by a time of day, too."""
    word, rule = period
    nth, place = which
    known = closes(exchange)
    groups = known.groupby(known.index.to_period(rule))
    picked = [g.iloc[place] for _, g in groups if len(g) > max(place, -place - 1)]
    dates = [g.index[place].date() for _, g in groups if len(g) > max(place, -place - 1)]
    first = at("2020-02-01T00:00") + day * 86400
    last = first + 400 * 86400
    sign = "+" if minutes >= 0 else "-"
    wanted = [c.timestamp() + minutes * 60 for c in picked]
    full = known.index[0].timestamp() + 370 * 86400, known.index[-1].timestamp() - 370 * 86400
    span = (max(first, full[0]), min(last, full[1]))
    assert moments(f"{nth} close of {word} {sign} {abs(minutes)}m", *span, exchange) == [
        t for t in wanted if span[0] < t <= span[1]
    ]
    zone = ZONES[exchange]
    by_time = moments(f"{nth} trading day of {word} 07:15", *span, exchange, zone)
    assert [datetime.fromtimestamp(t, ZoneInfo(zone)).date() for t in by_time] == [
        d for d in dates if span[0] < at(f"{d}T07:15", zone) <= span[1]
    ]


@given(st.integers(2020, 2040), st.integers(1, 12), st.integers(0, 6), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_the_nth_weekday_is_the_calendar_s(year: int, month: int, weekday: int, nth: int) -> None:
    """A month without a fifth one has none; the last is the fourth or the fifth."""
    weeks = month_calendar.monthcalendar(year, month)
    days = [week[weekday] for week in weeks if week[weekday]]
    name = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[weekday]
    span = (at(f"{year}-{month:02}-01T00:00") - 1, at(f"{year}-{month:02}-{max(days)}T23:00"))
    word = ("first", "2nd", "third", "4th", "fifth")[nth - 1]

    def on(schedule: str) -> list[int]:
        return [datetime.fromtimestamp(t, ZoneInfo(NY)).day for t in moments(schedule, *span)]

    assert on(f"{word} {name} 12:00") == days[nth - 1 : nth]
    assert on(f"last {name} of month 12:00") == [days[-1]]


CHANGES = {
    NY: ("2026-03-08", "2026-11-01"), LONDON: ("2026-03-29", "2026-10-25"),
    "Australia/Sydney": ("2026-04-05", "2026-10-04"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),  # by half an hour
    "America/Santiago": ("2026-04-05", "2026-09-06"),  # at midnight
    "Africa/Cairo": ("2026-04-24", "2026-10-30"), "Asia/Beirut": ("2026-03-29", "2026-10-25"),
    "Pacific/Apia": ("2011-09-24", "2011-12-30"),  # that day was left out
    "Europe/Dublin": ("2027-12-31", "2028-02-29"),
}  # fmt: skip
"""Days on which clocks change in both hemispheres, the leap day, and the year's end."""


@given(
    st.sampled_from(sorted(CHANGES)), st.integers(0, 1), st.integers(0, 1439), st.integers(-2, 2)
)
@settings(max_examples=150, deadline=None)
def test_a_time_of_day_is_a_slot_once_when_the_clock_first_reaches_it(
    zone: str, which: int, minute: int, days: int
) -> None:
    """Every minute around a change is asked what the clock on the wall shows; what it skips is
    reached with the first minute after the gap."""
    middle = date.fromisoformat(CHANGES[zone][which])
    wanted = datetime.combine(middle + timedelta(days), datetime.min.time()) + timedelta(
        minutes=minute
    )
    start = int(at(f"{wanted.date()}T00:00", "UTC")) - 16 * 3600
    clock = ((t, datetime.fromtimestamp(t, ZoneInfo(zone))) for t in range(start, 1 << 40, 60))
    reached = next(t for t, shows in clock if shows.replace(tzinfo=None) >= wanted)
    found = moments(f"{minute // 60:02}:{minute % 60:02}", reached - 90000, reached + 1, zone=zone)
    assert reached in found
    by_crontab = moments(
        f"{minute % 60} {minute // 60} * * *", reached - 90000, reached + 1, zone=zone
    )
    assert by_crontab == found


@given(st.integers(1, 1440), st.data(), st.sampled_from([NY, LONDON, "Asia/Kathmandu"]))
@settings(max_examples=60, deadline=None)
def test_an_offset_moves_every_slot(minutes: int, data: st.DataObject, zone: str) -> None:
    """Also over midnight, and on days on which the clocks change."""
    late = data.draw(st.integers(0, minutes * 60 - 1))
    day = data.draw(st.sampled_from(["2026-03-08", "2026-11-01", "2026-10-25", "2026-06-01"]))
    first, last = at(f"{day}T00:00", zone) - 86400, at(f"{day}T00:00", zone) + 2 * 86400
    plain = moments(f"every {minutes}m", first - 2 * 86400, last, zone=zone)
    moved = moments(f"every {minutes}m + {late}s", first, last, zone=zone)
    assert moved == [t + late for t in plain if first < t + late <= last]


def test_an_offset_while_open_ends_with_the_session() -> None:
    """Twenty seconds after each bar's start, lunch left out."""
    found = shown("every 2h + 20m while open", "2026-11-27T00:00", "2026-11-27T23:00", "XNYS")
    assert found == ["Fri 2026-11-27 09:50", "Fri 2026-11-27 11:50"]


def test_the_month_s_last_session_may_be_shortened_or_declared_closed() -> None:
    """The Friday after Thanksgiving 2024 closed at 13:00 and was November's last trading day."""
    span = ("2024-11-01T00:00", "2024-12-02T00:00", "XNYS")
    assert shown("last close - 15m", *span) == ["Fri 2024-11-29 12:45"]
    assert shown("first open + 30m", *span) == ["Fri 2024-11-01 10:00"]
    assert shown("last trading day 16:30", *span) == ["Fri 2024-11-29 16:30"]
    assert shown("third fri close - 1h", *span) == ["Fri 2024-11-15 15:00"]
    closed = Calendar("XNYS", table("XNYS"), Changes(closed=(date(2024, 11, 29),)))
    plan = parse("last close - 15m")
    assert next_slot(plan, ZoneInfo(NY), closed, at(span[0])) == at("2024-11-27T15:45")


def test_on_names_the_only_days() -> None:
    """With any schedule; a day without a session stays one."""
    days = [date(2026, 11, 27), date(2026, 11, 26), date(2027, 1, 4)]

    def found(schedule: str) -> list[str]:
        plan = parse(schedule, days)
        ahead = slots(plan, ZoneInfo(NY), calendar("XNYS"), at("2026-11-01T00:00"),
                      at("2027-02-01T00:00"))  # fmt: skip
        local = ((datetime.fromtimestamp(s.at, ZoneInfo(NY)), s.skip) for s in ahead)
        return [f"{t:%m-%d %H:%M}" + (f" {skip}" if skip else "") for t, skip in local]

    assert found("10:00") == ["11-26 10:00 exchange_closed", "11-27 10:00", "01-04 10:00"]
    assert found("close - 15m") == ["11-27 12:45", "01-04 15:45"]
    assert found("mon 0:30,23:00") == ["01-04 00:30", "01-04 23:00"]
    assert len(found("every 6h")) == 12
    assert next_slot(parse("10:00", days), ZoneInfo(NY), None, at("2027-01-04T10:00")) is None


def test_a_29th_of_february_is_found_years_ahead() -> None:
    """There is none in 2100."""
    plan, utc = parse("0 9 29 2 *"), ZoneInfo("UTC")
    assert next_slot(plan, utc, None, at("2096-03-01T00:00", "UTC")) == at(
        "2104-02-29T09:00", "UTC"
    )


SCHEDULES = (
    "*/5 * * * *", "30 1,2 * * *", "last trading day of week 09:30,16:30", "month end 02:30",
    "second last close - 90m", "every 4h + 5m", "every 30m + 7m while open", "first open of week",
    "0 */3 1-7 * mon",
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SCHEDULES),
    st.sampled_from(["XNYS", "XHKG", "FX"]),
    st.sampled_from([NY, LONDON, "Africa/Cairo", "UTC"]),
    st.integers(-230 * 48, 40 * 48),
    st.lists(st.integers(0, 3 * 86400), min_size=1, max_size=5),
)
def test_piecewise_enumeration_gives_each_slot_once_in_order(
    schedule: str, exchange: str, zone: str, start: int, pieces: list[int]
) -> None:
    """However often we wake, the slots are the same, strictly rising, and inside the span."""
    cal = None if schedule == "month end 02:30" else calendar(exchange)
    first = at("2026-10-20T00:00") + start * 1800
    check_that_pieces_give_the_whole(parse(schedule), zone, cal, first, pieces)


@pytest.mark.parametrize(
    ("schedule", "exchange", "words"),
    [
        ("mon-fri 07:00", None, "Monday to Friday at 07:00 (America/New_York)"),
        ("09:30, 12:00,15:30 UTC", "XNYS",
         "every day at 09:30, 12:00 and 15:30, on trading days of XNYS (UTC)"),
        ("sun,wed 09:00", None, "Wednesday and Sunday at 09:00 (America/New_York)"),
        ("every 4h + 5m", None, "every 4h from 5m after midnight (America/New_York)"),
        ("every 5m while open", "XNYS", "every 5m from each open to the close of XNYS"),
        ("close + 30m", "XNYS", "30m after the close of XNYS"),
        ("first open of quarter", "XNYS",
         "on the first trading day of each quarter, at the open of XNYS"),
        ("second last close - 15m", "XNYS",
         "on the second last trading day of each month, 15m before the close of XNYS"),
        ("21st trading day 16:30", "XNYS", "on the 21st trading day of each month at 16:30, "
         "on trading days of XNYS (America/New_York)"),
        ("third fri 16:30", None, "on the third Friday of each month at 16:30 (America/New_York)"),
        ("month end 16:30", None, "on the last day of each month at 16:30 (America/New_York)"),
        ("*/15 9-16 * * 1-5", None, "every 15th minute from 09:00 through 16:59 on Monday through "
         "Friday (America/New_York)"),
        ("0 9 1,15 * mon", None, "at 09:00 on the first and the 15th day of month and on Monday "
         "(either is enough) (America/New_York)"),
        ("0 9 */2 * mon", None, "at 09:00 on every second day of month if it's on Monday "
         "(America/New_York)"),
    ],
)  # fmt: skip
def test_a_schedule_is_said_in_words(schedule: str, exchange: str | None, words: str) -> None:
    """As `check` and `tasks` show it."""
    assert in_words(parse(schedule), exchange, NY) == words


def test_on_is_said_in_words() -> None:
    """After the schedule."""
    plan = parse("10:00", [date(2027, 1, 4), date(2026, 11, 27)])
    assert in_words(plan, None, NY) == (
        "every day at 10:00, only on 2026-11-27 and 2027-01-04 (America/New_York)"
    )


def facts(schedule: str, moment: str, exchange: str = "XNYS") -> dict[str, str]:
    return dict(session_facts(parse(schedule), calendar(exchange), at(moment)))


def test_a_run_knows_its_exchange_s_day() -> None:
    """The day after Thanksgiving: shortened, and the week's last, but not the month's."""
    assert facts("12:00", "2026-11-27T12:00") == {
        "EXCHANGE": "XNYS", "SESSION": "2026-11-27",
        "SESSION_OPEN": f"{at('2026-11-27T09:30'):.0f}",
        "SESSION_CLOSE": f"{at('2026-11-27T13:00'):.0f}", "SESSION_SHORTENED": "1",
        "PREVIOUS_SESSION": "2026-11-25", "NEXT_SESSION": "2026-11-30",
        "FIRST_SESSION_OF_WEEK": "0", "LAST_SESSION_OF_WEEK": "1",
        "FIRST_SESSION_OF_MONTH": "0", "LAST_SESSION_OF_MONTH": "0",
        "FIRST_SESSION_OF_QUARTER": "0", "LAST_SESSION_OF_QUARTER": "0",
    }  # fmt: skip
    assert facts("12:00", "2026-11-30T12:00")["LAST_SESSION_OF_MONTH"] == "1"


def test_a_day_without_a_session_has_its_neighbours_only() -> None:
    """A run that is started by hand on Thanksgiving."""
    assert facts("12:00", "2026-11-26T12:00") == {
        "EXCHANGE": "XNYS", "PREVIOUS_SESSION": "2026-11-25", "NEXT_SESSION": "2026-11-27"
    }  # fmt: skip


def test_a_slot_by_open_or_close_has_the_facts_of_its_own_session() -> None:
    """20 h before Monday's open is Sunday; FX opens on Sunday evening for Monday."""
    assert facts("open - 20h", "2026-11-29T13:30")["SESSION"] == "2026-11-30"
    assert facts("every 1h while open", "2026-11-29T18:00", "FX")["SESSION"] == "2026-11-30"


def test_the_next_slots_are_those_that_run() -> None:
    """Thanksgiving is left out."""

    def ahead() -> Iterator[float]:
        return upcoming_slots(parse("mon-fri 07:00"), ZoneInfo(NY), calendar("XNYS"),
                              at("2026-11-25T00:00"))  # fmt: skip

    assert list(islice(ahead(), 3)) == [
        at(f"2026-11-{day}T07:00") for day in ("25", "27", "30")
    ]  # fmt: skip
