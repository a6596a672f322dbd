"""Strategies: equity files and posts to drawdown, limits and fills."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from exporter.config import Config, Strategy
from exporter.metrics import Metrics, Sample
from exporter.state import State
from exporter.strategies.equity import EquityCurve, Fill
from exporter.strategies.equity_point import EquityPoint
from exporter.strategies.file import BadLine, EquityFilePosition, read_new
from exporter.util.clock import FUTURE_TOLERANCE_SECONDS, Clock, iso

logger = logging.getLogger(__name__)

"""Seconds that a point may lie ahead of our clock."""


@dataclass
class _Read:
    """What a look at a file brought. ``late`` counts points that are older than one before them."""

    curve: EquityCurve
    bad: list[BadLine] = field(default_factory=list)
    late: int = 0
    first_late: int = 0


class Strategies:
    """All configured strategies; remembers their curves in state under the kind ``strategy``."""

    def __init__(self, state: State, clock: Clock, metrics: Metrics) -> None:
        self._state, self._clock = state, clock
        self._configured: dict[str, Strategy] = {}
        self._zone = ZoneInfo("UTC")
        self.curves: dict[str, EquityCurve] = {}
        self.fills: dict[str, dict[tuple[str, str], Fill]] = {}
        self._positions: dict[str, EquityFilePosition] = {}
        self.problems: dict[str, str] = {}
        self._unread: set[str] = set()
        self._lock = asyncio.Lock()
        metrics.add_reader(self.read)

    def apply(self, config: Config) -> None:
        """Apply the config; curves of strategies that stay continue."""
        self._configured = dict(config.strategies)
        self._zone = ZoneInfo(config.timezone)
        kept = self._state.kept("strategy")
        fills = self._state.kept("fill")
        for name in self._configured:
            if name not in self.curves:
                saved = kept.get(name) or {}
                self.curves[name] = EquityCurve.from_json(saved.get("curve") or {})
                self._positions[name] = EquityFilePosition.from_json(saved.get("position") or {})
            self.fills.setdefault(name, {})
        for key, value in fills.items():
            name, symbol, side = key.split("|", 2)
            if name in self.fills:
                fill = Fill(symbol, side, float(value["at"]), float(value["price"]))
                self.fills[name].setdefault((symbol, side), fill)

    async def refresh(self) -> None:
        """Read what is new in every equity file."""
        async with self._lock:
            for name, strategy in self._configured.items():
                if strategy.equity_file:
                    await self._refresh(name, strategy.equity_file)

    async def _refresh(self, name: str, path: Path) -> None:
        position = self._positions[name]
        before = position.to_json()
        try:
            read = await asyncio.to_thread(self._read, name, path, position)
        except OSError as error:
            self._unreadable(name, f"{path} cannot be read: {error.strerror or error}")
            return
        if position.to_json() == before and name not in self._unread:
            return
        self._unread.discard(name)
        self.problems.pop(name, None)
        if read.late:
            self.problems[name] = f"{read.late} points of {path.name} were too late and left out"
            logger.warning(
                "%d points in %s are older than one before them and were left out, the first in "
                "line %d", read.late, path, read.first_late,
                extra={"event": "equity_out_of_order", "strategy": name},
            )  # fmt: skip
        if read.bad:
            first = read.bad[0]
            logger.error(
                "%d unusable lines in %s, the first in line %d: %s",
                len(read.bad), path, first.line, first.problem,
                extra={"event": "equity_malformed", "strategy": name, "example": first.text},
            )  # fmt: skip
            self.problems[name] = f"line {first.line} of {path.name}: {first.problem}"
        self.curves[name] = read.curve
        await self._keep(name)

    def _read(self, name: str, path: Path, position: EquityFilePosition) -> _Read:
        read, line_before = _Read(self.curves[name]), position.line
        latest = self._clock.now() + FUTURE_TOLERANCE_SECONDS
        for found in read_new(path, position, self._zone):
            if isinstance(found, BadLine):
                read.bad.append(found)
            elif found.at > latest:
                problem = f"timestamp {iso(found.at)} lies in the future"
                read.bad.append(BadLine(position.line, str(found.equity), problem))
            else:
                # A file that is read again from its start holds old points: not a fault.
                if found.at < read.curve.at and position.line > line_before > 0:
                    read.first_late = read.first_late or position.line
                    read.late += 1
                read.curve = read.curve.add(found, self._zone)
        return read

    def _unreadable(self, name: str, text: str) -> None:
        self._unread.add(name)
        if self.problems.get(name) != text:
            self.problems[name] = text
            logger.warning("%s", text, extra={"event": "equity_unreadable", "strategy": name})

    async def post_equity(
        self, name: str, point: EquityPoint, *, reset_peak: bool = False
    ) -> EquityCurve:
        """Add one point that came over HTTP; with `reset_peak` it is the new peak.

        Raises :class:`KeyError` for an unknown name, :class:`ValueError` for a point from the
        future or one that is not newer than the newest.
        """
        async with self._lock:  # a file that is being read must not overwrite it
            curve = self.curves[name]
            if point.at > self._clock.now() + FUTURE_TOLERANCE_SECONDS:
                raise ValueError(f"timestamp {iso(point.at)} lies in the future")
            if point.at <= curve.at:
                raise ValueError(
                    f"timestamp {iso(point.at)} is not newer than {iso(curve.at)}, the newest"
                )
            curve = curve.add(point, self._zone)
            self.curves[name] = curve.reset_peak() if reset_peak else curve
            await self._keep(name)
            return self.curves[name]

    async def post_fill(self, name: str, fill: Fill) -> None:
        """Store a fill unless a newer one is known. :class:`KeyError` for an unknown name."""
        known = self.fills[name].get((fill.symbol, fill.side))
        if known and known.at > fill.at:
            return
        self.fills[name][fill.symbol, fill.side] = fill
        key = f"{name}|{fill.symbol}|{fill.side}"
        await self._state.keep("fill", key, {"at": fill.at, "price": fill.price})

    async def _keep(self, name: str) -> None:
        value = {
            "curve": self.curves[name].to_json(),
            "position": self._positions[name].to_json(),
        }
        await self._state.keep("strategy", name, value)

    def summary(self, name: str) -> dict[str, Any]:
        """The numbers of one strategy, for reports and pages."""
        curve, now = self.curves[name], self._clock.now()
        return {
            "currency": self._configured[name].currency,
            "equity": curve.equity,
            "peak": curve.peak,
            "drawdown": curve.drawdown,
            "pnl_today": curve.pnl_on(now, self._zone),
            "last_update": curve.at,
            "problem": self.problems.get(name),
        }

    @property
    def configured(self) -> dict[str, Strategy]:
        """The strategies of the running config."""
        return self._configured

    def read(self) -> Iterator[Sample]:
        """The samples of one scrape."""
        now = self._clock.now()
        for name, strategy in list(self._configured.items()):
            label = (name,)
            yield "quant_strategy_info", (name, strategy.currency, strategy.severity), 1.0
            curve = self.curves[name]
            yield "quant_strategy_equity", label, curve.equity
            yield "quant_strategy_equity_peak", label, curve.peak
            yield "quant_strategy_drawdown_ratio", label, curve.drawdown
            yield "quant_strategy_pnl_today", label, curve.pnl_on(now, self._zone)
            yield "quant_strategy_last_update_timestamp_seconds", label, curve.at
            for severity, limit in strategy.max_drawdown.items():
                yield "quant_strategy_drawdown_limit_ratio", (name, severity), limit
            if strategy.max_age:
                yield "quant_strategy_age_limit_seconds", label, strategy.max_age
            for fill in list(self.fills[name].values()):
                labels = (name, fill.symbol, fill.side)
                yield "quant_strategy_last_fill_timestamp_seconds", labels, fill.at
                yield "quant_strategy_last_fill_price", labels, fill.price
