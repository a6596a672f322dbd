"""Columns and times as commands print them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


def moment(at: float | None, zone: ZoneInfo) -> str:
    """A time for people, in `zone`; a dash for None."""
    if at is None:
        return "–"
    return f"{datetime.fromtimestamp(at, zone):%a %Y-%m-%d %H:%M %Z}"


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Left-aligned columns, two spaces apart."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
