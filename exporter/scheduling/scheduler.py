"""When tasks run: slots become runs, missed or skipped, each exactly once.

APScheduler wakes us at each slot. What is done then follows from state alone: the slots since the
task's cursor are accounted for, whoever woke us. So a restart, a clock that was set and a laptop
that slept all take the same path (:meth:`Scheduler.sweep`); a pulse on the monotonic clock notices
the latter two.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from exporter import config as configuration
from exporter.calendars.loader import Calendars
from exporter.metrics import Metrics
from exporter.scheduling.ancestors import Ancestors, Missing
from exporter.scheduling.forecast import Forecast, Plan, SkippedSlot
from exporter.scheduling.lateness import ON_TIME_SECONDS, ClaimedSlots, Lateness
from exporter.scheduling.past_slots import PastSlot, past_slots
from exporter.scheduling.pulse import JUMP_SECONDS, Pulse
from exporter.scheduling.slot_counts import SlotCounts
from exporter.scheduling.slots import previous_slot, slots
from exporter.scheduling.waiting import Held, Waiting
from exporter.state import Run, StateError, TaskState
from exporter.util.clock import Clock

log = logging.getLogger(__name__)

_REFRESH_SECONDS = 86400.0


class SchedulerState(Protocol):
    """What the scheduler uses of :class:`exporter.state.State`."""

    @property
    def tasks(self) -> Mapping[str, TaskState]: ...
    @property
    def pause_all_until(self) -> float | None: ...
    @property
    def durable(self) -> bool: ...
    async def register(self, tasks: Mapping[str, str], now: float) -> Any: ...
    async def advance(self, task: str, cursor: float) -> Any: ...
    async def lower(self, task: str, now: float) -> Any: ...
    async def restore_cover(self, now: float) -> Any: ...
    @property
    def history(self) -> ClaimedSlots: ...
    async def probe(self) -> Any: ...
    def kept(self, kind: str) -> dict[str, Any]: ...
    async def keep(self, kind: str, name: str, value: Any) -> Any: ...


class TaskRunner(Protocol):
    """What the scheduler uses of :class:`exporter.runner.runner.Runner`."""

    def submit(
        self, task: str, slot: float | None, trigger: Literal["schedule", "catch_up"]
    ) -> Awaitable[Any]: ...
    def is_busy(self, task: str) -> bool: ...
    def is_backfilling(self, task: str) -> bool: ...
    async def block(self, task: str, slot: float, why: str, *, covered: bool) -> Any: ...


class _Trigger(BaseTrigger):  # type: ignore[misc]
    """Gives APScheduler the next slot, also one to be skipped: it is counted in its time."""

    def __init__(self, scheduler: Scheduler, plan: Plan) -> None:
        self._scheduler, self._plan = scheduler, plan

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """The first slot after the previous one, or after now."""
        at = self._scheduler.following(
            self._plan, previous.timestamp() if previous else now.timestamp()
        )
        return datetime.fromtimestamp(at, UTC) if at is not None else None


class Scheduler:
    """Starts each slot's run on time, or once late within the task's grace, or counts it as missed.

    Call `apply` and `start` when state is open and the calendars of the config are loaded.
    """

    def __init__(
        self,
        state: SchedulerState,
        runner: TaskRunner,
        calendars: Calendars,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._state, self._runner, self._calendars = state, runner, calendars
        self._clock, self._counts = clock, SlotCounts(metrics)
        self._plans: dict[str, Plan] = {}
        self._aps: Any = None
        self._refreshed = clock.monotonic()
        self._background: set[asyncio.Task[None]] = set()
        self._forecast = Forecast(state, calendars, clock)
        metrics.add_reader(self._forecast.samples)
        ancestors = Ancestors(state, self._forecast, runner.is_busy)
        self._waiting = Waiting(
            state, runner, ancestors, forecast=self._forecast, clock=clock, counts=self._counts
        )
        metrics.add_reader(self._waiting.samples)
        self._pulse = Pulse(state, clock, self._after_beat, self._after_jump)
        self._lateness = Lateness(state, self._forecast, self._waiting, self._counts)

    async def apply(
        self, config: configuration.Config, others: Callable[[], None] = lambda: None
    ) -> None:
        """Use a config. Tasks whose schedule did not change keep their place. `others` has the
        other parts use it, at the same moment: whoever asks meanwhile finds all as it was."""
        plans = {name: Plan.of(name, task, config.timezone) for name, task in config.tasks.items()}
        await self._state.register({n: p.key for n, p in plans.items()}, self._clock.now())
        others()
        for name, plan in plans.items():
            old = self._plans.get(name)
            if old and old.key == plan.key:
                plan.seen, plan.lock = old.seen, old.lock
        self._counts.create({name: bool(plan.task.after) for name, plan in plans.items()})
        self._plans = plans
        self._forecast.apply(plans, config.exchanges_in_use)
        self._waiting.apply(plans)
        await self._arm()

    async def start(self) -> None:
        """Catch up, then keep time until :meth:`stop`."""
        # It logs every call of a job at info; runs have log lines of their own.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._aps = AsyncIOScheduler(
            timezone=UTC,
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 16},
        )
        self._aps.start()
        await self._arm()
        self._spawn(self._restore_cover())
        self._spawn(self._pulse.beat_for_ever())

    async def stop(self) -> None:
        """Start nothing more. Runs that are under way are left to the runner."""
        if self._aps is not None:
            self._aps.shutdown(wait=False)
            self._aps = None
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    def look_soon(self) -> None:
        """A run has ended: slots may wait for that."""
        if self._aps is not None:
            self._spawn(self._waiting.look())

    async def sweep(self, now: float | None = None) -> None:
        """Account for every task's slots up to `now` (the clock's, unless given)."""
        moment = self._clock.now() if now is None else now
        for plan in list(self._plans.values()):
            await self._account(plan, moment)
        await self._waiting.look()

    def following(self, plan: Plan, after: float) -> float | None:
        """The first slot after `after`, to be skipped or not."""
        found = slots(
            plan.timetable, plan.zone, self._forecast.calendar(plan), after, after + 800 * 86400.0
        )
        return next((slot.at for slot in found), None)

    async def _arm(self) -> None:
        """Let APScheduler recompute every next slot, then account for those already past."""
        if self._aps is None:
            return
        self._aps.remove_all_jobs()
        for plan in self._plans.values():
            self._aps.add_job(self._fire, _Trigger(self, plan), args=[plan.name], id=plan.name)
        self._aps.wakeup()
        # After arming, so that no slot falls between the sweep and APScheduler's first look.
        await self.sweep()

    async def _fire(self, name: str) -> None:
        plan = self._plans.get(name)
        if plan is not None:
            await self._account(plan, self._clock.now())

    async def _account(self, plan: Plan, now: float) -> None:
        async with plan.lock:
            try:
                await self._settle(plan, now)
            except StateError as error:
                log.error(
                    "State cannot store how far %s got: %s",
                    plan.name,
                    error,
                    extra={"event": "cursor_not_kept", "task": plan.name},
                )

    async def _settle(self, plan: Plan, now: float) -> None:
        kept = self._state.tasks[plan.name].cursor
        cursor = max(now if kept is None else kept, plan.seen)
        if cursor > now:
            if cursor > now + JUMP_SECONDS:
                # The clock was set back. Claims still keep a slot from running twice.
                plan.seen = -math.inf
                await self._state.lower(plan.name, now)
            return
        backlog = await self._lateness.look(plan, cursor, now)
        if backlog.last is None:
            return
        plan.seen = backlog.last
        if plan.task.external and backlog.runnable == 1 and now - backlog.last <= ON_TIME_SECONDS:
            self._lateness.judge_external(plan, cursor)
        chosen = self._lateness.judge(plan, backlog, now)
        if chosen is None:
            await self._state.advance(plan.name, backlog.last)
            return
        # The claim moves the durable cursor. Moving it here could come first, and a crash in
        # between would lose the slot.
        on_time = now - chosen <= ON_TIME_SECONDS
        await self._waiting.start(plan, chosen, "schedule" if on_time else "catch_up")

    async def _after_beat(self, steady: float) -> None:
        await self._waiting.look()
        if steady - self._refreshed > _REFRESH_SECONDS:
            self._refreshed = steady
            self._spawn(self._calendars.refresh())

    async def _after_jump(self, clock_was_set: bool) -> None:
        if clock_was_set:
            self._spawn(self._restore_cover())
        await self._arm()

    async def _restore_cover(self) -> None:
        """A slow clock, here or before the start, lowered it below what has been done since."""
        with suppress(StateError):  # the deadline is then too early, not too late
            await self._state.restore_cover(self._clock.now())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def next_slot(self, task: str) -> float:
        """When the task runs next, Unix seconds; NaN: never. Raises :class:`KeyError`."""
        return self._forecast.next_slot(task)

    def next_slots(self, task: str, count: int) -> list[float]:
        """The next moments at which the task runs, `count` at most. Raises :class:`KeyError`."""
        return self._forecast.next_slots(task, count)

    def paused_until(self, task: str) -> float | None:
        """When the task's pause ends, its own or that of all; None when it has none now."""
        return self._forecast.paused_until(task)

    def zone(self, task: str) -> ZoneInfo:
        """In which its schedule is meant. Raises :class:`KeyError`."""
        plan = self._plans[task]
        named = getattr(plan.timetable, "zone", None)
        return ZoneInfo(named) if named else plan.zone

    def past_slots(
        self, task: str, begin: float, end: float, runs: Iterable[Run]
    ) -> list[PastSlot]:
        """The task's slots that have come, with what `runs` made of them. Raises
        :class:`KeyError`, and :class:`ValueError` when they are too many."""
        plan = self._plans[task]
        end = min(end, self._clock.now())
        return past_slots(plan, self._forecast.calendar(plan), begin, end, runs)

    def newest_slot(self, task: str) -> float | None:
        """The newest moment at which the task was to run. Raises :class:`KeyError`."""
        plan = self._plans[task]
        calendar = self._forecast.calendar(plan)
        return previous_slot(plan.timetable, plan.zone, calendar, self._clock.now())

    def waits_for(self, task: str) -> tuple[Held, list[Missing]] | None:
        """The slot of the task that waits, and for what; None: none does."""
        return self._waiting.waits_for(task)

    def skipped_today(self, task: str) -> SkippedSlot | None:
        """The slot that today's shortened session skips. Raises :class:`KeyError`."""
        return self._forecast.skipped_today(task)

    def deadline(self, task: str) -> float:
        """When a success is due at the latest, Unix seconds. Raises :class:`KeyError`."""
        return self._forecast.deadline(task)
