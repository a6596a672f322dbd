"""What a user knows better than the calendar: days that are closed, open, shorter or later.

All times are the exchange's own. A time means the moment of that clock time within the day's
session, which may have opened on the evening before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

Shape = tuple[int, int, int | None, int | None, int, int]
"""Open, close, pause start, pause end, regular open, regular close: minutes of local wall time
after the session day's midnight."""

REGULAR = "regular"
_DAY_MINUTES = 1440


class Overrides(Protocol):
    """``calendar_overrides`` of one exchange; times are ``HH:MM`` of its zone."""

    @property
    def closed(self) -> Sequence[date]: ...
    @property
    def open(self) -> Mapping[date, str]:
        """``HH:MM-HH:MM``, or ``regular``; sessions on days without one, or with other hours."""

    @property
    def early_close(self) -> Mapping[date, str]: ...
    @property
    def late_open(self) -> Mapping[date, str]: ...


@dataclass(frozen=True)
class DayOverrides:
    """Overrides as a plain value."""

    closed: Sequence[date] = ()
    open: Mapping[date, str] = field(default_factory=dict)
    early_close: Mapping[date, str] = field(default_factory=dict)
    late_open: Mapping[date, str] = field(default_factory=dict)

    @classmethod
    def merged(cls, overrides: Overrides | None, closed: Sequence[date]) -> DayOverrides | None:
        """The overrides with more closed days; None when there are none at all."""
        if overrides is None:
            return cls(closed=tuple(closed)) if closed else None
        return cls(
            (*overrides.closed, *closed),
            overrides.open,
            overrides.early_close,
            overrides.late_open,
        )


@dataclass(frozen=True)
class Unused:
    """An override that changes nothing: its key, its day, and why."""

    key: str
    day: date
    why: str


def overridden(
    shape: Shape | None, regular: Shape, day: date, overrides: Overrides
) -> tuple[Shape | None, list[Unused]]:
    """The day's hours, and what of its overrides changes nothing. `shape` is what the calendar
    says, `regular` what ``open: regular`` means."""
    unused: list[Unused] = []
    if day in overrides.open:
        special = _special(overrides.open[day], regular)
        if special == shape:
            unused.append(Unused("open", day, f"the session is {hours(shape)} anyway"))
        shape = special
    if day in overrides.closed:
        if shape is None:
            unused.append(Unused("closed", day, "there is no session that day"))
        return None, unused
    for key, times in (("late_open", overrides.late_open), ("early_close", overrides.early_close)):
        if day not in times:
            continue
        cut = _cut(shape, key, times[day]) if shape else None
        if cut is None:
            why = f"the session is {hours(shape)}" if shape else "there is no session that day"
            unused.append(Unused(key, day, why))
        else:
            shape = cut
    return shape, unused


def days_named(overrides: Overrides) -> Iterator[date]:
    """Every day that the overrides name, in order, once."""
    named = {*overrides.closed, *overrides.open, *overrides.early_close, *overrides.late_open}
    yield from sorted(named)


def minutes(text: str) -> int:
    """``HH:MM`` as minutes after midnight."""
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


def span(text: str) -> tuple[int, int]:
    """``HH:MM-HH:MM`` as minutes; what does not open before it closes opens the evening before."""
    opened, closed = map(minutes, text.split("-"))
    return (opened if opened < closed else opened - _DAY_MINUTES), closed


def hours(shape: Shape) -> str:
    """``09:30-16:00``, as people write it."""
    return "-".join(
        f"{total // 60:02d}:{total % 60:02d}" for total in (m % _DAY_MINUTES for m in shape[:2])
    )


def _special(text: str, regular: Shape) -> Shape:
    if text == REGULAR:
        return regular
    opened, closed = span(text)
    return (opened, closed, None, None, opened, closed)


def _cut(shape: Shape, key: str, text: str) -> Shape | None:
    """The session with a later open or an earlier close; None when the time is not within it."""
    opened, closed, pause, resume, *regular = shape
    moment = minutes(text)
    within = [m for m in (moment, moment - _DAY_MINUTES) if opened < m < closed]
    if not within:
        return None
    if key == "late_open":
        opened = within[0]
    else:
        closed = within[0]
    if pause is not None and resume is not None:
        # A session that is cut within or across its break is one piece without a break.
        if closed <= resume:
            closed, pause = min(closed, pause), None
        elif opened >= pause:
            opened, pause = max(opened, resume), None
    return (opened, closed, pause, resume if pause is not None else None, regular[0], regular[1])
