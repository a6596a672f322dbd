"""Positions from a file that a strategy replaces: CSV with a header, or JSON as the API has it.

A file is all that is held as of when it was written. It is read when it changed; one that cannot be
read is said, and then nobody knows what is held.
"""

from __future__ import annotations

import asyncio
import csv
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.config import Strategy
from exporter.state import StateError
from exporter.state.ledger import Position
from exporter.strategies.holdings import Holdings
from exporter.strategies.parse_fills import parse_positions
from exporter.strategies.table_layout import DELIMITERS
from exporter.util import strict_json

log = logging.getLogger(__name__)

MOST_BYTES = 1_000_000
Mark = tuple[int, int, int]
"""Time, size and inode."""


class PositionsFiles:
    """The files of all strategies that have one."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._files: dict[str, Path] = {}
        self._seen: dict[str, Mark] = {}

    def apply(self, strategies: Mapping[str, Strategy]) -> None:
        """Use the files of the running config."""
        files = {name: one.positions_file for name, one in strategies.items() if one.positions_file}
        for name in {*self._files, *files}:
            if self._files.get(name) != files.get(name):
                self._seen.pop(name, None)
                self._holdings.unreadable.pop(name, None)
        self._files = files

    async def refresh(self) -> None:
        """Read what changed; to be called every few seconds."""
        for name, path in self._files.items():
            try:
                found = await asyncio.to_thread(_read, path, self._seen.get(name))
                if found is None:
                    continue
                mark, positions = found
                at = mark[0] / 1e9
                await self._holdings.set_positions(name, positions, at)
                self._seen[name] = mark
            except OSError as error:
                self._unreadable(name, f"cannot read {path}: {error.strerror or error}")
            except (ValueError, KeyError, csv.Error) as error:
                self._unreadable(name, _said(path, error))
            except StateError:
                continue  # the page says it already, and it is tried again
            else:
                self._holdings.unreadable.pop(name, None)

    def _unreadable(self, name: str, text: str) -> None:
        self._seen.pop(name, None)
        if self._holdings.unreadable.get(name) != text:
            self._holdings.unreadable[name] = text
            log.warning("%s", text, extra={"event": "positions_unreadable", "strategy": name})


def _read(path: Path, seen: Mark | None) -> tuple[Mark, list[Position]] | None:
    """None when it is as before. Raises OSError, or ValueError, KeyError and csv.Error for what is
    not understood."""
    with path.open("rb") as file:
        stat = path.stat()
        mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if mark == seen:
            return None
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes: a list of positions is shorter")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        kind = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "not UTF-8"
        raise ValueError(f"it is {kind}; write it as UTF-8") from None
    if text.lstrip()[:1] in ("{", "["):
        body = strict_json.read(text)
        return mark, parse_positions(body if isinstance(body, dict) else {"positions": body})
    return mark, parse_positions({"positions": _rows(text)})


def _rows(text: str) -> Sequence[dict[str, Any]]:
    if text and not text.endswith("\n"):
        raise ValueError(
            "the last line does not end with a newline: it may be cut off. Write under another "
            "name and rename"
        )
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError("it is empty: also when nothing is held, write the header symbol,quantity")
    delimiter = max(DELIMITERS, key=lines[0].count)
    header, *rows = (
        [cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)
    )
    names = [name.lower() for name in header]
    if not {"symbol", "quantity"} <= set(names):
        raise ValueError("the first line must be a header with symbol and quantity")
    found = []
    for number, row in enumerate(rows, 2):
        if len(row) != len(names):
            raise ValueError(f"line {number} has {len(row)} cells, the header has {len(names)}")
        cells = dict(zip(names, row, strict=True))
        price = cells.get("price") or None
        found.append({"symbol": cells["symbol"], "quantity": cells["quantity"], "price": price})
    return found


def first_problem(path: Path) -> str | None:
    """What is wrong with a file, in words; None when nothing is, or it is not there yet."""
    try:
        _read(path, None)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot read {path}: {error.strerror or error}"
    except (ValueError, KeyError, csv.Error) as error:
        return _said(path, error)
    return None


def _said(path: Path, error: Exception) -> str:
    text = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
    return f"{path.name}: {text}"
