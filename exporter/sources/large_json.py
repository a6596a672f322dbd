"""Large answers: bars are parsed a hundred at a time, so that nothing else waits for long.

A JSON parser holds Python's global lock until it is done, and makes 15 MB of bars ten times as
large. So bars are cut out of the text first, by where each flat object ends, and are parsed when
somebody iterates over them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from typing import Any

import orjson

from exporter.sources.base import SourceError
from exporter.util.give_way import GiveWay

LARGEST_REST_BYTES = 1_000_000
"""Of an answer without its bars."""
_PIECE_BYTES = 30_000
_KLINES = b'"klines"'
_OPEN = re.compile(rb"\s*:\s*\[\s*")
_NEXT = re.compile(rb"\s*,\s*")
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_FLAT = rb'\{[^{}\[\]"]*(?:' + _STRING + rb'[^{}\[\]"]*)*\}'
_RUN = re.compile(rb"%b(?:\s*,\s*%b)*" % (_FLAT, _FLAT), re.DOTALL)
_MARK = "$rows"


class Rows:
    """The bars of one symbol, parsed while iterated over."""

    def __init__(
        self, body: bytes | bytearray, parts: Sequence[Any], runs: Set[tuple[int, int]]
    ) -> None:
        self._body, self._parts, self._runs = body, parts, runs

    def __iter__(self) -> Iterator[Any]:
        """Each row. Raises :class:`SourceError` where the text is not JSON."""
        give_way = GiveWay()
        for part in self._parts:
            span = part.get(_MARK) if isinstance(part, dict) else None
            if isinstance(span, list) and tuple(span) in self._runs:
                for row in self._parsed(*span):
                    yield row
                    give_way()
            else:
                yield part
                give_way()

    def _parsed(self, start: int, end: int) -> Any:
        try:
            return orjson.loads(b"[" + self._body[start:end] + b"]")
        except ValueError:
            raise SourceError("malformed", "the answer is not JSON", retryable=True) from None


def load(body: bytes | bytearray) -> Any:
    """The JSON value, with :class:`Rows` for the ``klines`` of ``data``.

    Raises :class:`ValueError` for what is not JSON, and :class:`SourceError` when too much of it is
    something other than bars.
    """
    rest, runs = _without_bars(body)
    if len(rest) > LARGEST_REST_BYTES:
        size = LARGEST_REST_BYTES // 10**6
        raise SourceError(
            "malformed", f"more than {size} MB of the answer are not bars", retryable=True
        )
    value = orjson.loads(rest)
    data = value.get("data") if isinstance(value, dict) else None
    for entry in data if isinstance(data, list) else [data]:
        if isinstance(entry, dict) and isinstance(entry.get("klines"), list):
            entry["klines"] = Rows(body, entry["klines"], runs)
    return value


def _without_bars(body: bytes | bytearray) -> tuple[bytearray, set[tuple[int, int]]]:
    """The text with a mark in place of each run of bars, and where in the body these are."""
    rest = bytearray()
    runs = set()
    done = 0
    give_way = GiveWay()
    while (found := body.find(_KLINES, done)) >= 0:
        opened = _OPEN.match(body, found + len(_KLINES))
        at = opened.end() if opened else found + len(_KLINES)
        rest += body[done:at]
        done = at
        while opened and (run := _RUN.match(body, at, at + _PIECE_BYTES)):
            give_way()
            runs.add(run.span())
            rest += b'{"%b":[%d,%d]}' % (_MARK.encode(), *run.span())
            done = run.end()
            comma = _NEXT.match(body, done)
            if not comma or not body.startswith(b"{", comma.end()):
                break
            rest += b","
            at = done = comma.end()
    return rest + body[done:], runs
