"""``quant-exporter tasks``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from exporter.calendars.loader import CalendarError
from exporter.cli import client
from exporter.cli.offline_tasks import loaded_calendars, tasks_at_rest
from exporter.cli.text_table import moment, print_table, schedule_text
from exporter.cli.with_config import complain, with_config
from exporter.config import Config
from exporter.config.phrases import unknown_task
from exporter.runtime.schedule_preview import schedule_preview
from exporter.state import State, StateError
from exporter.util.clock import SystemClock
from exporter.util.printable import clean


def tasks(path: Path, *, name: str | None = None, as_json: bool) -> int:
    """A table of all tasks, or one task with its next slots: from the running exporter, or else
    from its state file."""

    def show(config: Config) -> int:
        if name is not None and name not in config.tasks:
            complain(unknown_task(name, config.tasks))
            return 2
        try:
            found = client.call(config, "GET", "/api/v1/tasks")["tasks"]
        except client.NotRunningError as error:
            found = _at_rest(config, path.parent)
            if found is None:
                raise
            complain(f"{error}. Until then, what its state file knows:")
        if name is not None:
            found = [task for task in found if task["name"] == name]
        if as_json:
            print(json.dumps(found, indent=2))
            return 0
        _print_all(found, ZoneInfo(config.timezone))
        if name is not None:
            _print_schedule(config, name, found)
        return 0

    return with_config(path, show, tolerant=True)


def _print_all(found: list[dict[str, Any]], zone: ZoneInfo) -> None:
    rows: list[tuple[str, ...]] = [("TASK", "STATE", "LAST", "ENDED", "NEXT", "SCHEDULE")]
    for task in found:
        rows.append(
            (
                task["name"],
                "ok" if task["state"] == "well" else task["state"],
                task["last_outcome"] or "–",
                moment(task["last_end"], zone),
                moment(task["next_slot"], zone),
                _schedule(task, zone),
            )
        )
    print_table(rows)
    for task in found:
        if (service := task.get("service")) and service["trouble"]:
            print(service["trouble"])
        # An exporter of the version before does not say it.
        if skipped := task.get("skipped_today"):
            print(
                f"{task['name']} skips {moment(skipped['at'], zone)}, outside today's "
                f"shortened session of {task['exchange']}: `{skipped['instead']}` would run"
            )
        if held := task.get("held_back"):
            how = f"waits until {moment(held['until'], zone)}" if held["until"] else "is blocked"
            print(f"{task['name']} {how}: {clean(held['why'])}")


def _schedule(task: Mapping[str, Any], zone: ZoneInfo) -> str:
    """Of a service, since when it has been up, or not."""
    service = task.get("service")
    if not service:
        return str(task["schedule"])
    if service["up"] is None:
        return str(service["unit"])
    state = "up" if service["up"] else "down"
    return f"{service['unit']} {state} since {moment(service['since'], zone)}"


def _print_schedule(config: Config, name: str, found: list[dict[str, Any]]) -> None:
    """By the file as it is now; slots after the pause, if there is one."""
    paused = next((task["paused_until"] for task in found), None)
    after = max(SystemClock().now(), paused or -math.inf)
    clock = SystemClock()
    try:
        state = State.open(config.state, clock, writer=False)
    except StateError:
        state = None
    one = schedule_preview(config, name, loaded_calendars(config, state, clock), after)
    print(schedule_text(one, ZoneInfo(config.timezone)))


def _at_rest(config: Config, folder: Path) -> list[dict[str, Any]] | None:
    try:
        return tasks_at_rest(config, folder.resolve(), SystemClock())
    except (CalendarError, StateError, OSError):
        return None
