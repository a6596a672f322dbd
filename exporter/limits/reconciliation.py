"""Whether a strategy and its account agree on what is held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from exporter.config import LimitSettings, Strategy
from exporter.strategies.holdings import OWN, HeldPositions, Holdings
from exporter.util.clock import iso
from exporter.util.nan import NAN

MISSED_LOOKS = 3
"""So many times its `every` an account may be silent before nobody knows what it holds."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference of one symbol; NaN where the two sides cannot be compared, and why."""

    value: float
    symbol: str
    at: float
    """As of when, Unix seconds."""
    missing: str = ""


class Reconciliation:
    """Compares the newest positions by both. What a side does not name it does not hold.

    An account is asked every few minutes. While its answer is older than the strategy's newest
    change, the comparison before that change stands: an order that was just filled is not an error.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._compared: dict[tuple[str, str], Difference] = {}

    def forget(self) -> None:
        """Symbols may have other names from now on."""
        self._compared.clear()

    def compare(self, name: str, limit: LimitSettings, strategy: str, *, ratio: bool) -> None:
        """Of one strategy under the limit `name`, each time that one side came; of several
        accounts, that of the worst one. As a `ratio` it is a share of the larger quantity."""
        sides = self._holdings.all_positions(strategy)
        own = sides.pop(OWN, None)
        if own is None or not sides or any(account.at < own.since for account in sides.values()):
            return
        found = [_worst(own, account, limit, ratio=ratio) for account in sides.values()]
        self._compared[name, strategy] = max(found, key=lambda one: one.value)

    def difference(
        self, name: str, limit: LimitSettings, strategy: str, settings: Strategy, now: float
    ) -> Difference:
        """The newest comparison, unless one of the sides is missing or too old."""
        sides = self._holdings.all_positions(strategy)
        oldest = min((side.at for side in sides.values()), default=now)
        unreadable = self._holdings.unreadable.get(strategy, "")
        if missing := unreadable or _missing(sides, limit, strategy, settings, now):
            return Difference(NAN, "", oldest, missing)
        if known := self._compared.get((name, strategy)):
            return known
        missing = f"the account's positions are older than the newest change by {strategy}"
        return Difference(NAN, "", oldest, missing)


def _missing(
    sides: Mapping[str, HeldPositions],
    limit: LimitSettings,
    strategy: str,
    settings: Strategy,
    now: float,
) -> str:
    """Why the sides cannot be compared; empty where they can."""
    if OWN not in sides:
        return f"{strategy} has not reported its positions"
    if len(sides) == 1:
        return f"the account of {strategy} has not said its positions"
    longest = settings.equity.every_seconds * MISSED_LOOKS if settings.equity else None
    for origin, side in sides.items():
        who = strategy if origin == OWN else f"the account of {strategy}"
        if limit.max_age and now - side.at > limit.max_age:
            return f"the positions by {who} are of {iso(side.at)}, which is older than `max_age`"
        if origin != OWN and longest and now - side.seen > longest:
            return f"{who} has not said its positions since {iso(side.seen)}"
    return ""


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
