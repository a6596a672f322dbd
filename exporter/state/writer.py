"""The one thread that writes. Queued steps are written together, in one transaction.

The thread owns the connection and the newest :class:`Contents`; others see them through
:attr:`StateWriter.contents`, which changes only once a step is durable (or, while nothing can be,
kept in memory). Whatever fails because of the disk is retried with the next step.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from exporter.state import database, sql
from exporter.state.diagnosis import cut_off, explain, lost
from exporter.state.lock import SchedulerLock
from exporter.state.mark import Mark
from exporter.state.models import StateError
from exporter.state.schema import Migration
from exporter.state.snapshot import Contents, merge, owe_nothing
from exporter.util.atomic import private_folder
from exporter.util.clock import Clock

log = logging.getLogger(__name__)

BACKLOG_ROWS = 20_000
"""How many run ends and journal rows wait in memory while the disk cannot be written. Beyond that
the oldest are dropped."""


@dataclass
class Step:
    """One thing to do: rows to write, then a change of the contents."""

    fold: Callable[[Contents, int], Contents]
    """Gets the contents and how many rows the statements changed."""
    rows: Sequence[sql.Row] = ()
    only_durable: bool = False
    """Fails while the disk cannot be written; other steps are kept and written later."""
    look: bool = False
    """Also check which set-aside files are still there."""
    done: Future[int] = field(default_factory=Future)


class StateWriter:
    """Writes :class:`Step` after step. Opens the file in the caller's thread first.

    Raises :class:`StateError` when the file belongs to a newer version or another program; a disk
    that cannot be written is not an error but :attr:`trouble`.
    """

    def __init__(self, path: Path, clock: Clock, migrations: Sequence[Migration]) -> None:
        self._path = path
        self._clock = clock
        self._migrations = migrations
        self._lock = SchedulerLock(path)
        self._mark = Mark(path)
        self._generation = 0
        self._db: sqlite3.Connection | None = None
        self._on_disk = Contents()
        self._known = False
        self._backlog: deque[sql.Row] = deque()
        self._queue: deque[Step] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._identity: tuple[tuple[int, int] | None, ...] | None = None
        self.contents = Contents()
        self.trouble: str | None = None
        self.healthy_since: float | None = None
        """When the last trouble ended, on the monotonic clock; None: there was none."""
        self.set_aside: list[Path] = []
        self.commits = 0
        self.busy_since: float | None = None
        self._first_opening()
        self._thread = threading.Thread(target=self._run, name="state-writer", daemon=True)
        self._thread.start()

    def submit(self, step: Step) -> Future[int]:
        """Queue a step. Its future holds how many rows it changed, or :class:`StateError`."""
        with self._wake:
            if self._closing:
                raise StateError("state is closed")
            self._queue.append(step)
            self._wake.notify()
        return step.done

    def close(self) -> None:
        """Write what is queued, close the file, give the scheduler's role back. Blocks."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    # --- the thread

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            with self._wake:
                self._closing = True
            for step in self._queue:
                step.done.set_exception(StateError("state is closed"))
            self._close_cleanly()
            self._lock.release()

    def _turn(self) -> bool:
        with self._wake:
            while not self._queue and not self._closing:
                self._wake.wait()
            steps = list(self._queue)
            self._queue.clear()
            closing = self._closing
        if steps or self._unwritten():
            self.busy_since = self._clock.monotonic()
            self._write_or_remember(steps)
        return not closing

    def _unwritten(self) -> bool:
        return bool(self._backlog) or self.contents is not self._on_disk

    def _write_or_remember(self, steps: Sequence[Step]) -> None:
        # A claim whose caller is gone must not be made; other steps cannot be cancelled.
        steps = [step for step in steps if step.done.set_running_or_notify_cancel()]
        try:
            try:
                results = self._write(steps)
            except (sqlite3.Error, database.Damaged) as error:
                if not database.is_damage(error):
                    raise
                # Memory holds what the file held. Rename it before closing it: closing would delete
                # its log.
                self._set_aside(error)
                self._disconnect()
                results = self._write(steps)
        except Exception as error:  # noqa: BLE001 - the thread's edge: continue in memory
            self._disconnect()
            self._note_failure(error)
            results = self._remember(steps)
        else:
            self._note_success()
        if any(step.look for step in steps):
            self._find_set_aside()
        self.busy_since = None  # before anybody hears of it: what was written does not hang
        for step, result in zip(steps, results, strict=True):
            if isinstance(result, int):
                step.done.set_result(result)
            else:
                step.done.set_exception(result)

    def _write(self, steps: Sequence[Step]) -> list[int | StateError]:
        db = self._connection()
        before = db.total_changes
        results: list[int | StateError] = []
        db.execute("BEGIN IMMEDIATE")
        contents = self.contents
        for step in steps:
            result = sql.in_savepoint(db, step.rows)
            results.append(result)
            if isinstance(result, int):
                contents = step.fold(contents, result)
        for statement, values in sql.difference(self._on_disk, contents):
            db.execute(statement, values)
        if changed := db.total_changes != before:
            db.execute(*sql.put_generation(self._generation + 1))
        db.execute("COMMIT")
        if changed:
            self.commits += 1
            self._generation += 1
            self._mark.write(self._generation)
        self.contents = self._on_disk = contents
        return results

    def _remember(self, steps: Sequence[Step]) -> list[int | StateError]:
        results: list[int | StateError] = []
        contents = self.contents
        for step in steps:
            if step.only_durable:
                results.append(StateError(self.trouble or "state is not durable"))
                continue
            self._backlog.extend(step.rows)
            contents = step.fold(contents, len(step.rows))
            results.append(len(step.rows))
        self.contents = contents
        lost = len(self._backlog) - BACKLOG_ROWS
        if lost > 0:
            for _ in range(lost):
                self._backlog.popleft()
            log.error(
                "%d rows of history were dropped: the state file could not be written for too long",
                lost,
                extra={"event": "state_rows_lost", "rows": lost},
            )
        return results

    # --- the file

    def _first_opening(self) -> None:
        try:
            self._connect()
        except StateError:
            self._lock.release()
            raise
        except (sqlite3.Error, OSError, database.Damaged) as error:
            self._disconnect()
            self._note_failure(error)
            with suppress(sqlite3.Error, OSError, ValueError, database.Damaged):
                self._believe(database.read_intact(self._path))
        self._find_set_aside()

    def _believe(self, found: database.IntactFile) -> None:
        """A file that can only be read. One that has lost something is looked at again, and owes
        nothing, once it can be written."""
        self._known = not found.has_lost(self._mark.read())
        self.contents = self._on_disk = found.contents
        if not self._known:
            self.contents = owe_nothing(found.contents, self._clock.now())
            log.critical("%s", lost(self._path), extra={"event": "state_lost"})

    def _connection(self) -> sqlite3.Connection:
        if self._db is not None and self._identity != _identities(self._path):
            log.error(
                "%s or its write-ahead log was deleted or replaced while the exporter runs; it is "
                "restored from memory",
                self._path,
                extra={"event": "state_replaced"},
            )
            self._disconnect()
        if self._db is None:
            return self._connect()
        self._lock.hold()
        return self._db

    def _connect(self) -> sqlite3.Connection:
        with suppress(FileExistsError, NotADirectoryError):  # opening it gives the better error
            private_folder(self._path.parent)
        self._lock.hold()
        aside = database.files_set_aside(self._path)
        opened = database.open_file(self._path, self._clock.now(), self._migrations)
        db = self._db = opened.db
        for path in database.files_set_aside(self._path):
            if path not in aside:
                self._log_set_aside(path)
        on_disk, mark = opened.contents, self._mark.read()
        db.execute("BEGIN IMMEDIATE")
        if not self._known:
            if opened.has_lost(mark) and database.files_set_aside(self._path) == aside:
                on_disk = self._owe_nothing(db, on_disk)
            self.contents = merge(on_disk, self.contents)
            self._known = True
        self._on_disk = on_disk
        for row in self._backlog:
            sql.in_savepoint(db, [row])
        for statement, values in sql.difference_of_open_runs(self._on_disk, self.contents):
            db.execute(statement, values)
        # Only a write shows that a file is read-only.
        db.execute(*sql.put_moment("opened_at", self._clock.now()))
        self._generation = max(self._generation, opened.generation or 0, mark or 0) + 1
        db.execute(*sql.put_generation(self._generation))
        db.execute("COMMIT")
        self._mark.write(self._generation)
        # Into the file itself, so that a copy of it alone shows that it was in use.
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._identity = _identities(self._path)
        self._backlog.clear()
        return db

    def _owe_nothing(self, db: sqlite3.Connection, contents: Contents) -> Contents:
        now, why = self._clock.now(), lost(self._path)
        for run in contents.open_runs.values():
            ended = replace(
                run, outcome="crashed", started_at=run.started_at or run.claimed_at, ended_at=now,
                error="the state has lost its newest changes; how the run ended is unknown",
            )  # fmt: skip
            sql.in_savepoint(db, [sql.finish(ended)])
        safe = owe_nothing(contents, now)
        for statement, values in sql.difference(contents, safe):
            db.execute(statement, values)
        note = database.note_lost(self._path, now, why)
        self._find_set_aside()
        log.critical("%s", why, extra={"event": "state_lost", "file": str(note)})
        return safe

    def _set_aside(self, error: Exception) -> None:
        path = database.set_aside(self._path, self._clock.now())
        self._log_set_aside(path, error)

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    def _close_cleanly(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            database.close(db)

    def _find_set_aside(self) -> None:
        """Find the set-aside files that are still there."""
        with suppress(OSError):
            self.set_aside = database.files_set_aside(self._path)

    # --- logging, once per change

    def _note_failure(self, error: Exception) -> None:
        trouble = explain(self._path, error)
        if trouble != self.trouble:
            log.error("%s", trouble, extra={"event": "state_not_durable"})
        self.trouble = trouble

    def _note_success(self) -> None:
        if self.trouble is not None:
            log.warning(
                "%s can be written again; everything kept in memory was saved",
                self._path,
                extra={"event": "state_durable"},
            )
            self.healthy_since = self._clock.monotonic()
        self.trouble = None

    def _log_set_aside(self, path: Path, error: Exception | None = None) -> None:
        self._find_set_aside()
        log.critical(
            "%s%s",
            cut_off(self._path, path),
            f" ({error})" if error else "",
            extra={"event": "state_set_aside", "file": str(path)},
        )


def _identities(path: Path) -> tuple[tuple[int, int] | None, ...]:
    return _identity(path), _identity(path.with_name(path.name + "-wal"))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
