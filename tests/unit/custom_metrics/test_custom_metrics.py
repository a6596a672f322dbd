"""Metrics of users' own: bounded, kept over restarts, and never the end of a scrape."""

from __future__ import annotations

import math
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open_metrics

from exporter.config import Config, OwnMetric
from exporter.custom_metrics.custom_metrics import KIND, CustomMetrics, NewValue
from exporter.custom_metrics.series_table import FORGET_SECONDS, MOST_NAMES, MOST_SERIES
from exporter.metrics import Metrics
from tests.unit.clocks import ManualClock
from tests.unit.feeds.test_poller import FakeState


class Kept(FakeState):
    """Forgets, too."""

    async def forget(self, kind: str, name: str) -> None:
        self.rows.get(kind, {}).pop(name, None)

    async def write(self, statements: Any, values: Any = ()) -> int:
        await self.keep_many(list(values))
        return len(statements)


class Desk:
    """The service, and restarts of it."""

    def __init__(self, **metrics: OwnMetric) -> None:
        self.state, self.clock = Kept(), ManualClock()
        self.restart(**metrics)

    def restart(self, **metrics: OwnMetric) -> None:
        self.registry = CollectorRegistry()
        self.custom = CustomMetrics(
            self.state,  # type: ignore[arg-type]
            Metrics(self.registry),
            self.clock,
        )
        self.custom.apply(Config(metrics=metrics))

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def refused(self, reason: str) -> float | None:
        return self.value("quant_custom_refused_total", reason=reason)


def test_a_gauge_and_a_counter_are_exposed_by_their_own_names() -> None:
    """With their labels, and what was declared as help."""
    desk = Desk(positions=OwnMetric(help="Open positions", labels=("strategy",)))
    assert desk.custom.set("positions", 3, {"strategy": "m"}) is None
    for amount in (1, 2):
        assert desk.custom.set("orders_total", amount, kind="counter", add=True) is None
    assert desk.value("positions", strategy="m") == 3
    assert desk.value("orders_total") == 3
    text = generate_latest(desk.registry).decode()
    assert "# HELP positions Open positions\n# TYPE positions gauge\n" in text
    assert "# TYPE orders_total counter\norders_total 3.0\n" in text


@pytest.mark.parametrize(
    ("name", "value", "labels", "kind", "reason", "words"),
    [
        ("quant_mine", 1, {}, "gauge", "name", "reserved"),
        ("up", 1, {}, "gauge", "name", "reserved"),
        ("a b", 1, {}, "gauge", "name", "invalid metric name"),
        (None, 1, {}, "gauge", "name", "invalid metric name"),
        ("a", "3", {}, "gauge", "value", "not a text"),
        ("a", [3], {}, "gauge", "value", "not a list"),
        ("a", 10**400, {}, "gauge", "value", "not a int"),
        ("a", -1, {}, "counter", "value", "a counter cannot be -1"),
        ("a", math.nan, {}, "counter", "value", "a counter cannot be nan"),
        ("a", 1, {"job": "x"}, "gauge", "labels", "reserved"),
        ("a", 1, {"x": "y" * 129}, "gauge", "labels", "129 characters"),
        ("a", 1, {f"l{n}": "" for n in range(9)}, "gauge", "labels", "9 labels"),
        ("declared", 1, {"other": "x"}, "gauge", "labels", "declared: symbol"),
        ("declared", 1, {"symbol": "x"}, "counter", "type", "declared as a gauge"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_does_not_fit_is_refused_counted_and_said(
    name: Any, value: Any, labels: dict[str, str], kind: Any, reason: str, words: str
) -> None:
    """And never raised into a task."""
    desk = Desk(declared=OwnMetric(labels=("symbol",)))
    why = desk.custom.set(name, value, labels, kind=kind)
    assert why is not None
    assert words in why
    assert desk.refused(reason) == 1
    assert desk.custom.problems() == [why]
    assert desk.value("quant_custom_series") == 0


def test_nan_and_infinity_are_values() -> None:
    """NaN: not known now. Every form of a scrape can carry them."""
    desk = Desk()
    desk.custom.set("a", math.nan)
    desk.custom.set("b", "+Inf")
    desk.custom.set("c", -math.inf)
    assert math.isnan(desk.value("a") or 0)
    assert (desk.value("b"), desk.value("c")) == (math.inf, -math.inf)
    names = {family.name for family in read_open_metrics(open_metrics(desk.registry).decode())}
    assert {"a", "b", "c"} <= names


def test_too_many_names_or_series_are_refused_and_no_more_memory_is_used() -> None:
    """A symbol or an order number as label must not blow up Prometheus."""
    desk = Desk(wide=OwnMetric(labels=("symbol",), max_series=MOST_SERIES + 50))
    for number in range(MOST_SERIES + 7):
        desk.custom.set("orders", 1, {"id": str(number)})
    assert desk.refused("series") == 7
    for number in range(MOST_NAMES + 3):
        desk.custom.set(f"name{number}", 1)
    assert desk.refused("names") == 4
    for number in range(MOST_SERIES + 60):
        desk.custom.set("wide", 1, {"symbol": str(number)})
    assert desk.refused("series") == 17
    assert desk.custom.set("orders", 5, {"id": "3"}) is None, "a known series goes on"
    assert desk.value("quant_custom_series") == MOST_SERIES + MOST_NAMES - 1 + MOST_SERIES + 50
    assert len(desk.custom.problems()) == 2 + 4, "the names of four metrics, once each"


async def test_values_outlive_a_restart_with_their_age() -> None:
    """A gauge that nobody sets any more must not look fresh after one."""
    declared = OwnMetric(max_age=3600.0)
    desk = Desk(positions=declared)
    desk.custom.set("positions", 3)
    desk.custom.set("free", math.nan, {"x": "1|2"})
    desk.custom.set("orders", 2, kind="counter", add=True)
    await desk.custom.flush()
    set_at = desk.clock.now()
    desk.clock.advance(7200)
    desk.restart(positions=declared)
    assert desk.value("positions") == 3
    assert math.isnan(desk.value("free", x="1|2") or 0)
    assert desk.value("quant_custom_oldest_timestamp_seconds", metric="positions") == set_at
    desk.custom.set("orders", 2, kind="counter", add=True)
    assert desk.value("orders_total") == 4
    written = desk.state.written
    await desk.custom.flush()
    assert desk.state.written == written + 1, "only what changed"


async def test_a_series_that_is_forgotten_stays_so() -> None:
    """By None, and after a week without a value unless max_age watches it."""
    desk = Desk(watched=OwnMetric(max_age=60.0))
    for name in ("gone", "old", "watched"):
        desk.custom.set(name, 1)
    await desk.custom.flush()
    desk.custom.set("gone", None)
    desk.clock.advance(FORGET_SECONDS + 1)
    await desk.custom.flush()
    assert set(desk.state.rows[KIND]) == {"watched"}
    assert (desk.value("gone"), desk.value("old"), desk.value("watched")) == (None, None, 1)


def test_what_is_sent_again_counts_once() -> None:
    """By its timestamp; one of the future is refused."""
    desk, heard = Desk(), list[NewValue]()
    desk.custom.listeners.append(heard.append)
    now = desk.clock.now()
    for at in (now - 20, now - 20, now - 30, now - 10):
        assert desk.custom.set("orders", 1, kind="counter", add=True, at=at) is None
    assert desk.value("orders_total") == 2
    assert [new.at for new in heard] == [now - 20, now - 10]
    assert "future" in str(desk.custom.set("orders", 1, kind="counter", add=True, at=now + 301))


def test_a_reload_forgets_what_no_longer_fits() -> None:
    """Other labels or another type: the old series would never be set again."""
    desk = Desk()
    desk.custom.set("a", 1, {"x": "1"})
    desk.custom.set("b", 1)
    desk.custom.apply(Config(metrics={"a": OwnMetric(labels=("y",)), "b": OwnMetric()}))
    assert desk.value("a", x="1") is None
    assert desk.value("b") == 1
    assert desk.custom.set("a", 1, {"y": "1"}) is None
