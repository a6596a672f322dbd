"""What each strategy did and holds: its newest fills, and its positions by who says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from exporter.config import Strategy
from exporter.metrics import Metrics, Sample
from exporter.state import State, ledger
from exporter.state.ledger import Fill, Position
from exporter.strategies.parse_fills import with_id
from exporter.util.clock import FUTURE_TOLERANCE_SECONDS, Clock, iso

OWN = "strategy"
"""The origin of positions that the strategy reported itself."""
_BATCH = 500
_MOST_SYMBOLS = 500
"""Of one strategy whose newest fills are exposed."""


@dataclass(frozen=True)
class HeldPositions:
    """All positions of a strategy as somebody saw them: the strategy itself, or its account."""

    at: float
    positions: tuple[Position, ...]
    since: float
    """When these quantities were first reported; until then there were others, or none."""
    seen: float
    """When the newest answer with them came: a statement is as of an earlier day."""

    def quantities(self) -> dict[str, Decimal]:
        """Symbol to quantity; what is not in it is not held."""
        return {one.symbol: one.quantity for one in self.positions}


class Holdings:
    """Fills go to the ledger, each once; the newest of each symbol and side, and all positions, are
    remembered in state under the kinds ``fill`` and ``positions``."""

    def __init__(self, state: State, clock: Clock, metrics: Metrics) -> None:
        self._state, self._clock = state, clock
        self.fills: dict[str, dict[tuple[str, str], Fill]] = {}
        self.listeners: list[Callable[[str], None]] = []
        """Called with the name of each strategy of which positions came."""
        self._held: dict[str, dict[str, HeldPositions]] = {}
        self.unreadable: dict[str, str] = {}
        """Strategies whose file of positions cannot be read, and why."""
        metrics.add_reader(self.read)

    def apply(self, wanted: Mapping[str, Strategy]) -> None:
        """Use these strategies; what is known of those that stay stays. Of accounts that are not
        configured any more, nobody says when they change: their positions are left out."""
        self.fills = {name: self.fills.get(name, {}) for name in wanted}
        origins = {
            name: (OWN, strategy.equity.kind) if strategy.equity else (OWN,)
            for name, strategy in wanted.items()
        }
        self._held = {
            name: {o: held for o, held in self._held.get(name, {}).items() if o in allowed}
            for name, allowed in origins.items()
        }
        for key, value in self._state.kept("fill").items():
            name, symbol, side = key.split("|", 2)
            if name in wanted:
                price = Decimal(str(value["price"]))
                fill = Fill(symbol, side, float(value["at"]), price)
                self.fills[name].setdefault((symbol, side), fill)
        for key, value in self._state.kept("positions").items():
            name, _, origin = key.partition("|")
            if origin in origins.get(name, ()):
                self._held[name].setdefault(origin, _from_json(value))

    async def add_fill(self, name: str, fill: Fill) -> bool:
        """As :meth:`add_fills`; False when it is in the ledger already."""
        return await self.add_fills(name, [fill]) == 1

    async def add_fills(self, name: str, fills: Sequence[Fill]) -> int:
        """How many are new: the others are in the ledger already. :class:`KeyError` for an unknown
        name, :class:`ValueError` for a fill from the future, :class:`StateError` when they are not
        durable."""
        for fill in fills:
            if fill.at > self._clock.now() + FUTURE_TOLERANCE_SECONDS:
                raise ValueError(f"timestamp {iso(fill.at)} lies in the future")
        new = 0
        for batch in _batches(sorted(fills, key=lambda fill: fill.at)):
            new += await self._add_some(name, [with_id(fill) for fill in batch])
        return new

    async def _add_some(self, name: str, fills: Sequence[Fill]) -> int:
        known, newest = self.fills[name], dict[tuple[str, str], Fill]()
        for fill in fills:
            place = fill.symbol, fill.side
            before = newest.get(place) or known.get(place)
            room = before is not None or len(known) + len(newest) < _MOST_SYMBOLS
            if room and (before is None or before.at <= fill.at):
                newest[place] = fill
        rows = [ledger.put_fill(name, fill) for fill in fills]
        values = [
            ("fill", f"{name}|{symbol}|{side}", {"at": fill.at, "price": float(fill.price)})
            for (symbol, side), fill in newest.items()
        ]
        changed = await self._state.write(rows, values)
        known.update(newest)
        return changed

    async def set_positions(
        self, name: str, positions: Sequence[Position], at: float, origin: str = OWN
    ) -> None:
        """All that is held as of then; what is older than what is known changes nothing.

        :class:`KeyError` for an unknown name, :class:`ValueError` for a time in the future,
        :class:`StateError` when it is not durable.
        """
        held = self._held[name]
        if at > self._clock.now() + FUTURE_TOLERANCE_SECONDS:
            raise ValueError(f"timestamp {iso(at)} lies in the future")
        if origin in held and held[origin].at > at:
            return
        held_now = tuple(sorted(positions, key=lambda one: one.symbol))
        new = HeldPositions(at, held_now, at, self._clock.now())
        if origin in held and held[origin].quantities() == new.quantities():
            new = replace(new, since=held[origin].since)
        await self._state.write([], [("positions", f"{name}|{origin}", _to_json(new))])
        held[origin] = new
        for listener in self.listeners:
            listener(name)

    def positions(self, name: str, origin: str = OWN) -> HeldPositions | None:
        """The newest positions from that origin; None if it never reported any."""
        return self._held.get(name, {}).get(origin)

    def all_positions(self, name: str) -> dict[str, HeldPositions]:
        """By origin: ``strategy``, or the account that they were read from."""
        return dict(self._held.get(name, {}))

    def newest_positions(self, name: str) -> HeldPositions | None:
        """From the origin that reported last; None if none did."""
        return max(self._held.get(name, {}).values(), key=lambda held: held.at, default=None)

    def last_fill(self, name: str) -> Fill | None:
        """The newest of all symbols; its quantity is known since the start alone."""
        return max(list(self.fills.get(name, {}).values()), key=lambda fill: fill.at, default=None)

    def last_fill_at(self, name: str) -> float:
        """When the newest fill was; -inf while none is known."""
        fill = self.last_fill(name)
        return fill.at if fill else -math.inf

    async def history(
        self, name: str | None = None, since: float = 0.0, limit: int = -1
    ) -> list[ledger.LedgerRow]:
        """Fills of the ledger, oldest first; with `limit` the newest so many. Raises
        :class:`StateError`."""
        return await self._state.history.ask(
            lambda path: list(ledger.fills(path, since, name, limit))
        )

    def read(self) -> Iterator[Sample]:
        """The samples of one scrape."""
        for name, fills in list(self.fills.items()):
            for fill in list(fills.values()):
                labels = (name, fill.symbol, fill.side)
                yield "quant_strategy_last_fill_timestamp_seconds", labels, fill.at
                yield "quant_strategy_last_fill_price", labels, float(fill.price)
        for name, by_origin in list(self._held.items()):
            for origin, held in list(by_origin.items()):
                yield "quant_positions_timestamp_seconds", (name, origin), held.at
                for one in held.positions:
                    labels = (name, origin, one.symbol)
                    yield "quant_position_quantity", labels, float(one.quantity)


def _batches(fills: Sequence[Fill]) -> Iterator[Sequence[Fill]]:
    for start in range(0, len(fills), _BATCH):
        yield fills[start : start + _BATCH]


def _to_json(held: HeldPositions) -> dict[str, Any]:
    rows = [
        [one.symbol, str(one.quantity), _text(one.price), _text(one.value)]
        for one in held.positions
    ]
    return {"at": held.at, "since": held.since, "seen": held.seen, "positions": rows}


def _from_json(data: dict[str, Any]) -> HeldPositions:
    rows = (
        Position(symbol, Decimal(quantity), _number(price), _number(value))
        for symbol, quantity, price, value in data["positions"]
    )
    at = float(data["at"])
    since, seen = (float(data.get(name, at)) for name in ("since", "seen"))
    return HeldPositions(at, tuple(rows), since, seen)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
