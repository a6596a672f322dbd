"""What the file knows and memory does not: ended runs and the journal."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from exporter.state import database, sql
from exporter.state.models import JournalPage, JournalRow, Run, StateError, Tally, TaskTimes

_T = TypeVar("_T")


class StateHistory:
    """Asked in a thread, over a read-only connection. Everything here raises :class:`StateError`
    when the file cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def ask(self, question: Callable[[Path], _T]) -> _T:
        """What a query of the file answers."""
        try:
            return await asyncio.to_thread(question, self._path)
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StateError(f"{self._path} cannot be read: {error}") from error

    async def _select(self, question: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        def select(path: Path) -> list[tuple[Any, ...]]:
            with closing(database.read_only(path)) as db:
                return db.execute(question, values).fetchall()

        return await self.ask(select)

    async def _runs(self, *questions: tuple[str, Sequence[Any]]) -> list[Run]:
        """What each question finds, one after the other."""

        def select(path: Path) -> list[Run]:
            with closing(database.read_only(path)) as db:
                columns = sql.run_columns(db)
                return [
                    sql.to_run(found)
                    for where, values in questions
                    for found in db.execute(f"SELECT {columns} FROM runs {where}", values)  # noqa: S608 - our own names
                ]

        return await self.ask(select)

    async def runs(self, since: float, task: str | None = None, limit: int = 1000) -> list[Run]:
        """Runs claimed since then, newest first."""
        if task is not None:
            return await self.runs_of([task], since, limit)
        where = "WHERE claimed_at >= ? ORDER BY claimed_at DESC LIMIT ?"
        return await self._runs((where, (since, limit)))

    async def runs_of(self, tasks: Sequence[str], since: float, limit: int) -> list[Run]:
        """The newest runs of each task, at most `limit` per task, newest first.

        Slots are looked up by (task, slot), so the runs of a task that seldom runs are found
        without reading those of all others; runs without a slot are few.
        """
        questions = (
            "WHERE task = ? AND claimed_at >= ? AND slot IS NOT NULL ORDER BY slot DESC LIMIT ?",
            "WHERE task = ? AND claimed_at >= ? AND slot IS NULL ORDER BY claimed_at DESC LIMIT ?",
        )
        found = await self._runs(
            *((where, (task, since, limit)) for task in tasks for where in questions)
        )
        found.sort(key=lambda run: run.claimed_at, reverse=True)
        counts = dict.fromkeys(tasks, 0)
        newest = []
        for run in found:
            counts[run.task] += 1
            if counts[run.task] <= limit:
                newest.append(run)
        return newest

    async def run(self, run_id: str) -> Run | None:
        """One run; None when it is unknown or was deleted."""
        found = await self._runs(("WHERE run_id = ?", (run_id,)))
        return found[0] if found else None

    async def runs_for(self, task: str, begin: float, end: float) -> list[Run]:
        """The task's runs for slots from `begin` to `end`, those that were started once more
        too."""
        where = (
            "WHERE task = ? AND (slot BETWEEN ? AND ? OR slot IS NULL AND for_slot BETWEEN ? AND ?)"
        )
        return await self._runs((where, (task, begin, end, begin, end)))

    async def claimed_slots(self, task: str, after: float, until: float) -> frozenset[float]:
        """The task's slots with after < slot <= until that have a run."""
        question = "SELECT slot FROM runs WHERE task = ? AND slot > ? AND slot <= ?"
        return frozenset(slot for (slot,) in await self._select(question, (task, after, until)))

    async def newest_successes(self, until: float) -> dict[str, float]:
        """When each task's newest success up to that moment ended."""
        question = (
            "SELECT task, max(ended_at) FROM runs WHERE outcome = 'success' AND ended_at <= ? "
            "GROUP BY task"
        )
        return dict(await self._select(question, (until,)))

    async def tally(self, begin: float, end: float) -> list[Tally]:
        """Outcomes of the runs claimed in [begin, end) that started: one row per task and outcome.
        SQLite counts, since a busy day has tens of thousands of runs, and takes bare columns from
        the row of the maximum: https://sqlite.org/lang_select.html#bareagg."""
        question = (
            "SELECT task, outcome, count(*), max(claimed_at), run_id, error FROM runs "
            "WHERE claimed_at >= ? AND claimed_at < ? AND outcome IS NOT NULL "
            "AND outcome != 'blocked' GROUP BY task, outcome"
        )
        return [Tally(*values) for values in await self._select(question, (begin, end))]

    async def times(self, begin: float, end: float) -> list[TaskTimes]:
        """How long the runs claimed in [begin, end) took, all attempts: one row per task."""
        question = (
            "SELECT task, max(ended_at - started_at), avg(ended_at - started_at) FROM runs "
            "WHERE claimed_at >= ? AND claimed_at < ? AND ended_at IS NOT NULL "
            "AND started_at IS NOT NULL GROUP BY task"
        )
        return [TaskTimes(*values) for values in await self._select(question, (begin, end))]

    async def journal_rows(
        self, since: float, kind: str | None = None, limit: int = 1000
    ) -> list[JournalRow]:
        """Journal rows since then, newest first."""
        question = (
            "SELECT id, kind, at, fields FROM journal "
            "WHERE at >= ? AND (? IS NULL OR kind = ?) ORDER BY at DESC, id DESC LIMIT ?"
        )
        return [
            JournalRow(number, each, at, json.loads(text))
            for number, each, at, text in await self._select(question, (since, kind, kind, limit))
        ]

    async def journal_page(
        self, kinds: Sequence[str], after: tuple[float, int], limit: int
    ) -> JournalPage:
        """The next rows of these kinds after (at, id), oldest first; a row that is not JSON is left
        out and counted."""
        question = (
            "SELECT id, kind, at, fields FROM journal WHERE (at, id) > (?, ?) "  # noqa: S608 - marks
            f"AND kind IN ({', '.join('?' * len(kinds))}) ORDER BY at, id LIMIT ?"
        )
        values = await self._select(question, (*after, *kinds, limit))
        return await asyncio.to_thread(_page, values, limit)


def _page(values: Sequence[tuple[Any, ...]], limit: int) -> JournalPage:
    found: list[JournalRow] = []
    unreadable = 0
    end: tuple[float, int] | None = None
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
