"""The metric table: what it promises beyond names."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from exporter.metrics import Metrics


@pytest.mark.parametrize(
    ("old", "new", "labels"),
    [
        ("quant_log_behind_bytes", "quant_log_lag_bytes", {"file": "bot"}),
        ("quant_log_waiting_bytes", "quant_log_queue_bytes", {}),
        ("quant_log_lost_total", "quant_log_dropped_total", {}),
    ],
)
def test_an_old_name_is_exposed_with_the_new_names_value(
    old: str, new: str, labels: dict[str, str]
) -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.counter("quant_log_dropped_total").inc(3)
    metrics.add_reader(
        lambda: [("quant_log_lag_bytes", ["bot"], 3.0), ("quant_log_queue_bytes", [], 3.0)]
    )
    assert registry.get_sample_value(old, labels) == 3.0
    assert registry.get_sample_value(new, labels) == 3.0
