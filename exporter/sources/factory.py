"""From a source's settings to the source."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter.config import Config, SourceSettings, TickDBSettings
from exporter.config.source_settings import (
    HttpSettings,
    PushSettings,
    PythonSettings,
    SqlSettings,
)
from exporter.metrics import Metrics
from exporter.sources.api_key import Key, read_key
from exporter.sources.base import WatchedSource
from exporter.sources.http_source import HttpReader
from exporter.sources.push_source import PushSource
from exporter.sources.python_source import python_reader, read_named_secrets
from exporter.sources.rows_source import RowsSource
from exporter.sources.sql_source import read_sql_secrets, sql_reader
from exporter.sources.tickdb import TickDB
from exporter.util.clock import Clock


@dataclass(frozen=True)
class Surroundings:
    """What sources find around them: the folders with the user's modules, and which variables of
    the environment are not for the user's code."""

    code: tuple[Path, ...] = ()
    hidden: frozenset[str] = frozenset()

    @classmethod
    def of(cls, config: Config) -> Surroundings:
        """As the config says."""
        secrets = (name for each in config.sources.values() for name in each.secret_variables())
        return cls(config.code, frozenset(secrets))


def open_source(
    name: str,
    settings: SourceSettings,
    metrics: Metrics,
    clock: Clock,
    *,
    simulator_url: str | None = None,
    around: Surroundings = Surroundings(),
    environ: Mapping[str, str] = os.environ,
) -> WatchedSource:
    """The source called `name`. Nothing is sent yet; call its `close` at the end.

    A simulated source without its own `url` talks to `simulator_url`, where the embedded
    simulator listens. Raises :class:`~exporter.config.secret_values.SecretMissingError`.
    """
    match settings:
        case TickDBSettings():
            url = settings.url or simulator_url
            if url is None:
                raise ValueError(f"sources.{name}: a simulated source needs a simulator")
            key = read_key(name, settings, environ)
            return TickDB(name, settings, key, metrics, clock, url=url)
        case PythonSettings():
            secrets = read_named_secrets(name, settings, environ)
            environment = _without(environ, around.hidden) | secrets
            redact = Key("", *secrets.values()).redact
            reader = python_reader(name, settings, around.code, environment, redact)
            return RowsSource(name, settings, reader, metrics, clock)
        case HttpSettings():
            secrets = read_named_secrets(name, settings, environ)
            return RowsSource(name, settings, HttpReader(settings, secrets, clock), metrics, clock)
        case SqlSettings():
            address, password = read_sql_secrets(name, settings, environ)
            environment = _without(environ, around.hidden)
            redact = Key("", address, password).redact
            helped = sql_reader(
                name, settings, address=address, password=password,
                environment=environment, redact=redact,
            )  # fmt: skip
            return RowsSource(name, settings, helped, metrics, clock)
        case PushSettings():
            return PushSource(name, settings, metrics, clock)
    raise ValueError(f"sources.{name}: unknown type {settings.type}")


def read_secrets(name: str, settings: SourceSettings, environ: Mapping[str, str]) -> None:
    """Read what the source needs and throw it away: whether it could be opened. Raises
    :class:`~exporter.config.secret_values.SecretMissingError`."""
    match settings:
        case TickDBSettings():
            read_key(name, settings, environ)
        case PythonSettings() | HttpSettings():
            read_named_secrets(name, settings, environ)
        case SqlSettings():
            read_sql_secrets(name, settings, environ)


def _without(environ: Mapping[str, str], hidden: Iterable[str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in hidden}
