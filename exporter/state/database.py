"""The file on disk: opening, checking, setting a damaged one aside.

While a connection of this process is open, the file is opened only through SQLite: closing any
other descriptor of it would drop SQLite's locks.
"""

from __future__ import annotations

import glob
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from exporter.state import schema, sql
from exporter.state.snapshot import Contents
from exporter.util.atomic import private_folder, sync_folder
from exporter.util.clock import utc

BUSY_SECONDS = 5.0
CHECK_SECONDS = 1.0
"""Longest duration of the check at opening; damage further on in a huge file shows when read."""
WAL_LIMIT_BYTES = 16_000_000
_MODE_AT, _WAL_MODE = 18, b"\x02"
"""Where the header says that a file is written through a log: https://sqlite.org/fileformat.html."""
LOST = "-lost"
"""How the name of a note ends that says what a missing log lost."""


class Damaged(Exception):  # noqa: N818 - says what is the case
    """The file is not an intact state file; the text says what SQLite found."""


@dataclass(frozen=True)
class IntactFile:
    """What an intact file holds, and whether that is all."""

    contents: Contents
    generation: int | None
    """See :mod:`exporter.state.mark`."""
    log_is_missing: bool
    """It was in use and not closed, and there is no write-ahead log next to it."""

    def has_lost(self, mark: int | None) -> bool:
        """Whether the file lacks what it held before; `mark` is the newest generation noted."""
        if mark is not None:
            return (self.generation or 0) < mark
        return self.generation is not None and self.log_is_missing


@dataclass(frozen=True)
class Opened(IntactFile):
    """An open, migrated file."""

    db: sqlite3.Connection


def open_file(path: Path, now: float, migrations: Sequence[schema.Migration]) -> Opened:
    """Open or create the file for writing. A damaged one is set aside first.

    Raises :class:`sqlite3.Error` or :class:`OSError` when the disk fails, and :class:`StateError`
    when the file belongs to a newer version or another program.
    """
    try:
        return _open(path, migrations)
    except Damaged:
        set_aside(path, now)
    return _open(path, migrations)


def _open(path: Path, migrations: Sequence[schema.Migration]) -> Opened:
    has_log = _has_log(path)  # connecting creates an empty one
    if not _create_if_missing(path):
        _check(path)
    db = _connect(path, "rw")
    try:
        # A file that was closed cleanly is in mode DELETE: see close().
        in_use = db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        schema.migrate(db, path, migrations)
        contents, generation = sql.load(db), sql.generation(db)
        db.execute("PRAGMA synchronous = FULL")
        if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise sqlite3.OperationalError("no write-ahead log can be kept next to it")
        db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        return Opened(contents, generation, in_use and not has_log, db)
    except BaseException as error:
        db.close()
        if is_damage(error):
            raise Damaged(str(error)) from error
        raise


def close(db: sqlite3.Connection) -> None:
    """Merge the log into the file and note there that it is complete, then close it. While somebody
    else reads, the file stays in mode WAL; closing merges the log all the same."""
    with suppress(sqlite3.Error):
        db.execute("PRAGMA busy_timeout = 0")
        db.execute("PRAGMA journal_mode = DELETE")
    with suppress(sqlite3.Error):
        db.close()


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=BUSY_SECONDS,
        check_same_thread=False,
    )


def _check(path: Path) -> None:
    """Raises :class:`Damaged`. Reads only: a connection that writes would merge the log of a
    damaged file into it, or delete it, when it is closed."""
    try:
        with closing(_connect(path, "ro")) as db:
            problem = _problem(db)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            return  # opening it for writing will say what is wrong
        problem = str(error)
    if problem:
        raise Damaged(problem)


def _create_if_missing(path: Path) -> bool:
    size = path.stat().st_size if path.exists() else 0
    if size:
        return False
    log = _sibling(path, "-wal")
    if log.exists() and log.stat().st_size:
        # SQLite would silently delete it.
        raise Damaged("its write-ahead log is there, but the file itself is empty or gone")
    private_folder(path.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    sync_folder(path.parent)
    return True


def _problem(db: sqlite3.Connection) -> str | None:
    """What ``quick_check`` finds within :data:`CHECK_SECONDS`."""
    end = time.monotonic() + CHECK_SECONDS
    db.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    try:
        found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        raise
    finally:
        db.set_progress_handler(None, 0)
    return None if found == "ok" else found


def is_damage(error: BaseException) -> bool:
    """Does the error mean that the file's content is broken, rather than the disk or a request?"""
    if isinstance(error, (Damaged, ValueError)):
        return True  # ValueError: a kept value that is not JSON
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def set_aside(path: Path, now: float) -> Path:
    """Rename the file, with its -wal and -shm, to ``<path>.corrupt-<UTC stamp>``.

    The file itself goes first: if the process dies in between, the log left behind shows that the
    state was lost, while a file without its log would look intact and be out of date.
    """
    stamp = f"{path.name}.corrupt-{utc(now):%Y%m%dT%H%M%SZ}"
    target, count = path.with_name(stamp), 1
    while any(_sibling(target, end).exists() for end in ("", "-wal", "-shm")):
        count += 1
        target = path.with_name(f"{stamp}-{count}")
    for end in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            _sibling(path, end).rename(_sibling(target, end))
    sync_folder(path.parent)
    return target


def note_lost(path: Path, now: float, text: str) -> Path:
    """Leave a note of what was lost; the state is unhealthy until it is moved or deleted."""
    note = path.with_name(f"{path.name}.corrupt-{utc(now):%Y%m%dT%H%M%SZ}{LOST}")
    descriptor = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    sync_folder(path.parent)
    return note


def files_set_aside(path: Path) -> list[Path]:
    """The damaged files still next to `path`, oldest first."""
    found = path.parent.glob(glob.escape(path.name) + ".corrupt-*")
    return sorted({_without_wal(each) for each in found if _holds_data(each)})


def _without_wal(path: Path) -> Path:
    return path.with_name(path.name.removesuffix("-wal"))


def _holds_data(path: Path) -> bool:
    # A log may be all there was; its index, or an empty log, holds nothing.
    if path.name.endswith("-wal"):
        return path.stat().st_size > 0
    return not path.name.endswith("-shm")


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises :class:`sqlite3.Error`."""
    db = _connect(path, "ro")
    try:
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError:
        db.close()
        # In a read-only folder SQLite has to know that nobody else writes; a file that was closed
        # cleanly has no log next to it and is complete.
        log = _sibling(path, "-wal")
        if log.exists() and log.stat().st_size:
            raise
        db = _connect(path, "ro&immutable=1")
    except BaseException:
        db.close()
        raise
    return db


def read_contents(path: Path) -> Contents:
    """What the file holds, read without writing. Raises :class:`sqlite3.Error`, ValueError."""
    with closing(read_only(path)) as db:
        return sql.load(db)


def read_intact(path: Path) -> IntactFile:
    """The same, of a file that cannot be written and so cannot be set aside. Also raises
    :class:`Damaged`: half of what it held would be worse than nothing."""
    with path.open("rb") as file:
        in_use = file.read(_MODE_AT + 1)[_MODE_AT:] == _WAL_MODE
    with closing(read_only(path)) as db:
        if problem := _problem(db):
            raise Damaged(problem)
        return IntactFile(sql.load(db), sql.generation(db), in_use and not _has_log(path))


def _has_log(path: Path) -> bool:
    log = _sibling(path, "-wal")
    return log.exists() and log.stat().st_size > 0


def _sibling(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)
