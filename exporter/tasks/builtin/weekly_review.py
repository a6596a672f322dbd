"""Once a week: what the strategies earned, what fired, what failed and what was slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

from exporter.logs.digest.archive import load
from exporter.messages.message import ChannelMessage, Chart, MessageTable
from exporter.state import Tally, TaskTimes
from exporter.strategies.equity import EquityCurve, EquityDay
from exporter.tasks.builtin import report
from exporter.tasks.builtin.parts import Parts, parts_of, send_report
from exporter.tasks.context import Context
from exporter.util.local_time import date_of, day_bounds
from exporter.util.units import format_duration

DAYS = 7
MOST_TASKS = 10
"""Failing and slow ones, each."""


async def weekly_review(context: Context) -> int:
    """Review the seven days before the day of the slot. Returns the number of runs in them.

    Writes ``weekly_review-<first day>.md`` and ``.json`` under the state folder's ``reports``.
    Alerts are those of the kept digests: days that have none are named. Raises StateError.
    """
    parts = parts_of(context)
    moment = context.slot if context.slot is not None else context.clock.now()
    today = date_of(moment, parts.zone)
    days = [today - timedelta(days=back) for back in range(DAYS, 0, -1)]
    begin, end = day_bounds(days[0], parts.zone)[0], day_bounds(days[-1], parts.zone)[1]
    await parts.strategies.refresh()
    tally, times = (
        await parts.state.history.tally(begin, end),
        await parts.state.history.times(begin, end),
    )
    alerts, missing = _alerts(parts, days)
    tables = [
        _strategies(parts, days), _failing(tally), _slow(times), _fired(alerts, missing),
    ]  # fmt: skip
    tables = [table for table in tables if table.rows or table.note]
    title = f"Week from {days[0]} to {days[-1]}"
    runs = sum(one.count for one in tally)
    summary = _summary(tally, runs, alerts)
    data = {
        "from": days[0].isoformat(), "to": days[-1].isoformat(), "runs": runs, "summary": summary,
        "tables": [vars(table) for table in tables],
    }  # fmt: skip
    name = f"{parts.report_name('weekly_review', context.task)}-{days[0]}"
    report.write(parts.reports, name, report.markdown(title, [summary, *tables]), data)
    context.log.info("%s: %s", title, summary, extra={"event": "weekly_review"})
    curve = Chart("Equity, last 31 days", _curves(parts, today))
    link = f"As a page: {parts.config.public_url}/reviews/{days[0]}"
    message = ChannelMessage(title, [summary, *tables, link], [curve])
    await send_report(context, message, days[0].isoformat())
    return runs


def _summary(tally: Sequence[Tally], runs: int, alerts: Counter[tuple[str, str]]) -> str:
    failed = runs - sum(one.count for one in tally if one.outcome == "success")
    fired = sum(alerts.values())
    ran = f"{failed} of {report.count(runs, 'run')} failed" if runs else "no run"
    return f"{ran}; {report.count(fired, 'alert') if fired else 'no alert'}."


def _days_of(curve: EquityCurve, days: Sequence[date]) -> list[EquityDay]:
    return [found for day in days if (found := curve.on(day.isoformat()))]


def _strategies(parts: Parts, days: Sequence[date]) -> MessageTable:
    rows = []
    for name, strategy in parts.strategies.configured.items():
        known = _days_of(parts.strategies.curves[name], days)
        if known:
            worst = max(day.worst for day in known)
            rows.append(
                (name, report.number(sum(day.pnl for day in known)), strategy.currency,
                 report.percent(worst).removeprefix("+"), report.number(known[-1].equity))
            )  # fmt: skip
    return MessageTable("Strategies", ("Strategy", "P&L", "", "Worst drawdown", "Equity"), rows)


def _curves(parts: Parts, today: date) -> dict[str, list[float | None]]:
    """Each strategy's equity by day, against its first one that is known."""
    days = [(today - timedelta(days=back)).isoformat() for back in range(31, 0, -1)]
    found: dict[str, list[float | None]] = {}
    for name in parts.strategies.configured:
        curve = parts.strategies.curves[name]
        equity = [known.equity if known else None for known in map(curve.on, days)]
        first = next((value for value in equity if value and value > 0), None)
        if first:
            found[name] = [None if value is None else value / first - 1 for value in equity]
    return found


def _failing(tally: Sequence[Tally]) -> MessageTable:
    runs = Counter[str]()
    failures = Counter[str]()
    newest: dict[str, Tally] = {}
    for one in tally:
        runs[one.task] += one.count
        if one.outcome != "success":
            failures[one.task] += one.count
            if one.task not in newest or newest[one.task].newest < one.newest:
                newest[one.task] = one
    rows = [
        (task, f"{count} of {runs[task]}", newest[task].outcome, newest[task].error or "")
        for task, count in failures.most_common(MOST_TASKS)
    ]
    return MessageTable("Failing tasks", ("Task", "Failed", "Newest", "Error"), rows)


def _slow(times: Sequence[TaskTimes]) -> MessageTable:
    rows = [
        (one.task, format_duration(one.longest), format_duration(one.mean))
        for one in sorted(times, key=lambda one: -one.longest)[:MOST_TASKS]
        if one.longest >= 1.0
    ]
    return MessageTable("Slowest tasks", ("Task", "Longest run", "Mean"), rows)


def _alerts(parts: Parts, days: Sequence[date]) -> tuple[Counter[tuple[str, str]], list[str]]:
    """How often each alert fired, by name and severity, and the days that nobody summed up."""
    fired = Counter[tuple[str, str]]()
    missing = []
    for day in days:
        digest = load(parts.reports / f"digest-{day}.json")
        if digest is None:
            missing.append(f"{day:%a}")
        for alert in digest.alerts if digest else ():
            fired[alert.alert, alert.severity] += alert.firing
    return +fired, missing


def _fired(alerts: Counter[tuple[str, str]], missing: Sequence[str]) -> MessageTable:
    rows = [(name, severity, f"{count}") for (name, severity), count in alerts.most_common()]
    note = ""
    if missing:
        note = f"No digest of {', '.join(missing)}: alerts of those days are not counted."
    return MessageTable("Alerts", ("Alert", "Severity", "Fired"), rows, note)
