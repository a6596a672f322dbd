"""The one parser of fills and positions, for requests and tasks. Numbers keep all their digits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from exporter.state.ledger import EquityEntry, Fill, Position
from exporter.strategies.equity_point import EquityPoint, parse_timestamp

MOST_POSITIONS = 500
FILE_ORIGIN = "file"
"""Of points that an equity file has."""
_LONGEST_ID = 128
_LONGEST_SYMBOL = 32


def parse_fill(body: Mapping[str, Any], zone: ZoneInfo, default_at: float) -> Fill:
    """A fill as somebody says it. Raises :class:`ValueError`, or KeyError for a missing field."""
    side = str(body["side"]).lower()
    if side not in ("buy", "sell"):
        raise ValueError(f"side must be buy or sell, not {body['side']!r}")
    quantity, fee = body.get("quantity"), body.get("fee")
    found = Fill(
        parse_symbol(body["symbol"]),
        side,
        parse_timestamp(body["timestamp"], zone) if "timestamp" in body else default_at,
        exact(body["price"], "price"),
        None if quantity is None else exact(quantity, "quantity"),
        None if fee is None else exact(fee, "fee"),
        _text(body, "currency", 8),
        _text(body, "order", _LONGEST_ID),
        _text(body, "id", _LONGEST_ID),
    )
    if found.quantity is not None and found.quantity <= 0:
        raise ValueError("quantity must be more than 0: `side` says which way")
    return with_id(found)


def with_id(fill: Fill) -> Fill:
    """A fill without an id of its own gets one of what it says: sent again, it is the same."""
    if fill.id:
        return fill
    said = (fill.symbol, fill.side, fill.at, fill.price, fill.quantity, fill.fee, fill.order)
    return replace(fill, id=hashlib.sha256(repr(said).encode()).hexdigest()[:32])


def parse_positions(body: Mapping[str, Any]) -> list[Position]:
    """All that is held: ``{"positions": [{symbol, quantity, price?}]}``; an empty list is flat.

    Raises :class:`ValueError`, or KeyError for a missing field.
    """
    given = body["positions"]
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise ValueError("positions must be a list of objects with symbol and quantity")
    if len(given) > MOST_POSITIONS:
        raise ValueError(f"{len(given)} positions are too many; {MOST_POSITIONS} at most")
    found = [
        Position(
            parse_symbol(one["symbol"]),
            exact(one["quantity"], "quantity"),
            None if one.get("price") is None else exact(one["price"], "price"),
        )
        for one in given
    ]
    symbols = [one.symbol for one in found]
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if twice:
        raise ValueError(f"{twice[0]} is listed twice: add its quantities up")
    return [one for one in found if one.quantity]


def entry_of(point: EquityPoint, body: Mapping[str, Any] | None = None) -> EquityEntry:
    """A point as the ledger keeps it, with the digits and the id of what was sent."""
    said = body or {}
    flow = said.get("flow")
    return EquityEntry(
        point.at,
        exact(said.get("equity", point.equity), "equity"),
        exact(point.flow if flow is None else flow, "flow"),
        _text(said, "id", _LONGEST_ID) or f"{point.at!r}={point.equity!r}",
    )


def file_entry(point: EquityPoint) -> EquityEntry:
    """A row of an equity file as the ledger keeps it; one that was posted, too, is the same."""
    return replace(entry_of(point), origin=FILE_ORIGIN)


def exact(value: Any, name: str) -> Decimal:
    """A number, or a text with one, with all its digits. Raises :class:`ValueError`."""
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
            raise ValueError
        found = Decimal(repr(value) if isinstance(value, float) else str(value).strip())
        if not found.is_finite() or abs(found.adjusted()) > 40 or len(found.as_tuple().digits) > 60:
            raise ValueError
    except (ValueError, InvalidOperation):
        raise ValueError(f"{name} must be a number, not {value!r}") from None
    return found


def parse_symbol(symbol: Any) -> str:
    """A symbol that can be a label. Raises :class:`ValueError`."""
    text = isinstance(symbol, str) and not re.search(r"[|\x00-\x1f\x7f-\x9f]", symbol)
    if not text or not 0 < len(symbol) <= _LONGEST_SYMBOL:
        raise ValueError(f"symbol must be a short text, not {symbol!r}")
    return str(symbol)


def _text(body: Mapping[str, Any], name: str, longest: int) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"{name} must be a text of {longest} characters at most, not {value!r}")
    return value
