"""The moments that a schedule means. Pure: no clock, no state.

- A time in the hour that a change of clocks repeats is a slot once, at its first occurrence; one in
  the hour that is left out is a slot at the first moment after the gap (02:30 becomes 03:00).
- A crontab's line with ``*`` in minute or hour follows the clock as it is shown: in a repeated hour
  it has slots twice, in one that is left out none.
- ``every`` counts elapsed time from local midnight, so a day of 25 hours has 25 hourly slots; what
  would then lie less than an interval before the next midnight is left out. An offset moves each.
- ``while open`` counts from the open, and again from the end of a lunch break.
- With an exchange, wall-clock and ``every`` slots on a day without a session are skipped, unless
  they lie in the next day's session; so are those in the regular session but outside today's
  shortened one. Offsets from open and close belong to their session, whatever date they fall on.
- The nth trading day is counted by the exchange's dates; a time of day is on it by that date too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Literal
from zoneinfo import ZoneInfo

from exporter.calendars.loader import Calendar, Session
from exporter.config.schedule_forms import (
    Always,
    AroundSession,
    Every,
    Timetable,
    WallClock,
    counts,
)
from exporter.config.schedule_syntax import written
from exporter.scheduling.days import is_meant
from exporter.util.local_time import DAY, date_of, day_bounds, local_time, times_shown
from exporter.util.units import format_duration

_DAY_SECONDS = 86400.0
HORIZON_SECONDS = 800 * _DAY_SECONDS
"""How far ahead a next slot is searched."""
_RARE_SECONDS = 3000 * _DAY_SECONDS
"""The same where single days are named: there may be eight years between two 29ths of February."""


_LOOK_BACK_DAYS = (1 / 24, 1, 8, 40, 400, 3000)
"""The newest slot is looked for further and further back: most tasks run every day."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A moment of a schedule; `skip` says why the task does not run at it."""

    at: float
    skip: Literal["exchange_closed", "early_close"] | None = None


def slots(
    timetable: Timetable, zone: ZoneInfo, calendar: Calendar | None, after: float, until: float
) -> Iterator[Slot]:
    """Every slot with after < at <= until, in order. `zone` counts where the schedule names none.

    Raises :class:`ValueError` when the schedule needs a calendar and there is none.
    """
    if isinstance(timetable, Always):
        return
    if isinstance(timetable, AroundSession) or (
        isinstance(timetable, Every) and timetable.while_open
    ):
        if calendar is None:
            raise ValueError("this schedule needs an exchange")
        for at in _session_slots(timetable, calendar, after, until):
            if after < at <= until:
                yield Slot(at)
        return
    own_zone = ZoneInfo(timetable.zone) if timetable.zone else zone
    newest = after
    # A day around both ends: a gap at midnight moves a slot to another date.
    for day in _days(after - _DAY_SECONDS, until + _DAY_SECONDS, own_zone, timetable.only):
        for at in _moments(timetable, day, own_zone, calendar, after):
            if at > until:
                return
            if at > newest:
                newest = at
                yield Slot(at, _skip(calendar, at) if calendar else None)


def next_slot(
    timetable: Timetable, zone: ZoneInfo, calendar: Calendar | None, after: float
) -> float | None:
    """The first slot after `after` at which the task runs; None when there is none for years."""
    return next(upcoming_slots(timetable, zone, calendar, after), None)


def upcoming_slots(
    timetable: Timetable, zone: ZoneInfo, calendar: Calendar | None, after: float
) -> Iterator[float]:
    """The slots after `after` at which the task runs, for some years."""
    ahead = HORIZON_SECONDS if isinstance(timetable, Every) else _RARE_SECONDS
    for slot in slots(timetable, zone, calendar, after, after + ahead):
        if slot.skip is None:
            yield slot.at


def previous_slot(
    timetable: Timetable, zone: ZoneInfo, calendar: Calendar | None, until: float
) -> float | None:
    """The newest slot at or before `until` at which the task runs; None: none for years."""
    for days in _LOOK_BACK_DAYS:
        found = slots(timetable, zone, calendar, until - days * _DAY_SECONDS, until)
        newest = deque((slot.at for slot in found if slot.skip is None), maxlen=1)
        if newest:
            return newest[0]
    return None


def around_session(calendar: Calendar, at: float, timetable: Timetable | None = None) -> str:
    """The schedule that means `at` on a day with regular hours, and moves along with shorter ones:
    ``close - 15m``, with the days of `timetable`. `at` is a slot on a day of that calendar."""
    session = calendar.session_on(calendar.day_of(at))
    if session is None:
        raise ValueError(f"{calendar.name} has no session on {calendar.day_of(at)}")
    after_open, to_close = at - session.regular_open, session.regular_close - at
    near_open = after_open <= to_close
    anchor, seconds = ("open", after_open) if near_open else ("close", to_close)
    days = written(timetable.days) if isinstance(timetable, WallClock) else ""
    anchor = f"{days} {anchor}" if days else anchor
    if not seconds:
        return anchor
    offset = format_duration(seconds).replace(" ", "")
    return f"{anchor} {'+' if near_open else '-'} {offset}"


def cut_off_slots(
    timetable: Timetable, zone: ZoneInfo, calendar: Calendar, after: float, until: float
) -> Iterator[float]:
    """The times of day in that span that are skipped because a session is shortened."""
    # As `every` does, what follows the clock goes on as long as the session lasts.
    if isinstance(timetable, WallClock) and not timetable.as_shown:
        for slot in slots(timetable, zone, calendar, after, until):
            if slot.skip == "early_close":
                yield slot.at


def _days(start: float, end: float, zone: ZoneInfo, only: frozenset[date]) -> Iterator[date]:
    day, last = (date_of(t, zone) for t in (start, end))
    if only:
        yield from sorted(each for each in only if day <= each <= last)
        return
    while day <= last:
        yield day
        day += DAY


def _moments(
    timetable: WallClock | Every, day: date, zone: ZoneInfo, calendar: Calendar | None, after: float
) -> Iterator[float]:
    if isinstance(timetable, WallClock):
        return _wall_clock(timetable, day, zone, calendar, after)
    return _every(timetable, day, zone, after)


def _wall_clock(
    timetable: WallClock, day: date, zone: ZoneInfo, calendar: Calendar | None, after: float
) -> Iterator[float]:
    if counts(timetable, "trading day") and calendar is not None:
        for at in _times_of_day(timetable, day, zone, after):
            if is_meant(timetable.days, calendar.day_of(at), calendar):
                yield at
    elif is_meant(timetable.days, day, calendar):
        yield from _times_of_day(timetable, day, zone, after)


def _times_of_day(timetable: WallClock, day: date, zone: ZoneInfo, after: float) -> Iterator[float]:
    start, end = day_bounds(day, zone)
    minutes = timetable.minutes
    if end - start == _DAY_SECONDS:  # the clocks do not change
        for minute in islice(minutes, bisect_left(minutes, (after - start) / 60), None):
            yield start + minute * 60
    elif timetable.as_shown:
        yield from sorted(at for minute in minutes for at in times_shown(day, minute, zone))
    else:
        yield from (local_time(day, minute, zone) for minute in minutes)


def _every(timetable: Every, day: date, zone: ZoneInfo, after: float) -> Iterator[float]:
    start, end = day_bounds(day, zone)
    step = timetable.seconds
    n = _steps_before(after - timetable.offset, start, step)
    while (at := start + n * step) < end:
        if at - start >= _DAY_SECONDS and end - at < step:
            return
        yield at + timetable.offset
        n += 1


def _steps_before(after: float, start: float, step: float) -> int:
    """How many steps from `start` are certainly before `after`: a day may have 86 400 steps."""
    return max(0, int((after - start) // step) - 1)


def _session_slots(
    timetable: AroundSession | Every, calendar: Calendar, after: float, until: float
) -> Iterator[float]:
    # Offsets stay under a day, and a session may open on the evening before its day.
    around = (after - 2 * _DAY_SECONDS, until + 2 * _DAY_SECONDS)
    for day in _days(*around, calendar.zone, timetable.only):
        session = calendar.session_on(day)
        if session is None:
            continue
        if isinstance(timetable, Every):
            yield from _while_open(session, timetable, after)
        elif timetable.days is None or is_meant(timetable.days, day, calendar):
            yield moment_of(timetable, session)


def moment_of(timetable: AroundSession, session: Session) -> float:
    """When a task runs that is scheduled by that session's open or close."""
    anchor = session.open if timetable.anchor == "open" else session.close
    return anchor + timetable.offset


def _while_open(session: Session, timetable: Every, after: float) -> Iterator[float]:
    if session.close <= after:
        return
    step, offset = timetable.seconds, timetable.offset
    for opened, closed in session.segments:
        n = _steps_before(after - offset, opened, step)
        while (at := opened + n * step + offset) < closed:
            yield at
            n += 1


def _skip(calendar: Calendar, at: float) -> Literal["exchange_closed", "early_close"] | None:
    session = calendar.session_on(calendar.day_of(at))
    if session is None:
        # FX opens on Sunday evening: that is Monday's trading already.
        return None if calendar.session_at(at) else "exchange_closed"
    if session.regular_open <= at < session.regular_close and not (
        session.open <= at < session.close
    ):
        return "early_close"
    return None
