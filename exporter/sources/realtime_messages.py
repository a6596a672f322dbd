"""What comes on TickDB's WebSocket: last prices that count, and everything that does not.

Messages are those of docs.tickdb.ai (subscribe, message schema): ``{"cmd": "ticker", "data":
{"symbol", "last_price", "timestamp"}}``, trades with ``price``; errors as in :mod:`.envelope`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from exporter.metrics import Metrics
from exporter.sources.api_key import Key
from exporter.sources.base import SourceError
from exporter.sources.envelope import refusal_in
from exporter.sources.parse import read_tickers
from exporter.util.clock import Clock

BAD_REASONS = ("malformed", "wrong_time", "unknown_symbol", "old")
_OLD_SECONDS = 300.0
"""A message about a moment so long ago says nothing of now."""
_AGAIN_SECONDS = 600.0
"""A trouble of one kind is logged at most so often, however often it comes and goes."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tick:
    """One message about one symbol. `at` is when its price was made, Unix seconds."""

    symbol: str
    price: float
    at: float


class StreamTrouble:
    """What is wrong with one stream, in the log: each kind at most every ten minutes, and once
    that it is over."""

    def __init__(self, name: str, key: Key, clock: Clock) -> None:
        self._name, self._key, self._clock = name, key, clock
        self._logged: dict[str, float] = {}
        self._is_over = True

    def say(self, reason: str, text: str) -> None:
        """A connection that failed, or something that was refused."""
        self._is_over = not self._log(reason, text) and self._is_over

    def odd(self, reason: str, text: str) -> None:
        """A message that cannot be used; others may be fine."""
        self._log(f"message {reason}", f"a message cannot be used: {text}", reason)

    def well(self) -> None:
        """A price came."""
        if not self._is_over:
            self._is_over = True
            _log.info(
                "%s stream: prices come again", self._name,
                extra={"event": "stream_well", "source": self._name},
            )  # fmt: skip

    def _log(self, kind: str, text: str, reason: str | None = None) -> bool:
        now = self._clock.monotonic()
        if now - self._logged.get(kind, -math.inf) < _AGAIN_SECONDS:
            return False
        self._logged[kind] = now
        _log.warning(
            "%s stream: %s", self._name, self._key.redact(text),
            extra={"event": "stream_trouble", "source": self._name, "reason": reason or kind},
        )  # fmt: skip
        return True


class StreamMessages:
    """Reads the messages of one source's stream and hands on each price that says something new.

    `wanted` are symbols by channel. A message is new when its stamp is later than those before it
    on its channel; trades of one moment count together.
    """

    def __init__(
        self,
        name: str,
        key: Key,
        metrics: Metrics,
        clock: Clock,
        *,
        wanted: Mapping[str, Iterable[str]],
        negative: Iterable[str],
        on_tick: Callable[[Tick], None],
        trouble: StreamTrouble,
    ) -> None:
        self._key, self._clock, self._trouble = key, clock, trouble
        self._symbols = {channel: frozenset(symbols) for channel, symbols in wanted.items()}
        self._negative = frozenset(negative)
        self._on_tick = on_tick
        self._newest: dict[tuple[str, str], float] = {}
        self.used = 0
        """Messages so far that were of use."""
        used = metrics.counter("quant_stream_messages_total")
        bad = metrics.counter("quant_stream_bad_messages_total")
        self._used_of = {channel: used.labels(name, channel) for channel in self._symbols}
        self._bad_of = {reason: bad.labels(name, reason) for reason in BAD_REASONS}

    def read(self, text: bytes) -> SourceError | None:
        """One message; returns what the server refuses with it."""
        try:
            message = orjson.loads(text)
        except ValueError:
            self._reject("malformed", f"{len(text)} bytes that are not JSON")
            return None
        if not isinstance(message, dict):
            self._reject("malformed", "JSON, but not an object")
            return None
        refusal = refusal_in(message, self._clock.now(), self._key.redact)
        if refusal is not None:
            return refusal
        channel, data = message.get("cmd"), message.get("data")
        if not isinstance(channel, str) or channel not in self._symbols:
            return None  # the answer to a ping or a subscription
        for entry in data if isinstance(data, list) else [data]:
            self._take(channel, entry)
        return None

    def _take(self, channel: str, entry: Any) -> None:
        symbol = entry.get("symbol") if isinstance(entry, dict) else None
        if not isinstance(symbol, str) or symbol not in self._symbols[channel]:
            self._reject("unknown_symbol", "about a symbol that nobody subscribed to")
            return
        now = self._clock.now()
        price = entry.get("last_price", entry.get("price"))
        row = {"symbol": symbol, "last_price": price, "timestamp": entry.get("timestamp")}
        answer = read_tickers([row], (symbol,), now, self._negative)
        if symbol in answer.bad:
            error = answer.bad[symbol]
            self._reject(error.reason, error.message)
            return
        ticker = answer.good[symbol]
        if ticker.at < now - _OLD_SECONDS:
            self._reject("old", f"{symbol}: about a moment {now - ticker.at:.0f} s ago")
            return
        newest = self._newest.get((channel, symbol), -math.inf)
        if ticker.at < newest or (ticker.at == newest and channel == "ticker"):
            self._bad_of["old"].inc()  # repeated, or overtaken: nothing new, so not fresh
            return
        self._newest[channel, symbol] = ticker.at
        self._used_of[channel].inc()
        self.used += 1
        self._trouble.well()
        self._on_tick(Tick(symbol, ticker.last, ticker.at))

    def _reject(self, reason: str, text: str) -> None:
        reason = reason if reason in BAD_REASONS else "malformed"
        self._bad_of[reason].inc()
        self._trouble.odd(reason, text)
