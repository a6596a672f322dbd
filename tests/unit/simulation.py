"""A simulator on real calendars that need no subprocess, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from exporter.calendars.bars import Calendar
from exporter.config import TickDBSettings
from exporter.metrics import Metrics
from exporter.simulator.tickdb_server import Simulator
from exporter.sources.factory import open_source
from exporter.sources.tickdb import TickDB
from tests.unit.clocks import ManualClock
from tests.unit.tables import calendar

OPEN_IN_NEW_YORK = 1_790_694_030.0
"""2026-09-29 14:20:30 UTC, a Tuesday: New York is open."""


class Shelf:
    """As exporter.calendars.loader.Calendars, from the tests' shared tables."""

    names: tuple[str, ...] = ()

    def get(self, name: str) -> Calendar:
        return calendar(name)

    async def load(self, names: Iterable[str]) -> None:
        self.names = (*self.names, *names)


class World:
    """A running simulator, its clock, and a client."""

    def __init__(self, simulator: Simulator, url: str, clock: ManualClock, source: TickDB) -> None:
        self.simulator, self.url, self.clock, self.source = simulator, url, clock, source

    @property
    def control(self) -> str:
        """The address of the control path."""
        return self.url.removesuffix("/v1") + "/control"


@asynccontextmanager
async def world(now: float = OPEN_IN_NEW_YORK, **settings: Any) -> AsyncIterator[World]:
    """A simulator and a client that does not retry, both on one clock."""
    clock = ManualClock(now)
    limits = {"requests_per_minute": settings.pop("server_limit", 6000)}
    simulator = Simulator(Shelf(), clock, **limits, **settings.pop("simulator", {}))
    url = await simulator.start()
    given = {"type": "simulated", "retries": 0, "requests_per_minute": 6000, **settings}
    metrics = Metrics(CollectorRegistry())
    source = open_source("sim", TickDBSettings(**given), metrics, clock, simulator_url=url)
    try:
        yield World(simulator, url, clock, source)
    finally:
        await source.close()
        await simulator.close()
