"""Copies of the state file that are consistent, and older ones that forget no claim.

Run as the exporter's user (``python3 -I state_copy.py copy|carry|merge|settle|version …``): a file
that SQLite makes beside the state must not belong to root.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_NEEDED = {"tasks": {"name", "cursor", "paused_until"}, "runs": {"run_id", "task", "slot"}}
"""Without these of the newer file nobody knows what has run."""


def copy(source: Path, target: Path) -> None:
    """A consistent copy of a state file that may be in use; the target appears only whole."""
    draft = target.with_name(f".{target.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as old,
            contextlib.closing(sqlite3.connect(draft)) as new,
        ):
            old.backup(new)
            if (verdict := new.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(f"{source} is damaged: {verdict}")
            new.execute("PRAGMA journal_mode = DELETE")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def version(file: Path) -> int:
    """The schema's version of a state file; 0 when there is none."""
    if not file.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def settle(file: Path) -> None:
    """Bring what lies in the write-ahead log into the file, so that it can be replaced in one step.

    Raises :class:`sqlite3.Error` when another process has it open.
    """
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as db:
        mode = db.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
        if mode != "delete":
            raise sqlite3.OperationalError(f"{file} is in use")


def carry(newer: Path, older: Path) -> None:
    """After a migration: bring all that `newer` holds into `older`, a copy from before, in older's
    own columns.

    So a slot that the newer version claimed is claimed for the older one, too, and runs no second
    time. Tables and columns that `older` does not know are left behind. Where the newer file no
    longer says what ran, all slots up to now count as done.
    """
    with _both(older, newer) as db:
        complete = True
        for table in _tables(db, "main"):
            theirs = _columns(db, "other", table)
            both = [c for c in _columns(db, "main", table) if c in theirs]
            complete &= _NEEDED.get(table, set()) <= set(both)
            if both:
                names = ", ".join(f'"{c}"' for c in both)
                db.execute(f'DELETE FROM main."{table}"')  # noqa: S608  names from the schema
                db.execute(
                    f'INSERT OR IGNORE INTO main."{table}" ({names}) '  # noqa: S608
                    f'SELECT {names} FROM other."{table}"'
                )
                complete &= table not in _NEEDED or _count(db, "main", table) == _count(
                    db, "other", table
                )
        if not complete:
            _owe_nothing(db, time.time())


def merge(current: Path, saved: Path) -> None:
    """Before `saved`, an older copy, takes `current`'s place: nothing that has run, or may have,
    runs because of it.

    Claims and pauses of `current` (which may be gone) come along, slots up to now count as done,
    and a run that was under way when the copy was made counts as crashed.
    """
    with _both(saved, current if current.exists() else None) as db:
        if current.exists():
            theirs = _columns(db, "other", "runs")
            names = ", ".join(f'"{c}"' for c in _columns(db, "main", "runs") if c in theirs)
            db.execute(
                f"INSERT OR REPLACE INTO main.runs ({names}) "  # noqa: S608  names from the schema
                f"SELECT {names} FROM other.runs"
            )
            db.execute(
                "UPDATE main.tasks AS mine "
                "SET paused_until = max(ifnull(mine.paused_until, 0), t.paused_until) "
                "FROM other.tasks AS t WHERE t.name = mine.name "
                "AND t.paused_until IS NOT NULL"
            )
            db.execute(
                "INSERT INTO main.moments SELECT name, at FROM other.moments "
                "WHERE name = 'pause_all_until' AND at IS NOT NULL "
                "ON CONFLICT (name) DO UPDATE SET at = max(ifnull(at, 0), excluded.at)"
            )
        now = time.time()
        _owe_nothing(db, now)
        db.execute(
            "UPDATE main.runs SET outcome = 'crashed', started_at = ifnull(started_at, claimed_at),"
            " ended_at = ?, error = 'it was under way when the copy was made that is restored now' "
            "WHERE outcome IS NULL",
            (now,),
        )


def _owe_nothing(db: sqlite3.Connection, now: float) -> None:
    db.execute("UPDATE main.tasks SET cursor = max(ifnull(cursor, 0), ?)", (now,))


@contextlib.contextmanager
def _both(main: Path, other: Path | None) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(main, isolation_level=None)) as db:
        if other:
            db.execute("ATTACH ? AS other", (str(other),))
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")


def _count(db: sqlite3.Connection, schema: str, table: str) -> int:
    found = db.execute(f'SELECT count(*) FROM {schema}."{table}"')  # noqa: S608
    return int(found.fetchone()[0])


def _tables(db: sqlite3.Connection, schema: str) -> list[str]:
    rows = db.execute(
        f"SELECT name FROM {schema}.sqlite_schema WHERE type = 'table' "  # noqa: S608
        "AND name NOT LIKE 'sqlite_%'"
    )
    return [row[0] for row in rows]


def _columns(db: sqlite3.Connection, schema: str, table: str) -> list[str]:
    return [row[1] for row in db.execute(f'PRAGMA {schema}.table_info("{table}")')]


def main(what: str, *files: str) -> None:
    """Do one of them."""
    paths = [Path(f).absolute() for f in files]
    works = {"copy": copy, "carry": carry, "merge": merge, "settle": settle}
    if what == "version":
        print(version(*paths))
    elif what in works:
        works[what](*paths)
    else:
        sys.exit(f"{what!r} is none of {', '.join(works)}, version")


if __name__ == "__main__":
    main(*sys.argv[1:])
