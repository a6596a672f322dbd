"""The section on sources: what every source has, and the keys of each type."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    TypeAdapter,
    field_validator,
    model_validator,
)

from exporter.config.entry_points import target_of
from exporter.config.types import Interval, Model, Url, Variable, Zone
from exporter.util.units import Duration

_ADDRESS: TypeAdapter[str] = TypeAdapter(Url)
SourceType = Literal["tickdb", "simulated", "python", "http", "sql", "push"]


class SourceSettings(Model):
    """Where market data comes from: the keys that every type has."""

    type: SourceType
    requests_per_minute: int = Field(60, ge=1, le=100_000)
    retries: int = Field(3, ge=0, le=10)
    negative_prices: tuple[str, ...] = ()

    @property
    def symbols_per_request(self) -> int:
        """How many symbols one request can ask for."""
        return 50

    @property
    def has_tickers(self) -> bool:
        """Whether it knows bid and ask."""
        return False

    def secret_variables(self) -> Iterator[str]:
        """Environment variables that hold a secret of this source."""
        yield from ()

    def secret_files(self) -> Iterator[Path]:
        """Files that hold a secret of this source."""
        yield from ()

    def anchored(self, under: Callable[[Path | None], Path | None]) -> SourceSettings:
        """With relative paths made absolute by `under`."""
        return self


class TickDBSettings(SourceSettings):
    """TickDB, or the simulator that speaks as it does."""

    type: Literal["tickdb", "simulated"]
    url: Url | None = None
    api_key_env: Variable | None = None
    api_key_file: Path | None = None
    connect_timeout: Duration = 3.05
    read_timeout: Duration = 15.0
    proxy: Url | None = None
    stream_url: str | None = Field(None, pattern=r"^wss?://[^?#@]+$")
    stream_subscriptions: int = Field(5, ge=1, le=100_000)
    """Symbols on channels that the plan allows at a time."""
    seed: int = 1

    @property
    def has_tickers(self) -> bool:
        """It has an endpoint for them."""
        return True

    @model_validator(mode="after")
    def _tickdb_is_complete(self) -> TickDBSettings:
        if self.type == "tickdb":
            if not self.url:
                raise ValueError("a tickdb source needs `url`, such as https://api.tickdb.ai/v1")
            if bool(self.api_key_env) == bool(self.api_key_file):
                raise ValueError("the key needs exactly one of `api_key_env` and `api_key_file`")
        return self

    def secret_variables(self) -> Iterator[str]:
        """Where the key is."""
        if self.api_key_env:
            yield self.api_key_env

    def secret_files(self) -> Iterator[Path]:
        """Where the key is."""
        if self.api_key_file:
            yield self.api_key_file

    def anchored(self, under: Callable[[Path | None], Path | None]) -> TickDBSettings:
        """The key's file."""
        return self.model_copy(update={"api_key_file": under(self.api_key_file)})


BarField = Literal["symbol", "time", "open", "high", "low", "close", "volume"]


class RowsSettings(SourceSettings):
    """A source that answers with rows, of whatever origin: the keys that say how to read them."""

    symbols: Mapping[str, str] = {}
    """Our name of a symbol to the source's, where they differ."""
    intervals: Mapping[Interval, str] = {}
    """Our name of an interval to the source's; if given, no other intervals are allowed."""
    fields: Mapping[BarField, str | int] = {}
    """The row's name of each part of a bar; parts that are not named are unknown."""
    timezone: Zone | None = None
    """Of times without a zone."""
    time_format: str | None = None
    timeout: Duration = 30.0
    """Of one request."""
    lookback: Duration | None = None
    """How far back a request for the newest bars reaches; by default ten intervals."""
    batch: int = Field(50, ge=1, le=1000)

    @property
    def symbols_per_request(self) -> int:
        """As `batch` says."""
        return self.batch

    @field_validator("fields")
    @classmethod
    def _fields_have_a_time(
        cls, fields: Mapping[BarField, str | int]
    ) -> Mapping[BarField, str | int]:
        if fields and "time" not in fields:
            raise ValueError("`time` is missing: it names what says when the bar starts")
        return fields

    @field_validator("symbols")
    @classmethod
    def _symbols_differ(cls, symbols: Mapping[str, str]) -> Mapping[str, str]:
        twice = sorted({name for name in symbols.values() if [*symbols.values()].count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} stands for two symbols: keep one")
        return symbols


class PythonSettings(RowsSettings):
    """A callable of the user's that returns bars."""

    type: Literal["python"]
    run: str
    params: Mapping[str, Any] = {}
    secrets: tuple[Variable, ...] = ()
    """Variables or credentials of the exporter that the callable gets by these names."""

    @field_validator("run")
    @classmethod
    def _run_names_a_callable(cls, run: str) -> str:
        return target_of(run)

    def secret_variables(self) -> Iterator[str]:
        """Those that `secrets` names."""
        yield from self.secrets


class HttpSettings(RowsSettings):
    """An address that answers JSON or CSV."""

    type: Literal["http"]
    url: str
    format: Literal["json", "csv"] = "json"
    rows: str = ""
    """Where in the JSON the rows are: names and places, joined by dots."""
    headers: Mapping[str, str] = {}
    secrets: tuple[Variable, ...] = ()
    """Variables or credentials that `url` and `headers` name as ``{NAME}``."""
    ask_time: Literal["s", "ms", "iso", "date"] = "s"
    """How ``{start}`` and ``{end}`` are written."""
    connect_timeout: Duration = 3.05
    proxy: Url | None = None

    @field_validator("url")
    @classmethod
    def _url_is_an_address(cls, url: str) -> str:
        _ADDRESS.validate_python(re.split(r"[?{]", url)[0].rstrip("/"))
        return url

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> HttpSettings:
        known = {*self.secrets, "interval", "start", "end", "limit"}
        for key, text in (("url", self.url), *self.headers.items()):
            own = known | ({"symbol", "symbols"} if key == "url" else set())
            for name in re.findall(r"\{(\w+)\}", text):
                if name not in own:
                    raise ValueError(
                        f"{{{name}}} stands for nothing: name it in `secrets`, or write one of "
                        f"{', '.join(sorted(own))}"
                    )
        if not re.search(r"\{symbols?\}", self.url):
            raise ValueError("`url` names no symbol: write {symbol}, or {symbols} for a list")
        for header, text in self.headers.items():
            if re.search(r"auth|key|token|secret|cookie", header, re.I) and "{" not in text:
                raise ValueError(
                    f"the header {header} is a secret: write {{NAME}} and `secrets: [NAME]`, which "
                    "is a variable or a credential"
                )
        return self

    @property
    def symbols_per_request(self) -> int:
        """One, or as many as `batch` says."""
        return 1 if "{symbol}" in self.url else self.batch

    def secret_variables(self) -> Iterator[str]:
        """Those that `secrets` names."""
        yield from self.secrets


Engine = Literal["sqlite", "duckdb", "parquet", "postgresql"]
_ENGINES: Mapping[str, Engine] = {
    ".db": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite", ".duckdb": "duckdb",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


class SqlSettings(RowsSettings):
    """A table or a query of PostgreSQL, SQLite, DuckDB or Parquet files."""

    type: Literal["sql"]
    url: str | None = None
    url_env: Variable | None = None
    url_file: Path | None = None
    password_env: Variable | None = None
    password_file: Path | None = None
    file: Path | None = None
    table: str | None = Field(None, pattern=r"^\w+(\.\w+){0,2}$")
    query: str | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> SqlSettings:
        places = [key for key in ("file", "url", "url_env", "url_file") if getattr(self, key)]
        if len(places) != 1:
            raise ValueError(
                "a sql source needs exactly one of `file` (SQLite, DuckDB, Parquet) and `url`, "
                "`url_env` or `url_file` (PostgreSQL)"
            )
        if self.file and self.file.suffix.lower() not in _ENGINES:
            raise ValueError(f"`file` must end in one of {', '.join(_ENGINES)}")
        if self.url and not re.match(r"postgres(ql)?://", self.url):
            raise ValueError("`url` must begin with postgresql://; a file has `file`")
        if self.url and re.search(r"://[^/@]*:[^/@]*@|password=", self.url):
            raise ValueError("`url` has a password: use `password_env` or `password_file`")
        if self.engine == "parquet":
            if self.table:
                raise ValueError("Parquet files have no `table`: remove it; a `query` reads `bars`")
        elif bool(self.table) == bool(self.query):
            raise ValueError("a sql source needs exactly one of `table` and `query`")
        if any(isinstance(name, int) for name in self.fields.values()):
            raise ValueError("`fields` must name columns, not places")
        return self

    @property
    def engine(self) -> Engine:
        """By the end of the file's name, or PostgreSQL."""
        return _ENGINES[self.file.suffix.lower()] if self.file else "postgresql"

    def secret_variables(self) -> Iterator[str]:
        """Where address and password are."""
        yield from (name for name in (self.url_env, self.password_env) if name)

    def secret_files(self) -> Iterator[Path]:
        """Where address and password are."""
        yield from (file for file in (self.url_file, self.password_file) if file)

    def anchored(self, under: Callable[[Path | None], Path | None]) -> SqlSettings:
        """The file, and those of the secrets."""
        keys = ("file", "url_file", "password_file")
        return self.model_copy(update={key: under(getattr(self, key)) for key in keys})


class PushSettings(RowsSettings):
    """Bars come by `POST /api/v1/feeds/NAME/bars`."""

    type: Literal["push"]


class _TypeAlone(Model):
    """For a source whose type is unknown: then nobody knows which keys it may have."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    type: SourceType


_BY_TYPE: Mapping[str, type[SourceSettings]] = {
    "tickdb": TickDBSettings,
    "simulated": TickDBSettings,
    "python": PythonSettings,
    "http": HttpSettings,
    "sql": SqlSettings,
    "push": PushSettings,
}


def source_model(body: Any) -> type[Model]:
    """The model of the source's type."""
    kind = body.get("type") if isinstance(body, dict) else None
    return _BY_TYPE.get(kind, _TypeAlone) if isinstance(kind, str) else _TypeAlone


def _of_its_type(value: Any) -> Any:
    return source_model(value).model_validate(value) if isinstance(value, dict) else value


AnySource = Annotated[SerializeAsAny[SourceSettings], BeforeValidator(_of_its_type)]
"""A source of whatever type, of which a dump has all keys, too."""
