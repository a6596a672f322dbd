"""Copies of the state file that are consistent, and the way back after a migration.

Run as the exporter's user (``python3 -I state_copy.py copy|carry|version …``): a file that SQLite
makes beside the state must not belong to root.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from pathlib import Path


def copy(source: Path, target: Path) -> None:
    """A consistent copy of a state file that may be in use; the target appears only whole."""
    draft = target.with_name(f".{target.name}.draft")
    draft.unlink(missing_ok=True)
    with (
        contextlib.closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as old,
        contextlib.closing(sqlite3.connect(draft)) as new,
    ):
        old.backup(new)
        if (verdict := new.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(f"{source} is damaged: {verdict}")
        new.execute("PRAGMA journal_mode = DELETE")
    draft.replace(target)


def version(file: Path) -> int:
    """The schema's version of a state file; 0 when there is none."""
    if not file.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def carry(newer: Path, older: Path) -> None:
    """Bring what happened since the backup `older` from `newer` into it, in older's own columns.

    So a slot that the newer version claimed is claimed for the older one, too, and runs no second
    time. Tables and columns that `older` does not know are left behind.
    """
    with contextlib.closing(sqlite3.connect(older, isolation_level=None)) as db:
        db.execute("ATTACH ? AS newer", (str(newer),))
        db.execute("BEGIN IMMEDIATE")
        for table in _tables(db, "main"):
            theirs = _columns(db, "newer", table)
            both = [c for c in _columns(db, "main", table) if c in theirs]
            if both:
                names = ", ".join(f'"{c}"' for c in both)
                db.execute(f'DELETE FROM main."{table}"')  # noqa: S608  names from the schema
                db.execute(
                    f'INSERT OR IGNORE INTO main."{table}" ({names}) '  # noqa: S608
                    f'SELECT {names} FROM newer."{table}"'
                )
        db.execute("COMMIT")


def _tables(db: sqlite3.Connection, schema: str) -> list[str]:
    rows = db.execute(
        f"SELECT name FROM {schema}.sqlite_schema WHERE type = 'table' "  # noqa: S608
        "AND name NOT LIKE 'sqlite_%'"
    )
    return [row[0] for row in rows]


def _columns(db: sqlite3.Connection, schema: str, table: str) -> list[str]:
    return [row[1] for row in db.execute(f'PRAGMA {schema}.table_info("{table}")')]


def main(what: str, *files: str) -> None:
    """Do one of the three."""
    paths = [Path(f).absolute() for f in files]
    match what:
        case "copy":
            copy(*paths)
        case "carry":
            carry(*paths)
        case "version":
            print(version(*paths))
        case _:
            sys.exit(f"{what!r} is none of copy, carry, version")


if __name__ == "__main__":
    main(*sys.argv[1:])
