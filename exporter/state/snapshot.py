"""The part of the state that is kept in memory, as a value, and the pure steps that change it.

Nothing is changed in place: a step returns a new :class:`Contents`. So the writer can drop a step
that did not become durable, and the event loop can read one while the next is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from exporter.state.models import JSON, Claim, Run, TaskState

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept value with its JSON text; equal texts mean an unchanged value."""

    text: str
    value: JSON = field(compare=False)

    @classmethod
    def of(cls, value: JSON) -> Kept:
        """A private copy of `value`; :class:`TypeError` when JSON cannot hold it."""
        text = json.dumps(value, separators=(",", ":"))
        return cls(text, json.loads(text))

    @classmethod
    def read(cls, text: str) -> Kept:
        """What :meth:`of` wrote; :class:`ValueError` when it is not JSON."""
        return cls(text, json.loads(text))


@dataclass(frozen=True, slots=True)
class Contents:
    """What state holds in memory. The mappings are never changed in place."""

    tasks: Mapping[str, TaskState] = field(default_factory=dict)
    open_runs: Mapping[str, Run] = field(default_factory=dict)
    kept: Mapping[str, Mapping[str, Kept]] = field(default_factory=dict)
    pause_all_until: float | None = None


def later(one: float | None, other: float | None) -> float | None:
    """The later of two moments, either of which may never have been."""
    return other if one is None else one if other is None else max(one, other)


def _earlier(one: float | None, bound: float) -> float | None:
    return None if one is None else min(one, bound)


def _with_task(contents: Contents, name: str, task: TaskState) -> Contents:
    if contents.tasks.get(name) == task:
        return contents
    return replace(contents, tasks={**contents.tasks, name: task})


def register(contents: Contents, schedules: Mapping[str, str], now: float) -> Contents:
    """Set the configured tasks. A new one, or one whose schedule changed, has no overdue slots.

    Tasks that are no longer configured keep their history but lose their schedule: if one comes
    back, the slots in between do not count as missed.
    """
    tasks = {
        name: task if name in schedules or not task.schedule else replace(task, schedule="")
        for name, task in contents.tasks.items()
    }
    for name, schedule in schedules.items():
        task = tasks.get(name, TaskState())
        if task.cursor is None or task.schedule != schedule:
            tasks[name] = replace(
                task,
                cursor=later(task.cursor, now),
                covered_until=later(task.covered_until, now),
                schedule=schedule,
            )
    return contents if tasks == contents.tasks else replace(contents, tasks=tasks)


def claim(contents: Contents, wanted: Claim) -> Contents:
    """The run is open and its slot accounted for."""
    run = Run(
        wanted.run_id, wanted.task, wanted.slot, wanted.trigger, wanted.at,
        for_slot=wanted.for_slot, params=wanted.params,
    )  # fmt: skip
    task = contents.tasks.get(wanted.task, TaskState())
    return replace(
        _with_task(
            contents,
            wanted.task,
            replace(task, cursor=later(task.cursor, wanted.slot), last_start=wanted.at),
        ),
        open_runs={**contents.open_runs, wanted.run_id: run},
    )


def advance(contents: Contents, name: str, cursor: float | None) -> Contents:
    """Slots up to `cursor` are accounted for. Never lowers the cursor."""
    task = contents.tasks.get(name, TaskState())
    return _with_task(contents, name, replace(task, cursor=later(task.cursor, cursor)))


def lower(contents: Contents, name: str, now: float) -> Contents:
    """The clock was set back: moments in the future are lowered to `now`."""
    task = contents.tasks.get(name, TaskState())
    return _with_task(
        contents,
        name,
        replace(
            task, cursor=_earlier(task.cursor, now), covered_until=_earlier(task.covered_until, now)
        ),
    )


def cover(contents: Contents, ends: Mapping[str, float]) -> Contents:
    """Each task is covered at least up to that moment."""
    for name, end in ends.items():
        task = contents.tasks.get(name)
        if task is not None and task.covered_until is not None:
            task = replace(task, covered_until=later(task.covered_until, end))
            contents = _with_task(contents, name, task)
    return contents


def finish(contents: Contents, end: Run, now: float) -> Contents:
    """The run is closed; its task knows how it went, unless it was for a slot of the past."""
    if end.trigger == "backfill":
        return release(contents, end.run_id)
    task = contents.tasks.get(end.task, TaskState())
    task = replace(task, last_start=later(task.last_start, end.started_at))
    newest = later(task.last_success, task.last_failure)
    if end.ended_at is not None and newest is not None and end.ended_at < newest <= now:
        task = _reported_late(task, end)
    elif end.outcome == "success":
        task = replace(
            task,
            last_success=end.ended_at,
            covered_until=later(task.covered_until, end.ended_at),
            consecutive_failures=0,
            items=end.items,
        )
    else:
        task = replace(
            task,
            last_failure=end.ended_at,
            consecutive_failures=task.consecutive_failures + 1,
        )
    task = replace(task, cursor=later(task.cursor, end.slot))
    contents = _with_task(contents, end.task, task)
    return release(contents, end.run_id)


def _reported_late(task: TaskState, end: Run) -> TaskState:
    """A run that ended before the newest one, which alone says how the task is."""
    if end.outcome == "success":
        return replace(
            task,
            last_success=later(task.last_success, end.ended_at),
            covered_until=later(task.covered_until, end.ended_at),
        )
    since_success = later(task.last_success, end.ended_at) == end.ended_at
    return replace(
        task,
        last_failure=later(task.last_failure, end.ended_at),
        consecutive_failures=task.consecutive_failures + since_success,
    )


def block(contents: Contents, end: Run, *, covered: bool) -> Contents:
    """A slot got no run. One that is `covered` is owed no longer."""
    task = contents.tasks.get(end.task, TaskState())
    covered_until = later(task.covered_until, end.slot) if covered else task.covered_until
    task = replace(task, cursor=later(task.cursor, end.slot), covered_until=covered_until)
    return _with_task(contents, end.task, task)


def owe_nothing(contents: Contents, now: float) -> Contents:
    """Nobody knows what ran: every slot up to now counts as done, and no run is open."""
    tasks = {
        name: replace(
            task, cursor=later(task.cursor, now), covered_until=later(task.covered_until, now)
        )
        for name, task in contents.tasks.items()
    }
    return replace(contents, tasks=tasks, open_runs={})


def release(contents: Contents, run_id: str) -> Contents:
    """The run is no longer open."""
    if run_id not in contents.open_runs:
        return contents
    return replace(contents, open_runs=_without(contents.open_runs, run_id))


def reopen(contents: Contents, run_id: str) -> Contents:
    """An open run is started again."""
    run = contents.open_runs.get(run_id)
    if run is None:
        return contents
    run = replace(run, reopened=run.reopened + 1)
    return replace(contents, open_runs={**contents.open_runs, run_id: run})


def pause(contents: Contents, name: str | None, until: float) -> Contents:
    """One task, or all of them (None), run nothing until then."""
    if name is None:
        return replace(contents, pause_all_until=until)
    task = contents.tasks.get(name, TaskState())
    return _with_task(contents, name, replace(task, paused_until=until))


def resume(contents: Contents, name: str | None, now: float) -> Contents:
    """The pause is over. Its time counts as covered: nothing was due in it."""
    if name is not None:
        task = contents.tasks.get(name, TaskState())
        return _with_task(contents, name, _resumed(task, task.paused_until, now))
    until = contents.pause_all_until
    tasks = {
        each: replace(_resumed(task, until, now), paused_until=task.paused_until)
        for each, task in contents.tasks.items()
    }
    return replace(contents, tasks=tasks, pause_all_until=None)


def _resumed(task: TaskState, until: float | None, now: float) -> TaskState:
    if until is None:
        return task
    return replace(
        task, covered_until=later(task.covered_until, min(now, until)), paused_until=None
    )


def keep(contents: Contents, values: Iterable[tuple[str, str, Kept]]) -> Contents:
    """Set the value of each (kind, name)."""
    changed: dict[str, dict[str, Kept]] = {}
    for kind, name, value in values:
        old = contents.kept.get(kind, {})
        if changed.get(kind, old).get(name) != value:
            changed.setdefault(kind, dict(old))[name] = value
    return replace(contents, kept={**contents.kept, **changed}) if changed else contents


def forget(contents: Contents, kind: str, name: str) -> Contents:
    """Drop the value, if there is one."""
    if name not in contents.kept.get(kind, {}):
        return contents
    return replace(contents, kept={**contents.kept, kind: _without(contents.kept[kind], name)})


def _without(mapping: Mapping[str, _T], name: str) -> dict[str, _T]:
    return {each: value for each, value in mapping.items() if each != name}


def merge(disk: Contents, memory: Contents) -> Contents:
    """The contents of a file that was unreadable until now, with what happened since on top."""
    tasks = dict(disk.tasks)
    for name, new in memory.tasks.items():
        old = tasks.get(name, TaskState())
        ran = new.last_start is not None
        tasks[name] = TaskState(
            cursor=later(old.cursor, new.cursor),
            covered_until=later(old.covered_until, new.covered_until),
            last_success=later(old.last_success, new.last_success),
            last_failure=later(old.last_failure, new.last_failure),
            last_start=later(old.last_start, new.last_start),
            consecutive_failures=new.consecutive_failures if ran else old.consecutive_failures,
            items=new.items if new.last_success is not None else old.items,
            schedule=new.schedule,
            paused_until=later(old.paused_until, new.paused_until),
        )
    kinds = {*disk.kept, *memory.kept}
    return Contents(
        tasks,
        {**disk.open_runs, **memory.open_runs},
        {kind: {**disk.kept.get(kind, {}), **memory.kept.get(kind, {})} for kind in kinds},
        later(disk.pause_all_until, memory.pause_all_until),
    )
