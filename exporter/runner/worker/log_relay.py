"""A log record's way from the worker process to the exporter's log: both ends of it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from exporter.redaction.truncate import LONGEST_STACK, LONGEST_TEXT, TruncatedStr, mask_window

_RECORDS_AT_ONCE = 2000
_RECORDS_PER_SECOND = 200.0
_REPORT_DROPPED_SECONDS = 1.0
_LONGEST_LINE = 1 << 19
_LARGEST = 1 << 63
_DEEPEST = 20
_KEPT = ("message", "event", "symbol", "duration_seconds", "error_type", "error_message", "stack")
"""The fields of a line that is too long."""
_FORMAT = logging.Formatter()


class _Bucket:
    """So many at once, and then so many a second."""

    def __init__(self) -> None:
        self._left = float(_RECORDS_AT_ONCE)
        self._at = time.monotonic()

    def allows(self, now: float) -> bool:
        """Whether there is room for one more."""
        grown = self._left + (now - self._at) * _RECORDS_PER_SECOND
        self._left, self._at = min(grown, float(_RECORDS_AT_ONCE)), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class RecordSender(logging.Handler):
    """Sends records, waiting while the exporter is busy; floods are dropped and counted.

    Errors have room of their own, so that a flood of other lines costs none.
    """

    def __init__(self, send: Callable[[str], None]) -> None:
        super().__init__()
        self._send = send
        self._errors, self._others = _Bucket(), _Bucket()
        self._dropped, self._reported_at = 0, time.monotonic()
        self._plain = set(logging.makeLogRecord({}).__dict__) | {"message", "taskName"}

    def emit(self, record: logging.LogRecord) -> None:
        """Send it, or count it as dropped."""
        now = time.monotonic()
        bucket = self._errors if record.levelno >= logging.ERROR else self._others
        if bucket.allows(now):
            try:
                self._send(self._serialised(record))
            except Exception:  # noqa: BLE001  logging never ends what it reports
                self._dropped += 1
        else:
            self._dropped += 1
        if now - self._reported_at >= _REPORT_DROPPED_SECONDS:
            self._reported_at = now
            self.report_dropped()

    def report_dropped(self) -> None:
        """Report how many were dropped since the last report."""
        if self._dropped:
            self._send(json.dumps({"t": "lost", "count": self._dropped}))
            self._dropped = 0

    def _serialised(self, record: logging.LogRecord) -> str:
        extra = {
            k: _value(v)
            for k, v in record.__dict__.items()
            if k not in self._plain and v is not None
        }
        fields = {"message": _message(record), **_error(record), **extra}
        text = _line(record, fields)
        if len(text) > _LONGEST_LINE:
            text = _line(record, {k: fields[k] for k in _KEPT if k in fields} | {"cut": True})
        return text


def _line(record: logging.LogRecord, fields: Mapping[str, Any]) -> str:
    sent, missing = {}, {}
    for name, value in fields.items():
        sent[name] = value
        if isinstance(value, str):
            # The exporter masks it and cuts it then: here half a secret would be left.
            sent[name] = mask_window(value, LONGEST_STACK if name == "stack" else LONGEST_TEXT)
            if more := len(value) - len(sent[name]):
                missing[name] = more
    return json.dumps(
        {
            "t": "log",
            "name": record.name,
            "level": record.levelno,
            "at": record.created,
            "fields": sent,
            "missing": missing,
        }
    )


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001  a wrong format string must not end the run
        return f"{_text_of(record.msg)} (cannot be formatted: {error})"


def _error(record: logging.LogRecord) -> dict[str, str]:
    """The fields that a coroutine's line has of an exception."""
    error = record.exc_info[1] if record.exc_info else None
    if record.exc_info and error is not None:
        return {
            "error_type": type(error).__qualname__,
            "error_message": _text_of(error),
            "stack": _FORMAT.formatException(record.exc_info),
        }
    stack = record.exc_text or record.stack_info
    return {"stack": str(stack)} if stack else {}


def _value(value: Any) -> Any:
    """As JSON has it, when it does and it is neither long nor deep; else as text."""
    if isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < _LARGEST else _text_of(value)
    if not isinstance(value, dict | list | tuple):
        return _text_of(value)
    try:
        text = json.dumps(value, default=_text_of)
        made = json.loads(text) if len(text) <= LONGEST_TEXT else None
    except (TypeError, ValueError, RecursionError):  # keys of other types, a cycle, endless nesting
        made = None
    return _text_of(value) if made is None or not _is_flat(made, _DEEPEST) else made


def _is_flat(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_flat(each, levels - 1) for each in inner)


def _text_of(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  a user's __str__ may raise anything
        return f"({type(value).__name__} without a text)"


def replay(sent: dict[str, Any]) -> None:
    """Log in the exporter what was logged in the worker process."""
    logger = logging.getLogger(str(sent["name"]))
    level = int(sent["level"])
    if not logger.isEnabledFor(level):
        return
    missing = sent["missing"]
    fields = {
        k: TruncatedStr(v, missing[k]) if k in missing else v for k, v in sent["fields"].items()
    }
    message = fields.pop("message")
    record = logger.makeRecord(logger.name, level, "(worker)", 0, message, (), None)
    record.created = float(sent["at"])
    for name, value in fields.items():
        record.__dict__.setdefault(name, value)
    logger.handle(record)
