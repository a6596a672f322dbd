"""``quant-exporter pause`` and ``resume``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

from exporter.cli import client
from exporter.cli.text_table import moment
from exporter.cli.with_config import with_config
from exporter.config import Config
from exporter.config.dependencies import followers


def pause(path: Path, task: str | None, *, duration: str | None, until: str | None) -> int:
    """Pause one task, or all."""

    def ask(config: Config) -> int:
        body = {"task": task, **({"for": duration} if duration else {"until": until})}
        answer = client.call(config, "POST", "/api/v1/pause", body)
        zone = ZoneInfo(config.timezone)
        print(f"{task or 'all tasks'}: paused until {moment(answer['until'], zone)}")
        if task and (behind := followers(task, config.tasks)):
            print(f"until then this does not run either, and alerts nobody: {', '.join(behind)}")
        return 0

    return with_config(path, ask, tolerant=True)


def resume(path: Path, task: str | None, *, limit: str | None) -> int:
    """End the pause of one task, of all, or those of a limit that acted."""

    def ask(config: Config) -> int:
        if limit is not None:
            answer = client.call(config, "POST", f"/api/v1/limits/{quote(limit, safe='')}/resume")
            tasks = ", ".join(answer["tasks"])
            print(f"{limit}: {tasks or 'no task'} no longer paused by it")
            print("it acts again once its value has been back within the limit")
            return 0
        client.call(config, "POST", "/api/v1/resume", {"task": task})
        print(f"{task or 'all tasks'}: no longer paused")
        return 0

    return with_config(path, ask, tolerant=True)
