"""A day of the real exporter in seconds: its parts are driven by a clock that tests move, and what
each scrape would have seen is written as OpenMetrics with the moments at which it was true.

Tuesday 2026-09-29 in New York, 06:00 to 22:00. At 11:00 the source limits its rate for a moment;
from 13:00 on its bars stand still; `broker_sync` fails from noon on; the strategy falls below its
limit, and from 16:00 on holds more positions than its limit says, which pauses a task.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO
from zoneinfo import ZoneInfo

from exporter.app import App
from exporter.config import load
from exporter.state.ledger import Fill, Position
from exporter.strategies.equity_point import EquityPoint
from tests.unit.clocks import ManualClock

STEP_SECONDS = 60
LABELS = {"job": "quant-exporter", "instance": "localhost:10077"}
CONFIG = """
listen: 127.0.0.1:0
alertmanager_url: http://127.0.0.1:9
prometheus_url: http://127.0.0.1:9
sources:
  market: {type: simulated, retries: 1, requests_per_minute: 6000}
feeds:
  us_minute:
    {source: market, symbols: [NVDA.US, TSLA.US], interval: 1m, exchange: XNYS,
     max_overdue: {critical: 30m}, max_spread: {warning: 0.5%}}
tasks:
  health_check: {run: "exporter.tasks:health_check", schedule: "every 30m"}
  key_check: {run: "exporter.tasks:key_check", schedule: "06:30"}
  broker_sync:
    {command: [sh, -c, "test ! -e broken"], schedule: "every 1h", retries: 1, backoff: 10ms}
  early: {command: ["true"], schedule: "10:00", exchange: XNYS}
strategies:
  momentum_001: {currency: USD, max_age: 1d, max_drawdown: {warning: 5%, critical: 10%}}
metrics:
  positions: {labels: [strategy], max_age: 2h}
  exposure: {labels: [strategy]}
  orders: {type: counter, labels: [strategy]}
limits:
  positions: {max: {warning: 10, critical: 20}, on_critical: {pause: [early]}}
  exposure: {min: {warning: 0.2, critical: 0.1}}
"""
NOTIFICATION = {
    "status": "firing",
    "groupKey": "{}",
    "groupLabels": {},
    "commonLabels": {},
    "commonAnnotations": {},
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "QuantTaskFailing", "severity": "warning", "task": "x"},
            "annotations": {"summary": "A task fails."},
            "startsAt": "2026-09-29T12:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": "0123456789abcdef",
        }
    ],
}


def at(hour: int, minute: int = 0) -> float:
    """A moment of the day, Unix seconds."""
    zone = ZoneInfo("America/New_York")
    return datetime(2026, 9, 29, hour, minute, tzinfo=zone).timestamp()


BEGIN, END = at(6), at(22)


class Day:
    """The exporter, its clock, and the file that the scrapes go to."""

    def __init__(self, folder: Path, out: IO[str], shift: float) -> None:
        config = folder / "exporter.yml"
        config.write_text(CONFIG)
        self.folder, self.out, self.shift = folder, out, shift
        self.clock = ManualClock(BEGIN - STEP_SECONDS)
        self.app = App(config, load(config), self.clock)
        self.scrapes = 0

    async def live(self) -> None:
        """From morning to evening."""
        async with contextlib.AsyncExitStack() as stack:
            parts = self.services = await self.app.start(stack)
            # From here on nobody but the clock says what happens next.
            await parts.scheduler.stop()
            await parts.feeds.stop()
            while self.clock.now() < END:
                self.clock.advance(STEP_SECONDS)
                await self._minute(self.clock.now())
                self._scrape()
            self.out.write("# EOF\n")

    async def _minute(self, now: float) -> None:
        await self._events(now)
        await self.services.limits.look()
        await self.services.scheduler.sweep()
        for state in self.services.feeds.feeds.values():
            if state.next_poll(now) <= now:
                await self.services.feeds.poll(state)
        while self.services.runner.running:
            await asyncio.sleep(0.002)

    async def _events(self, now: float) -> None:
        (simulator,) = self.services.supply.simulators.values()
        if now == at(11):
            simulator.faults.add({"fault": "server_error", "count": 3})
        if now == at(12):
            (self.folder / "broken").touch()
        if now == at(13):
            simulator.faults.add({"fault": "frozen"})
        if now % 3600 == 0:
            fallen = max(0.0, now - at(12)) / 3600 * 1500
            await self.services.strategies.post_equity(
                "momentum_001", EquityPoint(now, 100_000.0 - fallen)
            )
        if now == at(15):
            await self.services.strategies.holdings.add_fill(
                "momentum_001", Fill("NVDA.US", "buy", now, Decimal("181.5"))
            )
            await self.services.alerts.journal.record("slack", NOTIFICATION)
            for origin, quantity in (("strategy", 120), ("alpaca", 100)):
                held = [Position("NVDA.US", Decimal(quantity))]
                await self.services.strategies.holdings.set_positions(
                    "momentum_001", held, now, origin
                )
        own = self.services.custom_metrics
        held_now = 25 if now >= at(16) else 4
        own.set("positions", held_now, {"strategy": "momentum_001"})
        own.set("exposure", 0.9, {"strategy": "momentum_001"})
        if now % 1800 == 0:
            own.set("orders", 1, {"strategy": "momentum_001"}, kind="counter", add=True)

    def _scrape(self) -> None:
        """What Prometheus would have stored now, moved so that the day ends at the present."""
        for name, labels, value in self._samples():
            told = ",".join(f'{k}="{_escaped(v)}"' for k, v in {**labels, **LABELS}.items())
            text = "NaN" if math.isnan(value) else repr(value)
            self.out.write(f"{name}{{{told}}} {text} {self.clock.now() + self.shift:.3f}\n")
        self.scrapes += 1

    def _samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        count = 0
        for family in self.app.registry.collect():
            for sample in family.samples:
                if sample.name.endswith("_created"):
                    continue
                # Moments that the exporter tells move with the day; our own process began just now.
                moved = "_timestamp_seconds" in sample.name
                yield sample.name, sample.labels, sample.value + (self.shift if moved else 0.0)
                count += 1
        yield "up", {}, 1.0
        yield "scrape_duration_seconds", {}, 0.01
        yield "scrape_samples_post_metric_relabeling", {}, float(count)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def write(folder: Path, now: float) -> Path:
    """Live the day and return its OpenMetrics file; it ends at `now`, Unix seconds."""
    path = folder / "day.om"
    with path.open("w") as out:
        day = Day(folder, out, now - END)
        asyncio.run(day.live())
    assert day.scrapes == (END - BEGIN) / STEP_SECONDS + 1
    return path
