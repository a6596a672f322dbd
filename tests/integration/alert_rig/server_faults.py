"""What goes wrong with Prometheus and Alertmanager themselves: their own metrics, as they would be.
Both are scraped once a minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from tests.integration.alert_rig.fault import Fault, Told

BEFORE, AFTER = 30 * 60, 40 * 60
Values = Callable[[float], float]
"""From the minutes since the fault."""
SENT = "alertmanager_notification_requests_failed_total"


@dataclass(frozen=True)
class Scraped(Fault):
    """A row that says what scrapes of its server saw."""

    job: str = "alertmanager"
    metric: str = ""
    labels: str = ""
    values: Values = float

    def write(self, out: IO[str]) -> None:
        """Into this file."""
        for name, at, value in self._samples():
            own = f'job="{self.job}",instance="{self.name}"'
            labels = own if name == "up" or not self.labels else f"{own},{self.labels}"
            out.write(f"{name}{{{labels}}} {value!r} {at:.0f}\n")

    def _samples(self) -> Iterator[tuple[str, float, float]]:
        at = self.struck - BEFORE
        while at <= self.struck + AFTER:
            yield "up", at, 1.0
            yield self.metric, at, self.values((at - self.struck) / 60)
            at += 60


def refused(name: str, integration: str, *tells: Told, values: Values) -> Scraped:
    return Scraped(name, tells, metric=SENT, labels=f'integration="{integration}"', values=values)


def rising(minutes: float) -> float:
    """Two attempts a minute fail from the fault on."""
    return max(0.0, minutes * 2)


def some(minutes: float) -> float:
    """Two attempts in all."""
    return 2.0 if minutes >= 0 else 0.0


def broken(minutes: float) -> float:
    """1 until the fault, then 0."""
    return float(minutes < 0)


FAILING = "QuantNotificationsFailing"
FAULTS = [
    refused("slack_refuses", "slack", Told(FAILING, "phone", 6), values=rising),
    refused("pagerduty_refuses", "pagerduty", Told(FAILING, "chat", 6), values=rising),
    refused("mail_refuses", "email", Told(FAILING, "phone", 6), values=rising),
    # The journal is in an exporter that is down at that time.
    refused("journal_refuses", "webhook", values=rising),
    refused("slack_refuses_twice", "slack", values=some),
    Scraped("rules_fail", (Told("QuantRuleFailing", "chat", 3),), job="prometheus",
            metric="prometheus_rule_evaluation_failures_total", labels='rule_group="quant"',
            values=rising),
    Scraped("prometheus_keeps_its_old_config", (Told("QuantConfigReloadFailed", "chat", 2),),
            job="prometheus", metric="prometheus_config_last_reload_successful", values=broken),
    Scraped("alertmanager_keeps_its_old_config", (Told("QuantConfigReloadFailed", "chat", 2),),
            metric="alertmanager_config_last_reload_successful", values=broken),
]  # fmt: skip
