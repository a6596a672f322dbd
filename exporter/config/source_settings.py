"""The section on sources: what every source has, and the keys of each type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from exporter.config.types import Model, Url, Variable
from exporter.util.units import Duration

SourceType = Literal["tickdb", "simulated"]


class SourceSettings(Model):
    """Where market data comes from: the keys that every type has."""

    type: SourceType
    requests_per_minute: int = Field(60, ge=1, le=100_000)
    retries: int = Field(3, ge=0, le=10)
    negative_prices: tuple[str, ...] = ()

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
    seed: int = 1

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


class _TypeAlone(Model):
    """For a source whose type is unknown: then nobody knows which keys it may have."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    type: SourceType


_BY_TYPE: dict[str, type[SourceSettings]] = {"tickdb": TickDBSettings, "simulated": TickDBSettings}


def source_model(body: Any) -> type[Model]:
    """The model of the source's type."""
    kind = body.get("type") if isinstance(body, dict) else None
    return _BY_TYPE.get(kind, _TypeAlone) if isinstance(kind, str) else _TypeAlone


def _of_its_type(value: Any) -> Any:
    return source_model(value).model_validate(value) if isinstance(value, dict) else value


AnySource = Annotated[SourceSettings, BeforeValidator(_of_its_type)]
"""A source of whatever type."""
