"""The moments that a schedule means. Pure: no clock, no state.

- A time in the hour that a change of clocks repeats is a slot once, at its first occurrence; one in
  the hour that is left out is a slot at the first moment after the gap (02:30 becomes 03:00).
- ``every`` counts elapsed time from local midnight, so a day of 25 hours has 25 hourly slots; what
  would then lie less than an interval before the next midnight is left out.
- ``while open`` counts from the open, and again from the end of a lunch break.
- With an exchange, wall-clock and ``every`` slots on a day without a session are skipped, unless
  they lie in the next day's session; so are those in the regular session but outside today's
  shortened one. Offsets from open and close belong to their session, whatever date they fall on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal
from zoneinfo import ZoneInfo

from exporter.calendars.loader import Calendar, Session
from exporter.config.schedule_syntax import AroundSession, Every, Timetable, WallClock
from exporter.util.local_time import DAY, date_of, day_bounds, local_time
from exporter.util.units import format_duration

_DAY_SECONDS = 86400.0
HORIZON_SECONDS = 800 * _DAY_SECONDS
"""How far ahead a next slot is searched."""


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
    # A day around both ends: a gap at midnight moves a slot to another date.
    for day in _days(after - _DAY_SECONDS, until + _DAY_SECONDS, own_zone):
        for at in _moments(timetable, day, own_zone, after):
            if at > until:
                return
            if at > after:
                yield Slot(at, _skip(calendar, at) if calendar else None)


def next_slot(
    timetable: Timetable, zone: ZoneInfo, calendar: Calendar | None, after: float
) -> float | None:
    """The first slot after `after` at which the task runs; None when there is none for years."""
    for slot in slots(timetable, zone, calendar, after, after + HORIZON_SECONDS):
        if slot.skip is None:
            return slot.at
    return None


def around_session(calendar: Calendar, at: float) -> str:
    """The schedule that means `at` on a day with regular hours, and moves along with shorter ones:
    ``close - 15m``. `at` is a slot on a day of that calendar."""
    session = calendar.session_on(calendar.day_of(at))
    if session is None:
        raise ValueError(f"{calendar.name} has no session on {calendar.day_of(at)}")
    after_open, to_close = at - session.regular_open, session.regular_close - at
    near_open = after_open <= to_close
    anchor, seconds = ("open", after_open) if near_open else ("close", to_close)
    if not seconds:
        return anchor
    offset = format_duration(seconds).replace(" ", "")
    return f"{anchor} {'+' if near_open else '-'} {offset}"


def cut_off_slots(
    timetable: Timetable, zone: ZoneInfo, calendar: Calendar, after: float, until: float
) -> Iterator[float]:
    """The times of day in that span that are skipped because a session is shortened."""
    if isinstance(timetable, WallClock):
        for slot in slots(timetable, zone, calendar, after, until):
            if slot.skip == "early_close":
                yield slot.at


def _days(start: float, end: float, zone: ZoneInfo) -> Iterator[date]:
    day, last = (date_of(t, zone) for t in (start, end))
    while day <= last:
        yield day
        day += DAY


def _moments(
    timetable: WallClock | Every, day: date, zone: ZoneInfo, after: float
) -> Iterator[float]:
    if isinstance(timetable, WallClock):
        return _wall_clock(timetable, day, zone)
    return _every(timetable, day, zone, after)


def _wall_clock(timetable: WallClock, day: date, zone: ZoneInfo) -> Iterator[float]:
    if day.weekday() in timetable.weekdays:
        yield local_time(day, timetable.hour * 60 + timetable.minute, zone)


def _every(timetable: Every, day: date, zone: ZoneInfo, after: float) -> Iterator[float]:
    start, end = day_bounds(day, zone)
    step = timetable.seconds
    n = _steps_before(after, start, step)
    while (at := start + n * step) < end:
        if at - start >= _DAY_SECONDS and end - at < step:
            return
        yield at
        n += 1


def _steps_before(after: float, start: float, step: float) -> int:
    """How many steps from `start` are certainly before `after`: a day may have 86 400 steps."""
    return max(0, int((after - start) // step) - 1)


def _session_slots(
    timetable: AroundSession | Every, calendar: Calendar, after: float, until: float
) -> Iterator[float]:
    # Offsets stay under a day, and a session may open on the evening before its day.
    for day in _days(after - 2 * _DAY_SECONDS, until + 2 * _DAY_SECONDS, calendar.zone):
        session = calendar.session_on(day)
        if session is None:
            continue
        if isinstance(timetable, AroundSession):
            anchor = session.open if timetable.anchor == "open" else session.close
            yield anchor + timetable.offset
        else:
            yield from _while_open(session, timetable.seconds, after)


def _while_open(session: Session, step: float, after: float) -> Iterator[float]:
    if session.close <= after:
        return
    for opened, closed in session.segments:
        n = _steps_before(after, opened, step)
        while (at := opened + n * step) < closed:
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
