"""Calendars of real exchanges for tests, built once per test run by the library itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache

from exporter.calendars import build_tables as calendar_tables
from exporter.calendars.loader import Calendar, Calendars, _table
from exporter.calendars.sessions import ALWAYS, FX, Table

TODAY = date(2026, 11, 24)


@dataclass(frozen=True)
class Changes:
    """Overrides of one exchange."""

    closed: tuple[date, ...] = ()
    open: Mapping[date, str] = field(default_factory=dict)
    early_close: Mapping[date, str] = field(default_factory=dict)
    late_open: Mapping[date, str] = field(default_factory=dict)


@cache
def table(name: str) -> Table:
    """The table of one exchange as of :data:`TODAY`."""
    if name in ("FX", "24/7"):
        return {"FX": FX, "24/7": ALWAYS}[name]
    return _table(calendar_tables.build(name, TODAY))


class LibraryCalendars(Calendars):
    """The real calendars, with the library in this process instead of one of its own."""

    async def _ensure(self, names: Iterable[str]) -> dict[str, str]:
        for name in names:
            if name not in self._tables:
                self._tables[name] = table(name)
        return {}


@cache
def calendar(name: str) -> Calendar:
    """A calendar without overrides; shared, as it is pure."""
    return Calendar(name, table(name))
