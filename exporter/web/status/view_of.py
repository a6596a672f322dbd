"""The running exporter as a :class:`StatusView`: from memory, last week's runs from the file."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Protocol

from exporter import __version__
from exporter.clock import Clock
from exporter.config import Config
from exporter.feeds import Feeds, FeedState
from exporter.logs.digest.command import reports_folder
from exporter.logs.digest.keeping import latest
from exporter.logs.digest.render import headline
from exporter.sources.base import Source
from exporter.state import Run, State
from exporter.strategies import Strategies
from exporter.web.status.alerts_now import AlertsNow
from exporter.web.status.spark import MOST
from exporter.web.status.view import (
    NAN,
    DigestRow,
    Failure,
    FeedRow,
    LogLine,
    RunRow,
    StatusView,
    StrategyRow,
    TaskRow,
)
from exporter.web.tasks_view import TasksView

WEEK = 7 * 86400.0
MOST_RUNS = 20_000
HOLDS_SECONDS = 5.0
DIGEST_HOLDS_SECONDS = 60.0
_LINES = 40


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
        self._runs: list[Run] = []
        self._read = -HOLDS_SECONDS
        self._unreadable: str | None = None
        self._digest: DigestRow | None = None
        self._digest_read = -DIGEST_HOLDS_SECONDS

    async def __call__(self) -> StatusView:
        """Looks at everything once. Raises nothing: what cannot be read is a trouble."""
        house, now = self._house, self._house.clock.now()
        await self._read_runs(now)
        await self._read_digest()
        alerts = await self._alerts.rows()
        runs: dict[str, list[Run]] = {}
        for run in self._runs:
            runs.setdefault(run.task, []).append(run)
        return StatusView(
            now,
            house.config.timezone,
            __version__,
            tasks=tuple(task_row(t, runs.get(t["name"], [])) for t in house.tasks_view.list()),
            feeds=tuple(feed_row(state, now) for state in house.feeds.feeds.values()),
            strategies=tuple(self._strategy(name) for name in house.strategies.configured),
            alerts=alerts,
            alertmanager_seen=self._alerts.seen,
            runs=tuple(run_row(run) for run in self._runs),
            simulated=tuple(s.name for s in house.sources.values() if s.simulated),
            troubles=tuple(self._troubles()),
            links=(("Metrics", "metrics"), ("Tasks as JSON", "api/v1/tasks")),
            digest=self._digest,
        )

    async def _read_runs(self, now: float) -> None:
        # A week of 200 busy tasks is much to read: several readers within seconds share it.
        monotonic = self._house.clock.monotonic()
        if monotonic - self._read < HOLDS_SECONDS:
            return
        self._read = monotonic
        try:
            self._runs = await self._house.state.runs(now - WEEK, limit=MOST_RUNS)
            self._unreadable = None
        except Exception as error:  # noqa: BLE001 - the page must come, whatever the disk does
            self._unreadable = f"Last week's runs cannot be read: {error}"

    async def _read_digest(self) -> None:
        monotonic = self._house.clock.monotonic()
        if monotonic - self._digest_read < DIGEST_HOLDS_SECONDS:
            return
        self._digest_read = monotonic
        found = await asyncio.to_thread(latest, reports_folder(self._house.config))
        self._digest = DigestRow(found.title, headline(found), found.quiet) if found else None

    def _troubles(self) -> list[str]:
        said = [
            self._house.state.trouble,
            f"Not ready: {self._house.missing}" if self._house.missing else None,
            self._unreadable,
            *(f"Strategy {n}: {text}" for n, text in self._house.strategies.problems.items()),
        ]
        return [text for text in said if text]

    def _strategy(self, name: str) -> StrategyRow:
        known = self._house.strategies.summary(name)
        strategy = self._house.strategies.configured[name]
        return StrategyRow(
            name,
            strategy.currency,
            known["equity"],
            known["drawdown"],
            known["pnl_today"],
            known["last_update"],
            strategy.max_age or NAN,
            tuple(strategy.max_drawdown.items()),
        )


def _number(value: float | None) -> float:
    return NAN if value is None else float(value)


def run_row(run: Run) -> RunRow:
    """A run as the page shows it."""
    started = run.started_at if run.started_at is not None else run.claimed_at
    return RunRow(
        run.task,
        run.run_id,
        started,
        NAN if run.ended_at is None else max(0.0, run.ended_at - started),
        run.outcome,
        run.error or "",
        _number(run.slot),
        run.attempts,
        _number(run.items),
    )


def task_row(task: Mapping[str, Any], runs: list[Run]) -> TaskRow:
    """One task with its runs, newest first. The newest failure is shown until a success follows."""
    failed = next((r for r in runs if r.outcome not in ("success", None)), None)
    shown = failed if failed and task["consecutive_failures"] else None
    return TaskRow(
        task["name"],
        task["state"],
        task["severity"],
        task["schedule"],
        next_run=_number(task["next_slot"]),
        last_success=_number(task["last_success"]),
        last_failure=_number(task["last_failure"]),
        deadline=_number(task["deadline"]),
        paused_until=_number(task["paused_until"]),
        failures=task["consecutive_failures"],
        items=_number(task["items"]),
        runs=tuple(run_row(run) for run in reversed(runs[:MOST])),
        failure=_failure(shown) if shown else None,
    )


def _failure(run: Run) -> Failure:
    lines = (run.tail or "").splitlines()[-_LINES:]
    return Failure(
        _number(run.ended_at),
        run.outcome or "",
        run.error or "no reason was given",
        run.run_id,
        tuple(LogLine(NAN, "", line) for line in lines),
    )


def feed_row(state: FeedState, now: float) -> FeedRow:
    """One feed with its worst symbol."""
    feed = state.feed
    overdue = {symbol: state.overdue(known, now) for symbol, known in state.known.items()}
    worst = max(overdue, key=lambda symbol: overdue[symbol], default="")
    missing = sum(
        state.calendar.expected_bars(feed.interval, known.from_when, now - feed.delay)
        for symbol, known in state.known.items()
        if overdue[symbol] > 0
    )
    ends = [known.end for known in state.known.values() if not math.isnan(known.end)]
    return FeedRow(
        state.name,
        feed.source,
        feed.interval,
        feed.exchange,
        open=state.calendar.is_open(now),
        symbols=len(feed.symbols),
        newest=max(ends, default=NAN),
        overdue=overdue.get(worst, 0.0),
        worst=worst,
        missing=missing,
        limits=tuple(feed.max_overdue.items()),
        problem=state.problem or "",
    )
