"""What a schedule can be, as frozen forms. :mod:`exporter.config.schedule_syntax` reads them from
text; what moments they mean is decided in :mod:`exporter.scheduling.slots`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

ALWAYS = "always"
"""The schedule of what has no slots."""
Period = Literal["week", "month", "quarter", "year"]


@dataclass(frozen=True)
class Weekdays:
    """Days of the week; 0 is Monday."""

    days: frozenset[int]


@dataclass(frozen=True)
class NthDay:
    """The first (1), last (-1), second last (-2) … of its kind in each period. A number as `kind`
    is a weekday, 0 for Monday; a trading day is one of the task's exchange."""

    nth: int
    kind: Literal["day", "trading day"] | int
    period: Period


@dataclass(frozen=True)
class CronDays:
    """Day of month, month and day of week as a crontab has them; see
    :func:`exporter.config.cron_syntax.cron_of`."""

    fields: str


DayRule = Weekdays | NthDay | CronDays


@dataclass(frozen=True)
class WallClock:
    """At times of day (minutes after midnight, ascending), on the days of a rule.

    With `as_shown`, a time that the clocks repeat is two moments, and one that they skip is none.
    """

    days: DayRule
    minutes: tuple[int, ...]
    zone: str | None = None
    only: frozenset[date] = frozenset()
    """The only days, if there are any."""
    as_shown: bool = False


@dataclass(frozen=True)
class Every:
    """At a steady interval in seconds, each moment `offset` seconds later; ``while_open`` needs an
    exchange."""

    seconds: float
    while_open: bool = False
    zone: str | None = None
    offset: float = 0.0
    only: frozenset[date] = frozenset()


@dataclass(frozen=True)
class AroundSession:
    """Offset in seconds (negative is before) from the open or close of each session whose day the
    rule has."""

    anchor: Literal["open", "close"]
    offset: float
    days: DayRule | None = None
    only: frozenset[date] = frozenset()


@dataclass(frozen=True)
class Always:
    """At no moment, but all the time: what must be up has no slots."""

    only: frozenset[date] = frozenset()


Timetable = WallClock | Every | AroundSession | Always


def needs_exchange(timetable: Timetable) -> bool:
    """Whether the schedule needs exchange hours or trading days."""
    match timetable:
        case AroundSession():
            return True
        case Every():
            return timetable.while_open
        case WallClock():
            return counts(timetable, "trading day")
        case Always():
            return False


def counts(timetable: Timetable, kind: str) -> bool:
    """Whether the schedule names the nth day of that kind."""
    return (
        not isinstance(timetable, Every | Always)
        and isinstance(timetable.days, NthDay)
        and timetable.days.kind == kind
    )
