"""One HTTP answer of TickDB to its data, or to the one :class:`SourceError` that it means.

Both documented versions of the API are read: an error's ``code`` is an int, a string of digits, or
words with the number in the message (``[1001] Invalid or expired token``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from exporter.sources import large_json
from exporter.sources.base import SourceError
from exporter.sources.rate_limiter import RATE_PAUSE_SECONDS
from exporter.sources.transport import LARGE_BYTES
from exporter.util.backoff import retry_after_seconds, server_time

RATE_PAUSE_CAP_SECONDS = 120.0
"""Longest pause after 3001, whatever the answer asks: a budget per minute is back long before."""
QUOTA_CAP_SECONDS = 86400.0
"""Longest stop after 3002: then one request finds out, for the quota may have been raised."""
_QUOTA_PROBE_SECONDS = 3600.0
_DOCUMENTED = {1001, 1002, 1003, 1004, 2001, 2002, 2003, 2004, 3001, 3002, 3003, 3009, 3010,
               5000, 5001, 5002, 5003}  # fmt: skip
_KNOWN_KINDS = ("application/json", "text/html", "text/plain", "text/xml", "application/xml")
_BOM = b"\xef\xbb\xbf"

Redact = Callable[[object], str]


def read_envelope(
    status: int, headers: Mapping[str, str], body: bytes | bytearray, now: float, redact: Redact
) -> Any:
    """The ``data`` of a good answer. Raises :class:`SourceError` for every other one."""
    if 300 <= status < 400:
        raise SourceError(
            "http",
            f"HTTP {status}: the server redirects, and the key is not sent elsewhere; "
            "correct the source's `url`",
        )
    envelope = _json(status, body)
    if not isinstance(envelope, dict) or not ({"code", "error"} & envelope.keys()):
        raise _no_envelope(status, headers, body, now)
    if _code(envelope) == 0 and status < 400:
        if "data" not in envelope:
            raise SourceError("malformed", "the answer has no `data`", retryable=True)
        return envelope["data"]
    message = redact(envelope.get("message") or envelope.get("error") or "no message")
    raise _failure(envelope, status, headers, now, message)


def refusal_in(message: Mapping[str, Any], now: float, redact: Redact) -> SourceError | None:
    """What a message of the WebSocket refuses; None where it refuses nothing. Those messages have a
    `code` or an `error` only when they answer something."""
    if not ({"code", "error"} & message.keys()):
        return None
    code = _code(message)
    if code in (0, 200):
        return None
    if code is None and not message.get("error") and message.get("code") in (None, "", False):
        return None
    words = redact(message.get("message") or message.get("error") or "no message")
    if code is None:
        return SourceError("malformed", f"the source answered: {words}")
    return _failure(message, 200, {}, now, words)


def _json(status: int, body: bytes | bytearray) -> Any:
    if body.startswith(_BOM):
        body = body[len(_BOM) :]
    try:
        if len(body) > LARGE_BYTES:
            return large_json.load(body)
        # Ten times as quick as the standard library, which also lets NaN and Infinity through.
        return orjson.loads(body)
    except (ValueError, RecursionError):
        return None
    except SourceError:
        if status < 400:
            raise
        return None  # then the status says what is wrong


def _code(envelope: Mapping[str, Any]) -> int | None:
    code = envelope.get("code")
    if isinstance(code, float) and code.is_integer():
        code = int(code)
    if isinstance(code, int) and not isinstance(code, bool):
        return code
    if isinstance(code, str) and re.fullmatch(r"[0-9]{1,6}", code.strip()):
        return int(code)
    words = [str(envelope.get(key))[:500] for key in ("message", "code", "error")]
    for text in words:
        found = re.search(r"\[(\d{4})\]", text)
        if found:
            return int(found[1])
    for text in words:  # without brackets it may be any number: only codes that are documented
        for number in re.findall(r"(?<![\d.])\d{4}(?![\d.]*\d)", text):
            if int(number) in _DOCUMENTED:
                return int(number)
    return None


def _failure(
    envelope: Mapping[str, Any], status: int, headers: Mapping[str, str], now: float, message: str
) -> SourceError:
    code = _code(envelope)
    data = envelope.get("data")
    asked = asked_pause(headers, data.get("reset_at") if isinstance(data, dict) else None, now)
    if code is None or code == 0:
        if status >= 400:
            return by_status(status, f"HTTP {status}: {message}", asked)
        return SourceError("malformed", "the answer's `code` is not a known code", retryable=True)
    text = f"the source answered {code}: {message}"
    reason, retryable, pause = "api", 5000 <= code < 6000 or status >= 500, None
    if 1000 <= code < 2000:
        reason, retryable = "auth", False
    elif code == 3001:
        reason, retryable, pause = "rate_limit", True, _rate_pause(asked)
    elif code == 3002:
        reason, retryable = "quota", False
        pause = max(1.0, min(asked or _quota_stop(now), QUOTA_CAP_SECONDS))
    elif code == 3003:  # connections: others may end meanwhile
        reason, retryable = "rate_limit", True
    return SourceError(reason, text, retryable=retryable, retry_after=pause, code=code)


def _no_envelope(
    status: int, headers: Mapping[str, str], body: bytes | bytearray, now: float
) -> SourceError:
    if status >= 400:
        return by_status(
            status, f"HTTP {status} without TickDB's envelope", asked_pause(headers, None, now)
        )
    declared = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    kind = declared if declared in _KNOWN_KINDS else "unknown type"
    return SourceError(
        "malformed",
        f"HTTP {status}, but no JSON envelope: {len(body)} bytes of {kind}",
        retryable=True,
    )


def by_status(status: int, text: str, asked: float | None) -> SourceError:
    """What a status of 4xx or 5xx means. `asked`: the pause that :func:`asked_pause` found."""
    if status in (418, 429):  # 418: Binance's, for who went on after 429
        return SourceError("rate_limit", text, retryable=True, retry_after=_rate_pause(asked))
    if status in (401, 403):
        return SourceError("auth", text)
    if asked is not None:
        asked = min(asked, RATE_PAUSE_CAP_SECONDS)
    return SourceError("http", text, retryable=status >= 500 or status == 408, retry_after=asked)


def asked_pause(headers: Mapping[str, str], reset_at: Any, now: float) -> float | None:
    """Seconds to wait as the answer asks; None when it does not, or that moment has passed."""
    pause = retry_after_seconds(headers, now)
    if pause is not None:
        return pause  # relative to the server's own clock, so better than reset_at
    at = timestamp_seconds(reset_at)
    left = 0.0 if at is None else at - server_time(headers, now)
    return left if left > 0 else None


def timestamp_seconds(value: Any) -> float | None:
    """Unix seconds or milliseconds, as a number, digits or ISO 8601, to seconds; else None."""
    if isinstance(value, str):
        if re.fullmatch(r"[0-9]{1,19}(\.[0-9]{1,10})?", value):
            value = float(value)
        else:
            try:
                at = datetime.fromisoformat(value[:40])
                return at.replace(tzinfo=at.tzinfo or UTC).timestamp()
            except (ValueError, OverflowError):
                return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return in_seconds(value)


def in_seconds(number: float) -> float | None:
    """A moment in seconds, milli-, micro- or nanoseconds to seconds: the size says which, between
    1973 and 5138. None for what is neither."""
    for unit in (1, 1e3, 1e6, 1e9):
        if 0 < number < 1e11 * unit:
            return number / unit
    return None


def _rate_pause(asked: float | None) -> float:
    return RATE_PAUSE_SECONDS if asked is None else min(asked, RATE_PAUSE_CAP_SECONDS)


def _quota_stop(now: float) -> float:
    # Quotas count days or months of UTC, so midnight may bring a new one; and one request an hour
    # is cheap against a day without data when the quota was raised meanwhile.
    return min(86400.0 - now % 86400.0, _QUOTA_PROBE_SECONDS)
