"""Runs in a digest: outcomes by task, and those that were slow for their task."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from statistics import median
from typing import Any

import duckdb

from exporter.logs.digest.facts import LogDigest, Request, SlowRun, TaskDay
from exporter.logs.digest.query import lines, rows, scan
from exporter.logs.files import files_of
from exporter.util.local_time import date_of, day_bounds

HISTORY_DAYS = 7
SLOW_RATIO = 2.0
SLOW_SECONDS = 1.0
"""A run is slow when it took more than twice the usual time, and a second more."""
MOST_SLOW = 5


@dataclass(frozen=True)
class RunGroup:
    """The runs of one task that ended with one outcome."""

    task: str
    outcome: str
    runs: int
    retried: int
    median_seconds: float | None
    last_error: str | None
    last: str
    slowest: Sequence[Mapping[str, Any]]
    """``run_id``, ``at`` and ``seconds`` of as many as a digest may list."""


def run_groups(connection: duckdb.DuckDBPyConnection, table: str = "scanned") -> list[RunGroup]:
    """The runs that ended, by task and outcome."""
    fields = "timestamp task run_id duration_seconds outcome attempts message error_message"
    found = rows(
        connection,
        f"""
        SELECT task, coalesce(outcome, '?'), count(*), count(*) FILTER (number_of(attempts) > 1),
               median(seconds),
               arg_max(coalesce(error_message, first_line(message)), timestamp)
                 FILTER (outcome IS DISTINCT FROM 'success'),
               max(timestamp),
               coalesce(
                 max_by({{'run_id': coalesce(run_id, ''), 'at': timestamp, 'seconds': seconds}},
                        seconds, {MOST_SLOW}) FILTER (seconds > {SLOW_SECONDS}), [])
        FROM (
          SELECT *, seconds_of(duration_seconds) AS seconds
          FROM {lines("run_ended", fields, table)}
        )
        GROUP BY 1, 2 ORDER BY 1, 2
        """,
    )
    return [RunGroup(*row) for row in found if row[0] is not None]


def tasks(connection: duckdb.DuckDBPyConnection, runs: Sequence[RunGroup]) -> list[TaskDay]:
    """Each task's `runs`, what it missed and what was retried; the worst first."""
    missed = dict(
        rows(
            connection,
            f"""
            SELECT task, sum(coalesce(number_of(count), 1))
            FROM {lines("slots_missed", "task count")}
            GROUP BY 1
            """,
        )
    )
    missed.pop(None, 0)
    retries: dict[str, dict[str, int]] = defaultdict(dict)
    for task, outcome, count in rows(
        connection,
        f"""
        SELECT task, coalesce(outcome, '?'), count(*)
        FROM {lines("run_retry", "task outcome")}
        GROUP BY ALL ORDER BY ALL
        """,
    ):
        if task is not None:
            retries[task][outcome] = count
    days = []
    by_task = {task: list(of) for task, of in groupby(runs, key=lambda run: run.task)}
    for task in sorted({*by_task, *missed, *retries}):
        of = by_task.get(task, [])
        failed = [run for run in of if run.outcome != "success"]
        good = [run.median_seconds for run in of if run.outcome == "success"]
        days.append(
            TaskDay(
                task=task,
                runs=sum(run.runs for run in of),
                failures={run.outcome: run.runs for run in failed},
                retried=sum(run.retried for run in of),
                missed=int(missed.get(task, 0)),
                median_seconds=good[0] if good else None,
                last_error=max(failed, key=lambda run: run.last).last_error if failed else None,
                retry_reasons=retries.get(task, {}),
            )
        )
    return sorted(days, key=lambda d: (-sum(d.failures.values()), -d.missed, d.task))


def slow_runs(
    connection: duckdb.DuckDBPyConnection, request: Request, runs: Sequence[RunGroup]
) -> list[SlowRun]:
    """Those of `runs` that took much longer than their task's usually do, the worst first."""
    if not any(run.slowest for run in runs):
        return []
    usual = {task: median(days) for task, days in _history(connection, request).items()}
    slow = [
        SlowRun(of.task, run["run_id"], run["at"], run["seconds"], usual[of.task])
        for of in runs
        if of.task in usual
        for run in of.slowest
        if run["seconds"] > max(usual[of.task] * SLOW_RATIO, usual[of.task] + SLOW_SECONDS)
    ]
    slow.sort(key=lambda run: run.seconds / max(run.usual_seconds, 1e-3), reverse=True)
    return slow[:MOST_SLOW]


def _history(connection: duckdb.DuckDBPyConnection, request: Request) -> dict[str, list[float]]:
    """Task to its daily medians, seconds: from kept digests, else from the days' own lines."""
    zone = request.zone_info
    today = date_of(request.start, zone)
    history: dict[str, list[float]] = defaultdict(list)
    for back in range(1, HISTORY_DAYS + 1):
        day = today - timedelta(days=back)
        medians = _kept_medians(request, day)
        if medians is None:
            files = [f for f in files_of(request.directory, "exporter") if f.day == day]
            if not files:
                continue
            scan(connection, files, day_bounds(day, zone), table="earlier")
            good = [run for run in run_groups(connection, "earlier") if run.outcome == "success"]
            medians = {r.task: r.median_seconds for r in good if r.median_seconds is not None}
        for task, seconds in medians.items():
            history[task].append(seconds)
    return history


def _kept_medians(request: Request, day: date) -> dict[str, float] | None:
    try:
        text = (request.reports / f"digest-{day}.json").read_text(encoding="utf-8")
        kept = LogDigest.from_json(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if kept.made_at < kept.end:
        return None  # made before the day was over
    return {t.task: t.median_seconds for t in kept.tasks if t.median_seconds is not None}
