"""External tasks: they run elsewhere and tell us when they start, succeed or fail.

A run is open from its start to its end, or until ``max_runtime`` passed without a word. An end
without a start is a run too: a program may care to tell no more than that.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, Protocol

from exporter.config import Task
from exporter.redaction.truncate import mask_window
from exporter.runner.results import RunningRun, Store
from exporter.state import Claim, Run, StateError
from exporter.tasks.outcome import ERROR_CHARS, Outcome
from exporter.util.clock import Clock
from exporter.util.units import format_duration

log = logging.getLogger(__name__)


class _Close(Protocol):
    def __call__(
        self, run: RunningRun, outcome: Outcome, /, *, attempts: int
    ) -> Awaitable[Run]: ...


class External:
    """The runs of external tasks."""

    def __init__(
        self, state: Store, clock: Clock, new_id: Callable[[], str], close: _Close
    ) -> None:
        self._state, self._clock, self._new_id, self._close = state, clock, new_id, close
        self._tasks: Mapping[str, Task] = {}
        self.running: dict[str, RunningRun] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def apply(self, tasks: Mapping[str, Task]) -> None:
        """Take the tasks as configured."""
        self._tasks = tasks

    async def ping(
        self,
        task: str,
        kind: Literal["start", "success", "fail"],
        items: int | None,
        message: str | None,
    ) -> None:
        """What the program says of its run."""
        if kind == "start":
            await self._end(task, Outcome("error", "started again before it told how it ended"))
            await self._start(task)
            return
        text = mask_window(" ".join((message or "").split()), ERROR_CHARS)
        if kind == "success":
            outcome = Outcome("success", items=math.nan if items is None else float(items))
        else:
            outcome = Outcome("error", text or "it says that it failed")
        if task not in self.running:
            await self._start(task)
        await self._end(task, outcome)

    def take_up(self, run: Run) -> None:
        """A run that was open when the exporter ended: its program knows nothing of that."""
        began = run.started_at or run.claimed_at
        passed = max(0.0, self._clock.now() - began)
        self._open(
            RunningRun(
                run.run_id, run.task, run.slot, "manual", began, self._clock.monotonic() - passed
            ),
            passed,
        )

    def close(self) -> None:
        """Stop watching; the runs stay open and are taken up at the next start."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def _start(self, task: str) -> None:
        now = self._clock.now()
        run = RunningRun(self._new_id(), task, None, "manual", now, self._clock.monotonic())
        self._open(run, 0.0)
        try:
            await self._state.claim(Claim(run.run_id, task, None, "manual", now))
        except StateError as error:
            # It runs whether we can write that down or not; nothing can run twice by it.
            log.warning("the start of %s is not on disk: %s", task, error, extra={"task": task})

    def _open(self, run: RunningRun, passed: float) -> None:
        self.running[run.task] = run
        limit = self._tasks[run.task].max_runtime_seconds
        self._timers[run.task] = asyncio.get_running_loop().call_later(
            max(0.0, limit - passed), self._overdue, run, limit
        )

    def _overdue(self, run: RunningRun, limit: float) -> None:
        if self.running.get(run.task) is run:
            text = f"said nothing for {format_duration(limit)} after its start"
            ending = asyncio.create_task(self._end(run.task, Outcome("timeout", text)))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def _end(self, task: str, outcome: Outcome) -> None:
        run = self.running.pop(task, None)
        if run is None:
            return
        timer = self._timers.pop(task, None)
        if timer:
            timer.cancel()
        await self._close(run, outcome, attempts=1)
