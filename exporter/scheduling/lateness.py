"""Which of the slots that have come still starts, and which were missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Mapping
from typing import Protocol

from exporter.scheduling.backlog import Backlog, count
from exporter.scheduling.forecast import Forecast, Plan
from exporter.scheduling.pulse import PULSE_SECONDS
from exporter.scheduling.slot_counts import SlotCounts
from exporter.scheduling.slots import slots
from exporter.scheduling.waiting import Waiting
from exporter.state import StateError, TaskState
from exporter.util.clock import iso

log = logging.getLogger(__name__)

ON_TIME_SECONDS = PULSE_SECONDS + 1.0
"""A slot that starts later than this was not on time: nothing ran, or the clock was set."""
_WAKE_SECONDS = 1.0
_LONG_AWAY_SECONDS = 86400.0


class ClaimedSlots(Protocol):
    """What is used of :class:`exporter.state.history.StateHistory`."""

    async def claimed_slots(self, task: str, after: float, until: float) -> frozenset[float]: ...


class LatenessState(Protocol):
    """What is used of :class:`exporter.state.State`."""

    @property
    def tasks(self) -> Mapping[str, TaskState]: ...
    @property
    def history(self) -> ClaimedSlots: ...


class Lateness:
    """Looks at slots that have come, and counts those that nobody will run."""

    def __init__(
        self, state: LatenessState, forecast: Forecast, waiting: Waiting, counts: SlotCounts
    ) -> None:
        self._state, self._forecast = state, forecast
        self._waiting, self._counts = waiting, counts

    async def look(self, plan: Plan, cursor: float, now: float) -> Backlog:
        """What the slots after `cursor` and up to `now` come to."""
        calendar, pause_end = self._forecast.calendar(plan), self._forecast.pause_end(plan.name)

        def count_them(claimed: Container[float] = ()) -> Backlog:
            found = slots(plan.timetable, plan.zone, calendar, cursor, now)
            return count(found, pause_end, claimed)

        # Counting a year of `every 1s` takes a while and must not block the loop.
        away = now - cursor > _LONG_AWAY_SECONDS
        backlog = await asyncio.to_thread(count_them) if away else count_them()
        if backlog.newest is None or plan.task.external:
            return backlog
        if backlog.runnable == 1 and now - backlog.newest <= ON_TIME_SECONDS:
            return backlog
        # Some are late. After a clock that was wrong, they may have run by its time already.
        claimed = await self._claimed(plan.name, cursor, now)
        if not claimed:
            return backlog
        return await asyncio.to_thread(count_them, claimed) if away else count_them(claimed)

    async def _claimed(self, task: str, after: float, until: float) -> frozenset[float]:
        try:
            return await self._state.history.claimed_slots(task, after, until)
        except StateError:
            return frozenset()  # no slot runs twice by that: a claim is refused all the same

    def judge(self, plan: Plan, backlog: Backlog, now: float) -> float | None:
        """Count skipped and missed slots; returns the slot to start, if any."""
        for reason, number in backlog.skipped.items():
            self._counts.skipped(plan.name, reason, number)
        if plan.task.external or backlog.newest is None:
            return None  # it runs elsewhere; its deadline tells when it did not
        # A grace of 0 still allows for the time it takes to wake up.
        grace = max(plan.task.grace, _WAKE_SECONDS)
        if not plan.task.catches_up:
            grace = min(grace, ON_TIME_SECONDS)
        grace = max(grace, self._waiting.patience(plan, backlog.newest))
        chosen = backlog.newest if now - backlog.newest <= grace else None
        missed = backlog.runnable - (chosen is not None)
        if missed:
            self._counts.missed(plan.name, missed)
            first, last = (
                iso(backlog.first or 0.0),
                iso((backlog.before if chosen else backlog.newest) or 0.0),
            )
            log.warning(
                "%s missed %d slot%s, %s to %s",
                plan.name,
                missed,
                "" if missed == 1 else "s",
                first,
                last,
                extra={
                    "event": "slots_missed",
                    "task": plan.name,
                    "count": missed,
                    "first_slot": first,
                    "last_slot": last,
                },
            )
        return chosen

    def judge_external(self, plan: Plan, cursor: float) -> None:
        """Count the slot before the present one as missed when nothing was reported for it. One
        that came while nobody could report is not judged."""
        calendar = self._forecast.calendar(plan)
        before = slots(plan.timetable, plan.zone, calendar, cursor - 1.0, cursor)
        if not any(slot.at == cursor and slot.skip is None for slot in before):
            return  # the cursor is where the task began, or a slot that it skips
        known = self._state.tasks[plan.name]
        reports = (known.last_start, known.last_success, known.last_failure)
        since = cursor - plan.task.early
        if cursor < self._forecast.pause_end(plan.name) or any(
            at is not None and at >= since for at in reports
        ):
            return
        self._counts.missed(plan.name)
        log.warning(
            "%s reported nothing for its slot of %s",
            plan.name,
            iso(cursor),
            extra={"event": "slots_missed", "task": plan.name, "count": 1,
                   "first_slot": iso(cursor), "last_slot": iso(cursor)},
        )  # fmt: skip
