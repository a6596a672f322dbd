"""Journal rows to stories: what fired, who was told, who acknowledged, how long it took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from exporter.alerts.servers import moment
from exporter.state import JournalRow

SECOND_CHANNEL = "email"
ESCALATES_AFTER = 5.0
"""The second channel heard of it so much later than the first one, in seconds: an escalation. News
of a broken channel goes to both at once."""


@dataclass
class Story:
    """One alert, from its start until it was over. Times are Unix seconds."""

    labels: dict[str, str]
    summary: str
    description: str
    started_at: float
    told: list[tuple[float, str]] = field(default_factory=list)
    """When and by which receiver that it fires; repeats included."""
    good_news: list[tuple[float, str]] = field(default_factory=list)
    acknowledged: list[tuple[float, str, str]] = field(default_factory=list)
    """When, by whom, with which words."""
    resolved_at: float | None = None

    @property
    def escalated_at(self) -> float | None:
        """When the second channel was called in, if it was."""
        first = min((at for at, _ in self.told), default=self.started_at)
        second = min((at for at, who in self.told if who == SECOND_CHANNEL), default=None)
        return second if second is not None and second - first >= ESCALATES_AFTER else None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "alertname": self.labels["alertname"],
            "severity": self.labels.get("severity"),
            "labels": self.labels,
            "summary": self.summary,
            "description": self.description,
            "started_at": self.started_at,
            "told": [{"at": at, "receiver": receiver} for at, receiver in self.told],
            "acknowledged": [
                {"at": at, "by": by, "comment": comment} for at, by, comment in self.acknowledged
            ],
            "escalated_at": self.escalated_at,
            "resolved_at": self.resolved_at,
            "good_news": [{"at": at, "receiver": receiver} for at, receiver in self.good_news],
            "lasted_seconds": None
            if self.resolved_at is None
            else self.resolved_at - self.started_at,
        }


def tell(rows: Iterable[JournalRow]) -> list[Story]:
    """The stories in the rows, oldest first."""
    stories: dict[tuple[str, str], Story] = {}
    for row in sorted(rows, key=lambda row: (row.at, row.id)):
        if row.kind == "notification":
            _notification(stories, row)
        elif row.kind in ("acknowledged", "silenced"):
            _acknowledgement(stories, row)
    return sorted(stories.values(), key=lambda story: story.started_at)


def _notification(stories: dict[tuple[str, str], Story], row: JournalRow) -> None:
    alert = row.fields
    notes = alert["annotations"]
    story = stories.setdefault(
        (alert["fingerprint"], alert["starts_at"]),
        Story(
            alert["labels"],
            notes.get("summary", ""),
            notes.get("description", ""),
            moment(alert["starts_at"]),
        ),
    )
    if alert["status"] == "firing":
        story.told.append((row.at, alert["receiver"]))
    else:
        story.good_news.append((row.at, alert["receiver"]))
        ended = moment(alert["ends_at"])
        story.resolved_at = min(ended, story.resolved_at or ended)


def _acknowledgement(stories: dict[tuple[str, str], Story], row: JournalRow) -> None:
    fields = row.fields
    for story in stories.values():
        if story.resolved_at is not None:
            continue
        if row.kind == "acknowledged":
            covered = fields["labels"] == story.labels
        else:
            covered = all(
                story.labels.get(matcher["name"], "") == matcher["value"]
                for matcher in fields["matchers"]
            )
        if covered:
            story.acknowledged.append((row.at, fields["by"], fields["comment"]))
