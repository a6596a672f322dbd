"""Bars that tests make up, and strategies as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exporter.backtests.bar_table import BarTable
from exporter.backtests.trading import Account
from exporter.backtests.unit import ParameterTrial, UnitGroup

FREE = Account(10_000.0, 0.0, 0.0)
"""Trading costs nothing."""
HOUR = 3600.0
START = 1_790_000_400.0


def bars(closes: Sequence[float], opens: Sequence[float] | None = None) -> BarTable:
    """Hourly bars; each opens at the close before it unless `opens` says otherwise."""
    close = np.asarray(closes, float)
    opened = np.concatenate([close[:1], close[:-1]]) if opens is None else np.asarray(opens, float)
    return BarTable.of(
        "X",
        {
            "start": START + HOUR * np.arange(len(close)), "open": opened, "close": close,
            "high": np.maximum(opened, close), "low": np.minimum(opened, close),
            "volume": np.full(len(close), 1000.0),
        },
    )  # fmt: skip


def random_bars(count: int, seed: int = 1) -> BarTable:
    """A random walk of 1 % a bar: nothing can be earned with it."""
    steps = np.random.default_rng(seed).normal(0.0, 0.01, count)
    return bars(100.0 * np.exp(np.cumsum(steps)))


def group(
    folder: Path,
    code: str,
    table: BarTable,
    *sets: dict[str, Any],
    name: str = "tried",
    parts: int = 1,
) -> UnitGroup:
    """The function ``f`` of a module with that code, on those bars; the first set is configured."""
    (folder / f"{name}.py").write_text(code)
    trials = [ParameterTrial(n, one, n == 0) for n, one in enumerate(sets or ({},))]
    return UnitGroup(f"{name}:f", [str(folder)], table, FREE, 1764.0, parts, trials)
