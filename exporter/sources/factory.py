"""From a source's settings to the source."""

from __future__ import annotations

import os
from collections.abc import Mapping

from exporter.config import SourceSettings
from exporter.metrics import Metrics
from exporter.sources.api_key import read_key
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
) -> TickDB:
    """The source called `name`. Nothing is sent yet; call :meth:`TickDB.close` at the end.

    A simulated source without its own `url` talks to `simulator_url`, where the embedded
    simulator listens. Raises :class:`~exporter.config.secret_values.SecretMissingError`.
    """
    url = settings.url or simulator_url
    if url is None:
        raise ValueError(f"sources.{name}: a simulated source needs a simulator to speak to")
    return TickDB(name, settings, read_key(name, settings, environ), metrics, clock, url=url)
