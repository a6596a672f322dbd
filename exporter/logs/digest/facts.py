"""The content of a digest as plain data: from log files, kept as JSON, rendered for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

ALERT_BUDGET = 10
"""Non-critical notifications a day, at most."""


@dataclass(frozen=True)
class DueSlots:
    """Future slots of one task. Times are Unix seconds."""

    task: str
    slots: int
    first: float


@dataclass(frozen=True)
class Request:
    """What to sum up."""

    directory: Path
    """Where the log files are."""
    zone: str
    start: float
    end: float
    """The stretch of time [start, end), Unix seconds."""
    title: str
    """``2026-11-24``, or what was asked for."""
    reports: Path
    """Where digests of earlier days and the end-of-day report are."""
    due: tuple[DueSlots, ...] = ()
    budget: int = ALERT_BUDGET
    now: float = 0.0
    """Now, Unix seconds."""
    strategies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The strategies' day according to the state; the end-of-day report has the others."""

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        data = dataclasses.asdict(self)
        return data | {"directory": str(self.directory), "reports": str(self.reports)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Request:
        """The inverse of :meth:`to_json`."""
        due = tuple(DueSlots(**entry) for entry in data["due"])
        folders = {name: Path(data[name]) for name in ("directory", "reports")}
        return cls(**{**data, **folders, "due": due})

    @property
    def zone_info(self) -> ZoneInfo:
        """The zone for people."""
        return ZoneInfo(self.zone)


@dataclass(frozen=True)
class TaskDay:
    """Runs of one task."""

    task: str
    runs: int
    failures: dict[str, int]
    """Outcome to count, successes left out."""
    retried: int
    """Runs that took more than one attempt."""
    missed: int
    median_seconds: float | None
    """Of successful runs."""
    last_error: str | None
    retry_reasons: dict[str, int] = field(default_factory=dict)
    """Outcomes of attempts that were retried, with counts."""


@dataclass(frozen=True)
class SlowRun:
    """A run that took much longer than its task usually does."""

    task: str
    run_id: str
    at: str
    seconds: float
    usual_seconds: float
    """Median of the daily medians of up to seven days before."""


@dataclass(frozen=True)
class ErrorGroup:
    """Lines whose first lines are the same except for numbers, quoted names and symbols."""

    fingerprint: str
    level: str
    logger: str
    error_type: str | None
    count: int
    first: str
    last: str
    example: str
    run_id: str | None
    new: bool
    """No line of the 30 days before had this fingerprint."""
    tasks: list[str] = field(default_factory=list)
    """Tasks whose runs logged it."""


@dataclass(frozen=True)
class FetchDay:
    """Fetches of one endpoint of a source."""

    source: str
    endpoint: str
    failed: int
    reasons: dict[str, int]
    requests: int | None
    """All requests, if the lines say so (event ``fetch_totals``)."""


@dataclass(frozen=True)
class AlertDay:
    """One alert: how often it fired and ended, and how many firing notifications were sent."""

    alert: str
    severity: str
    firing: int
    resolved: int
    notifications: int = 0


@dataclass(frozen=True)
class LogDigest:
    """A stretch of time, summed up."""

    title: str
    zone: str
    start: float
    end: float
    files: int
    megabytes: float
    seconds: float
    """How long reading and summing up took, once DuckDB had started."""
    records: int
    broken_lines: int
    lost_lines: int
    levels: dict[str, int] = field(default_factory=dict)
    tasks: list[TaskDay] = field(default_factory=list)
    slow_runs: list[SlowRun] = field(default_factory=list)
    errors: list[ErrorGroup] = field(default_factory=list)
    more_errors: int = 0
    """Groups beyond the listed ones."""
    fetches: list[FetchDay] = field(default_factory=list)
    alerts: list[AlertDay] = field(default_factory=list)
    non_critical_notifications: int = 0
    budget: int = ALERT_BUDGET
    strategies: dict[str, dict[str, Any]] = field(default_factory=dict)
    due: list[DueSlots] = field(default_factory=list)
    made_at: float = 0.0
    """If this is before ``end``, the digest covers the time until then."""
    gone_before: float | None = None
    """Lines before this moment were deleted before they were summed up; the error log keeps errors
    longer."""
    from_error_log: int = 0
    """How many of ``records`` come from there."""

    @property
    def runs(self) -> int:
        """All runs that ended."""
        return sum(task.runs for task in self.tasks)

    @property
    def failures(self) -> int:
        """Runs that ended without success."""
        return sum(sum(task.failures.values()) for task in self.tasks)

    @property
    def quiet(self) -> bool:
        """Whether nothing happened that a person should read. Without any line that is unknown."""
        return not (
            not self.records
            or self.failures
            or self.errors
            or self.slow_runs
            or self.lost_lines
            or self.broken_lines
            or self.gone_before is not None
            or any(task.missed or task.retried for task in self.tasks)
            or any(fetch.failed for fetch in self.fetches)
            or any(alert.firing for alert in self.alerts)
        )

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return dataclasses.asdict(self) | {"quiet": self.quiet}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LogDigest:
        """The inverse of :meth:`to_json`; raises KeyError or TypeError for anything else."""
        kinds = {
            "tasks": TaskDay, "slow_runs": SlowRun, "errors": ErrorGroup, "fetches": FetchDay,
            "alerts": AlertDay, "due": DueSlots,
        }  # fmt: skip
        data = {name: value for name, value in data.items() if name != "quiet"}
        for name, kind in kinds.items():
            data[name] = [kind(**entry) for entry in data[name]]
        return cls(**data)
