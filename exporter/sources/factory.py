"""From a source's settings to the source."""

from __future__ import annotations

import os
from collections.abc import Mapping

from exporter.config import SourceSettings, TickDBSettings
from exporter.metrics import Metrics
from exporter.sources.api_key import read_key
from exporter.sources.base import WatchedSource
from exporter.sources.tickdb import TickDB
from exporter.util.clock import Clock


def open_source(
    name: str,
    settings: SourceSettings,
    metrics: Metrics,
    clock: Clock,
    *,
    simulator_url: str | None = None,
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
            return TickDB(
                name, settings, read_key(name, settings, environ), metrics, clock, url=url
            )
    raise ValueError(f"sources.{name}: unknown type {settings.type}")


def read_secrets(name: str, settings: SourceSettings, environ: Mapping[str, str]) -> None:
    """Read what the source needs and throw it away: whether it could be opened. Raises
    :class:`~exporter.config.secret_values.SecretMissingError`."""
    match settings:
        case TickDBSettings():
            read_key(name, settings, environ)
