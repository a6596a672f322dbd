"""How an equity file is laid out: delimiter, columns and decimal sign, found out or configured.

What can be read in two ways is never guessed: it is a :class:`ValueError` that says what to set.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

DELIMITERS = (",", ";", "\t", "|")
Column = Literal["timestamp", "equity", "flow"]
COLUMNS: tuple[Column, ...] = ("timestamp", "equity", "flow")
_ALIASES: Mapping[Column, tuple[str, ...]] = {
    "timestamp": ("timestamp", "time", "date", "datetime", "date/time", "ts"),
    "equity": ("equity", "balance", "nav", "net liquidation", "account value"),
    "flow": ("flow", "cash flow", "deposit", "deposits"),
}
_IDS = frozenset(("account id", "account_id", "accountid", "account number", "account no"))
_NAMES = frozenset(("account", "portfolio", "strategy"))
"""What tells the rows of several accounts apart; under a name a number is a value."""
_LIKE_A_NUMBER = re.compile(r"[\s(+\-\u2212$€£¥₹]*[.,]?\d")
_GROUPED = {
    ".": re.compile(r"[+-]?\d{1,3}((,\d{3})+|(,\d{2})+,\d{3})(\.\d*)?"),  # 1,00,000 in India
    ",": re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d*)?"),
}
_TWO_WAYS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")


@dataclass
class Layout:
    """What is known of a file so far; kept in state with the position in it."""

    header: list[str] = field(default_factory=list)
    """The file's first names, in lower case; empty until a header or a first row was found."""
    columns: list[str] = field(default_factory=list)
    """What each of them is: timestamp, equity, flow, or "" for one that is not used."""
    delimiter: str = ","
    decimal: str = ""
    titled: bool = False
    """A line that is neither header nor row came first: rows without a header would be a guess."""
    whose: str = ""
    """What the file's rows say of their account; empty while none does."""

    def clear(self) -> None:
        """Forget what was found out."""
        self.header, self.columns, self.delimiter, self.decimal = [], [], ",", ""


def split(text: str, delimiter: str) -> list[str]:
    """The cells of one line. Raises :class:`csv.Error`."""
    return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter), [])]


def find_header(text: str, layout: Layout, mapping: Mapping[Column, str]) -> bool:
    """Whether this line names the columns; if so, `layout` has them."""
    for delimiter in DELIMITERS:
        header = [cell.lower() for cell in split(text, delimiter)]
        columns = [column_of(name, mapping) for name in header]
        if header and not header[0] and "timestamp" not in columns and "equity" in columns:
            columns[0] = "timestamp"  # pandas' to_csv leaves the name of an index out
        if {"timestamp", "equity"} <= set(columns):
            twice = {name for name in COLUMNS if columns.count(name) > 1}
            if twice:
                raise ValueError(f"two columns may be the {twice.pop()}: name it under `columns`")
            layout.header, layout.columns, layout.delimiter = header, columns, delimiter
            return True
    return False


def assume_columns(text: str, layout: Layout, delimiter: str) -> None:
    """Lay the file out without a header: timestamp, equity and perhaps flow, in this order."""
    count = len(split(text, delimiter))
    layout.columns, layout.delimiter = list(COLUMNS[:count]), delimiter
    layout.header = list(layout.columns)


def column_of(name: str, mapping: Mapping[Column, str]) -> str:
    """timestamp, equity or flow for a column called `name`; "" for any other."""
    for column in COLUMNS:
        wanted = mapping.get(column)
        names = (wanted.strip().lower(),) if wanted else _ALIASES[column]
        if name.strip().lower() in names or name.strip("<> ").lower() in names:
            return column
    return "currency" if name.strip().lower() == "currency" else ""


def check_account(row: Mapping[str, Any], layout: Layout) -> None:
    """All rows of a file are of one account: others would look like a loss. `row` has the file's
    own names. Raises :class:`ValueError`."""
    said = " ".join(str(value) for name, value in row.items() if _says_whose(name, value))
    if said and layout.whose and said != layout.whose:
        raise ValueError(
            f"the row is of {said[:40]!r}, and others are of {layout.whose[:40]!r}: write a file "
            "for each"
        )
    layout.whose = layout.whose or said


def _says_whose(name: str, value: Any) -> bool:
    name = name.strip().lower()
    if name in _IDS:
        return isinstance(value, (str, int)) and value != ""
    is_text = isinstance(value, str) and value != ""
    return name in _NAMES and is_text and not _LIKE_A_NUMBER.match(value)


def missing_columns(text: str, mapping: Mapping[Column, str]) -> str:
    """Why a line is not a header."""
    best: set[str] = set()
    for delimiter in DELIMITERS:
        found = {column_of(cell, mapping) for cell in split(text, delimiter)} - {""}
        best = max(best, found, key=len)
    missing = [mapping.get(name, name) for name in COLUMNS[:2] if name not in best]
    return (
        f"the header has no {' and no '.join(missing)}; write timestamp,equity[,flow], or name the "
        "file's columns under `columns`"
    )


def used_cells(cells: Sequence[str], layout: Layout) -> dict[str, Any]:
    """The cells of a row by what they are; numbers are made readable. Raises ValueError."""
    row: dict[str, Any] = dict(zip(layout.columns, cells, strict=True))
    row.pop("", None)
    for name in ("equity", "flow"):
        if row.get(name):
            row[name] = plain_number(row[name], layout)
    return row


def plain_number(text: str, layout: Layout) -> str:
    """A number as Python writes it. The decimal sign is remembered once a number shows it."""
    bare = re.sub(r"[\s\u00a0\u202f'’]", "", text).replace("\u2212", "-")
    if accounted := re.fullmatch(r"\(([^()-]+)\)", bare):  # how accountants write a negative one
        bare = f"-{accounted[1]}"
    bare = re.sub(r"(?<![^+-])[$€£¥₹]|[$€£¥₹]$", "", bare)
    if owed := re.fullmatch(r"([\d.,]+)-", bare):  # 500.00- is a debit
        bare = f"-{owed[1]}"
    if not re.fullmatch(r"[+-]?[\d.,]*\d[\d.,]*", bare):
        return bare or text  # exponents, words: what they are is decided by whoever reads numbers
    decimal = layout.decimal or _decimal_of(bare, text, layout.delimiter)
    if not decimal:
        return bare
    layout.decimal = decimal
    group = "," if decimal == "." else "."
    if group in bare and not _GROUPED[decimal].fullmatch(bare):
        raise ValueError(f"{text!r} is not a number with {decimal!r} as its decimal sign")
    return bare.replace(group, "").replace(decimal, ".")


def _decimal_of(bare: str, text: str, delimiter: str) -> str:
    """The decimal sign that a number shows; "" when it shows none."""
    signs = [sign for sign in (".", ",") if sign in bare]
    if len(signs) == 2:
        return max(signs, key=bare.rindex)
    if not signs:
        return ""
    if bare.count(signs[0]) > 1:
        return "," if signs[0] == "." else "."
    if delimiter == "," and signs[0] == ".":
        return "."
    if _TWO_WAYS.fullmatch(bare):
        raise ValueError(
            f"{text!r} may mean thousands or decimals: set `decimal` of this strategy to '.' or ','"
        )
    return signs[0]
