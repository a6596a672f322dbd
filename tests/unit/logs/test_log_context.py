"""Lines of a run say whose they are."""

from __future__ import annotations

import asyncio
import logging

from exporter.logs.log_context import ContextFilter, fields, run_fields


def _record(**extra: str) -> logging.LogRecord:
    record = logging.LogRecord("a", logging.INFO, "f", 1, "text", (), None)
    record.__dict__.update(extra)
    ContextFilter().filter(record)
    return record


def test_lines_inside_carry_the_fields_and_lines_outside_do_not() -> None:
    """Blocks nest, and leaving one restores what was before."""
    with fields(task="scan", run_id="r1"), fields(symbol="SPY.US"):
        inside = _record()
    assert (inside.task, inside.run_id, inside.symbol) == ("scan", "r1", "SPY.US")
    assert not hasattr(_record(), "task")


def test_what_extra_says_wins() -> None:
    """A line about another task is not relabelled."""
    with fields(task="scan"):
        assert _record(task="report").task == "report"


async def test_runs_side_by_side_keep_their_own_fields() -> None:
    """A context variable belongs to its coroutine and to the threads it starts."""

    async def run(name: str) -> tuple[str, str]:
        with fields(task=name):
            await asyncio.sleep(0)
            in_thread = await asyncio.to_thread(lambda: _record().task)
            return _record().task, in_thread

    assert await asyncio.gather(run("a"), run("b")) == [("a", "a"), ("b", "b")]
    assert run_fields.get() == {}
