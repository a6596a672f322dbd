"""A quiet first week: severities are exposed one tier lower, in one place."""

from datetime import date

import pytest
from prometheus_client import CollectorRegistry

from exporter.alerts.alert_metrics import expose
from exporter.config import Alerts, Config, Task
from exporter.metrics import Column, Metrics, lower
from tests.unit.clocks import ManualClock


def test_severities_are_lower_until_the_day_begins() -> None:
    """2026-12-01 00:00 in New York is 05:00 UTC."""
    clock = ManualClock(now=1796101200.0 - 1)
    config = Config(alerts=Alerts(learning_until=date(2026, 12, 1)))
    metrics = Metrics(registry := CollectorRegistry())
    expose(metrics, lambda: config, clock)
    metrics.add_reader(lambda: [("quant_strategy_info", ("m", "USD", "critical"), 1.0)])

    def tier(severity: str) -> float | None:
        labels = {"strategy": "m", "currency": "USD", "severity": severity}
        return registry.get_sample_value("quant_strategy_info", labels)

    assert (tier("critical"), tier("warning")) == (None, 1.0)
    clock.advance(1)
    assert (tier("critical"), tier("warning")) == (1.0, None)


def test_two_limits_that_meet_on_a_tier_keep_the_higher_one() -> None:
    """No two series with the same labels: that would break the whole page."""
    name = "quant_feed_overdue_limit_seconds"
    limits = [(name, ("f", "info"), 60.0), (name, ("f", "warning"), 600.0)]
    assert list(lower([*limits, (name, ("f", "critical"), 7200.0)])) == [
        (name, ["f", "warning"], 7200.0),
        (name, ["f", "info"], 600.0),
    ]


def test_a_column_is_lowered_row_by_row() -> None:
    """What many tasks have comes as a column."""
    rows = [("a", "critical", "", "", "", "1h"), ("b", "info", "", "", "", "1h")]
    other = Column("quant_task_running", [("a",)], [1.0])
    assert list(lower([Column("quant_task_info", rows, [1.0, 1.0]), other])) == [
        other,
        ("quant_task_info", ["a", "warning", "", "", "", "1h"], 1.0),
        ("quant_task_info", ["b", "info", "", "", "", "1h"], 1.0),
    ]


def test_links_and_announcements_are_metrics() -> None:
    """The rules put them into messages, so that exporter.yml is the one place they stand."""
    task = Task(external=True, schedule="every 1h", announce=True)
    config = Config(public_url="https://q.example", tasks={"sync": task})
    metrics = Metrics(registry := CollectorRegistry())
    expose(metrics, lambda: config, ManualClock(now=0.0))
    links = {
        "exporter_url": "https://q.example",
        "dashboards_url": "http://localhost:3000",
        "runbook_url": "https://q.example/runbook",
    }
    assert registry.get_sample_value("quant_alert_links_info", links) == 1.0
    assert registry.get_sample_value("quant_task_announced", {"task": "sync"}) == 1.0


@pytest.mark.parametrize(
    ("zone", "now", "name", "offset"),
    [
        ("America/New_York", 1793505599.0, "EDT", -14400.0),
        ("America/New_York", 1793512800.0, "EST", -18000.0),
        ("Asia/Kathmandu", 1793512800.0, "+0545", 20700.0),
        ("UTC", 1793512800.0, "UTC", 0.0),
    ],
)
def test_messages_know_the_zone_and_its_offset_of_now(
    zone: str, now: float, name: str, offset: float
) -> None:
    """On 2026-11-01 the clocks go back in New York."""
    metrics = Metrics(registry := CollectorRegistry())
    expose(metrics, lambda: Config(timezone=zone), ManualClock(now=now))
    value = registry.get_sample_value("quant_timezone_offset_seconds", {"abbreviation": name})
    assert value == offset
