"""What the state file needs every few seconds."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress

from exporter.state import sql
from exporter.state.disk import StateDisk
from exporter.state.models import StateError
from exporter.state.writer import Step
from exporter.util.clock import Clock

KEEP_SECONDS = 90 * 86400.0
"""How long ended runs and journal rows stay."""
PURGE_ROWS = 500
PURGE_EVERY_SECONDS = 3600.0
PROBE_EVERY_SECONDS = 60.0


class StateUpkeep:
    """Tries a disk that failed, and deletes what is old."""

    def __init__(self, disk: StateDisk, clock: Clock) -> None:
        self._disk, self._clock = disk, clock
        self._next_purge = self._next_probe = clock.monotonic()
        self._probing: Future[int] | None = None

    async def probe(self) -> None:
        """Try the disk again, look for set-aside files, and delete a few old rows."""
        if self._probing is not None and not self._probing.done():
            return  # the disk has not finished the previous probe
        now = self._clock.monotonic()
        statements: list[sql.Row] = []
        if self._disk.writer.trouble is not None or now >= self._next_probe:
            self._next_probe = now + PROBE_EVERY_SECONDS
            statements.append(sql.put_moment("probed_at", self._clock.now()))
        purging = now >= self._next_purge
        if purging:
            before = self._clock.now() - KEEP_SECONDS
            statements = sql.purge(before, PURGE_ROWS) + statements
        step = Step(lambda old, _: old, statements, only_durable=True, look=True)
        self._probing = self._disk.writer.submit(step)
        with suppress(StateError):  # `trouble` says it
            changed = await self._disk.wait(self._probing)
            if purging and changed is not None and changed < PURGE_ROWS:
                self._next_purge = now + PURGE_EVERY_SECONDS
