"""The newest rows of a table, a file or a query, in a process of its own.

Runs in the child of :mod:`exporter.util.helper_process`. Connections are read-only, live for one
call, and end a statement themselves a little before the process would be ended.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from exporter.sources.python_rows import plain_rows

_PARAMETER = re.compile(r"(?<![:\w]):(symbol|interval|start|end|limit)\b")
_QUOTED = re.compile(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*)")
_SHARE = 0.8
"""Of the time limit: a statement that ends itself can say why."""
_PROGRESS_STEPS = 10_000
_NO_SELECT = "`query` is not one SELECT"
_DUCKDB_MISTAKES = ("ParserException", "BinderException", "CatalogException", "ConversionException",
                    "PermissionException", "SyntaxException")  # fmt: skip
"""What another try would meet again; everything else may be a file that is being written."""


class SqlFailedError(Exception):
    """The database did not answer; `reason` is one of a source's."""

    def __init__(self, reason: str, text: str, *, retryable: bool = True) -> None:
        super().__init__(text)
        self.reason, self.retryable = reason, retryable


class SqlRows:
    """Asks one database. `place` is an address or a path; a `query` is the user's own, else the
    newest rows of `table` are read, whose columns `fields` names."""

    def __init__(
        self,
        *,
        engine: str,
        place: str,
        password: str,
        table: str,
        query: str,
        fields: Mapping[str, str],
        timeout: float,
    ) -> None:
        self._engine, self._place, self._password = engine, place, password
        self._seconds = timeout * _SHARE
        self._fields, self._query = fields, query
        self._statement = _written_for(engine, query or _newest_rows(table, fields, engine))

    def __call__(self, symbols: list[str], **query: Any) -> dict[str, list[Any]]:
        """The rows of each symbol."""
        with self._connected() as ask:
            if ":symbol" not in (self._query or ":symbol"):
                return self._by_symbol(ask(self._statement, query), symbols)
            found: dict[str, list[Any]] = {}
            for symbol in symbols:
                found[symbol] = plain_rows(ask(self._statement, {**query, "symbol": symbol}))
            return found

    def _by_symbol(self, rows: list[Any], symbols: list[str]) -> dict[str, list[Any]]:
        """All rows of a query; those of symbols that nobody asked for are left out."""
        name = self._fields.get("symbol", "symbol")
        if (
            len(symbols) == 1
            and name not in self._fields.values()
            and not any(name in row for row in rows)
        ):
            return {symbols[0]: plain_rows(rows)}
        found: dict[str, list[Any]] = {symbol: [] for symbol in symbols}
        for row in rows:
            if name not in row:
                raise SqlFailedError(
                    "malformed",
                    f"the query has no column {name!r}, and several symbols are asked for",
                    retryable=False,
                )
            found.get(str(row[name]).strip(), []).append(row)  # char(8) is padded
        return {symbol: plain_rows(each) for symbol, each in found.items()}

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        match self._engine:
            case "sqlite":
                connected = self._sqlite()
            case "postgresql":
                connected = self._postgresql()
            case _:
                connected = self._duckdb()
        with connected as ask:
            yield ask

    def _file(self) -> Path:
        path = Path(self._place)
        if not path.is_file():
            raise SqlFailedError("connect", f"there is no file {path}")
        return path

    @contextmanager
    def _sqlite(self) -> Iterator[Any]:
        address = self._file().absolute().as_uri() + "?mode=ro"
        ends = time.monotonic() + self._seconds
        try:
            with closing(sqlite3.connect(address, timeout=self._seconds / 2, uri=True)) as opened:
                opened.execute("PRAGMA query_only = 1")
                opened.set_progress_handler(lambda: time.monotonic() > ends, _PROGRESS_STEPS)

                def ask(statement: str, values: Mapping[str, Any]) -> list[Any]:
                    cursor = opened.execute(statement, values)
                    if cursor.description is None:
                        raise SqlFailedError("error", _NO_SELECT, retryable=False)
                    return _named(cursor.description, cursor.fetchall())

                yield ask
        except sqlite3.OperationalError as error:
            text = str(error)
            if "locked" in text:
                said = f"another program has it locked (waited {self._seconds / 2:.0f} s)"
                raise SqlFailedError("timeout", said) from None
            if "interrupted" in text:
                raise self._too_slow() from None
            raise SqlFailedError("error", text, retryable=False) from None
        except sqlite3.ProgrammingError:
            raise SqlFailedError("error", _NO_SELECT, retryable=False) from None
        except sqlite3.DatabaseError as error:
            raise SqlFailedError("malformed", f"{self._place}: {error}") from None

    @contextmanager
    def _duckdb(self) -> Iterator[Any]:
        import duckdb

        is_parquet = self._engine == "parquet"
        place = ":memory:" if is_parquet else str(self._file())
        try:
            with duckdb.connect(
                place, read_only=not is_parquet, config={"threads": 1, "memory_limit": "500MB"}
            ) as opened:
                if is_parquet:
                    quoted = self._place.replace("'", "''")
                    opened.execute(f"CREATE VIEW bars AS FROM read_parquet('{quoted}')")
                kinds = [each.type for each in opened.extract_statements(self._statement)]
                if kinds != [duckdb.StatementType.SELECT]:
                    raise SqlFailedError("error", _NO_SELECT, retryable=False)

                def ask(statement: str, values: Mapping[str, Any]) -> list[Any]:
                    wanted = {k: v for k, v in values.items() if f"${k}" in statement}
                    found = opened.sql(statement, params=wanted)
                    # Moments as numbers: their Python form needs a library that is not here.
                    columns = [
                        f'epoch_ms("{name}") AS "{name}"'
                        if "WITH TIME ZONE" in str(kind)
                        else f'"{name}"'
                        for name, kind in zip(found.columns, found.types, strict=True)
                    ]
                    shown = found.project(", ".join(columns))
                    return _named([(name,) for name in shown.columns], shown.fetchall())

                yield ask
        except duckdb.Error as error:
            text = str(error).splitlines()[0]
            if "Could not set lock" in text:
                text = "another program has the file open for writing"
                raise SqlFailedError("connect", text) from None
            if type(error).__name__ in _DUCKDB_MISTAKES:
                raise SqlFailedError("error", text, retryable=False) from None
            raise SqlFailedError("malformed", text) from None

    @contextmanager
    def _postgresql(self) -> Iterator[Any]:
        try:
            import psycopg
            from psycopg.rows import dict_row
        except ImportError:
            raise SqlFailedError(
                "error",
                "PostgreSQL needs psycopg: pip install 'quant-exporter[postgresql]'",
                retryable=False,
            ) from None
        limit = round(self._seconds * 1000)
        try:
            with psycopg.connect(
                self._place, password=self._password or None, autocommit=True,
                connect_timeout=max(2, round(self._seconds / 2)), row_factory=dict_row,
                application_name="quant-exporter",
                options=f"-c statement_timeout={limit} -c default_transaction_read_only=on",
            ) as opened:  # fmt: skip

                def ask(statement: str, values: Mapping[str, Any]) -> list[Any]:
                    return list(opened.execute(statement.encode(), values).fetchall())

                yield ask
        except psycopg.errors.QueryCanceled:
            raise self._too_slow() from None
        except psycopg.errors.InsufficientPrivilege as error:
            text = f"{str(error).splitlines()[0]}: GRANT SELECT ON it to this user"
            raise SqlFailedError("auth", text) from None
        except psycopg.OperationalError as error:
            text = " ".join(str(error).split())
            denied = "password" in text or "authentication" in text or "no pg_hba" in text
            raise SqlFailedError("auth" if denied else "connect", text) from None
        except psycopg.Error as error:
            text = str(error).splitlines()[0]
            raise SqlFailedError("error", text, retryable=False) from None

    def _too_slow(self) -> SqlFailedError:
        text = f"no answer within {self._seconds:.0f} s: is there an index on symbol and time?"
        return SqlFailedError("timeout", text)


def _newest_rows(table: str, fields: Mapping[str, str], engine: str) -> str:
    def quoted(name: str) -> str:
        # SQLite takes a name in "…" that it does not know for a text.
        sign = "`" if engine == "sqlite" else '"'
        return sign + name.replace(sign, 2 * sign) + sign

    name = ".".join(quoted(part) for part in table.split("."))
    symbol, at = (quoted(fields.get(each, each)) for each in ("symbol", "time"))
    columns = ", ".join(quoted(column) for column in fields.values()) or "*"
    return (
        f"SELECT {columns} FROM {name} WHERE {symbol} = :symbol AND {at} IS NOT NULL "  # noqa: S608
        f"ORDER BY {at} DESC LIMIT :limit"
    )


def _written_for(engine: str, query: str) -> str:
    """With parameters as the engine's driver wants them; texts and comments stay as they are."""
    form = {"sqlite": r":\1", "postgresql": r"%(\1)s"}.get(engine, r"$\1")
    parts = _QUOTED.split(query)
    if engine == "postgresql":
        parts = [part.replace("%", "%%") for part in parts]
    return "".join(
        part if place % 2 else _PARAMETER.sub(form, part) for place, part in enumerate(parts)
    )


def _named(description: Any, rows: Sequence[Any]) -> list[Any]:
    names = [column[0] for column in description or ()]
    return [dict(zip(names, row, strict=True)) for row in rows]
