"""Lines of JSON as text in which patterns are looked for: "level logger message error".

Programs name these fields in many ways, put them into an object of their own, write levels as
numbers, and wrap each other's lines; what is not recognised is searched as it is.
"""

from __future__ import annotations

import json
from typing import Any

from exporter.logs.reader import Record, parse

_LEVELS = (
    "level", "levelname", "severity", "lvl", "log.level", "@level", "PRIORITY", "SeverityText",
    "severity_text", "levelno", "loglevel",
)  # fmt: skip
_LOGGERS = ("logger", "name", "logger_name", "log.logger", "target", "SYSLOG_IDENTIFIER")
_MESSAGES = (
    "message", "msg", "event", "log", "MESSAGE", "short_message", "@message", "Body", "body",
    "text",
)  # fmt: skip
_ERRORS = (
    "error", "err", "exception", "exc_info", "exc_text", "error.message", "stack_trace", "thrown",
    "Exception",
)  # fmt: skip
"""What went wrong, of lines whose message says only where: of zap, zerolog, pino, Python, ECS,
log4j, Serilog."""
_PARTS = ("type", "exc_type", "name", "message", "value", "exc_value")
_CAUSES = ("cause", "exception", "values", "errors", "inner")
_MOST_CAUSES = 5
_WITHIN = ("fields", "record", "attributes", "log")
"""Objects that may have these fields instead: of Rust's tracing, Loguru, ECS."""
_ERRORS_AND_FIELDS = frozenset([*_ERRORS, "fields"])
_SYSLOG = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
"""Numbers of syslog and of systemd's journal."""
_PINO = {10: "trace", 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal"}
_PYTHON = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}
_MOST_WRAPPINGS = 3


def json_as_text(block: bytes, message_key: str | None = None) -> tuple[bytes, int]:
    """A block of JSON lines as text to search, and how many lines were no JSON object: those are
    searched as they are.

    `message_key` names the field that has the message, with dots for objects within objects.
    """
    texts, broken = [], 0
    for line in block[:-1].split(b"\n"):
        record = parse(line) or _parse_leniently(line)
        if record is not None:
            text = _text(record, line, message_key)
            texts.append(text.replace("\n", " ").encode("utf-8", "replace"))
        else:
            texts.append(line)
            broken += bool(line.strip())
    return b"\n".join([*texts, b""]), broken


def _parse_leniently(line: bytes) -> Record | None:
    """What programs write for JSON though it is none: NaN for a price, bytes that are not UTF-8, a
    byte order mark, raw control characters."""
    if b"{" not in line:
        return None
    try:
        record = json.loads(line.decode("utf-8-sig", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _text(record: Record, line: bytes, message_key: str | None) -> str:
    """The text of a record; of one without a message that is known, the line itself."""
    if message_key is None and (usual := _usual_text(record)):
        return usual
    found = _fields(record, message_key, _MOST_WRAPPINGS)
    return line.decode("utf-8", "replace") if found is None else " ".join(found)


def _usual_text(record: Record) -> str:
    """Of a record with the usual names, which most have; the rest takes three times as long."""
    level, message = record.get("level"), record.get("message")
    logger = record.get("logger") or record.get("name")
    if not (level and isinstance(level, str) and isinstance(logger, str)):
        return ""
    if not (message and isinstance(message, str)) or message[0] == "{" or "record" in record:
        return ""
    if not _ERRORS_AND_FIELDS.isdisjoint(record):
        return ""
    return f"{level} {logger} {message}"


def _fields(record: Record, message_key: str | None, wrappings: int) -> tuple[str, ...] | None:
    """Level, logger and message, and what went wrong where the record says so."""
    inner = record.get("record")
    if isinstance(inner, dict) and "message" in inner:
        record = inner  # Loguru's own level and name are in there, too
    message = _at(record, message_key) if message_key else _first(record, _MESSAGES)
    if message is None:
        return None
    text = _said(message)
    if not message_key and wrappings and text.startswith("{"):
        # Docker and the journal wrap the lines of a program, which may be JSON themselves.
        wrapped = parse(text.encode("utf-8", "replace"))
        if wrapped is not None and (found := _fields(wrapped, None, wrappings - 1)) is not None:
            return found
    found = _level(record), _said(_first(record, _LOGGERS)), text.rstrip("\n")
    error = "" if message_key else _error(record)
    return (*found, error) if error and error not in text else found


def _first(record: Record, names: tuple[str, ...]) -> Any:
    """The first of the fields that says something, here or in an object within; None if there is
    none, and what is empty if there is nothing else."""
    empty = None
    for name in names:
        value = record.get(name)
        if value is not None and not (isinstance(value, dict) and name != "level"):
            if value != "":
                return value
            empty = value
    for within in _WITHIN:
        inner = record.get(within)
        if isinstance(inner, dict):
            for name in names:
                value = inner.get(name)
                if value is not None and not isinstance(value, dict):
                    return value
    return empty


def _error(record: Record) -> str:
    """An error's text, or type and message of one that is an object; empty when there is none."""
    for where in (record, *(record.get(name) for name in _WITHIN)):
        if isinstance(where, dict):
            for name in _ERRORS:
                if text := _error_text(where.get(name), _MOST_CAUSES):
                    return text
    return ""


def _error_text(value: Any, deep: int) -> str:
    """Type and message of an error and of those that caused it, which say why: objects within
    objects (log4j, .NET, Node), or a list of them (structlog, Sentry)."""
    if isinstance(value, str):
        return value
    if deep <= 0:
        return ""
    if isinstance(value, list):
        texts = [_error_text(one, deep - 1) for one in value[:_MOST_CAUSES]]
    elif isinstance(value, dict):
        parts = [value.get(part) for part in _PARTS]
        texts = [_said(part) for part in parts if not isinstance(part, dict | list)]
        texts += [_error_text(value.get(cause), deep - 1) for cause in _CAUSES]
    else:
        return ""
    return " ".join(text for text in texts if text)


def _at(record: Record, path: str) -> Any:
    if path in record:
        return record[path]
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _said(value: Any) -> str:
    """A field as text. The journal exports a text with colours, or of unknown encoding, as a list
    of its bytes."""
    if value is None:
        return ""
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        return bytes(item % 256 for item in value).decode("utf-8", "replace")
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _level(record: Record) -> str:
    for name in _LEVELS:
        value = _first(record, (name,))
        if isinstance(value, dict):
            value = value.get("name")
        if value is None or value == "" or isinstance(value, bool):
            continue
        try:
            number = int(value)
        except (TypeError, ValueError):
            return _said(value)
        numbers = _PYTHON if name == "levelno" else _PINO
        if 0 <= number < len(_SYSLOG):
            return _SYSLOG[number]
        return numbers.get(number - number % 10, str(value))
    return ""
