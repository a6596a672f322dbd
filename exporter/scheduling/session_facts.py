"""Facts about its exchange's day that a run may want, so that a program needs no calendar."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from exporter.calendars.loader import Calendar, Session
from exporter.config.schedule_forms import AroundSession, NthDay, Period, Timetable
from exporter.scheduling.days import is_meant
from exporter.scheduling.slots import moment_of
from exporter.util.local_time import DAY

_PERIODS: tuple[Period, ...] = ("week", "month", "quarter")


def session_facts(timetable: Timetable, calendar: Calendar, at: float) -> Mapping[str, str]:
    """By name, without ``QUANT_``; `at` is the run's slot, or its start where it has none. A day
    without a session has only its neighbours."""
    session = _session_of(timetable, calendar, at)
    day = session.day if session else calendar.day_of(at)
    facts = {
        "EXCHANGE": calendar.name,
        "PREVIOUS_SESSION": _neighbour(calendar, day, -1),
        "NEXT_SESSION": _neighbour(calendar, day, 1),
    }
    if session is None:
        return facts
    short = (session.open, session.close) != (session.regular_open, session.regular_close)
    facts |= {
        "SESSION": day.isoformat(),
        "SESSION_OPEN": f"{session.open:.0f}",
        "SESSION_CLOSE": f"{session.close:.0f}",
        "SESSION_SHORTENED": str(int(short)),
    }
    for period in _PERIODS:
        for word, nth in (("FIRST", 1), ("LAST", -1)):
            rule = NthDay(nth, "trading day", period)
            holds = is_meant(rule, day, calendar)
            facts[f"{word}_SESSION_OF_{period.upper()}"] = str(int(holds))
    return facts


def _session_of(timetable: Timetable, calendar: Calendar, at: float) -> Session | None:
    """The session that the slot was computed from, or that of its date; else the one under way."""
    day = calendar.day_of(at)
    if isinstance(timetable, AroundSession):
        for near in (day, day + DAY, day - DAY, day + 2 * DAY, day - 2 * DAY):
            session = calendar.session_on(near)
            if session and moment_of(timetable, session) == at:
                return session
    return calendar.session_on(day) or calendar.session_at(at)


def _neighbour(calendar: Calendar, day: date, step: int) -> str:
    """The nearest day with a session before or after; empty when there is none within a year."""
    for n in range(1, 366):
        other = day + n * step * DAY
        if calendar.session_on(other):
            return other.isoformat()
    return ""
