"""What Grafana asks Prometheus for: every query of every board, its variables filled in."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("dashboards")
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))
}
STEPS = 720
"""So many points has a graph that is half as wide as a desk's screen."""
OWN_METRIC = "orders_total|positions"
"""What is chosen where a board asks for one metric of the user's own."""


@dataclass(frozen=True)
class Query:
    """One query of a board; `instant` ones ask for the newest value alone."""

    board: str
    panel: str
    ref: str
    expr: str
    instant: bool
    legend: str = ""
    points: int = STEPS
    """So many steps at most, over the shown time."""

    def __str__(self) -> str:
        return f"{self.board}/{self.panel}/{self.ref}"


def panels() -> list[Any]:
    """Every (board, panel)."""
    return [(name, panel) for name, board in BOARDS.items() for panel in board["panels"]]


def queries() -> list[Query]:
    """Every query of every panel and annotation."""
    found = [
        Query(
            name,
            panel["title"],
            target["refId"],
            target["expr"],
            bool(target.get("instant")),
            target.get("legendFormat") or "",
            panel.get("maxDataPoints") or STEPS,
        )
        for name, panel in panels()
        for target in panel["targets"]
    ]
    found += [
        Query(name, f"annotation {annotation['name']}", "A", annotation["expr"], False)
        for name, board in BOARDS.items()
        for annotation in board["annotations"]["list"]
    ]
    return found


def seconds(span: str) -> int:
    """Of a time like ``8h``."""
    return int(span[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[span[-1]]


def filled(
    expr: str, *, rate: str = "2m", step: str = "1m", whole: str = "1d", chosen: str = ".+"
) -> str:
    """The expression as Grafana would send it, with every variable at All: the exporters that there
    are, and anything else."""
    expr = expr.replace("$__rate_interval", rate).replace("$__range", whole)
    expr = expr.replace("${__range_s}", str(seconds(whole)))
    expr = expr.replace("$__interval", step).replace("$metric", OWN_METRIC)
    if chosen == ".+":
        expr = expr.replace("$job", "quant-exporter").replace("$instance", "localhost:10077")
    return re.sub(r"\$[a-z]\w+", chosen, expr)
