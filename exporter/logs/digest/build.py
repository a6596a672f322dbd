"""From log files to a :class:`~exporter.logs.digest.facts.Digest`. See :mod:`.query` for where."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from datetime import datetime
from typing import Any

import duckdb

from exporter.logs.digest.facts import (
    AlertDay,
    Digest,
    ErrorGroup,
    FetchDay,
    Request,
)
from exporter.logs.digest.query import connect, rows, scan
from exporter.logs.digest.runs import slow_runs, tasks
from exporter.logs.reading import files_between

KNOWN_ERRORS_DAYS = 30
MOST_GROUPS = 25


def build(request: Request) -> Digest:
    """Sum up. Raises nothing for whatever stands in the files."""
    began = time.monotonic()
    files = files_between(
        request.directory, "exporter", request.start, request.end, request.zone_info
    )
    size = sum(file.path.stat().st_size for file in files if file.path.exists())
    with connect(request.reports.parent) as connection:
        found = scan(connection, files, (request.start, request.end))
        _remember_known_errors(connection, request)
        errors = _errors(connection)
        alerts, non_critical = _alerts(connection)
        return Digest(
            title=request.title,
            zone=request.zone,
            start=request.start,
            end=request.end,
            files=len(files),
            megabytes=round(size / 1e6, 3),
            records=sum(found.levels.values()),
            broken_lines=found.broken,
            lost_lines=_number(connection, "sum(number_of(lost))", "event = 'log_lines_lost'"),
            levels=dict(sorted(found.levels.items())),
            tasks=tasks(connection),
            slow_runs=slow_runs(connection, request),
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


def _number(connection: duckdb.DuckDBPyConnection, what: str, where: str) -> int:
    return int(rows(connection, f"SELECT {what} FROM notable WHERE {where}")[0][0] or 0)


_GROUPED = """
  SELECT fingerprint(level, logger, error_type, message) AS print, any_value(level),
         any_value(logger), any_value(error_type), count(*), min(timestamp), max(timestamp),
         arg_max(first_line(message), timestamp), arg_max(coalesce(error_message, ''), timestamp),
         arg_max(run_id, timestamp)
  FROM notable WHERE level IN ('error', 'critical')
  GROUP BY 1 ORDER BY 5 DESC, 6, 1
"""


def _remember_known_errors(connection: duckdb.DuckDBPyConnection, request: Request) -> None:
    start = request.start - KNOWN_ERRORS_DAYS * 86400.0
    files = files_between(request.directory, "errors", start, request.start, request.zone_info)
    scan(connection, files, (start, request.start), table="known")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE known_prints AS SELECT DISTINCT "
        "fingerprint(level, logger, error_type, message) AS print FROM known"
    )
    connection.execute("DROP TABLE known")


def _errors(connection: duckdb.DuckDBPyConnection) -> list[ErrorGroup]:
    known = {row[0] for row in rows(connection, "SELECT print FROM known_prints")}
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
        for print_, level, logger, kind, count, first, last, message, error, run_id in rows(
            connection, _GROUPED
        )
    ]


def _fetches(connection: duckdb.DuckDBPyConnection) -> list[FetchDay]:
    failed: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for source, endpoint, reason, count in rows(
        connection,
        """
        SELECT coalesce(source, '?'), coalesce(endpoint, '?'), coalesce(reason, '?'), count(*)
        FROM notable WHERE event = 'fetch_failed' GROUP BY ALL ORDER BY ALL
        """,
    ):
        failed[source, endpoint][reason] = count
    totals = {
        (source, endpoint): (int(requests), int(count))
        for source, endpoint, requests, count in rows(
            connection,
            """
            SELECT coalesce(source, '?'), coalesce(endpoint, '?'),
                   coalesce(sum(number_of(requests)), 0),
                   coalesce(sum(number_of(failed)), 0)
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
    found = rows(
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
    alerts = [AlertDay(*row) for row in found]
    return alerts, sum(alert.notifications for alert in alerts if alert.severity == "warning")


def _strategies(request: Request) -> dict[str, dict[str, Any]]:
    """The strategies' day, from the end-of-day reports (one an exchange) and, newer, the state."""
    day = datetime.fromtimestamp(request.start, request.zone_info).date()
    known: dict[str, dict[str, Any]] = {}
    for path in sorted(request.reports.glob(f"end_of_day*-{day}.json")):
        try:
            reported = json.loads(path.read_text(encoding="utf-8"))["strategies"]
            known |= {name: dict(said) for name, said in reported.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return known | {name: dict(said) for name, said in request.strategies.items()}
