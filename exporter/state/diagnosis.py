"""What is wrong with the state file, and what to do, in a sentence each."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

_GOES_ON = "until then nothing is claimed, so tasks that must not run twice do not run"


def explain(path: Path, error: Exception) -> str:
    """A sentence for a person."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    number = error.errno if isinstance(error, OSError) else None
    if code == sqlite3.SQLITE_FULL or number in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk that holds {path} is full; free some space: {_GOES_ON}"
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
            f"exporter: {_GOES_ON}"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"another program keeps {path} locked; close it: {_GOES_ON}"
    return f"{path} cannot be used: {error}; {_GOES_ON}"


def cut_off(path: Path, aside: Path) -> str:
    """A sentence about a file that was set aside."""
    return (
        f"{path} was damaged; it was set aside as {aside.name} and a new one was begun. What it "
        "knew of past runs is lost; no missed slot is caught up. Look at it, then move or delete it"
    )


def stalled(path: Path, seconds: float) -> str:
    """A sentence about a disk that does not answer."""
    return f"the disk that holds {path} has not answered for {seconds:.0f} s: {_GOES_ON}"
