"""What is wrong with a value and what to write instead, for the person who wrote it."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

_EXAMPLES: Mapping[str, str] = {
    "after": "[fetch_history]",
    "allowed_hosts": "[quant.example.com]",
    "closed": "[2026-12-24]",
    "code": "[strategies/]",
    "command": "[./rebalance.sh, --live]",
    "currency": "USD",
    "cwd": "bots/",
    "env": "{MODE: live}",
    "early_close": '{2026-12-24: "13:00"}',
    "exchange": "XNYS",
    "hours": '"09:30-16:00"',
    "folder": "var/metrics",
    "help": "Open positions",
    "ignore": "{GME.US: {until: 2026-12-04, reason: halted}}",
    "interval": "1m",
    "labels": "[strategy]",
    "late_open": '{2026-12-24: "11:00"}',
    "days": "mon-fri",
    "limits": "{memory: 1GB, cpu: 10m}",
    "listen": "127.0.0.1:10077",
    "max": "{warning: 10, critical: 20}",
    "min": "{warning: 2, critical: 1}",
    "pause": "[rebalance]",
    "strategies": "[momentum]",
    "max_drawdown": "{warning: 5%, critical: 10%}",
    "max_overdue": "{critical: 2h}",
    "max_spread": "{warning: 0.5%}",
    "on": "[2026-12-24]",
    "max_unchanged": "30",
    "params": "{size: 10}",
    "path": "/var/log/broker.log",
    "patterns": "{fills: FILLED}",
    "nothing_on": "[3]",
    "retry_on": "[75]",
    "schedule": "`mon-fri 07:00` or `every 30m`",
    "scope": "system or user",
    "service": "bot.service",
    "secrets": "[BROKER_KEY]",
    "sender": "quant@example.com",
    "smtp": "smtp.example.com:587",
    "source": "a name from `sources:`",
    "success_codes": "[0, 1]",
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
    "date_type": "a date such as 2026-12-24",
    "date_parsing": "a date such as 2026-12-24",
    "date_from_datetime_parsing": "a date such as 2026-12-24",
}

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


def shown(value: Any) -> str:
    """The value as written, cut where it is long."""
    return _repr.repr(value)


def text(detail: Mapping[str, Any], key: str, known: Iterable[str]) -> str:
    """One of pydantic's error details in our words. `key` is the last key of its place, `known`
    are the keys that are allowed there."""
    kind, value, context = detail["type"], detail.get("input"), detail.get("ctx", {})
    example = _EXAMPLES.get(key) if detail["loc"] and detail["loc"][-1] == key else None
    as_in = f", such as {example}" if example else ""
    match kind:
        case "extra_forbidden":
            problem = f"unknown key: {_suggestion(key, known)}"
        case "missing":
            problem = f"missing: add it, for example {example}" if example else "missing"
        case "value_error":
            problem = str(context["error"])
        case "literal_error":
            problem = f"unknown value {shown(value)}: write {context['expected']}"
        case "greater_than_equal":
            problem = f"{shown(value)} is too small: write {context['ge']} or more"
        case "less_than_equal":
            problem = f"{shown(value)} is too large: write {context['le']} or less"
        case "too_short":
            problem = f"empty: name at least one{as_in}"
        case "string_pattern_mismatch":
            problem = f"invalid value {shown(value)}: write capital letters{as_in}"
        case _ if kind in _KINDS:
            problem = f"invalid value {shown(value)}: write {_KINDS[kind]}{as_in}"
        case _:
            message = str(detail["msg"])
            problem = f"{message[0].lower()}{message[1:]}, not {shown(value)}"
    return problem


def _suggestion(key: str, known: Iterable[str]) -> str:
    meant = likely(key, known)
    return f"did you mean {meant}?" if meant else f"write one of {', '.join(sorted(known))}"


def unknown_task(name: str, known: Iterable[str]) -> str:
    """For whoever named a task that is not configured."""
    meant = likely(name, known)
    return f"there is no task {name!r}" + (f": did you mean {meant}?" if meant else "")


def likely(key: str, known: Iterable[str]) -> str | None:
    """The key that was probably meant."""
    return next(iter(difflib.get_close_matches(key, list(known), 1)), None)
