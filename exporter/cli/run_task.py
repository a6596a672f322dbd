"""``quant-exporter run-task``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from exporter.cli import client
from exporter.cli.with_config import complain, with_config
from exporter.config import Config
from exporter.util.printable import clean
from exporter.util.units import format_duration


def run_task(path: Path, name: str, *, wait: bool) -> int:
    """Ask the running exporter to run a task now; its outcome is the exit code, and what it printed
    is shown below."""

    def ask(config: Config) -> int:
        run_id = client.call(config, "POST", f"/api/v1/tasks/{name}/run")["run_id"]
        if not wait:
            print(f"{name}: started as run {run_id}")
            return 0
        try:
            run = _wait_for_end(config, name, run_id)
        except KeyboardInterrupt:
            complain(
                f"{name}: run {run_id} continues; its lines: quant-exporter logs --run {run_id}"
            )
            return 130
        took = format_duration(run["ended_at"] - run["started_at"])
        print(f"{name}: {run['outcome']} after {took}" + _items(run["items"]))
        if text := run["error"] or run.get("message"):
            print(clean(text))
        for line in (run["tail"] or "").splitlines():
            print(f"    {clean(line)}".rstrip())
        return 0 if run["outcome"] == "success" else 1

    return with_config(path, ask, tolerant=True)


def _wait_for_end(config: Config, name: str, run_id: str) -> dict[str, Any]:
    while True:
        run = client.call(config, "GET", f"/api/v1/tasks/{name}/runs/{run_id}")
        if isinstance(run, dict) and run["outcome"]:
            return run
        time.sleep(0.2)


def _items(items: float | None) -> str:
    return "" if items is None else f", {items:g} item{'' if items == 1 else 's'}"
