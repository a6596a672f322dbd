"""What a digest says of runs: outcomes by task, and those that were slow for their task."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import date, datetime, timedelta
from itertools import groupby
from statistics import median

import duckdb

from exporter.logs.digest.facts import Digest, Request, SlowRun, TaskDay
from exporter.logs.digest.query import rows, scan
from exporter.logs.files import files_of, midnight

HISTORY_DAYS = 7
SLOW_RATIO = 2.0
SLOW_SECONDS = 1.0
"""A run is slow when it took more than twice the usual time, and a second more."""
MOST_SLOW = 5


def tasks(connection: duckdb.DuckDBPyConnection) -> list[TaskDay]:
    """Each task's runs, the worst first."""
    runs = rows(
        connection,
        """
        SELECT task, coalesce(outcome, '?'), count(*),
               count(*) FILTER (number_of(attempts) > 1),
               median(seconds_of(duration_seconds)),
               arg_max(coalesce(error_message, first_line(message)), timestamp), max(timestamp)
        FROM notable WHERE event = 'run_ended' AND task IS NOT NULL
        GROUP BY 1, 2 ORDER BY 1, 2
        """,
    )
    missed = dict(
        rows(
            connection,
            """
            SELECT task, sum(coalesce(number_of(count), 1)) FROM notable
            WHERE event = 'slots_missed' AND task IS NOT NULL GROUP BY 1
            """,
        )
    )
    retries: dict[str, dict[str, int]] = defaultdict(dict)
    for task, outcome, count in rows(
        connection,
        """
        SELECT task, coalesce(outcome, '?'), count(*) FROM notable
        WHERE event = 'run_retry' AND task IS NOT NULL GROUP BY ALL ORDER BY ALL
        """,
    ):
        retries[task][outcome] = count
    days = []
    by_task = {task: list(of) for task, of in groupby(runs, key=lambda row: row[0])}
    for task in sorted({*by_task, *missed, *retries}):
        of = by_task.get(task, [])
        failed = [row for row in of if row[1] != "success"]
        good = [row[4] for row in of if row[1] == "success"]
        days.append(
            TaskDay(
                task=task,
                runs=sum(row[2] for row in of),
                failures={row[1]: row[2] for row in failed},
                retried=sum(row[3] for row in of),
                missed=int(missed.get(task, 0)),
                median_seconds=good[0] if good else None,
                last_error=max(failed, key=lambda row: row[6])[5] if failed else None,
                retry_reasons=retries.get(task, {}),
            )
        )
    return sorted(days, key=lambda d: (-sum(d.failures.values()), -d.missed, d.task))


def slow_runs(connection: duckdb.DuckDBPyConnection, request: Request) -> list[SlowRun]:
    """The runs that took much longer than their task's usually do, the worst first."""
    candidates = rows(
        connection,
        f"""
        SELECT task, coalesce(run_id, ''), timestamp,
               seconds_of(duration_seconds) AS seconds
        FROM notable
        WHERE event = 'run_ended' AND task IS NOT NULL AND seconds > {SLOW_SECONDS}
        ORDER BY seconds DESC
        """,
    )
    if not candidates:
        return []
    usual = {task: median(days) for task, days in _history(connection, request).items()}
    slow = [
        SlowRun(task, run_id, at, seconds, usual[task])
        for task, run_id, at, seconds in candidates
        if task in usual and seconds > max(usual[task] * SLOW_RATIO, usual[task] + SLOW_SECONDS)
    ]
    slow.sort(key=lambda run: run.seconds / max(run.usual_seconds, 1e-3), reverse=True)
    return slow[:MOST_SLOW]


def _history(connection: duckdb.DuckDBPyConnection, request: Request) -> dict[str, list[float]]:
    """Task to its daily medians, seconds: from kept digests, else from the days' own lines."""
    zone = request.zone_info
    today = datetime.fromtimestamp(request.start, zone).date()
    history: dict[str, list[float]] = defaultdict(list)
    for back in range(1, HISTORY_DAYS + 1):
        day = today - timedelta(days=back)
        medians = _kept_medians(request, day)
        if medians is None:
            files = [f for f in files_of(request.directory, "exporter") if f.day == day]
            start, end = midnight(day, zone), midnight(day + timedelta(days=1), zone)
            scan(connection, files, (start, end), table="earlier", events_alone=("run_ended",))
            medians = dict(
                rows(
                    connection,
                    """
                    SELECT task, median(seconds_of(duration_seconds)) AS usual FROM earlier
                    WHERE outcome = 'success' AND task IS NOT NULL
                    GROUP BY 1 HAVING usual IS NOT NULL
                    """,
                )
            )
        for task, seconds in medians.items():
            history[task].append(seconds)
    return history


def _kept_medians(request: Request, day: date) -> dict[str, float] | None:
    try:
        text = (request.reports / f"digest-{day}.json").read_text(encoding="utf-8")
        kept = Digest.from_json(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if kept.made_at < kept.end:
        return None  # made before the day was over
    return {t.task: t.median_seconds for t in kept.tasks if t.median_seconds is not None}
