"""Older state files that take the place of newer ones forget no claim."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from exporter.state import Claim, State
from exporter.state.schema import MIGRATIONS, Migration
from tests.runs import ended
from tests.unit.clocks import ManualClock

TOOL = Path(__file__).resolve().parents[3] / "deploy/vps/state_copy.py"
NOW = 1_700_000_000.0
NEWER = (
    *MIGRATIONS,
    ("ALTER TABLE tasks ADD COLUMN mood TEXT", "CREATE TABLE moods (mood TEXT NOT NULL)"),
)
MOVED = (*MIGRATIONS, ("ALTER TABLE runs RENAME TO deeds",))
"""A migration after which nobody knows where the claims are."""
STRICTER = (
    *MIGRATIONS,
    (
        "CREATE TABLE r2 AS SELECT run_id, task, slot, NULL AS trigger, claimed_at FROM runs",
        "DROP TABLE runs",
        "ALTER TABLE r2 RENAME TO runs",
    ),
)
"""One after which rows no longer fit into the older table."""


def tool(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-I", TOOL, *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ask(file: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(file)) as db:
        return db.execute(sql).fetchall()


async def claimed(
    file: Path, *slots: float, migrations: tuple[Migration, ...] = tuple(MIGRATIONS)
) -> None:
    """An exporter that claims slots of the task `t`, and ends all runs but those of 3."""
    state = State.open(file, ManualClock(NOW), migrations=migrations)
    await state.register({"t": "every", "paused": "every"}, NOW)
    for slot in slots:
        if await state.claim(Claim(f"run-{slot}", "t", slot, "schedule", slot)) and slot != 3:
            await state.finish(ended(f"run-{slot}", "t", slot, "success", slot, slot + 1))
    await state.close()


async def test_a_copy_is_whole_while_the_file_is_written(tmp_path: Path) -> None:
    """Each copy is sound, and holds all that was claimed before it was begun."""
    file, copy = tmp_path / "state.db", tmp_path / "copy.db"
    state = State.open(file, ManualClock(NOW))
    await state.register({"t": "every"}, NOW)
    stopped = threading.Event()
    counts = []

    def keep_copying() -> None:
        while not stopped.is_set():
            tool("copy", file, copy)
            counts.append(ask(copy, "SELECT count(*) FROM runs")[0][0])
            assert ask(copy, "PRAGMA integrity_check") == [("ok",)]

    thread = threading.Thread(target=keep_copying)
    thread.start()
    slot, until = 0, time.monotonic() + 30
    while len(counts) < 3 and time.monotonic() < until:
        slot += 1
        assert await state.claim(Claim(f"r{slot}", "t", float(slot), "schedule", NOW))
    stopped.set()
    thread.join()
    await state.close()
    assert len(counts) >= 3
    assert counts == sorted(counts)
    tool("copy", file, copy)
    assert ask(copy, "SELECT count(*) FROM runs") == [(slot,)]


async def test_after_a_migration_the_older_file_gets_everything(tmp_path: Path) -> None:
    """Claims, cursors and outcomes of the newer version, in the older one's tables."""
    file, older = tmp_path / "state.db", tmp_path / "older.db"
    await claimed(file, 1.0)
    tool("copy", file, older)
    await claimed(file, 1.0, 2.0, 3.0, migrations=NEWER)
    tool("settle", file)
    tool("carry", file, older)
    assert tool("version", older) == str(len(MIGRATIONS))
    runs = "SELECT run_id, slot, outcome FROM runs ORDER BY slot"
    assert ask(older, runs) == ask(file, runs)
    before = ask(file, "SELECT name, cursor FROM tasks ORDER BY 1")
    assert ask(older, "SELECT name, cursor FROM tasks ORDER BY 1") == before
    state = State.open(older, ManualClock(NOW))
    assert not await state.claim(Claim("again", "t", 2.0, "schedule", NOW))
    await state.close()


@pytest.mark.parametrize("migrations", [MOVED, STRICTER], ids=["moved", "stricter"])
async def test_where_claims_are_not_to_be_found_nothing_is_owed(
    tmp_path: Path, migrations: tuple[Migration, ...]
) -> None:
    """Rather no slot than one for the second time."""
    file, older = tmp_path / "state.db", tmp_path / "older.db"
    await claimed(file, 1.0)
    tool("copy", file, older)
    await claimed(file, 1.0, 2.0)
    with closing(sqlite3.connect(file)) as db, db:
        for statement in migrations[-1]:
            db.execute(statement)
    began = time.time()
    tool("carry", file, older)
    assert all(cursor >= began for (cursor,) in ask(older, "SELECT cursor FROM tasks"))


async def test_a_restored_copy_knows_what_ran_since(tmp_path: Path) -> None:
    """Claims and pauses of the present file come along, and slots up to now count as done."""
    file, saved = tmp_path / "state.db", tmp_path / "saved.db"
    await claimed(file, 1.0, 3.0)
    tool("copy", file, saved)
    await claimed(file, 2.0)
    state = State.open(file, ManualClock(NOW))
    await state.pause("paused", NOW + 1e9)
    await state.pause(None, NOW + 2e9)
    await state.close()
    began = time.time()
    tool("merge", file, saved)
    assert ask(saved, "SELECT slot, outcome FROM runs ORDER BY slot") == [
        (1.0, "success"), (2.0, "success"), (3.0, "crashed"),
    ]  # fmt: skip
    assert all(cursor >= began for (cursor,) in ask(saved, "SELECT cursor FROM tasks"))
    assert ask(saved, "SELECT paused_until FROM tasks WHERE name = 'paused'") == [(NOW + 1e9,)]
    opened = State.open(saved, ManualClock(NOW))
    assert opened.pause_all_until == NOW + 2e9
    assert opened.open_runs() == []
    await opened.close()


async def test_a_copy_is_restored_where_there_is_no_state(tmp_path: Path) -> None:
    """On a fresh machine: nothing of before is run again, and nothing is left open."""
    file, saved = tmp_path / "state.db", tmp_path / "saved.db"
    await claimed(file, 1.0, 3.0)
    tool("copy", file, saved)
    tool("merge", tmp_path / "gone.db", saved)
    assert ask(saved, "SELECT slot, outcome FROM runs ORDER BY slot") == [
        (1.0, "success"), (3.0, "crashed"),
    ]  # fmt: skip
    assert not (tmp_path / "gone.db").exists()


async def test_a_settled_file_needs_no_log(tmp_path: Path) -> None:
    """So that replacing it is one step; a file that is in use is refused."""
    file = tmp_path / "state.db"
    state = State.open(file, ManualClock(NOW))
    await state.register({"t": "every"}, NOW)
    assert await state.claim(Claim("r", "t", 1.0, "schedule", NOW))
    busy = subprocess.run(
        [sys.executable, "-I", TOOL, "settle", file], capture_output=True, text=True, check=False
    )
    assert busy.returncode != 0
    await state.close()
    tool("settle", file)
    assert not file.with_name("state.db-wal").exists()
    assert ask(file, "SELECT run_id FROM runs") == [("r",)]
