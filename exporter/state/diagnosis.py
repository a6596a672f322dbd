"""What is wrong with the state file and what to do, one sentence each."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

_UNTIL_THEN = "until then tasks that must not run twice do not run"


def explain(path: Path, error: Exception) -> str:
    """A sentence for a person."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    number = error.errno if isinstance(error, OSError) else None
    if code == sqlite3.SQLITE_FULL or number in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk that holds {path} is full; free some space: {_UNTIL_THEN}"
    if code in (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
    ) or number in (
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
    ):
        return (
            f"{path} cannot be written ({error}); make the file and its folder writable for the "
            f"exporter: {_UNTIL_THEN}"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"another program has locked {path}; close it: {_UNTIL_THEN}"
    return f"{path} cannot be used: {error}; {_UNTIL_THEN}"


def cut_off(path: Path, aside: Path) -> str:
    """For a damaged file that was set aside."""
    return (
        f"{path} was damaged; it was set aside as {aside.name} and a new one was begun. The record "
        "of past runs is lost; missed slots are not caught up. Look at it, then move or delete it"
    )


def lost(path: Path) -> str:
    """For a file without its newest changes."""
    return (
        f"{path} has lost its newest changes: it was in use, and its write-ahead log ({path.name}"
        "-wal) is gone or damaged, or an older copy took its place. What ran since is unknown, so "
        "missed slots are not caught up"
    )


def lost_before(path: Path, note: Path) -> str:
    """The same, as long as the note about it is there."""
    return f"{lost(path)}. Check what ran, then delete {note.name}"


def not_a_file(path: Path) -> str:
    """For a folder, a pipe or a device."""
    return f"{path} is not a file but a folder, a pipe or a device: name a file in `state`"


def hard_linked(path: Path) -> str:
    """For a file that another name leads to."""
    return (
        f"{path} has a second name (a hard link): another exporter could write it under that one "
        f"and damage it. Delete the other name (`find / -xdev -samefile {path}` shows both), or "
        f"make this a file of its own: `cp -p {path} {path}.new && mv {path}.new {path}`"
    )


def stalled(path: Path, seconds: float) -> str:
    """For a disk that does not respond."""
    return f"the disk that holds {path} has not responded for {seconds:.0f} s: {_UNTIL_THEN}"
