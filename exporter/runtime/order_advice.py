"""What ``check`` points out about tasks that wait for others (`after`)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from exporter.calendars.loader import Calendar, Calendars
from exporter.config import Config, Mistake, Task
from exporter.config.dependencies import too_mild
from exporter.scheduling.slots import next_slot, previous_slot
from exporter.util.units import format_duration


def order_advice(config: Config, calendars: Calendars, now: float) -> Iterator[Mistake]:
    """An order that is not what was meant, a wait that is too short, an alert that is too mild. The
    calendars are loaded already."""
    yield from too_mild(config.tasks)
    zone = ZoneInfo(config.timezone)

    def calendar(task: Task) -> Calendar | None:
        return calendars.get(task.exchange) if task.exchange else None

    for name, task in config.tasks.items():
        slot = next_slot(task.timetable, zone, calendar(task), now) if task.after else None
        for other in task.after if slot is not None else ():
            assert slot is not None  # noqa: S101  for mypy
            ancestor = config.tasks[other]
            about = (ancestor.timetable, zone, calendar(ancestor), slot)
            before, following = previous_slot(*about), next_slot(*about)
            if before is None:
                continue
            if following is not None and following - slot < slot - before:
                if following - slot <= task.longest_wait:
                    text = _too_early(other, zone, (slot, following, before))
                    yield Mistake(f"tasks.{name}.after", text)
            elif (end := before + ancestor.latest_start + ancestor.max_runtime_seconds) > (
                slot + task.longest_wait
            ):
                yield Mistake(f"tasks.{name}.max_wait", _too_short(other, end - slot))


def _too_early(other: str, zone: ZoneInfo, moments: tuple[float, float, float]) -> str:
    mine, theirs, earlier = (f"{datetime.fromtimestamp(at, zone):%a %H:%M}" for at in moments)
    return (
        f"its slot of {mine} comes before that of {other} ({theirs}), so it waits for the one of "
        f"{earlier}; to wait for the later one, give both the same time"
    )


def _too_short(other: str, needed: float) -> str:
    return (
        f"it gives up before {other} is late: to wait as long as that may take, write "
        f"{format_duration(needed).replace(' ', '')} or more"
    )
