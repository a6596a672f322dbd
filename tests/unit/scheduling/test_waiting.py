"""Tasks that run after others: when their slots start, and what happens when they cannot."""

from __future__ import annotations

import pytest

from exporter.config import Config, Task
from tests.unit.clocks import ManualClock
from tests.unit.scheduling.test_scheduler import SchedulerBench, at, scheduler_at, task

BEFORE = "2026-11-24T05:59"


def pair(max_wait: str = "1h", **fetch: object) -> dict[str, Task]:
    return {
        "fetch": task("06:00", **{"timeout": "30m", **fetch}),
        "scan": task("07:00", after=["fetch"], max_wait=max_wait),
    }


async def at_seven(**tasks: Task) -> tuple[SchedulerBench, ManualClock]:
    """Both slots have come; only the first task was started."""
    h, clock = await scheduler_at(BEFORE, **(tasks or pair()))
    clock.set(at("2026-11-24T06:00"))
    await h.scheduler.sweep()
    assert [name for name, *_ in h.runner.submitted] == ["fetch"]
    clock.set(at("2026-11-24T07:00"))
    return h, clock


def started(h: SchedulerBench) -> list[tuple[str, float, str]]:
    return [each for each in h.runner.submitted if each[0] != "fetch"]


def succeed(h: SchedulerBench, name: str, moment: float) -> None:
    h.state.change(name, last_success=moment, covered_until=moment, consecutive_failures=0)


def fail(h: SchedulerBench, name: str, moment: float, text: str) -> None:
    h.state.change(name, last_failure=moment, consecutive_failures=1)
    h.state.values["task_failure"] = {name: {"text": text}}


async def test_a_slot_starts_at_once_when_the_task_before_it_has_succeeded() -> None:
    """A success covers every slot up to its end: that of a run by hand is as good."""
    h, clock = await at_seven()
    succeed(h, "fetch", at("2026-11-24T06:40"))
    await h.scheduler.sweep()
    assert started(h) == [("scan", clock.now(), "schedule")]
    assert h.scheduler.waits_for("scan") is None


async def test_a_slot_waits_until_the_task_before_it_succeeds() -> None:
    """However often it is looked at, and then it starts once, as of its own time."""
    h, clock = await at_seven()
    h.runner.busy.add("fetch")
    await h.scheduler.sweep()
    await h.scheduler.sweep()
    waits = h.scheduler.waits_for("scan")
    assert waits is not None
    assert [each.why for each in waits[1]] == ["fetch is still running"]
    assert h.value("quant_task_waiting", task="scan") == 1
    slot = clock.now()
    clock.jump(1800)
    h.runner.busy.clear()
    succeed(h, "fetch", clock.now())
    await h.scheduler._waiting.look()
    await h.scheduler._waiting.look()
    assert started(h) == [("scan", slot, "schedule")]
    assert h.value("quant_task_waiting", task="scan") == 0


async def test_the_success_of_yesterday_is_not_enough() -> None:
    """Unless the other task does not run today."""
    h, _ = await at_seven()
    succeed(h, "fetch", at("2026-11-23T06:10"))
    await h.scheduler.sweep()
    assert started(h) == []
    weekly = pair() | {"fetch": task("mon 06:00")}
    h, clock = await scheduler_at(BEFORE, **weekly)
    succeed(h, "fetch", at("2026-11-23T06:10"))
    clock.set(at("2026-11-24T07:00"))
    await h.scheduler.sweep()
    assert [name for name, *_ in started(h)] == ["scan"]


async def test_what_does_not_run_on_a_holiday_is_waited_for_by_its_last_session() -> None:
    """Thanksgiving: New York's fetch of Wednesday is the newest for a task that runs every day."""
    both = pair() | {"fetch": task("06:00", exchange="XNYS")}
    h, clock = await scheduler_at("2026-11-26T06:59", **both)
    succeed(h, "fetch", at("2026-11-25T06:10"))
    clock.set(at("2026-11-26T07:00"))
    await h.scheduler.sweep()
    assert [name for name, *_ in started(h)] == ["scan"]


async def test_a_slot_that_waited_too_long_is_blocked_and_covered_by_the_failure() -> None:
    """The failed task alerts; the one behind it does neither fail nor become late."""
    h, clock = await at_seven()
    fail(h, "fetch", at("2026-11-24T06:03"), "exit code 1: no route")
    await h.scheduler.sweep()
    before = h.scheduler.deadline("scan")
    assert before == at("2026-11-24T08:10")
    clock.set(at("2026-11-24T08:00"))
    await h.scheduler._waiting.look()
    why = "fetch failed at Tue 06:03: exit code 1: no route"
    assert h.runner.blocked == [("scan", at("2026-11-24T07:00"), why, True)]
    assert started(h) == []
    assert h.scheduler.deadline("scan") == at("2026-11-25T08:10")
    await h.scheduler.sweep()
    assert len(h.runner.blocked) == 1


@pytest.mark.parametrize(
    ("state", "why", "covered"),
    [
        ("running", "fetch is still running", False),
        ("missed", "fetch did not run at its slot of Tue 06:00", True),
        ("paused", "fetch is paused until Wed 06:00", True),
        ("new", "fetch did not run at its slot of Tue 06:00", False),
    ],
)
async def test_a_block_is_covered_where_somebody_hears_of_it_anyway(
    state: str, why: str, covered: bool
) -> None:
    """What nobody else says, its own deadline does."""
    h, clock = await at_seven()
    if state == "running":
        h.runner.busy.add("fetch")
    if state == "paused":
        h.state.change("fetch", paused_until=at("2026-11-25T06:00"))
    if state == "new":
        h.state.change("fetch", covered_until=at("2026-11-24T06:30"))
    await h.scheduler.sweep()
    clock.set(at("2026-11-24T08:00"))
    await h.scheduler._waiting.look()
    assert h.runner.blocked == [("scan", at("2026-11-24T07:00"), why, covered)]


async def test_a_chain_names_its_first_failure() -> None:
    """And is covered by it."""
    chain = pair() | {"trade": task("07:00", after=["scan"], max_wait="1h")}
    h, clock = await at_seven(**chain)
    fail(h, "fetch", at("2026-11-24T06:03"), "exit code 1")
    await h.scheduler.sweep()
    clock.set(at("2026-11-24T08:00"))
    await h.scheduler._waiting.look()
    found = {name: (why, covered) for name, _, why, covered in h.runner.blocked}
    assert found == {
        "scan": ("fetch failed at Tue 06:03: exit code 1", True),
        "trade": ("scan did not run: fetch failed at Tue 06:03: exit code 1", True),
    }


async def test_a_block_does_not_cover_what_the_task_owes_itself() -> None:
    """A slot that it missed the day before keeps its alert."""
    h, clock = await at_seven()
    h.state.change("scan", covered_until=at("2026-11-22T08:00"))
    fail(h, "fetch", at("2026-11-24T06:03"), "exit code 1")
    await h.scheduler.sweep()
    clock.set(at("2026-11-24T08:00"))
    await h.scheduler._waiting.look()
    assert [covered for *_, covered in h.runner.blocked] == [False]
    assert h.scheduler.deadline("scan") == at("2026-11-23T08:10")


async def test_a_slot_that_waits_goes_on_waiting_after_a_restart() -> None:
    """Long after its grace; a slot that did not wait yet has its grace alone."""
    h, clock = await at_seven()
    fail(h, "fetch", at("2026-11-24T06:03"), "exit code 1")
    await h.scheduler.sweep()
    clock.set(at("2026-11-24T07:40"))
    again = SchedulerBench(clock, h.state)
    await again.apply(**pair())
    await again.scheduler.sweep()
    assert again.scheduler.waits_for("scan") is not None
    assert again.missed("scan") == 0
    succeed(again, "fetch", clock.now())
    await again.scheduler._waiting.look()
    assert again.runner.submitted == [("scan", at("2026-11-24T07:00"), "catch_up")]
    h.state.values.clear()
    h.state.claimed.clear()
    h.state.change("scan", cursor=at("2026-11-24T06:30"))
    without = SchedulerBench(clock, h.state)
    await without.apply(**pair())
    await without.scheduler.sweep()
    assert (without.runner.submitted, without.missed("scan")) == ([], 1)


async def test_after_a_restart_both_are_caught_up_in_order() -> None:
    """The exporter was down when both had their slots."""
    both = {
        "fetch": task("06:00", grace="2h"),
        "scan": task("06:00", grace="2h", after=["fetch"]),
    }
    h, clock = await scheduler_at(BEFORE, **both)
    clock.set(at("2026-11-24T06:50"))
    await h.scheduler.sweep()
    assert [name for name, *_ in h.runner.submitted] == ["fetch"]
    succeed(h, "fetch", clock.now())
    await h.scheduler._waiting.look()
    assert started(h) == [("scan", at("2026-11-24T06:00"), "catch_up")]


async def test_the_next_slot_takes_the_place_of_one_that_waits() -> None:
    """None is lost without a word, and at most one waits."""
    both = pair() | {"scan": task("every 30m", after=["fetch"], max_wait="2h")}
    h, clock = await scheduler_at(BEFORE, **both)
    for moment in ("06:00", "06:30", "07:00"):
        clock.set(at(f"2026-11-24T{moment}"))
        await h.scheduler.sweep()
    assert [slot for _, slot, *_ in h.runner.blocked] == [
        at("2026-11-24T06:00"), at("2026-11-24T06:30"),
    ]  # fmt: skip
    succeed(h, "fetch", clock.now())
    await h.scheduler._waiting.look()
    assert started(h) == [("scan", at("2026-11-24T07:00"), "schedule")]


async def test_what_is_paused_while_it_waits_is_skipped() -> None:
    """A pause runs nothing."""
    h, clock = await at_seven()
    await h.scheduler.sweep()
    h.state.change("scan", paused_until=clock.now() + 600)
    succeed(h, "fetch", clock.now())
    await h.scheduler._waiting.look()
    assert (started(h), h.skipped("paused", "scan")) == ([], 1)


async def test_a_run_by_hand_is_waited_for_rather_than_an_overlap() -> None:
    """As long as the slot may wait."""
    h, clock = await at_seven()
    succeed(h, "fetch", clock.now())
    h.runner.busy.add("scan")
    await h.scheduler.sweep()
    assert started(h) == []
    h.runner.busy.clear()
    await h.scheduler._waiting.look()
    assert len(started(h)) == 1


async def test_a_reload_drops_what_waited_for_a_schedule_that_is_gone() -> None:
    """And starts what need not wait any longer."""
    h, _ = await at_seven()
    await h.scheduler.sweep()
    await h.apply(**pair())
    assert h.scheduler.waits_for("scan") is not None
    await h.scheduler.apply(Config(tasks=pair() | {"scan": task("07:00")}))
    await h.scheduler._waiting.look()
    assert [name for name, *_ in started(h)] == ["scan"]
    h, _ = await at_seven()
    await h.scheduler.sweep()
    await h.scheduler.apply(Config(tasks={"fetch": task("06:00")}))
    assert h.scheduler.waits_for("scan") is None


async def test_an_external_task_may_be_a_little_early() -> None:
    """As everywhere: the clocks of other machines differ."""
    both = pair() | {"fetch": Task(external=True, schedule="06:00")}
    h, clock = await scheduler_at(BEFORE, **both)
    succeed(h, "fetch", at("2026-11-24T06:00") - 8)
    clock.set(at("2026-11-24T07:00"))
    await h.scheduler.sweep()
    assert len(started(h)) == 1


async def test_a_slot_waits_for_a_run_of_the_past_rather_than_being_left_out() -> None:
    """A backfill must not cost the slots of its own task."""
    h, clock = await scheduler_at(BEFORE, t=task("06:00"))
    h.runner.busy.add("t")
    h.runner.backfilling.add("t")
    clock.set(at("2026-11-24T06:00"))
    await h.scheduler.sweep()
    assert h.runner.submitted == []
    h.runner.busy.clear()
    await h.scheduler._waiting.look()
    assert h.runner.submitted == [("t", at("2026-11-24T06:00"), "schedule")]
