"""The scheduler: each slot is run, missed or skipped exactly once, whatever the clock does."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import math
import tracemalloc
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry

from exporter.calendars.loader import Calendar, Calendars
from exporter.config import Config, Task
from exporter.metrics import Metrics
from exporter.scheduling.forecast import SkippedSlot
from exporter.scheduling.scheduler import Scheduler
from exporter.state import State, StateError, TaskState
from exporter.util.clock import SystemClock
from tests.unit.clocks import ManualClock
from tests.unit.tables import calendar


def at(text: str, zone: str = "America/New_York") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


class FakeState:
    """Keeps task states in memory, as the real mirror does."""

    def __init__(self) -> None:
        self.tasks: dict[str, TaskState] = {}
        self.pause_all_until: float | None = None
        self.durable = True
        self.probes = 0
        self.history = self
        self.covers: list[float] = []
        self.claimed: set[tuple[str, float]] = set()
        self.values: dict[str, dict[str, Any]] = {}

    def change(self, task: str, **values: float | None) -> None:
        self.tasks[task] = dataclasses.replace(self.tasks[task], **values)  # type: ignore[arg-type]

    async def register(self, tasks: Mapping[str, str], now: float) -> None:
        for name, key in tasks.items():
            if name not in self.tasks or self.tasks[name].schedule != key:
                self.tasks[name] = TaskState(cursor=now, covered_until=now, schedule=key)

    async def advance(self, task: str, cursor: float) -> None:
        if not self.durable:
            raise StateError("the disk is full")
        self.change(task, cursor=cursor)

    async def lower(self, task: str, now: float) -> None:
        self.change(task, cursor=now, covered_until=now)

    async def restore_cover(self, now: float) -> None:
        self.covers.append(now)

    async def claimed_slots(self, task: str, after: float, until: float) -> frozenset[float]:
        return frozenset(at for name, at in self.claimed if name == task and after < at <= until)

    async def probe(self) -> None:
        self.probes += 1

    def kept(self, kind: str) -> dict[str, Any]:
        return dict(self.values.get(kind, {}))

    async def keep(self, kind: str, name: str, value: Any) -> None:
        self.values.setdefault(kind, {})[name] = value


class FakeRunner:
    """Notes what is submitted; the claim moves the cursor, as the real one's does."""

    def __init__(self, state: FakeState) -> None:
        self.state = state
        self.submitted: list[tuple[str, float, str]] = []
        self.blocked: list[tuple[str, float, str, bool]] = []
        self.busy: set[str] = set()
        self.backfilling: set[str] = set()

    def is_busy(self, task: str) -> bool:
        return task in self.busy

    def is_backfilling(self, task: str) -> bool:
        return task in self.backfilling

    async def block(self, task: str, slot: float, why: str, *, covered: bool) -> None:
        self.blocked.append((task, slot, why, covered))
        if covered:
            self.state.change(task, covered_until=slot)
        self.state.change(task, cursor=slot)

    def submit(self, task: str, slot: float | None, trigger: str) -> asyncio.Future[None]:
        assert slot is not None
        self.submitted.append((task, slot, trigger))
        if self.state.durable:
            self.state.change(task, cursor=slot)
            self.state.claimed.add((task, slot))
        return asyncio.get_running_loop().create_future()


class FakeCalendars(Calendars):
    """Real calendars without the loading."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"), {}, SystemClock())

    def get(self, name: str) -> Calendar:
        return calendar(name)


class SchedulerBench:
    """A scheduler with its clock, state, runner and metrics."""

    def __init__(self, clock: ManualClock | SystemClock, state: FakeState | None = None) -> None:
        self.clock = clock
        self.state = state or FakeState()
        self.runner = FakeRunner(self.state)
        self.registry = CollectorRegistry()
        self.scheduler = Scheduler(
            self.state, self.runner, FakeCalendars(), clock, Metrics(self.registry)
        )

    async def apply(self, **tasks: Task) -> None:
        await self.scheduler.apply(Config(tasks=tasks))

    def value(self, name: str, **labels: str) -> float:
        found = self.registry.get_sample_value(name, labels)
        assert found is not None, f"no series {name} {labels}"
        return found

    def missed(self, task: str = "t") -> float:
        return self.value("quant_task_missed_total", task=task)

    def skipped(self, reason: str, task: str = "t") -> float:
        return self.value("quant_task_skipped_total", task=task, reason=reason)


def task(schedule: str, **more: object) -> Task:
    return Task.model_validate({"run": "m:f", "schedule": schedule, **more})


async def scheduler_at(start: str, **tasks: Task) -> tuple[SchedulerBench, ManualClock]:
    clock = ManualClock(at(start))
    made = SchedulerBench(clock)
    await made.apply(**tasks)
    return made, clock


async def test_a_slot_on_time_starts_once() -> None:
    """Two sweeps at the slot submit one run."""
    h, clock = await scheduler_at("2026-11-24T06:59", t=task("07:00"))
    clock.set(at("2026-11-24T07:00"))
    await h.scheduler.sweep()
    await h.scheduler.sweep()
    assert h.runner.submitted == [("t", at("2026-11-24T07:00"), "schedule")]
    assert h.missed() == 0


async def test_after_eight_hours_asleep_the_newest_slot_within_grace_starts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """16 slots were slept through: one starts late, 15 are missed, in one line."""
    h, clock = await scheduler_at("2026-11-24T00:01", t=task("every 30m", grace="10m"))
    clock.jump(8 * 3600)
    with caplog.at_level(logging.WARNING):
        await h.scheduler.sweep()
    assert h.runner.submitted == [("t", at("2026-11-24T08:00"), "catch_up")]
    assert h.missed() == 15
    (line,) = [r for r in caplog.records if r.getMessage().startswith("t missed")]
    assert line.getMessage() == "t missed 15 slots, 2026-11-24T05:30:00Z to 2026-11-24T12:30:00Z"
    await h.scheduler.sweep()
    assert h.missed() == 15


async def test_beyond_grace_all_are_missed_and_the_cursor_moves() -> None:
    """Nothing starts, and a new process does not count the same slots again."""
    h, clock = await scheduler_at("2026-11-24T06:59", t=task("07:00", grace="5m"))
    clock.set(at("2026-11-24T07:06"))
    await h.scheduler.sweep()
    assert (h.runner.submitted, h.missed()) == ([], 1)
    again = SchedulerBench(clock, h.state)
    await again.apply(t=task("07:00", grace="5m"))
    await again.scheduler.sweep()
    assert again.missed() == 0


async def test_many_slots_are_counted_without_being_held() -> None:
    """A day of seconds: the newest starts, the others are missed, none is kept in a list."""
    h, clock = await scheduler_at("2026-11-24T07:00", t=task("every 1s"))
    clock.set(at("2026-11-25T09:00"))
    tracemalloc.start()
    await h.scheduler.sweep()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert h.runner.submitted == [("t", at("2026-11-25T09:00"), "schedule")]
    assert h.missed() == 26 * 3600 - 1
    assert peak < 1_000_000


@pytest.mark.parametrize(("late", "starts"), [(5, True), (60, False)])
async def test_without_catch_up_only_a_slot_on_time_starts(late: float, starts: bool) -> None:
    """Five seconds is a slow wake-up; a minute is a slot that nothing waited for."""
    h, clock = await scheduler_at("2026-11-24T06:59", t=task("07:00", grace="1h", catch_up=False))
    clock.set(at("2026-11-24T07:00") + late)
    await h.scheduler.sweep()
    assert (bool(h.runner.submitted), h.missed()) == (starts, 0 if starts else 1)


async def test_a_clock_set_back_keeps_time_from_there() -> None:
    """The cursor comes down; slots come again (claims keep them from running twice)."""
    h, clock = await scheduler_at("2026-11-24T06:59", t=task("every 30m"))
    clock.set(at("2026-11-24T07:00"))
    await h.scheduler.sweep()
    clock.jump(-3600)
    await h.scheduler.sweep()
    assert h.state.tasks["t"].cursor == at("2026-11-24T06:00")
    assert h.value("quant_task_next_slot_timestamp_seconds", task="t") == at("2026-11-24T06:30")
    clock.set(at("2026-11-24T06:30"))
    await h.scheduler.sweep()
    assert h.runner.submitted[-1] == ("t", at("2026-11-24T06:30"), "schedule")
    assert h.missed() == 0


async def succeed(h: SchedulerBench, clock: ManualClock, slot: str, seconds: float = 5.0) -> None:
    """The slot's run starts on time and succeeds."""
    clock.set(at(slot))
    await h.scheduler.sweep()
    assert h.runner.submitted[-1][1] == at(slot)
    h.state.change("t", covered_until=at(slot) + seconds, last_success=at(slot) + seconds)


async def test_a_clock_that_was_slow_for_a_while_makes_no_done_task_late() -> None:
    """The machine boots three minutes slow after a success, and its clock is corrected."""
    h, clock = await scheduler_at("2026-11-24T06:50", t=task("07:00", grace="20s", timeout="20s"))
    await succeed(h, clock, "2026-11-24T07:00")
    clock.jump(-180)
    await h.scheduler.sweep()
    deadline = "quant_task_deadline_timestamp_seconds"
    assert h.value(deadline, task="t") > clock.now()
    clock.jump(180 + 60)
    await h.scheduler.sweep()
    assert h.value(deadline, task="t") == at("2026-11-25T07:00:40")
    assert (len(h.runner.submitted), h.missed()) == (1, 0)


async def test_slots_that_ran_by_a_wrong_clock_are_not_missed_when_it_is_right_again() -> None:
    """Neither those that have a claim nor twice those that have none."""
    h, clock = await scheduler_at("2026-11-24T06:59", t=task("every 1m", grace="5s"))
    for minute in (0, 1, 2, 3):
        await succeed(h, clock, f"2026-11-24T07:0{minute}")
    clock.jump(-180)
    await h.scheduler.sweep()
    clock.jump(180 + 120 + 30)  # right again, and two more slots have passed unseen
    await h.scheduler.sweep()
    assert (len(h.runner.submitted), h.missed()) == (4, 2)


async def test_a_success_by_a_clock_that_was_years_ahead_covers_nothing_now() -> None:
    """Set right, the task is due by the right clock, and late when nothing comes."""
    h, clock = await scheduler_at("2026-11-24T06:50", t=task("07:00", grace="20s", timeout="20s"))
    clock.jump(4 * 365 * 86400)
    await h.scheduler.sweep()
    h.state.change("t", covered_until=clock.now() + 5, last_success=clock.now() + 5)
    clock.jump(-4 * 365 * 86400)
    await h.scheduler.sweep()
    deadline = "quant_task_deadline_timestamp_seconds"
    assert h.value(deadline, task="t") == at("2026-11-24T07:00:40")
    clock.set(at("2026-11-24T08:00"))
    assert h.value(deadline, task="t") == at("2026-11-24T07:00:40")


async def test_a_state_that_cannot_be_read_still_starts_late_slots() -> None:
    """The claim decides then."""
    h, clock = await scheduler_at("2026-11-24T06:59", t=task("07:00", grace="5m"))

    async def broken(task: str, after: float, until: float) -> frozenset[float]:
        raise StateError("the disk is gone")

    h.state.claimed_slots = broken  # type: ignore[method-assign]
    clock.set(at("2026-11-24T07:01"))
    await h.scheduler.sweep()
    assert h.runner.submitted == [("t", at("2026-11-24T07:00"), "catch_up")]


@pytest.mark.parametrize(
    ("schedule", "more", "success", "slot"),
    [
        ("07:00", {}, "2026-11-24T06:59:50", "2026-11-25T07:00"),
        ("07:00", {}, "2026-11-24T06:59:49", "2026-11-24T07:00"),
        ("07:00", {"early": "1m"}, "2026-11-24T06:59:00", "2026-11-25T07:00"),
        ("07:00", {"early": 0}, "2026-11-24T06:59:59", "2026-11-24T07:00"),
        ("every 1m", {}, "2026-11-24T06:59:57", "2026-11-24T07:01"),  # 5 % of a minute: 3 s
        ("every 1m", {}, "2026-11-24T06:59:56", "2026-11-24T07:00"),
    ],
)
async def test_a_success_just_before_the_slot_covers_it_for_an_external_task(
    schedule: str, more: dict[str, object], success: str, slot: str
) -> None:
    """Clocks differ; but a success of the last interval covers nothing of the next."""
    spec = {"external": True, "schedule": schedule, "grace": 0, "max_runtime": "1s", **more}
    h, clock = await scheduler_at("2026-11-24T06:50", t=Task.model_validate(spec))
    clock.set(at(success))
    h.state.change("t", covered_until=at(success), last_success=at(success))
    assert h.value("quant_task_deadline_timestamp_seconds", task="t") == at(slot) + 1


async def test_only_a_success_is_early_and_only_of_an_external_task() -> None:
    """A task that was just configured, and one that we start ourselves, have no other clock."""
    external = Task.model_validate({"external": True, "schedule": "07:00", "max_runtime": "1s"})
    h, _ = await scheduler_at("2026-11-24T06:59:55", t=external, own=task("07:00", timeout="1s"))
    now = at("2026-11-24T06:59:55")
    h.state.change("own", covered_until=now, last_success=now)
    for name in ("t", "own"):
        deadline = h.value("quant_task_deadline_timestamp_seconds", task=name)
        assert deadline == at("2026-11-24T07:05:01")


async def test_next_slot_and_deadline_follow_the_exchange_and_the_zone() -> None:
    """Over Thanksgiving to the day after; by London's clock where the config says so."""
    clock = ManualClock(at("2026-11-25T12:00"))
    h = SchedulerBench(clock)
    plan = task("10:00", exchange="XNYS", grace=0, timeout="1m")
    await h.scheduler.apply(Config(timezone="Europe/London", tasks={"t": plan}))
    slot = at("2026-11-27T10:00", "Europe/London")
    assert h.scheduler.next_slot("t") == slot
    assert h.scheduler.deadline("t") == slot + 60
    clock.set(slot + 1)
    assert h.scheduler.next_slot("t") == at("2026-11-30T10:00", "Europe/London")


async def test_a_slot_that_todays_early_close_skips_is_told_with_its_cure() -> None:
    """All of that day, and on no other; not for a schedule that moves along."""
    tasks = {
        "t": task("15:45", exchange="XNYS"), "moves": task("close - 15m", exchange="XNYS"),
        "other": task("15:45"),
    }  # fmt: skip
    h, clock = await scheduler_at("2026-11-25T23:59", **tasks)
    assert h.scheduler.skipped_today("t") is None
    for moment in ("2026-11-27T00:00", "2026-11-27T23:59"):
        clock.set(at(moment))
        skipped = h.scheduler.skipped_today("t")
        assert skipped == SkippedSlot(at("2026-11-27T15:45"), "close - 15m")
        assert h.scheduler.skipped_today("moves") is None
        assert h.scheduler.skipped_today("other") is None
    clock.set(at("2026-11-30T12:00"))
    assert h.scheduler.skipped_today("t") is None


async def test_holidays_and_half_days_are_skipped_and_counted() -> None:
    """Thanksgiving and the day after, with nothing missed."""
    h, clock = await scheduler_at("2026-11-25T15:00", t=task("14:00", exchange="XNYS", grace="1h"))
    clock.set(at("2026-11-27T15:00"))
    await h.scheduler.sweep()
    assert (h.skipped("exchange_closed"), h.skipped("early_close"), h.missed()) == (1, 1, 0)
    assert h.runner.submitted == []


async def test_a_pause_skips_and_covers() -> None:
    """Slots in the pause are skipped; the deadline starts after its end, which itself runs."""
    h, clock = await scheduler_at("2026-11-24T06:59", t=task("every 30m", grace="5m", timeout="1m"))
    assert h.value("quant_task_deadline_timestamp_seconds", task="t") == at("2026-11-24T07:06")
    h.state.change("t", paused_until=at("2026-11-24T08:00"))
    assert h.value("quant_task_paused", task="t") == 1
    assert h.value("quant_task_next_slot_timestamp_seconds", task="t") == at("2026-11-24T08:00")
    assert h.value("quant_task_deadline_timestamp_seconds", task="t") == at("2026-11-24T08:06")
    clock.set(at("2026-11-24T08:00"))
    await h.scheduler.sweep()
    assert (h.skipped("paused"), h.missed()) == (2, 0)
    assert h.runner.submitted == [("t", at("2026-11-24T08:00"), "schedule")]
    assert h.value("quant_task_paused", task="t") == 0
    h.state.pause_all_until = at("2026-11-24T09:00")
    assert h.value("quant_task_paused", task="t") == 1


async def test_a_success_moves_the_deadline_to_the_first_slot_it_does_not_cover() -> None:
    """A failed slot leaves the deadline where it is, however many follow."""
    h, clock = await scheduler_at("2026-11-24T06:59", t=task("every 30m", grace="5m", timeout="1m"))
    clock.set(at("2026-11-24T09:10"))
    assert h.value("quant_task_deadline_timestamp_seconds", task="t") == at("2026-11-24T07:06")
    h.state.change("t", covered_until=at("2026-11-24T09:02"))
    assert h.value("quant_task_deadline_timestamp_seconds", task="t") == at("2026-11-24T09:36")


async def test_an_external_task_is_neither_started_nor_missed() -> None:
    """It runs elsewhere; its deadline tells."""
    external = Task.model_validate({"external": True, "schedule": "every 1h"})
    h, clock = await scheduler_at("2026-11-24T06:59", t=external)
    clock.advance(7 * 3600)
    await h.scheduler.sweep()
    assert (h.runner.submitted, h.missed()) == ([], 0)


async def test_a_slot_for_which_an_external_task_reported_nothing_is_missed_at_the_next() -> None:
    """Late before, missed then; a report of either outcome, or a start alone, is one."""
    external = Task.model_validate({"external": True, "schedule": "every 1h"})
    h, clock = await scheduler_at("2026-11-24T06:59", t=external)

    async def until(text: str) -> float:
        clock.set(at(f"2026-11-24T{text}"))
        await h.scheduler.sweep()
        return h.missed()

    assert [await until("07:00"), await until("07:59")] == [0, 0]
    assert await until("08:00") == 1
    h.state.change("t", last_failure=at("2026-11-24T08:30"))
    assert await until("09:00") == 1
    h.state.change("t", last_start=at("2026-11-24T08:59:55"))
    assert await until("10:00") == 1
    assert await until("11:00") == 2
    h.state.change("t", paused_until=at("2026-11-24T11:30"))
    assert await until("12:00") == 2
    assert await until("13:00") == 3


async def test_a_state_that_cannot_write_still_counts_each_slot_once() -> None:
    """The failed cursor is logged; the next sweep does not count again."""
    h, clock = await scheduler_at("2026-11-24T06:59", t=task("07:00"))
    h.state.durable = False
    clock.set(at("2026-11-24T09:00"))
    await h.scheduler.sweep()
    await h.scheduler.sweep()
    assert h.missed() == 1


async def test_a_reload_keeps_the_place_of_what_stayed_the_same() -> None:
    """Same schedule: the slot in between still starts. Another one: it starts anew from now."""
    h, clock = await scheduler_at("2026-11-24T06:59", a=task("07:00"), b=task("07:00"))
    clock.set(at("2026-11-24T07:01"))
    await h.apply(a=task("07:00", severity="critical"), b=task("every 30m"))
    await h.scheduler.sweep()
    assert h.runner.submitted == [("a", at("2026-11-24T07:00"), "catch_up")]
    assert h.value(
        "quant_task_info", task="a", severity="critical", exchange="", source="", kind="run",
        schedule="07:00",
    ) == 1  # fmt: skip


async def test_markets_are_told_at_the_scrape() -> None:
    """Open on the half day until 13:00; what never closes has no next close."""
    h, clock = await scheduler_at(
        "2026-11-27T12:00", a=task("07:00", exchange="XNYS"), b=task("07:00", exchange="24/7")
    )
    close = "quant_market_next_close_timestamp_seconds"
    assert h.value("quant_market_open", exchange="XNYS") == 1
    assert h.value(close, exchange="XNYS") == at("2026-11-27T13:00")
    assert math.isnan(h.value(close, exchange="24/7"))
    clock.set(at("2026-11-27T13:00"))
    assert h.value("quant_market_open", exchange="XNYS") == 0
    assert h.value("quant_market_next_open_timestamp_seconds", exchange="XNYS") == at(
        "2026-11-30T09:30"
    )


async def test_apscheduler_wakes_us_at_the_slots() -> None:
    """On the machine's clock, `every 1s` starts each slot once, in order, without gaps."""
    h = SchedulerBench(SystemClock())
    await h.apply(t=task("every 1s"))
    await h.scheduler.start()
    for _ in range(100):
        if len(h.runner.submitted) >= 2:
            break
        await asyncio.sleep(0.1)
    await h.scheduler.stop()
    moments = [slot for _, slot, _ in h.runner.submitted]
    assert len(moments) >= 2
    assert [b - a for a, b in itertools.pairwise(moments)] == [1.0] * (len(moments) - 1)


async def test_the_pulse_notices_a_jump_and_a_healed_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A laptop that slept is caught up within a pulse; a dead state is probed; what a wrong clock
    uncovered is covered again, also by one that was right at the start."""
    monkeypatch.setattr("exporter.scheduling.pulse.PULSE_SECONDS", 0.02)
    h, clock = await scheduler_at("2026-11-24T06:59", t=task("07:00", grace="1h"))
    await h.scheduler.start()
    try:
        await asyncio.sleep(0.05)
        h.state.durable = False
        clock.jump(600)
        for _ in range(200):
            if h.runner.submitted and h.state.probes and len(h.state.covers) > 1:
                break
            await asyncio.sleep(0.02)
    finally:
        await h.scheduler.stop()
    assert h.runner.submitted == [("t", at("2026-11-24T07:00"), "catch_up")]
    assert h.state.probes > 0
    assert h.state.covers == [at("2026-11-24T06:59"), at("2026-11-24T07:09")]


async def test_the_pulse_looks_after_a_state_that_is_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody else deletes old rows, or sees that a damaged file was moved away."""
    monkeypatch.setattr("exporter.scheduling.pulse.PULSE_SECONDS", 0.02)
    path = tmp_path / "state.db"
    path.write_text("no database")
    clock = ManualClock(at("2026-11-24T06:59"))
    state = State.open(path, clock)
    await state.journal("old", clock.now() - 91 * 86400, {})
    await state.journal("new", clock.now(), {})
    scheduler = Scheduler(
        state,
        FakeRunner(FakeState()),
        Calendars(tmp_path, {}, clock),
        clock,
        Metrics(CollectorRegistry()),
    )
    await scheduler.apply(Config())
    await scheduler.start()
    try:
        assert not state.healthy
        for aside in tmp_path.glob("*.corrupt-*"):
            aside.unlink()
        for _ in range(200):
            if state.healthy and len(await state.history.journal_rows(0.0)) == 1:
                break
            await asyncio.sleep(0.02)
    finally:
        await scheduler.stop()
    assert state.healthy
    assert [row.kind for row in await state.history.journal_rows(0.0)] == ["new"]
    await state.close()


async def test_the_real_state_keeps_the_place_over_a_restart(tmp_path: Path) -> None:
    """Missed slots are counted by the process that finds them and by no later one."""
    clock = ManualClock(at("2026-11-24T06:59"))
    plan = task("07:00", grace="5m")
    counted = []
    for moment in ("2026-11-24T06:59", "2026-11-24T09:00", "2026-11-24T09:01"):
        clock.set(at(moment))
        state = State.open(tmp_path / "state.db", clock)
        registry = CollectorRegistry()
        scheduler = Scheduler(
            state, FakeRunner(FakeState()), FakeCalendars(), clock, Metrics(registry)
        )
        await scheduler.apply(Config(tasks={"t": plan}))
        await scheduler.sweep()
        counted.append(registry.get_sample_value("quant_task_missed_total", {"task": "t"}))
        await state.close()
    assert counted == [0, 1, 0]
