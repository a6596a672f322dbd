"""Each task's next slot, deadline and pause, and the exchanges' hours.

Computed at the scrape from state and calendars, and cached as long as neither changes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from exporter import config as configuration
from exporter.calendars.loader import Calendar, Calendars
from exporter.config.schedule_forms import Timetable
from exporter.metrics import Column
from exporter.scheduling.slots import around_session, cut_off_slots, next_slot
from exporter.state import TaskState
from exporter.util.clock import Clock
from exporter.util.local_time import day_bounds
from exporter.util.nan import NAN

_NEVER_SECONDS = 3600.0
"""How long it holds that a task has no next slot: the search goes years ahead."""
_EARLY_SHARE = 0.05
"""How much of the time between two slots a success may be early, whatever the task allows."""


class ScheduleState(Protocol):
    """The part of :class:`exporter.state.State` that is read."""

    @property
    def tasks(self) -> Mapping[str, TaskState]: ...
    @property
    def pause_all_until(self) -> float | None: ...


@dataclass
class Plan:
    """A task with its parsed schedule, and how far this process got with it."""

    name: str
    task: configuration.Task
    timetable: Timetable
    zone: ZoneInfo
    key: str
    lock: asyncio.Lock
    seen: float = -math.inf
    """Slots up to here are accounted for in this process, whether or not state could keep it."""
    upcoming: tuple[Any, float] | None = None
    deadline: tuple[Any, float] | None = None

    @classmethod
    def of(cls, name: str, task: configuration.Task, zone: str) -> Plan:
        """A task's plan; `zone` is for schedules that name none."""
        days = sorted(day.isoformat() for day in task.on)
        key = "|".join((task.schedule, zone, task.exchange or "", *days))
        return cls(name, task, task.timetable, ZoneInfo(zone), key, asyncio.Lock())


@dataclass(frozen=True)
class SkippedSlot:
    """A slot that today's shortened session leaves out."""

    at: float
    instead: str
    """The schedule that would run today too."""


@dataclass(frozen=True)
class _Kept:
    """Columns that hold as long as `key` stays and now is in [since, until)."""

    key: Any
    since: float
    until: float
    columns: list[Column]


class Forecast:
    """Answers about the future of every planned task."""

    def __init__(self, state: ScheduleState, calendars: Calendars, clock: Clock) -> None:
        self._state, self._calendars, self._clock = state, calendars, clock
        self._plans: Mapping[str, Plan] = {}
        self._exchanges: list[str] = []
        self._kept: _Kept | None = None
        self._settings: list[Column] = []

    def apply(self, plans: Mapping[str, Plan], exchanges: list[str]) -> None:
        """Use the plans of a config, and the exchanges that it names."""
        self._plans, self._exchanges, self._kept = plans, exchanges, None
        self._settings = list(_settings(plans.values()))

    def calendar(self, plan: Plan) -> Calendar | None:
        """The current calendar of the task's exchange."""
        return self._calendars.get(plan.task.exchange) if plan.task.exchange else None

    def pause_end(self, name: str) -> float:
        """End of the newest pause of the task or of all, maybe past; -inf: there was none."""
        own = self._state.tasks[name].paused_until
        return max(own or -math.inf, self._state.pause_all_until or -math.inf)

    def paused_until(self, name: str) -> float | None:
        """When the task's pause ends, its own or that of all; None when it has none now."""
        end = self.pause_end(name)
        return end if end > self._clock.now() else None

    def samples(self) -> list[Column]:
        """The metrics that follow from schedules and calendars, as of now."""
        return self._settings + self._columns(self._clock.now())

    def _columns(self, now: float) -> list[Column]:
        """What changes with a task's state, a slot or a calendar: seldom between two scrapes."""
        tasks = self._state.tasks
        key = (
            self._plans,
            [tasks[name] for name in self._plans],
            self._state.pause_all_until,
            [self._calendars.get(exchange) for exchange in self._exchanges],
        )
        kept = self._kept
        if kept is None or kept.key != key or not kept.since <= now < kept.until:
            kept = self._kept = self._compute(key, now)
        return kept.columns

    def _compute(self, key: Any, now: float) -> _Kept:
        names, tasks = list(self._plans), self._state.tasks
        paused = [self.paused_until(name) for name in names]
        slots = [self.next_slot(name) for name in names]
        labels = [(name,) for name in names]
        values = {
            "paused": [float(end is not None) for end in paused],
            "next_slot_timestamp_seconds": slots,
            "deadline_timestamp_seconds": [self.deadline(name) for name in names],
        }
        columns = [Column(f"quant_task_{what}", labels, found) for what, found in values.items()]
        # A service alerts while it is down, and not by its failures in a row.
        limits = {
            (n,): float(p.task.alert_after) for n, p in self._plans.items() if not p.task.service
        }
        columns.append(Column("quant_task_failures_limit", [*limits], [*limits.values()]))
        columns += self._hours(now)
        changes = [*slots, *paused, *(tasks[name].last_success for name in names)]
        changes += [self._calendars.get(name).next_change(now) for name in self._exchanges]
        ahead = [at for at in changes if at is not None and at > now]
        return _Kept(key, now, min([now + _NEVER_SECONDS, *ahead]), columns)

    def _hours(self, now: float) -> Iterator[Column]:
        calendars = [self._calendars.get(exchange) for exchange in self._exchanges]
        labels = [(exchange,) for exchange in self._exchanges]
        for what, values in (
            ("market_open", [float(each.is_open(now)) for each in calendars]),
            ("market_next_open_timestamp_seconds", [_or_nan(c.next_open(now)) for c in calendars]),
            (
                "market_next_close_timestamp_seconds",
                [_or_nan(each.next_close(now)) for each in calendars],
            ),
            ("calendar_end_timestamp_seconds", [each.end for each in calendars]),
        ):
            yield Column(f"quant_{what}", labels, values)

    def next_slot(self, task: str) -> float:
        """When the task runs next, after its pause if it has one; Unix seconds, NaN for never."""
        plan, now = self._plans[task], self._clock.now()
        pause_end = self.pause_end(task)
        # Just before the pause's end: a slot at that very moment runs.
        after = max(now, math.nextafter(pause_end, -math.inf))
        calendar = self.calendar(plan)
        if plan.upcoming:
            (known_from, *known), at = plan.upcoming
            holds = known_from <= now < (known_from + _NEVER_SECONDS if math.isnan(at) else at)
            if known == [pause_end, id(calendar)] and holds:
                return at
        at = _or_nan(next_slot(plan.timetable, plan.zone, calendar, after))
        plan.upcoming = ((now, pause_end, id(calendar)), at)
        return at

    def next_slots(self, task: str, count: int) -> list[float]:
        """The next moments at which the task runs, `count` at most."""
        plan, found = self._plans[task], list[float]()
        at = self.next_slot(task)
        while len(found) < count and not math.isnan(at):
            found.append(at)
            at = _or_nan(next_slot(plan.timetable, plan.zone, self.calendar(plan), at))
        return found

    def skipped_today(self, task: str) -> SkippedSlot | None:
        """The first time of day that the exchange's shortened session skips today, if any."""
        plan = self._plans[task]
        calendar = self.calendar(plan)
        if calendar is None:
            return None
        start, end = day_bounds(calendar.day_of(self._clock.now()), calendar.zone)
        cut = cut_off_slots(plan.timetable, plan.zone, calendar, start - 1.0, end - 1.0)
        at = next(cut, None)
        return None if at is None else SkippedSlot(at, around_session(calendar, at, plan.timetable))

    def _covered_until(self, task: str) -> float | None:
        """Slots up to here no longer need a success."""
        known = self._state.tasks[task]
        success = known.last_success
        if known.covered_until is None or success is None or success > self._clock.now():
            return known.covered_until
        # Larger only when the clock was set back after the success, and is right again.
        return max(known.covered_until, success)

    def first_owed(self, task: str) -> float:
        """The first slot that no success and no pause covers; NaN when there is none."""
        plan, covered = self._plans[task], self._covered_until(task)
        if covered is None:
            return NAN
        after = max(covered, math.nextafter(self.pause_end(task), -math.inf))
        return self._uncovered_slot(plan, after)

    def deadline(self, task: str) -> float:
        """The latest start and end of the first slot that no success and no pause covers."""
        plan = self._plans[task]
        covered = self._covered_until(task)
        if covered is None:
            return NAN
        pause_end = self.pause_end(task)
        calendar = self.calendar(plan)
        key = (covered, pause_end, id(calendar))
        if plan.deadline is None or plan.deadline[0] != key:
            after = max(covered, math.nextafter(pause_end, -math.inf))
            slot = self._uncovered_slot(plan, after)
            plan.deadline = (key, slot + plan.task.latest_start + plan.task.max_runtime_seconds)
        return plan.deadline[1]

    def _uncovered_slot(self, plan: Plan, after: float) -> float:
        """The first slot after `after`, or the second when a success was just ahead of the first:
        the clocks of external programs differ."""
        calendar = self.calendar(plan)
        first = _or_nan(next_slot(plan.timetable, plan.zone, calendar, after))
        if not plan.task.external or after != self._state.tasks[plan.name].last_success:
            return first
        second = _or_nan(next_slot(plan.timetable, plan.zone, calendar, first))
        early = min(plan.task.early, _EARLY_SHARE * (second - first))
        return second if first - after <= early else first


def _settings(plans: Iterable[Plan]) -> Iterator[Column]:
    tasks = {plan.name: plan.task for plan in plans}
    infos = [
        (name, task.severity, task.exchange or "", task.source or "", task.kind, task.schedule)
        for name, task in tasks.items()
    ]
    yield Column("quant_task_info", infos, [1.0] * len(infos))
    for what, limits in (
        ("items_limit", {n: t.min_items for n, t in tasks.items()}),
        ("duration_limit_seconds", {n: t.max_duration for n, t in tasks.items()}),
    ):
        set_ones = {
            (n, "warning"): float(limit) for n, limit in limits.items() if limit is not None
        }
        yield Column(f"quant_task_{what}", [*set_ones], [*set_ones.values()])


def _or_nan(moment: float | None) -> float:
    return NAN if moment is None or math.isinf(moment) else moment
