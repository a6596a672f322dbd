"""``quant-exporter tasks``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from exporter.calendars.loader import CalendarError
from exporter.cli import client
from exporter.cli.offline_tasks import tasks_at_rest
from exporter.cli.text_table import moment, print_table
from exporter.cli.with_config import complain, with_config
from exporter.config import Config
from exporter.state import StateError
from exporter.util.clock import SystemClock


def tasks(path: Path, *, as_json: bool) -> int:
    """A table of all tasks: from the running exporter, or else from its state file."""

    def show(config: Config) -> int:
        try:
            found = client.call(config, "GET", "/api/v1/tasks")["tasks"]
        except client.NotRunningError as error:
            found = _at_rest(config, path.parent)
            if found is None:
                raise
            complain(f"{error}. Until then, what its state file knows:")
        if as_json:
            print(json.dumps(found, indent=2))
            return 0
        zone = ZoneInfo(config.timezone)
        rows: list[tuple[str, ...]] = [("TASK", "STATE", "LAST", "ENDED", "NEXT", "SCHEDULE")]
        for task in found:
            rows.append(
                (
                    task["name"],
                    task["state"],
                    task["last_outcome"] or "–",
                    moment(task["last_end"], zone),
                    moment(task["next_slot"], zone),
                    task["schedule"],
                )
            )
        print_table(rows)
        for task in found:
            # An exporter of the version before does not say it.
            if skipped := task.get("skipped_today"):
                print(
                    f"{task['name']} skips {moment(skipped['at'], zone)}, outside today's "
                    f"shortened session of {task['exchange']}: `{skipped['instead']}` would run"
                )
        return 0

    return with_config(path, show, tolerant=True)


def _at_rest(config: Config, folder: Path) -> list[dict[str, Any]] | None:
    try:
        return tasks_at_rest(config, folder.resolve(), SystemClock())
    except (CalendarError, StateError, OSError):
        return None
