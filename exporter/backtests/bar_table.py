"""Bars of one symbol as columns: what travels to a worker, and what a strategy's function gets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.sources.base import Bar

if TYPE_CHECKING:
    import pandas as pd

Column = np.ndarray[Any, np.dtype[np.float64]]
PRICES = ("open", "high", "low", "close")
COLUMNS = (*PRICES, "volume")


@dataclass(frozen=True)
class BarTable:
    """Bars, oldest first. ``start`` is Unix seconds; prices are in the symbol's currency."""

    symbol: str
    start: Column
    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def of(cls, symbol: str, columns: Mapping[str, Any]) -> BarTable:
        """From columns by name."""
        made = {name: np.asarray(columns[name], np.float64) for name in ("start", *COLUMNS)}
        return cls(symbol, **made)

    @classmethod
    def of_bars(cls, symbol: str, bars: Iterable[Bar]) -> BarTable:
        """From what a source brought: sorted, each start once, the last one of two."""
        found = {bar.start: bar for bar in bars}
        rows = [found[at] for at in sorted(found)]
        names = ("start", *COLUMNS)
        return cls.of(symbol, {name: [getattr(bar, name) for bar in rows] for name in names})

    @property
    def columns(self) -> dict[str, Column]:
        """By name."""
        return {name: getattr(self, name) for name in ("start", *COLUMNS)}

    def where(self, wanted: Any) -> BarTable:
        """Those bars: a slice, or a mask."""
        return BarTable(self.symbol, **{n: column[wanted] for n, column in self.columns.items()})

    def between(self, start: float, end: float) -> BarTable:
        """Bars that start in [start, end)."""
        first, last = np.searchsorted(self.start, [start, end])
        return self.where(slice(int(first), int(last)))

    def usable(self) -> BarTable:
        """Without bars that have no price, or none above 0."""
        good = np.ones(len(self), bool)
        for name in PRICES:
            column = getattr(self, name)
            good &= np.isfinite(column) & (column > 0)
        return self if good.all() else self.where(good)

    def fingerprint(self) -> str:
        """Equal for equal bars alone."""
        digest = hashlib.sha256(self.symbol.encode())
        for column in self.columns.values():
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def frame(self) -> pd.DataFrame:
        """For a strategy's function: open, high, low, close and volume by the bar's start (UTC).
        Its own copy: what a function does to it, no other sees."""
        import pandas as pd

        index = pd.DatetimeIndex(
            (self.start * 1000).round().astype("datetime64[ms]"), tz="UTC", name="start"
        )
        frame = pd.DataFrame({name: getattr(self, name).copy() for name in COLUMNS}, index=index)
        frame.attrs["symbol"] = self.symbol
        return frame
