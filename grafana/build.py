"""Write every board as JSON: ``python -m grafana.build``, or ``make dashboards``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.boards import (
    alerts,
    data,
    exporter,
    feed,
    limits,
    overview,
    strategies,
    strategy,
    task,
    tasks,
)

FOLDER = Path(__file__).with_name("dashboards")
BOARDS = (overview, tasks, task, data, feed, strategies, strategy, limits, alerts, exporter)


def built() -> dict[str, str]:
    """File name to content, for every board."""
    boards = [module.build() for module in BOARDS]
    return {f"{board.uid}.json": _text(board) for board in boards}


def _text(board: Dashboard) -> str:
    content = without_defaults(json.loads(json.dumps(board, cls=JSONEncoder)))
    # A provisioned board has no id of its own; the model leaves it out, Grafana wants null.
    return json.dumps({"id": None, **content}, indent=2, sort_keys=True) + "\n"


def without_defaults(content: dict[str, Any]) -> dict[str, Any]:
    """Take out what the model always writes and Grafana's own types (``@grafana/schema`` 12.4) do
    not know, and a default that hides the links in a menu. Changes `content`."""
    for link in content["links"]:
        del link["placement"]
    for variable in content["templating"]["list"]:
        for key in ("auto", "auto_count", "auto_min"):
            del variable[key]
    for panel in content["panels"]:
        panel["options"].pop("footer", None)
    return content


def write(folder: Path = FOLDER) -> None:
    """Make `folder` hold exactly these boards."""
    folder.mkdir(exist_ok=True)
    boards = built()
    for stale in {path.name for path in folder.glob("*.json")} - set(boards):
        (folder / stale).unlink()
    for name, text in boards.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write()
