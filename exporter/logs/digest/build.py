"""Builds a :class:`~exporter.logs.digest.facts.LogDigest` from log files, with the SQL of
:mod:`.query`."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from typing import Any

import duckdb

from exporter.logs.digest.facts import (
    AlertDay,
    ErrorGroup,
    FetchDay,
    LogDigest,
    Request,
)
from exporter.logs.digest.query import ERRORS, connect, join, lines, rows, scan
from exporter.logs.digest.read_share import ReadShare
from exporter.logs.digest.runs import run_groups, slow_runs, tasks
from exporter.logs.reader import files_between, gone
from exporter.util.local_time import date_of

KNOWN_ERRORS_DAYS = 30
MOST_GROUPS = 25


def build(request: Request, reading: ReadShare | None = None) -> LogDigest:
    """Sum up, and tell `reading` how far it is. No content of the files makes it raise."""
    files = files_between(
        request.directory, "exporter", request.start, request.end, request.zone_info
    )
    missing = gone(request.directory, request.start, request.end, request.zone_info)
    kept = missing.errors if missing else []
    size = sum(file.path.stat().st_size for file in [*files, *kept] if file.path.exists())
    with connect(request.reports.parent) as connection:
        began = time.monotonic()
        found = scan(connection, files, (request.start, request.end), reading=reading)
        levels, broken, from_error_log = Counter(found.levels), found.broken, 0
        if missing and missing.errors:
            more = scan(connection, missing.errors, (request.start, missing.before), table="kept")
            join(connection, "kept")
            levels.update(more.levels)
            broken, from_error_log = broken + more.broken, sum(more.levels.values())
        errors = _errors(connection, _known_errors(connection, request))
        alerts, non_critical = _alerts(connection)
        runs = run_groups(connection)
        return LogDigest(
            title=request.title,
            zone=request.zone,
            start=request.start,
            end=request.end,
            files=len(files) + len(kept),
            megabytes=round(size / 1e6, 3),
            records=sum(levels.values()),
            broken_lines=broken,
            lost_lines=_lost(connection),
            levels=dict(sorted(levels.items())),
            tasks=tasks(connection, runs),
            slow_runs=slow_runs(connection, request, runs),
            errors=errors[:MOST_GROUPS],
            more_errors=max(0, len(errors) - MOST_GROUPS),
            fetches=_fetches(connection),
            alerts=alerts,
            non_critical_notifications=non_critical,
            budget=request.budget,
            strategies=_strategies(request),
            due=list(request.due),
            made_at=request.now,
            gone_before=missing.before if missing else None,
            from_error_log=from_error_log,
            seconds=round(time.monotonic() - began, 3),
        )


def _lost(connection: duckdb.DuckDBPyConnection) -> int:
    dropped = lines("log_lines_lost", "lost")
    return int(rows(connection, f"SELECT sum(number_of(lost)) FROM {dropped}")[0][0] or 0)


_PRINT = "fingerprint(level, logger, error_type, message)"
_SAID = "level logger error_type message"
_GROUPED = f"""
  SELECT print, any_value(level), any_value(logger), any_value(error_type),
         sum(count)::BIGINT AS lines, min(first) AS first, max(last), arg_max(said, last),
         arg_max(error, last), arg_max(run, last),
         coalesce(list(task ORDER BY task) FILTER (task IS NOT NULL), [])
  FROM (
    SELECT {_PRINT} AS print, task, any_value(level) AS level, any_value(logger) AS logger,
           any_value(error_type) AS error_type, count(*) AS count, min(timestamp) AS first,
           max(timestamp) AS last, arg_max(first_line(message), timestamp) AS said,
           arg_max(coalesce(error_message, ''), timestamp) AS error,
           arg_max(run_id, timestamp) AS run
    FROM {lines(ERRORS, f"{_SAID} timestamp error_message task run_id")}
    GROUP BY ALL
  )
  GROUP BY print ORDER BY lines DESC, first, print
"""


def _known_errors(connection: duckdb.DuckDBPyConnection, request: Request) -> set[str]:
    start = request.start - KNOWN_ERRORS_DAYS * 86400.0
    files = files_between(request.directory, "errors", start, request.start, request.zone_info)
    if not files:
        return set()
    scan(connection, files, (start, request.start), table="before")
    earlier = lines(ERRORS, _SAID, "before")
    return {row[0] for row in rows(connection, f"SELECT DISTINCT {_PRINT} FROM {earlier}")}


def _errors(connection: duckdb.DuckDBPyConnection, known: set[str]) -> list[ErrorGroup]:
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
            tasks=tasks,
        )
        for print_, level, logger, kind, count, first, last, message, error, run_id, tasks in rows(
            connection, _GROUPED
        )
    ]


def _fetches(connection: duckdb.DuckDBPyConnection) -> list[FetchDay]:
    failed: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for source, endpoint, reason, count in rows(
        connection,
        f"""
        SELECT coalesce(source, '?'), coalesce(endpoint, '?'), coalesce(reason, '?'), count(*)
        FROM {lines("fetch_failed", "source endpoint reason")}
        GROUP BY ALL ORDER BY ALL
        """,
    ):
        failed[source, endpoint][reason] = count
    totals = {
        (source, endpoint): (int(requests), int(count))
        for source, endpoint, requests, count in rows(
            connection,
            f"""
            SELECT coalesce(source, '?'), coalesce(endpoint, '?'),
                   coalesce(sum(number_of(requests)), 0),
                   coalesce(sum(number_of(failed)), 0)
            FROM {lines("fetch_totals", "source endpoint requests failed")}
            GROUP BY ALL
            """,
        )
    }
    days = []
    for key in sorted({*failed, *totals}):
        reasons = failed.get(key, {})
        requests, counted = totals.get(key, (None, 0))
        # Each of our own failures has a line; for a followed file there is only the count.
        days.append(FetchDay(*key, sum(reasons.values()) or counted, reasons, requests))
    return days


NOTIFIED = "alertname severity status fingerprint starts_at"
"""Fields of ``alert_notification`` that a digest reads."""


def _alerts(connection: duckdb.DuckDBPyConnection) -> tuple[list[AlertDay], int]:
    found = rows(
        connection,
        f"""
        SELECT coalesce(alertname, '?'), coalesce(severity, '?'),
               count(DISTINCT alert) FILTER (firing), count(DISTINCT alert) FILTER (NOT firing),
               count(*) FILTER (firing)
        FROM (
          SELECT *, status IS DISTINCT FROM 'resolved' AS firing,
                 -- Sent to two channels, or repeated: still one alert.
                 coalesce(fingerprint || starts_at, uuid()::VARCHAR) AS alert
          FROM {lines("alert_notification", NOTIFIED)}
        )
        GROUP BY ALL ORDER BY 3 DESC, 1, 2
        """,
    )
    alerts = [AlertDay(*row) for row in found]
    return alerts, sum(alert.notifications for alert in alerts if alert.severity == "warning")


def _strategies(request: Request) -> dict[str, dict[str, Any]]:
    """The strategies' day, from the end-of-day reports (one an exchange) and, newer, the state."""
    day = date_of(request.start, request.zone_info)
    known: dict[str, dict[str, Any]] = {}
    for path in sorted(request.reports.glob(f"end_of_day*-{day}.json")):
        try:
            reported = json.loads(path.read_text(encoding="utf-8"))["strategies"]
            known |= {name: dict(day) for name, day in reported.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return known | {name: dict(day) for name, day in request.strategies.items()}
