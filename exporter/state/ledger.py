"""Fills and equity that were accepted, a row each, with all their digits; and each day's return.

Rows are written once by their id: what is sent again changes nothing. The statements go through
:meth:`exporter.state.State.write`; the queries read the file and block, so run them in a thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from exporter.state import database
from exporter.state.sql import Row

PURGE_ROWS = 1000
"""Deleted at a time of each table."""


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. What was not given is None or empty."""

    symbol: str
    side: str
    """buy or sell."""
    at: float
    """Unix seconds."""
    price: Decimal
    """Of one unit."""
    quantity: Decimal | None = None
    fee: Decimal | None = None
    currency: str = ""
    order: str = ""
    """The order that it belongs to."""
    id: str = ""
    """Its own: a fill with the id of another is that one."""
    origin: str = ""
    """The account that it was read from; empty if the strategy reported it itself."""


@dataclass(frozen=True, slots=True)
class Position:
    """What is held of one symbol: negative when short."""

    symbol: str
    quantity: Decimal
    price: Decimal | None = None
    """Of one unit, at the market."""
    value: Decimal | None = None
    """In the account's currency."""


@dataclass(frozen=True, slots=True)
class EquityEntry:
    """One point of a curve as reported; `equity` is after `flow`."""

    at: float
    equity: Decimal
    flow: Decimal
    id: str
    origin: str = ""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A fill and whose it is."""

    strategy: str
    fill: Fill


def put_fill(strategy: str, fill: Fill) -> Row:
    """Changes one row, or none when it is there already."""
    return (
        "INSERT INTO fills VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            strategy, fill.id, float(fill.at), fill.symbol, fill.side, str(fill.price),
            _text(fill.quantity), _text(fill.fee), fill.currency, fill.order, fill.origin,
        ),
    )  # fmt: skip


def put_equity(strategy: str, entry: EquityEntry) -> Row:
    """Changes one row, or none when it is there already."""
    return (
        "INSERT INTO equity VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (strategy, entry.id, entry.at, str(entry.equity), str(entry.flow), entry.origin),
    )


def forget_equity(strategy: str, at: float, origin: str) -> Row:
    """Deletes the points of a moment by that origin, which are written again."""
    question = "DELETE FROM equity WHERE strategy = ? AND at = ? AND origin = ?"
    return question, (strategy, at, origin)


def purge(table: Literal["fills", "equity"], before: float, most: int) -> list[Row]:
    """Deletes some rows that are older than `before`, and the oldest beyond `most`."""
    doomed = f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} "  # noqa: S608
    return [
        (doomed + "WHERE at < ? ORDER BY at LIMIT ?)", (before, PURGE_ROWS)),
        (doomed + "ORDER BY at DESC LIMIT ? OFFSET ?)", (PURGE_ROWS, most)),
    ]


def has_equity(path: Path, strategy: str, entry_id: str) -> bool:
    """Whether a point of that id was accepted before."""
    question = "SELECT 1 FROM equity WHERE strategy = ? AND id = ?"
    with closing(database.read_only(path)) as db:
        return db.execute(question, (strategy, entry_id)).fetchone() is not None


def fills(
    path: Path, since: float = 0.0, strategy: str | None = None, limit: int = -1
) -> Iterator[LedgerRow]:
    """Fills since then, oldest first; with `limit` the newest so many."""
    question = (
        "SELECT strategy, symbol, side, at, price, quantity, fee, currency, order_id, id, origin "
        "FROM (SELECT * FROM fills WHERE at >= ? AND (? IS NULL OR strategy = ?) "
        "ORDER BY at DESC, rowid DESC LIMIT ?) ORDER BY at, id"
    )
    with closing(database.read_only(path)) as db:
        if not _has_table(db):
            return
        for whose, symbol, side, at, price, quantity, fee, *texts in db.execute(
            question, (since, strategy, strategy, limit)
        ):
            numbers = Decimal(price), _decimal(quantity), _decimal(fee)
            yield LedgerRow(whose, Fill(symbol, side, at, *numbers, *texts))


def equity_of_all(
    path: Path, since: float = 0.0, strategy: str | None = None
) -> Iterator[tuple[str, EquityEntry]]:
    """Strategy and point, since then, oldest first."""
    question = (
        "SELECT strategy, at, equity, flow, id, origin FROM equity WHERE at >= ? "
        "AND (? IS NULL OR strategy = ?) ORDER BY at, strategy, rowid"
    )
    with closing(database.read_only(path)) as db:
        if not _has_table(db):
            return
        for whose, at, value, flow, *texts in db.execute(question, (since, strategy, strategy)):
            yield whose, EquityEntry(at, Decimal(value), Decimal(flow), *texts)


def equity(path: Path, strategy: str, since: float, limit: int = -1) -> list[EquityEntry]:
    """Points since then, oldest first; with `limit` the newest so many."""
    question = (
        "SELECT at, equity, flow, id, origin FROM equity WHERE strategy = ? AND at >= ? "
        "ORDER BY at DESC LIMIT ?"
    )
    with closing(database.read_only(path)) as db:
        found = [
            EquityEntry(at, Decimal(value), Decimal(flow), *texts)
            for at, value, flow, *texts in db.execute(question, (strategy, since, limit))
        ]
    return found[::-1]


def _has_table(db: sqlite3.Connection) -> bool:
    """A file that no exporter of this version has opened has none."""
    question = "SELECT 1 FROM sqlite_schema WHERE name = 'fills'"
    return db.execute(question).fetchone() is not None


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
