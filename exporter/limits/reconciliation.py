"""Whether a strategy and its account agree on what is held."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from exporter.config import LimitSettings
from exporter.strategies.holdings import OWN, HeldPositions, Holdings
from exporter.util.nan import NAN


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference of one symbol; NaN where the two sides cannot be compared."""

    value: float
    symbol: str
    at: float
    """As of when, Unix seconds."""


class Reconciliation:
    """Compares the newest positions by both. What a side does not name it does not hold.

    An account is asked every few minutes. While its answer is older than the strategy's newest
    change, the comparison before that change stands: an order that was just filled is not an error.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._before: dict[tuple[str, str], Difference] = {}

    def difference(
        self, name: str, limit: LimitSettings, strategy: str, now: float, *, ratio: bool
    ) -> Difference:
        """Of one strategy under the limit `name`; of several accounts, that of the worst one. As a
        `ratio` it is a share of the larger of the two quantities."""
        sides = self._holdings.all_positions(strategy)
        own = sides.pop(OWN, None)
        oldest = min((side.at for side in (own, *sides.values()) if side), default=now)
        if own is None or not sides or (limit.max_age and now - oldest > limit.max_age):
            return Difference(NAN, "", oldest)
        if any(account.at < own.since for account in sides.values()):
            return self._before.get((name, strategy)) or Difference(NAN, "", oldest)
        found = [_worst(own, account, limit, ratio=ratio) for account in sides.values()]
        worst = max(found, key=lambda one: one.value)
        self._before[name, strategy] = worst
        return worst


def _worst(
    own: HeldPositions, account: HeldPositions, limit: LimitSettings, *, ratio: bool
) -> Difference:
    ours, theirs = own.quantities(), dict[str, Decimal]()
    for symbol, quantity in account.quantities().items():
        known_as = limit.symbols.get(symbol, symbol)
        theirs[known_as] = theirs.get(known_as, Decimal(0)) + quantity
    worst = Difference(0.0, "", account.at)
    for symbol in sorted({*ours, *theirs}):
        mine, its = ours.get(symbol, Decimal(0)), theirs.get(symbol, Decimal(0))
        value = abs(mine - its)
        if ratio and value:
            value /= max(abs(mine), abs(its))
        if float(value) > worst.value:
            worst = Difference(float(value), symbol, account.at)
    return worst
