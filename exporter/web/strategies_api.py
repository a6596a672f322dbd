"""/api/v1/strategies: equity, fills and positions that programs push.

A write is answered 2xx once it is on disk. With an `id` it may be sent again: it counts once.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from exporter.config.phrases import likely
from exporter.state import StateError
from exporter.strategies.equity_point import parse_point, parse_timestamp
from exporter.strategies.parse_fills import entry_of, parse_fill, parse_positions
from exporter.strategies.tracker import Strategies
from exporter.util.clock import Clock
from exporter.util.nan import json_safe
from exporter.web.api import read_object
from exporter.web.guard import refuse

_Answer = dict[str, Any]
_EQUITY_KEYS = frozenset({"equity", "timestamp", "flow", "currency", "reset_peak", "id"})
_FILL_KEYS = frozenset(
    {"symbol", "side", "price", "quantity", "fee", "timestamp", "currency", "order", "id"}
)
_OTHER_NAMES = {"qty": "quantity", "amount": "quantity", "size": "quantity"}


@dataclass(frozen=True)
class StrategiesApi:
    """The handlers."""

    strategies: Strategies
    clock: Clock
    zone: Callable[[], ZoneInfo]

    def routes(self) -> list[web.RouteDef]:
        """To be mounted in the application."""
        place = "/api/v1/strategies/{name}/"
        return [
            web.post(f"{place}equity", self._handler(self.equity)),
            web.post(f"{place}fills", self._handler(self.fill)),
            web.post(f"{place}positions", self._handler(self.positions)),
        ]

    def _handler(
        self, work: Callable[[str, Mapping[str, Any]], Awaitable[_Answer]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            name = request.match_info["name"]
            if name not in self.strategies.configured:
                meant = likely(name, self.strategies.configured)
                text = f"there is no strategy {name!r}"
                raise refuse(404, f"{text}: did you mean {meant}?" if meant else text)
            body = await read_object(request)
            try:
                return web.json_response(json_safe({"ok": True, **await work(name, body)}))
            except KeyError as error:
                raise refuse(400, f"{error.args[0]} is missing") from error
            except ValueError as error:
                raise refuse(400, str(error)) from error
            except StateError as error:
                raise refuse(503, f"not kept, try again: {error}") from error

        return handle

    async def equity(self, name: str, body: Mapping[str, Any]) -> _Answer:
        """One point of a curve: {equity, timestamp?, flow?, currency?, reset_peak?, id?}."""
        currency = self.strategies.configured[name].currency
        _refuse_misspelt(body, _EQUITY_KEYS)
        if not re.fullmatch("[A-Z]{3,5}", str(body.get("currency", currency))):
            raise ValueError(f"currency must be a code such as USD, not {body['currency']!r}")
        point = parse_point(body, self.zone(), default_at=self.clock.now(), currency=currency)
        reset = body.get("reset_peak", False)
        if not isinstance(reset, bool):
            raise ValueError(f"reset_peak must be true or false, not {reset!r}")
        curve = await self.strategies.post_equity(
            name, point, reset_peak=reset, entry=entry_of(point, body)
        )
        return {"drawdown": curve.drawdown, "peak": curve.peak}

    async def fill(self, name: str, body: Mapping[str, Any]) -> _Answer:
        """One fill: {symbol, side, price, quantity?, fee?, timestamp?, order?, id?}."""
        _refuse_misspelt(body, _FILL_KEYS)
        fill = parse_fill(body, self.zone(), self.clock.now())
        await self.strategies.holdings.add_fill(name, fill)
        return {}

    async def positions(self, name: str, body: Mapping[str, Any]) -> _Answer:
        """All that it holds: {positions: [{symbol, quantity, price?}], timestamp?}."""
        now = self.clock.now()
        at = parse_timestamp(body["timestamp"], self.zone()) if "timestamp" in body else now
        await self.strategies.holdings.set_positions(name, parse_positions(body), at)
        return {}


def _refuse_misspelt(body: Mapping[str, Any], known: frozenset[str]) -> None:
    """A flow under a name that is almost `flow` would be read as a loss, and the quantity of a fill
    would be missing. Raises :class:`ValueError`."""
    missing = known - body.keys()
    for key in body.keys() - known:
        meant = _OTHER_NAMES.get(key.lower()) or likely(key.lower(), missing)
        if meant in missing:
            raise ValueError(f"unknown key {key!r}: did you mean {meant}?")
