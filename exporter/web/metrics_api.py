"""/api/v1/metrics: programs set metrics of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from exporter.custom_metrics.custom_metrics import CustomMetrics
from exporter.strategies.equity_point import parse_timestamp
from exporter.web.api import read_object
from exporter.web.guard import refuse

MOST_VALUES = 500
"""In one request."""
_KEYS = frozenset(("name", "value", "add", "labels", "type", "timestamp"))


@dataclass(frozen=True)
class MetricsApi:
    """The handler."""

    metrics: CustomMetrics
    zone: Callable[[], ZoneInfo]

    def routes(self) -> list[web.RouteDef]:
        """To be mounted in the application."""
        return [web.post("/api/v1/metrics", self.set)]

    async def set(self, request: web.Request) -> web.Response:
        """One value {name, value or add, labels?, type?, timestamp?}, or {metrics: [value, …]}.

        What is refused is listed, and the rest is taken; 400 when nothing is.
        """
        body = await read_object(request)
        values = body.get("metrics", [body])
        if not isinstance(values, list) or not 0 < len(values) <= MOST_VALUES:
            raise refuse(400, f"`metrics` must be a list of 1 to {MOST_VALUES} values")
        refused = []
        for number, value in enumerate(values):
            try:
                why = self._set_one(value)
            except ValueError as error:
                why = str(error)
            if why:
                refused.append({"index": number, "error": why})
        if len(refused) == len(values):
            raise refuse(400, str(refused[0]["error"]))
        await self.metrics.flush()
        return web.json_response({"ok": True, "refused": refused})

    def _set_one(self, given: Any) -> str | None:
        """Why a value is refused; None when it is not. Raises :class:`ValueError` for a wrong
        form."""
        if not isinstance(given, dict):
            raise ValueError('a value must be an object such as {"name": "positions", "value": 3}')
        if unknown := sorted(given.keys() - _KEYS):
            raise ValueError(f"unknown key {unknown[0]!r}: write {', '.join(sorted(_KEYS))}")
        labels, kind, adds = given.get("labels", {}), given.get("type", "gauge"), "add" in given
        if ("value" in given) == adds or (adds and given["add"] is None):
            raise ValueError("send one of `value` and `add`")
        if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
            raise ValueError("`labels` must be an object of names and texts")
        if isinstance(given["add" if adds else "value"], bool):
            raise ValueError("send a number, not true or false")
        if kind not in ("gauge", "counter"):
            raise ValueError(f"`type` must be gauge or counter, not {str(kind)[:40]!r}")
        at = parse_timestamp(given["timestamp"], self.zone()) if "timestamp" in given else None
        return self.metrics.set(
            given.get("name"), given["add" if adds else "value"], labels,
            kind="counter" if adds else kind, add=adds, at=at,
        )  # fmt: skip
