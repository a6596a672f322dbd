"""Whether a day is one that a schedule's rule means. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from exporter.calendars.loader import Calendar
from exporter.config.cron_syntax import cron_of
from exporter.config.schedule_forms import CronDays, DayRule, NthDay, Period, Weekdays
from exporter.util.local_time import DAY

_MONTHS: dict[Period, int] = {"month": 1, "quarter": 3, "year": 12}


def is_meant(rule: DayRule, day: date, calendar: Calendar | None) -> bool:
    """`calendar` is needed where the rule counts trading days; `day` is then the exchange's."""
    match rule:
        case Weekdays():
            return day.weekday() in rule.days
        case CronDays():
            cron = cron_of(rule)
            return day.month in cron.months and cron.match_day(day)
        case NthDay():
            return _is_nth(rule, day, calendar)


def _is_nth(rule: NthDay, day: date, calendar: Calendar | None) -> bool:
    if not _is_of_kind(rule, day, calendar):
        return False
    first, after = _bounds(rule.period, day)
    # The other days of the kind between this one and the end from which the rule counts.
    between = _days(first, day) if rule.nth > 0 else _days(day + DAY, after)
    wanted = abs(rule.nth) - 1
    seen = 0
    for other in between:
        seen += _is_of_kind(rule, other, calendar)
        if seen > wanted:
            return False
    return seen == wanted


def _is_of_kind(rule: NthDay, day: date, calendar: Calendar | None) -> bool:
    if rule.kind == "day":
        return True
    if rule.kind == "trading day":
        if calendar is None:
            raise ValueError("this schedule needs an exchange")
        return calendar.session_on(day) is not None
    return day.weekday() == rule.kind


def _bounds(period: Period, day: date) -> tuple[date, date]:
    """The first day of the period around `day`, and that of the next; weeks begin on Monday."""
    if period == "week":
        first = day - timedelta(day.weekday())
        return first, first + timedelta(7)
    length = _MONTHS[period]
    month = (day.month - 1) // length * length + 1
    first = date(day.year, month, 1)
    ends = month + length
    return first, date(day.year + (ends > 12), ends - 12 if ends > 12 else ends, 1)


def _days(start: date, end: date) -> Iterator[date]:
    while start < end:
        yield start
        start += DAY
