"""Last week's runs: how many of each task succeeded and failed on each of the user's days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from exporter.state import State, Tally
from exporter.util.clock import Clock
from exporter.util.local_time import date_of, day_bounds
from exporter.web.status.view import Day, FailureRow, Week

DAYS = 7
MOST_FAILURES = 20
OLDER_HOLDS_SECONDS = 600.0
"""A past day changes only by runs that were under way at its end."""
_Span = tuple[float, float]


class Weeks:
    """Counts a week day by day; past days are recounted seldom."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state, self._clock = state, clock
        self._known: dict[_Span, tuple[float, list[Tally]]] = {}

    async def read(self, zone: ZoneInfo) -> Week:
        """The week up to now. Raises :class:`exporter.state.StateError`."""
        days = spans(self._clock.now(), zone)
        self._known = {span: known for span, known in self._known.items() if span in days.values()}
        today = next(iter(days))
        counted = [(day, await self._day(span, day == today)) for day, span in days.items()]
        return put_together(counted)

    async def _day(self, span: _Span, today: bool) -> list[Tally]:
        now = self._clock.monotonic()
        at, found = self._known.get(span, (-OLDER_HOLDS_SECONDS, []))
        if today or now - at >= OLDER_HOLDS_SECONDS:
            found = await self._state.tally(*span)
            self._known[span] = now, found
        return found


def spans(now: float, zone: ZoneInfo) -> dict[date, _Span]:
    """Seven days up to today, newest first, each from midnight to midnight (Unix seconds)."""
    today = date_of(now, zone)
    days = [today - timedelta(days=n) for n in range(DAYS)]
    return {day: day_bounds(day, zone) for day in days}


def put_together(counted: Sequence[tuple[date, Sequence[Tally]]]) -> Week:
    """Tasks with failures first; a task that did not run has no row."""
    names = sorted({tally.task for _, tallies in counted for tally in tallies})
    rows = [(name, tuple(_of(name, tallies) for _, tallies in counted)) for name in names]
    rows.sort(key=lambda row: not any(day.failed for day in row[1]))
    return Week(tuple(day for day, _ in counted), tuple(rows), _failures(counted))


def _of(name: str, tallies: Sequence[Tally]) -> Day:
    own = [tally for tally in tallies if tally.task == name]
    succeeded = sum(tally.count for tally in own if tally.outcome == "success")
    return Day(succeeded, sum(tally.count for tally in own) - succeeded)


def _failures(counted: Sequence[tuple[date, Sequence[Tally]]]) -> tuple[FailureRow, ...]:
    """Failures of one task and outcome are one row with the newest run, newest first."""
    found: dict[tuple[str, str], FailureRow] = {}
    for _, tallies in counted:  # the newest day first
        for tally in tallies:
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
