"""The running exporter as a :class:`StatusView`: from memory, last week's runs from the file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Protocol
from zoneinfo import ZoneInfo

from exporter import __version__
from exporter.config import Config
from exporter.config.paths import reports_folder
from exporter.feeds import Feeds
from exporter.logs.digest.archive import latest
from exporter.logs.digest.render import headline
from exporter.sources.base import Source
from exporter.state import Run, State, StateError
from exporter.strategies.tracker import Strategies
from exporter.util.clock import Clock
from exporter.web.status.alerts_now import AlertsNow
from exporter.web.status.rows import feed_row, strategy_row, task_row
from exporter.web.status.sparkline import MOST
from exporter.web.status.view import DigestRow, StatusView, Week
from exporter.web.status.week import Weeks
from exporter.web.tasks_view import TasksView

HOLDS_SECONDS = 5.0
DIGEST_HOLDS_SECONDS = 60.0


class House(Protocol):
    """The parts that are read."""

    @property
    def config(self) -> Config: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def missing(self) -> str | None: ...
    @property
    def sources(self) -> Mapping[str, Source]: ...
    @property
    def state(self) -> State: ...
    @property
    def tasks_view(self) -> TasksView: ...
    @property
    def feeds(self) -> Feeds: ...
    @property
    def strategies(self) -> Strategies: ...


class ViewOf:
    """Call it for the view of now."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._alerts = AlertsNow(lambda: house.config.alertmanager_url, house.clock)
        self._weeks = Weeks(house.state, house.clock)
        self._week = Week()
        self._runs: dict[str, list[Run]] = {}
        self._read = -HOLDS_SECONDS
        self._unreadable: str | None = None
        self._looking = asyncio.Lock()
        self._digest: DigestRow | None = None
        self._digest_read = -DIGEST_HOLDS_SECONDS

    async def __call__(self) -> StatusView:
        """Looks at everything once. Raises nothing: what cannot be read is a trouble."""
        house, now = self._house, self._house.clock.now()
        async with self._looking:  # who comes second takes what the first one read
            alerts, *_ = await asyncio.gather(
                self._alerts.rows(), self._read_runs(), self._read_digest()
            )
        runs = self._runs
        return StatusView(
            now,
            house.config.timezone,
            __version__,
            tasks=tuple(task_row(t, runs.get(t["name"], [])) for t in house.tasks_view.list()),
            feeds=tuple(feed_row(state, now) for state in house.feeds.feeds.values()),
            strategies=tuple(
                strategy_row(name, strategy, house.strategies.summary(name))
                for name, strategy in house.strategies.configured.items()
            ),
            alerts=alerts,
            alertmanager_seen=self._alerts.seen,
            week=self._week,
            simulated=tuple(s.name for s in house.sources.values() if s.simulated),
            troubles=tuple(self._troubles()),
            links=tuple(self._links()),
            digest=self._digest,
        )

    async def _read_runs(self) -> None:
        # Several readers within seconds share what is much to read.
        monotonic, house = self._house.clock.monotonic(), self._house
        if monotonic - self._read < HOLDS_SECONDS:
            return
        self._read = monotonic
        try:
            self._week = await self._weeks.read(ZoneInfo(house.config.timezone))
            runs: dict[str, list[Run]] = {}
            for run in await house.state.runs_of(tuple(house.config.tasks), 0.0, MOST):
                runs.setdefault(run.task, []).append(run)
            self._runs, self._unreadable = runs, None
        except StateError as error:
            self._unreadable = f"Last week's runs cannot be read: {error}"

    async def _read_digest(self) -> None:
        monotonic = self._house.clock.monotonic()
        if monotonic - self._digest_read < DIGEST_HOLDS_SECONDS:
            return
        self._digest_read = monotonic
        found = await asyncio.to_thread(latest, reports_folder(self._house.config))
        self._digest = DigestRow(found.title, headline(found), found.quiet) if found else None

    def _links(self) -> Iterator[tuple[str, str]]:
        alerts = self._house.config.alerts
        if alerts.dashboards_are_named:
            yield "Dashboards", alerts.dashboards_url
        yield "Metrics", "metrics"
        yield "Tasks as JSON", "api/v1/tasks"

    def _troubles(self) -> list[str]:
        said = [
            self._house.state.trouble,
            f"Not ready: {self._house.missing}" if self._house.missing else None,
            self._unreadable,
        ]
        return [text for text in said if text]
