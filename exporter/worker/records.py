"""A log record's way from the worker process to the daemon's log: both ends of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from exporter.tasks.outcome import trace

_MESSAGE_CHARS = 8000
_RECORDS_AT_ONCE = 2000
_RECORDS_PER_SECOND = 200.0
_TELL_LOST_SECONDS = 1.0


class _Bucket:
    """So many at once, and then so many a second."""

    def __init__(self) -> None:
        self._left = float(_RECORDS_AT_ONCE)
        self._at = time.monotonic()

    def take(self, now: float) -> bool:
        """Whether there is room for one more."""
        grown = self._left + (now - self._at) * _RECORDS_PER_SECOND
        self._left, self._at = min(grown, float(_RECORDS_AT_ONCE)), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class RecordSender(logging.Handler):
    """Sends records, waiting while the daemon is busy; floods are cut and counted.

    Errors have room of their own, so that a flood of other lines costs none.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._send = send
        self._errors, self._others = _Bucket(), _Bucket()
        self._lost, self._told_at = 0, time.monotonic()
        self._plain = set(logging.makeLogRecord({}).__dict__) | {"message", "taskName"}

    def emit(self, record: logging.LogRecord) -> None:
        """Send it, or count it as lost."""
        now = time.monotonic()
        bucket = self._errors if record.levelno >= logging.ERROR else self._others
        if bucket.take(now):
            self._send(self._said(record))
        else:
            self._lost += 1
        if now - self._told_at >= _TELL_LOST_SECONDS:  # the run may be ended before it tells
            self._told_at = now
            self.tell_lost()

    def tell_lost(self) -> None:
        """Say how many were lost since this was said last."""
        if self._lost:
            self._send({"t": "lost", "count": self._lost})
            self._lost = 0

    def _said(self, record: logging.LogRecord) -> dict[str, Any]:
        try:
            message = record.getMessage()
        except Exception as error:  # noqa: BLE001  a wrong format string must not end the run
            message = f"{record.msg!r} (cannot be formatted: {error})"
        error_of = record.exc_info[1] if record.exc_info else None
        extra = {
            k: v if isinstance(v, bool | int | float) else str(v)[:_MESSAGE_CHARS]
            for k, v in record.__dict__.items()
            if k not in self._plain
        }
        return {
            "t": "log",
            "name": record.name,
            "level": record.levelno,
            "at": record.created,
            "message": message[:_MESSAGE_CHARS],
            "trace": trace(error_of) if error_of else None,
            "extra": extra,
        }


def replay(said: dict[str, Any]) -> None:
    """Log in the daemon what was logged in the worker process."""
    logger = logging.getLogger(str(said["name"]))
    level = int(said["level"])
    if not logger.isEnabledFor(level):
        return
    text = str(said["message"]) + (f"\n{said['trace']}" if said["trace"] else "")
    record = logger.makeRecord(logger.name, level, "(worker)", 0, text, (), None)
    record.created = float(said["at"])
    for name, value in said["extra"].items():
        record.__dict__.setdefault(name, value)
    logger.handle(record)
