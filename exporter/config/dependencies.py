"""Tasks that run after others: circles, and how serious the failure of the first ones is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from exporter.config.config_errors import Mistake
from exporter.config.task_keys import Task

_RANK = {"info": 0, "warning": 1, "critical": 2}


def circles(tasks: Mapping[str, Task]) -> Iterator[Mistake]:
    """Each circle of `after` once, at its first task: none of its tasks would ever run."""
    seen: set[frozenset[str]] = set()
    for name in tasks:
        path = _way_back(name, tasks)
        if path and frozenset(path) not in seen:
            seen.add(frozenset(path))
            steps = ", ".join(
                f"{one} waits for {next_one}"
                for one, next_one in zip(path, [*path[1:], path[0]], strict=True)
            )
            yield Mistake(f"tasks.{name}.after", f"a circle, in which no task can run: {steps}")


def _way_back(start: str, tasks: Mapping[str, Task]) -> list[str]:
    """The shortest way from a task back to itself, without the return; empty: there is none."""
    ways = [[start]]
    reached = set()
    for way in ways:  # grows meanwhile
        for name in tasks[way[-1]].after:
            if name == start:
                return way
            if name in tasks and name not in reached:
                reached.add(name)
                ways.append([*way, name])
    return []


def after_services(tasks: Mapping[str, Task]) -> Iterator[Mistake]:
    """A service has no runs that could succeed."""
    for name, task in tasks.items():
        for other in task.after:
            if other in tasks and tasks[other].kind == "service":
                yield Mistake(
                    f"tasks.{name}.after",
                    f"{other} is a service, which has no runs to wait for: name a task that ends",
                )


def with_inherited_severity(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """The tasks, where one that says no `severity` is as serious as the most serious of those that
    wait for it: they do not run when it fails, and its alert is the only one."""
    return {
        name: task
        if "severity" in task.model_fields_set or (worst := _worst(name, tasks)) == task.severity
        else task.model_copy(update={"severity": worst})
        for name, task in tasks.items()
    }


def too_mild(tasks: Mapping[str, Task]) -> Iterator[Mistake]:
    """Notes on a `severity` that hides that something more serious does not run."""
    for name, task in tasks.items():
        worst = _worst(name, tasks)
        if _RANK[worst] > _RANK[task.severity]:
            waiting = ", ".join(n for n in followers(name, tasks) if tasks[n].severity == worst)
            yield Mistake(
                f"tasks.{name}.severity",
                f"when it fails, {waiting} ({worst}) does not run either, and nobody hears more "
                f"than {task.severity}: remove it, or write {worst}",
            )


def _worst(name: str, tasks: Mapping[str, Task]) -> str:
    found = [tasks[name].severity, *(tasks[each].severity for each in followers(name, tasks))]
    return max(found, key=_RANK.__getitem__)


def followers(name: str, tasks: Mapping[str, Task]) -> list[str]:
    """All that wait for it, and for those that do."""
    found = [name]
    for each in found:  # grows meanwhile
        found += [n for n, t in tasks.items() if each in t.after and n not in found]
    return found[1:]
