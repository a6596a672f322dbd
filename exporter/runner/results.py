"""What others see of a run. Every moment is Unix seconds in UTC."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from exporter.state import JSON, Claim, Outcome, Run, RunEnd, TaskState, Trigger
from exporter.util.clock import Clock


class Store(Protocol):
    """What runs need of state."""

    @property
    def tasks(self) -> Mapping[str, TaskState]: ...

    def open_runs(self) -> list[Run]: ...

    async def claim(self, claim: Claim) -> bool: ...

    async def advance(self, task: str, cursor: float) -> None: ...

    async def finish(self, end: RunEnd) -> None: ...

    async def reopen(self, run_id: str) -> bool: ...

    async def journal(self, kind: str, at: float, fields: Mapping[str, JSON]) -> None: ...


class BusyError(Exception):
    """The run cannot start now; the text says why."""


@dataclass(slots=True)
class RunningRun:
    """A run that is under way."""

    run_id: str
    task: str
    slot: float | None
    trigger: Trigger
    started_at: float
    began: float
    """The same moment on the clock that never goes back, for the duration."""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run that ended. ``items`` is NaN when the task did not say."""

    run_id: str
    task: str
    slot: float | None
    outcome: Outcome
    started_at: float
    ended_at: float
    attempts: int = 1
    items: float = math.nan
    error: str | None = None
    tail: str = field(default="", repr=False)


def running_of(run: Run, clock: Clock) -> RunningRun:
    """A run that state holds open, as one under way; it began when it was first started."""
    triggers: dict[str, Trigger] = {t: t for t in ("schedule", "catch_up", "manual", "rerun")}
    return RunningRun(
        run.run_id,
        run.task,
        run.slot,
        triggers.get(run.trigger, "manual"),
        run.started_at or run.claimed_at,
        clock.monotonic() - max(0.0, clock.now() - (run.started_at or run.claimed_at)),
    )
