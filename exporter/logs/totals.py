"""How many requests were sent, said in the log: only what fails has a line of its own there, and a
digest needs both for a share."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict

from exporter.clock import Clock
from exporter.metrics import Metrics

PERIOD_SECONDS = 900.0
"""Every zone's midnight is at a multiple of this, so no line tells of two days."""
AHEAD_SECONDS = 1.0
"""Said just before the period ends: the line belongs to its day."""

log = logging.getLogger(__name__)


class FetchTotals:
    """Says every quarter of an hour what was asked of each source since the last time."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._requests = metrics.counter("quant_fetch_requests_total")
        self._failures = metrics.counter("quant_fetch_failures_total")
        self._retries = metrics.counter("quant_fetch_retries_total")
        self._clock = clock
        self._said: dict[tuple[str, str], tuple[int, int, int]] = {}

    async def run(self) -> None:
        """Until cancelled; what is not yet said then, :meth:`say` says."""
        while True:
            now = self._clock.now() + AHEAD_SECONDS
            await asyncio.sleep(PERIOD_SECONDS - now % PERIOD_SECONDS)
            self.say()

    def say(self) -> None:
        """One line for each endpoint that was asked since the last call."""
        for (source, endpoint), counts in sorted(self._counts().items()):
            before = self._said.get((source, endpoint), (0, 0, 0))
            # A source that a reload removed and brought back counts from zero.
            before = before if counts[0] >= before[0] else (0, 0, 0)
            self._said[source, endpoint] = counts
            requests, failed, retried = (new - old for new, old in zip(counts, before, strict=True))
            if requests:
                log.info(
                    "%s %s: %d requests, %d failed",
                    source,
                    endpoint,
                    requests,
                    failed,
                    extra={
                        "event": "fetch_totals",
                        "source": source,
                        "endpoint": endpoint,
                        "requests": requests,
                        "failed": failed,
                        "retried": retried,
                    },
                )

    def _counts(self) -> dict[tuple[str, str], tuple[int, int, int]]:
        """Requests, failures and retries of each source and endpoint since the start."""
        found: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        for place, counter in enumerate((self._requests, self._failures, self._retries)):
            for metric in counter.collect():
                for sample in metric.samples:
                    if sample.name.endswith("_total"):
                        key = sample.labels["source"], sample.labels["endpoint"]
                        found[key][place] += sample.value
        return {key: (int(r), int(f), int(t)) for key, (r, f, t) in found.items()}
