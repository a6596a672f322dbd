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
    for a broken one; of sections in `unsure` nobody knows the names."""
    for name, limit in named["limits"].items():
        if not isinstance(limit, LimitSettings):
            continue
        place = f"limits.{name}"
        yield from _measure(place, name, limit, named, unsure)
        if "strategies" not in unsure:
            yield from _strategies(place, name, limit, named["strategies"])
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
        if of == "decay" and limit.expected is None:
            yield Mistake(
                place, "`decay` needs `expected: {annual_return: 15%, annual_volatility: 20%}`"
            )
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
    if limit.measure(name) not in NEED_EXCHANGE:
        return
    for strategy in limit.strategies or known:
        if (found := known.get(strategy)) and not found.exchange:
            yield Mistake(
                place,
                f"it counts sessions: give the strategy {strategy} an `exchange`, such as XNYS, or "
                "leave it out of `strategies`",
            )


def _names(metrics: Collection[str]) -> set[str]:
    """A counter goes by its name with and without `_total`."""
    return {*metrics, *(name.removesuffix("_total") for name in metrics)}


def _unknown(what: str, name: str, known: Collection[str], section: str) -> str:
    cure = (
        f"write one of {', '.join(known)}" if known else f"add it to `{section}:`, which is empty"
    )
    return f"unknown {what} {name!r}: {cure}"
