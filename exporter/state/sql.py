"""Between :class:`~exporter.state.snapshot.Contents` and the tables."""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, fields
from typing import Any

from exporter.state.models import Claim, Run, StateError, TaskState
from exporter.state.snapshot import Contents, Kept

log = logging.getLogger(__name__)

Row = tuple[str, Sequence[Any]]
"""A statement and its parameters."""

_TASK_COLUMNS = ", ".join(each.name for each in fields(TaskState))
_PUT_TASK = (
    f"INSERT OR REPLACE INTO tasks (name, {_TASK_COLUMNS}) "  # noqa: S608 - our own names
    f"VALUES (?{', ?' * len(fields(TaskState))})"
)
_PAUSE_ALL = "pause_all_until"
_GENERATION = "generation"


def run_columns(db: sqlite3.Connection) -> str:
    """The columns of :class:`Run`; NULL for those that a file has not got, which no newer version
    has opened for writing yet."""
    there = {row[1] for row in db.execute("PRAGMA table_info(runs)")}
    names = (each.name for each in fields(Run))
    return ", ".join(name if name in there else f"NULL AS {name}" for name in names)


def load(db: sqlite3.Connection) -> Contents:
    """Everything that is kept in memory. Raises :class:`ValueError` for broken JSON."""
    tasks = {
        name: TaskState(*values)
        for name, *values in db.execute(f"SELECT name, {_TASK_COLUMNS} FROM tasks")  # noqa: S608
    }
    open_runs = {
        run.run_id: run
        for run in map(
            to_run,
            db.execute(
                f"SELECT {run_columns(db)} FROM runs "  # noqa: S608
                "WHERE outcome IS NULL ORDER BY claimed_at"
            ),
        )
    }
    kept: dict[str, dict[str, Kept]] = {}
    for kind, name, text in db.execute("SELECT kind, name, value FROM kept"):
        kept.setdefault(kind, {})[name] = Kept.read(text)
    found = db.execute("SELECT at FROM moments WHERE name = ?", (_PAUSE_ALL,)).fetchone()
    return Contents(tasks, open_runs, kept, found[0] if found else None)


def to_run(values: Sequence[Any]) -> Run:
    """A row of :func:`run_columns`."""
    return Run(*values)


def difference(old: Contents, new: Contents) -> Iterator[Row]:
    """The statements that turn `old` into `new`, except for runs."""
    if new.tasks is not old.tasks:
        for name, task in new.tasks.items():
            if task != old.tasks.get(name):
                yield _PUT_TASK, (name, *astuple(task))
    if new.kept is not old.kept:
        for kind in {*old.kept, *new.kept}:
            yield from _difference_of_kind(kind, old.kept.get(kind, {}), new.kept.get(kind, {}))
    if new.pause_all_until != old.pause_all_until:
        yield put_moment(_PAUSE_ALL, new.pause_all_until)


def _difference_of_kind(
    kind: str, old: Mapping[str, Kept], new: Mapping[str, Kept]
) -> Iterator[Row]:
    if new is old:
        return
    for name, value in new.items():
        if value != old.get(name):
            yield "INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (kind, name, value.text)
    for name in old:
        if name not in new:
            yield "DELETE FROM kept WHERE kind = ? AND name = ?", (kind, name)


def difference_of_open_runs(old: Contents, new: Contents) -> Iterator[Row]:
    """The same for open runs, needed after the file was unavailable: claims that were confirmed are
    in it, and one that was not confirmed is not."""
    for run_id, run in new.open_runs.items():
        if run_id not in old.open_runs:
            yield (
                "INSERT INTO runs (run_id, task, slot, trigger, claimed_at, reopened, for_slot, "
                "params) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    run_id,
                    run.task,
                    run.slot,
                    run.trigger,
                    run.claimed_at,
                    run.reopened,
                    run.for_slot,
                    run.params,
                ),
            )
    for run_id in old.open_runs:
        if run_id not in new.open_runs:
            yield release(run_id)


def put_moment(name: str, at: float | None) -> Row:
    """A moment that does not belong to a task."""
    return "INSERT OR REPLACE INTO moments VALUES (?, ?)", (name, at)


def generation(db: sqlite3.Connection) -> int | None:
    """How many transactions the file holds; None when it was written by a version that did not
    count them."""
    row = db.execute("SELECT at FROM moments WHERE name = ?", (_GENERATION,)).fetchone()
    return int(row[0]) if row and row[0] is not None else None


def put_generation(number: int) -> Row:
    """A moment that is not a time: the table is the one place for single numbers."""
    return put_moment(_GENERATION, float(number))


def claim(wanted: Claim) -> Row:
    """Changes one row, or none when the slot has a run already."""
    values = (wanted.run_id, wanted.task, wanted.slot, wanted.trigger, wanted.at)
    if wanted.for_slot is None and wanted.params is None:
        return (
            "INSERT INTO runs (run_id, task, slot, trigger, claimed_at) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (task, slot) DO NOTHING",
            values,
        )
    return (
        "INSERT INTO runs (run_id, task, slot, trigger, claimed_at, for_slot, params) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (task, slot) DO NOTHING",
        (*values, wanted.for_slot, wanted.params),
    )


def release(run_id: str) -> Row:
    """Withdraws a claim that was never confirmed."""
    return "DELETE FROM runs WHERE run_id = ? AND outcome IS NULL", (run_id,)


def reopen(run_id: str) -> Row:
    """Changes one row, or none when the run is not open."""
    return (
        "UPDATE runs SET reopened = reopened + 1 WHERE run_id = ? AND outcome IS NULL",
        (run_id,),
    )


def finish(end: Run) -> Row:
    """Closes the run; one that has no claim gets its row now."""
    closed = (
        "outcome = excluded.outcome, started_at = excluded.started_at, "
        "ended_at = excluded.ended_at, attempts = excluded.attempts, items = excluded.items, "
        "error = excluded.error, tail = excluded.tail, message = excluded.message "
        "WHERE runs.outcome IS NULL"
    )
    return (
        "INSERT INTO runs (run_id, task, slot, trigger, claimed_at, outcome, started_at, "  # noqa: S608
        "ended_at, attempts, items, error, tail, message, for_slot, params) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        f"ON CONFLICT (run_id) DO UPDATE SET {closed} "
        f"ON CONFLICT (task, slot) DO UPDATE SET {closed}",
        (
            end.run_id, end.task, end.slot, end.trigger, end.claimed_at, end.outcome,
            end.started_at, end.ended_at, end.attempts, number(end.items),
            _text(end.error), _text(end.tail), _text(end.message), end.for_slot, end.params,
        ),
    )  # fmt: skip


def journal(kind: str, at: float, fields_text: str) -> Row:
    """Adds a row to the journal."""
    return "INSERT INTO journal (kind, at, fields) VALUES (?, ?, ?)", (kind, at, fields_text)


def purge(before: float, limit: int) -> list[Row]:
    """Deletes up to `limit` runs and journal rows older than `before`; open runs stay."""
    return [
        (
            "DELETE FROM runs WHERE rowid IN (SELECT rowid FROM runs "
            "WHERE claimed_at < ? AND outcome IS NOT NULL LIMIT ?)",
            (before, limit),
        ),
        (
            "DELETE FROM journal WHERE id IN (SELECT id FROM journal WHERE at < ? LIMIT ?)",
            (before, limit),
        ),
    ]


def in_savepoint(db: sqlite3.Connection, statements: Iterable[Row]) -> int | StateError:
    """Run the statements in a savepoint, so that an invalid one undoes nothing else."""
    db.execute("SAVEPOINT step")
    changed = 0
    try:
        for statement, values in statements:
            changed += db.execute(statement, values).rowcount
    except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError,
            sqlite3.ProgrammingError, ValueError, OverflowError) as error:  # fmt: skip
        db.execute("ROLLBACK TO step")
        db.execute("RELEASE step")
        log.error("state refused a row: %s", error, extra={"event": "state_row_refused"})
        return StateError(f"state refused the row: {error}")
    db.execute("RELEASE step")
    return changed


def number(value: float | None) -> float | None:
    """Elsewhere NaN stands for "not given"; here it is None."""
    return None if value is None or math.isnan(value) else float(value)


def _text(value: str | None) -> str | None:
    # What a program wrote may hold halves of characters, which SQLite refuses.
    return None if value is None else value.encode("utf-8", "replace").decode()
