"""What the simulated TickDB knows: the data of each endpoint, as TickDB shapes it, without HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from exporter.calendars.bars import Calendar
from exporter.calendars.loader import Calendars
from exporter.config import INTERVAL_SECONDS
from exporter.simulator.faults import Fault
from exporter.simulator.market import SimulatedBar, SimulatedMarket, kind_of
from exporter.simulator.spoil import Row, spoil
from exporter.util.clock import Clock

_EXCHANGES: Mapping[str, str] = {
    "US": "XNYS", "HK": "XHKG", "SH": "XSHG", "SZ": "XSHG", "L": "XLON",
}  # fmt: skip
_MARKETS: Mapping[str, str] = {"US": "XNYS", "HK": "XHKG", "CN": "XSHG"}
_STOCK = re.compile(r"[A-Z0-9][A-Z0-9\-^=]{0,15}\.([A-Z]{1,2})")
_CURRENCIES = frozenset("USD EUR GBP JPY CHF AUD NZD CAD SEK NOK HKD CNH SGD XAU XAG".split())  # noqa: SIM905
_CRYPTO = re.compile(r"[A-Z0-9]{2,10}(USDT|USDC|BTC|USD)")
_EXTENDED_SECONDS = (5.5 * 3600, 4 * 3600)
"""US shares trade from 4:00 to 20:00 New York; only the ticker shows it."""
_MOST_SYMBOLS, _MOST_BARS, _MOST_LEVELS = 50, 1000, 50


class ApiError(Exception):
    """An answer with a code other than 0."""

    def __init__(
        self,
        code: int,
        message: str,
        data: Any = None,
        *,
        status: int = 200,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data
        self.status, self.retry_after = status, retry_after


def exchange_of(symbol: str) -> str:
    """The calendar by which a symbol trades. Raises :class:`ApiError` 2002."""
    stock = _STOCK.fullmatch(symbol)
    if stock and stock[1] in _EXCHANGES:
        return _EXCHANGES[stock[1]]
    if symbol[:3] in _CURRENCIES and symbol[3:] in _CURRENCIES:
        return "FX"
    if _CRYPTO.fullmatch(symbol):
        return "24/7"
    raise ApiError(2002, f"Symbol not found: {symbol[:40]}")


class Answers:
    """Data for good requests; :class:`ApiError` for others. `faults` are those of the request."""

    def __init__(
        self, market: SimulatedMarket, calendars: Calendars, clock: Clock, latest_bars: int
    ) -> None:
        self._market, self._calendars, self._clock = market, calendars, clock
        self._latest_bars = latest_bars
        self._loading = asyncio.Lock()

    async def kline(self, query: Mapping[str, str], faults: Sequence[Fault]) -> Any:
        """``/market/kline``: from `start_time` on when it is given, else the newest ones."""
        symbol, interval = query.get("symbol", ""), _interval(query)
        limit = _whole(query, "limit", 100)
        if limit > _MOST_BARS:
            raise ApiError(2004, f"limit must not exceed {_MOST_BARS}")
        calendar = await self._calendar(symbol)
        now = self._now(symbol, faults)
        first, last = _whole(query, "start_time", -1), _whole(query, "end_time", -1)
        if 0 <= last < first:
            raise ApiError(2003, "start_time must not lie after end_time")
        end = now + 1 if last < 0 else min(last / 1000 + 0.001, now + 1)
        if first < 0:
            bars = self._newest(symbol, calendar, interval, end=end, limit=limit, now=now)
        else:
            bars = []
            found = self._market.bars(symbol, calendar, interval, first / 1000, end, now=now)
            for bar in found:
                bars.append(bar)
                if len(bars) == limit:
                    break
                if len(bars) % 100 == 0:
                    await asyncio.sleep(0)  # a thousand bars are some 50 ms of arithmetic
        return self._series(symbol, interval, bars, faults)

    async def latest(self, query: Mapping[str, str], faults: Sequence[Fault]) -> Any:
        """``/market/kline/latest``: the newest bars of up to 50 symbols, the last one forming."""
        interval = _interval(query)
        entries = []
        for symbol in _symbols(query):
            calendar, now = await self._calendar(symbol), self._now(symbol, faults)
            shown = 1 if _hit(faults, "forming_only", symbol) else self._latest_bars
            bars = self._newest(symbol, calendar, interval, end=now + 1, limit=shown, now=now)
            if not _hit(faults, "missing_symbol", symbol):
                entries.append(self._series(symbol, interval, bars, faults))
            await asyncio.sleep(0)
        return entries

    async def ticker(self, query: Mapping[str, str], faults: Sequence[Fault]) -> Any:
        """``/market/ticker``: last price, bid and ask of up to 50 symbols."""
        rows: list[Row] = []
        for symbol in _symbols(query):
            at = _traded_at(await self._calendar(symbol), self._now(symbol, faults))
            last, bid, ask = self._market.quote(symbol, at)
            row = {
                "symbol": symbol, "last_price": str(last), "bid_price": str(bid),
                "ask_price": str(ask), "timestamp": int(at * 1000),
            }  # fmt: skip
            if not _hit(faults, "missing_symbol", symbol):
                rows += _spoiled([row], symbol, faults)
        return rows

    async def depth(self, query: Mapping[str, str], faults: Sequence[Fault]) -> Any:
        """``/market/depth``: levels around the price, at most 50."""
        symbol = query.get("symbol", "")
        at = _traded_at(await self._calendar(symbol), self._now(symbol, faults))
        last, bid, ask = self._market.quote(symbol, at)
        step, count = ask - last, min(_whole(query, "limit", 10), _MOST_LEVELS)
        return {
            "symbol": symbol,
            "bids": [[str(round(bid - n * step, 6)), str(100 + 10 * n)] for n in range(count)],
            "asks": [[str(round(ask + n * step, 6)), str(100 + 10 * n)] for n in range(count)],
            "timestamp": int(at * 1000),
        }

    async def trade_days(self, query: Mapping[str, str], faults: Sequence[Fault]) -> Any:
        """``/market/trade-days``: dates of a market, with their half days apart."""
        calendar = await self._of_market(query)
        try:
            first = date.fromisoformat(query.get("beg_day", ""))
            last = date.fromisoformat(query.get("end_day", ""))
        except ValueError:
            raise ApiError(2001, "beg_day and end_day are dates: 2026-11-24") from None
        if not 0 <= (last - first).days <= 400:
            raise ApiError(2003, "end_day must lie within 400 days after beg_day")
        days = [first + timedelta(n) for n in range((last - first).days + 1)]
        sessions = [s for day in days if (s := calendar.session_on(day))]
        half = [s.day.isoformat() for s in sessions if s.close < s.regular_close]
        return {
            "trade_days": [s.day.isoformat() for s in sessions if s.day.isoformat() not in half],
            "half_trade_days": half,
        }

    async def trading_sessions(self, query: Mapping[str, str], faults: Sequence[Fault]) -> Any:
        """``/market/trading-sessions``: today's spans of trading, or those of the next session."""
        calendar = await self._of_market(query)
        now = self._clock.now()
        session = calendar.session_on(calendar.day_of(now)) or calendar.next_session(now)
        return {
            "market": query["market"],
            "date": session.day.isoformat(),
            "sessions": [
                {"beg_time": int(opened * 1000), "end_time": int(closed * 1000)}
                for opened, closed in session.segments
            ],
        }

    async def _of_market(self, query: Mapping[str, str]) -> Calendar:
        market = query.get("market", "")
        if market not in _MARKETS:
            raise ApiError(2001, f"market must be one of {', '.join(_MARKETS)}")
        return await self._load(_MARKETS[market])

    async def _calendar(self, symbol: str) -> Calendar:
        return await self._load(exchange_of(symbol))

    async def _load(self, name: str) -> Calendar:
        if name not in self._calendars.names:
            async with self._loading:
                await self._calendars.load([name])
        return self._calendars.get(name)

    def _now(self, symbol: str, faults: Sequence[Fault]) -> float:
        frozen = [f.since for f in faults if f.fault == "frozen" and f.hits_symbol(symbol)]
        return min([self._clock.now(), *frozen])

    def _newest(
        self, symbol: str, calendar: Calendar, interval: str, *, end: float, limit: int, now: float
    ) -> list[SimulatedBar]:
        # Looks back further and further: how far `limit` bars reach depends on the exchange.
        back = INTERVAL_SECONDS[interval] * limit + 86400.0
        while True:
            bars = list(self._market.spans(calendar, interval, end - back, end, now=now))
            if len(bars) >= limit or back > 40 * 366 * 86400.0:
                return [self._market.bar(symbol, *span, now=now) for span in bars[-limit:]]
            back *= 3

    def _series(
        self, symbol: str, interval: str, bars: Sequence[SimulatedBar], faults: Sequence[Fault]
    ) -> Any:
        rows = [
            {
                "time": int(bar.start * 1000), "open": str(bar.open), "high": str(bar.high),
                "low": str(bar.low), "close": str(bar.close), "volume": str(bar.volume),
                "quote_volume": str(round(bar.volume * bar.close, 2)),
            }
            for bar in bars
        ]  # fmt: skip
        rows = _spoiled(rows, symbol, faults)
        return {"symbol": symbol, "type": kind_of(symbol), "interval": interval, "klines": rows}


def _spoiled(rows: list[Row], symbol: str, faults: Sequence[Fault]) -> list[Row]:
    for fault in faults:
        if fault.hits_symbol(symbol):
            rows = spoil(fault.fault, rows)
    return rows


def _hit(faults: Sequence[Fault], name: str, symbol: str) -> bool:
    return any(f.fault == name and f.hits_symbol(symbol) for f in faults)


def _traded_at(calendar: Calendar, now: float) -> float:
    """The newest moment at or before `now` at which the ticker moved."""
    before, after = _EXTENDED_SECONDS if calendar.name == "XNYS" else (0.0, 0.0)
    following = calendar.session_at(now) or calendar.next_session(now)
    if following.open - before <= now:
        pause = following.pause
        return pause[0] if pause and pause[0] <= now < pause[1] else now
    return min(now, calendar.previous_session(now).close + after)


def _interval(query: Mapping[str, str]) -> str:
    interval = query.get("interval", "")
    if interval not in INTERVAL_SECONDS:
        raise ApiError(2001, f"interval must be one of {', '.join(INTERVAL_SECONDS)}")
    return interval


def _symbols(query: Mapping[str, str]) -> list[str]:
    symbols = [s for s in query.get("symbols", "").split(",") if s]
    if not symbols:
        raise ApiError(2001, "symbols is required")
    if len(symbols) > _MOST_SYMBOLS:
        raise ApiError(2004, f"at most {_MOST_SYMBOLS} symbols")
    return symbols


def _whole(query: Mapping[str, str], name: str, otherwise: int) -> int:
    text = query.get(name)
    if text is None:
        return otherwise
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise ApiError(2001, f"{name} must be a whole number")
    return int(text)
