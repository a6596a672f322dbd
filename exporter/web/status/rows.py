"""Rows of the page, from what the parts know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from exporter.config import Strategy, Task
from exporter.feeds import FeedState
from exporter.state import Run
from exporter.state.ledger import Fill
from exporter.strategies.holdings import HeldPositions, Holdings
from exporter.strategies.tracker import Strategies
from exporter.util.nan import NAN, none_to_nan
from exporter.web.status.past_month import Curve
from exporter.web.status.view import (
    Failure,
    FeedRow,
    LogLine,
    RunRow,
    ServiceFacts,
    StrategyRow,
    TaskRow,
    TotalRow,
)

_LINES = 12
"""The end of the output; the run's page has all that was kept."""
_LATE = 20
_POSITIONS_SHOWN = 5


def run_row(run: Run) -> RunRow:
    """A run as the page shows it."""
    started = run.started_at if run.started_at is not None else run.claimed_at
    return RunRow(
        run.task,
        run.run_id,
        started,
        NAN if run.ended_at is None else max(0.0, run.ended_at - started),
        run.outcome,
        run.error or "",
        none_to_nan(run.its_slot),
        run.attempts,
        none_to_nan(run.items),
        run.message or "",
    )


def folder_of(task: Task) -> str:
    """Of a command the folder of its program, of a function its package."""
    if task.run:
        return task.run.partition(":")[0].partition(".")[0]
    paths = [part for part in task.command or () if "/" in part and not part.startswith("-")]
    return str(PurePath(paths[-1]).parent) if paths else ""


def task_row(
    task: Mapping[str, Any],
    runs: list[Run],
    config: Task | None = None,
    days: tuple[float, ...] = (),
) -> TaskRow:
    """One task with its runs, newest first. The newest failure is shown until a success follows."""
    failed = next((r for r in runs if r.outcome not in ("success", "blocked", None)), None)
    shown = failed if failed and task["consecutive_failures"] else None
    skipped = task["skipped_today"]
    return TaskRow(
        task["name"],
        "ok" if task["state"] == "well" else task["state"],
        task["severity"],
        task["schedule"],
        next_run=none_to_nan(task["next_slot"]),
        last_success=none_to_nan(task["last_success"]),
        last_failure=none_to_nan(task["last_failure"]),
        deadline=none_to_nan(task["deadline"]),
        paused_until=NAN if task.get("paused_by") else none_to_nan(task["paused_until"]),
        paused_by=task.get("paused_by") or "",
        skipped=skipped["at"] if skipped else NAN,
        instead=skipped["instead"] if skipped else "",
        held_back=task["held_back"]["why"] if task["held_back"] else "",
        failures=task["consecutive_failures"],
        items=none_to_nan(task["items"]),
        runs=tuple(run_row(run) for run in reversed(runs)),
        failure=_failure(shown) if shown else None,
        notice=task["notice"],
        days=days,
        strategy=config.strategy or "" if config else "",
        folder=folder_of(config) if config else "",
        service=_service(task.get("service")),
    )


def _service(known: Mapping[str, Any] | None) -> ServiceFacts | None:
    if known is None:
        return None
    if known["up"] is None:
        return ServiceFacts(known["unit"])
    return ServiceFacts(**{**known, "since": none_to_nan(known["since"])})


def _failure(run: Run) -> Failure:
    lines = (run.tail or "").splitlines()[-_LINES:]
    return Failure(
        none_to_nan(run.ended_at),
        run.outcome or "",
        run.error or "no reason given",
        run.run_id,
        tuple(LogLine(NAN, "", line) for line in lines),
    )


def feed_row(
    state: FeedState,
    now: float,
    days: tuple[float, ...] = (),
    *,
    silent: str = "",
    board: str = "",
) -> FeedRow:
    """One feed with its worst symbol, and how complete its last days were. `silent`: what its
    stream lacks; `board`: where Grafana shows it."""
    feed = state.feed
    watched = state.watched(now)
    overdue = state.overdue_by_moment(now)
    all_late = ((symbol, overdue[known.from_when]) for symbol, known in watched.items())
    late = sorted((each for each in all_late if each[1] > 0), key=lambda each: (-each[1], each[0]))
    missing = sum(
        state.calendar.expected_bars(feed.interval, state.known[symbol].from_when, now - feed.delay)
        for symbol, _ in late
    )
    ends = [known.end for known in state.known.values() if not math.isnan(known.end)]
    return FeedRow(
        state.name,
        feed.source,
        feed.interval,
        feed.exchange,
        open=state.calendar.is_open(now),
        symbols=len(feed.symbols),
        newest=max(ends, default=NAN),
        overdue=late[0][1] if late else 0.0,
        missing=missing,
        late=tuple(late[:_LATE]),
        late_count=len(late),
        limits=tuple(feed.max_overdue.items()),
        problem=state.problem or (state.takeover.text() if state.takeover else "") or silent,
        days=days,
        board=board,
    )


def strategy_row(
    name: str,
    strategy: Strategy,
    known: Mapping[str, Any],
    holdings: Holdings,
    curve: Curve | None = None,
    *,
    board: str = "",
) -> StrategyRow:
    """One strategy; `known` is its summary, `board` where Grafana shows it."""
    fill = holdings.last_fill(name)
    return StrategyRow(
        name,
        strategy.currency,
        known["equity"],
        known["drawdown"],
        known["pnl_today"],
        known["last_update"],
        strategy.max_age or NAN,
        tuple(strategy.max_drawdown.items()),
        strategy.severity,
        known["problem"] or "",
        curve.path if curve else "",
        curve.words if curve else "",
        held_words(holdings.newest_positions(name)),
        fill_words(fill),
        fill.at if fill else NAN,
        board,
    )


def total_row(strategies: Strategies) -> TotalRow | None:
    """All strategies together, where the config has `portfolio`."""
    if strategies.total is None:
        return None
    worths = strategies.worths()
    equity, pnl_today = strategies.total.sums(worths)
    missing = tuple(strategies.total.missing(worths))
    return TotalRow(strategies.total.currency, equity, pnl_today, missing)


def held_words(held: HeldPositions | None) -> str:
    """The positions in words: the first few, and how many more."""
    if held is None:
        return ""
    shown = [f"{one.quantity:f} {one.symbol}" for one in held.positions[:_POSITIONS_SHOWN]]
    more = len(held.positions) - len(shown)
    return (", ".join(shown) + (f" and {more} more" if more else "")) or "nothing"


def fill_words(fill: Fill | None) -> str:
    """The fill in words."""
    if fill is None:
        return ""
    quantity = "" if fill.quantity is None else f"{fill.quantity:f} "
    return f"{fill.side} {quantity}{fill.symbol} at {fill.price:f}"
