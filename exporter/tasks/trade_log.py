"""What tasks say of a strategy: fills and equity, kept in the ledger and logged once each."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from exporter.config import Config
from exporter.state.ledger import Fill
from exporter.strategies.equity_point import parse_point
from exporter.strategies.parse_fills import entry_of, parse_fill
from exporter.strategies.tracker import Strategies
from exporter.tasks.errors import Permanent


class TradingParts(Protocol):
    """What is needed of :class:`exporter.tasks.builtin.parts.Parts`."""

    @property
    def config(self) -> Config: ...
    @property
    def strategies(self) -> Strategies: ...
    @property
    def zone(self) -> ZoneInfo: ...


@dataclass(frozen=True)
class TradeLog:
    """Writes for one task at a time."""

    parts: TradingParts

    async def fill(self, task: str, strategy: str | None, said: Mapping[str, Any]) -> bool:
        """True when it is new. Raises :class:`Permanent`, or :class:`StateError` when it cannot be
        kept."""
        name, strategies = self._strategy(task, strategy), self.parts.strategies
        try:
            fill = parse_fill(said, self.parts.zone, strategies.now())
            new = await strategies.holdings.add_fill(name, fill)
        except ValueError as error:
            raise Permanent(f"this fill cannot be kept: {error}") from error
        if new:
            logging.getLogger(f"task.{task}").info(
                "trade executed: %s %s %s at %s", fill.side, fill.quantity or "", fill.symbol,
                fill.price, extra=_fields(name, fill),
            )  # fmt: skip
        return new

    async def equity(self, task: str, strategy: str | None, said: Mapping[str, Any]) -> float:
        """The drawdown after the point. Raises as :meth:`fill`."""
        name, strategies = self._strategy(task, strategy), self.parts.strategies
        try:
            point = parse_point(said, self.parts.zone, default_at=strategies.now())
            curve = await strategies.post_equity(name, point, entry=entry_of(point, said))
        except ValueError as error:
            raise Permanent(f"this equity cannot be kept: {error}") from error
        logging.getLogger(f"task.{task}").info(
            "equity of %s: %s", name, said["equity"],
            extra={"event": "equity_reported", "strategy": name, "equity": point.equity,
                   "flow": point.flow, "drawdown": curve.drawdown},
        )  # fmt: skip
        return curve.drawdown

    def _strategy(self, task: str, given: str | None) -> str:
        configured = self.parts.config.strategies
        known = self.parts.config.tasks.get(task)
        name = given or (known.strategy if known else None)
        if name is None and len(configured) == 1:
            return next(iter(configured))
        if name is None or name not in configured:
            listed = ", ".join(configured) or "none is configured"
            raise Permanent(
                f"unknown strategy {name!r}; configured: {listed}"
                if name
                else f"give the task its `strategy`, or name one: {listed}"
            )
        return name


def _fields(strategy: str, fill: Fill) -> dict[str, Any]:
    value = None if fill.quantity is None else float(fill.quantity * fill.price)
    return {
        "event": "trade_execution",
        "trade_id": fill.id,
        "strategy": strategy,
        "symbol": fill.symbol,
        "side": fill.side,
        "quantity": None if fill.quantity is None else float(fill.quantity),
        "price": float(fill.price),
        "value": value,
    }
