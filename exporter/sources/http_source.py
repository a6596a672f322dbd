"""``type: http``: bars from an address that answers JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from exporter.config.source_settings import HttpSettings
from exporter.sources.answer_text import reason_in, said_by
from exporter.sources.api_key import Key
from exporter.sources.envelope import asked_pause, by_status
from exporter.sources.parse import malformed
from exporter.sources.retry import aside
from exporter.sources.row_layout import RowLayout, along
from exporter.sources.rows_source import Query
from exporter.sources.transport import RawAnswer, Transport
from exporter.util.clock import Clock
from exporter.util.proxy import proxy_for

_NOTHING = 204
"""How some say that there are no bars."""
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class HttpReader:
    """A :class:`~.rows_source.RowReader`. The address and the headers may hold secrets: neither is
    ever shown."""

    def __init__(self, settings: HttpSettings, secrets: Mapping[str, str], clock: Clock) -> None:
        self.batch = settings.symbols_per_request
        self._settings, self._secrets, self._clock = settings, secrets, clock
        self._layout = RowLayout.of(settings)
        self._key = Key("", *secrets.values())
        self._headers = {
            header: _PLACEHOLDER.sub(lambda found: secrets[found[1]], text)
            for header, text in settings.headers.items()
        }
        parts = urlsplit(settings.url)
        origin = f"{parts.scheme}://{parts.netloc}"
        self._path = settings.url.removeprefix(origin)
        self._transport = Transport(
            origin, self._key, settings.connect_timeout, settings.timeout,
            proxy_for(origin, settings.proxy, os.environ),
        )  # fmt: skip

    async def rows(self, query: Query) -> tuple[Mapping[str, Any], bool]:
        """The rows of one answer. Raises :class:`SourceError`."""

        async def is_large() -> None:
            return

        raw = await self._transport.ask("GET", self._filled(query), {}, self._headers, is_large)
        found = await aside(raw.is_large, self._read, raw, query.symbols)
        return found, raw.is_large

    def _filled(self, query: Query) -> str:
        """The path with its placeholders replaced; texts are quoted as an address wants them."""
        values = {
            "symbol": query.symbols[0],
            "symbols": ",".join(query.symbols),
            "interval": query.interval,
            "limit": str(query.limit),
            "start": self._moment(query.start),
            "end": self._moment(query.end),
            **self._secrets,
        }
        return _PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=",-:"), self._path)

    def _moment(self, at: float) -> str:
        match self._settings.ask_time:
            case "ms":
                return str(round(at * 1000))
            case "s":
                return str(round(at))
            case "iso":
                return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")

    def _read(self, raw: RawAnswer, symbols: tuple[str, ...]) -> dict[str, Any]:
        if raw.status == _NOTHING:
            return {symbol: [] for symbol in symbols}
        if raw.status != 200:
            text = f"HTTP {raw.status}"
            if 300 <= raw.status < 400 and "Location" in raw.headers:
                text += ": the server redirects, and secrets are not sent elsewhere; correct `url`"
            elif said := said_by(raw.body):
                text += f": {self._key.redact(said)}"
            raise by_status(raw.status, text, asked_pause(raw.headers, None, self._clock.now()))
        if self._settings.format == "csv":
            return self._by_symbol(self._csv(raw), symbols)
        data = _json(raw)
        path = self._settings.rows
        if "{symbol}" not in path:
            return self._by_symbol(self._or_none(self._part(data, path), data), symbols)
        found = {}
        for symbol in symbols:
            try:
                found[symbol] = self._or_none(along(data, path, symbol), data)
            except LookupError:
                continue  # the answer leaves it out
        return found

    def _csv(self, raw: RawAnswer) -> list[Any]:
        try:
            text = bytes(raw.body).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise malformed(f"HTTP 200, but no CSV in UTF-8: {_kind(raw)}") from None
        if text.lstrip().startswith("<"):
            raise malformed(f"HTTP 200, but no CSV: {_kind(raw)}")
        rows = csv.reader(io.StringIO(text))
        try:
            if any(isinstance(name, int) for name in self._settings.fields.values()):
                return [*rows]
            header = next(rows, [])
            if not header:
                raise malformed("HTTP 200, but nothing in it: not even a line of names")
            time = str(self._settings.fields.get("time", "time"))
            if time.lower() not in (name.strip().lower() for name in header):
                raise malformed(f"HTTP 200, but its line of names has no `{time}`: is it an error?")
            return [dict(zip(header, row, strict=False)) for row in rows if row]
        except csv.Error as error:
            raise malformed(f"HTTP 200, but no CSV: {error}") from None

    def _by_symbol(self, rows: Any, symbols: tuple[str, ...]) -> dict[str, Any]:
        """Rows of one symbol, or rows that name theirs."""
        if len(symbols) == 1 and "symbol" not in self._settings.fields:
            if not isinstance(rows, list) and (said := reason_in(rows)):
                text = f"expected a list of bars, and the answer says: {self._key.redact(said)}"
                raise malformed(text)
            if not isinstance(rows, list) or self._are_of(rows, symbols[0]):
                return {symbols[0]: rows}
        if not isinstance(rows, list):
            raise malformed("the answer has no list of rows: correct `rows`")
        found: dict[str, Any] = {symbol: [] for symbol in symbols}
        for row in rows:
            symbol = self._layout.symbol(row)
            if not isinstance(symbol, str):
                raise malformed("a row names no symbol: `fields` says where it is: {symbol: s}")
            if symbol in found:
                found[symbol].append(row)
        if rows and not any(found.values()):
            name = self._key.redact(self._layout.symbol(rows[0]))[:40]
            raise malformed(
                f"its rows are of {name!r}, and not of a symbol that was asked for: the source's "
                "`symbols` says what it calls them"
            )
        return found

    def _part(self, data: Any, path: str) -> Any:
        try:
            return along(data, path)
        except LookupError as error:
            text = f"the answer has no `{error.args[0]}`"
            said = self._key.redact(reason_in(data))[:200]
            why = f" and says: {said}" if said else ": is it an error, or is `rows` wrong?"
        raise malformed(text + why)

    def _or_none(self, rows: Any, data: Any) -> Any:
        """No bars where the list of them is null, as Alpaca has it outside trading hours; null next
        to a text is an error."""
        if rows is not None:
            return rows
        if said := reason_in(data):
            raise malformed(f"the answer has no bars and says: {self._key.redact(said)[:200]}")
        return []

    def _are_of(self, rows: list[Any], symbol: str) -> bool:
        """Whether none of the rows names another symbol; one name may be part of the other, as in
        BINANCE:BTCUSDT."""
        names = {name for row in rows if isinstance(name := self._layout.symbol(row), str)}
        wanted, plain = _letters(symbol), {_letters(name) for name in names}
        return len(plain) < 2 and all(name in wanted or wanted in name for name in plain)

    async def close(self) -> None:
        """End all connections."""
        await self._transport.close()


def _json(raw: RawAnswer) -> Any:
    body = bytes(raw.body).removeprefix(b"\xef\xbb\xbf")
    try:
        return orjson.loads(body)
    except ValueError as error:
        problem = str(error)
    if not raw.is_large:
        # NaN for the bar that is forming, and UTF-16: the standard library reads them.
        with suppress(ValueError, RecursionError):
            return json.loads(body)
    said = "" if "text/html" in _kind(raw) or b"<" in body[:10] else f" ({problem})"
    raise malformed(f"HTTP 200, but no JSON: {_kind(raw)}{said}")


def _letters(symbol: str) -> str:
    return re.sub(r"[\W_]", "", symbol).upper()


def _kind(raw: RawAnswer) -> str:
    declared = raw.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    kind = declared if re.fullmatch(r"[a-z]+/[a-z0-9.+-]{1,40}", declared) else "unknown type"
    return f"{len(raw.body)} bytes of {kind}"
