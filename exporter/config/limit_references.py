"""What limits say of other sections: metrics, strategies, tasks and channels that must exist."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from exporter.config.config_errors import Mistake
from exporter.config.limit_keys import (
    NEED_EXCHANGE,
    OF_POSITIONS,
    STRATEGY_MEASURES,
    LimitSettings,
)
from exporter.config.task_keys import Strategy, Task


def limit_mistakes(
    named: Mapping[str, Mapping[str, Any]], unsure: Collection[str]
) -> Iterator[Mistake]:
    """Names that are not there, and what could not work. `named` has each section's entries, None
    for a broken one, and the strategies of `backtests`, where that section can be read; of sections
    in `unsure` nobody knows the names."""
    for name, limit in named["limits"].items():
        if not isinstance(limit, LimitSettings):
            continue
        place = f"limits.{name}"
        yield from _measure(place, name, limit, named, unsure)
        if "strategies" not in unsure:
            yield from _strategies(place, name, limit, named["strategies"])
            yield from _backtests(place, name, limit, named)
        yield from _action(f"{place}.on_critical", limit, named, unsure)


def _action(
    place: str,
    limit: LimitSettings,
    named: Mapping[str, Mapping[str, Any]],
    unsure: Collection[str],
) -> Iterator[Mistake]:
    action = limit.on_critical
    if action is None:
        return
    if "tasks" not in unsure:
        for task in action.pause:
            yield from _task(f"{place}.pause", task, named["tasks"])
        if action.run:
            yield from _task(f"{place}.run", action.run, named["tasks"])
    for channel in action.to:
        if "messages" not in unsure and channel not in named["messages"]:
            problem = _unknown("channel", channel, named["messages"], "messages")
            yield Mistake(f"{place}.to", problem)


def _task(place: str, name: str, known: Mapping[str, Task | None]) -> Iterator[Mistake]:
    if name not in known:
        yield Mistake(place, _unknown("task", name, known, "tasks"))
    elif (task := known[name]) and task.kind not in ("run", "command"):
        yield Mistake(
            place,
            f"{name} runs elsewhere: the exporter can neither start nor stop it. Name a task with "
            "`command` or `run`, for example one that stops it",
        )


def _measure(
    place: str,
    name: str,
    limit: LimitSettings,
    named: Mapping[str, Mapping[str, Any]],
    unsure: Collection[str],
) -> Iterator[Mistake]:
    of = limit.measure(name)
    if of not in OF_POSITIONS:
        for key in ("symbols", "max_age"):
            if getattr(limit, key):
                yield Mistake(f"{place}.{key}", f"only a limit of positions has `{key}`")
    if of in STRATEGY_MEASURES:
        if of in named["metrics"]:
            yield Mistake(f"metrics.{of}", f"{of} is something that limits know: use another name")
        unknown = limit.signals not in _names(named["metrics"])
        if of == "signals_without_fill" and "metrics" not in unsure and unknown:
            yield Mistake(
                f"{place}.signals",
                f"no metric is called {limit.signals!r}: declare under `metrics:` the one that "
                "says that signals came",
            )
        return
    if "metrics" in unsure:
        return
    if of not in _names(named["metrics"]):
        known = ", ".join([*STRATEGY_MEASURES, *named["metrics"]])
        yield Mistake(
            place,
            f"no metric or measure is called {of!r}: declare it under `metrics:`, or write `of:` "
            f"and one of {known}",
        )


def _strategies(
    place: str, name: str, limit: LimitSettings, known: Mapping[str, Strategy | None]
) -> Iterator[Mistake]:
    for strategy in limit.strategies:
        if strategy not in known:
            yield Mistake(
                f"{place}.strategies", _unknown("strategy", strategy, known, "strategies")
            )
    of = limit.measure(name)
    if of in OF_POSITIONS:
        yield from _accounts(place, limit, known)
    if of not in NEED_EXCHANGE:
        return
    for strategy in limit.strategies or known:
        if (found := known.get(strategy)) and not found.exchange:
            yield Mistake(
                place,
                f"it counts sessions: give the strategy {strategy} an `exchange`, such as XNYS, or "
                "leave it out of `strategies`",
            )


def _accounts(
    place: str, limit: LimitSettings, known: Mapping[str, Strategy | None]
) -> Iterator[Mistake]:
    """Positions are compared with those of an account that says some."""
    for strategy in limit.strategies or known:
        if not (found := known.get(strategy)):
            continue
        if found.equity is None:
            yield Mistake(
                place,
                f"it compares positions with those of the account: give the strategy {strategy} an "
                "`equity`, or leave it out of `strategies`",
            )
        elif found.equity.kind == "sql" and found.equity.positions is None:
            yield Mistake(
                place,
                f"it compares positions with those of the account: give strategies.{strategy}."
                "equity a SELECT of `positions`",
            )


def _backtests(
    place: str, name: str, limit: LimitSettings, named: Mapping[str, Mapping[str, Any]]
) -> Iterator[Mistake]:
    """Without `expected`, a strategy is compared with its own backtest."""
    if limit.measure(name) != "decay" or limit.expected is not None or "backtests" not in named:
        return
    for strategy in limit.strategies or named["strategies"]:
        if strategy in named["strategies"] and strategy not in named["backtests"]:
            yield Mistake(
                place,
                f"`decay` compares with a backtest: add {strategy} to `backtests.strategies`, "
                "write `expected: {annual_return: 15%, annual_volatility: 20%}`, or leave it out "
                "of `strategies`",
            )
        elif (found := named["backtests"].get(strategy)) and found.interval in ("1w", "1M"):
            yield Mistake(
                place,
                f"`decay` compares days: the backtest of {strategy} has bars of {found.interval}; "
                "use bars of a day or less, or write `expected`",
            )


def _names(metrics: Collection[str]) -> set[str]:
    """A counter goes by its name with and without `_total`."""
    return {*metrics, *(name.removesuffix("_total") for name in metrics)}


def _unknown(what: str, name: str, known: Collection[str], section: str) -> str:
    cure = (
        f"write one of {', '.join(known)}" if known else f"add it to `{section}:`, which is empty"
    )
    return f"unknown {what} {name!r}: {cure}"
