"""The runs under way, and how an orderly stop ends them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from exporter.config import Task
from exporter.runner.attempts import Attempts
from exporter.runner.results import RunningRun
from exporter.state import Run
from exporter.util.clock import Clock

log = logging.getLogger(__name__)

_END_SECONDS = 10.0
"""How long ending what still runs at shutdown may take beyond `stop_grace`: SIGKILL, recording."""


class Jobs:
    """Use it on the loop alone."""

    def __init__(self, attempts: Attempts, clock: Clock, running: Mapping[str, RunningRun]) -> None:
        self.draining = asyncio.Event()
        """Set: nothing more is started."""
        self._attempts, self._clock, self._running = attempts, clock, running
        self._jobs: set[asyncio.Task[Run | None]] = set()

    def __len__(self) -> int:
        return len(self._jobs)

    def keep(self, job: asyncio.Task[Run | None]) -> asyncio.Task[Run | None]:
        """Remember it until it has ended."""
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    def stop_now(self) -> None:
        """End whatever still runs, without waiting for it."""
        self.draining.set()
        self._attempts.hurry.set()
        self._attempts.interrupt.set()
        self._attempts.stop.set()

    async def drain(self, timeout: float, tasks: Mapping[str, Task]) -> None:
        """Let them finish for `timeout` seconds, then end them; see
        :meth:`exporter.runner.runner.Runner.drain`."""
        self.draining.set()
        if self._jobs:
            log.info(
                "waiting for %s", ", ".join(sorted(self._running)), extra={"event": "draining"}
            )
            await asyncio.wait(self._jobs, timeout=timeout)
        self._attempts.interrupt.set()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=self._end_seconds(tasks))
        if self._jobs and (left := self._uninterruptible_seconds(tasks)):
            await asyncio.wait(self._jobs, timeout=left + self._end_seconds(tasks))
        self._attempts.stop.set()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=self._end_seconds(tasks))
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)

    def _end_seconds(self, tasks: Mapping[str, Task]) -> float:
        """How long ending what still runs may take: its patience, then SIGKILL, then recording."""
        running = (tasks.get(name) for name in self._running)
        return _END_SECONDS + max((task.stop_grace for task in running if task), default=0.0)

    def _uninterruptible_seconds(self, tasks: Mapping[str, Task]) -> float:
        """The longest time that a run may still take which must not be interrupted."""
        now, left = self._clock.monotonic(), 0.0
        for name, run in self._running.items():
            task = tasks.get(name)
            if task and not task.may_be_interrupted:
                left = max(left, run.began + task.max_runtime_seconds - now)
        return left
