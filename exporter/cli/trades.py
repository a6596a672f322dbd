"""`quant-exporter trades`: the fills or the points of equity that are kept, from the state file; no
exporter need run."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Context
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from exporter.cli.text_table import print_table
from exporter.cli.with_config import complain, with_config
from exporter.config import Config
from exporter.state import ledger
from exporter.state.ledger import EquityEntry, LedgerRow
from exporter.util.clock import Clock, SystemClock
from exporter.util.local_time import midnight
from exporter.util.units import parse_duration

COLUMNS = (
    "time", "strategy", "symbol", "side", "quantity", "price", "value", "fee", "currency", "order",
    "id", "origin",
)  # fmt: skip
EQUITY_COLUMNS = ("time", "strategy", "equity", "flow", "id", "origin")
_EXACT = Context(prec=200)
_SHOWN = 9
"""Of these in a table for people."""


class PrintedRows(NamedTuple):
    """What is printed."""

    columns: tuple[str, ...]
    rows: Iterable[tuple[str, ...]]
    of: str


def trades(
    path: Path,
    *,
    strategy: str | None,
    since: str | None,
    as_csv: bool,
    as_json: bool,
    equity: bool = False,
    clock: Clock | None = None,
) -> int:
    """Print them, oldest first; numbers have the digits that they were sent with."""

    def show(config: Config) -> int:
        zone = ZoneInfo(config.timezone)
        try:
            begin = _begin(since, (clock or SystemClock()).now(), zone)
        except ValueError as error:
            complain(f"--since: {error}; or write a day, such as 2026-01-01")
            return 2
        try:
            if equity:
                points = ledger.equity_of_all(config.state, begin, strategy)
                table = PrintedRows(EQUITY_COLUMNS, (_point(*one, zone) for one in points), "point")
            else:
                found = ledger.fills(config.state, begin, strategy)
                table = PrintedRows(COLUMNS, (_cells(row, zone) for row in found), "fill")
            _print(table, as_csv=as_csv, as_json=as_json)
        except (sqlite3.Error, OSError) as error:
            complain(f"{config.state} cannot be read: {error}")
            return 1
        return 0

    return with_config(path, show, tolerant=True)


def _begin(since: str | None, now: float, zone: ZoneInfo) -> float:
    if since is None:
        return 0.0
    try:
        return midnight(date.fromisoformat(since), zone)
    except ValueError:
        return now - parse_duration(since)


def _cells(row: LedgerRow, zone: ZoneInfo) -> tuple[str, ...]:
    fill = row.fill
    value = None if fill.quantity is None else _EXACT.multiply(fill.quantity, fill.price)
    numbers = (fill.quantity, fill.price, value, fill.fee)
    return (
        datetime.fromtimestamp(fill.at, zone).isoformat(), row.strategy, fill.symbol, fill.side,
        *("" if one is None else f"{one:f}" for one in numbers),
        fill.currency, fill.order, fill.id, fill.origin,
    )  # fmt: skip


def _point(strategy: str, point: EquityEntry, zone: ZoneInfo) -> tuple[str, ...]:
    time = datetime.fromtimestamp(point.at, zone).isoformat()
    return time, strategy, f"{point.equity:f}", f"{point.flow:f}", point.id, point.origin


def _print(table: PrintedRows, *, as_csv: bool, as_json: bool) -> None:
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(table.rows)
    elif as_json:
        found = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif shown := [row[:_SHOWN] for row in table.rows]:
        print_table([table.columns[:_SHOWN], *shown])
    else:
        print(f"no {table.of} is kept: see docs/accounts.md")
