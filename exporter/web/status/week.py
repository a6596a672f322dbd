"""Runs by day: how many of each task succeeded and failed on each of the user's days."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from exporter.state import State, Tally
from exporter.util.clock import Clock
from exporter.util.local_time import date_of, day_bounds
from exporter.util.nan import NAN
from exporter.web.status import uptime
from exporter.web.status.view import Day, FailureRow, Week

DAYS = 7
MOST_FAILURES = 20
OLDER_HOLDS_SECONDS = 600.0
"""A past day changes only by runs that were under way at its end."""
OLDER_DAYS_AT_ONCE = 4
_Span = tuple[float, float]


@dataclass(frozen=True)
class DayCount:
    """One day: its tallies, and how many runs of each task succeeded and failed."""

    tallies: Sequence[Tally] = ()
    tasks: Mapping[str, Day] = field(default_factory=dict)

    @classmethod
    def of(cls, tallies: Sequence[Tally]) -> DayCount:
        """Each tally is looked at once: there may be hundreds of tasks."""
        good: Counter[str] = Counter()
        bad: Counter[str] = Counter()
        for tally in tallies:
            (good if tally.outcome == "success" else bad)[tally.task] += tally.count
        return cls(tallies, {name: Day(good[name], bad[name]) for name in {*good, *bad}})


class Weeks:
    """Counts day by day; past days are recounted seldom."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state, self._clock = state, clock
        self._known: dict[_Span, tuple[float, DayCount]] = {}
        self.shares: dict[str, tuple[float, ...]] = {}
        """Of each task the share of runs that succeeded, for 30 days, oldest first; NaN: none."""

    async def read(self, zone: ZoneInfo) -> Week:
        """The week up to now. Raises :class:`exporter.state.StateError`.

        A few older days are read each time, so that the first page does not wait for a month."""
        days = spans(self._clock.now(), zone, uptime.DAYS)
        self._known = {span: known for span, known in self._known.items() if span in days.values()}
        today, *past = days.items()
        counted = [(today[0], await self._day(today[1], 0.0))]
        for day, span in past[: DAYS - 1]:
            counted.append((day, await self._day(span, OLDER_HOLDS_SECONDS)))
        unknown = [span for _, span in past[DAYS - 1 :] if span not in self._known]
        for span in unknown[:OLDER_DAYS_AT_ONCE]:
            await self._day(span, math.inf)
        self.shares = self._shares(list(days.values()))
        return put_together(counted)

    async def _day(self, span: _Span, holds: float) -> DayCount:
        now = self._clock.monotonic()
        at, found = self._known.get(span, (-math.inf, DayCount()))
        if now - at >= holds or at == -math.inf:
            found = DayCount.of(await self._state.history.tally(*span))
            self._known[span] = now, found
        return found

    def _shares(self, days: Sequence[_Span]) -> dict[str, tuple[float, ...]]:
        found = [self._known[span][1].tasks if span in self._known else {} for span in days]
        names = {name for tasks in found for name in tasks}
        return {
            name: tuple(tasks[name].share if name in tasks else NAN for tasks in reversed(found))
            for name in names
        }


def spans(now: float, zone: ZoneInfo, count: int = DAYS) -> dict[date, _Span]:
    """Days up to today, newest first, each from midnight to midnight (Unix seconds)."""
    today = date_of(now, zone)
    days = [today - timedelta(days=n) for n in range(count)]
    return {day: day_bounds(day, zone) for day in days}


def put_together(counted: Sequence[tuple[date, DayCount]]) -> Week:
    """Tasks with failures first; a task that did not run has no row."""
    none = Day(0, 0)
    names = sorted({name for _, day in counted for name in day.tasks})
    rows = [(name, tuple(day.tasks.get(name, none) for _, day in counted)) for name in names]
    rows.sort(key=lambda row: not any(day.failed for day in row[1]))
    return Week(tuple(day for day, _ in counted), tuple(rows), _failures(counted))


def _failures(counted: Sequence[tuple[date, DayCount]]) -> tuple[FailureRow, ...]:
    """Failures of one task and outcome are one row with the newest run, newest first."""
    found: dict[tuple[str, str], FailureRow] = {}
    for _, day in counted:  # the newest day first
        for tally in day.tallies:
            if tally.outcome == "success":
                continue
            key = tally.task, tally.outcome
            if known := found.get(key):
                found[key] = replace(known, count=known.count + tally.count)
            else:
                found[key] = FailureRow(
                    tally.task, tally.outcome, tally.error or "", tally.count, tally.newest,
                    tally.run_id,
                )  # fmt: skip
    newest = sorted(found.values(), key=lambda row: -row.newest)
    return tuple(newest[:MOST_FAILURES])
