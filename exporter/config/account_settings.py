"""The keys of `equity:` of a strategy: which account says it, and how that is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from exporter.config.entry_points import target_of
from exporter.config.types import Model, Url, Variable
from exporter.util.units import Duration

AccountKind = Literal["alpaca", "freqtrade", "ib_flex", "sql", "python", "ccxt"]

_COMMON = frozenset(("from", "every", "retries", "requests_per_minute"))
_WEB = frozenset(("url", "connect_timeout", "read_timeout", "proxy"))
_KEY = frozenset(("key_env", "key_file"))
_SECRET = frozenset(("secret_env", "secret_file"))
_ALLOWED: Mapping[str, frozenset[str]] = {
    "alpaca": _WEB | _KEY | _SECRET,
    "freqtrade": _WEB | _KEY | _SECRET,
    "ib_flex": _WEB | _KEY | {"query"},
    "sql": _SECRET | {"database", "query", "fills", "positions", "timeout"},
    "python": frozenset(("run", "params", "secrets", "timeout")),
    "ccxt": _KEY | _SECRET | {"exchange", "ignore", "params", "timeout"},
}
_NEEDED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "alpaca": (("key_env", "key_file"), ("secret_env", "secret_file")),
    "freqtrade": (("url",), ("key_env", "key_file"), ("secret_env", "secret_file")),
    "ib_flex": (("key_env", "key_file"), ("query",)),
    "sql": (("database",), ("query",)),
    "python": (("run",),),
    "ccxt": (("exchange",), ("key_env", "key_file"), ("secret_env", "secret_file")),
}
_USUAL_EVERY: Mapping[str, float] = {"ib_flex": 6 * 3600.0}


class AccountSettings(Model):
    """An account of a strategy; which keys it may have depends on `from`."""

    kind: AccountKind = Field(alias="from")
    every: Duration | None = None
    url: Url | None = None
    key_env: Variable | None = None
    """The key's id, the user's name, or a token."""
    key_file: Path | None = None
    secret_env: Variable | None = None
    """The key's secret, or the password."""
    secret_file: Path | None = None
    database: str | None = None
    query: str | None = None
    """SELECT of the equity; of Flex the query's number."""
    fills: str | None = None
    positions: str | None = None
    run: str | None = None
    params: Mapping[str, Any] = {}
    secrets: tuple[Variable, ...] = ()
    """Variables or credentials of the exporter that the callable gets by these names."""
    exchange: str | None = None
    """What ccxt calls it."""
    ignore: tuple[str, ...] = ()
    """Coins that do not count for the equity."""
    timeout: Duration = 60.0
    connect_timeout: Duration = 3.05
    read_timeout: Duration = 15.0
    proxy: Url | None = None
    retries: int = Field(3, ge=0, le=10)
    requests_per_minute: int = Field(60, ge=1, le=100_000)

    @model_validator(mode="before")
    @classmethod
    def _only_keys_of_its_kind(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("from") not in _ALLOWED:
            return data
        kind = data["from"]
        known = {name for keys in _ALLOWED.values() for name in keys}
        for name in data:
            if name in known and name not in _ALLOWED[kind] | _COMMON:
                raise ValueError(f"`from: {kind}` has no `{name}`: remove it")
        for names in _NEEDED[kind]:
            given = [name for name in names if data.get(name)]
            if len(given) != 1:
                wanted = (
                    f"one of `{names[0]}` and `{names[1]}`" if len(names) > 1 else f"`{names[0]}`"
                )
                raise ValueError(f"`from: {kind}` needs {wanted}")
        if data.get("secret_env") and data.get("secret_file"):
            raise ValueError("the secret needs one of `secret_env` and `secret_file`")
        return data

    @field_validator("run")
    @classmethod
    def _run_names_a_callable(cls, run: str | None) -> str | None:
        return None if run is None else target_of(run)

    @field_validator("database")
    @classmethod
    def _database_is_known(cls, database: str | None) -> str | None:
        if database is None or database.startswith(("sqlite:", "duckdb:", "postgresql://")):
            return database
        raise ValueError(
            f"unknown database {database!r}: write sqlite:FILE, duckdb:FILE (or duckdb: alone, to "
            "read Parquet files) or postgresql://user@host/name"
        )

    @property
    def every_seconds(self) -> float:
        """How often it is asked; by default every 5 minutes, a Flex statement every 6 hours."""
        return self.every or _USUAL_EVERY.get(self.kind, 300.0)

    def secret_variables(self) -> Iterator[str]:
        """Environment variables that hold a secret of this account."""
        yield from (name for name in (self.key_env, self.secret_env, *self.secrets) if name)

    def secret_files(self) -> Iterator[Path]:
        """Files that hold a secret of this account."""
        yield from (path for path in (self.key_file, self.secret_file) if path)

    def anchored(self, under: Callable[[Path | None], Path | None]) -> AccountSettings:
        """With relative paths made absolute by `under`."""
        database = self.database
        scheme, _, rest = (database or "").partition(":")
        if scheme in ("sqlite", "duckdb") and rest:
            database = f"{scheme}:{under(Path(rest))}"
        return self.model_copy(
            update={
                "key_file": under(self.key_file),
                "secret_file": under(self.secret_file),
                "database": database,
            }
        )
