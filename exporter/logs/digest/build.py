"""From log files to a :class:`~exporter.logs.digest.facts.Digest`. See :mod:`.query` for where."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from itertools import groupby
from statistics import median
from typing import Any

import duckdb

from exporter.logs.digest.facts import (
    AlertDay,
    Digest,
    ErrorGroup,
    FetchDay,
    Request,
    SlowRun,
    TaskDay,
)
from exporter.logs.digest.query import connect, scan
from exporter.logs.files import files_of, midnight
from exporter.logs.reading import files_between

HISTORY_DAYS = 7
KNOWN_ERRORS_DAYS = 30
MOST_GROUPS = 25
SLOW_RATIO = 2.0
SLOW_SECONDS = 1.0
"""A run is slow when it took more than twice the usual time, and a second more."""
MOST_SLOW = 5


def build(request: Request) -> Digest:
    """Sum up. Raises nothing for whatever stands in the files."""
    began = time.monotonic()
    files = files_between(
        request.directory, "exporter", request.start, request.end, request.zone_info
    )
    size = sum(file.path.stat().st_size for file in files if file.path.exists())
    with connect() as connection:
        found = scan(connection, files, (request.start, request.end))
        _remember_known_errors(connection, request)
        levels: Counter[str] = Counter()
        for counted in found.counted:
            levels[counted.level] += counted.count
        errors = _errors(connection)
        alerts, non_critical = _alerts(connection)
        return Digest(
            title=request.title,
            zone=request.zone,
            start=request.start,
            end=request.end,
            files=len(files),
            megabytes=round(size / 1e6, 3),
            records=sum(levels.values()),
            broken_lines=found.broken,
            lost_lines=_number(
                connection, "sum(try_cast(lost AS BIGINT))", "event = 'log_lines_lost'"
            ),
            levels=dict(sorted(levels.items())),
            tasks=_tasks(connection),
            slow_runs=_slow_runs(connection, request),
            errors=errors[:MOST_GROUPS],
            more_errors=max(0, len(errors) - MOST_GROUPS),
            fetches=_fetches(connection),
            alerts=alerts,
            non_critical_notifications=non_critical,
            budget=request.budget,
            strategies=_strategies(request),
            due=list(request.due),
            made_at=request.now,
            seconds=round(time.monotonic() - began, 3),
        )


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


def _number(connection: duckdb.DuckDBPyConnection, what: str, where: str) -> int:
    return int(_rows(connection, f"SELECT {what} FROM notable WHERE {where}")[0][0] or 0)


def _tasks(connection: duckdb.DuckDBPyConnection) -> list[TaskDay]:
    runs = _rows(
        connection,
        """
        SELECT task, coalesce(outcome, '?'), count(*),
               count(*) FILTER (try_cast(attempts AS INTEGER) > 1),
               median(try_cast(duration_seconds AS DOUBLE)),
               arg_max(coalesce(error_message, message), timestamp)
        FROM notable WHERE event = 'run_ended' AND task IS NOT NULL
        GROUP BY 1, 2 ORDER BY 1, 2
        """,
    )
    missed = dict(
        _rows(
            connection,
            """
            SELECT task, sum(coalesce(try_cast(count AS BIGINT), 1)) FROM notable
            WHERE event = 'slots_missed' AND task IS NOT NULL GROUP BY 1
            """,
        )
    )
    days = []
    by_task = {task: list(rows) for task, rows in groupby(runs, key=lambda row: row[0])}
    for task in sorted({*by_task, *missed}):
        rows = by_task.get(task, [])
        failed = [row for row in rows if row[1] != "success"]
        good = [row[4] for row in rows if row[1] == "success"]
        days.append(
            TaskDay(
                task=task,
                runs=sum(row[2] for row in rows),
                failures={row[1]: row[2] for row in failed},
                retried=sum(row[3] for row in rows),
                missed=int(missed.get(task, 0)),
                median_seconds=good[0] if good else None,
                last_error=failed[-1][5] if failed else None,
            )
        )
    return sorted(days, key=lambda d: (-sum(d.failures.values()), -d.missed, d.task))


def _slow_runs(connection: duckdb.DuckDBPyConnection, request: Request) -> list[SlowRun]:
    candidates = _rows(
        connection,
        f"""
        SELECT task, coalesce(run_id, ''), timestamp,
               try_cast(duration_seconds AS DOUBLE) AS seconds
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
                _rows(
                    connection,
                    """
                    SELECT task, median(try_cast(duration_seconds AS DOUBLE)) AS usual FROM earlier
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


_GROUPED = """
  SELECT fingerprint(level, logger, error_type, message) AS print, any_value(level),
         any_value(logger), any_value(error_type), count(*), min(timestamp), max(timestamp),
         arg_max(coalesce(message, ''), timestamp), arg_max(coalesce(error_message, ''), timestamp),
         arg_max(run_id, timestamp)
  FROM notable WHERE level IN ('error', 'critical')
  GROUP BY 1 ORDER BY 5 DESC, 6, 1
"""


def _remember_known_errors(connection: duckdb.DuckDBPyConnection, request: Request) -> None:
    start = request.start - KNOWN_ERRORS_DAYS * 86400.0
    files = files_between(request.directory, "errors", start, request.start, request.zone_info)
    scan(connection, files, (start, request.start), table="known")
    connection.execute(
        "CREATE OR REPLACE TABLE known_prints AS SELECT DISTINCT "
        "fingerprint(level, logger, error_type, message) AS print FROM known"
    )
    connection.execute("DROP TABLE known")


def _errors(connection: duckdb.DuckDBPyConnection) -> list[ErrorGroup]:
    known = {row[0] for row in _rows(connection, "SELECT print FROM known_prints")}
    return [
        ErrorGroup(
            fingerprint=print_,
            level=level,
            logger=str(logger),
            error_type=kind,
            count=count,
            first=first,
            last=last,
            example=f"{message}: {error}" if error and error not in message else message,
            run_id=run_id,
            new=print_ not in known,
        )
        for print_, level, logger, kind, count, first, last, message, error, run_id in _rows(
            connection, _GROUPED
        )
    ]


def _fetches(connection: duckdb.DuckDBPyConnection) -> list[FetchDay]:
    failed: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for source, endpoint, reason, count in _rows(
        connection,
        """
        SELECT coalesce(source, '?'), coalesce(endpoint, '?'), coalesce(reason, '?'), count(*)
        FROM notable WHERE event = 'fetch_failed' GROUP BY ALL ORDER BY ALL
        """,
    ):
        failed[source, endpoint][reason] = count
    totals = {
        (source, endpoint): (int(requests), int(count))
        for source, endpoint, requests, count in _rows(
            connection,
            """
            SELECT coalesce(source, '?'), coalesce(endpoint, '?'),
                   coalesce(sum(try_cast(requests AS BIGINT)), 0),
                   coalesce(sum(try_cast(failed AS BIGINT)), 0)
            FROM notable WHERE event = 'fetch_totals' GROUP BY ALL
            """,
        )
    }
    days = []
    for key in sorted({*failed, *totals}):
        reasons = failed.get(key, {})
        requests, counted = totals.get(key, (None, 0))
        # Each failure of ours has a line; of a followed file there is only the count.
        days.append(FetchDay(*key, sum(reasons.values()) or counted, reasons, requests))
    return days


def _alerts(connection: duckdb.DuckDBPyConnection) -> tuple[list[AlertDay], int]:
    rows = _rows(
        connection,
        """
        SELECT coalesce(alertname, '?'), coalesce(severity, '?'),
               count(DISTINCT alert) FILTER (firing), count(DISTINCT alert) FILTER (NOT firing),
               count(*) FILTER (firing)
        FROM (
          SELECT *, status IS DISTINCT FROM 'resolved' AS firing,
                 -- Told by two channels, or told again: still one alert.
                 coalesce(fingerprint || starts_at, rowid::VARCHAR) AS alert
          FROM notable WHERE event = 'alert_notification'
        )
        GROUP BY ALL ORDER BY 3 DESC, 1, 2
        """,
    )
    alerts = [AlertDay(*row) for row in rows]
    return alerts, sum(alert.notifications for alert in alerts if alert.severity == "warning")


def _strategies(request: Request) -> dict[str, dict[str, Any]]:
    """The strategies' day as the end-of-day report has it."""
    day = datetime.fromtimestamp(request.start, request.zone_info).date()
    try:
        text = (request.reports / f"end_of_day-{day}.json").read_text(encoding="utf-8")
        found = json.loads(text)["strategies"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
