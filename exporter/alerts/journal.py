"""Who was told what, when, and by which channel.

Each of Alertmanager's receivers also posts here. A post says that the channel was tried at that
moment; what it failed to deliver stands in Alertmanager's own counters (:mod:`.keeper` reads them).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from exporter.metrics import SEVERITIES, Metrics
from exporter.state import State
from exporter.util.clock import Clock

logger = logging.getLogger(__name__)

RECEIVERS = ("slack", "pagerduty", "email", "journal")
TOLD = "alert_told"
"""Kept under this kind: what a channel was told fires, until it hears that it is over."""


class Journal:
    """Writes one log line and one row for each notification."""

    def __init__(self, state: State, metrics: Metrics, clock: Clock) -> None:
        self._state, self._clock = state, clock
        self._notifications = metrics.counter("quant_alert_notifications_total")
        self._by_rule = metrics.counter("quant_alert_rule_notifications_total")
        for receiver in RECEIVERS:
            for severity in SEVERITIES:
                for status in ("firing", "resolved"):
                    self._notifications.labels(severity, status, receiver)

    async def take(self, receiver: str, body: Mapping[str, Any]) -> int:
        """Alertmanager's webhook payload (version 4); the number of alerts in it.

        Raises :class:`ValueError` when it is none.
        """
        alerts = body.get("alerts")
        if not isinstance(alerts, list):
            raise ValueError("`alerts` must be a list, as Alertmanager's webhook sends it")
        read = [_read(alert) for alert in alerts]
        for alert in read:
            await self._one(receiver, alert)
        return len(read)

    async def _one(self, receiver: str, alert: dict[str, Any]) -> None:
        labels, status = alert["labels"], alert["status"]
        name, severity = labels["alertname"], labels.get("severity", "none")
        severity = severity if severity in SEVERITIES else "none"
        self._notifications.labels(severity, status, receiver).inc()
        key = f"{receiver}|{alert['fingerprint']}"
        if status == "firing":
            self._by_rule.labels(name, severity).inc()
            await self._state.keep(TOLD, key, alert)
        else:
            await self._state.forget(TOLD, key)
        await self.write("notification", {"receiver": receiver, **alert})

    async def write(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Anything else that belongs to an alert's story: silences, acknowledgements, failures."""
        labels = fields.get("labels", {})
        logger.info(
            "%s %s", kind, " ".join(f"{n}={v}" for n, v in sorted(labels.items())),
            extra={"event": f"alert_{kind}", "alert": dict(fields), **_for_the_digest(fields)},
        )  # fmt: skip
        await self._state.journal(kind, self._clock.now(), fields)

    def told(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """Key and alert of everything that a channel still believes to fire."""
        return list(self._state.kept(TOLD).items())

    async def forget(self, key: str) -> None:
        """Give up on that piece of good news."""
        await self._state.forget(TOLD, key)


def _for_the_digest(fields: Mapping[str, Any]) -> dict[str, str]:
    """What a log line says on its own level, so that a day's alerts can be counted."""
    labels = fields.get("labels", {})
    said = {
        "alertname": labels.get("alertname"),
        "severity": labels.get("severity"),
        **{name: fields.get(name) for name in ("status", "receiver", "fingerprint", "starts_at")},
    }
    return {name: str(value) for name, value in said.items() if value is not None}


def _read(alert: Any) -> dict[str, Any]:
    """The parts that we keep. Raises :class:`ValueError`."""
    try:
        labels = {str(n): str(v) for n, v in alert["labels"].items()}
        if alert["status"] not in ("firing", "resolved") or not labels.get("alertname"):
            raise ValueError("an alert needs a name, and fires or is resolved")
        return {
            "labels": labels,
            "annotations": {str(n): str(v) for n, v in alert["annotations"].items()},
            "status": alert["status"],
            "starts_at": str(alert["startsAt"]),
            "ends_at": str(alert["endsAt"]) if alert["status"] == "resolved" else None,
            "fingerprint": str(alert["fingerprint"]),
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no alert of Alertmanager's webhook: {error!r}") from error
