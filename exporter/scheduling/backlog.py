"""The slots since the last look, counted rather than listed: a machine that was off for a year may
have missed millions."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from exporter.scheduling.slots import Slot


@dataclass
class Backlog:
    """Slots by what happens to them. Moments are Unix seconds; None: there is no such slot."""

    last: float | None = None
    """The newest slot of all."""
    skipped: dict[str, int] = field(default_factory=dict)
    """How many the task skips, by reason."""
    runnable: int = 0
    first: float | None = None
    before: float | None = None
    newest: float | None = None
    """The first, the second newest and the newest at which it runs."""


def count(slots: Iterable[Slot], paused_until: float, claimed: Container[float] = ()) -> Backlog:
    """Go through the slots once. One in a pause is skipped; one that is `claimed` has its run."""
    backlog = Backlog()
    for slot in slots:
        backlog.last = slot.at
        if slot.at in claimed:
            continue
        reason: str | None = slot.skip
        if reason is None and slot.at < paused_until:
            reason = "paused"
        if reason:
            backlog.skipped[reason] = backlog.skipped.get(reason, 0) + 1
            continue
        backlog.runnable += 1
        backlog.before, backlog.newest = backlog.newest, slot.at
        if backlog.first is None:
            backlog.first = slot.at
    return backlog
