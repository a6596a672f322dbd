"""State when the file is broken, or the disk does not answer."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from exporter.state import AlreadyRunning, Claim, Run, State, StateError, database, schema
from exporter.state.writer import Step
from tests.runs import ended
from tests.unit.clocks import ManualClock

T = 1_790_000_000.0
STAMP = "20260921T141320Z"


def claim(number: int = 1, slot: float | None = T) -> Claim:
    return Claim(f"run-{number}", "scan", slot, "schedule", T)


def end(number: int = 1, outcome: str = "success") -> Run:
    return ended(f"run-{number}", "scan", T, outcome, T, T + 5)


@pytest.fixture
def clock():
    return ManualClock(T)


@pytest.fixture
async def path(tmp_path, clock):
    """A file with something in it, closed."""
    path = tmp_path / "state.db"
    state = State.open(path, clock)
    await state.register({"scan": "every 1h"}, T)
    await state.claim(claim())
    await state.keep_many([("feed", str(n), "x" * 200) for n in range(200)])
    await state.close()
    return path


def garbage_header(path):
    path.write_bytes(b"not a database, really" + path.read_bytes()[22:])


def cut_in_the_middle(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 100])


def scribbled_page(path):
    content = bytearray(path.read_bytes())
    page = len(content) // 4096 // 2 * 4096
    content[page : page + 4096] = b"\xa5" * 4096
    path.write_bytes(content)


def no_json(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE kept SET value = '{no json' WHERE name = '7'")
        db.commit()


@pytest.mark.parametrize("damage", [garbage_header, cut_in_the_middle, scribbled_page, no_json])
async def test_a_damaged_file_is_set_aside_and_work_goes_on(path, clock, damage, caplog):
    """Byte for byte, said loudly; claims are durable again, and nothing of the past is known."""
    damage(path)
    broken = path.read_bytes()
    state = State.open(path, clock)
    aside = path.with_name(f"state.db.corrupt-{STAMP}")
    assert aside.read_bytes() == broken
    assert (state.tasks, state.durable, state.healthy) == ({}, True, False)
    assert f"set aside as {aside.name}" in state.trouble
    assert [r.event for r in caplog.records if r.levelno == logging.CRITICAL] == ["state_set_aside"]
    assert state.tasks == {}
    await state.register({"scan": "every 1h"}, T)
    assert await state.claim(claim(2, slot=T + 60))
    aside.rename(path.with_name("looked-at.db"))
    await state.probe()
    assert (state.healthy, state.trouble) == (True, None)
    await state.close()


async def test_files_that_were_set_aside_never_overwrite_each_other(path, clock):
    """Two in one second get two names, each with its write-ahead log."""
    for content in (b"first " * 999, b"second" * 999):
        path.write_bytes(content)
        path.with_name("state.db-wal").write_bytes(b"log of " + content)
        path.with_name("state.db-shm").write_bytes(b"index of " + content)
        await State.open(path, clock).close()
    found = {p.name: p.read_bytes()[:12] for p in path.parent.glob("*.corrupt-*")}
    name = f"state.db.corrupt-{STAMP}"
    assert {each: found[each] for each in (name, f"{name}-2")} == {
        name: b"first first ", f"{name}-2": b"secondsecond"
    }  # fmt: skip
    assert found[f"{name}-wal"] == b"log of first"
    assert found[f"{name}-2-wal"] == b"log of secon"
    assert f"{name}-2-shm" in found


async def test_a_log_without_its_file_is_set_aside_as_well(path, clock):
    """SQLite would have deleted it; it may hold the newest claims."""
    path.unlink()
    path.with_name("state.db-wal").write_bytes(b"claims")
    state = State.open(path, clock)
    aside = path.with_name(f"state.db.corrupt-{STAMP}-wal")
    assert aside.read_bytes() == b"claims"
    assert not state.tasks
    assert not state.healthy, "a lone log counts as a file that was set aside"
    await state.close()


async def test_a_file_of_a_newer_version_is_refused_and_left_alone(path, clock):
    """Going back to an older program must not cost the state."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 7")
    before = path.read_bytes()
    with pytest.raises(StateError, match=r"newer quant-exporter \(its schema is version 7, this"):
        State.open(path, clock)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.corrupt-*"))
    with pytest.raises(StateError, match="newer"):
        State.open(path, clock)  # and not "already running": the role was given back


async def test_another_programs_file_is_refused(tmp_path, clock):
    """`state:` may point at the wrong file."""
    path = tmp_path / "photos.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE photos (name)")
        db.commit()
    before = path.read_bytes()
    with pytest.raises(StateError, match="belongs to another program"):
        State.open(path, clock)
    assert path.read_bytes() == before


async def test_an_older_file_is_migrated_from_every_version(tmp_path, clock):
    """With one version more than there is, so that the way is walked before it is needed."""
    extra = ("ALTER TABLE runs ADD COLUMN host TEXT", "UPDATE runs SET host = 'here'")
    newer = (*schema.MIGRATIONS, extra)
    for version in range(1, len(newer)):
        path = tmp_path / f"v{version}.db"
        old = State.open(path, clock, migrations=newer[:version])
        await old.claim(claim())
        await old.close()
        new = State.open(path, clock, migrations=newer)
        assert (bool(new.tasks), new.healthy) == (True, True)
        assert [run.run_id for run in new.open_runs()] == ["run-1"]
        assert not await new.claim(claim(2))
        await new.close()
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (len(newer),)
            assert db.execute("SELECT host FROM runs").fetchone() == ("here",)


async def test_a_file_that_no_newer_version_has_opened_yet_can_be_read(tmp_path, clock):
    """`check` and `tasks` of a new release read it before that release starts."""
    path = tmp_path / "old.db"
    old = State.open(path, clock, migrations=schema.MIGRATIONS[:1])
    await old.claim(claim())
    await old.close()
    new = State.open(path, clock, writer=False)
    assert [(run.run_id, run.message) for run in await new.history.runs(0.0)] == [("run-1", None)]
    assert (
        new.open_runs()
        == await new.history.runs_of(["scan"], 0.0, 9)
        == await new.history.runs(0.0)
    )


async def test_a_migration_that_fails_changes_nothing(path, clock):
    """All missing steps are one transaction; the old program can go on with the file."""
    broken = (*schema.MIGRATIONS, ("ALTER TABLE runs ADD COLUMN host TEXT", "SELECT nonsense"))
    state = State.open(path, clock, migrations=broken)
    assert not state.durable
    assert "nonsense" in state.trouble
    await state.close()
    again = State.open(path, clock)
    assert (bool(again.tasks), again.healthy) == (True, True)
    await again.close()
    assert not list(path.parent.glob("*.corrupt-*"))


async def test_a_folder_that_may_not_be_made_is_said(clock, caplog):
    """Not that there is no such file. Nobody makes a folder there, root neither."""
    state = State.open(Path("/sys/quant/state.db"), clock)
    assert not state.durable
    await state.close()
    assert "/sys/quant/state.db cannot be written (" in caplog.text
    assert "make the file and its folder writable" in caplog.text


async def test_a_locked_file_is_waited_for_and_written_later(path, clock, monkeypatch, caplog):
    """Claims fail meanwhile; all else goes on in memory and is written once the lock is gone."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.02)
    state = State.open(path, clock)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match=r"another program has locked .*state.db"):
            await state.claim(claim(2, slot=T + 60))
        await state.finish(end(1))
        await state.journal("silence", T, {"n": 1})
        await state.keep("feed", "0", "newer")
        await state.forget("feed", "1")
        await state.advance("scan", T + 30)
        await state.pause(None, T + 999)
        assert (state.durable, state.healthy) == (False, False)
        assert state.tasks["scan"].last_success == T + 5
        assert state.kept("feed")["0"] == "newer"
        assert await state.history.runs(0) != [], "what is in the file can still be read"
        other.execute("ROLLBACK")
    await state.probe()
    assert (state.durable, state.trouble) == (True, None)
    assert (state.healthy, state.steady) == (True, False), "a scrape still sees that it was not"
    clock.advance(60)
    while not state.steady:  # the writer's thread may not be back from the disk yet
        await asyncio.sleep(0.01)
    assert [getattr(r, "event", "") for r in caplog.records] == [
        "state_not_durable",
        "state_durable",
    ], "said once each"
    assert await state.claim(claim(3, slot=T + 60)), "the failed claim left nothing behind"
    before = state.tasks, state.kept("feed"), state.pause_all_until
    await state.close()
    again = State.open(path, clock)
    assert (again.tasks, again.kept("feed"), again.pause_all_until) == before
    assert [run.outcome for run in await again.history.runs(0) if run.run_id == "run-1"] == [
        "success"
    ]
    assert len(await again.history.journal_rows(0)) == 1
    await again.close()


async def test_damage_found_at_work_costs_no_cursor(path, clock, monkeypatch):
    """The file is set aside and what memory holds is written to the new one."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.02)
    state = State.open(path, clock)
    await state.claim(claim(2, slot=T + 60))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await state.advance("scan", T + 70)
        other.execute("ROLLBACK")
    garbage_header(path)
    assert await state.claim(claim(3, slot=T + 120))
    assert (state.durable, state.healthy) == (True, False)
    before = state.tasks, state.kept("feed"), state.open_runs()
    assert [run.run_id for run in before[2]] == ["run-1", "run-2", "run-3"]
    await state.close()
    again = State.open(path, clock)
    assert (again.tasks, again.kept("feed"), again.open_runs()) == before
    assert not await again.claim(claim(4, slot=T + 60))
    await again.close()


async def test_a_file_that_is_deleted_under_the_process_is_written_anew(path, clock):
    """Otherwise claims would go into a file that nobody finds again."""
    state = State.open(path, clock)
    path.unlink()
    assert await state.claim(claim(2, slot=T + 60))
    before = state.tasks, state.open_runs()
    await state.close()
    again = State.open(path, clock)
    assert (again.tasks, again.open_runs()) == before
    await again.close()


async def test_a_deleted_lock_lets_no_second_scheduler_in(path, clock):
    """With the whole folder, or alone: each write looks whether the lock is still found."""
    state = State.open(path, clock)
    path.with_name(path.name + ".lock").unlink()
    await state.probe()
    with pytest.raises(AlreadyRunning):
        State.open(path, clock)
    await state.close()
    again = State.open(path, clock)
    await again.close()


async def test_who_has_lost_the_lock_to_another_claims_nothing_more(path, clock):
    """It came after the file was deleted and before the next look."""
    state = State.open(path, clock)
    path.with_name(path.name + ".lock").unlink()
    other = State.open(path, clock)
    with pytest.raises(StateError, match="another quant-exporter"):
        await state.claim(claim(2, slot=T + 60))
    assert await other.claim(claim(2, slot=T + 60))
    await state.close()
    await other.close()


@pytest.fixture
async def stuck(path, clock):
    """A state whose disk does not answer until the event is set."""
    state = State.open(path, clock)
    state._on_disk.patience_seconds = 0.05
    answer, asked = threading.Event(), threading.Event()

    def wait(contents, _):
        asked.set()
        answer.wait(30)
        return contents

    state._on_disk.writer.submit(Step(wait))
    await asyncio.to_thread(asked.wait, 30)
    yield state, answer
    answer.set()
    await state.close()


async def test_a_disk_that_does_not_answer_stops_nobody(stuck, clock):
    """Nobody waits longer than the patience; what was asked for is written when it answers."""
    state, answer = stuck
    with pytest.raises(StateError, match="has not responded"):
        await state.claim(claim(2, slot=T + 60))
    await state.advance("scan", T + 99)
    await state.probe()
    await state.probe()
    clock.advance(11)
    assert (state.durable, state.healthy) == (False, False)
    assert "has not responded for 11 s" in state.trouble
    answer.set()
    state._on_disk.patience_seconds = 30
    await state.keep("feed", "0", 1)
    assert (state.healthy, state.tasks["scan"].cursor) == (True, T + 99)
    assert [run.run_id for run in state.open_runs()] == ["run-1"], "the claim was never made"


async def test_a_claim_that_was_given_up_while_being_written_is_taken_back(path, clock):
    """Its caller was told that it is not claimed; the slot is free."""
    state = State.open(path, clock)
    answer = threading.Event()
    writer = state._on_disk.writer
    first, asked = writer._write, threading.Event()

    def slow(steps):
        asked.set()
        answer.wait(30)
        return first(steps)

    writer._write = slow
    state._on_disk.patience_seconds = 0.2
    with pytest.raises(StateError, match="has not responded"):
        await state.claim(claim(2, slot=T + 60))
    assert asked.is_set()
    answer.set()
    state._on_disk.patience_seconds = 30
    await state.advance("scan", T)
    assert [run.run_id for run in state.open_runs()] == ["run-1"]
    assert await state.claim(claim(3, slot=T + 60))
    await state.close()


async def test_a_cancelled_claim_is_not_made_and_a_cancelled_end_is_written(stuck):
    """A slot whose claimer has gone stays free; a run that ended has ended."""
    state, answer = stuck
    state._on_disk.patience_seconds = 30
    waiting = [
        asyncio.ensure_future(state.claim(claim(2, slot=T + 60))),
        asyncio.ensure_future(state.finish(end(1))),
    ]
    await asyncio.sleep(0)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    answer.set()
    assert await state.claim(claim(3, slot=T + 60))
    assert state.tasks["scan"].last_success == T + 5


async def test_what_waits_in_memory_is_bounded(path, clock, monkeypatch, caplog):
    """The oldest rows of history go first, and it is said; the tasks' own state never goes."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.001)
    monkeypatch.setattr("exporter.state.writer.BACKLOG_ROWS", 10)
    state = State.open(path, clock)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await asyncio.gather(*(state.journal("n", T + n, {}) for n in range(25)))
        await state.advance("scan", T + 99)
        other.execute("ROLLBACK")
    await state.probe()
    assert [row.at for row in await state.history.journal_rows(0)] == [
        T + n for n in range(24, 14, -1)
    ]
    assert sum(r.rows for r in caplog.records if r.event == "state_rows_lost") == 15
    assert state.tasks["scan"].cursor == T + 99
    await state.close()
