"""A source of the user's own, opened as the exporter opens it, on a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from exporter.config.source_settings import source_model
from exporter.metrics import Metrics
from exporter.sources.factory import Surroundings, open_source
from exporter.sources.rows_source import RowsSource
from tests.unit.clocks import ManualClock

NOW = 1_790_000_000.0
MINUTE = NOW // 60 * 60


class OwnSource:
    """One source and its metrics."""

    def __init__(self, **settings: Any) -> None:
        given = {"retries": 0, "requests_per_minute": 6000, **settings}
        self.settings = source_model(given).model_validate(given)
        self.clock = ManualClock(NOW)
        self.metrics = Metrics(CollectorRegistry())
        self.slept: list[float] = []

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    @asynccontextmanager
    async def open(
        self,
        code: Path | None = None,
        environ: dict[str, str] | None = None,
        hidden: set[str] | None = None,
    ) -> AsyncIterator[RowsSource]:
        """The source; no pause before a retry really lasts."""
        around = Surroundings((code,) if code else (), frozenset(hidden or ()))
        environ = {"PATH": "/usr/bin:/bin", **(environ or {})}
        source = open_source(
            "mine", self.settings, self.metrics, self.clock, around=around, environ=environ
        )
        assert isinstance(source, RowsSource)
        source._requests._sleep = self._sleep
        try:
            yield source
        finally:
            await source.close()

    def value(self, name: str, **labels: str) -> float:
        """A sample's value; 0 for none."""
        return self.metrics.registry.get_sample_value(name, {"source": "mine", **labels}) or 0.0

    def failures(self, name: str = "quant_fetch_failures_total") -> dict[str, float]:
        """By reason, those above 0."""
        return {
            sample.labels["reason"]: sample.value
            for metric in self.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == name and sample.value and sample.labels["source"] == "mine"
        }
