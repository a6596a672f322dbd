"""Exchanges that no calendar knows, by the regular hours that a user gives."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Protocol

from exporter.calendars.overrides import span
from exporter.calendars.sessions import Table


class OwnHours(Protocol):
    """One of ``exchanges:``; times are ``HH:MM`` of its zone."""

    @property
    def timezone(self) -> str: ...
    @property
    def weekdays(self) -> Collection[int]:
        """Days with a session; 0 is Monday."""

    @property
    def hours(self) -> str: ...
    @property
    def lunch(self) -> str | None: ...


def table_of(own: OwnHours) -> Table:
    """The same hours on each of its weekdays, without holidays; those are overrides."""
    opened, closed = span(own.hours)
    pause, resume = span(own.lunch) if own.lunch else (None, None)
    return Table(
        own.timezone,
        date(1970, 1, 1),
        None,
        [(opened, closed, pause, resume, opened, closed)],
        tuple(0 if weekday in own.weekdays else None for weekday in range(7)),
        "",
    )
