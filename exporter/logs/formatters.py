"""One log record to one line: JSON for files, text for people.

The stable fields of a JSON line are those of :data:`STABLE` (timestamp in UTC), omitted when
empty; the fields of ``extra`` follow. Long values are truncated, so that no line is endless.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from math import isfinite
from typing import Any

import orjson
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.orjson import OrjsonFormatter

from exporter.logs.queue_writer import Line
from exporter.redaction.mask import Mask
from exporter.redaction.truncate import LONGEST_STACK, LONGEST_TEXT, chars_missing, truncate_masked
from exporter.util.clock import Clock
from exporter.util.printable import clean

STABLE = (
    "timestamp", "level", "logger", "event", "message", "task", "run_id", "symbol",
    "duration_seconds", "error_type", "error_message", "stack",
)  # fmt: skip
LONGEST_LINE = 128_000
"""Bytes; a line with more loses its extra fields."""

_FIRST = ("task", "run_id", "symbol", "duration_seconds")
_NOT_EXTRA = frozenset([*RESERVED_ATTRS, "taskName", "event", *_FIRST])
_LEVELS = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}


def level_name(levelno: int) -> str:
    """One of metrics.LOG_LEVELS; levels in between become the one below."""
    known = _LEVELS.get(levelno)
    return known or next((_LEVELS[n] for n in (50, 40, 30, 20) if levelno >= n), "debug")


class JsonLines(OrjsonFormatter):
    """Records to masked JSON lines, with the passed clock's time."""

    def __init__(self, mask: Mask, clock: Clock) -> None:
        super().__init__()
        self._mask, self._clock = mask, clock
        self._second, self._second_text = -1, ""

    def make(self, record: logging.LogRecord) -> Line:
        """The record as a masked line. Never raises for bad data."""
        data, at = self.data(record)
        content = _dump(data)
        if len(content) > LONGEST_LINE:
            data = {k: data[k] for k in STABLE if k in data} | {"cut": True}
            content = _dump(data)
        if self._mask.suspects(content):
            data = self._mask.value(orjson.loads(content))
            content = _dump(data)
        event = data.get("event")
        return Line(at, data["level"], record.name, event, content)

    def format(self, record: logging.LogRecord) -> str:
        """The line as a string, without the line feed, for any other handler."""
        return self.make(record).content.decode().rstrip("\n")

    def data(self, record: logging.LogRecord) -> tuple[dict[str, Any], float]:
        """The fields of the line in their order, not yet masked, and the line's time."""
        own = record.__dict__
        at = self._clock.now()
        data: dict[str, Any] = {
            "timestamp": self._timestamp(at),
            "level": level_name(record.levelno),
            "logger": record.name,
        }
        if (event := own.get("event")) is not None:
            data["event"] = self._cut(str(event), 100)
        if isinstance(record.msg, dict):  # python-json-logger's way to log fields alone
            own = {**own, **{str(k): v for k, v in record.msg.items()}}
            data["message"] = self._cut(str(own.get("message", "")))
        else:
            data["message"] = self._cut(_message(record))
        for name in _FIRST:
            if (value := own.get(name)) is not None and not _is_odd(value):
                data[name] = self._short(value)
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            data["error_type"] = type(error).__qualname__
            data["error_message"] = self._cut(_words(error))
            data["stack"] = self._cut(str(self.formatException(record.exc_info)), LONGEST_STACK)
        elif record.exc_text:
            data["stack"] = self._cut(record.exc_text, LONGEST_STACK)
        if record.stack_info:
            data.setdefault("stack", self._cut(str(record.stack_info), LONGEST_STACK))
        for name, value in own.items():
            if name not in _NOT_EXTRA and value is not None:
                # A stable field that the record itself has (from a worker) stays as it is.
                if name in ("error_type", "error_message", "stack"):
                    longest = LONGEST_STACK if name == "stack" else LONGEST_TEXT
                    data[name] = self._cut(str(value), longest)
                else:
                    data[f"extra_{name}" if name in data else name] = self._short(value)
        return data, at

    def _cut(self, text: str, longest: int = LONGEST_TEXT) -> str:
        """`text`, or its masked beginning and the number of characters that are missing."""
        more = len(text) + chars_missing(text) - longest
        if more <= 0:
            return text
        return f"{truncate_masked(text, longest, self._mask.text)}… ({more} characters more)"

    def _short(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._cut(value)
        if isinstance(value, int | float):
            return str(value) if _is_odd(value) else value
        return value if len(text := _text(value)) <= LONGEST_TEXT else self._cut(text)

    def _timestamp(self, at: float) -> str:
        second = int(at // 1)
        if second != self._second:
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second, self._second_text = second, text
            return f"{text}.{int((at - second) * 1000):03d}Z"
        return f"{self._second_text}.{int((at - second) * 1000):03d}Z"


def _is_odd(value: Any) -> bool:
    """Whether it is a number that JSON does not have: it would become null."""
    return isinstance(value, float) and not isfinite(value)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - a bad format string must not lose the line
        return f"{_words(record.msg)} {_text(record.args)} (cannot be formatted: {error})"


def _words(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - an exception whose text raises is still an exception
        return "(its text could not be made)"


def _text(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - see above
        return f"({type(value).__name__} without a text)"


_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


def _dump(data: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(data, default=_text, option=_OPTIONS)
    except (TypeError, ValueError, RecursionError):
        # Lone surrogates, numbers over 64 bits, keys of other types, deep nesting: as text.
        plain = {_utf8(str(k)): _plain(v) for k, v in data.items()}
        return orjson.dumps(plain, option=_OPTIONS)


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    return _utf8(value if isinstance(value, str) else _text(value))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


_QUOTED = re.compile(r"[\s\"=]")
_COLOURS = {"debug": "2", "info": "36", "warning": "33", "error": "31", "critical": "1;31"}
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


_IN_HEAD = frozenset(["timestamp", "level", "logger", "event", "message", "task", "stack"])
_IN_HEAD_AND_ERROR = _IN_HEAD | {"error_message"}
_OF_ALERT = frozenset([
    "alert", "alertname", "fingerprint", "receiver", "severity", "starts_at", "status",
])  # fmt: skip
"""The message says them; programs find them in the file."""


class Readable:
    """The fields of a line as text for people.

    `style`: "plain", "colour", or "journal" (priority in front, no time: the journal has its own).
    """

    def __init__(self, zone: tzinfo, style: str, *, dates: bool = False) -> None:
        self._zone, self._style = zone, style
        self._time = "%Y-%m-%d %H:%M:%S" if dates else "%H:%M:%S"

    def text(self, data: Mapping[str, Any]) -> str:
        """One line, and the stack below it, each ending with a line feed."""
        level = str(data.get("level", "info"))
        shown = "stack" in data or str(data.get("error_message")) in str(data.get("message"))
        known = _IN_HEAD_AND_ERROR if shown else _IN_HEAD
        if isinstance(data.get("alert"), dict):
            known |= _OF_ALERT
        rest = " ".join([f"{k}={_word(v)}" for k, v in data.items() if k not in known])
        logger = str(data.get("logger", "")).removeprefix("exporter.")
        task = f" [{data['task']}]" if data.get("task") else ""
        text = f"{logger}{task}: {data.get('message', '')}"
        below = str(data.get("stack", "")).splitlines()
        lines = [*text.splitlines(), *below]
        lines = [lines[0], *(f"    {line}" for line in lines[1:])]
        lines, rest = [clean(line) for line in lines], clean(rest)
        if self._style == "journal":
            first = f"{lines[0]}  {rest}" if rest else lines[0]
            return "".join(f"<{_PRIORITIES.get(level, 6)}>{t}\n" for t in [first, *lines[1:]])
        head = f"{self._local(data)} {clean(level.upper()):<8}"
        if self._style == "colour":
            head = f"\x1b[{_COLOURS.get(level, '0')}m{head}\x1b[0m"
            rest = f"\x1b[2m{rest}\x1b[0m" if rest else ""
        first = f"{head} {lines[0]}  {rest}" if rest else f"{head} {lines[0]}"
        return "\n".join([first, *lines[1:]]) + "\n"

    def _local(self, data: Mapping[str, Any]) -> str:
        stamp = str(data.get("timestamp", ""))
        try:
            moment = datetime.fromisoformat(stamp)
            return moment.astimezone(self._zone).strftime(self._time)
        except (ValueError, OverflowError):
            return clean(stamp)


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value if value and not _QUOTED.search(value) else repr(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    # As in the JSON line, which was looked through for secrets: an object's str may reveal more.
    return _dump({"": value}).decode()[len('{"":') : -len("}\n")]
