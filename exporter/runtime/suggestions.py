"""Limits that ``check`` suggests: those that a task's history has never reached."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from exporter.config import Config, Task
from exporter.state import Run, State, StateError
from exporter.util.clock import Clock
from exporter.util.units import format_duration

LEAST_SUCCESSES = 20
_MOST_RUNS = 200
_SHORTEST_SECONDS = 60.0
"""Prometheus looks every 15 s: what is shorter cannot be watched."""


def suggested_limits(config: Config, clock: Clock) -> dict[str, str]:
    """By task, what may be added to it and why; nothing where no state file can be read."""
    if not config.state.is_file():
        return {}
    try:
        runs = asyncio.run(_newest_runs(config, clock))
    except StateError:
        return {}
    found = {}
    for name, task in config.tasks.items():
        successes = [r for r in runs if r.task == name and r.outcome == "success"]
        if len(successes) >= LEAST_SUCCESSES and (lines := _limits(task, successes)):
            found[name] = f"{', '.join(lines)}   # quiet in its last {len(successes)} successes"
    return found


async def _newest_runs(config: Config, clock: Clock) -> Sequence[Run]:
    state = await asyncio.to_thread(State.open, config.state, clock, writer=False)
    try:
        return await state.history.runs_of(tuple(config.tasks), 0.0, _MOST_RUNS)
    finally:
        await state.close()


def _limits(task: Task, successes: Sequence[Run]) -> list[str]:
    """Half of the fewest items, and twice the longest duration."""
    if task.service:
        return []
    lines = []
    fewest = min(-math.inf if run.items is None else run.items for run in successes)
    if task.min_items is None and fewest >= 1:
        lines.append(f"min_items: {max(1, int(fewest // 2))}")
    longest = max((run.ended_at or 0.0) - (run.started_at or run.claimed_at) for run in successes)
    limit = max(_SHORTEST_SECONDS, math.ceil(2 * longest / 60) * 60.0)
    if task.max_duration is None and limit <= task.longest_duration_limit:
        lines.append(f"max_duration: {format_duration(limit).replace(' ', '')}")
    return lines
