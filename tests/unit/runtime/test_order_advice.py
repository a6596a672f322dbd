"""What `check` points out about tasks that wait for others."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from exporter.calendars.loader import Calendars
from exporter.config import Config, Task
from exporter.runtime.order_advice import order_advice
from exporter.runtime.schedule_preview import schedule_preview
from exporter.util.clock import SystemClock

NOW = datetime(2026, 11, 24, 5, 0, tzinfo=ZoneInfo("America/New_York")).timestamp()
CALENDARS = Calendars(Path("/nonexistent"), {}, SystemClock())


def pair(schedule: str, **scan: object) -> Config:
    fetch = {"command": ["x"], "schedule": schedule, "timeout": "10m"}
    scan = {"command": ["x"], "schedule": "07:00", "after": ["fetch"], **scan}
    tasks = {"fetch": Task.model_validate(fetch), "scan": Task.model_validate(scan)}
    return Config().model_copy(update={"tasks": tasks})


@pytest.mark.parametrize(
    ("schedule", "max_wait", "place", "text"),
    [
        ("06:00", "1h", None, ""),
        ("every 5m", "20m", None, ""),
        ("mon 06:00", "1h", None, ""),
        ("07:05", "1h", "after", "its slot of Tue 07:00 comes before that of fetch (Tue 07:05)"),
        ("07:00", "10m", "max_wait", "it gives up before fetch is late: to wait as long as that"),
    ],
)
def test_an_order_that_is_not_what_was_meant_is_noted(
    schedule: str, max_wait: str, place: str | None, text: str
) -> None:
    """And nothing where it is."""
    found = list(order_advice(pair(schedule, max_wait=max_wait), CALENDARS, NOW))
    assert [note.place for note in found] == ([f"tasks.scan.{place}"] if place else [])
    assert all(text in note.text for note in found)


def test_a_schedule_says_for_which_slot_it_waits() -> None:
    """The next one."""
    preview = schedule_preview(pair("06:00"), "scan", CALENDARS, NOW)
    assert preview.words.endswith(", after fetch (of Tue 06:00) for 1h at most")
