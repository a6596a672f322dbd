"""What others see of a run. Every moment is Unix seconds in UTC.

A run is asked for by a :class:`~exporter.state.Claim`, is a :class:`RunningRun` while it is under
way, and a :class:`~exporter.state.Run` for everyone who reads about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from exporter.state import JSON, Claim, Run, TaskState, Trigger
from exporter.util.clock import Clock


class EarlierRuns(Protocol):
    """What runs need of :class:`exporter.state.history.StateHistory`."""

    async def run(self, run_id: str) -> Run | None: ...

    async def runs_for(self, task: str, begin: float, end: float) -> list[Run]: ...


class Store(Protocol):
    """What runs need of state."""

    @property
    def history(self) -> EarlierRuns: ...

    @property
    def tasks(self) -> Mapping[str, TaskState]: ...

    def open_runs(self) -> list[Run]: ...

    async def claim(self, claim: Claim) -> bool: ...

    async def advance(self, task: str, cursor: float) -> None: ...

    async def finish(self, end: Run) -> None: ...

    async def finish_durably(self, end: Run) -> bool: ...

    async def block(self, end: Run, *, covered: bool) -> None: ...

    async def reopen(self, run_id: str) -> bool: ...

    async def journal(self, kind: str, at: float, fields: Mapping[str, JSON]) -> None: ...

    def kept(self, kind: str) -> dict[str, JSON]: ...

    async def keep(self, kind: str, name: str, value: JSON) -> None: ...


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
    """The same moment on the monotonic clock, for the duration."""
    attempt: int = 1
    for_slot: float | None = None
    params: str | None = None
    """As in :class:`~exporter.state.Run`."""

    @property
    def its_slot(self) -> float | None:
        """The slot that it is for, whether or not it claimed it."""
        return self.for_slot if self.slot is None else self.slot

    def to_run(self) -> Run:
        """The run as it is now: without an outcome."""
        return Run(
            self.run_id, self.task, self.slot, self.trigger, self.started_at,
            started_at=self.started_at, attempts=self.attempt, for_slot=self.for_slot,
            params=self.params,
        )  # fmt: skip


def running_of(run: Run, clock: Clock) -> RunningRun:
    """A run that state holds open, as one under way; it began when it was first started."""
    started_at = run.started_at or run.claimed_at
    return RunningRun(
        run.run_id,
        run.task,
        run.slot,
        run.trigger,
        started_at,
        clock.monotonic() - max(0.0, clock.now() - started_at),
        for_slot=run.for_slot,
        params=run.params,
    )
