"""Which tasks the page shows and in which groups, from the query of its address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.web.status.view import TaskRow

STATES = ("", "trouble", "running", "waiting", "blocked", "paused")
GROUPS = ("", "severity", "folder", "strategy")
_ORDER = {"bad": 0, "warn": 1, "fine": 3, "idle": 3}
_TIERS = ("critical", "warning", "info")
_LONGEST = 100


@dataclass(frozen=True)
class Choice:
    """A filter by text and state, and what to group by; empty: everything, in one group."""

    text: str = ""
    state: str = ""
    group: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Choice:
        """Values that mean nothing are left out."""
        state, group = query.get("state", ""), query.get("group", "")
        return cls(
            query.get("q", "")[:_LONGEST].strip(),
            state if state in STATES else "",
            group if group in GROUPS else "",
        )

    def groups(self, tasks: Iterable[TaskRow]) -> dict[str, list[TaskRow]]:
        """Titles with their tasks; trouble first, in each and among them."""
        found: dict[str, list[TaskRow]] = {}
        for task in sorted(filter(self._shows, tasks), key=by_trouble):
            found.setdefault(self._title(task), []).append(task)
        if self.group == "severity":
            return {tier: found[tier] for tier in _TIERS if tier in found}
        return dict(sorted(found.items(), key=lambda group: _rank(*group)))

    def _shows(self, task: TaskRow) -> bool:
        if self.state == "trouble" and task.state not in ("failing", "late"):
            return False
        if self.state in STATES[2:] and task.state != self.state:
            return False
        words = f"{task.name} {task.schedule} {task.severity} {task.strategy} {task.folder}".lower()
        return all(word in words for word in self.text.lower().split())

    def _title(self, task: TaskRow) -> str:
        return str(getattr(task, self.group)) if self.group else ""


def _rank(title: str, tasks: list[TaskRow]) -> tuple[int, bool, str]:
    return by_trouble(tasks[0])[0], title == "", title


def by_trouble(task: TaskRow) -> tuple[int, str]:
    """What needs attention first, then failures of severity info, then by name."""
    in_trouble = task.state in ("failing", "late")
    return min(_ORDER[task.level], 2 if in_trouble else 3), task.name
