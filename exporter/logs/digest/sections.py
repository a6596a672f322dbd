"""What a digest says to people: its headline, and its sections of tables and notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from exporter.logs.digest.facts import ErrorGroup, LogDigest, TaskDay
from exporter.logs.reader import moment, stamp
from exporter.util.printable import clean
from exporter.util.units import format_duration

MOST_OK = MOST_DUE = 20
"""Rows of tasks that went well, and of what is due; JSON has them all."""
MOST_EARNED = 8
"""Strategies in the sentence of a quiet day."""


@dataclass(frozen=True)
class Section:
    """A heading with a table or with lines below it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    runs: Sequence[str | None] = ()
    """For each row the id of its run, which is in the last cell."""


def headline(digest: LogDigest) -> str:
    """The digest in one sentence."""
    return clean(" ".join(_headline(digest).split()))


def _headline(digest: LogDigest) -> str:
    if not digest.records:
        return f"{digest.title}: no log lines from that time.{_tomorrow(digest)}"
    if digest.quiet:
        return (
            f"{digest.title}: quiet. {_count(digest.runs, 'run')} of "
            f"{_count(len(digest.tasks), 'task')}, all ok; "
            f"{_count(digest.records, 'log line')}, no errors.{_earned(digest)}{_tomorrow(digest)}"
        )
    errors = sum(group.count for group in digest.errors)
    new = sum(group.new for group in digest.errors)
    runs = _count(digest.runs, "run")
    parts = [f"{digest.failures} of {runs} failed" if digest.runs else "no run ended"]
    if missed := sum(task.missed for task in digest.tasks):
        parts.append(f"{_count(missed, 'slot')} missed")
    kinds = (
        f"{_count(errors, 'error')} of {_count(len(digest.errors) + digest.more_errors, 'kind')}"
    )
    parts.append(f"{kinds}, {new} new" if errors else "no errors")
    if fired := sum(alert.firing for alert in digest.alerts):
        parts.append(_count(fired, "alert"))
    return f"{digest.title}: {'; '.join(parts)}.{_tomorrow(digest)}"


def sections(digest: LogDigest) -> list[Section]:
    """What happened, the worst first; empty on a quiet day. Texts come from log lines: each
    cell is one line without control characters."""
    if digest.quiet or not (digest.records or digest.broken_lines or digest.gone_before):
        return []
    found = [
        _errors(digest), _tasks(digest), _slow(digest), _fetches(digest), _alerts(digest),
        _strategies(digest), _due(digest), _reading(digest),
    ]  # fmt: skip
    return [
        replace(section, rows=[[_one_line(cell) for cell in row] for row in section.rows])
        for section in found
        if section.rows or section.note
    ]


def _errors(digest: LogDigest) -> Section:
    groups = sorted(digest.errors, key=lambda g: (not g.new, -g.count))
    rows = [
        (
            "new" if group.new else "",
            f"{group.count}",
            group.example,
            group.error_type or group.level,
            f"{_clock(group.first, digest)} – {_clock(group.last, digest)}"
            if group.count > 1
            else _clock(group.first, digest),
            _where(group),
        )
        for group in groups
    ]
    note = f"{digest.more_errors} more kinds of error are not listed." if digest.more_errors else ""
    head = ("", "Count", "Example", "Type", "When", "Where")
    return Section("Errors", head, rows, note, [group.run_id for group in groups])


def _where(group: ErrorGroup) -> str:
    """The tasks that had it, or the logger; and a run to look at."""
    more = f" and {_count(len(group.tasks) - 1, 'other task')}" if len(group.tasks) > 1 else ""
    where = f"{group.tasks[0]}{more}" if group.tasks else group.logger
    return f"{where}, run {group.run_id}" if group.run_id else where


def _tasks(digest: LogDigest) -> Section:
    ok = [task for task in digest.tasks if not (task.failures or task.retried or task.missed)]
    left_out = ok[max(0, MOST_OK - (len(digest.tasks) - len(ok))) :]
    rows = [
        (
            task.task,
            f"{task.runs}",
            ", ".join(f"{count} {outcome}" for outcome, count in task.failures.items()) or "–",
            _retried(task),
            f"{task.missed or '–'}",
            _seconds(task.median_seconds),
            task.last_error or "",
        )
        for task in digest.tasks
        if task not in left_out
    ]
    runs = sum(task.runs for task in left_out)
    note = f"All ok: {_count(len(left_out), 'other task')}, {_count(runs, 'run')}."
    head = ("Task", "Runs", "Failed", "Retried", "Missed", "Median", "Last error")
    return Section("Tasks", head, rows, note if left_out else "")


def _retried(task: TaskDay) -> str:
    why = ", ".join(f"{count} {outcome}" for outcome, count in task.retry_reasons.items())
    return f"{task.retried or '–'}" + (f" (after {why})" if why else "")


def _slow(digest: LogDigest) -> Section:
    rows = [
        (r.task, _clock(r.at, digest), _seconds(r.seconds), _seconds(r.usual_seconds), r.run_id)
        for r in digest.slow_runs
    ]
    head = ("Task", "Ended", "Took", "Usually", "Run")
    return Section("Slow runs", head, rows, runs=[run.run_id for run in digest.slow_runs])


def _fetches(digest: LogDigest) -> Section:
    rows = [
        (
            fetch.source,
            fetch.endpoint,
            f"{fetch.requests:,}" if fetch.requests else "–",
            f"{fetch.failed}",
            # The newest requests are logged up to a quarter of an hour late, failures at once.
            f"{min(1.0, fetch.failed / fetch.requests):.1%}" if fetch.requests else "–",
            ", ".join(f"{count} {reason}" for reason, count in fetch.reasons.items()) or "–",
        )
        for fetch in digest.fetches
    ]
    head = ("Source", "Endpoint", "Requests", "Failed", "Share", "Reasons")
    return Section("Fetches", head, rows)


def _alerts(digest: LogDigest) -> Section:
    rows = [
        (a.alert, a.severity, f"{a.firing}", f"{a.resolved}", f"{a.notifications}")
        for a in digest.alerts
    ]
    sent = digest.non_critical_notifications
    over = "" if sent <= digest.budget else ": more than anybody reads"
    note = f"Warnings sent: {sent} of {digest.budget} a day{over}." if rows else ""
    return Section("Alerts", ("Alert", "Severity", "Fired", "Resolved", "Messages"), rows, note)


def _strategies(digest: LogDigest) -> Section:
    rows = [
        (
            name,
            f"{_number(day.get('equity'))} {day.get('currency', '')}".strip(),
            _number(day.get("pnl_today"), sign=True),
            _percent(day.get("drawdown")),
        )
        for name, day in digest.strategies.items()
    ]
    return Section("Strategies", ("Strategy", "Equity", "P&L", "Drawdown"), rows)


def _due(digest: LogDigest) -> Section:
    zone = ZoneInfo(digest.zone)
    rows = [
        (due.task, datetime.fromtimestamp(due.first, zone).strftime("%H:%M"), f"{due.slots}")
        for due in digest.due[:MOST_DUE]
    ]
    left = digest.due[MOST_DUE:]
    slots = sum(due.slots for due in left)
    note = f"Later: {_count(len(left), 'other task')}, {_count(slots, 'slot')}." if left else ""
    return Section("Due tomorrow", ("Task", "First", "Slots"), rows, note)


def _reading(digest: LogDigest) -> Section:
    notes = []
    if digest.gone_before is not None:
        notes.append(_gone(digest, digest.gone_before))
    if digest.lost_lines:
        notes.append(f"{_count(digest.lost_lines, 'log line')} could not be written.")
    if digest.broken_lines:
        notes.append(f"{_count(digest.broken_lines, 'line')} could not be read.")
    levels = ", ".join(f"{count:,} {level}" for level, count in digest.levels.items())
    notes.append(f"{_count(digest.records, 'log line')} ({levels or 'none'}).")
    return Section("Log", (), (), " ".join(notes))


def _gone(digest: LogDigest, before: float) -> str:
    all_gone = before >= digest.end
    what = (
        "The lines from that time" if all_gone else f"Lines before {_clock(stamp(before), digest)}"
    )
    errors = (
        f"errors from that time come from the error log: {digest.from_error_log:,}"
        if digest.from_error_log
        else "the error log has none from that time"
    )
    return f"{what} have been deleted; {errors}."


def _earned(digest: LogDigest) -> str:
    """The strategies' day in a sentence, for a digest that has no table of them."""
    days = [
        f"{name} {_number(day.get('pnl_today'), sign=True)} {day.get('currency', '')}".strip()
        for name, day in digest.strategies.items()
        if isinstance(day.get("pnl_today"), int | float)
    ]
    more = f" and {len(days) - MOST_EARNED} more" if len(days) > MOST_EARNED else ""
    return f" P&L: {', '.join(days[:MOST_EARNED])}{more}." if days else ""


def _tomorrow(digest: LogDigest) -> str:
    if not digest.due:
        return ""
    slots = sum(due.slots for due in digest.due)
    first = min(digest.due, key=lambda due: due.first)
    at = datetime.fromtimestamp(first.first, ZoneInfo(digest.zone)).strftime("%H:%M")
    return f" Tomorrow: {_count(slots, 'slot')}, the first is {first.task} at {at}."


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _clock(text: str, digest: LogDigest) -> str:
    """Time of day; with the date if the digest covers more than one day."""
    at = moment(text)
    if at != at:  # noqa: PLR0124 - NaN: no time at all
        return text
    form = "%H:%M:%S" if digest.end - digest.start <= 26 * 3600 else "%m-%d %H:%M:%S"
    return datetime.fromtimestamp(at, ZoneInfo(digest.zone)).strftime(form)


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value * 1000:.0f}ms" if value < 1 else format_duration(value)


def _number(value: Any, *, sign: bool = False) -> str:
    if not isinstance(value, int | float):
        return "–"
    return f"{value:+,.2f}" if sign else f"{value:,.2f}"


def _percent(value: Any) -> str:
    return f"{value:.1%}" if isinstance(value, int | float) else "–"


def _one_line(text: str) -> str:
    line = clean(" ".join(text.split()))
    return line if len(line) <= 200 else line[:199] + "…"
