"""Payload faults: good data of one symbol to data with exactly one thing wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Row = dict[str, Any]
_DAY_MS = 86_400_000


def _rows(change: Callable[[Row], Row]) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [change(dict(row)) for row in rows]


def _wrong_types(row: Row) -> Row:
    return {
        key: ("yesterday" if key in ("time", "timestamp") else [value])
        for key, value in row.items()
    } | ({"symbol": row["symbol"]} if "symbol" in row else {})


def _missing(row: Row) -> Row:
    return {k: v for k, v in row.items() if k not in ("close", "last_price")}


def _not_numbers(row: Row) -> Row:
    return row | {key: "NaN" for key in ("close", "last_price") if key in row}


def _swapped(row: Row) -> Row:
    if "high" not in row:
        return row
    low = str(float(row["low"]) * 0.99)
    return row | {"high": low, "low": row["high"]}


def _ahead(row: Row) -> Row:
    return row | {key: row[key] + _DAY_MS for key in ("time", "timestamp") if key in row}


def _disorder(rows: list[Row]) -> list[Row]:
    # Two bars are always in some order; a third one is made of the first.
    if len(rows) == 2:
        rows = [*rows, rows[0] | {"time": rows[0]["time"] - 60_000}]
        return [rows[0], rows[2], rows[1]] if rows[0]["time"] < rows[1]["time"] else rows
    return [*rows[1:-1], rows[-1], rows[0]] if len(rows) > 2 else rows


def _outlier(rows: list[Row]) -> list[Row]:
    if not rows or "close" not in rows[-1]:
        return rows
    wild = str(float(rows[-1]["close"]) * 10)
    return [*rows[:-1], rows[-1] | {"close": wild, "high": wild}]


_SPOIL: Mapping[str, Callable[[list[Row]], list[Row]]] = {
    "wrong_types": _rows(_wrong_types),
    "missing_fields": _rows(_missing),
    "not_numbers": _rows(_not_numbers),
    "high_below_low": _rows(_swapped),
    "future": _rows(_ahead),
    "disorder": _disorder,
    "descending": lambda rows: rows[::-1],
    "duplicates": lambda rows: [row for row in rows for _ in range(2)],
    "outlier": _outlier,
}


def spoil(fault: str, rows: list[Row]) -> list[Row]:
    """The rows with that fault in them; faults of other kinds change nothing."""
    change = _SPOIL.get(fault)
    return change(rows) if change else rows
