"""The disk under the state file: what is wrong with it, and how long a write waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from exporter.state import database, diagnosis
from exporter.state.models import StateError
from exporter.state.snapshot import Contents
from exporter.state.sql import Row
from exporter.state.writer import StateWriter, Step
from exporter.util.clock import Clock

PATIENCE_SECONDS = 10.0
"""A write that takes longer means that the disk does not respond; nobody waits longer."""
STEADY_SECONDS = 60.0


class StateDisk:
    """Steps for the writer, and its health."""

    def __init__(self, path: Path, clock: Clock, writer: StateWriter) -> None:
        self._path, self._clock, self.writer = path, clock, writer
        self.patience_seconds = PATIENCE_SECONDS

    @property
    def trouble(self) -> str | None:
        """What is wrong and what to do, for people; None when nothing is."""
        aside = self.writer.set_aside
        if (found := self._not_durable()) or not aside:
            return found
        if aside[-1].name.endswith(database.LOST):
            return diagnosis.lost_before(self._path, aside[-1])
        return diagnosis.cut_off(self._path, aside[-1])

    def _not_durable(self) -> str | None:
        since = self.writer.busy_since
        waiting = 0.0 if since is None else self._clock.monotonic() - since
        if waiting > self.patience_seconds:
            return diagnosis.stalled(self._path, waiting)
        return self.writer.trouble

    @property
    def durable(self) -> bool:
        """The newest write reached the disk."""
        return self._not_durable() is None

    @property
    def steady(self) -> bool:
        """No trouble for a minute or more, so that scrapes notice a disk that is full now and
        then."""
        since = self.writer.healthy_since
        calm = since is None or self._clock.monotonic() - since >= STEADY_SECONDS
        return calm and self.trouble is None

    async def do(self, fold: Callable[[Contents], Contents], rows: Sequence[Row] = ()) -> None:
        """Change the contents and write the rows; in memory while the disk cannot be written."""
        await self.wait(self.writer.submit(Step(lambda old, _: fold(old), rows)))

    async def do_durably(
        self, fold: Callable[[Contents, int], Contents], rows: Sequence[Row] = ()
    ) -> int:
        """The same, durable once it returns how many rows changed, which `fold` gets, too.

        Raises :class:`StateError` when it cannot be durable; then nothing changed, unless a disk
        that stalls takes it in later.
        """
        done = self.writer.submit(Step(fold, rows, only_durable=True))
        if (changed := await self.wait(done)) is None:
            done.cancel()
            raise self.stalled()
        return changed

    async def do_in_time(
        self,
        fold: Callable[[Contents, int], Contents],
        rows: Sequence[Row],
        undo: Callable[[], Step],
    ) -> int:
        """The same, but what a disk that stalls takes in later is undone at once; and of what was
        cancelled nothing is written that is not being written already."""
        done = self.writer.submit(Step(fold, rows, only_durable=True))
        try:
            changed = await self.wait(done)
        except asyncio.CancelledError:
            done.cancel()
            raise
        if changed is not None:
            return changed
        if not done.cancel():
            self.writer.submit(undo())
        raise self.stalled()

    async def wait(self, done: Future[int]) -> int | None:
        """Wait until it is written, but not forever: None when the disk does not respond; it is
        written once the disk does. Being cancelled does not undo it either."""
        waiting = asyncio.wrap_future(done)
        await asyncio.wait([waiting], timeout=self.patience_seconds)
        return waiting.result() if waiting.done() else None

    def stalled(self) -> StateError:
        """For a write that took too long."""
        return StateError(diagnosis.stalled(self._path, self.patience_seconds))
