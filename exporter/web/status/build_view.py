"""The running exporter as a :class:`StatusView`. Last week's runs come from the state file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from zoneinfo import ZoneInfo

from exporter import __version__
from exporter.config.paths import reports_folder
from exporter.logs.digest.archive import latest
from exporter.logs.digest.sections import headline
from exporter.state import Run, StateError
from exporter.util.give_way import TakeTurns
from exporter.web.status.alerts_now import AlertsNow
from exporter.web.status.board_links import board_of
from exporter.web.status.detail_pages import reviews
from exporter.web.status.page_parts import PageParts
from exporter.web.status.past_month import PastMonth, kept_curve
from exporter.web.status.recent_alerts import RecentAlerts
from exporter.web.status.rows import feed_row, strategy_row, task_row, total_row
from exporter.web.status.view import DigestRow, StatusView, TaskRow, Week
from exporter.web.status.week import Weeks

HOLDS_SECONDS = 5.0
DIGEST_HOLDS_SECONDS = 60.0
_REFUSED = 3
RUNS = 5
"""Of each task: the newest, and the newest failure while nothing succeeded since."""


class ViewOf:
    """Call it for the view of now."""

    def __init__(self, parts: PageParts) -> None:
        self._parts = parts
        self._alerts = AlertsNow(parts.alerts.alertmanager, parts.clock)
        self._journal = RecentAlerts(parts.state, parts.alerts.journal, parts.clock)
        self._month = PastMonth(parts.alerts.prometheus, parts.clock)
        self._weeks = Weeks(parts.state, parts.clock)
        self._week = Week()
        self._runs: dict[str, list[Run]] = {}
        self._read = -HOLDS_SECONDS
        self._unreadable: str | None = None
        self._looking = asyncio.Lock()
        self._digest: DigestRow | None = None
        self._review = ""
        self._digest_read = -DIGEST_HOLDS_SECONDS

    async def __call__(self) -> StatusView:
        """Read everything once. Raises nothing: what cannot be read is listed as a problem."""
        parts, now = self._parts, self._parts.clock.now()
        async with self._looking:  # concurrent readers share one read
            alerts, incidents, *_ = await asyncio.gather(
                self._alerts.rows(),
                self._journal.rows(),
                self._month.refresh(),
                self._read_runs(),
                self._read_digest(),
            )
        return StatusView(
            now,
            parts.config().timezone,
            __version__,
            tasks=tuple([task async for task in self._tasks()]),
            feeds=tuple(
                feed_row(
                    state,
                    now,
                    parts.complete_days.shares(state.name),
                    silent=parts.feeds.streams.trouble(state.name, now),
                    board=board_of(parts.config().alerts, "feed", state.name),
                )
                for state in parts.feeds.feeds.values()
            ),
            strategies=tuple(
                strategy_row(
                    name,
                    each,
                    parts.strategies.summary(name),
                    parts.strategies.holdings,
                    self._month.curves.get(name) or kept_curve(parts.strategies.curves.get(name)),
                    board=board_of(parts.config().alerts, "strategy", name),
                )
                for name, each in parts.strategies.configured.items()
            ),
            total=total_row(parts.strategies),
            alerts=alerts,
            unresolved=self._journal.unresolved() if alerts is None else (),
            incidents=incidents,
            alertmanager_seen=self._alerts.seen,
            week=self._week,
            simulated=tuple(s.name for s in parts.supply.sources.values() if s.simulated),
            troubles=tuple(self._troubles()),
            notes=tuple(self._notes()),
            links=tuple(self._links()),
            digest=self._digest,
            review=self._review,
        )

    async def days_of(self, task: str) -> tuple[float, ...]:
        """The share of a task's runs that succeeded on each of the last 30 days, oldest first."""
        async with self._looking:
            await self._read_runs()
        return self._weeks.shares.get(task, ())

    async def _tasks(self) -> AsyncIterator[TaskRow]:
        tasks, shares, take_turns = self._parts.config().tasks, self._weeks.shares, TakeTurns()
        for name in list(tasks):
            await take_turns()
            if self._parts.tasks_view.kind(name) is None:
                continue  # a reload meanwhile removed it
            known = self._parts.tasks_view.one(name, notices=False)
            yield task_row(known, self._runs.get(name, []), tasks.get(name), shares.get(name, ()))

    async def _read_runs(self) -> None:
        # Readers within a few seconds share one read.
        monotonic, parts = self._parts.clock.monotonic(), self._parts
        if monotonic - self._read < HOLDS_SECONDS:
            return
        self._read = monotonic
        try:
            self._week = await self._weeks.read(ZoneInfo(parts.config().timezone))
            runs: dict[str, list[Run]] = {}
            for run in await parts.state.history.runs_of(tuple(parts.config().tasks), 0.0, RUNS):
                runs.setdefault(run.task, []).append(run)
            self._runs, self._unreadable = runs, None
        except StateError as error:
            self._unreadable = f"Last week's runs cannot be read: {error}"

    async def _read_digest(self) -> None:
        monotonic = self._parts.clock.monotonic()
        if monotonic - self._digest_read < DIGEST_HOLDS_SECONDS:
            return
        self._digest_read = monotonic
        folder = reports_folder(self._parts.config())
        found = await asyncio.to_thread(latest, folder)
        self._review = next(iter(await asyncio.to_thread(reviews, folder)), "")
        self._digest = DigestRow(found.title, headline(found), found.quiet) if found else None

    def _links(self) -> Iterator[tuple[str, str]]:
        alerts = self._parts.config().alerts
        if alerts.dashboards_are_named:
            yield "Dashboards", alerts.dashboards_url
        if progress := self._parts.backtests.progress():
            yield f"Backtests: {progress}", "backtests"
        elif self._parts.backtests.newest:
            yield "Backtests", "backtests"
        yield "Metrics", "metrics"
        yield "Tasks as JSON", "api/v1/tasks"

    def _notes(self) -> Iterator[str]:
        for name, problem in self._parts.follower.problems().items():
            yield f"Log file {name} cannot be read: {problem}"
        for record in list(self._parts.limits.actions.records.values()):
            if record.holds and record.status != "failed":
                yield (
                    f"Limit {record.title} acted: {record.why}. Undo by hand: "
                    f"quant-exporter resume --limit {record.limit}"
                )
        if problems := self._parts.strategies.problems_of_total():
            yield f"The total of all strategies is not known: {'; '.join(problems)}"
        for problem in self._parts.strategies.holdings.unreadable.values():
            yield f"Positions: {problem}"
        unknown = self._parts.limits.unknown(self._parts.clock.now())
        for (limit, _), why in unknown.items():
            yield f"Limit {limit} cannot be compared: {why}"
        for problem in self._parts.textfiles.problems():
            yield f"Text file with metrics: {problem}"
        refused = self._parts.custom_metrics.problems()
        for problem in refused[-_REFUSED:]:
            yield f"A value of your own metrics was refused: {problem}"

    def _troubles(self) -> list[str]:
        actions = self._parts.limits.actions
        said = [
            *(
                f"The action of the limit {record.title} failed: {record.error}"
                for record in list(actions.records.values())
                if record.holds and record.status == "failed"
            ),
            *(f"A limit cannot act: {why}" for why in actions.unclaimed.values()),
            self._parts.state.trouble,
            f"Not ready: {self._parts.missing()}" if self._parts.missing() else None,
            self._unreadable,
            self._journal.problem,
        ]
        return [text for text in said if text]
