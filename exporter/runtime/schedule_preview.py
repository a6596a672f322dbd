"""What ``check`` and ``tasks`` show of a schedule: its meaning in words, and its next slots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

from exporter.calendars.loader import Calendars
from exporter.config import Config, Task
from exporter.scheduling.in_words import in_words
from exporter.scheduling.slots import previous_slot, upcoming_slots
from exporter.util.units import format_duration

SHOWN_SLOTS = 5


@dataclass(frozen=True)
class SchedulePreview:
    """Of one task; slots are Unix seconds."""

    task: str
    words: str
    slots: tuple[float, ...]
    has_slots: bool = True
    """Whether it has any; a service has none."""


def schedule_preview(
    config: Config, name: str, calendars: Calendars, after: float
) -> SchedulePreview:
    """Of one task, with its slots after that moment. The calendars are loaded already."""
    task = config.tasks[name]
    timetable, zone = task.timetable, ZoneInfo(config.timezone)
    calendar = calendars.get(task.exchange) if task.exchange else None
    ahead = (*islice(upcoming_slots(timetable, zone, calendar, after), SHOWN_SLOTS),)
    words = in_words(timetable, task.exchange, config.timezone)
    if task.after:
        words += f", after {_ancestors(config, task, calendars, ahead[:1])}"
    return SchedulePreview(name, words, ahead, has_slots=task.service is None)


def _ancestors(config: Config, task: Task, calendars: Calendars, first: tuple[float, ...]) -> str:
    """``fetch_history (of Mon 06:00)``: with the slots for which the task's first one waits."""
    zone, found = ZoneInfo(config.timezone), []
    for name in task.after:
        other = config.tasks[name]
        calendar = calendars.get(other.exchange) if other.exchange else None
        at = previous_slot(other.timetable, zone, calendar, first[0]) if first else None
        when = "" if at is None else f" (of {datetime.fromtimestamp(at, zone):%a %H:%M})"
        found.append(f"{name}{when}")
    return f"{' and '.join(found)} for {format_duration(task.longest_wait)} at most"
