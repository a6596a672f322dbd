"""How old equity is: by the wall clock, or by the trading time of an exchange."""

from __future__ import annotations

from exporter.calendars.loader import Calendar

_LONGEST_SECONDS = 400 * 86400.0
_DAY = 86400.0


def trading_age(calendar: Calendar, since: float, now: float, *, in_sessions: bool) -> float:
    """Seconds of trading between `since` and `now`; what is closed does not count.

    With `in_sessions` each session counts as a day, whatever its length: what is written after
    every close is then one day old at the next close.
    """
    since = max(since, now - _LONGEST_SECONDS)
    total = 0.0
    for session in calendar.sessions(since, now):
        length = sum(closed - opened for opened, closed in session.segments)
        part = sum(
            max(0.0, min(closed, now) - max(opened, since)) for opened, closed in session.segments
        )
        total += part / length * _DAY if in_sessions else part
    return total
