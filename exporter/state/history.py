"""Queries of the file over a read-only connection. They block: run them in a thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from exporter.state import database
from exporter.state import sql as rows
from exporter.state.models import JournalPage, JournalRow, Run, Tally, TaskTimes


def runs(path: Path, since: float, limit: int) -> list[Run]:
    """Runs claimed since then, newest first."""
    with closing(database.read_only(path)) as db:
        question = (
            f"SELECT {rows.run_columns(db)} FROM runs "  # noqa: S608 - our own names
            "WHERE claimed_at >= ? ORDER BY claimed_at DESC LIMIT ?"
        )
        return [rows.to_run(values) for values in db.execute(question, (since, limit))]


def runs_of(path: Path, tasks: Sequence[str], since: float, limit: int) -> list[Run]:
    """The newest runs of each task, at most `limit` per task, newest first.

    Slots are looked up by (task, slot), so the runs of a task that seldom runs are found without
    reading those of all others; runs without a slot are few.
    """
    found: list[Run] = []
    with closing(database.read_only(path)) as db:
        columns = f"SELECT {rows.run_columns(db)} FROM runs WHERE task = ? AND claimed_at >= ? "  # noqa: S608
        questions = (
            columns + "AND slot IS NOT NULL ORDER BY slot DESC LIMIT ?",
            columns + "AND slot IS NULL ORDER BY claimed_at DESC LIMIT ?",
        )
        for task in tasks:
            own = [
                rows.to_run(values)
                for question in questions
                for values in db.execute(question, (task, since, limit))
            ]
            own.sort(key=lambda run: run.claimed_at, reverse=True)
            found += own[:limit]
    found.sort(key=lambda run: run.claimed_at, reverse=True)
    return found


def tally(path: Path, begin: float, end: float) -> list[Tally]:
    """Outcomes of the runs claimed in [begin, end) that started: one row per task and outcome.
    SQLite counts, since a busy day has tens of thousands of runs, and takes bare columns from the
    row of the maximum: https://sqlite.org/lang_select.html#bareagg."""
    question = (
        "SELECT task, outcome, count(*), max(claimed_at), run_id, error FROM runs "
        "WHERE claimed_at >= ? AND claimed_at < ? AND outcome IS NOT NULL AND outcome != 'blocked' "
        "GROUP BY task, outcome"
    )
    with closing(database.read_only(path)) as db:
        return [Tally(*values) for values in db.execute(question, (begin, end))]


def times(path: Path, begin: float, end: float) -> list[TaskTimes]:
    """How long the runs claimed in [begin, end) took, all attempts: one row per task."""
    question = (
        "SELECT task, max(ended_at - started_at), avg(ended_at - started_at) FROM runs "
        "WHERE claimed_at >= ? AND claimed_at < ? AND ended_at IS NOT NULL "
        "AND started_at IS NOT NULL GROUP BY task"
    )
    with closing(database.read_only(path)) as db:
        return [TaskTimes(*values) for values in db.execute(question, (begin, end))]


def run(path: Path, run_id: str) -> Run | None:
    """The run of that id."""
    with closing(database.read_only(path)) as db:
        question = f"SELECT {rows.run_columns(db)} FROM runs WHERE run_id = ?"  # noqa: S608
        found = db.execute(question, (run_id,)).fetchone()
    return rows.to_run(found) if found else None


def runs_for(path: Path, task: str, begin: float, end: float) -> list[Run]:
    """The task's runs for slots from `begin` to `end`, whether or not they claimed them."""
    with closing(database.read_only(path)) as db:
        question = (
            f"SELECT {rows.run_columns(db)} FROM runs WHERE task = ? AND (slot BETWEEN ? AND ? "  # noqa: S608
            "OR slot IS NULL AND for_slot BETWEEN ? AND ?)"
        )
        return [rows.to_run(each) for each in db.execute(question, (task, begin, end, begin, end))]


def claimed_slots(path: Path, task: str, after: float, until: float) -> frozenset[float]:
    """The task's slots with after < slot <= until that have a run."""
    question = "SELECT slot FROM runs WHERE task = ? AND slot > ? AND slot <= ?"
    with closing(database.read_only(path)) as db:
        return frozenset(slot for (slot,) in db.execute(question, (task, after, until)))


def newest_successes(path: Path, until: float) -> dict[str, float]:
    """When each task's newest success up to that moment ended."""
    question = (
        "SELECT task, max(ended_at) FROM runs WHERE outcome = 'success' AND ended_at <= ? "
        "GROUP BY task"
    )
    with closing(database.read_only(path)) as db:
        return dict(db.execute(question, (until,)))


def journal_rows(path: Path, since: float, kind: str | None, limit: int) -> list[JournalRow]:
    """Journal rows since then, newest first."""
    question = (
        "SELECT id, kind, at, fields FROM journal "
        "WHERE at >= ? AND (? IS NULL OR kind = ?) ORDER BY at DESC, id DESC LIMIT ?"
    )
    with closing(database.read_only(path)) as db:
        return [
            JournalRow(number, each, at, json.loads(text))
            for number, each, at, text in db.execute(question, (since, kind, kind, limit))
        ]


def journal_page(
    path: Path, kinds: Sequence[str], after: tuple[float, int], limit: int
) -> JournalPage:
    """The next rows of these kinds after (at, id), oldest first."""
    question = (
        "SELECT id, kind, at, fields FROM journal WHERE (at, id) > (?, ?) "  # noqa: S608 - marks
        f"AND kind IN ({', '.join('?' * len(kinds))}) ORDER BY at, id LIMIT ?"
    )
    found: list[JournalRow] = []
    unreadable = 0
    end: tuple[float, int] | None = None
    with closing(database.read_only(path)) as db:
        values = db.execute(question, (*after, *kinds, limit)).fetchall()
    for number, kind, at, text in values:
        end = (at, number)
        try:
            fields = json.loads(text)
            if not isinstance(fields, dict):
                raise ValueError("not a mapping")
        except (ValueError, RecursionError):
            unreadable += 1
        else:
            found.append(JournalRow(number, kind, at, fields))
    return JournalPage(found, unreadable, end if len(values) == limit else None)


def backup(path: Path, target: Path) -> None:
    """A consistent copy, complete once it has its name. A file of that name is replaced."""
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    with closing(database.read_only(path)) as source, closing(sqlite3.connect(part)) as copy:
        source.backup(copy, pages=256)
        copy.execute("PRAGMA journal_mode = DELETE")  # as a file that was closed cleanly
    part.replace(target)
