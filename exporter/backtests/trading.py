"""From target positions to an account's value: what was decided on one bar is done on the next.

A target is a share of equity: 1 is all of it in the symbol, -0.5 half of it sold short, 0 nothing.
The target of a bar is known at its close, and traded at the open of the next one. The quantity then
stays until the target changes. A purchase pays the open plus slippage, a sale gets it less
slippage, and both pay costs on what was traded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from exporter.backtests.bar_table import BarTable, Column


@dataclass(frozen=True)
class Account:
    """With what a backtest starts, and what a trade costs as shares of what is traded."""

    capital: float
    costs: float
    slippage: float


@dataclass(frozen=True)
class Trade:
    """A position from its opening to its end. Moments are Unix seconds."""

    opened_at: float
    closed_at: float | None
    """None: still open at the last bar."""
    quantity: float
    """The largest one held; negative: sold short."""
    opened_price: float
    closed_price: float
    """While it is open: the last close."""
    profit: float
    """After costs."""


@dataclass(frozen=True)
class Simulated:
    """An account bar by bar."""

    equity: Column
    """At each bar's close."""
    held: Column
    """Value of the position at each bar's close, as a share of equity."""
    traded: float
    """Sum of what was bought and sold, in money."""
    trades: list[Trade]


class _Position:
    """Cash and quantity, and the trade that is open."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.cash = account.capital
        self.quantity = 0.0
        self.traded = 0.0
        self.trades: list[Trade] = []
        self._opened = (0.0, 0.0)
        self._flow = 0.0
        self._largest = 0.0

    def move(self, target: float, at: float, price: float) -> None:
        """To that share of equity, at that open."""
        equity = self.cash + self.quantity * price
        wanted = target * max(equity, 0.0) / price
        if self.quantity and (wanted == 0 or (wanted > 0) != (self.quantity > 0)):
            paid = self._trade(-self.quantity, price)
            self._close(at, paid)
        if wanted != self.quantity:
            opens = self.quantity == 0
            paid = self._trade(wanted - self.quantity, price)
            if opens:
                self._opened, self._largest = (at, paid), 0.0
            if abs(self.quantity) > abs(self._largest):
                self._largest = self.quantity

    def _trade(self, quantity: float, price: float) -> float:
        """Returns the price that was paid."""
        paid = price * (1 + (self._account.slippage if quantity > 0 else -self._account.slippage))
        fee = self._account.costs * abs(quantity) * paid
        flow = -quantity * paid - fee
        self.cash += flow
        self._flow += flow
        self.quantity = 0.0 if quantity == -self.quantity else self.quantity + quantity
        self.traded += abs(quantity) * paid
        return paid

    def _close(self, at: float | None, price: float, value: float = 0.0) -> None:
        opened_at, opened_price = self._opened
        profit = self._flow + value
        self.trades.append(Trade(opened_at, at, self._largest, opened_price, price, profit))
        self._flow = 0.0

    def still_open(self, price: float) -> None:
        """The position of the end, as a trade without an end."""
        if self.quantity:
            self._close(None, price, self.quantity * price)


def simulate(bars: BarTable, targets: Column, account: Account) -> Simulated:
    """`targets` has a share of equity for each bar, without NaN. An account that is worth nothing
    any more stays at 0. Raises :class:`ValueError` for targets of another length, or not finite."""
    if len(targets) != len(bars):
        raise ValueError(f"{len(bars)} bars need as many targets, not {len(targets)}")
    if not np.isfinite(targets).all():
        raise ValueError("a target is not a finite number")
    equity = np.full(len(bars), account.capital)
    held = np.zeros(len(bars))
    position = _Position(account)
    for first, last in _stretches(targets):
        position.move(float(targets[first - 1]), float(bars.start[first]), float(bars.open[first]))
        value = position.quantity * bars.close[first:last]
        equity[first:last] = position.cash + value
        with np.errstate(divide="ignore", invalid="ignore"):
            held[first:last] = np.where(value == 0, 0.0, value / equity[first:last])
        ruined = np.flatnonzero(equity[first:last] <= 0)
        if len(ruined):
            at = first + int(ruined[0])
            equity[at:], held[at:] = 0.0, 0.0
            position.still_open(float(bars.close[at]))
            return Simulated(equity, held, position.traded, position.trades)
    if len(bars):
        position.still_open(float(bars.close[-1]))
    return Simulated(equity, held, position.traded, position.trades)


def _stretches(targets: Column) -> Iterator[tuple[int, int]]:
    """[first, last) of bars on which one target is held; it was set on the bar before `first`."""
    if len(targets) < 2:
        return
    changes = np.flatnonzero(np.diff(targets[:-1])) + 2
    edges = [1, *changes.tolist(), len(targets)]
    yield from pairwise(edges)
