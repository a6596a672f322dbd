"""How a run that a command started went, for people."""

from __future__ import annotations

import time
from typing import Any

from exporter.cli import client
from exporter.config import Config

_EVERY_SECONDS = 0.2


def wait_for_end(config: Config, name: str, run_id: str) -> dict[str, Any]:
    """The run, once it has ended."""
    while True:
        run = client.call(config, "GET", f"/api/v1/tasks/{name}/runs/{run_id}")
        if isinstance(run, dict) and run["outcome"]:
            return run
        time.sleep(_EVERY_SECONDS)


def items_text(items: float | None) -> str:
    """``, 3 items``; nothing when the run did not say how many."""
    return "" if items is None else f", {items:g} item{'' if items == 1 else 's'}"
