"""/api/v1/closed: a trading day that turns out to be a holiday."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from aiohttp import web

from exporter.calendars.closed_days import ClosedDays, DayError
from exporter.web.api import read_object
from exporter.web.guard import refuse


@dataclass(frozen=True)
class CalendarApi:
    """The handler."""

    closed_days: ClosedDays

    def routes(self) -> list[web.RouteDef]:
        """To be mounted in the application."""
        return [web.post("/api/v1/closed", self.close)]

    async def close(self, request: web.Request) -> web.Response:
        """Count a day of an exchange as closed, or with ``undo`` as the calendar has it again."""
        body = await read_object(request)
        exchange, day, undo = str(body.get("exchange")), _day(body.get("date")), body.get("undo")
        if undo not in (None, True, False):
            raise refuse(400, f"undo must be true or false, not {undo!r}")
        try:
            if undo:
                await self.closed_days.reopen(exchange, day)
            else:
                await self.closed_days.close(exchange, day)
        except KeyError as error:
            raise refuse(404, f"no feed and no task uses the exchange {exchange!r}") from error
        except DayError as error:
            raise refuse(409, str(error)) from error
        return web.json_response({"ok": True, "exchange": exchange, "date": day.isoformat()})


def _day(value: Any) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise refuse(400, f"invalid date {value!r}: write 2026-12-24") from error
