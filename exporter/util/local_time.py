"""Local times as Unix seconds and back. The one place that knows of daylight saving.

A local time that the clocks repeat means its first occurrence; one that they skip means the first
moment after the gap (02:30 becomes 03:00).
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, tzinfo
from functools import lru_cache

DAY = timedelta(1)


@lru_cache(maxsize=4096)
def local_time(day: date, minutes: float, zone: tzinfo) -> float:
    """The clock shows `minutes` after midnight of `day`; they may be negative or over 1440."""
    wall = datetime.combine(day, time(0)) + timedelta(minutes=minutes)
    late = wall.replace(tzinfo=zone).timestamp()  # in a gap: by the offset before it, so past it
    if datetime.fromtimestamp(late, zone).replace(tzinfo=None) == wall:
        return late
    early = wall.replace(tzinfo=zone, fold=1).timestamp()  # by the offset after it, so before it
    offset = datetime.fromtimestamp(early, zone).utcoffset()
    low, high = int(early), int(late)
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return float(high)


def times_shown(day: date, minutes: float, zone: tzinfo) -> tuple[float, ...]:
    """Every moment at which the clock shows `minutes` after midnight of `day`: two in a repeated
    hour, none in one that is skipped."""
    wall = datetime.combine(day, time(0)) + timedelta(minutes=minutes)
    found = {wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1)}
    return tuple(
        at for at in sorted(found) if datetime.fromtimestamp(at, zone).replace(tzinfo=None) == wall
    )


def midnight(day: date, zone: tzinfo) -> float:
    """The first moment of `day`."""
    return local_time(day, 0, zone)


def date_of(at: float, zone: tzinfo) -> date:
    """The local date at that moment."""
    return datetime.fromtimestamp(at, zone).date()


def day_bounds(day: date, zone: tzinfo) -> tuple[float, float]:
    """The first moment of `day`, and that of the next day."""
    return midnight(day, zone), midnight(day + DAY, zone)


def is_midnight(at: float, zone: tzinfo) -> bool:
    """Whether the clock shows 00:00:00."""
    local = datetime.fromtimestamp(at, zone)
    return (local.hour, local.minute, local.second) == (0, 0, 0)
