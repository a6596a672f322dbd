"""Questions to the file itself, over a read-only connection. These block: ask them in a thread."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from exporter.state import database, rows
from exporter.state.records import JournalRow, Run


def runs(path: Path, since: float, task: str | None, limit: int) -> list[Run]:
    """Runs claimed since then, newest first."""
    question = (
        f"SELECT {rows.RUN_COLUMNS} FROM runs "  # noqa: S608 - our own names
        "WHERE claimed_at >= ? AND (? IS NULL OR task = ?) ORDER BY claimed_at DESC LIMIT ?"
    )
    with closing(database.read_only(path)) as db:
        return [rows.to_run(values) for values in db.execute(question, (since, task, task, limit))]


def run(path: Path, run_id: str) -> Run | None:
    """The run of that id."""
    question = f"SELECT {rows.RUN_COLUMNS} FROM runs WHERE run_id = ?"  # noqa: S608 - our own names
    with closing(database.read_only(path)) as db:
        found = db.execute(question, (run_id,)).fetchone()
    return rows.to_run(found) if found else None


def journal_rows(path: Path, since: float, kind: str | None, limit: int) -> list[JournalRow]:
    """What was journalled since then, newest first."""
    question = (
        "SELECT id, kind, at, fields FROM journal "
        "WHERE at >= ? AND (? IS NULL OR kind = ?) ORDER BY at DESC, id DESC LIMIT ?"
    )
    with closing(database.read_only(path)) as db:
        return [
            JournalRow(number, each, at, json.loads(text))
            for number, each, at, text in db.execute(question, (since, kind, kind, limit))
        ]


def backup(path: Path, target: Path) -> None:
    """A consistent copy, complete once it has its name. A file of that name is replaced."""
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    with closing(database.read_only(path)) as source, closing(sqlite3.connect(part)) as copy:
        source.backup(copy, pages=256)
    part.replace(target)
