"""One unit: a strategy's function called on the bars of a symbol with one set of parameters.

A function gets a DataFrame and the parameters by keyword. It returns target positions (a Series, or
as many numbers as there are bars; NaN keeps the one before), or a result of its own: a mapping with
``equity``, a Series of the account's value, and where it knows them ``profits`` of closed trades
and ``positions`` as shares of equity.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np

from exporter.backtests.bar_table import BarTable, Column
from exporter.backtests.numbers import Numbers, curve_numbers, trading_numbers
from exporter.backtests.trading import Account, simulate
from exporter.strategies import performance

MOST_ERROR = 500
MOST_TRACE = 4000
MOST_TRADES = 2000
"""Of one unit, the newest."""
_MOVES = 3
"""How many of the largest rises and falls a function is tried at, to see whether it looks ahead:
who knows the next bar has another position there than who does not."""
_YEAR = 366 * 86400.0
_QUICK_SECONDS = 0.1
"""A function that takes longer is tried at the largest of them alone."""

Strategy = Callable[..., Any]

_MOST_TARGET = 500
"""The highest leverage that a broker offers, of equity."""


class UnitError(Exception):
    """What a strategy returned cannot be used; the message says why, and what to return."""


@dataclass(frozen=True)
class ParameterTrial:
    """One set of parameters of a group."""

    number: int
    params: Mapping[str, Any]
    configured: bool
    """Of these, curve and trades are kept, and it is tried whether the function looks ahead."""


@dataclass(frozen=True)
class UnitGroup:
    """A strategy on one symbol: what one process computes."""

    run: str
    code: Sequence[str]
    bars: BarTable
    account: Account
    periods_per_year: float
    parts: int
    """Into how many the time is cut for a walk forward; 1: there is none."""
    trials: Sequence[ParameterTrial]


@dataclass(frozen=True)
class UnitResult:
    """What became of one unit. ``curve`` and ``trades`` are kept of the configured set alone."""

    number: int
    numbers: Numbers = field(default_factory=dict)
    error: str | None = None
    trace: str = ""
    seconds: float = 0.0
    curve: tuple[list[float], list[float]] | None = None
    """Starts of bars, and equity at their closes."""
    trades: Sequence[Sequence[Any]] = ()
    """As :class:`~exporter.backtests.trading.Trade` has them."""


def compute(group: UnitGroup) -> Iterator[UnitResult]:
    """One result for each trial. Whatever the user's code raises becomes an error."""
    me = os.getpid()
    for trial in group.trials:
        began = time.perf_counter()
        try:
            result = _one(group, trial)
        except BaseException as error:  # noqa: BLE001  the unit's edge: sys.exit() included
            result = UnitResult(trial.number, error=_text(error), trace=_trace(error))
        if os.getpid() != me:
            os._exit(0)  # a fork in the user's function came back here: it reports nothing
        took = time.perf_counter() - began
        yield UnitResult(
            result.number, result.numbers, result.error, result.trace, took, result.curve,
            result.trades,
        )  # fmt: skip


def load(run: str, code: Sequence[str]) -> Strategy:
    """The function. Raises what importing it raises."""
    for folder in reversed(code):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    module, _, name = run.partition(":")
    function: Strategy = getattr(importlib.import_module(module), name)
    return function


def _one(group: UnitGroup, trial: ParameterTrial) -> UnitResult:
    function, bars = load(group.run, group.code), group.bars
    if len(bars) < 2:
        raise UnitError("fewer than two bars: there is nothing to compute")
    began = time.perf_counter()
    value = function(bars.frame(), **trial.params)
    moves = _MOVES if time.perf_counter() - began < _QUICK_SECONDS else 1
    if isinstance(value, Mapping):
        return _own_result(group, trial, value, function, moves)
    targets = targets_of(value, bars)
    if trial.configured and (at := _looks_ahead(function, group, trial.params, targets, moves)):
        raise UnitError(at)
    simulated = simulate(bars, targets, group.account)
    numbers = curve_numbers(simulated.equity, bars.start, group.periods_per_year, parts=group.parts)
    numbers |= trading_numbers(simulated, group.periods_per_year)
    if not trial.configured:
        return UnitResult(trial.number, numbers)
    curve = (bars.start.tolist(), simulated.equity.tolist())
    trades = [astuple(trade) for trade in simulated.trades[-MOST_TRADES:]]
    return UnitResult(trial.number, numbers, curve=curve, trades=trades)


def targets_of(value: Any, bars: BarTable) -> Column:
    """What a function returned, as a target for each bar. Raises :class:`UnitError`."""
    index = getattr(value, "index", None)
    if index is not None and not callable(index):
        value = _by_bar(value, bars)
    try:
        targets = np.array(value, np.float64)  # a copy
    except (TypeError, ValueError) as error:
        raise UnitError(
            f"returned a {type(value).__qualname__}: return a Series of target positions, one for "
            "each bar, or a mapping with `equity`"
        ) from error
    if targets.shape != (len(bars),):
        raise UnitError(
            f"returned values of shape {targets.shape} for {len(bars)} bars: return one target for "
            "each bar"
        )
    if np.isinf(targets).any():
        raise UnitError("returned an infinite position: return shares of equity, such as 1 or -0.5")
    if (largest := float(np.nanmax(np.abs(targets), initial=0))) > _MOST_TARGET:
        raise UnitError(
            f"returned a position of {largest:g}: return shares of equity, such as 1 or -0.5, and "
            f"no quantities; {_MOST_TARGET} is the most"
        )
    if np.isnan(targets).all():
        raise UnitError(
            f"returned NaN for all of the {len(bars)} bars: return 0 for no position; if it needs "
            "more bars, raise `days`"
        )
    known = np.where(np.isnan(targets), 0, np.arange(1, len(targets) + 1))
    newest = np.maximum.accumulate(known)
    return np.where(newest == 0, 0.0, targets[newest - 1])


def _by_bar(value: Any, bars: BarTable) -> Any:
    """A Series as one value for each bar; a bar that it leaves out keeps the position before."""
    index, starts = value.index, bars.frame().index
    if index.equals(starts):
        return value
    if len(value) == len(bars) and list(index) == list(range(len(bars))):
        return value  # bars.reset_index(), or made of an array: by place
    if not index.is_unique:
        raise UnitError("returned a Series with two positions for one bar")
    if not len(value) or not index.isin(starts).all():
        raise UnitError(
            f"returned a Series of {len(value)} positions whose index is not that of `bars`: "
            "return pd.Series(positions, index=bars.index)"
        )
    return value.reindex(starts)


def _cuts(bars: BarTable, moves: int) -> list[int]:
    """How many bars a function also gets, each number once: half of them, all but the last one, and
    those before the largest `moves` rises and falls."""
    count = len(bars)
    quarter = count // 4  # a function may have no position before it has seen some bars
    by_move = quarter + np.argsort(np.diff(np.log(bars.close[quarter:])), kind="stable") + 1
    found = [count // 2, count - 1, *by_move[:moves].tolist(), *by_move[-moves:].tolist()]
    return [cut for cut in dict.fromkeys(found) if 2 <= cut < count]


def _looks_ahead(
    function: Strategy, group: UnitGroup, params: Mapping[str, Any], targets: Column, moves: int
) -> str | None:
    """Whether a position changes once later bars are known: the function then knows the future."""
    for cut in _cuts(group.bars, moves):
        shorter = group.bars.where(slice(0, cut))
        try:
            value = function(shorter.frame(), **params)
            again = targets_of(value, shorter)
        except Exception:  # noqa: BLE001, S112  too few bars for it, for example
            continue
        different = np.flatnonzero(~np.isclose(again, targets[:cut], rtol=1e-6, atol=1e-9))
        if len(different):
            at = int(different[0])
            moment = np.datetime64(int(group.bars.start[at]), "s")
            return (
                f"looks ahead: the position of the bar of {moment}Z is {again[at]:g} with the bars "
                f"up to then and {targets[at]:g} once later ones are known. Use past bars alone "
                "(no shift(-1), no mean of all bars), and seed what is random"
            )
    return None


def _own_looks_ahead(
    function: Strategy,
    group: UnitGroup,
    params: Mapping[str, Any],
    curve: tuple[Column, Column],
    moves: int,
) -> str | None:
    """The same for a curve of the function's own. At its end an engine may close what is open, so
    its last two values may differ by less than a quarter of the bar that comes next."""
    bars = group.bars
    for cut in _cuts(bars, moves) if moves > 1 else [len(bars) // 2]:
        shorter = bars.where(slice(0, cut))
        try:
            start, again = _series(function(shorter.frame(), **params)["equity"], shorter)
        except Exception:  # noqa: BLE001, S112  too few bars for it, for example
            continue
        allowed = np.full(len(again), 1e-6)
        allowed[-2:] += abs(bars.close[cut] / bars.close[cut - 1] - 1) / 4
        _, mine, known = np.intersect1d(start, curve[0], return_indices=True)
        apart = np.abs(again[mine] - curve[1][known]) > allowed[mine] * np.abs(again[mine])
        if apart.any():
            at = int(np.flatnonzero(apart)[0])
            moment = np.datetime64(int(start[mine[at]]), "s")
            return (
                f"looks ahead: its equity of {moment}Z is {again[mine[at]]:g} with the bars up to "
                f"then and {curve[1][known[at]]:g} once later ones are known. Use past bars alone, "
                "and seed what is random"
            )
    return None


def _own_result(
    group: UnitGroup,
    trial: ParameterTrial,
    value: Mapping[str, Any],
    function: Strategy,
    moves: int,
) -> UnitResult:
    if "equity" not in value:
        raise UnitError("returned a mapping without `equity`: add the account's value over time")
    start, equity = _series(value["equity"], group.bars)
    if not len(start):
        raise UnitError("`equity` is empty")
    if start[-1] < group.bars.start[0] or start[0] > group.bars.start[-1] + _YEAR:
        raise UnitError(
            f"`equity` is of {np.datetime64(int(start[0]), 's')}Z and later, which is not the time "
            "of the bars: give it their index"
        )
    if trial.configured and (
        at := _own_looks_ahead(function, group, trial.params, (start, equity), moves)
    ):
        raise UnitError(at)
    numbers = curve_numbers(equity, start, group.periods_per_year, parts=group.parts)
    numbers |= dict.fromkeys(("turnover", "win_rate", "exposure", "trades"), math.nan)
    if "profits" in value:
        profits = [float(one) for one in value["profits"]]
        numbers["trades"] = float(len(profits))
        numbers["win_rate"] = performance.win_rate(profits)
    if "positions" in value:
        positions = np.nan_to_num(np.asarray(value["positions"], np.float64))
        numbers["exposure"] = performance.time_in_market(positions.tolist())
    curve = (start.tolist(), equity.tolist()) if trial.configured else None
    return UnitResult(trial.number, numbers, curve=curve)


def _series(value: Any, bars: BarTable) -> tuple[Column, Column]:
    """Moments and values of an equity curve, finite and in order."""
    equity = np.asarray(value, np.float64)
    index = getattr(value, "index", None)
    if index is not None and hasattr(index, "as_unit"):
        aware = index if index.tz is not None else index.tz_localize("UTC")
        start = aware.as_unit("ms").asi8 / 1000.0
    elif equity.shape == (len(bars),):
        start = bars.start
    else:
        raise UnitError(
            f"`equity` has the shape {equity.shape} for {len(bars)} bars: return a Series by time"
        )
    if not np.isfinite(equity).all():
        raise UnitError("`equity` contains a value that is not a finite number")
    if len(start) > 1 and not (np.diff(start) > 0).all():
        raise UnitError("`equity` is not in the order of time, or has a moment twice")
    return start, equity


def _text(error: BaseException) -> str:
    name = type(error).__qualname__
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  a user's __str__ may raise anything
        text = ""
    if isinstance(error, UnitError):
        return text[:MOST_ERROR]
    if isinstance(error, SystemExit):
        return f"called sys.exit({text[:80]})"
    if isinstance(error, MemoryError):
        return "MemoryError: used more memory than `backtests.memory` allows"
    return f"{name}: {text}"[:MOST_ERROR] if text else name


def _trace(error: BaseException) -> str:
    if isinstance(error, UnitError):
        return ""
    try:
        return "".join(traceback.format_exception(error, limit=-5))[-MOST_TRACE:]
    except Exception:  # noqa: BLE001  a user's exception may not even print
        return ""
