"""An upgrade of the image, and the way back, with the state of another version."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from exporter.state import Claim, State
from exporter.state.schema import MIGRATIONS
from exporter.util.clock import SystemClock
from tests.containers.stack import EXPORTER, Stack, until

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(900)]
SCHEMA = len(MIGRATIONS)
USER = 10077
RUN = "01a200000000-0000cafe"
"""A run of the version before."""


def schema(file: Path) -> int:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


async def written_by_an_older_version(file: Path) -> None:
    """The file of the first release, with one run that ended as the process died."""
    state = State.open(file, SystemClock(), migrations=MIGRATIONS[:1])
    await state.register({"beat": "every 5s"}, time.time())
    await state.claim(Claim(RUN, "beat", time.time() - 60, "schedule", time.time() - 60))
    await state.close()
    os.chown(file, USER, USER)


def test_an_older_state_is_copied_upgraded_and_turned_back(stack: Stack) -> None:
    """As docs/containers.md says it, with every claim of both versions."""
    folder = stack.state_folder()
    file = folder / "state.db"
    stack.compose("stop", "exporter")
    for old in folder.glob("state.db*"):
        old.unlink()
    asyncio.run(written_by_an_older_version(file))
    stack.up()
    assert "the state has schema 1 and will be upgraded" in stack.logs("state")
    (copy,) = folder.glob("backups/state-schema1-*.db")
    assert schema(copy) == 1
    assert RUN in stack.get(f"{EXPORTER}/runs/{RUN}")
    until(
        lambda: schema(file) == SCHEMA and count(file) > 1, what="the newer version has run tasks"
    )

    stack.compose("stop", "exporter")
    known = count(file)
    stack.compose("run", "--rm", "state", "1")
    assert schema(file) == 1
    assert count(file) == known
    assert schema(folder / f"state.db.schema-{SCHEMA}") == SCHEMA
    stack.up()
    until(lambda: schema(file) == SCHEMA and count(file) > known, what="tasks run again")


def count(file: Path) -> int:
    """How many runs of `beat` it has."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM runs WHERE task = 'beat'").fetchone()[0])
