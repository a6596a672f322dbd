"""Our text of metrics against prometheus-client's."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter.metrics import TABLE, Metrics
from exporter.web.exposition_text import Text

HOSTILE = ('a"b', "back\\slash", "two\nlines", "<script>", "naïve 価格", "", " ", "{x=1}")
VALUES = (0.0, 1.0, -1.5, 1e6, 1234567.25, 1.8e9, 1e-9, 1e300, math.inf, -math.inf, math.nan, 12)


def whole_surface() -> CollectorRegistry:
    """Every metric of the table, with a series for each hostile label."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    ProcessCollector(registry=registry)
    samples = []
    for number, spec in enumerate(TABLE):
        for place, text in enumerate(HOSTILE if spec.labels else HOSTILE[:1]):
            labels = [f"{text}{n}" if n else text for n in range(len(spec.labels))]
            value = VALUES[(number + place) % len(VALUES)]
            if spec.at_scrape:
                samples.append((spec.name, labels, float(value)))
                continue
            metric = metrics._set[spec.name]
            child = metric.labels(*labels) if labels else metric
            match child:
                case Counter():
                    child.inc(abs(value))
                case Gauge():
                    child.set(value)
                case Histogram():
                    child.observe(value)
    metrics.add_reader(lambda: samples)
    return registry


@pytest.mark.parametrize("openmetrics", [False, True])
def test_it_is_the_same_bytes_as_the_librarys(openmetrics: bool) -> None:
    """Also the second time, when labels are remembered. What the process says of itself moves."""
    registry, text = whole_surface(), Text()
    encode = generate_openmetrics if openmetrics else generate_latest
    for _ in range(2):
        ours = text.write(registry.collect(), openmetrics=openmetrics)
        theirs = encode(registry)
        assert _still(ours) == _still(theirs)
    assert len(ours.splitlines()) > 800


def _still(text: bytes) -> list[bytes]:
    return [line for line in text.splitlines() if not line.startswith(b"process_")]


def test_series_that_are_gone_are_forgotten() -> None:
    """A label that changes all the time does not fill the memory."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "G.", ["n"], registry=registry)
    text = Text()
    for first in range(0, 30_000, 1_000):
        for number in range(first, first + 1_000):
            gauge.labels(str(number)).set(1)
        text.write(registry.collect(), openmetrics=False)
        gauge.clear()
    assert len(text._heads) <= 7_000
