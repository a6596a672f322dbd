"""Last week's runs: how many of each task succeeded and failed on each day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from exporter.web.status.view import RunRow, StatusView

DAYS = 7


@dataclass(frozen=True)
class Day:
    """What happened on one day."""

    succeeded: int
    failed: int


@dataclass(frozen=True)
class Week:
    """`days` are the headings, newest first (a phone shows the first ones); a row is a task's name
    and a cell a day."""

    days: tuple[date, ...]
    rows: tuple[tuple[str, tuple[Day, ...]], ...]


def count(view: StatusView) -> Week:
    """In the user's zone; tasks that did not run have no row."""
    zone = ZoneInfo(view.zone)
    today = datetime.fromtimestamp(view.now, zone).date()
    days = tuple(today - timedelta(days=n) for n in range(DAYS))
    counts: Counter[tuple[str, date, str]] = Counter(
        (run.task, datetime.fromtimestamp(run.started, zone).date(), run.level) for run in view.runs
    )
    tasks = sorted({run.task for run in view.runs})
    return Week(
        days,
        tuple(
            (
                name,
                tuple(Day(counts[name, d, "fine"], counts[name, d, "bad"]) for d in days),
            )
            for name in tasks
        ),
    )


def failures(runs: Sequence[RunRow], most: int = 20) -> tuple[RunRow, ...]:
    """The newest runs that failed."""
    return tuple(run for run in runs if run.level == "bad")[:most]
