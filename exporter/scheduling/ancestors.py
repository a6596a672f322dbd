"""What a slot of a task with `after` still waits for.

Its ancestor's newest slot at or before its own must have succeeded; as everywhere, a success covers
every slot up to its end. On a day on which the ancestor does not run, that is the slot of the day
before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from exporter.scheduling.forecast import Forecast, Plan
from exporter.scheduling.slots import previous_slot
from exporter.state import TaskState

FAILURE = "task_failure"
"""Kept under this kind: the newest failure of each task."""
BLOCKED = "blocked"
"""Kept under this kind: the newest slot of each task that got no run because of its ancestors."""


class AncestorsState(Protocol):
    """What is read of :class:`exporter.state.State`."""

    @property
    def tasks(self) -> Mapping[str, TaskState]: ...
    def kept(self, kind: str) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Missing:
    """An ancestor that has not succeeded yet."""

    task: str
    slot: float
    why: str
    """What is the matter with it: ``fetch_history failed at Mon 06:03: exit code 1``."""
    notified: bool
    """Its own alert, or a pause, is the news; that a task waits for it is none."""


class Ancestors:
    """Asks state and calendars. `is_running` says whether a run of a task is under way."""

    def __init__(
        self, state: AncestorsState, forecast: Forecast, is_running: Callable[[str], bool]
    ) -> None:
        self._state, self._forecast, self._is_running = state, forecast, is_running
        self.plans: Mapping[str, Plan] = {}

    def missing(self, plan: Plan, slot: float) -> list[Missing]:
        """The ancestors without a success for that slot of the task."""
        found = (self._missing(self.plans[name], slot) for name in plan.task.after)
        return [each for each in found if each]

    def slot_before(self, plan: Plan, slot: float) -> float | None:
        """The newest slot of an ancestor at or before `slot`; None: it has none for years."""
        return previous_slot(plan.timetable, plan.zone, self._forecast.calendar(plan), slot)

    def _missing(self, plan: Plan, slot: float) -> Missing | None:
        needed = self.slot_before(plan, slot)
        known = self._state.tasks[plan.name]
        if needed is None:
            return None
        early = plan.task.early if plan.task.external else 0.0
        if known.last_success is not None and known.last_success >= needed - early:
            return None
        why, notified = self._reason(plan, needed, known)
        return Missing(plan.name, needed, f"{plan.name} {why}", notified)

    def _reason(self, plan: Plan, needed: float, known: TaskState) -> tuple[str, bool]:
        """In words, and whether somebody hears of it anyway."""
        owes = known.covered_until is not None and known.covered_until < needed
        if until := self._forecast.paused_until(plan.name):
            return f"is paused until {_moment(until, plan)}", True
        if self._is_running(plan.name):
            return "is still running", False
        if plan.task.after and (above := self.missing(plan, needed)):
            notified = all(each.notified for each in above)
            return f"did not run: {above[0].why}", notified or owes
        if known.last_failure is not None and known.last_failure >= needed:
            text = self._state.kept(FAILURE).get(plan.name, {}).get("text")
            when = f"failed at {_moment(known.last_failure, plan)}"
            alerts = known.consecutive_failures >= plan.task.alert_after
            return f"{when}: {text}" if text else when, alerts or owes
        verb = "reported nothing" if plan.task.external else "did not run"
        return f"{verb} at its slot of {_moment(needed, plan)}", owes


def _moment(at: float, plan: Plan) -> str:
    return f"{datetime.fromtimestamp(at, plan.zone):%a %H:%M}"
