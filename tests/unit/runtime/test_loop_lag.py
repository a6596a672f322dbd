"""The lag of the event loop: the worst of the last minute, and no longer."""

from __future__ import annotations

import pytest
from prometheus_client import Gauge

from exporter.runtime.loop_lag import LoopWatch


@pytest.fixture
def gauge() -> Gauge:
    return Gauge("lag", "For tests.", registry=None)


def shown(gauge: Gauge) -> float:
    return float(gauge._value.get())


def test_lag_falls_again_a_minute_after_the_worst(gauge: Gauge) -> None:
    """First to the worst of what followed, then to nothing."""
    watch = LoopWatch(gauge)
    for at, lag, expected in (
        (0.0, 0.1, 0.1), (10.0, 2.0, 2.0), (20.0, 0.5, 2.0), (30.0, 0.3, 2.0),
        (70.0, 0.0, 2.0), (70.1, 0.0, 0.5), (80.1, 0.0, 0.3), (95.0, 0.0, 0.0),
    ):  # fmt: skip
        watch.note(at, lag)
        assert shown(gauge) == expected, at


def test_equal_lags_count_from_the_last_one(gauge: Gauge) -> None:
    """The window is that of the newest maximum."""
    watch = LoopWatch(gauge)
    watch.note(0.0, 1.0)
    watch.note(50.0, 1.0)
    watch.note(100.0, 0.0)
    assert shown(gauge) == 1.0
    watch.note(110.5, 0.0)
    assert shown(gauge) == 0.0
