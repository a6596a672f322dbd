"""Tasks as the API and the pages see them, and the commands that they accept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from exporter.config import Task
from exporter.config.phrases import unknown_task
from exporter.runner.by_hand import ByHand
from exporter.runner.external import Ping
from exporter.runner.results import BusyError
from exporter.runner.runner import Runner
from exporter.runner.service_watch import ServiceStatus
from exporter.scheduling.ancestors import BLOCKED
from exporter.scheduling.forecast import SkippedSlot
from exporter.scheduling.past_slots import NoSlotsError, span
from exporter.scheduling.scheduler import Scheduler
from exporter.state import State, StateError, TaskState
from exporter.util.clock import Clock
from exporter.util.nan import nan_to_none


class TasksView:
    """Reads scheduler, runner and state; passes writes on to them."""

    def __init__(
        self,
        runner: Runner,
        scheduler: Scheduler,
        state: State,
        clock: Clock,
        notice: Callable[[Task, float], str],
        *,
        held: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._runner, self._scheduler, self._state = runner, scheduler, state
        self._clock, self._notice, self._held = clock, notice, held

    def list(self, *, notices: bool = True) -> list[dict[str, Any]]:
        """Every configured task, in the config's order. `notices`, who hears of a failure, are half
        of the work."""
        return [self.one(name, notices=notices) for name in self._runner.tasks]

    def one(self, name: str, *, notices: bool = True) -> dict[str, Any]:
        """One configured task. Raises :class:`KeyError`."""
        return row(
            name,
            self._runner.tasks[name],
            self._state.tasks.get(name) or TaskState(),
            next_slot=self._scheduler.next_slot(name),
            deadline=self._scheduler.deadline(name),
            paused_until=self._scheduler.paused_until(name),
            skipped_today=self._scheduler.skipped_today(name),
            held_back=self._held_back(name),
            notice=self.notice(name) if notices else "",
            running=name in self._runner.running,
            now=self._clock.now(),
            held=self._held(name),
            service=self._runner.service_watch.status(name),
        )

    def _held_back(self, name: str) -> HeldBack | None:
        waits = self._scheduler.waits_for(name)
        if waits is None:
            return newest_block(self._state, name)
        held, missing = waits
        why = "; ".join(each.why for each in missing) or f"a run of {name} is under way"
        return HeldBack(held.slot, why, held.until)

    def next_slots(self, name: str, count: int) -> Sequence[float]:
        """When a configured task runs next, Unix seconds."""
        return self._scheduler.next_slots(name, count)

    def kind(self, name: str) -> str | None:
        """run, command, external or service; None for a name that is not configured."""
        task = self._runner.tasks.get(name)
        return task.kind if task else None

    def unknown(self, name: str) -> str:
        """What to answer about a task that is not configured."""
        return unknown_task(name, self._runner.tasks)

    def notice(self, name: str) -> str:
        """Who hears of a failure of a configured task, and when."""
        return self._notice(self._runner.tasks[name], self._scheduler.next_slot(name))

    async def run(
        self,
        name: str,
        slot: float | None = None,
        *,
        again: bool = False,
        params: Mapping[str, Any] | None = None,
    ) -> str:
        """Start a run now, for one of its slots if that is given; its run_id. Raises
        :class:`BusyError` when it cannot start, and :class:`NoSlotsError` for what is not a
        slot."""
        if self._scheduler.paused_until(name) is not None:
            raise BusyError(f"{name} is paused; end the pause first")
        newest = True
        if slot is not None:
            has_come = slot <= self._clock.now()
            if not has_come or not self._scheduler.past_slots(name, slot, slot, ()):
                raise NoSlotsError(f"{name} has no slot at that time, or it is still to come")
            newest = slot == self._scheduler.newest_slot(name)
        return await self._runner.start_manual(name, ByHand(slot, newest, again, params or {}))

    async def slots(self, name: str, first: str, last: str) -> Sequence[dict[str, Any]]:
        """The slots of a task from one day or moment to another, with what became of each. Raises
        :class:`ValueError` and :class:`StateError`."""
        begin, end = span(first, last, self._scheduler.zone(name), self._clock.now())
        self._scheduler.past_slots(name, begin, end, ())  # too many of them cost no query
        runs = await self._state.history.runs_for(name, begin, end)
        if self.kind(name) is None:  # a reload meanwhile removed it
            raise NoSlotsError(self.unknown(name))
        return [slot.to_json() for slot in self._scheduler.past_slots(name, begin, end, runs)]

    async def find_run(self, name: str, run_id: str) -> dict[str, Any] | None:
        """One run, from state; from memory while its outcome is not on disk. Raises
        :class:`StateError`."""
        recalled = self._runner.recall(run_id)
        try:
            found = await self._state.history.run(run_id)
        except StateError:
            if recalled is None:
                raise
            found = None
        if found is None or (found.outcome is None and recalled and recalled.outcome):
            found = recalled
        return asdict(found) if found and found.task == name else None

    async def ping(self, name: str, ping: Ping) -> str:
        """Accept what an external task reports about its run; return the run's id."""
        return await self._runner.ping(name, ping)

    async def pause(self, name: str | None, until: float) -> None:
        """Pause one task or all. Raises :class:`BusyError` where a limit holds the task."""
        self._must_be_free(name)
        await self._state.pause(name, until)

    async def resume(self, name: str | None) -> None:
        """End a pause. Raises :class:`BusyError` where a limit holds the task."""
        self._must_be_free(name)
        await self._state.resume(name)

    def _must_be_free(self, name: str | None) -> None:
        if name is not None and (why := self._held(name)):
            raise BusyError(f"{name} is {why}; `quant-exporter resume --limit LIMIT` ends it")


@dataclass(frozen=True)
class HeldBack:
    """A slot that has not started because of other tasks."""

    slot: float
    why: str
    until: float | None
    """How long it waits at the latest; None: it is blocked for good."""


def newest_block(state: State, name: str) -> HeldBack | None:
    """The task's newest slot, if it was blocked and nothing has started since."""
    blocked, known = state.kept(BLOCKED).get(name), state.tasks.get(name) or TaskState()
    if blocked is None or blocked["at"] <= (known.last_start or 0.0):
        return None
    return HeldBack(blocked["slot"], blocked["why"], None)


def row(
    name: str,
    task: Task,
    known: TaskState,
    *,
    next_slot: float,
    deadline: float,
    paused_until: float | None,
    skipped_today: SkippedSlot | None = None,
    held_back: HeldBack | None = None,
    notice: str,
    running: bool,
    now: float,
    service: ServiceStatus | None = None,
    held: str | None = None,
) -> dict[str, Any]:
    """One task as `GET /api/v1/tasks` shows it. Times are Unix seconds; None: never."""
    success, failure = known.last_success, known.last_failure
    paused = paused_until is not None
    ways = {
        # That it runs again does not heal it; only a success does.
        "failing": not paused
        and (service.failing if service else known.consecutive_failures >= task.alert_after),
        "late": not paused and deadline < now,
        "running": running,
        "waiting": held_back is not None and held_back.until is not None,
        "paused": paused,
        "blocked": held_back is not None,
        "new": success is None and service is None,
    }
    return {
        "name": name,
        "kind": task.kind,
        # The most important one.
        "state": next((word for word, holds in ways.items() if holds), "well"),
        "schedule": task.schedule,
        "exchange": task.exchange,
        "service": _service_fields(task, service),
        "severity": task.severity,
        "notice": notice,
        "next_slot": nan_to_none(next_slot),
        "deadline": nan_to_none(deadline),
        "paused_until": paused_until,
        "paused_by": held,
        "skipped_today": asdict(skipped_today) if skipped_today else None,
        "after": list(task.after),
        "held_back": asdict(held_back) if held_back else None,
        "last_start": known.last_start,
        "last_end": max((at for at in (success, failure) if at is not None), default=None),
        "last_outcome": _last_outcome(success, failure),
        "last_success": success,
        "last_failure": failure,
        "consecutive_failures": known.consecutive_failures,
        "items": known.items,
    }


def _service_fields(task: Task, known: ServiceStatus | None) -> dict[str, Any] | None:
    """What systemd says of it; all but the unit is None before the first look."""
    if task.service is None:
        return None
    return {
        "unit": task.service,
        "up": known.up if known else None,
        "expected": known.expected if known else None,
        "since": nan_to_none(known.since) if known else None,
        "restarts": known.restarts if known else None,
        "trouble": known.trouble if known else None,
    }


def _last_outcome(success: float | None, failure: float | None) -> str | None:
    if success is None and failure is None:
        return None
    return "success" if (success or 0.0) >= (failure or 0.0) else "failure"
