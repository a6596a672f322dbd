"""The one sentence at the top: is all well, and if not, what is the matter."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.units import format_duration
from exporter.web.status.view import Level, StatusView


@dataclass(frozen=True)
class Matter:
    """One thing that needs a look; `anchor` is where on the page it is explained."""

    level: Level
    text: str
    anchor: str


@dataclass(frozen=True)
class Verdict:
    """The worst level, a headline, and every matter, the worst first."""

    level: Level
    headline: str
    matters: tuple[Matter, ...]


def judge(view: StatusView) -> Verdict:
    """Look at everything once."""
    found = sorted(_matters(view), key=lambda matter: matter.level != "bad")
    if not found:
        return Verdict("fine", "All is well", ())
    bad = sum(matter.level == "bad" for matter in found)
    if bad:
        headline = "1 thing is wrong" if bad == 1 else f"{bad} things are wrong"
        rest = len(found) - bad
        headline += f", {rest} want{'s' * (rest == 1)} a look" if rest else ""
        return Verdict("bad", headline, tuple(found))
    headline = "1 thing wants a look" if len(found) == 1 else f"{len(found)} things want a look"
    return Verdict("warn", headline, tuple(found))


def _matters(view: StatusView) -> list[Matter]:
    found = [Matter("bad", text, "troubles") for text in view.troubles]
    if view.alerts is None and view.alertmanager_seen:
        found.append(Matter("warn", "Alertmanager does not answer", "alerts"))
    found += [
        Matter(alert.level, f"{alert.name}: {alert.description or alert.summary}", "alerts")
        for alert in view.alerts or ()
    ]
    for task in view.tasks:
        why = {
            "failing": f"failed {task.failures} times in a row"
            if task.failures > 1
            else "failed at its newest run",
            "late": "has passed its deadline without a success",
        }.get(task.state, "")
        found.append(Matter(task.level, f"Task {task.name} {why}", f"task-{task.name}"))
    for feed in view.feeds:
        text = f"Feed {feed.name}: " + (
            f"{feed.worst} is overdue by {format_duration(round(feed.overdue))}"
            if feed.overdue > 0
            else feed.problem
        )
        found.append(Matter(feed.level, text, "feeds"))
    for strategy in view.strategies:
        level = strategy.level(view.now)
        over = strategy.drawdown >= strategy.limit
        text = f"is {strategy.drawdown:.1%} below its peak" if over else "has old equity"
        found.append(Matter(level, f"Strategy {strategy.name} {text}", "strategies"))
    return [matter for matter in found if matter.level in ("bad", "warn")]
