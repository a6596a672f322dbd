"""The exporter's logging alone: what pytest has attached to the root logger stays out of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from exporter.config import Logs
from exporter.logs.setup import Logging
from exporter.metrics import Metrics
from exporter.util.clock import Clock


@contextmanager
def own_log(settings: Logs, clock: Clock, zone: str = "America/New_York") -> Iterator[Logging]:
    """Started, and stopped at the end."""
    logs = Logging(settings, zone, clock, Metrics(CollectorRegistry()), terminal_fd=None)
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.handlers.clear()
    logs.start()
    try:
        yield logs
    finally:
        logs.stop()
        root.setLevel(level)
        root.handlers[:] = handlers
