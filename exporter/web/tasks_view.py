"""Tasks as the API and the pages see them, and what they may ask of the parts that run them."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from exporter.clock import Clock
from exporter.runner import BusyError, Runner
from exporter.schedule import Scheduler
from exporter.state import State, TaskState
from exporter.web.api import Ping


class TasksView:
    """Reads scheduler, runner and state; passes writes on to them."""

    def __init__(self, runner: Runner, scheduler: Scheduler, state: State, clock: Clock) -> None:
        self._runner, self._scheduler, self._state = runner, scheduler, state
        self._clock = clock

    def list(self) -> list[dict[str, Any]]:
        """Every configured task, in the config's order."""
        return [self._one(name) for name in self._runner.tasks]

    def _one(self, name: str) -> dict[str, Any]:
        task = self._runner.tasks[name]
        known = self._state.tasks.get(name) or TaskState()
        deadline = self._scheduler.deadline(name)
        paused = self.paused_until(name)
        success, failure = known.last_success, known.last_failure
        ended = [at for at in (success, failure) if at is not None]
        return {
            "name": name,
            "kind": task.kind,
            "state": self._word(name, known, deadline, paused),
            "schedule": task.schedule,
            "exchange": task.exchange,
            "severity": task.severity,
            "next_slot": self._scheduler.next_slot(name),
            "deadline": deadline,
            "paused_until": paused,
            "last_start": known.last_start,
            "last_end": max(ended, default=None),
            "last_outcome": _last_outcome(success, failure),
            "last_success": success,
            "last_failure": failure,
            "consecutive_failures": known.consecutive_failures,
            "items": known.items,
        }

    def _word(
        self, name: str, known: TaskState, deadline: float | None, paused: float | None
    ) -> str:
        """The one word that matters most."""
        late = deadline is not None and not math.isnan(deadline) and deadline < self._clock.now()
        ways = {
            "running": name in self._runner.running,
            "paused": paused is not None,
            "failing": known.consecutive_failures >= self._runner.tasks[name].alert_after,
            "late": late,
            "new": known.last_success is None,
        }
        return next((word for word, holds in ways.items() if holds), "well")

    def kind(self, name: str) -> str | None:
        """run, command or external; None for a name that is not configured."""
        task = self._runner.tasks.get(name)
        return task.kind if task else None

    async def run(self, name: str) -> str:
        """Start a run by hand; its run_id. Raises :class:`BusyError` saying why it cannot start."""
        if self.paused_until(name) is not None:
            raise BusyError(f"{name} is paused; end the pause first")
        return await self._runner.start_manual(name)

    def paused_until(self, name: str) -> float | None:
        """When the task's pause ends, its own or that of all; None when it has none."""
        own = self._state.tasks[name].paused_until if name in self._state.tasks else None
        until = max(own or 0.0, self._state.pause_all_until or 0.0)
        return until if until > self._clock.now() else None

    async def find_run(self, name: str, run_id: str) -> dict[str, Any] | None:
        """One run, from state."""
        found = await self._state.run(run_id)
        return asdict(found) if found and found.task == name else None

    async def ping(self, name: str, kind: Ping, items: int | None, message: str | None) -> None:
        """What an external task tells about its run."""
        await self._runner.ping(name, kind, items=items, message=message)

    async def pause(self, name: str | None, until: float) -> None:
        """Pause one task or all."""
        await self._state.pause(name, until)

    async def resume(self, name: str | None) -> None:
        """End a pause."""
        await self._state.resume(name)


def _last_outcome(success: float | None, failure: float | None) -> str | None:
    if success is None and failure is None:
        return None
    return "success" if (success or 0.0) >= (failure or 0.0) else "failure"
