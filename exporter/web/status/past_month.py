"""Thirty days of equity, as Prometheus remembers it.

Without Prometheus it is drawn by the days that state keeps. The page never waits for it: what
comes too late is there when the page refreshes itself.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from exporter.alerts.api_clients import PrometheusClient, ServerError
from exporter.strategies.equity import EquityCurve
from exporter.util.clock import Clock
from exporter.web.status.filters import amount
from exporter.web.status.uptime import DAYS

HOLDS_SECONDS = 300.0
PATIENCE_SECONDS = 0.3
CURVE_STEP_SECONDS = 6 * 3600.0
WIDTH, HEIGHT = 240, 40
_DAY = 86400.0
EQUITY = "max by (strategy) (quant_strategy_equity)"


@dataclass(frozen=True)
class Curve:
    """An SVG path in a box of 240 x 40, and the same in words."""

    path: str
    words: str


class PastMonth:
    """Asks when a page is asked for."""

    def __init__(self, prometheus: PrometheusClient, clock: Clock) -> None:
        self._prometheus, self._clock = prometheus, clock
        self._asked = -HOLDS_SECONDS
        self._asking: asyncio.Task[None] | None = None
        self.curves: dict[str, Curve] = {}
        """By strategy."""

    async def refresh(self) -> None:
        """Ask again after some minutes. Raises nothing: what is not known is not shown."""
        if self._asking is None and self._clock.monotonic() - self._asked >= HOLDS_SECONDS:
            self._asked = self._clock.monotonic()
            self._asking = asyncio.create_task(self._ask(), name="history for the page")
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=PATIENCE_SECONDS)
            if self._asking.done():
                self._asking = None

    async def _ask(self) -> None:
        now = self._clock.now()
        try:
            equity = await self._prometheus.query_range(
                EQUITY, now - DAYS * _DAY, now, CURVE_STEP_SECONDS
            )
        except ServerError:
            return
        curves = {each["metric"].get("strategy", ""): _numbers(each["values"]) for each in equity}
        self.curves = {name: curve for name, found in curves.items() if (curve := draw(found))}


def draw(points: Sequence[tuple[float, float]]) -> Curve | None:
    """The line from left to right, the lowest value at the bottom; None for fewer than two."""
    if len(points) < 2:
        return None
    times, values = zip(*points, strict=True)
    low, high = min(values), max(values)
    wide, tall = times[-1] - times[0], (high - low) or 1.0
    across, up = WIDTH / wide, (HEIGHT - 2) / tall
    path = "L".join(
        f"{(at - times[0]) * across:.1f} {HEIGHT - 1 - (value - low) * up:.1f}"
        for at, value in points
    )
    words = (
        f"Equity of the last {DAYS} days: {amount(values[0])} to {amount(values[-1])}, "
        f"lowest {amount(low)}, highest {amount(high)}"
    )
    return Curve(f"M{path}", words)


def kept_curve(known: EquityCurve | None) -> Curve | None:
    """By the days that state keeps, for where there is no Prometheus; a point a day."""
    if known is None:
        return None
    days = [*known.past, *([known.today] if known.day else [])]
    points = [(date.fromisoformat(day.day).toordinal() * _DAY, day.equity) for day in days]
    return draw([(at, equity) for at, equity in points if math.isfinite(equity)][-DAYS:])


def _numbers(values: Sequence[Sequence[object]]) -> list[tuple[float, float]]:
    """Prometheus writes values as text; anything else is left out."""
    found = []
    for pair in values:
        try:
            at, value = (float(str(each)) for each in pair)
        except ValueError:
            continue
        if math.isfinite(at) and math.isfinite(value):
            found.append((at, value))
    return found
