"""What the status page shows, as plain data. The page needs nothing but a :class:`StatusView`, so
tests can show any state.

Times are Unix seconds UTC; NaN: never, or no value. ``level`` is what a row means to its reader:
``bad`` pages, ``warn`` needs attention, ``idle`` is neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Literal

from exporter.util.nan import NAN

Level = Literal["fine", "warn", "bad", "idle"]
TaskWord = Literal["ok", "running", "waiting", "blocked", "paused", "failing", "late", "new"]


def _worse(severity: str) -> Level:
    return {"critical": "bad", "warning": "warn"}.get(severity, "idle")  # type: ignore[return-value]


@dataclass(frozen=True)
class LogLine:
    """One line of a run's log."""

    at: float
    level: str
    text: str


@dataclass(frozen=True)
class Failure:
    """How the newest failed run ended; `reason` is its outcome."""

    at: float
    reason: str
    message: str
    run_id: str = ""
    lines: tuple[LogLine, ...] = ()


@dataclass(frozen=True)
class RunRow:
    """One run of the last week; outcome None while it is under way."""

    task: str
    run_id: str
    started: float
    duration: float = NAN
    outcome: str | None = None
    error: str = ""
    slot: float = NAN
    attempts: int = 1
    items: float = NAN
    message: str = ""
    """The message of a success."""

    @property
    def level(self) -> Level:
        """Success is fine, a run under way or one that did not start is idle, anything else
        failed."""
        levels: dict[str | None, Level] = {"success": "fine", "blocked": "idle", None: "idle"}
        return levels.get(self.outcome, "bad")


@dataclass(frozen=True)
class ServiceFacts:
    """A service of systemd as of the newest look, and why it is not well, if it is not."""

    unit: str
    up: bool = False
    expected: bool = True
    since: float = NAN
    restarts: int = 0
    trouble: str = ""


@dataclass(frozen=True)
class TaskRow:
    """One configured task. `runs` are its newest runs, oldest first."""

    name: str
    state: TaskWord
    severity: str
    schedule: str
    next_run: float = NAN
    last_success: float = NAN
    last_failure: float = NAN
    deadline: float = NAN
    paused_until: float = NAN
    paused_by: str = ""
    """Which limit holds it, and why; it has no end then."""
    skipped: float = NAN
    """Today's slot that the exchange's shortened session leaves out."""
    instead: str = ""
    """The schedule that would run today too."""
    held_back: str = ""
    """Why its newest slot waits, or got no run."""
    failures: int = 0
    items: float = NAN
    runs: tuple[RunRow, ...] = ()
    failure: Failure | None = None
    notice: str = ""
    """Who hears of a failure, and when."""
    strategy: str = ""
    folder: str = ""
    """Where its program lies."""
    days: tuple[float, ...] = ()
    """The share of runs that succeeded on each of the last days, oldest first; NaN: no runs."""
    service: ServiceFacts | None = None
    """What systemd says, of a task that is a service."""

    @property
    def level(self) -> Level:
        """A problem is as bad as the task's severity."""
        if self.state in ("failing", "late"):
            return _worse(self.severity)
        return "idle" if self.state in ("paused", "new", "waiting", "blocked") else "fine"

    @property
    def took(self) -> float:
        """How long the newest ended run took, in seconds."""
        ended = (run.duration for run in reversed(self.runs) if not math.isnan(run.duration))
        return next(ended, NAN)


@dataclass(frozen=True)
class FeedRow:
    """One feed. `limits` are its overdue limits by severity, in seconds; `late` are the symbols
    that are overdue, the longest first, of which there are `late_count`."""

    name: str
    source: str
    interval: str
    exchange: str
    open: bool
    symbols: int
    newest: float = NAN
    overdue: float = 0.0
    missing: int = 0
    late: tuple[tuple[str, float], ...] = ()
    late_count: int = 0
    limits: tuple[tuple[str, float], ...] = ()
    problem: str = ""
    days: tuple[float, ...] = ()
    """The share of each of the last days without a missing bar, oldest first; NaN: not known."""
    board: str = ""
    """The address of its board in Grafana; empty while that is not known."""

    @property
    def level(self) -> Level:
        """Beyond a limit it is as bad as the limit's severity; missing bars need attention."""
        passed = {severity for severity, limit in self.limits if self.overdue > limit}
        if "critical" in passed:
            return "bad"
        if passed or self.overdue > 0 or self.problem:
            return "warn"
        return "idle" if math.isnan(self.newest) else "fine"

    @property
    def word(self) -> str:
        """Its state in one word; before the first bar it is waiting."""
        if self.overdue > 0:
            return "overdue"
        if self.problem:
            return "trouble"
        return "waiting" if math.isnan(self.newest) else "fresh"


@dataclass(frozen=True)
class StrategyRow:
    """One strategy. `limits` are its drawdown limits by severity, as ratios."""

    name: str
    currency: str
    equity: float = NAN
    drawdown: float = NAN
    pnl_today: float = NAN
    updated: float = NAN
    max_age: float = NAN
    limits: tuple[tuple[str, float], ...] = ()
    severity: str = "warning"
    problem: str = ""
    """Why its equity cannot be read; empty when it can."""
    curve: str = ""
    """The last days' equity as an SVG path; empty when it is not known."""
    curve_words: str = ""
    held: str = ""
    """Its positions in words; empty if none were reported."""
    filled: str = ""
    """Its newest fill in words; empty before the first."""
    filled_at: float = NAN
    board: str = ""
    """The address of its board in Grafana; empty while that is not known."""

    @property
    def limit(self) -> float:
        """The limit that comes next, or the last one when all are crossed, as a ratio; NaN when
        there is none."""
        limits = sorted(limit for _, limit in self.limits)
        ahead = (limit for limit in limits if not self.drawdown >= limit)
        return next(ahead, limits[-1] if limits else NAN)

    def level(self, now: float) -> Level:
        """Beyond a limit it is as bad as the limit's severity, old equity as the strategy's;
        unreadable equity needs attention."""
        passed = [_worse(severity) for severity, limit in self.limits if self.drawdown >= limit]
        if now - self.updated > self.max_age:
            passed.append(_worse(self.severity))
        if self.problem:
            passed.append("warn")
        quiet: Level = "idle" if math.isnan(self.updated) else "fine"
        return next((level for level in ("bad", "warn") if level in passed), quiet)

    def word(self, now: float) -> str:
        """Its state in one word; before the first equity it is waiting."""
        if any(self.drawdown >= limit for _, limit in self.limits):
            return "limit"
        if self.problem:
            return "unread"
        if math.isnan(self.updated):
            return "waiting"
        return "old" if now - self.updated > self.max_age else "ok"


@dataclass(frozen=True)
class TotalRow:
    """All strategies in one currency. NaN while `missing` says what is not known."""

    currency: str
    equity: float = NAN
    pnl_today: float = NAN
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlertRow:
    """An alert that fires now; `acknowledged` when a silence covers it."""

    name: str
    severity: str
    summary: str
    since: float
    acknowledged: bool = False
    description: str = ""
    subject: str = ""
    """The task, feed or strategy that it is about."""
    ack: str = ""
    """The query of the page that acknowledges it."""
    runbook: str = ""
    """The address of what to do about it."""

    @property
    def level(self) -> Level:
        """As its severity; somebody takes care of an acknowledged one."""
        return "idle" if self.acknowledged else _worse(self.severity)


@dataclass(frozen=True)
class IncidentRow:
    """An alert of the last day, as the exporter's journal has it. `told` are channels with the
    moment, `refused` those that did not accept the message."""

    name: str
    severity: str
    subject: str
    text: str
    since: float
    over: float = NAN
    told: tuple[tuple[str, float], ...] = ()
    refused: tuple[str, ...] = ()
    acknowledged_by: str = ""
    muted: str = ""

    @property
    def level(self) -> Level:
        """Nothing, once it is over or somebody takes care of it."""
        quiet = not math.isnan(self.over) or self.acknowledged_by
        return "idle" if quiet else _worse(self.severity)

    @property
    def reached_nobody(self) -> bool:
        """It fires, and every channel that it was sent to refused it."""
        return math.isnan(self.over) and bool(self.refused) and not self.told


@dataclass(frozen=True)
class Day:
    """How many runs of one task, or of all, succeeded and failed on one day."""

    succeeded: int
    failed: int

    @property
    def share(self) -> float:
        """Of the runs that succeeded; NaN when there was none."""
        total = self.succeeded + self.failed
        return self.succeeded / total if total else NAN


@dataclass(frozen=True)
class FailureRow:
    """Runs of one task that failed alike within the week; the rest is about the newest of them."""

    task: str
    outcome: str
    error: str
    count: int
    newest: float
    run_id: str


@dataclass(frozen=True)
class Week:
    """`days` are the headings, newest first (a phone shows the first ones); a row is a task's name
    and a cell a day. `failures` are the newest."""

    days: tuple[date, ...] = ()
    rows: tuple[tuple[str, tuple[Day, ...]], ...] = ()
    failures: tuple[FailureRow, ...] = ()

    @property
    def totals(self) -> tuple[Day, ...]:
        """All tasks together, a cell a day."""
        columns = zip(*(days for _, days in self.rows), strict=True)
        return tuple(
            Day(sum(day.succeeded for day in column), sum(day.failed for day in column))
            for column in columns
        )


@dataclass(frozen=True)
class DigestRow:
    """The newest nightly digest, in one sentence; `day` as ``2026-11-24``."""

    day: str
    headline: str
    quiet: bool


@dataclass(frozen=True)
class StatusView:
    """The whole page at one moment. `zone` is the user's (IANA name); `simulated` names sources
    whose prices are made up; `troubles` are sentences about the exporter itself, `notes` those that
    need attention but nothing more; `alerts` is None
    when Alertmanager cannot be asked, which is a matter only once it was
    seen."""

    now: float
    zone: str
    version: str
    tasks: tuple[TaskRow, ...] = ()
    feeds: tuple[FeedRow, ...] = ()
    strategies: tuple[StrategyRow, ...] = ()
    total: TotalRow | None = None
    """Where the config has `portfolio`."""
    alerts: tuple[AlertRow, ...] | None = ()
    unresolved: tuple[AlertRow, ...] = ()
    """What fires as far as the exporter's journal knows; for when `alerts` is None."""
    incidents: tuple[IncidentRow, ...] = ()
    alertmanager_seen: bool = True
    week: Week = Week()
    simulated: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    digest: DigestRow | None = None
    review: str = ""
    """The first day of the newest week that was reviewed, as ``2026-11-23``."""
