"""The slots that came since somebody last looked, counted rather than listed: a machine that was
off for a year may owe millions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from exporter.scheduling.slots import Slot


@dataclass
class Due:
    """What came. Moments are Unix seconds, None where there was no such slot."""

    last: float | None = None
    """The newest slot of all."""
    skipped: dict[str, int] = field(default_factory=dict)
    """How many the task leaves out, by reason."""
    runnable: int = 0
    first: float | None = None
    before: float | None = None
    newest: float | None = None
    """The first, the second newest and the newest at which it runs."""


def count(slots: Iterable[Slot], paused_until: float) -> Due:
    """Go through the slots once; one in a pause is skipped."""
    due = Due()
    for slot in slots:
        due.last = slot.at
        reason: str | None = slot.skip
        if reason is None and slot.at < paused_until:
            reason = "paused"
        if reason:
            due.skipped[reason] = due.skipped.get(reason, 0) + 1
            continue
        due.runnable += 1
        due.before, due.newest = due.newest, slot.at
        if due.first is None:
            due.first = slot.at
    return due
