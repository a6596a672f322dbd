"""How far the state file has come, noted outside of it: ``<state file>-mark``.

Each transaction counts the file's generation up by one and then writes the number here. SQLite
silently leaves out what a missing or damaged write-ahead log held; a file whose generation is older
than its mark, or that was in use and has neither log nor mark, has lost its newest changes.

The mark is written after the commit and before its answer, and not forced to the disk: it survives
the end of the process, and after a power failure it may be older than the file, never newer.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_DIGITS = 20


class Mark:
    """The mark of one state file."""

    def __init__(self, state_file: Path) -> None:
        self._path = state_file.with_name(state_file.name + "-mark")

    def read(self) -> int | None:
        """The newest generation; None when there is no mark, or none that can be read."""
        try:
            return int(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def write(self, generation: int) -> None:
        """Note it. A disk that refuses leaves the older number, which claims less."""
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
            try:
                os.pwrite(descriptor, f"{generation:0{_DIGITS}d}\n".encode(), 0)
            finally:
                os.close(descriptor)
