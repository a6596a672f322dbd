"""Journal rows to incidents: what fired, who was notified or acknowledged, how long it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporter.alerts.api_clients import matches, parse_time
from exporter.state import JournalRow

SECOND_CHANNEL = "email"
ESCALATES_AFTER_SECONDS = 5.0
"""The second channel was notified so much later than the first one: an escalation. The alert that a
channel is broken goes to both at once."""


@dataclass
class Incident:
    """One alert, from its start to its end. Times are Unix seconds."""

    labels: dict[str, str]
    summary: str
    description: str
    started_at: float
    notified: list[tuple[float, str]] = field(default_factory=list)
    """When and by which receiver that it fires; repeats included."""
    resolved_sent: list[tuple[float, str]] = field(default_factory=list)
    """The same for resolved notifications."""
    acknowledged: list[tuple[float, str, str]] = field(default_factory=list)
    """When, by whom, with which comment."""
    resolved_at: float | None = None
    muted: str = ""
    """Why nobody was notified, as far as Alertmanager said."""
    seen_over: bool = False
    """`resolved_at` was observed: nobody was notified of the end."""

    @property
    def escalated_at(self) -> float | None:
        """When the second channel was called in, if it was."""
        second = min((at for at, who in self.notified if who == SECOND_CHANNEL), default=None)
        first = min((at for at, _ in self.notified), default=self.started_at)
        if second is None or second - first < ESCALATES_AFTER_SECONDS:
            return None
        return second

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "alertname": self.labels["alertname"],
            "severity": self.labels.get("severity"),
            "labels": self.labels,
            "summary": self.summary,
            "description": self.description,
            "started_at": self.started_at,
            "muted": self.muted or None,
            "told": [{"at": at, "receiver": receiver} for at, receiver in self.notified],
            "acknowledged": [
                {"at": at, "by": by, "comment": comment} for at, by, comment in self.acknowledged
            ],
            "escalated_at": self.escalated_at,
            "resolved_at": self.resolved_at,
            "good_news": [{"at": at, "receiver": receiver} for at, receiver in self.resolved_sent],
            "lasted_seconds": None
            if self.resolved_at is None
            else self.resolved_at - self.started_at,
        }


Incidents = dict[tuple[str, int], Incident]
"""By fingerprint and start in milliseconds."""


def build_timeline(rows: Iterable[JournalRow]) -> list[Incident]:
    """The incidents in the rows, oldest first."""
    incidents: Incidents = {}
    for row in sorted(rows, key=lambda row: (row.at, row.id)):
        if row.kind == "notification":
            _notification(incidents, row)
        elif row.kind == "fired":
            _fired(_incident(incidents, row.fields), row)
        elif row.kind == "over":
            _over(_incident(incidents, row.fields), row)
        elif row.kind in ("acknowledged", "silenced"):
            _acknowledgement(incidents, row)
    return sorted(incidents.values(), key=lambda incident: incident.started_at)


def _incident(incidents: Incidents, alert: Mapping[str, Any]) -> Incident:
    notes = alert["annotations"]
    # Posts and the API write the same moment with more digits or fewer.
    started_at = parse_time(alert["starts_at"])
    return incidents.setdefault(
        (alert["fingerprint"], round(started_at * 1000)),
        Incident(
            alert["labels"], notes.get("summary", ""), notes.get("description", ""), started_at
        ),
    )


def _fired(incident: Incident, row: JournalRow) -> None:
    incident.muted = row.fields["muted"]
    if incident.seen_over:
        incident.resolved_at, incident.seen_over = None, False


def _over(incident: Incident, row: JournalRow) -> None:
    if incident.resolved_at is None:
        incident.resolved_at, incident.seen_over = parse_time(row.fields["ends_at"]), True


def _notification(incidents: Incidents, row: JournalRow) -> None:
    alert = row.fields
    incident = _incident(incidents, alert)
    if alert["status"] == "firing":
        incident.notified.append((row.at, alert["receiver"]))
    else:
        incident.resolved_sent.append((row.at, alert["receiver"]))
        ended = parse_time(alert["ends_at"])
        known = None if incident.seen_over else incident.resolved_at
        incident.resolved_at, incident.seen_over = min(ended, known or ended), False


def _acknowledgement(incidents: Incidents, row: JournalRow) -> None:
    fields = row.fields
    for incident in incidents.values():
        if incident.resolved_at is not None:
            continue
        if row.kind == "acknowledged":
            covered = fields["labels"] == incident.labels
        else:
            covered = all(matches(matcher, incident.labels) for matcher in fields["matchers"])
        if covered:
            incident.acknowledged.append((row.at, fields["by"], fields["comment"]))
