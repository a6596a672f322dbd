"""Keys that a call passes by position: ``REST('PK…', '…')``, ``Client("key", "secret")``.

No name announces them, so their shape decides, and only in calls that open a client, an exchange or
a session: words, symbols, addresses and dates stay readable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from exporter.redaction.secret_shape import Shape, Span
from exporter.redaction.value_checks import looks_random

_LOGS_IN = ("login", "logon", "authenticate", "sign_in", "signin")
_OPENS = (
    "client", "rest", "api", "exchange", "broker", "trader", "trading", "bot", "http", "session",
    "websocket", "ws", "stream", "socket", "manager", "connect", "connection", "connector", "auth",
    "account", "wallet", "sdk", "spot", "futures", "margin", "series", "data", "report", "token",
    "binance", "bybit", "kraken", "coinbase", "okx", "okex", "kucoin", "gateio", "bitget", "huobi",
    "htx", "mexc", "deribit", "bitmex", "bitfinex", "bitstamp", "gemini", "hyperliquid", "dydx",
    "alpaca", "oanda", "tradier", "polygon", "finnhub", "alphavantage", "twelvedata", "tiingo",
    "quandl", "webull", "schwab", "kite", *_LOGS_IN,
)  # fmt: skip
_SIGNS = tuple(f"{word}(" for word in _OPENS)
_CALL = re.compile(rf"(?P<name>{'|'.join(_OPENS)})\(", re.IGNORECASE)
_LONGEST_CALL = 2000
_ARGUMENT = re.compile(
    r"\s*(?:[bru]{1,2})?\\*(?P<quote>[\"'])(?P<value>[^\"'\\\r\n]*)\\*(?P=quote)\s*(?=[,)])"
    r"|[^,()\"'\r\n]*(?:\\*\"[^\"\r\n]*\"|\\*'[^'\r\n]*')?[^,()\"'\r\n]*",
    re.IGNORECASE,
)
"""A string that stands alone is ``value``; any other argument is passed over."""
_NUMBER = re.compile(r"\d{18,}")
_KINDS = (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^\w.,:/\- ]")
_LEAST = 16


def _in_calls(text: str) -> Iterator[Span]:
    done = 0
    for call in _CALL.finditer(text):
        if call.end() < done:
            continue
        logs_in = call["name"].lower() in _LOGS_IN
        at, end, place, found_one = call.end(), call.end() + _LONGEST_CALL, 0, False
        while at < min(end, len(text)):
            argument = _ARGUMENT.match(text, at, end)
            if argument is None:
                break
            value = argument["value"]
            # A password or a passphrase, after the user or the key.
            password = (found_one or (logs_in and place > 0)) and _is_password(value or "")
            if value and (password or _NUMBER.fullmatch(value) or looks_random(value, _LEAST)):
                found_one = True
                yield argument.span("value")
            at, place = argument.end(), place + 1
            if not text.startswith(",", at):
                break
            at += 1
        done = at


def _is_password(value: str) -> bool:
    """Letters of both cases, digits, signs: three of these kinds, and no address."""
    kinds = sum(1 for kind in _KINDS if re.search(kind, value))
    return len(value) >= 6 and kinds >= 3 and "://" not in value and " " not in value


CALL_ARGUMENTS = (Shape("a key passed to a client", _SIGNS, _in_calls),)
