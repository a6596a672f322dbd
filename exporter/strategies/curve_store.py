"""The curves of strategies, as state keeps them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exporter.config import Strategy
from exporter.state import State
from exporter.state.sql import Row
from exporter.strategies.curve_currency import CurveCurrency
from exporter.strategies.equity import EquityCurve
from exporter.strategies.file import EquityFilePosition
from exporter.util.clock import Clock

log = logging.getLogger(__name__)

Value = tuple[str, str, Any]
"""Kind, name and what is kept."""


class CurveStore:
    """Each strategy's curve, its currency, and how far its file was read; in state under the kind
    ``strategy``."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state, self._clock = state, clock
        self.curves: dict[str, EquityCurve] = {}
        self.positions: dict[str, EquityFilePosition] = {}
        self.since: dict[str, float] = {}
        """When each strategy was first configured: equity that never came is as old as that."""
        self.currencies: dict[str, CurveCurrency] = {}
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held while a curve is changed: a file that is read must not overwrite a post."""
        self.listeners: list[Callable[[str], None]] = []
        """Called with the name of each strategy whose curve changed."""
        self._kept: set[str] = set()

    def load(self, configured: Mapping[str, Strategy]) -> list[str]:
        """Read from state those that are not known yet; their names."""
        new = [name for name in configured if name not in self.curves]
        kept = self._state.kept("strategy") if new else {}
        for name in new:
            saved = kept.get(name) or {}
            self.curves[name] = EquityCurve.from_json(saved.get("curve") or {})
            self.positions[name] = EquityFilePosition.from_json(saved.get("position") or {})
            self.since[name] = float(saved.get("since") or self._clock.now())
            self.currencies[name] = CurveCurrency.from_json(
                saved.get("currency"), configured[name].currency
            )
            if saved.get("since"):
                self._kept.add(name)
        return new

    def change_currency(self, name: str, currency: str) -> None:
        """The config names another currency for the strategy."""
        curve = self.curves[name]
        self.currencies[name], self.curves[name] = self.currencies[name].change(curve, currency)
        self._kept.discard(name)
        if math.isnan(self.curves[name].at):
            self.since[name] = self._clock.now()
        if note := self.note(name):
            log.warning(
                "%s: %s; it had %g before, and its peak was %g",
                name, note, curve.equity, curve.peak,
                extra={"event": "equity_currency_changed", "strategy": name},
            )  # fmt: skip

    def note(self, name: str) -> str | None:
        """What to say while no equity in a new currency has come."""
        return self.currencies[name].note(self.curves[name])

    def is_kept(self, name: str) -> bool:
        """Whether state has the strategy."""
        return name in self._kept

    @property
    def durable(self) -> bool:
        """Whether what is written now would survive a kill."""
        return self._state.durable

    async def keep(self, name: str, rows: Sequence[Row] = (), values: Sequence[Value] = ()) -> None:
        """Keep the strategy as it is now.

        With `rows` it is durable once this returns, in one transaction with them and `values`, or
        :class:`StateError` is raised; without, it stays in memory until the disk accepts it.
        """
        for listener in self.listeners:
            listener(name)
        value = {
            "curve": self.curves[name].to_json(),
            "position": self.positions[name].to_json(),
            "since": self.since[name],
            "currency": self.currencies[name].to_json(),
        }
        if rows:
            await self._state.write(rows, [*values, ("strategy", name, value)])
        else:
            await self._state.keep("strategy", name, value)
        self._kept.add(name)
