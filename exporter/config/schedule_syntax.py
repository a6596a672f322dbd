"""The schedules of ``exporter.yml``: text to one of three frozen forms. What moments they mean
on a given day is decided in :mod:`exporter.scheduling.slots`.

====================================  ============================================================
``mon-fri 07:00``, ``07:00 Europe/…``  :class:`WallClock`: days (all, when none are named), a time
                                      in the task's zone or the named one
``every 30m``, ``every 5m while open`` :class:`Every`: anchored at local midnight, or at the open
``close + 30m``, ``open - 2h30m``      :class:`AroundSession`: relative to the day's real open/close
====================================  ============================================================
"""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from typing import Literal

from exporter.util.units import parse_duration

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 86400.0


@dataclass(frozen=True)
class WallClock:
    """At a time of day, on some weekdays (0 is Monday)."""

    weekdays: frozenset[int]
    hour: int
    minute: int
    zone: str | None = None


@dataclass(frozen=True)
class Every:
    """At a steady interval in seconds; ``while_open`` needs an exchange."""

    seconds: float
    while_open: bool = False
    zone: str | None = None


@dataclass(frozen=True)
class AroundSession:
    """Offset in seconds (negative is before) from each session's open or close."""

    anchor: Literal["open", "close"]
    offset: float


Timetable = WallClock | Every | AroundSession

_HELP = (
    "write `mon-fri 07:00`, `sun 09:00 Europe/Berlin`, `every 30m`, `every 5m while open`, "
    "`open - 2h30m` or `close + 30m`"
)


def zone(name: str) -> zoneinfo.ZoneInfo:
    """The IANA zone of that name; :class:`ValueError` says what a zone looks like."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"invalid time zone {name!r}: write an IANA name such as America/New_York or UTC"
        ) from error


def needs_exchange(timetable: Timetable) -> bool:
    """Whether the schedule needs exchange hours."""
    return isinstance(timetable, AroundSession) or (
        isinstance(timetable, Every) and timetable.while_open
    )


def parse(text: str) -> Timetable:
    """Read a schedule. Raises :class:`ValueError` saying what is wrong and what to write."""
    if not isinstance(text, str):
        raise ValueError(f"invalid schedule {text!r}: {_HELP}")
    words = " ".join(text.split())
    if words.lower().startswith("every "):
        return _every(words)
    around = re.fullmatch(r"(open|close)(?:\s*([+-])\s*(.+))?", words, re.IGNORECASE)
    if around:
        anchor: Literal["open", "close"] = "open" if around[1].lower() == "open" else "close"
        offset = parse_duration(around[3]) if around[3] else 0.0
        if offset >= _DAY:
            raise ValueError(f"{around[3]} is too far from the {anchor}: stay under one day")
        return AroundSession(anchor, -offset if around[2] == "-" else offset)
    return _wall_clock(words)


def _every(words: str) -> Every:
    found = re.fullmatch(r"every (\S+)( while open)?(?: (\S+))?", words, re.IGNORECASE)
    if not found or (found[2] and found[3]):
        raise ValueError(f"invalid schedule {words!r}: {_HELP}")
    seconds = parse_duration(found[1].lower())
    if not 1 <= seconds <= _DAY:
        raise ValueError(
            f"`every {found[1]}` is out of range: the interval restarts at midnight, so it must be "
            "1s to 1d. For once a week write `sun 09:00`"
        )
    if found[3]:
        zone(found[3])
    return Every(seconds, bool(found[2]), found[3])


def _wall_clock(words: str) -> WallClock:
    found = re.fullmatch(r"(?:([A-Za-z,\- ]+?) )?(\d{1,2}):(\d{2})(?: (\S+))?", words)
    if not found:
        raise ValueError(f"invalid schedule {words!r}: {_HELP}")
    hour, minute = int(found[2]), int(found[3])
    if hour > 23 or minute > 59:
        raise ValueError(f"invalid time of day {found[2]}:{found[3]}: write 00:00 to 23:59")
    if found[4]:
        zone(found[4])
    return WallClock(parse_weekdays(found[1] or "mon-sun"), hour, minute, found[4])


def parse_weekdays(text: str) -> frozenset[int]:
    """``mon-fri``, ``sun,wed``: days of the week, 0 is Monday. Raises :class:`ValueError`."""
    days: set[int] = set()
    for part in re.split(r"[,\s]+", text.lower().strip()):
        first, dash, last = part.partition("-")
        unknown = [d for d in (first, *((last,) if dash else ())) if d not in WEEKDAYS]
        if unknown:
            raise ValueError(
                f"invalid weekday {unknown[0]!r}: write {', '.join(WEEKDAYS)}, or a span: mon-fri"
            )
        start, end = WEEKDAYS.index(first), WEEKDAYS.index(last if dash else first)
        days.update((start + n) % 7 for n in range((end - start) % 7 + 1))
    return frozenset(days)
