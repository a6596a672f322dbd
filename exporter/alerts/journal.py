"""Which channel was notified of what, and when.

Each of Alertmanager's receivers also posts here. A post says that the channel was tried at that
moment; what it failed to deliver is in Alertmanager's own counters (:mod:`.deliveries` reads them).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from exporter.alerts.alertmanager_objects import parse_time
from exporter.alerts.sentences import sentence
from exporter.metrics import SEVERITIES, Metrics
from exporter.redaction.mask import Mask
from exporter.state import State
from exporter.util.clock import Clock

logger = logging.getLogger(__name__)

OURS = "journal"
"""The receiver of what only the journal hears."""
RECEIVERS = ("slack", "pagerduty", "email", OURS)
INTEGRATIONS = ("slack", "pagerduty", "email")
UNRESOLVED = "alert_told"
"""Kept under this kind: a channel was notified that it fires, and not yet that it is resolved."""


class Journal:
    """Writes one log line and one row for each notification."""

    def __init__(
        self, state: State, metrics: Metrics, clock: Clock, mask: Mask | None = None
    ) -> None:
        self._state, self._clock, self._mask = state, clock, mask or Mask()
        self._notifications = metrics.counter("quant_alert_notifications_total")
        self._by_rule = metrics.counter("quant_alert_rule_notifications_total")
        self._deliveries = metrics.counter("quant_alert_deliveries_total")
        self.posts = OwnPosts()
        self.expect(INTEGRATIONS)
        for receiver in RECEIVERS:
            for severity in SEVERITIES:
                for status in ("firing", "resolved"):
                    self._notifications.labels(severity, status, receiver)

    def expect(self, integrations: Iterable[str]) -> None:
        """Count these from 0."""
        for integration in integrations:
            for outcome in ("delivered", "failed", "unconfigured"):
                self._deliveries.labels(integration, outcome)

    def answered(self, receiver: str, *, accepted: bool) -> None:
        """A post for this receiver of Alertmanager got its answer."""
        self.posts.add(receiver, self._clock.monotonic(), accepted=accepted)

    async def record(self, receiver: str, body: Mapping[str, Any]) -> int:
        """Alertmanager's webhook payload (version 4); the number of alerts in it.

        Raises :class:`ValueError` when it is not one.
        """
        alerts = body.get("alerts")
        if not isinstance(alerts, list):
            raise ValueError("`alerts` must be a list, as Alertmanager's webhook sends it")
        read = [_read(alert) for alert in alerts]
        self._count(receiver, read)
        for alert in read:
            await self._one(receiver, self._mask.mapping(alert))
        return len(read)

    def _count(self, receiver: str, alerts: Sequence[Mapping[str, Any]]) -> None:
        """A post is one message, however many alerts are grouped in it: it fires while one does."""
        firing = [alert for alert in alerts if alert["status"] == "firing"]
        tiers = {_severity(alert) for alert in firing or alerts}
        status = "firing" if firing else "resolved"
        for severity in tiers:
            self._notifications.labels(severity, status, receiver).inc()
        for name, severity in {
            (alert["labels"]["alertname"], _severity(alert)) for alert in firing
        }:
            self._by_rule.labels(name, severity).inc()

    async def _one(self, receiver: str, alert: dict[str, Any]) -> None:
        key = f"{receiver}|{alert['fingerprint']}"
        if alert["status"] == "firing":
            await self._state.keep(UNRESOLVED, key, alert)
        else:
            await self._state.forget(UNRESOLVED, key)
        await self.write("notification", {"receiver": receiver, **alert})

    async def delivery(self, kind: str, fields: Mapping[str, Any], *, counts: bool) -> None:
        """Delivery attempts of an integration that succeeded (`delivered`) or `failed`. They count
        where the integration is somebody's channel."""
        if counts:
            count = self._deliveries.labels(fields["integration"], kind)
            count.inc(fields["attempts"])
        await self.write(kind, fields)

    async def unconfigured(self, receiver: str) -> None:
        """It was to be notified, and Alertmanager has no channel for it."""
        self._deliveries.labels(receiver, "unconfigured").inc()
        await self.write("unconfigured", {"receivers": [receiver]})

    async def write(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Anything else that belongs to an incident: silences, acknowledgements, failures."""
        fields = self._mask.mapping(fields)
        logger.info(
            "%s", sentence(kind, fields),
            extra={"event": f"alert_{kind}", "alert": dict(fields), **_for_the_digest(fields)},
        )  # fmt: skip
        await self._state.journal(kind, self._clock.now(), fields)

    def unresolved(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """Key and alert of everything that a channel still believes to fire."""
        return list(self._state.kept(UNRESOLVED).items())

    async def forget(self, key: str) -> None:
        """Give up on that resolved notification."""
        await self._state.forget(UNRESOLVED, key)


class OwnPosts:
    """Alertmanager's posts to the journal: how many were accepted and refused."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[float, float]] = {}
        self.last_at = -math.inf
        """When the last one was answered, on the monotonic clock."""

    def add(self, receiver: str, at: float, *, accepted: bool) -> None:
        """One was answered, sent for this receiver of Alertmanager."""
        well, bad = self._counts.get(receiver, (0.0, 0.0))
        self._counts[receiver] = (well + accepted, bad + (not accepted))
        self.last_at = at

    def by_receiver(self) -> dict[str, tuple[float, float]]:
        """Those for each receiver."""
        return dict(self._counts)

    def count(self, receiver: str) -> tuple[float, float]:
        """Those for a receiver; for '', all of them."""
        if receiver:
            return self._counts.get(receiver, (0.0, 0.0))
        every = list(self._counts.values())
        return sum(well for well, _ in every), sum(bad for _, bad in every)


def _severity(alert: Mapping[str, Any]) -> str:
    severity = str(alert["labels"].get("severity", "none"))
    return severity if severity in SEVERITIES else "none"


def _for_the_digest(fields: Mapping[str, Any]) -> dict[str, str]:
    """Top-level fields of a log line, so that the digest can count a day's alerts."""
    labels = fields.get("labels", {})
    counted = {
        "alertname": labels.get("alertname"),
        "severity": labels.get("severity"),
        **{name: fields.get(name) for name in ("status", "receiver", "fingerprint", "starts_at")},
    }
    return {name: str(value) for name, value in counted.items() if value is not None}


def _read(alert: Any) -> dict[str, Any]:
    """The parts that we keep. Raises :class:`ValueError`."""
    try:
        labels = _texts(alert["labels"])
        if alert["status"] not in ("firing", "resolved") or not labels.get("alertname"):
            raise ValueError("an alert needs an alertname, and a status: firing or resolved")
        if not isinstance(alert["fingerprint"], str):
            raise TypeError("its fingerprint must be a text")
        ends_at = _time(alert["endsAt"])
        return {
            "labels": labels,
            "annotations": _texts(alert["annotations"]),
            "status": alert["status"],
            "starts_at": _time(alert["startsAt"]),
            "ends_at": ends_at if alert["status"] == "resolved" else None,
            "fingerprint": alert["fingerprint"],
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an alert of Alertmanager's webhook: {error!r}") from error


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    if not all(isinstance(value, str) for value in given.values()):
        raise TypeError("labels and annotations must be texts")
    return dict(given)


def _time(text: str) -> str:
    parse_time(text)
    return text
