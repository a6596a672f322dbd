"""Reading the built boards: every panel, every query, every selector within a query."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "grafana" / "dashboards"
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))
}


@dataclass(frozen=True)
class Query:
    """One query of a board; `instant` ones ask for the newest value alone."""

    board: str
    panel: str
    ref: str
    expr: str
    instant: bool
    legend: str = ""

    def __str__(self) -> str:
        return f"{self.board}/{self.panel}/{self.ref}"


def panels() -> list[Any]:
    """Every (board, panel) as pytest parameters would want them."""
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


def filled(
    expr: str, *, rate: str = "2m", step: str = "1m", whole: str = "1d", chosen: str = ".+"
) -> str:
    """The expression as Grafana would send it, with every variable at All: the exporters that there
    are, and anything else."""
    expr = expr.replace("$__rate_interval", rate).replace("$__range", whole)
    expr = expr.replace("$__interval", step)
    if chosen == ".+":
        expr = expr.replace("$job", "quant-exporter").replace("$instance", "localhost:10077")
    return re.sub(r"\$\w+", chosen, expr)


def selectors(expr: str) -> Iterator[Any]:
    """Every vector selector of a PromQL expression; raises ValueError when it is not valid."""
    found: list[Any] = []

    def enter(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        if isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        return True

    promql_parser.walk(promql_parser.parse(filled(expr)), enter)
    yield from {id(node): node for node in found}.values()


def label_values(board: dict[str, Any]) -> list[tuple[str, str]]:
    """(variable, query) of every variable of a board that asks Prometheus."""
    return [
        (variable["name"], variable["definition"])
        for variable in board["templating"]["list"]
        if variable["type"] == "query"
    ]
