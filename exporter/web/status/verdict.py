"""The headline of the page: is everything ok, and if not, what is wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

from exporter.util.units import format_duration
from exporter.web.status.view import FeedRow, Level, StatusView, TaskRow


@dataclass(frozen=True)
class Matter:
    """One thing that needs attention; `anchor` is where on the page it is explained, `subject` the
    task, feed or strategy that it is about."""

    level: Level
    text: str
    anchor: str
    subject: str = ""


@dataclass(frozen=True)
class Verdict:
    """The worst level, a headline, and every matter, the worst first."""

    level: Level
    headline: str
    matters: tuple[Matter, ...]


@dataclass(frozen=True)
class Facts:
    """Shown even when everything is ok: the task that runs next, how many are paused, and each
    exchange with whether it is open."""

    following: TaskRow | None
    paused: int
    markets: tuple[tuple[str, bool], ...]


def judge(view: StatusView) -> Verdict:
    """The verdict on a view. An alert about something listed already is not listed twice."""
    found = [matter for matter in _matters(view) if matter.level in ("bad", "warn")]
    in_trouble = {matter.subject for matter in found if matter.anchor != "alerts"} - {""}
    found = [m for m in found if not (m.anchor == "alerts" and m.subject in in_trouble)]
    found.sort(key=lambda matter: matter.level != "bad")
    if not found and view.alerts is None:
        headline = "Ok as far as is known; Alertmanager does not respond"
        return Verdict("idle", headline + _but(view), ())
    if not found:
        return Verdict("fine", "All ok" + _but(view), ())
    bad = sum(matter.level == "bad" for matter in found)
    if bad:
        headline = "1 thing is wrong" if bad == 1 else f"{bad} things are wrong"
        rest = len(found) - bad
        headline += f", {rest} need{'s' * (rest == 1)} attention" if rest else ""
        return Verdict("bad", headline, tuple(found))
    headline = (
        "1 thing needs attention" if len(found) == 1 else f"{len(found)} things need attention"
    )
    return Verdict("warn", headline, tuple(found))


def _but(view: StatusView) -> str:
    states = {task.state for task in view.tasks}
    if states == {"paused"}:
        return ", but every task is paused"
    return "; nothing has run yet" if states == {"new"} and not view.week.rows else ""


def facts(view: StatusView) -> Facts:
    """What comes next."""
    ahead = [task for task in view.tasks if not math.isnan(task.next_run)]
    return Facts(
        min(ahead, key=lambda task: task.next_run, default=None),
        sum(task.state == "paused" for task in view.tasks),
        tuple(sorted({feed.exchange: feed.open for feed in view.feeds}.items())),
    )


def _matters(view: StatusView) -> list[Matter]:
    found = [Matter("bad", text, "troubles") for text in view.troubles]
    found += [Matter("warn", text, "troubles") for text in view.notes]
    if not (view.tasks or view.feeds or view.strategies):
        found.append(Matter("warn", "Nothing is configured in exporter.yml", "tasks"))
    if view.alerts is None and view.alertmanager_seen:
        found.append(Matter("warn", "Alertmanager does not respond", "alerts"))
    found += [
        Matter(
            alert.level,
            f"{alert.name}: {alert.description or alert.summary}",
            "alerts",
            alert.subject,
        )
        for alert in (view.unresolved if view.alerts is None else view.alerts)
    ]
    found += [
        Matter(
            _level(incident.severity),
            f"{incident.name} was delivered to nobody: not accepted by "
            f"{', '.join(incident.refused)}",
            "journal",
        )
        for incident in view.incidents
        if incident.reached_nobody
    ]
    for task in view.tasks:
        why = {
            "failing": f"failed {task.failures} times in a row"
            if task.failures > 1
            else "failed in its last run",
            "late": "missed its deadline",
        }.get(task.state, "")
        text = f"Task {task.name} {why}"
        if task.service and task.service.trouble:
            text = f"Service {task.name}: {task.service.trouble}"
        found.append(Matter(task.level, text, f"task-{task.name}", task.name))
    for feed in view.feeds:
        text = f"Feed {feed.name}: " + (_late(feed) if feed.late else feed.problem)
        found.append(Matter(feed.level, text, f"feed-{feed.name}", feed.name))
    for strategy in view.strategies:
        level = strategy.level(view.now)
        text = {
            "limit": f"is {strategy.drawdown:.1%} below its peak",
            "unread": f"has equity that cannot be read: {strategy.problem}",
            "old": "has out-of-date equity",
        }.get(strategy.word(view.now), "")
        anchor = f"strategy-{strategy.name}"
        found.append(Matter(level, f"Strategy {strategy.name} {text}", anchor, strategy.name))
    return found


def _level(severity: str) -> Level:
    return "bad" if severity == "critical" else "warn"


def _late(feed: FeedRow) -> str:
    worst, seconds = feed.late[0]
    by = format_duration(round(seconds))
    if feed.late_count == 1:
        return f"{worst} is overdue by {by}"
    return f"{feed.late_count} symbols are overdue, {worst} by {by}"
