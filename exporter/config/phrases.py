"""What is wrong with a value, and what would be right, in words for the person who wrote it."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

_EXAMPLES: Mapping[str, str] = {
    "allowed_hosts": "[quant.example.com]",
    "closed": "[2026-12-24]",
    "code": "[strategies/]",
    "command": "[./rebalance.sh, --live]",
    "currency": "USD",
    "early_close": '{2026-12-24: "13:00"}',
    "exchange": "XNYS",
    "interval": "1m",
    "late_open": '{2026-12-24: "11:00"}',
    "listen": "127.0.0.1:10077",
    "max_drawdown": "{warning: 5%, critical: 10%}",
    "max_overdue": "{critical: 2h}",
    "max_spread": "{warning: 0.5%}",
    "params": "{size: 10}",
    "path": "/var/log/broker.log",
    "patterns": "{fills: FILLED}",
    "schedule": "`mon-fri 07:00` or `every 30m`",
    "sender": "quant@example.com",
    "smtp": "smtp.example.com:587",
    "source": "the name of one of `sources:`",
    "symbols": "[NVDA.US, TSLA.US]",
    "timezone": "America/New_York",
    "to": "[me@example.com]",
    "type": "tickdb or simulated",
    "write": "[/srv/data]",
}
_KINDS: Mapping[str, str] = {
    "tuple_type": "a list",
    "dict_type": "keys with their values",
    "mapping_type": "keys with their values",
    "model_type": "keys with their values",
    "string_type": "text, in quotes if it looks like a number",
    "path_type": "a path, in quotes if it looks like a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "finite_number": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "date_type": "a date, as 2026-12-24",
    "date_parsing": "a date, as 2026-12-24",
    "date_from_datetime_parsing": "a date, as 2026-12-24",
}

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


def shown(value: Any) -> str:
    """The value as written, cut where it is long."""
    return _repr.repr(value)


def text(detail: Mapping[str, Any], key: str, known: Iterable[str]) -> str:
    """One of pydantic's error details in our words. `key` is the last key of its place, `known`
    are the keys beside it."""
    kind, value, context = detail["type"], detail.get("input"), detail.get("ctx", {})
    example = _EXAMPLES.get(key) if detail["loc"] and detail["loc"][-1] == key else None
    as_in = f", as {example}" if example else ""
    match kind:
        case "extra_forbidden":
            said = f"unknown key; {_suggestion(key, known)}"
        case "missing":
            said = f"is missing; write {example}" if example else "is missing"
        case "value_error":
            said = str(context["error"])
        case "literal_error":
            said = f"{shown(value)} is not known; write {context['expected']}"
        case "greater_than_equal":
            said = f"{shown(value)} is too small; write {context['ge']} or more"
        case "less_than_equal":
            said = f"{shown(value)} is too large; write {context['le']} or less"
        case "too_short":
            said = f"is empty; name at least one{as_in}"
        case "string_pattern_mismatch":
            said = f"{shown(value)} does not belong here; write capital letters{as_in}"
        case _ if kind in _KINDS:
            said = f"{shown(value)} does not belong here; write {_KINDS[kind]}{as_in}"
        case _:
            message = str(detail["msg"])
            said = f"{message[0].lower()}{message[1:]}, not {shown(value)}"
    return said


def _suggestion(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(known), 1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(sorted(known))}"
