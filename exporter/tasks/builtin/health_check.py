"""Every half hour: a look at feeds, strategies, tasks, state and disk. It logs and alerts nobody:
the rules do that, from metrics."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from exporter.tasks.builtin.parts import Parts, parts_of
from exporter.tasks.context import Context
from exporter.util.clock import iso
from exporter.util.units import format_duration

MIN_FREE_RATIO = 0.05
"""Below this share of free disk the check reports it."""


async def health_check(context: Context) -> int:
    """Log a summary, and a warning for each finding. Returns how many things it checked."""
    parts = parts_of(context)
    checks = (_feeds, _strategies, _tasks, _state, _disk)
    findings = [finding for check in checks for finding in check(parts, context.clock.now())]
    for finding in findings:
        context.log.warning("%s", finding, extra={"event": "health_finding"})
    checked = len(parts.config.feeds) + len(parts.config.strategies) + len(parts.config.tasks) + 2
    context.log.info(
        "%d things checked, %d findings", checked, len(findings),
        extra={"event": "health", "findings": len(findings)},
    )  # fmt: skip
    return checked


def _feeds(parts: Parts, now: float) -> Iterator[str]:
    for name, state in parts.feeds.feeds.items():
        late = parts.feeds.describe(state)
        if late:
            more = f", and {len(late) - 1} more" if len(late) > 1 else ""
            yield f"feed {name}: {late[0]}{more}"


def _strategies(parts: Parts, now: float) -> Iterator[str]:
    for name, strategy in parts.strategies.configured.items():
        summary = parts.strategies.summary(name)
        if summary["problem"]:
            yield f"strategy {name}: {summary['problem']}"
        limit = min(strategy.max_drawdown.values(), default=None)
        if limit is not None and summary["drawdown"] >= limit:
            yield f"strategy {name}: drawdown {summary['drawdown']:.2%}, limit {limit:.2%}"
        if strategy.max_age and not now - summary["last_update"] <= strategy.max_age:
            yield f"strategy {name}: no equity for over {format_duration(strategy.max_age)}"


def _tasks(parts: Parts, now: float) -> Iterator[str]:
    for name, task in parts.config.tasks.items():
        state = parts.state.tasks.get(name)
        if state and state.consecutive_failures >= task.alert_after:
            since = iso(state.last_success) if state.last_success else "never"
            failures = f"{state.consecutive_failures} failures in a row"
            yield f"task {name}: {failures}, last success {since}"


def _state(parts: Parts, now: float) -> Iterator[str]:
    if parts.state.trouble:
        yield f"state: {parts.state.trouble}"


def _disk(parts: Parts, now: float) -> Iterator[str]:
    for folder in {parts.config.state.parent, parts.config.logs.directory}:
        existing = next(p for p in (folder, *folder.parents) if p.exists())
        yield from _free(existing)


def _free(folder: Path) -> Iterator[str]:
    usage = shutil.disk_usage(folder)
    if usage.free < usage.total * MIN_FREE_RATIO:
        yield f"disk: {usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f} GB at {folder}"
