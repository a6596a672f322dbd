"""A message as data: a title, and texts, tables and a picture below it. Each channel renders it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from exporter.redaction.truncate import mask_window, truncate_at_word
from exporter.util.printable import clean

MOST_TITLE, MOST_TEXT, MOST_CELL = 200, 8_000, 300
"""Characters."""
MOST_ROWS, MOST_PARTS = 60, 20


@dataclass(frozen=True)
class MessageTable:
    """Rows of cells; the first column is a name, numbers follow."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """Lines over days: a name to its ratios, 0.05 for 5 %; None where nothing is known. With one
    value each, bars."""

    title: str
    series: dict[str, list[float | None]]


@dataclass(frozen=True)
class ChannelMessage:
    """What a channel gets."""

    title: str
    parts: Sequence[str | MessageTable] = ()
    charts: Sequence[Chart] = ()

    def bounded(self, mask: Callable[[str], str]) -> ChannelMessage:
        """Without secrets and control characters, and no longer than a message may be."""

        def text(of: str, most: int) -> str:
            lines = [clean(line) for line in mask(mask_window(of, most)).splitlines()]
            return truncate_at_word("\n".join(lines).strip(), most)

        def cell(of: str, most: int = MOST_CELL) -> str:
            return text(" ".join(of.split()), most)

        def table(of: MessageTable) -> MessageTable:
            rows = [[cell(one) for one in row] for row in of.rows[:MOST_ROWS]]
            left = len(of.rows) - len(rows)
            note = f"… and {left} more. {of.note}" if left else of.note
            return MessageTable(
                cell(of.title), [cell(one) for one in of.head], rows, text(note, 1_000)
            )

        return ChannelMessage(
            cell(self.title, MOST_TITLE),
            [
                text(part, MOST_TEXT) if isinstance(part, str) else table(part)
                for part in self.parts[:MOST_PARTS]
            ],
            self.charts,
        )

    def to_json(self) -> dict[str, Any]:
        """As the state keeps it and the process that sends it gets it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ChannelMessage:
        """The inverse of :meth:`to_json`. Raises KeyError or TypeError for anything else."""
        parts = [part if isinstance(part, str) else MessageTable(**part) for part in data["parts"]]
        return cls(data["title"], parts, [Chart(**chart) for chart in data["charts"]])
