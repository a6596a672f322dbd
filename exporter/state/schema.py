"""The tables of the state file, and how an older file becomes a newer one.

Step N of :data:`MIGRATIONS` turns version N - 1 into version N; a released step is never changed,
only followed by another. All steps that a file lacks run in one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from exporter.state.models import StateError

APPLICATION_ID = 0x51455850
"""``QEXP``: tells our files from other programs' SQLite files."""

Migration = Sequence[str]

MIGRATIONS: Sequence[Migration] = (
    (
        """
        CREATE TABLE tasks (
            name TEXT PRIMARY KEY,
            cursor REAL,
            covered_until REAL,
            last_success REAL,
            last_failure REAL,
            last_start REAL,
            consecutive_failures INTEGER NOT NULL,
            items REAL,
            schedule TEXT NOT NULL,
            paused_until REAL
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE runs (
            run_id TEXT NOT NULL PRIMARY KEY,
            task TEXT NOT NULL,
            slot REAL,
            trigger TEXT NOT NULL,
            claimed_at REAL NOT NULL,
            reopened INTEGER NOT NULL DEFAULT 0,
            outcome TEXT,
            started_at REAL,
            ended_at REAL,
            attempts INTEGER NOT NULL DEFAULT 0,
            items REAL,
            error TEXT,
            tail TEXT,
            UNIQUE (task, slot)
        ) STRICT
        """,
        "CREATE INDEX runs_by_time ON runs (claimed_at)",
        "CREATE INDEX runs_open ON runs (claimed_at) WHERE outcome IS NULL",
        """
        CREATE TABLE kept (
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (kind, name)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE TABLE moments (name TEXT PRIMARY KEY, at REAL) STRICT, WITHOUT ROWID",
        """
        CREATE TABLE journal (
            id INTEGER PRIMARY KEY,
            kind TEXT NOT NULL,
            at REAL NOT NULL,
            fields TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX journal_by_time ON journal (at)",
    ),
    # What a run says of a success; runs that are started once more, for a slot of the past.
    (
        "ALTER TABLE runs ADD COLUMN message TEXT",
        "ALTER TABLE runs ADD COLUMN for_slot REAL",
        "ALTER TABLE runs ADD COLUMN params TEXT",
    ),
    (
        # Numbers as text keep all their digits.
        """
        CREATE TABLE fills (
            strategy TEXT NOT NULL,
            id TEXT NOT NULL,
            at REAL NOT NULL,
            symbol TEXT NOT NULL,
            side TEXT NOT NULL,
            price TEXT NOT NULL,
            quantity TEXT,
            fee TEXT,
            currency TEXT NOT NULL,
            order_id TEXT NOT NULL,
            origin TEXT NOT NULL,
            UNIQUE (strategy, id)
        ) STRICT
        """,
        "CREATE INDEX fills_by_time ON fills (at)",
        """
        CREATE TABLE equity (
            strategy TEXT NOT NULL,
            id TEXT NOT NULL,
            at REAL NOT NULL,
            equity TEXT NOT NULL,
            flow TEXT NOT NULL,
            origin TEXT NOT NULL,
            UNIQUE (strategy, id)
        ) STRICT
        """,
        "CREATE INDEX equity_by_time ON equity (at)",
    ),
)


def migrate(
    db: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> bool:
    """Bring the file up to the newest version; True when it was empty before.

    Raises :class:`StateError` and changes nothing when the file is newer than this program knows,
    or belongs to another program.
    """
    version = _number(db, "PRAGMA user_version")
    owner = _number(db, "PRAGMA application_id")
    empty = version == 0 and owner == 0 and not _number(db, "SELECT count(*) FROM sqlite_schema")
    if not empty and owner != APPLICATION_ID:
        raise StateError(f"{path} belongs to another program; set `state:` to a different file")
    if version > len(migrations):
        raise StateError(
            f"{path} was written by a newer quant-exporter (its schema is version {version}, this "
            f"program knows {len(migrations)}); install that version again, or restore a copy of "
            "the file from before the upgrade"
        )
    if version < len(migrations):
        db.execute("BEGIN IMMEDIATE")
        try:
            for step in migrations[version:]:
                for statement in step:
                    db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {len(migrations)}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    return empty


def _number(db: sqlite3.Connection, question: str) -> int:
    return int(db.execute(question).fetchone()[0])
