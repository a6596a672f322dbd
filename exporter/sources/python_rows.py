"""The user's callable at work, in a process of its own: what it returned becomes plain rows.

Runs in the child of :mod:`exporter.util.helper_process`; :mod:`.python_source` is the exporter's
side.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

ARGUMENTS = ("symbols", "symbol", "interval", "start", "end", "limit")
"""What a callable may ask for, by the names of its parameters."""
METHOD = "bars"
"""Of a class: what is called."""


class BadAnswerError(Exception):
    """What the callable returned is not bars; the text says what it should be."""

    reason = "malformed"
    retryable = True


class UnfitCallableError(Exception):
    """The callable cannot be called so; the text says what to write."""

    reason = "error"
    retryable = False


class PythonRows:
    """Calls ``module:callable``; a class is made once, with the source's `params`."""

    def __init__(self, run: str, code: Sequence[str], params: Mapping[str, Any]) -> None:
        sys.path[:0] = code
        module, _, name = run.partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
        if inspect.isclass(found):
            function = getattr(found(**params), METHOD, None)
            if function is None:
                raise UnfitCallableError(f"the class {name} has no method `{METHOD}`")
            self._function, params = function, {}
        else:
            self._function = found
        self._wanted = _wanted(self._function, params, run)
        self._params = {name: value for name, value in params.items() if name in self._wanted}

    def __call__(self, symbols: list[str], **query: Any) -> Any:
        """The rows of each symbol. A coroutine when the callable is one."""
        given = {**self._params, **query, "symbols": symbols}
        if "symbol" not in self._wanted:
            calls = [(given, symbols)]
        else:
            calls = [({**given, "symbol": symbol}, [symbol]) for symbol in symbols]
        if inspect.iscoroutinefunction(self._function):
            return self._later(calls)
        return _joined(rows_of(self._call(given), asked) for given, asked in calls)

    def _call(self, given: Mapping[str, Any]) -> Any:
        return self._function(**{k: v for k, v in given.items() if k in self._wanted})

    async def _later(self, calls: list[tuple[dict[str, Any], list[str]]]) -> dict[str, list[Any]]:
        return _joined([rows_of(await self._call(given), asked) for given, asked in calls])


def _joined(parts: Iterable[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    return {symbol: rows for part in parts for symbol, rows in part.items()}


def _wanted(function: Callable[..., Any], params: Mapping[str, Any], run: str) -> frozenset[str]:
    """The names by which the function takes something."""
    found: set[str] = set()
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return frozenset((*ARGUMENTS, *params, *found)) - {"symbol"}
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise UnfitCallableError(f"{run} takes {name} by its place: take arguments by name")
        if name in ARGUMENTS or name in params:
            found.add(name)
        elif parameter.default is inspect.Parameter.empty:
            raise UnfitCallableError(
                f"{run} needs {name!r}, which is neither one of {', '.join(ARGUMENTS)} nor in "
                "`params`"
            )
    if not found & {"symbols", "symbol"}:
        raise UnfitCallableError(f"{run} takes neither `symbols` nor `symbol`")
    return frozenset(found)


def rows_of(value: Any, symbols: Sequence[str]) -> dict[str, list[Any]]:
    """Whatever a callable may return, as rows by symbol: bars of one symbol, bars that name their
    symbol, or either of them by symbol. Raises :class:`BadAnswerError`."""
    if value is None:
        raise BadAnswerError("it returned None: return bars, or an empty list when there are none")
    if isinstance(value, Mapping) and not _is_row(value):
        return {str(symbol): plain_rows(rows) for symbol, rows in value.items()}
    rows = plain_rows(value)
    named = [row.get("symbol") if isinstance(row, dict) else None for row in rows]
    if len(symbols) == 1 and all(name in (None, symbols[0]) for name in named):
        return {symbols[0]: rows}
    found: dict[str, list[Any]] = {symbol: [] for symbol in symbols}
    for name, row in zip(named, rows, strict=True):
        if name is None:
            raise BadAnswerError(
                f"{len(symbols)} symbols were asked for and a bar names none: return bars by "
                "symbol, give each a `symbol`, or take `symbol` to be called once for each"
            )
        if name in found:  # what nobody asked for is left out, as in other sources
            found[name].append(row)
    if rows and not any(found.values()):
        raise BadAnswerError(
            f"its bars are of {str(named[0])[:40]!r}, and not of a symbol that was asked for: "
            "the source's `symbols` says what it calls them"
        )
    return found


def _is_row(value: Mapping[Any, Any]) -> bool:
    return "time" in value


def plain_rows(value: Any) -> list[Any]:
    """Rows of one answer: dicts and lists of plain values. Raises :class:`BadAnswerError`."""
    if hasattr(value, "columns") and hasattr(value, "itertuples"):
        return _of_frame(value)
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise BadAnswerError(
            f"it returned a {type(value).__name__}: return a list of bars or a data frame"
        )
    return [_row(row) for row in value]


def _of_frame(frame: Any) -> list[Any]:
    if getattr(frame.columns, "nlevels", 1) > 1:
        raise BadAnswerError(
            "its data frame has columns on several levels: return one for each symbol"
        )
    if type(frame.index).__name__ != "RangeIndex":
        names = [name or "time" for name in frame.index.names]
        if type(frame.index).__name__ == "DatetimeIndex":
            names = ["time"]
        frame = frame.rename_axis(names)
        frame = frame.drop(columns=[n for n in names if n in frame.columns]).reset_index()
    columns = [str(name).lower() for name in frame.columns]
    return [
        {name: _plain(value) for name, value in zip(columns, row, strict=True)}
        for row in frame.itertuples(index=False, name=None)
    ]


def _row(row: Any) -> Any:
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        fields = [field.name for field in dataclasses.fields(row)]
        named = {name: getattr(row, name) for name in fields}
    elif hasattr(row, "_asdict"):
        named = row._asdict()
    elif isinstance(row, Mapping):
        named = dict(row)
    elif isinstance(row, list | tuple):
        return [_plain(value) for value in row]
    elif hasattr(row, "__dict__"):  # a model of a library, such as pydantic's
        named = vars(row)
    else:
        raise BadAnswerError(
            f"a bar is a {type(row).__name__}: return dicts, tuples or dataclasses"
        )
    if "start" in named and "time" not in named:  # exporter.tasks.Bar
        named["time"] = named["start"]
    return {str(name): _plain(value) for name, value in named.items()}


def _plain(value: Any) -> Any:
    """As JSON has it: moments as ISO 8601, decimals and the numbers of numpy as numbers."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if hasattr(value, "item"):
        return _plain(value.item()) if type(value.item()) is not type(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return str(value)
