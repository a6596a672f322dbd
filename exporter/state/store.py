"""State as other parts see it. Reads come from memory; writes wait until they are durable."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from exporter.state import database, diagnosis, snapshot, sql
from exporter.state.disk import StateDisk
from exporter.state.history import StateHistory
from exporter.state.models import (
    JSON,
    Claim,
    Run,
    StateError,
    TaskState,
)
from exporter.state.schema import MIGRATIONS, Migration
from exporter.state.snapshot import Contents, Kept
from exporter.state.upkeep import StateUpkeep
from exporter.state.writer import StateWriter, Step
from exporter.util.clock import Clock


class State:
    """What must outlive the process. Made by :meth:`open`.

    While the file cannot be written, everything except claims continues in memory and is written
    once the disk works again; claims raise :class:`StateError`.
    """

    def __init__(
        self, path: Path, clock: Clock, writer: StateWriter | None, view: Contents
    ) -> None:
        self.path = path
        self.history = StateHistory(path)
        self._clock = clock
        self._writer = writer
        self._view = view
        self._disk = StateDisk(path, clock, writer) if writer else None
        self._upkeep = StateUpkeep(self._disk, clock) if self._disk else None

    @classmethod
    def open(
        cls,
        path: Path,
        clock: Clock,
        *,
        writer: bool = True,
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> State:
        """Open the file; with `writer` as the one scheduler, creating it if necessary.

        Raises :class:`AlreadyRunning` when there is a scheduler already, and :class:`StateError`
        for a file of a newer version or of another program, or one with a second hard link. A
        damaged file is set aside; a disk that cannot be written shows in :attr:`trouble`. Without
        `writer` nothing can be written, and a missing or unreadable file raises
        :class:`StateError`.
        """
        # By its real name: a link to a file that another exporter uses is that file, with its lock.
        path = Path(path).resolve()
        if writer:
            _refuse_odd_files(path)
            return cls(path, clock, StateWriter(path, clock, migrations), Contents())
        try:
            return cls(path, clock, None, database.read_contents(path))
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StateError(f"{path} cannot be read: {error}") from error

    # --- health

    @property
    def trouble(self) -> str | None:
        """What is wrong and what to do, for people; None when nothing is."""
        return self._disk.trouble if self._disk else None

    @property
    def healthy(self) -> bool:
        """Durable, and no damaged file lies next to it."""
        return self.trouble is None

    @property
    def steady(self) -> bool:
        """Healthy for a minute or more, so that scrapes notice a disk that is full now and then."""
        return self._disk is None or self._disk.steady

    @property
    def durable(self) -> bool:
        """The newest write reached the disk, so claims can be made."""
        return self._disk is not None and self._disk.durable

    @property
    def commits(self) -> int:
        """Transactions that changed something, since the start."""
        return self._writer.commits if self._writer else 0

    # --- reading

    @property
    def _contents(self) -> Contents:
        return self._writer.contents if self._writer else self._view

    @property
    def tasks(self) -> Mapping[str, TaskState]:
        """What is known of each task, including those no longer configured."""
        return self._contents.tasks

    @property
    def pause_all_until(self) -> float | None:
        """End of the newest pause of everything; one in the past is over."""
        return self._contents.pause_all_until

    def open_runs(self) -> list[Run]:
        """Claimed but not ended; at the start these are the crashed ones. Oldest first."""
        return sorted(self._contents.open_runs.values(), key=lambda run: run.claimed_at)

    def kept(self, kind: str) -> dict[str, JSON]:
        """Name to value of everything kept under `kind`. Do not change the values."""
        return {name: kept.value for name, kept in self._contents.kept.get(kind, {}).items()}

    # --- tasks and runs

    async def register(self, tasks: Mapping[str, str], now: float) -> None:
        """Set the configured tasks, each with a text that identifies its schedule."""
        schedules = dict(tasks)
        await self._on_disk.do(lambda old: snapshot.register(old, schedules, now))

    async def claim(self, claim: Claim) -> bool:
        """Durable once it returns True; False: the slot already has a run. Either way the slot is
        accounted for. Raises :class:`StateError` when it cannot be durable."""

        def fold(old: Contents, changed: int) -> Contents:
            if changed == 1:
                return snapshot.claim(old, claim)
            return snapshot.advance(old, claim.task, claim.slot)

        def withdraw() -> Step:
            return Step(
                lambda old, _: snapshot.release(old, claim.run_id), [sql.release(claim.run_id)]
            )

        # One that is being written when this is cancelled stays; nobody runs it, so it crashed.
        return await self._on_disk.do_in_time(fold, [sql.claim(claim)], withdraw) == 1

    async def advance(self, task: str, cursor: float) -> None:
        """Slots up to `cursor` are accounted for."""
        await self._on_disk.do(lambda old: snapshot.advance(old, task, cursor))

    async def lower(self, task: str, now: float) -> None:
        """The clock was set back: lower the task's cursor and cover to `now`."""
        await self._on_disk.do(lambda old: snapshot.lower(old, task, now))

    async def restore_cover(self, now: float) -> None:
        """The clock was set, and may have been wrong before: successes up to `now` cover again what
        they covered before it was set back. Raises :class:`StateError`."""
        ends = await self.history.newest_successes(now)
        await self._on_disk.do(lambda old: snapshot.cover(old, ends))

    async def finish(self, end: Run) -> None:
        """Close a run and update its task, in one transaction."""
        end, now = replace(end, items=sql.number(end.items)), self._clock.now()
        await self._on_disk.do(lambda old: snapshot.finish(old, end, now), [sql.finish(end)])

    async def finish_durably(self, end: Run) -> bool:
        """The same, durable once it returns: False when the run had ended already, which changes
        nothing. Raises :class:`StateError` when it cannot be durable; then nothing changed either,
        unless a disk that stalls takes it in later."""
        end, now = replace(end, items=sql.number(end.items)), self._clock.now()
        changed = await self._on_disk.do_durably(
            lambda old, changed: snapshot.finish(old, end, now) if changed == 1 else old,
            [sql.finish(end)],
        )
        return changed == 1

    async def block(self, end: Run, *, covered: bool) -> None:
        """Record a slot that got no run; one that is `covered` is owed no longer."""
        await self._on_disk.do(
            lambda old: snapshot.block(old, end, covered=covered), [sql.finish(end)]
        )

    async def reopen(self, run_id: str) -> bool:
        """An open run is started again, durably; False when it is not open. Raises
        :class:`StateError` when it cannot be durable."""
        changed = await self._on_disk.do_durably(
            lambda old, changed: snapshot.reopen(old, run_id) if changed == 1 else old,
            [sql.reopen(run_id)],
        )
        return changed == 1

    async def pause(self, task: str | None, until: float) -> None:
        """Start no run of the task, or of any task (None), until then."""
        await self._on_disk.do(lambda old: snapshot.pause(old, task, until))

    async def resume(self, task: str | None) -> None:
        """End a pause early."""
        now = self._clock.now()
        await self._on_disk.do(lambda old: snapshot.resume(old, task, now))

    async def hold(
        self, kind: str, name: str, value: JSON, tasks: Iterable[str], until: float
    ) -> None:
        """Keep one value and pause the tasks at least until then, in one transaction, durable once
        it returns. Raises :class:`StateError` when it cannot be durable; then nothing changed,
        unless a disk that stalls takes it in later."""
        prepared, names = [(kind, name, Kept.of(value))], list(tasks)

        def fold(old: Contents, _: int) -> Contents:
            new = snapshot.keep(old, prepared)
            for task in names:
                known = new.tasks.get(task, TaskState()).paused_until
                new = snapshot.pause(new, task, snapshot.later(known, until) or until)
            return new

        await self._on_disk.do_durably(fold)

    async def free(
        self, values: Iterable[tuple[str, str, JSON]], ends: Mapping[str, float | None]
    ) -> None:
        """Keep values, and end the pauses of tasks, or set them to another end, in one
        transaction."""
        prepared = [(kind, name, Kept.of(value)) for kind, name, value in values]
        changes, now = dict(ends), self._clock.now()

        def fold(old: Contents) -> Contents:
            new = snapshot.keep(old, prepared)
            for task, until in changes.items():
                new = snapshot.resume(new, task, now)
                if until is not None:
                    new = snapshot.pause(new, task, until)
            return new

        await self._on_disk.do(fold)

    # --- values and journal

    async def keep(self, kind: str, name: str, value: JSON) -> None:
        """Keep one value. Raises :class:`TypeError` when JSON cannot hold it."""
        await self.keep_many([(kind, name, value)])

    async def keep_many(self, values: Iterable[tuple[str, str, JSON]]) -> None:
        """Keep several in one transaction."""
        prepared = [(kind, name, Kept.of(value)) for kind, name, value in values]
        await self._on_disk.do(lambda old: snapshot.keep(old, prepared))

    async def write(
        self, statements: Sequence[sql.Row], values: Iterable[tuple[str, str, JSON]] = ()
    ) -> int:
        """Rows, and values to keep, in one transaction, durable once it returns how many rows
        changed. Raises :class:`StateError` when it cannot be durable; then nothing changed, unless
        a disk that stalls takes it in later."""
        prepared = [(kind, name, Kept.of(value)) for kind, name, value in values]
        return await self._on_disk.do_durably(
            lambda old, _: snapshot.keep(old, prepared), statements
        )

    async def forget(self, kind: str, name: str) -> None:
        """Drop a kept value, if there is one."""
        await self._on_disk.do(lambda old: snapshot.forget(old, kind, name))

    async def journal(self, kind: str, at: float, fields: Mapping[str, JSON]) -> None:
        """Add a row to the journal."""
        text = json.dumps(dict(fields), separators=(",", ":"))
        await self._on_disk.do(lambda old: old, [sql.journal(kind, at, text)])

    # --- the file

    async def probe(self) -> None:
        """Called every few seconds: tries the disk again, looks for set-aside files, and deletes a
        few old rows."""
        if self._upkeep is None:
            raise self._read_only()
        await self._upkeep.probe()

    async def close(self) -> None:
        """Write what is queued and give the scheduler's role back."""
        if self._writer is not None:
            await asyncio.to_thread(self._writer.close)

    @property
    def _on_disk(self) -> StateDisk:
        if self._disk is None:
            raise self._read_only()
        return self._disk

    def _read_only(self) -> StateError:
        return StateError(f"{self.path} was opened for reading")


def _refuse_odd_files(path: Path) -> None:
    """Lock and write-ahead log lie next to the name, so they guard nothing from another name."""
    with suppress(OSError):  # opening it says what is wrong
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise StateError(diagnosis.not_a_file(path))
        if found.st_nlink > 1:
            raise StateError(diagnosis.hard_linked(path))
