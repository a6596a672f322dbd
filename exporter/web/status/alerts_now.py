"""What fires now according to Alertmanager, cached for a few seconds."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from exporter.alerts.alertmanager_objects import parse_time
from exporter.alerts.api_clients import AlertmanagerClient, ServerError
from exporter.alerts.observed import WATCHDOG
from exporter.util.clock import Clock
from exporter.web.status.view import AlertRow

TIMEOUT_SECONDS = 2.0
HOLDS_SECONDS = 10.0
SUBJECTS = ("strategy", "task", "feed", "source", "exchange", "limit")
"""Labels that say what an alert is about, the narrowest first."""
_ACKNOWLEDGED = ("alertname", *SUBJECTS, "job", "instance")
"""The labels that an acknowledgement names: another exporter may have the same task."""
_ORDER = {"critical": 0, "warning": 1}


class AlertsNow:
    """Asks when a page is asked for; `seen` distinguishes a server that is gone from one that never
    was (``make run`` starts none)."""

    def __init__(self, alertmanager: AlertmanagerClient, clock: Clock) -> None:
        self._alertmanager, self._clock = alertmanager, clock
        self._asked = -HOLDS_SECONDS
        self._rows: tuple[AlertRow, ...] | None = None
        self.seen = False

    async def rows(self) -> tuple[AlertRow, ...] | None:
        """Critical ones first; None when nobody answers as Alertmanager does."""
        now = self._clock.monotonic()
        if now - self._asked >= HOLDS_SECONDS:
            self._asked = now
            self._rows = await self._ask()
            self.seen = self.seen or self._rows is not None
        return self._rows

    async def _ask(self) -> tuple[AlertRow, ...] | None:
        try:
            alerts = await self._alertmanager.alerts(timeout_seconds=TIMEOUT_SECONDS)
        except ServerError:
            return None
        rows = [
            alert_row(a.labels, a.annotations, a.starts_at, acknowledged=a.silenced)
            for a in alerts
            if not a.inhibited
        ]
        rows = [row for row in rows if row.name != WATCHDOG]
        return tuple(sorted(rows, key=lambda row: (_ORDER.get(row.severity, 2), row.since)))


def alert_row(
    labels: Mapping[str, str], notes: Mapping[str, str], starts_at: str, *, acknowledged: bool
) -> AlertRow:
    """An alert that fires, from its labels and annotations."""
    return AlertRow(
        labels.get("alertname", ""),
        labels.get("severity", ""),
        notes.get("summary", ""),
        parse_time(starts_at),
        acknowledged=acknowledged,
        description=notes.get("description", ""),
        subject=subject_of(labels),
        runbook=_address(notes.get("runbook_url", "")),
        ack=urlencode({name: labels[name] for name in _ACKNOWLEDGED if labels.get(name)}),
    )


def subject_of(labels: Mapping[str, str]) -> str:
    """What an alert is about."""
    return next((labels[name] for name in SUBJECTS if labels.get(name)), "")


def _address(text: str) -> str:
    """A web address, or nothing: a link must not run what a label brings along."""
    return text if text.startswith(("http://", "https://")) else ""
