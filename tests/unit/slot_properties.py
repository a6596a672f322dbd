"""What holds of every schedule's slots."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from exporter.calendars.loader import Calendar
from exporter.config.schedule_forms import Timetable
from exporter.scheduling.slots import Slot, slots


def check_that_pieces_give_the_whole(
    plan: Timetable, zone: str, calendar: Calendar | None, first: float, pieces: list[int]
) -> None:
    """However often we wake, the slots are the same, strictly rising, and inside the span."""
    end = first + sum(pieces)
    whole = list(slots(plan, ZoneInfo(zone), calendar, first, end))
    joined: list[Slot] = []
    edge = first
    for piece in pieces:
        joined += slots(plan, ZoneInfo(zone), calendar, edge, edge + piece)
        edge += piece
    assert joined == whole
    moments = [slot.at for slot in whole]
    assert moments == sorted(set(moments))
    assert all(first < moment <= end for moment in moments)
