"""State when all is well: what is written is there again."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest

from exporter.state import AlreadyRunning, Claim, Run, State, StateError, Tally, TaskState
from tests.runs import ended
from tests.unit.clocks import ManualClock

T = 1_790_000_000.0


def claim(number: int = 1, *, task: str = "scan", slot: float | None = T) -> Claim:
    return Claim(f"run-{number}", task, slot, "schedule", T)


def end(number: int = 1, outcome: str = "success", at: float = T + 5, **more) -> Run:
    values = {"slot": T, "started_at": T, "ended_at": at, **more}
    return ended(f"run-{number}", "scan", outcome=outcome, **values)


@pytest.fixture
def clock():
    return ManualClock(T)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "var" / "state.db"


@pytest.fixture
async def state(path, clock):
    state = State.open(path, clock)
    yield state
    await state.close()


async def test_a_new_file_is_empty_and_a_known_one_is_not(path, clock):
    """Only then is nothing known of what ran before."""
    first = State.open(path, clock)
    assert (first.tasks, first.healthy, first.durable, first.trouble) == ({}, True, True, None)
    await first.register({"scan": "mon-fri 07:00"}, T)
    await first.close()
    second = State.open(path, clock)
    assert second.tasks == {"scan": TaskState(T, T, schedule="mon-fri 07:00")}
    await second.close()


async def test_others_on_the_machine_cannot_read_the_file(state, path):
    """It holds what the tasks wrote."""
    assert path.stat().st_mode & 0o077 == 0


async def test_a_slot_is_claimed_once(state):
    """The second claim of a slot is answered False, also under another run id."""
    assert await state.claim(claim(1))
    assert not await state.claim(claim(2))
    assert await state.claim(claim(3, slot=T + 60))
    assert await state.claim(claim(4, task="report"))
    assert state.tasks["scan"].cursor == T + 60


async def test_manual_runs_have_no_slot_and_never_collide(state):
    """A manual run leaves the cursor alone."""
    assert await state.claim(claim(1, slot=None))
    assert await state.claim(claim(2, slot=None))
    assert state.tasks["scan"] == TaskState(last_start=T)


async def test_a_claim_holds_over_a_restart(path, clock, state):
    """The run is open, its slot taken."""
    assert await state.claim(claim(1))
    await state.close()
    again = State.open(path, clock)
    assert [(run.run_id, run.slot, run.outcome) for run in again.open_runs()] == [
        ("run-1", T, None)
    ]
    assert not await again.claim(claim(2))
    await again.close()


async def test_a_run_id_that_was_used_is_refused_alone(state):
    """The faulty claim fails; the ones written in the same transaction do not."""
    assert await state.claim(claim(1))
    results = await asyncio.gather(
        state.claim(claim(1, slot=T + 1)),
        state.claim(claim(2, slot=T + 2)),
        state.keep("feed", "x", 1),
        return_exceptions=True,
    )
    assert isinstance(results[0], StateError)
    assert results[1:] == [True, None]
    assert state.durable


async def test_success_and_failure_update_the_task(state):
    """Failures count up and a success clears them; a success covers up to its end."""
    await state.claim(claim(1))
    await state.finish(end(1, "timeout", at=T + 5))
    await state.claim(claim(2, slot=T + 60))
    await state.finish(end(2, "no_data", at=T + 65, slot=T + 60))
    task = state.tasks["scan"]
    assert (task.last_failure, task.consecutive_failures) == (T + 65, 2)
    assert (task.last_success, task.covered_until) == (None, None)
    await state.claim(claim(3, slot=T + 120))
    await state.finish(end(3, at=T + 125, slot=T + 120, items=7))
    task = state.tasks["scan"]
    assert (task.last_success, task.covered_until, task.items) == (T + 125, T + 125, 7)
    assert (task.consecutive_failures, task.last_failure) == (0, T + 65)
    assert state.open_runs() == []


async def test_items_that_were_not_said_are_none(state):
    """NaN is how the runner says it."""
    await state.finish(end(1, items=float("nan")))
    assert state.tasks["scan"].items is None


async def test_a_run_without_a_claim_gets_its_row_at_its_end(state):
    """Idempotent tasks run also when nothing could be claimed."""
    await state.finish(end(1, "error", error="no \udcff disk", tail="last line"))
    (run,) = await state.history.runs(0)
    assert (run.run_id, run.outcome, run.error, run.tail) == (
        "run-1", "error", "no ? disk", "last line",
    )  # fmt: skip
    assert not await state.claim(claim(2))


async def test_slots_that_have_a_run_are_found_by_task_and_time(state):
    """After the first moment, up to the second; manual runs have no slot."""
    for number, slot in enumerate((T, T + 60, T + 120, T + 180, None)):
        await state.claim(claim(number, slot=slot))
    await state.claim(claim(9, task="other", slot=T + 90))
    assert await state.history.claimed_slots("scan", T, T + 120) == {T + 60, T + 120}
    assert await state.history.claimed_slots("scan", T + 180, T + 999) == frozenset()


async def test_an_end_is_final(state):
    """A second end of the same run changes nothing of its row."""
    await state.claim(claim(1))
    await state.finish(end(1))
    await state.finish(end(1, "error"))
    assert [run.outcome for run in await state.history.runs(0)] == ["success"]


async def test_an_open_run_can_be_opened_again(state, path, clock):
    """How often is kept; an ended or unknown run is not open."""
    await state.claim(claim(1))
    assert await state.reopen("run-1")
    await state.close()
    again = State.open(path, clock)
    assert [run.reopened for run in again.open_runs()] == [1]
    await again.finish(end(1))
    assert not await again.reopen("run-1")
    assert not await again.reopen("run-9")
    await again.close()


async def test_a_changed_schedule_starts_from_now(state):
    """Slots that the new schedule would have had in the past are not owed."""
    await state.register({"scan": "every 1h", "report": "07:00"}, T)
    await state.register({"scan": "every 5m", "report": "07:00"}, T + 50)
    assert state.tasks["scan"] == TaskState(T + 50, T + 50, schedule="every 5m")
    assert state.tasks["report"] == TaskState(T, T, schedule="07:00")


async def test_a_task_that_comes_back_owes_nothing_for_the_time_away(state):
    """Its history is there again."""
    await state.register({"scan": "every 1h"}, T)
    await state.finish(end(1))
    await state.register({}, T + 10)
    await state.register({"scan": "every 1h"}, T + 99)
    task = state.tasks["scan"]
    assert (task.cursor, task.covered_until, task.last_success) == (T + 99, T + 99, T + 5)


async def test_what_a_success_covered_is_covered_again_once_the_clock_is_right(state):
    """Another success while the clock was slow does not hide it; one of the future counts later."""
    await state.register({"scan": "07:00"}, T - 3600)
    await state.claim(claim(1))
    await state.finish(end(1))
    await state.lower("scan", T - 180)
    await state.claim(claim(2, slot=None))
    await state.finish(end(2, slot=None, at=T - 170))
    await state.restore_cover(T - 160)
    assert state.tasks["scan"].covered_until == T - 170
    await state.restore_cover(T + 60)
    assert state.tasks["scan"].covered_until == T + 5


async def test_the_cursor_moves_on_and_comes_down_only_when_lowered(state):
    """`lower` is for a clock that was set back."""
    await state.register({"scan": "every 1h"}, T)
    await state.advance("scan", T + 100)
    await state.advance("scan", T + 50)
    assert state.tasks["scan"].cursor == T + 100
    await state.lower("scan", T + 20)
    assert (state.tasks["scan"].cursor, state.tasks["scan"].covered_until) == (T + 20, T)


async def test_a_pause_is_kept_over_a_restart_and_covers_its_time(state, path, clock):
    """Resuming early covers the time until then, and no more."""
    await state.register({"scan": "every 1h", "report": "07:00"}, T)
    await state.pause("scan", T + 1000)
    await state.pause(None, T + 500)
    await state.close()
    clock.advance(300)
    again = State.open(path, clock)
    assert (again.tasks["scan"].paused_until, again.pause_all_until) == (T + 1000, T + 500)
    await again.resume(None)
    assert again.pause_all_until is None
    assert again.tasks["report"].covered_until == T + 300
    assert again.tasks["scan"].paused_until == T + 1000
    clock.advance(5000)
    await again.resume("scan")
    assert again.tasks["scan"].paused_until is None
    assert again.tasks["scan"].covered_until == T + 1000
    await again.close()


async def test_kept_values_come_back_and_can_be_forgotten(state, path, clock):
    """Values are private copies: changing the given one changes nothing."""
    value = {"peak": 10.5, "seen": [1, 2]}
    await state.keep("strategy", "momentum", value)
    value["peak"] = 0
    await state.keep_many([("feed", "A", 1.5), ("feed", "B", None)])
    await state.forget("feed", "A")
    await state.forget("feed", "never")
    for _ in range(2):
        assert state.kept("strategy") == {"momentum": {"peak": 10.5, "seen": [1, 2]}}
        assert state.kept("feed") == {"B": None}
        assert state.kept("nothing") == {}
        await state.close()
        state = State.open(path, clock)
    await state.close()


async def test_a_value_that_json_cannot_hold_is_refused_at_once(state):
    """The mistake shows where it was made."""
    with pytest.raises(TypeError):
        await state.keep("feed", "A", object())


async def test_keeping_what_is_kept_already_writes_nothing(state):
    """Feeds keep their newest bars at every poll, mostly the same ones."""
    await state.keep_many([("feed", str(n), n) for n in range(50)])
    before = state.commits
    await state.keep_many([("feed", str(n), n) for n in range(50)])
    assert state.commits == before


async def test_runs_and_journal_are_read_back_newest_first(state):
    """By time, task and kind, up to a limit."""
    await state.claim(claim(1))
    await state.claim(Claim("run-2", "report", T, "manual", T + 10))
    await state.finish(end(1))
    assert [run.run_id for run in await state.history.runs(0)] == ["run-2", "run-1"]
    assert [run.run_id for run in await state.history.runs(0, "scan")] == ["run-1"]
    assert [run.run_id for run in await state.history.runs(T + 1)] == ["run-2"]
    assert len(await state.history.runs(0, limit=1)) == 1
    await state.journal("silence", T, {"by": "me"})
    await state.journal("notification", T + 1, {"to": ["chat"]})
    rows = await state.history.journal_rows(0)
    assert [(row.kind, row.at, row.fields) for row in rows] == [
        ("notification", T + 1, {"to": ["chat"]}),
        ("silence", T, {"by": "me"}),
    ]
    assert [row.kind for row in await state.history.journal_rows(0, "silence")] == ["silence"]


async def test_two_hundred_claims_are_few_transactions(state):
    """All that waits while the disk is busy is written together."""
    before = state.commits
    answers = await asyncio.gather(
        *(state.claim(claim(n, task=f"task{n}", slot=T)) for n in range(200))
    )
    assert all(answers)
    assert state.commits - before <= 5


async def test_of_many_claims_for_one_slot_one_wins(state):
    """Also when they are written in one transaction."""
    answers = await asyncio.gather(*(state.claim(claim(n)) for n in range(50)))
    assert answers.count(True) == 1
    assert len(state.open_runs()) == 1


async def test_a_second_scheduler_is_refused_with_the_pid_of_the_first(state, path, clock):
    """The same within one process; the role is free again after close."""
    with pytest.raises(AlreadyRunning, match=r"\(pid \d+\) already uses .*state\.db"):
        State.open(path, clock)
    await state.close()
    await State.open(path, clock).close()


async def test_readers_read_while_the_writer_runs_and_cannot_write(state, path, clock):
    """They take no role."""
    await state.claim(claim(1))
    reader = State.open(path, clock, writer=False)
    assert [run.run_id for run in reader.open_runs()] == ["run-1"]
    assert [run.run_id for run in await reader.history.runs(0)] == ["run-1"]
    for write in (reader.claim(claim(2)), reader.advance("scan", T), reader.probe()):
        with pytest.raises(StateError, match="was opened for reading"):
            await write
    await reader.close()
    assert await state.claim(claim(2, slot=T + 1))


async def test_a_reader_says_that_there_is_no_file(path, clock):
    """And makes none."""
    with pytest.raises(StateError, match="cannot be read"):
        State.open(path, clock, writer=False)
    assert not path.exists()


async def test_what_is_old_is_deleted_in_small_steps(state, clock, path):
    """Ended runs and journal rows older than 90 days go; open runs and young rows stay."""
    for number in range(700):
        state._on_disk.writer.submit(_finished(number))
    await state.claim(claim(9000))
    await state.journal("silence", T, {})
    clock.advance(91 * 86400)
    await state.finish(end(9001, at=clock.now(), started_at=clock.now(), slot=clock.now()))
    await state.probe()
    assert 200 <= len(await state.history.runs(0)) < 700, "one step at a time"
    for _ in range(3):
        await state.probe()
    assert {run.run_id for run in await state.history.runs(0)} == {"run-9000", "run-9001"}
    assert await state.history.journal_rows(0) == []


def _finished(number):
    from exporter.state import snapshot as contents
    from exporter.state import sql as rows
    from exporter.state.writer import Step

    done = end(number, slot=T - 1 - number)
    return Step(lambda old, _: contents.finish(old, done, T), [rows.finish(done)])


async def test_closing_writes_what_waits(path, clock):
    """Also what nobody awaited; after that nothing is taken."""
    state = State.open(path, clock)
    tasks = [asyncio.ensure_future(state.keep("feed", str(n), n)) for n in range(20)]
    await asyncio.sleep(0)
    await state.close()
    await asyncio.gather(*tasks)
    with pytest.raises(StateError, match="closed"):
        await state.keep("feed", "late", 1)
    again = State.open(path, clock)
    assert len(again.kept("feed")) == 20
    await again.close()
    assert not [each for each in threading.enumerate() if each.name == "state-writer"]


async def test_the_file_can_be_looked_at_with_sqlite(state, path):
    """What docs/state.md tells people to type."""
    await state.claim(claim(1))
    with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as db:
        assert db.execute("SELECT task, slot, outcome FROM runs").fetchall() == [("scan", T, None)]
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


async def test_newest_runs_of_each_task_are_found_among_those_of_busier_ones(state):
    """Slots and runs by hand, newest first; a weekly task is not hidden by one of every minute."""
    await state.finish(ended("weekly", "report", T - 9000, "error", T - 9000, T - 8990))
    for minute in range(50):
        at = T + 60 * minute
        await state.finish(ended(f"run-{minute}", "scan", at, "success", at, at + 1))
    await state.claim(Claim("by-hand", "scan", None, "manual", T + 60 * 48.5))
    found = await state.history.runs_of(["scan", "report", "unknown"], 0.0, 3)
    assert [run.run_id for run in found] == ["run-49", "by-hand", "run-48", "weekly"]
    assert await state.history.runs_of(["report"], T, 3) == []


async def test_runs_are_counted_by_task_and_outcome(state):
    """Within the given time, the newest error of each; what is still open does not count."""
    for number, (outcome, error) in enumerate(
        [("success", None), ("error", "first"), ("error", "second"), ("success", None)]
    ):
        at = T + number
        await state.finish(ended(f"run-{number}", "scan", at, outcome, at, at, error=error))
    await state.claim(Claim("open", "scan", None, "manual", T + 2))
    assert sorted(await state.history.tally(T, T + 3), key=lambda t: t.outcome) == [
        Tally("scan", "error", 2, T + 2, "run-2", "second"),
        Tally("scan", "success", 1, T, "run-0", None),
    ]
