"""What ``check`` and ``tasks`` show of a schedule: its meaning in words, and its next slots."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from zoneinfo import ZoneInfo

from exporter.calendars.loader import Calendars
from exporter.config import Config
from exporter.scheduling.in_words import in_words
from exporter.scheduling.slots import upcoming_slots

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
    ahead = islice(upcoming_slots(timetable, zone, calendar, after), SHOWN_SLOTS)
    words = in_words(timetable, task.exchange, config.timezone)
    return SchedulePreview(name, words, (*ahead,), has_slots=task.service is None)
