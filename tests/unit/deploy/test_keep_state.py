"""What is done with the state of containers before the exporter starts."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from exporter.state import Claim, State
from exporter.state.schema import MIGRATIONS
from tests.compose import ROOT
from tests.unit.clocks import ManualClock

NOW = 1_700_000_000.0
SCHEMA = len(MIGRATIONS)


def keep(file: Path, *schema: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "deploy/containers/keep_state.py", file, *map(str, schema)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "deploy/vps")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def schema(file: Path) -> int:
    with closing(sqlite3.connect(file)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def slots(file: Path) -> list[float]:
    with closing(sqlite3.connect(file)) as db:
        return [row[0] for row in db.execute("SELECT slot FROM runs ORDER BY slot")]


async def claimed(file: Path, slot: float, version: int = SCHEMA) -> None:
    """An exporter of that schema that claims one slot."""
    state = State.open(file, ManualClock(NOW), migrations=MIGRATIONS[:version])
    await state.register({"t": "every"}, NOW)
    await state.claim(Claim(f"r{slot:.0f}", "t", slot, "schedule", NOW))
    await state.close()


async def test_nothing_is_done_without_a_state_or_with_one_of_this_version(tmp_path: Path) -> None:
    """As at nearly every start."""
    file = tmp_path / "state.db"
    assert (keep(file).returncode, keep(file).stdout) == (0, "")
    await claimed(file, 60)
    assert keep(file).stdout == ""
    assert not (tmp_path / "backups").exists()


async def test_upgrade_and_rollback_forget_no_claim(tmp_path: Path) -> None:
    """A copy before, the newer claims in it after, and the newer file next to it."""
    file = tmp_path / "state.db"
    await claimed(file, 60, SCHEMA - 1)
    said = keep(file)
    assert f"has schema {SCHEMA - 1} and will be upgraded; a copy is" in said.stdout, said.stderr
    (copy,) = (tmp_path / "backups").iterdir()
    assert (schema(copy), slots(copy), copy.stat().st_mode & 0o777) == (SCHEMA - 1, [60], 0o600)
    await claimed(file, 120)
    said = keep(file, SCHEMA - 1)
    assert f"back from schema {SCHEMA} to {SCHEMA - 1}" in said.stdout, said.stderr
    assert (schema(file), slots(file), file.stat().st_mode & 0o777) == (
        SCHEMA - 1, [60, 120], 0o600,
    )  # fmt: skip
    assert schema(tmp_path / f"state.db.schema-{SCHEMA}") == SCHEMA


async def test_a_rollback_without_a_copy_changes_nothing(tmp_path: Path) -> None:
    """And ends with 1, so that no exporter starts on it."""
    file = tmp_path / "state.db"
    await claimed(file, 60)
    said = keep(file, SCHEMA - 1)
    assert said.returncode == 1
    assert "no copy in" in said.stderr
    assert "go back to the newer version" in said.stderr
    assert schema(file) == SCHEMA


async def test_some_copies_of_each_schema_stay(tmp_path: Path) -> None:
    """The newest three."""
    file = tmp_path / "state.db"
    await claimed(file, 60, SCHEMA - 1)
    folder = tmp_path / "backups"
    folder.mkdir()
    names = [f"state-schema{SCHEMA - 1}-2020010{day}T000000Z.db" for day in range(1, 6)]
    for name in (*names, "state-schema1-20190101T000000Z.db"):
        (folder / name).touch()
    keep(file)
    left = sorted(path.name for path in folder.iterdir())
    assert left[:3] == ["state-schema1-20190101T000000Z.db", *names[-2:]]
    assert len(left) == 4


async def test_a_copy_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """In a sentence, and no exporter changes the file."""
    file = tmp_path / "state.db"
    await claimed(file, 60, SCHEMA - 1)
    (tmp_path / "backups").touch()
    said = keep(file)
    assert said.returncode == 1
    assert said.stderr.startswith(f"{file} was left as it is: ")
