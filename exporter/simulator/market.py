"""Made-up prices that depend only on symbol, moment and seed.

The price of a symbol is a continuous function of time, so bars of every interval agree: a bar opens
where the one before it closed, and a day closes where its last minute does. It moves like a real
one: the sum of smooth noises of many periods, each with an amplitude that grows with the root of
its period, as a random walk has.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from exporter.calendars.bars import Calendar
from exporter.calendars.sessions import Session
from exporter.config import INTERVAL_SECONDS

_PERIODS_SECONDS = (60.0, 240.0, 960.0, 3840.0, 15360.0, 86400.0, 432000.0, 2592000.0, 15552000.0)
_DAILY_VOLATILITY = {"stock": 0.015, "fx": 0.004, "crypto": 0.03}
_SPREAD_RATIO = {"stock": 0.0004, "fx": 0.0001, "crypto": 0.0002}
Span = tuple[float, float, float]
"""A bar's stamp, first moment and last moment, Unix seconds."""
_MASK = (1 << 64) - 1
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class SimulatedBar:
    """One candle, `start` and `end` in Unix seconds; the end is in the future while it forms."""

    start: float
    end: float
    open: float
    high: float
    low: float
    close: float
    volume: float


def kind_of(symbol: str) -> str:
    """stock, fx or crypto, by the form of the symbol."""
    if "." in symbol:
        return "stock"
    return "fx" if len(symbol) == 6 and symbol.isalpha() else "crypto"


class SimulatedMarket:
    """Prices and bars. Two markets with the same seed are the same market."""

    def __init__(self, seed: int = 1) -> None:
        self._seed = seed

    def price(self, symbol: str, at: float) -> float:
        """The price at that moment, rounded as the symbol's market does."""
        number, base, digits = _symbol(symbol, self._seed)
        volatility = _DAILY_VOLATILITY[kind_of(symbol)]
        log_price = 0.0
        for octave, period in enumerate(_PERIODS_SECONDS):
            whole, part = divmod(at / period, 1.0)
            smooth = part * part * (3 - 2 * part)
            first = _noise(number + octave, int(whole))
            second = _noise(number + octave, int(whole) + 1)
            amplitude = 0.7 * volatility * math.sqrt(min(period, 20 * _DAY) / _DAY)
            log_price += amplitude * (first + (second - first) * smooth)
        return round(base * math.exp(log_price), digits)

    def quote(self, symbol: str, at: float) -> tuple[float, float, float]:
        """Last price, bid and ask."""
        _, _, digits = _symbol(symbol, self._seed)
        last = self.price(symbol, at)
        half = max(last * _SPREAD_RATIO[kind_of(symbol)] / 2, 10.0**-digits)
        return last, round(last - half, digits), round(last + half, digits)

    def bars(
        self,
        symbol: str,
        calendar: Calendar,
        interval: str,
        start: float,
        end: float,
        *,
        now: float,
    ) -> Iterator[SimulatedBar]:
        """Bars whose start lies in [start, end) and that have begun by `now`, oldest first."""
        for span in self.spans(calendar, interval, start, end, now=now):
            yield self.bar(symbol, *span, now=now)

    def spans(
        self, calendar: Calendar, interval: str, start: float, end: float, *, now: float
    ) -> Iterator[Span]:
        """Where those bars lie, without their prices."""
        for span in spans(calendar, interval, start, end):
            if span[1] <= now and span[0] <= now:
                yield span

    def bar(
        self, symbol: str, stamp: float, opened: float, closed: float, *, now: float
    ) -> SimulatedBar:
        """The bar stamped `stamp` that trades from `opened` to `closed`, as it is at `now`."""
        until = min(closed, now)
        first, last = self.price(symbol, opened), self.price(symbol, until)
        count = 4 if until - opened <= 3600 else 12
        step = (until - opened) / count
        between = [self.price(symbol, opened + n * step) for n in range(1, count)]
        number, _, _ = _symbol(symbol, self._seed)
        busy = 0.4 + abs(_noise(number + 99, int(opened // 60)))
        volume = round(busy * 20_000 * max(until - opened, 1.0) / 60)
        return SimulatedBar(
            stamp, closed, first, max(first, last, *between), min(first, last, *between), last,
            float(volume),
        )  # fmt: skip


def spans(calendar: Calendar, interval: str, start: float, end: float) -> Iterator[Span]:
    """Stamp, first moment and last moment of every bar whose stamp lies in [start, end).

    Bars of a day and longer are stamped 00:00 UTC of their first date, as TickDB does.
    """
    if interval in ("1d", "1w", "1M"):
        yield from _long_spans(calendar, interval, start, end)
        return
    step = INTERVAL_SECONDS[interval]
    for session in calendar.sessions(start - step, end + step):
        for opened, closed in session.segments:
            # Exchanges with hours align bars to the open, all others to UTC.
            anchor = opened - opened % step if calendar.continuous else opened
            first = anchor + max(0, math.ceil((start - anchor) / step)) * step
            while first < min(closed, end):
                # Where trade days touch, the bar that spans both belongs to the earlier one.
                if first >= opened or calendar.session_at(first) is None:
                    cut = not calendar.continuous or calendar.session_at(closed) is None
                    last = min(first + step, closed) if cut else first + step
                    yield first, max(first, opened), last
                first += step


def _long_spans(calendar: Calendar, interval: str, start: float, end: float) -> Iterator[Span]:
    margin = 2 * _DAY + (0 if interval == "1d" else INTERVAL_SECONDS[interval])
    groups: dict[float, list[Session]] = {}
    for session in calendar.sessions(start - margin, end + margin):
        groups.setdefault(_stamp(session, interval), []).append(session)
    for stamp, sessions in sorted(groups.items()):
        if start <= stamp < end:
            yield stamp, sessions[0].open, sessions[-1].close


def _stamp(session: Session, interval: str) -> float:
    midnight = (session.day.toordinal() - 719163) * _DAY
    if interval == "1w":
        return midnight - session.day.weekday() * _DAY
    return midnight - (session.day.day - 1) * _DAY if interval == "1M" else midnight


@lru_cache(maxsize=2048)
def _symbol(symbol: str, seed: int) -> tuple[int, float, int]:
    """The symbol's own number, its base price and the digits of its prices."""
    digest = hashlib.blake2b(f"{seed}:{symbol}".encode(), digest_size=8).digest()
    number = int.from_bytes(digest, "big")
    share = (number % 10_007) / 10_007
    match kind_of(symbol):
        case "fx":
            yen = symbol.endswith("JPY")
            return number, (90 + 90 * share) if yen else (0.6 + 1.2 * share), 3 if yen else 5
        case "crypto":
            return number, 10 ** (0.5 + 4 * share), 4
        case _:
            return number, 20 + 480 * share, 2


@lru_cache(maxsize=4096)
def _noise(number: int, place: int) -> float:
    """-1 to 1, as good as random: SplitMix64, https://prng.di.unimi.it/splitmix64.c"""
    x = (number + place * 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((x ^ (x >> 31)) >> 11) / 2**52 - 1.0
