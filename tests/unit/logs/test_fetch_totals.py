"""The log says how much was asked, so that a digest knows which share failed."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from exporter.logs.fetch_totals import FetchTotals, until_next
from exporter.metrics import Metrics
from tests.unit.clocks import ManualClock


def test_each_line_tells_of_the_time_since_the_last_one(caplog: pytest.LogCaptureFixture) -> None:
    """An endpoint that nobody asked has no line; one that starts anew counts from zero."""
    metrics = Metrics(CollectorRegistry())
    requests = metrics.counter("quant_fetch_requests_total")
    failures = metrics.counter("quant_fetch_failures_total")
    totals = FetchTotals(metrics, ManualClock())

    def said(*, only_failing: bool = False) -> list[tuple[str, int, int]]:
        caplog.clear()
        totals.log_totals(only_failing=only_failing)
        return [(r.endpoint, r.requests, r.failed) for r in caplog.records]

    caplog.set_level("INFO")
    requests.labels("tickdb", "kline").inc(0)
    assert said() == []
    requests.labels("tickdb", "kline").inc(5)
    requests.labels("tickdb", "ticker").inc(2)
    failures.labels("tickdb", "kline", "timeout").inc()
    failures.labels("tickdb", "kline", "http").inc(2)
    assert said() == [("kline", 5, 3), ("ticker", 2, 0)]
    requests.labels("tickdb", "kline").inc(3)
    assert said() == [("kline", 3, 0)]
    requests.labels("tickdb", "kline").inc(4)
    assert said(only_failing=True) == []
    requests.labels("tickdb", "ticker").inc(3)
    failures.labels("tickdb", "ticker", "timeout").inc()
    assert said(only_failing=True) == [("ticker", 3, 1)]
    assert said() == [("kline", 4, 0)]
    metrics.keep_only("source", [])
    requests.labels("tickdb", "kline").inc(1)
    assert said() == [("kline", 1, 0)]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (0.0, (59.0, False)),
        (58.5, (0.5, False)),
        (59.0, (60.0, False)),
        (839.0, (60.0, True)),
        (899.5, (59.5, False)),
    ],
)
def test_failures_are_said_each_minute_and_all_at_the_quarter(
    now: float, expected: tuple[float, bool]
) -> None:
    """A second ahead, so that a line belongs to its day."""
    assert until_next(1_790_001_000.0 - 1_790_001_000.0 % 900 + now) == expected
