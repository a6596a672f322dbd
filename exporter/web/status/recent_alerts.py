"""The last day's alerts from the exporter's own journal: it is there when Alertmanager is away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.alerts.journal import OURS, Journal
from exporter.alerts.observed import WATCHDOG
from exporter.alerts.timeline import Incident, read_timeline
from exporter.state import State, StateError
from exporter.util.clock import Clock
from exporter.util.nan import none_to_nan
from exporter.web.status.alerts_now import alert_row, subject_of
from exporter.web.status.view import AlertRow, IncidentRow

SPAN_SECONDS = 86400.0
MOST = 30
HOLDS_SECONDS = 15.0
"""The receiver that is not a channel."""


class RecentAlerts:
    """Reads when a page is asked for."""

    def __init__(self, state: State, journal: Journal, clock: Clock) -> None:
        self._state, self._journal, self._clock = state, journal, clock
        self._read = -HOLDS_SECONDS
        self._incidents: tuple[IncidentRow, ...] = ()
        self.problem: str | None = None

    async def rows(self) -> tuple[IncidentRow, ...]:
        """The newest first."""
        if self._clock.monotonic() - self._read < HOLDS_SECONDS:
            return self._incidents
        self._read = self._clock.monotonic()
        try:
            found = await read_timeline(self._state, self._clock.now() - SPAN_SECONDS, limit=MOST)
        except StateError as error:
            self.problem = f"The journal of alerts cannot be read: {error}"
        else:
            self.problem = None
            self._incidents = tuple(
                incident_row(one)
                for one in reversed(found.incidents)
                if one.labels["alertname"] != WATCHDOG
            )
        return self._incidents

    def unresolved(self) -> tuple[AlertRow, ...]:
        """Alerts that a channel was notified of, but not of their end; each alert once."""
        found: dict[str, Mapping[str, Any]] = {}
        for _, alert in self._journal.unresolved():
            if alert["labels"]["alertname"] != WATCHDOG:
                found[alert["fingerprint"]] = alert
        return tuple(
            alert_row(a["labels"], a["annotations"], a["starts_at"], acknowledged=False)
            for a in found.values()
        )


def incident_row(incident: Incident) -> IncidentRow:
    """A channel that did not refuse the message counts as notified."""
    reached = [one for one in incident.reached() if one[0] != OURS]
    return IncidentRow(
        incident.labels["alertname"],
        incident.labels.get("severity", ""),
        subject_of(incident.labels),
        incident.description or incident.summary,
        incident.started_at,
        none_to_nan(incident.resolved_at),
        tuple(
            (name if arrived else f"{name} (arrival unknown)", at)
            for name, at, arrived in reached
            if arrived is not False
        ),
        tuple(incident.refused()),
        incident.acknowledged[-1][1] if incident.acknowledged else "",
        incident.muted,
    )
