"""Days that somebody declared closed while the exporter runs, kept in state.

For the holiday that no calendar knows: in force at once, and until the config says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Protocol

from exporter.calendars.loader import Calendars

_KIND = "closed_day"


class ClosedDaysStore(Protocol):
    """What is used of :class:`exporter.state.State`."""

    def kept(self, kind: str) -> dict[str, Any]: ...
    async def keep(self, kind: str, name: str, value: Any) -> None: ...
    async def forget(self, kind: str, name: str) -> None: ...


class DayError(Exception):
    """The day cannot be closed or opened again; the message says why."""


class ClosedDays:
    """Keeps calendars and state in step."""

    def __init__(self, state: ClosedDaysStore, calendars: Calendars) -> None:
        self._state, self._calendars = state, calendars

    def apply(self) -> None:
        """Have the calendars know the days that state holds."""
        self._calendars.close(kept_days(self._state))

    async def close(self, exchange: str, day: date) -> None:
        """Count the day as closed. Raises :class:`KeyError` for an exchange that is not in use,
        and :class:`DayError` when there is no session anyway."""
        if self._calendars.get(exchange).session_on(day) is None:
            raise DayError(f"{exchange} has no session on {day} anyway")
        await self._state.keep(_KIND, _name(exchange, day), {})
        self.apply()

    async def reopen(self, exchange: str, day: date) -> None:
        """Take :meth:`close` back. Raises :class:`KeyError` and :class:`DayError`."""
        self._calendars.get(exchange)
        if day not in kept_days(self._state).get(exchange, ()):
            raise DayError(f"nobody declared {exchange} closed on {day}")
        await self._state.forget(_KIND, _name(exchange, day))
        self.apply()


def kept_days(state: ClosedDaysStore) -> Mapping[str, set[date]]:
    """The declared days by exchange."""
    days: dict[str, set[date]] = {}
    for name in state.kept(_KIND):
        exchange, _, day = name.rpartition(" ")
        days.setdefault(exchange, set()).add(date.fromisoformat(day))
    return days


def _name(exchange: str, day: date) -> str:
    return f"{exchange} {day.isoformat()}"
