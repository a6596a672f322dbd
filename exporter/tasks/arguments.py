"""Checks of what a user's code passes to a context: an error names the wrong line.

Light on purpose: it is loaded before every run of a plain function.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from exporter.redaction.truncate import LONGEST_TEXT, mask_window

Moment = datetime | date | float
Number = float | str | Decimal
"""A moment: a datetime with a zone, a date (00:00 UTC of that day), or Unix seconds."""

INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "1d", "1w", "1M")


def unix_seconds(name: str, value: object) -> float:
    """`value` in Unix seconds. Raises :class:`TypeError`."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise _wrong(
                f"{name} is a datetime without a zone ({value.isoformat(' ')}); give it one, for "
                'example tzinfo=UTC or tzinfo=ZoneInfo("America/New_York")'
            )
        return value.timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise _wrong(
            f"{name} is {_described(value)}; pass a datetime with a zone, a date (00:00 UTC of "
            "that day), or Unix seconds"
        )
    seconds = float(value)
    if not -1e11 < seconds < 1e11:
        raise _wrong(f"{name} is {value!r}, which is not in seconds; divide milliseconds by 1000")
    return seconds


def symbol_list(value: object) -> list[str]:
    """The symbols of a list, tuple or set. Raises :class:`TypeError`."""
    if isinstance(value, str):
        raise _wrong(f"symbols is one text, {value!r}; pass a list: [{value!r}]")
    if not isinstance(value, Iterable):
        raise _wrong(f"symbols is {_described(value)}; pass a list of texts, as ['AAPL.US']")
    return [one_symbol(each) for each in value]


def one_symbol(value: object) -> str:
    """A symbol. Raises :class:`TypeError`."""
    if not isinstance(value, str) or not value:
        raise _wrong(f"a symbol is {_described(value)}; pass a text, as 'AAPL.US'")
    return value


def known_interval(value: object) -> str:
    """An interval of bars. Raises :class:`TypeError`."""
    if value not in INTERVALS:
        raise _wrong(f"interval is {value!r}; pass one of {' '.join(INTERVALS)}")
    return str(value)


def message_text(value: object) -> str:
    """A message's text, no longer than is sent of it. Raises :class:`TypeError`."""
    if not isinstance(value, str) or not value.strip():
        raise _wrong(f"the message is {_described(value)}; pass a text")
    return mask_window(value, LONGEST_TEXT)


def channel_list(value: object) -> list[str] | None:
    """Names of channels: one, several, or None for the usual ones. Raises :class:`TypeError`."""
    if value is None:
        return None
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
        raise _wrong(f"to is {_described(value)}; pass a channel's name, or a list of names")
    return list(names)


def metric_number(value: object) -> float | str | None:
    """A metric's value as JSON can carry it; what is not a number goes as a text, to be refused."""
    if value is None or isinstance(value, str):
        return value
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return f"a {type(value).__qualname__}"


def fill_arguments(
    symbol: object,
    side: object,
    at: Moment | None,
    numbers: Mapping[str, object],
    texts: Mapping[str, str],
) -> dict[str, Any]:
    """A fill as JSON can carry it. Raises :class:`TypeError`."""
    said: dict[str, Any] = {"symbol": one_symbol(symbol), "side": side, **texts}
    for name, value in numbers.items():
        if value is not None:
            said[name] = exact_number(name, value)
    return said if at is None else said | {"timestamp": unix_seconds("at", at)}


def equity_arguments(equity: object, flow: object, id: str, at: Moment | None) -> dict[str, Any]:
    """A point of equity as JSON can carry it. Raises :class:`TypeError`."""
    said = {"equity": exact_number("equity", equity), "flow": exact_number("flow", flow), "id": id}
    return said if at is None else said | {"timestamp": unix_seconds("at", at)}


def exact_number(name: str, value: object) -> float | str:
    """A number with all its digits: a Decimal as text. Raises :class:`TypeError`."""
    if isinstance(value, (str, Decimal)):
        return str(value)
    try:
        number = float("nan") if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not math.isfinite(number):
        raise _wrong(f"{name} is {_described(value)}; pass a number, a Decimal or a text with one")
    return number


def _wrong(text: str) -> TypeError:
    """The error, with the file and line of the code that called the context."""
    frame = sys._getframe()
    while frame.f_back is not None and _is_ours(str(frame.f_globals.get("__name__", ""))):
        frame = frame.f_back
    place = f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}"
    return TypeError(f"{text} ({place})")


def _is_ours(module: str) -> bool:
    return module.startswith("exporter.tasks.") and not module.startswith("exporter.tasks.builtin")


def _described(value: object) -> str:
    if value is None:
        return "None"
    text = repr(value)
    kind = type(value).__qualname__
    return f"{text} ({kind})" if len(text) <= 60 else f"a {kind}"
