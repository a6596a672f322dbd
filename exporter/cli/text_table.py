"""Columns and times as commands print them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from exporter.runtime.schedule_preview import SchedulePreview


def moment(at: float | None, zone: ZoneInfo) -> str:
    """A time for people, in `zone`; a dash for None."""
    if at is None:
        return "–"
    return f"{datetime.fromtimestamp(at, zone):%a %Y-%m-%d %H:%M %Z}"


def slot_times(slots: Sequence[float], zone: ZoneInfo) -> str:
    """Moments of a schedule for people, in `zone`, with seconds where there are any."""
    seconds = any(at % 60 for at in slots)
    time = "%H:%M:%S" if seconds else "%H:%M"
    shown = [f"{datetime.fromtimestamp(at, zone):%a %Y-%m-%d {time} %Z}" for at in slots]
    return ", ".join(shown) or "never"


def schedule_text(one: SchedulePreview, zone: ZoneInfo) -> str:
    """A schedule in words, with its next slots."""
    return f"{one.words}: {slot_times(one.slots, zone)}" if one.has_slots else one.words


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Left-aligned columns, two spaces apart."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
