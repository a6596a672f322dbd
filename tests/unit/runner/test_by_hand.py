"""Runs that a person starts for slots of the past."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from exporter.runner.by_hand import ByHand
from exporter.runner.results import BusyError
from exporter.state import Run
from tests.runner_bench import Bench, until


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.runner.drain(0)


async def by_hand(bench: Bench, **wanted: object) -> Run:
    before = len(bench.store.ends)
    await bench.runner.start_manual("t", ByHand(**wanted))  # type: ignore[arg-type]
    await until(lambda: len(bench.store.ends) > before)
    return bench.store.ends[-1]


async def test_a_slot_of_the_past_says_nothing_about_the_task_now(bench: Bench) -> None:
    """Neither a success nor a failure of it: alerts look at what is known of the task."""
    bench.configure(run="user_code:raises")
    job = bench.runner.submit("t", 100.0, "schedule")
    await job
    known = bench.store.tasks["t"]
    assert known.consecutive_failures == 1
    bench.configure(run="user_code:two")
    run = await by_hand(bench, slot=50.0, is_newest=False)
    assert (run.outcome, run.slot, run.trigger) == ("success", 50.0, "backfill")
    now = bench.store.tasks["t"]
    assert (now.last_success, now.covered_until) == (None, known.covered_until)
    assert now.consecutive_failures == 1
    bench.configure(run="user_code:raises")
    await by_hand(bench, slot=60.0, is_newest=False)
    assert bench.store.tasks["t"].consecutive_failures == 1
    assert bench.runner._record.failures()["t"]["run_id"] == bench.store.ends[0].run_id


async def test_the_newest_slot_heals_the_task(bench: Bench) -> None:
    """It is as if its own run had succeeded."""
    bench.configure(run="user_code:raises")
    await bench.runner.submit("t", 100.0, "schedule")
    bench.configure(run="user_code:two")
    run = await by_hand(bench, slot=100.0)
    assert (run.outcome, run.slot, run.for_slot) == ("success", None, 100.0)
    assert bench.store.tasks["t"].consecutive_failures == 0


async def test_a_slot_that_has_succeeded_is_not_run_again_by_mistake(bench: Bench) -> None:
    """Whoever ran it first; the schedule does not either."""
    bench.configure(run="user_code:two")
    await by_hand(bench, slot=100.0)
    with pytest.raises(BusyError, match="t has succeeded for its slot of 1970-01-01T00:01:40Z"):
        await by_hand(bench, slot=100.0)
    assert await bench.runner.submit("t", 100.0, "schedule") is None
    assert (await by_hand(bench, slot=100.0, again=True)).for_slot == 100.0


async def test_parameters_reach_functions_and_commands(bench: Bench) -> None:
    """On top of the task's own, and only in this run; they are kept with it."""
    bench.configure(run="user_code:seven", params={"n": 1})
    run = await by_hand(bench, params={"n": 5})
    assert (run.items, run.params) == (5, '{"n": 5}')
    assert (await by_hand(bench)).items == 1
    text = 'echo "$QUANT_PARAM_DEPTH $QUANT_PARAM_DRY $QUANT_SLOT"'
    bench.configure(command=["sh", "-c", text], params={"depth": 1})
    run = await by_hand(bench, slot=100.0, params={"dry": True})
    assert run.tail == "1 true 100"
