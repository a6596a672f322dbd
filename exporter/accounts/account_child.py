"""Runs a user's callable, a query or ccxt in its own process, and returns the answer.

The order is one JSON object on stdin, the answer one on stdout; what the code prints goes to
stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

MOST_ROWS = 10_000
_LONGEST = 500
_REASONS = (
    ("Authentication", "auth"), ("PermissionDenied", "auth"), ("RateLimit", "rate_limit"),
    ("DDoSProtection", "rate_limit"), ("Timeout", "timeout"), ("Network", "connect"),
    ("Connect", "connect"),
)  # fmt: skip
"""What is in the name of an exception's class, or of a base of it, and the reason that it means."""
_PROGRAMMING = (TypeError, NameError, AttributeError, ImportError, SyntaxError, KeyError)


def main() -> None:
    """Answer one order."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    order = json.load(sys.stdin)
    try:
        answer = {"reading": _KINDS[order["kind"]](order)}
        text = json.dumps(answer, default=_plain)
    except BaseException as error:  # noqa: BLE001  whatever it is, it is the outcome
        text = json.dumps({"failed": _failure(error)})
    answers.write(text)
    answers.flush()
    os._exit(0)  # threads of a library may not end


def _failure(error: BaseException) -> dict[str, Any]:
    names = [each.__name__ for each in type(error).__mro__]
    reason = next((r for part, r in _REASONS if any(part in name for name in names)), "api")
    said = " ".join(str(error).split())[:_LONGEST]
    return {
        "text": f"{names[0]}: {said}" if said else names[0],
        "reason": reason,
        "retryable": not isinstance(error, _PROGRAMMING) and reason != "auth",
    }


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return str(value)


def _call(order: Mapping[str, Any]) -> dict[str, Any]:
    """What the user's function returns: a number, a mapping, or a list of points."""
    sys.path[:0] = order["code"]
    module, _, name = order["run"].partition(":")
    said = getattr(importlib.import_module(module), name)(**order["params"])
    if isinstance(said, Mapping):
        known = {"equity", "fills", "positions", "flow", "timestamp", "id"}
        if unknown := sorted(set(said) - known):
            raise TypeError(f"{name} returned {unknown[0]!r}: return equity, fills or positions")
        if isinstance(said.get("equity"), (list, tuple)) or "equity" not in said:
            return {each: said[each] for each in ("equity", "fills", "positions") if each in said}
        point = {each: said[each] for each in known - {"fills", "positions"} if each in said}
        return {"equity": [point], **{k: said[k] for k in ("fills", "positions") if k in said}}
    if isinstance(said, (list, tuple)):
        return {"equity": list(said)}
    if said is None or isinstance(said, (str, bool)):
        raise TypeError(f"{name} returned {said!r}: return the equity, or a mapping with it")
    return {"equity": [{"equity": str(said)}]}


def _query(order: Mapping[str, Any]) -> dict[str, Any]:
    """Rows as mappings by the names of their columns."""
    with closing(_connect(order["database"], order["secret"], order["timeout"])) as db:
        return {
            part: _rows(db, question)
            for part, question in order["queries"].items()
            if question is not None
        }


def _rows(db: Any, question: str) -> list[dict[str, Any]]:
    cursor = db.cursor()
    cursor.execute(question)
    names = [column[0].lower() for column in cursor.description or ()]
    found = cursor.fetchmany(MOST_ROWS + 1)
    if len(found) > MOST_ROWS:
        raise ValueError(f"a query returns more than {MOST_ROWS} rows: select the newest")
    return [
        {name: _cell(value) for name, value in zip(names, row, strict=True) if value is not None}
        for row in found
    ]


def _cell(value: Any) -> Any:
    return value if isinstance(value, (int, float, str)) else _plain(value)


def _connect(database: str, secret: str, timeout: float) -> Any:
    scheme, _, rest = database.partition(":")
    if scheme in ("sqlite", "duckdb") and rest and not Path(rest).is_file():
        raise FileNotFoundError(f"there is no file {rest}")
    if scheme == "sqlite":
        return sqlite3.connect(f"file:{quote(rest)}?mode=ro", uri=True, timeout=5)
    if scheme == "duckdb":
        import duckdb

        return duckdb.connect(rest or ":memory:", read_only=bool(rest))
    # The server ends what takes too long: it would go on after the end of this process.
    options = f"-c default_transaction_read_only=on -c statement_timeout={timeout * 1000:.0f}"
    return _postgresql()(_with_password(database, secret), options=options)


def _postgresql() -> Callable[..., Any]:
    for name in ("psycopg", "psycopg2"):
        try:
            connect: Callable[..., Any] = importlib.import_module(name).connect
        except ImportError:
            continue
        return connect
    raise ImportError("PostgreSQL needs a driver: pip install 'psycopg[binary]'")


def _with_password(database: str, password: str) -> str:
    parts = urlsplit(database)
    if not password:
        return database
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}{at or '@'}{host}"))


def _ccxt(order: Mapping[str, Any]) -> dict[str, Any]:
    """Balances in the strategy's currency, by the last prices: https://docs.ccxt.com."""
    try:
        ccxt: Any = importlib.import_module("ccxt")
    except ImportError:
        raise ImportError("ccxt is not installed: pip install ccxt") from None
    settings = {**order["params"], "apiKey": order["key"], "secret": order["secret"]}
    exchange = getattr(ccxt, order["exchange"])(settings)
    quote_currency = order["currency"]
    totals = exchange.fetch_balance()["total"]
    held = {
        name: Decimal(str(total))
        for name, total in totals.items()
        if total and name not in order.get("ignore", ())
    }
    priced = [f"{name}/{quote_currency}" for name in held if name != quote_currency]
    markets = exchange.load_markets()
    if lacking := [pair.partition("/")[0] for pair in priced if pair not in markets]:
        raise ValueError(
            f"no market in {quote_currency} has a price of {', '.join(lacking[:5])}, so the equity "
            "is unknown: list under `ignore` what is not to count"
        )
    tickers = exchange.fetch_tickers(priced) if priced else {}
    equity, positions = held.get(quote_currency, Decimal(0)), []
    for name, quantity in held.items():
        if name == quote_currency:
            continue
        last = (tickers.get(f"{name}/{quote_currency}") or {}).get("last")
        if last is None:
            raise ValueError(f"{name} has no price in {quote_currency}, so the equity is unknown")
        equity += quantity * Decimal(str(last))
        positions.append({"symbol": name, "quantity": str(quantity), "price": str(last)})
    return {"equity": [{"equity": str(equity)}], "positions": positions}


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "python": _call, "sql": _query, "ccxt": _ccxt,
}  # fmt: skip

if __name__ == "__main__":
    main()
