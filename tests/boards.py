"""Reading the built boards: every selector within a query, every variable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import promql_parser

from grafana.asked import BOARDS, FOLDER, Query, filled, panels, queries

__all__ = [
    "BOARDS",
    "FOLDER",
    "ROOT",
    "Query",
    "filled",
    "label_values",
    "panels",
    "queries",
    "selectors",
    "with_zeros",
]

ROOT = Path(__file__).parents[1]


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


def with_zeros(query: Query) -> Query:
    """The same, with what never happened: bars leave that out."""
    return replace(query, expr=query.expr.removesuffix(" > 0"))


def label_values(board: dict[str, Any]) -> list[tuple[str, str]]:
    """(variable, query) of every variable of a board that asks Prometheus."""
    return [
        (variable["name"], variable["definition"])
        for variable in board["templating"]["list"]
        if variable["type"] == "query"
    ]
