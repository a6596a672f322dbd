"""Logs how many requests were sent: only failures have a line of their own, and a digest needs both
to compute a share. What the patterns of followed files matched is logged the same way."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator

from prometheus_client import Counter

from exporter.metrics import Metrics
from exporter.util.clock import Clock

PERIOD_SECONDS = 900.0
"""Every zone's midnight is at a multiple of this, so no line covers two days."""
FAILING_SECONDS = 60.0
"""Failures are logged sooner: what is not logged yet is lost when the process is killed."""
AHEAD_SECONDS = 1.0
"""Logged just before the period ends: the line belongs to its day."""

log = logging.getLogger(__name__)


class FetchTotals:
    """Logs every quarter of an hour what each source was asked since the last time; for one that
    failed, every minute."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._requests = metrics.counter("quant_fetch_requests_total")
        self._failures = metrics.counter("quant_fetch_failures_total")
        self._matches = metrics.counter("quant_log_matches_total")
        self._clock = clock
        self._logged: dict[tuple[str, str], tuple[int, int]] = {}

    async def run(self) -> None:
        """Until cancelled; :meth:`log_totals` logs what is left then."""
        while True:
            seconds, everything = until_next(self._clock.now())
            await asyncio.sleep(seconds)
            self.log_totals(only_failing=not everything)

    def log_totals(self, *, only_failing: bool = False) -> None:
        """One line for each endpoint that was asked, or that failed, since its last one."""
        for (source, endpoint), counts in sorted(self._counts().items()):
            before = self._logged.get((source, endpoint), (0, 0))
            # A source that a reload removed and brought back counts from zero.
            before = before if counts[0] >= before[0] else (0, 0)
            requests, failed = counts[0] - before[0], counts[1] - before[1]
            if only_failing and not failed:
                continue
            self._logged[source, endpoint] = counts
            if requests:
                log.info(
                    "%s %s: %d requests, %d failed", source, endpoint, requests, failed,
                    extra={
                        "event": "fetch_totals", "source": source, "endpoint": endpoint,
                        "requests": requests, "failed": failed,
                    },
                )  # fmt: skip

    def _counts(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Requests and failures of each source and endpoint since the start."""
        found: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for labels, value in _samples(self._requests):
            found[labels["source"], labels["endpoint"]][0] += value
        for labels, value in _samples(self._failures):
            found[labels["source"], labels["endpoint"]][1] += value
        for labels, value in _samples(self._matches):
            if labels["pattern"] in ("fetch_ok", "fetch_failed"):
                counts = found[labels["file"], "(log file)"]
                counts[0] += value
                counts[1] += value if labels["pattern"] == "fetch_failed" else 0.0
        return {key: (int(requests), int(failed)) for key, (requests, failed) in found.items()}


def until_next(now: float) -> tuple[float, bool]:
    """Seconds from `now` until the next lines, and whether all sources are due then."""
    minute = (now + AHEAD_SECONDS) // FAILING_SECONDS + 1
    everything = minute % (PERIOD_SECONDS / FAILING_SECONDS) == 0
    return minute * FAILING_SECONDS - AHEAD_SECONDS - now, everything


def _samples(counter: Counter) -> Iterator[tuple[dict[str, str], float]]:
    for metric in counter.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                yield sample.labels, sample.value
