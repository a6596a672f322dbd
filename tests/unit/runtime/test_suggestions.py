"""Limits that a task's history suggests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from exporter.config import Config, Task
from exporter.runtime.suggestions import LEAST_SUCCESSES, suggested_limits
from exporter.state import Claim, State
from tests.runs import ended
from tests.unit.clocks import ManualClock

NOW = 1_795_532_400.0


async def ran(state: State, number: int, seconds: float, items: float | None, outcome: str) -> None:
    """One run of an hour ago and more."""
    began = NOW - 3600.0 * (number + 1)
    await state.claim(Claim(f"r{number}", "scan", None, "manual", began))
    await state.finish(
        ended(
            f"r{number}", "scan", None, outcome,  # type: ignore[arg-type]
            started_at=began, ended_at=began + seconds, items=items,
        )
    )  # fmt: skip


async def history(path: Path, *runs: tuple[float, float | None, str]) -> None:
    """A state file with runs of one task: seconds, items, outcome."""
    state = State.open(path, ManualClock(NOW))
    try:
        await state.register({"scan": "every 1h"}, NOW)
        for number, run in enumerate(runs):
            await ran(state, number, *run)
    finally:
        await state.close()


def suggested(path: Path, **keys: object) -> dict[str, str]:
    """For a task that may run for ten minutes."""
    task = Task(command=("x",), schedule="every 1h", timeout=600.0, **keys)  # type: ignore[arg-type]
    return suggested_limits(Config(state=path, tasks={"scan": task}), ManualClock(NOW))


GOOD = [(50.0, 12.0, "success")] * (LEAST_SUCCESSES - 1) + [(70.0, 9.0, "success")]


@pytest.mark.parametrize(
    ("runs", "keys", "text"),
    [
        (GOOD, {}, "min_items: 4, max_duration: 3m   # quiet in its last 20 successes"),
        (GOOD, {"min_items": 1}, "max_duration: 3m   # quiet in its last 20 successes"),
        (GOOD[1:], {}, None),
        ([*GOOD, (400.0, 0.0, "error")], {},
         "min_items: 4, max_duration: 3m   # quiet in its last 20 successes"),
        ([*GOOD, (400.0, 0.0, "success")], {}, None),
        ([*GOOD, (2.0, None, "success")], {},
         "max_duration: 3m   # quiet in its last 21 successes"),
    ],
)  # fmt: skip
def test_limits_are_suggested_that_the_history_would_not_have_reached(
    tmp_path: Path,
    runs: list[tuple[float, float | None, str]],
    keys: dict[str, object],
    text: str | None,
) -> None:
    """Half of the fewest items and twice the longest run, from twenty successes on; nothing where
    a success may do nothing, or where twice the longest run is near the timeout."""
    path = tmp_path / "state.db"
    asyncio.run(history(path, *runs))
    assert suggested(path, **keys) == ({"scan": text} if text else {})


def test_without_a_state_file_nothing_is_suggested(tmp_path: Path) -> None:
    """And none is made."""
    assert suggested(tmp_path / "state.db") == {}
    assert not list(tmp_path.iterdir())
