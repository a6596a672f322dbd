"""TickDB's payloads to bars and tickers. Every number is checked here, once, and is a float after.

A bar that makes no sense is left out and named, so that it does not cost the others of its symbol;
the newest one costs them all, because what is older then would look like the newest.
All functions raise :class:`SourceError` with reason ``malformed`` or ``wrong_time`` alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Any

from exporter.config import INTERVAL_SECONDS
from exporter.sources.base import Answer, Bar, SourceError, Ticker
from exporter.sources.envelope import Redact, timestamp_seconds
from exporter.sources.large_json import Rows
from exporter.util.units import format_duration

PRICES = ("open", "high", "low", "close")
_NUMBER = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
_EARLIEST = 315_532_800.0
"""1980."""
_TELLING_BARS = 5
"""So many show how far apart they are."""
_NEWEST_BARS = 50
"""So many of each symbol are kept of an answer for many."""
_HAS_ZONE = re.compile(r"^[0-9.]+$|T.*(Z|[+-]\d\d:?\d\d)$")
_NO_ZONE = re.compile(r"\d{4}-\d\d-\d\d([T ]|$)")
_ROUNDING = Decimal("0.001")
"""Prices of a bar may be rounded and adjusted apart: its close may lie a trifle above its high."""
_AHEAD_SECONDS = 60.0
"""A server's clock may be ahead of ours by this much."""


def malformed(text: str) -> SourceError:
    """An answer that does not hold what it should; asking again may bring a better one."""
    return SourceError("malformed", text, retryable=True)


Flaw = tuple[str, SourceError]
"""A bar that is left out: its symbol, and what is wrong with it."""


def read_latest(
    data: Any,
    symbols: Collection[str],
    interval: str,
    now: float,
    *,
    negative: Collection[str] = (),
    flaws: list[Flaw] | None = None,
) -> Answer[list[Bar]]:
    """A batch of series, the newest bars of each. Series that nobody asked for are left out.

    `negative` are symbols whose price may be 0 or negative, as spreads and some futures.
    """
    answer: Answer[list[Bar]] = Answer()
    for symbol, entry, twice in _by_symbol(data, symbols):
        try:
            if twice:
                raise malformed(f"{symbol} is in the answer twice")
            bars = read_series(entry, symbol, interval, now, negative=negative, flaws=flaws)
            answer.good[symbol] = bars[-_NEWEST_BARS:]
        except SourceError as error:
            answer.bad[symbol] = error
    _note_absent(answer, symbols)
    return answer


def read_series(
    entry: Any,
    symbol: str,
    interval: str,
    now: float,
    *,
    negative: Collection[str] = (),
    flaws: list[Flaw] | None = None,
    prices: Collection[str] = PRICES,
) -> list[Bar]:
    """``{symbol, interval, klines: […]}`` of one symbol to bars, oldest first.

    Bars come in any order. One that is there twice counts once; with other values, the later
    writing of it does, and that is a flaw. Bars that make no sense are added to `flaws`. `prices`
    are those that each bar must have; others are NaN.
    """
    if isinstance(entry, list) and len(entry) == 1:
        entry = entry[0]
    if not isinstance(entry, dict) or not isinstance(entry.get("klines"), list | Rows):
        raise malformed(f"{symbol}: expected a list of `klines`")
    if entry.get("symbol", symbol) != symbol:
        raise malformed(f"{symbol}: the answer is for another symbol")
    if entry.get("interval", interval) != interval:
        raise malformed(f"{symbol}: the answer has another interval than {interval}")
    may_be_negative = symbol in negative
    bars: dict[float, Bar] = {}
    bad: list[tuple[int, Any, SourceError]] = []
    twice: list[SourceError] = []
    place = -1
    for place, row in enumerate(entry["klines"]):
        try:
            bar = _bar(row, symbol, place, now, may_be_negative, prices=prices)
        except SourceError as error:
            bad.append((place, row, error))
            continue
        if bar.start in bars and not _same(bars[bar.start], bar):
            twice.append(malformed(f"{symbol}: bar {place} was there before with other values"))
        bars[bar.start] = bar
    if bad:
        _newest_is_good(bars, bad, place, now)
    if flaws is not None:
        flaws += [(symbol, error) for error in (*(error for _, _, error in bad), *twice)]
    starts = sorted(bars)
    _check_distance(starts, symbol, interval)
    return [bars[start] for start in starts]


def _check_distance(starts: list[float], symbol: str, interval: str) -> None:
    """Raises for bars of a shorter interval than they were asked for. Bars of a longer one are
    overdue by themselves."""
    length = INTERVAL_SECONDS.get(interval)
    if length is None or len(starts) < _TELLING_BARS:
        return
    apart = sorted(b - a for a, b in pairwise(starts))[(len(starts) - 1) // 2]
    if apart < length / 2:
        raise malformed(
            f"{symbol}: its bars are {format_duration(apart)} apart, and not {interval}: does the "
            "source ignore the interval?"
        )


def _same(one: Bar, other: Bar) -> bool:
    """Unknown on both sides is the same."""
    return repr(one) == repr(other)


def _newest_is_good(
    bars: Mapping[float, Bar], bad: list[tuple[int, Any, SourceError]], last: int, now: float
) -> None:
    """Raises the error of a bad bar that is the newest, or may be."""
    if not bars:
        raise bad[0][2]
    newest = max(bars)
    descending = next(iter(bars)) == newest and len(bars) > 1
    for place, row, error in bad:
        if _is_empty(row):
            continue  # no bar yet, as Yahoo has it for a day that has only begun
        try:
            is_newest = _moment(row, "time", "", now) >= newest
        except SourceError as unknown:  # by its place, then
            is_newest = unknown.reason == "wrong_time" or place == (0 if descending else last)
        if is_newest:
            raise SourceError(
                error.reason, f"{error.message} (the newest bar)", retryable=error.retryable
            )


def _is_empty(row: Any) -> bool:
    """Whether a row has a time, and no price at all."""
    prices = [row.get(name) for name in PRICES] if isinstance(row, dict) else [0]
    return all(price is None or price != price for price in prices)  # noqa: PLR0124  NaN


def _bar(
    row: Any,
    symbol: str,
    place: int,
    now: float,
    may_be_negative: bool,
    *,
    prices: Collection[str],
) -> Bar:
    where = f"{symbol}: bar {place}"
    if not isinstance(row, dict):
        raise malformed(f"{where} is not an object")
    start = _moment(row, "time", where, now)
    # Indices and currencies have none.
    empty = row.get("volume") in (None, "")
    volume = math.nan if empty else float(_number(row, "volume", where))
    if len(prices) < len(PRICES):
        known = {name: float(_price(row, name, where, may_be_negative)) for name in prices}
        o, h, l, c = (known.get(name, math.nan) for name in PRICES)  # noqa: E741
        return Bar(symbol, start, o, h, l, c, volume)
    opened, high, low, closed = (_price(row, name, where, may_be_negative) for name in PRICES)
    slack = abs(high) * _ROUNDING
    if high + slack < low:
        raise malformed(f"{where}: high lies below low")
    if min(opened, closed) < low - slack or max(opened, closed) > high + slack:
        raise malformed(f"{where}: open or close lies outside low and high")
    return Bar(symbol, start, float(opened), float(high), float(low), float(closed), volume)


def read_tickers(
    data: Any, symbols: Collection[str], now: float, negative: Collection[str] = ()
) -> Answer[Ticker]:
    """A batch of tickers, as :func:`read_latest`."""
    answer: Answer[Ticker] = Answer()
    for symbol, entry, twice in _by_symbol(data, symbols):
        try:
            if twice:
                raise malformed(f"{symbol} is in the answer twice")
            at = _moment(entry, "timestamp", symbol, now)
            last = float(_price(entry, "last_price", symbol, symbol in negative))
            answer.good[symbol] = Ticker(
                symbol, last, _quote(entry, "bid_price"), _quote(entry, "ask_price"), at
            )
        except SourceError as error:
            answer.bad[symbol] = error
    _note_absent(answer, symbols)
    return answer


def read_expiry(data: Any, now: float, redact: Redact) -> float:
    """``/apikeys/subscriptions`` to the moment at which the key ends, Unix seconds.

    One subscription, a list of them, or either within another object. With several the latest one
    counts; NaN when none has an end.
    """
    entries = _subscriptions(data)
    if not entries and data not in ([], {}):
        raise malformed(f"expected a subscription, got {redact(type(data).__name__)}")
    ends = [end for entry in entries if (end := _end_of(entry, now)) is not None]
    return max(ends, default=math.nan)


def _subscriptions(data: Any) -> list[dict[str, Any]]:
    if isinstance(data, dict):
        if {"expires_at", "remaining_seconds"} & data.keys():
            return [data]
        data = [value for value in data.values() if isinstance(value, dict | list)]
    if not isinstance(data, list):
        return []
    flat = [entry for value in data for entry in (value if isinstance(value, list) else [value])]
    return [
        entry
        for entry in flat
        if isinstance(entry, dict) and {"expires_at", "remaining_seconds"} & entry.keys()
    ]


def _end_of(entry: dict[str, Any], now: float) -> float | None:
    """The moment a subscription ends; None when it never does."""
    end = timestamp_seconds(entry.get("expires_at"))
    if end is not None:
        return end
    left = entry.get("remaining_seconds")
    if left not in (None, ""):
        ended = str(left).startswith("-")  # it ended so long ago
        positive = {"remaining_seconds": str(left).removeprefix("-")}
        seconds = float(_number(positive, "remaining_seconds", "subscription"))
        return now - seconds if ended else now + seconds
    if entry.get("expires_at") not in (None, "", 0):
        raise malformed("subscription: `expires_at` is not a time")
    return None


def _by_symbol(data: Any, symbols: Collection[str]) -> list[tuple[str, Any, bool]]:
    entries = [data] if isinstance(data, dict) else data
    if not isinstance(entries, list):
        raise malformed("`data` is not a list of symbols")
    found: dict[str, Any] = {}
    twice: set[str] = set()
    for entry in entries:
        symbol = entry.get("symbol") if isinstance(entry, dict) else None
        if not isinstance(symbol, str):
            raise malformed("`data` has an entry without `symbol`")
        if symbol in symbols:
            twice |= {symbol} & found.keys()
            found[symbol] = entry
    return [(symbol, entry, symbol in twice) for symbol, entry in found.items()]


def _note_absent(answer: Answer[Any], symbols: Collection[str]) -> None:
    for symbol in symbols:
        if symbol not in answer.good and symbol not in answer.bad:
            answer.bad[symbol] = SourceError(
                "api", f"the source's answer leaves {symbol} out", retryable=True
            )


def _moment(row: Any, key: str, where: str, now: float) -> float:
    value = row.get(key) if isinstance(row, dict) else None
    # Without a zone, as of 2026-11-30 09:30:00, it could be any.
    at = timestamp_seconds(value) if not isinstance(value, str) or _HAS_ZONE.search(value) else None
    if at is None:
        if isinstance(value, str) and _NO_ZONE.match(value):
            raise malformed(f"{where}: `{key}` has no zone, so it could be any")
        raise malformed(f"{where}: `{key}` is {_said(row, key)}, not UTC milliseconds")
    if at < _EARLIEST:
        raise malformed(f"{where}: `{key}` lies before 1980")
    ahead = at - now
    if ahead > _AHEAD_SECONDS:
        raise SourceError("wrong_time", f"{where}: {_why_ahead(ahead)}", retryable=True)
    return at


def _why_ahead(seconds: float) -> str:
    text = f"it is stamped {format_duration(seconds)} in the future"
    if 0.5 * 3600 <= seconds <= 14.5 * 3600:
        return f"{text}: are the source's times local ones instead of UTC?"
    return f"{text}: is this machine's clock right?"


def _number(row: dict[str, Any], key: str, where: str, *, signed: bool = False) -> Decimal:
    value = row.get(key)
    text = str(value) if isinstance(value, float) else value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**30:
        text = str(value)
    unsigned = text.removeprefix("-") if signed and isinstance(text, str) else text
    if not isinstance(unsigned, str) or not _NUMBER.fullmatch(unsigned):
        wanted = "a number" if signed else "a number of 0 or more"
        raise malformed(f"{where}: `{key}` is {_said(row, key)}, not {wanted}")
    number = Decimal(str(text))
    if not math.isfinite(float(number)):
        raise malformed(f"{where}: `{key}` is too large")
    return number


def _price(row: dict[str, Any], key: str, where: str, may_be_negative: bool) -> Decimal:
    number = _number(row, key, where, signed=True)
    if float(number) <= 0 and not may_be_negative:
        kind = "0" if float(number) == 0 else "negative"
        raise malformed(
            f"{where}: `{key}` is {kind}; if its price may be, name the symbol under the source's "
            "`negative_prices`"
        )
    return number


def _quote(entry: dict[str, Any], key: str) -> float | None:
    if entry.get(key) in (None, "", "0", 0):
        return None  # no bid or no ask
    return float(_number(entry, key, str(entry.get("symbol")))) or None


def _said(row: Any, key: str) -> str:
    """Describes a value by its type only: the value itself could be anything, even the key."""
    if not isinstance(row, dict) or key not in row:
        return "missing"
    value = row[key]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "infinite"
    return "null" if value is None else f"of type {type(value).__name__}"
