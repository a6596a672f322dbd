"""A schedule in words, to be read next to what was written."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.config.cron_syntax import explained
from exporter.config.schedule_forms import (
    Always,
    AroundSession,
    CronDays,
    DayRule,
    Every,
    NthDay,
    Timetable,
    WallClock,
    Weekdays,
)
from exporter.config.schedule_syntax import nth_word
from exporter.util.units import format_duration

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def in_words(timetable: Timetable, exchange: str | None, zone: str) -> str:
    """One line without a full stop; `zone` counts where the schedule names none."""
    match timetable:
        case Always():
            return f"up while {exchange} is open" if exchange else "up at all times"
        case WallClock():
            text = _wall_clock(timetable)
        case Every():
            text = _every(timetable)
        case AroundSession():
            text = _around_session(timetable)
    if timetable.only:
        text += f", only on {_listed(day.isoformat() for day in sorted(timetable.only))}"
    if isinstance(timetable, AroundSession) or (
        isinstance(timetable, Every) and timetable.while_open
    ):
        return f"{text} of {exchange}"
    if exchange:
        text += f", on trading days of {exchange}"
    return f"{text} ({timetable.zone or zone})"


def _wall_clock(timetable: WallClock) -> str:
    if isinstance(timetable.days, CronDays):
        text = explained(timetable, timetable.days)
        return text[0].lower() + text[1:]
    times = _listed(f"{m // 60:02}:{m % 60:02}" for m in timetable.minutes)
    return f"{_days(timetable.days)} at {times}"


def _every(timetable: Every) -> str:
    text = f"every {format_duration(timetable.seconds)}"
    late = format_duration(timetable.offset)
    if timetable.while_open:
        return f"{text} from {late + ' after ' if timetable.offset else ''}each open to the close"
    return f"{text} from {late + ' after ' if timetable.offset else ''}midnight"


def _around_session(timetable: AroundSession) -> str:
    away = format_duration(abs(timetable.offset))
    side = "before" if timetable.offset < 0 else "after"
    where = f"{away} {side} the" if timetable.offset else "at the"
    days = "" if timetable.days is None else f"{_days(timetable.days)}, "
    return f"{days}{where} {timetable.anchor}"


def _days(rule: DayRule) -> str:
    match rule:
        case NthDay():
            kind = _WEEKDAYS[rule.kind] if isinstance(rule.kind, int) else rule.kind
            return f"on the {nth_word(rule.nth)} {kind} of each {rule.period}"
        case Weekdays() if len(rule.days) == 7:
            return "every day"
        case Weekdays():
            return _weekdays(sorted(rule.days))
        case CronDays():  # they come with their times
            raise ValueError("a crontab's days are explained with their times")


def _weekdays(days: list[int]) -> str:
    if len(days) > 2 and days[-1] - days[0] == len(days) - 1:
        return f"{_WEEKDAYS[days[0]]} to {_WEEKDAYS[days[-1]]}"
    return _listed(_WEEKDAYS[day] for day in days)


def _listed(words: Iterable[str]) -> str:
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last
