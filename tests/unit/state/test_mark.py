"""A state file that lost its newest changes: noticed, said, and nothing is caught up from it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from exporter.state import Claim, State, StateError, database
from tests.runs import ended
from tests.unit.clocks import ManualClock

T = 1_790_000_000.0
TASK = "scan"


def killed(path: Path, into: Path) -> Path:
    """What a kill at this moment leaves of the state file, in a folder of its own."""
    into.mkdir()
    for file in path.parent.glob("state.db*"):
        if not file.name.endswith((".lock", "-shm")):
            shutil.copy(file, into)
    return into / "state.db"


def wal(path: Path) -> Path:
    return path.with_name("state.db-wal")


def mark(path: Path) -> Path:
    return path.with_name("state.db-mark")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(T)


@pytest.fixture
async def left(tmp_path: Path, clock: ManualClock) -> Path:
    """An hourly task ran at T, and its next run is under way when the process is killed."""
    state = State.open(tmp_path / "running" / "state.db", clock)
    await state.register({TASK: "every 1h"}, T - 60)
    await state.claim(Claim("r1", TASK, T, "schedule", T))
    await state.finish(ended("r1", TASK, T, "success", T, T + 5))
    await state.claim(Claim("r2", TASK, T + 3600, "schedule", T + 3600))
    path = killed(state.path, tmp_path / "left")
    await state.close()
    clock.advance(3 * 3600)
    return path


def flip_the_middle_of_the_log(path: Path) -> None:
    content = bytearray(wal(path).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = b"\xa5" * 64
    wal(path).write_bytes(content)


def flip_the_last_bytes_of_the_log(path: Path) -> None:
    content = bytearray(wal(path).read_bytes())
    content[-64:] = b"\xa5" * 64
    wal(path).write_bytes(content)


def cut_the_log(path: Path) -> None:
    content = wal(path).read_bytes()
    wal(path).write_bytes(content[: len(content) // 2])


def copy_the_file_alone(path: Path) -> None:
    wal(path).unlink()
    mark(path).unlink()


def empty_the_file(path: Path) -> None:
    path.write_bytes(b"")
    wal(path).unlink()


def put_an_older_copy_in_its_place(path: Path) -> None:
    older = State.open(path.parent / "older" / "state.db", ManualClock(T))
    older._writer.close()  # type: ignore[union-attr]
    wal(path).unlink()
    shutil.copy(older.path, path)


DAMAGES: list[Callable[[Path], None]] = [
    lambda path: wal(path).unlink(),
    lambda path: wal(path).write_bytes(b""),
    lambda path: wal(path).write_bytes(b"rubbish " * 1000),
    flip_the_middle_of_the_log,
    flip_the_last_bytes_of_the_log,
    cut_the_log,
    copy_the_file_alone,
    empty_the_file,
    lambda path: (path.unlink(), wal(path).unlink()),
    put_an_older_copy_in_its_place,
]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_file_without_its_newest_changes_owes_nothing(
    left: Path, clock: ManualClock, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Slots up to now count as done and no run is open, also after another kill; it is said until
    somebody has deleted the note."""
    damage(left)
    state = State.open(left, clock)
    assert "has lost its newest changes" in caplog.text
    assert (state.durable, state.healthy) == (True, False)
    assert "has lost its newest changes" in str(state.trouble)
    assert state.open_runs() == []
    for task in state.tasks.values():
        assert (task.cursor, task.covered_until) == (clock.now(), clock.now())
        assert task.consecutive_failures == 0
    again = State.open(killed(left, left.parent.parent / "again"), clock)
    assert all(task.cursor == clock.now() for task in again.tasks.values())
    await again.close()
    (note,) = left.parent.glob("*-lost")
    assert "missed slots are not caught up" in note.read_text()
    note.unlink()
    await state.probe()
    assert state.healthy
    await state.close()
    healed = State.open(left, clock)
    assert healed.healthy
    await healed.close()


@pytest.mark.parametrize("damage", [lambda path: wal(path).unlink(), copy_the_file_alone])
async def test_what_is_lost_is_noticed_on_a_disk_that_is_read_only_at_the_start(
    left: Path, clock: ManualClock, damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """At once, and again once the disk can be written: nothing is caught up then either."""

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    damage(left)
    with monkeypatch.context() as patch:
        patch.setattr(database, "open_file", refuse)
        state = State.open(left, clock)
        assert "has lost its newest changes" in caplog.text
        assert not state.durable
        assert all(task.cursor == clock.now() for task in state.tasks.values())
    await state.probe()
    assert (state.durable, state.healthy) == (True, False)
    assert "has lost its newest changes" in str(state.trouble)
    assert all(task.cursor == clock.now() for task in state.tasks.values())
    await state.close()


async def test_an_intact_file_is_believed_on_a_disk_that_is_read_only_at_the_start(
    left: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log is read, too."""
    with monkeypatch.context() as patch:
        patch.setattr(database, "open_file", lambda *_: (_ for _ in ()).throw(OSError("read-only")))
        state = State.open(left, clock)
        assert state.tasks[TASK].cursor == T + 3600
        assert [run.run_id for run in state.open_runs()] == ["r2"]
    await state.probe()
    assert state.healthy
    assert state.tasks[TASK].cursor == T + 3600
    await state.close()


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: os.mkfifo(path)])
async def test_a_folder_or_a_pipe_in_its_place_is_refused_with_words(
    tmp_path: Path, clock: ManualClock, make: Callable[[Path], None]
) -> None:
    """A folder has several hard links, and a pipe would be waited for."""
    make(tmp_path / "state.db")
    with pytest.raises(StateError, match="is not a file but a folder, a pipe or a device"):
        State.open(tmp_path / "state.db", clock)


async def test_a_run_whose_end_is_unknown_counts_as_crashed_and_alarms_nobody(
    left: Path, clock: ManualClock
) -> None:
    """It is not started again; the history says why."""
    content = wal(left).read_bytes()
    with closing(sqlite3.connect(left)) as db:  # r2 is in the file; what followed is lost
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (2,)
    mark(left).write_text(f"{10**6}\n")
    state = State.open(left, clock)
    assert content
    run = await state.history.run("r2")
    assert run
    assert (run.outcome, run.ended_at) == ("crashed", clock.now())
    assert "lost its newest changes" in str(run.error)
    assert state.tasks[TASK].consecutive_failures == 0
    await state.close()


async def test_a_kill_alone_loses_nothing(left: Path, clock: ManualClock) -> None:
    """The log is there: the run is open, its slots are known."""
    state = State.open(left, clock)
    assert state.healthy
    assert [run.run_id for run in state.open_runs()] == ["r2"]
    assert state.tasks[TASK].cursor == T + 3600
    await state.close()


async def test_a_kill_right_after_the_opening_loses_nothing(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Nor one after another, whatever the log holds by then."""
    path = tmp_path / "0" / "state.db"
    path.parent.mkdir()
    opened = []
    for number in range(3):
        state = State.open(path, clock)
        opened.append(state)
        assert state.healthy
        path = killed(path, tmp_path / str(number + 1))
    for state in opened:
        await state.close()


async def test_a_mark_that_is_older_or_odd_claims_nothing(left: Path, clock: ManualClock) -> None:
    """As a power failure, or a person, may leave it."""
    for text in ("00000000000000000001\n", "", "soon", "-5"):
        mark(left).write_text(text)
        state = State.open(left, clock)
        assert state.healthy, text
        await state.close()


async def test_copies_of_a_closed_file_need_neither_log_nor_mark(
    tmp_path: Path, clock: ManualClock
) -> None:
    """A clean end is written in the file itself; and so is a backup that was made while it ran."""
    state = State.open(tmp_path / "state.db", clock)
    await state.register({TASK: "every 1h"}, T)
    with (
        closing(sqlite3.connect(tmp_path / "state.db")) as source,
        closing(sqlite3.connect(tmp_path / "backup.db")) as copy,
    ):
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    await state.close()
    for source in ("state.db", "backup.db"):
        folder = tmp_path / source.partition(".")[0]
        folder.mkdir()
        shutil.copy(tmp_path / source, folder / "state.db")
        copy = State.open(folder / "state.db", clock)
        assert copy.healthy, source
        assert copy.tasks[TASK].cursor == T
        await copy.close()


async def test_a_file_of_an_earlier_version_is_believed(tmp_path: Path, clock: ManualClock) -> None:
    """It counts nothing, and stays in its mode after a clean end."""
    path = tmp_path / "state.db"
    state = State.open(path, clock)
    await state.register({TASK: "every 1h"}, T)
    await state.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("DELETE FROM moments WHERE name = 'generation'")
        db.commit()
    mark(path).unlink()
    again = State.open(path, clock)
    assert again.healthy
    await again.close()


async def test_a_log_that_is_deleted_under_the_running_process_is_made_again(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The next write notices; a kill after that loses nothing."""
    path = tmp_path / "running" / "state.db"
    state = State.open(path, clock)
    await state.register({TASK: "every 1h"}, T)
    wal(path).unlink()
    assert await state.claim(Claim("r1", TASK, T + 60, "schedule", T + 60))
    assert "write-ahead log was deleted or replaced" in caplog.text
    left = State.open(killed(path, tmp_path / "left"), clock)
    assert left.healthy
    assert [run.run_id for run in left.open_runs()] == ["r1"]
    for each in (left, state):
        await each.close()


async def test_a_link_to_the_file_is_the_file(tmp_path: Path, clock: ManualClock) -> None:
    """Its lock lies next to the file, so that two names are one scheduler."""
    state = State.open(tmp_path / "one" / "state.db", clock)
    for name, target in (("link.db", state.path), ("folder", state.path.parent)):
        (tmp_path / name).symlink_to(target)
    for path in (tmp_path / "link.db", tmp_path / "folder" / "state.db"):
        with pytest.raises(Exception, match="already uses"):
            State.open(path, clock)
    assert not (tmp_path / "link.db.lock").exists()
    await state.close()


async def test_a_second_hard_link_is_refused_with_words(tmp_path: Path, clock: ManualClock) -> None:
    """SQLite's log and our lock lie next to a name, so that two names would damage each other."""
    path, other = tmp_path / "one" / "state.db", tmp_path / "other.db"
    await State.open(path, clock).close()
    other.hardlink_to(path)
    for name in (path, other):
        with pytest.raises(StateError, match="has a second name"):
            State.open(name, clock)
    assert not (tmp_path / "other.db.lock").exists()
    other.unlink()
    await State.open(path, clock).close()
