"""Readable lines on standard error, for a terminal or for systemd's journal."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

import orjson

from exporter.logs.formatters import Readable
from exporter.logs.queue_writer import Line

AT_ONCE, PAUSE_SECONDS = 10, 0.002
"""Lines between pauses: 5000 a second are more than people read and systemd's journal accepts, and
formatting them must not hold up the code that logs. Lines that wait too long are not shown;
they are in the file."""


def style_of(fd: int, environment: Mapping[str, str]) -> str:
    """ "journal" when the journal listens at `fd`, "colour" for a terminal, else "plain".

    systemd sets JOURNAL_STREAM to device:inode of the stream that it reads (systemd.exec(5)); it
    is inherited, so only a stream that is still that one counts. NO_COLOR: https://no-color.org.
    """
    stream = environment.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(fd)
    except OSError:
        return "plain"
    if stream == f"{status.st_dev}:{status.st_ino}":
        return "journal"
    dull = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
    return "colour" if os.isatty(fd) and not dull else "plain"


class Terminal:
    """A :class:`exporter.logs.queue_writer.Place` that writes to a file descriptor, in its own
    thread: a terminal paused with Ctrl-S blocks only itself. Lines are formatted
    here, too, so that the code that logs does not wait for it."""

    def __init__(self, fd: int, readable: Readable) -> None:
        self._fd, self._readable = fd, readable
        self.trouble: str | None = None
        self.unseen = 0
        """Lines that were not shown since the last that was; they are in the file."""

    def write(self, lines: Sequence[Line]) -> int:
        """See :meth:`exporter.logs.queue_writer.Place.write`. What fails is not retried."""
        for first in range(0, len(lines), AT_ONCE):
            if first:
                time.sleep(PAUSE_SECONDS)
            self._show(lines[first : first + AT_ONCE])
        return len(lines)

    def _show(self, lines: Sequence[Line]) -> None:
        texts = (self._readable.text(orjson.loads(line.content)) for line in lines)
        blob = "".join(texts).encode("utf-8", "backslashreplace")
        if self.unseen:
            note = f"({self.unseen} lines were not shown here; they are in the log file)\n"
            blob, self.unseen = note.encode() + blob, 0
        try:
            while blob:
                blob = blob[os.write(self._fd, blob) :]
        except OSError as error:
            self.trouble = error.strerror
            self.unseen += len(lines)
        else:
            self.trouble = None

    def close(self) -> None:
        """The descriptor belongs to the process: nothing to do."""
