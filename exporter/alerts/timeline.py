"""Journal rows to stories: what fired, who was told, who acknowledged, how long it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporter.alerts.api_clients import moment
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
    muted: str = ""
    """Why nobody was told, as far as Alertmanager said."""
    seen_over: bool = False
    """`resolved_at` comes from a look: nobody was told of the end."""

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
            "muted": self.muted or None,
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


Stories = dict[tuple[str, int], Story]
"""By fingerprint and start in milliseconds."""


def tell(rows: Iterable[JournalRow]) -> list[Story]:
    """The stories in the rows, oldest first."""
    stories: Stories = {}
    for row in sorted(rows, key=lambda row: (row.at, row.id)):
        if row.kind == "notification":
            _notification(stories, row)
        elif row.kind == "fired":
            _fired(_story(stories, row.fields), row)
        elif row.kind == "over":
            _over(_story(stories, row.fields), row)
        elif row.kind in ("acknowledged", "silenced"):
            _acknowledgement(stories, row)
    return sorted(stories.values(), key=lambda story: story.started_at)


def _story(stories: Stories, alert: Mapping[str, Any]) -> Story:
    notes = alert["annotations"]
    # Posts and the API write the same moment with more digits or fewer.
    started_at = moment(alert["starts_at"])
    return stories.setdefault(
        (alert["fingerprint"], round(started_at * 1000)),
        Story(alert["labels"], notes.get("summary", ""), notes.get("description", ""), started_at),
    )


def _fired(story: Story, row: JournalRow) -> None:
    story.muted = row.fields["muted"]
    if story.seen_over:
        story.resolved_at, story.seen_over = None, False


def _over(story: Story, row: JournalRow) -> None:
    if story.resolved_at is None:
        story.resolved_at, story.seen_over = moment(row.fields["ends_at"]), True


def _notification(stories: Stories, row: JournalRow) -> None:
    alert = row.fields
    story = _story(stories, alert)
    if alert["status"] == "firing":
        story.told.append((row.at, alert["receiver"]))
    else:
        story.good_news.append((row.at, alert["receiver"]))
        ended = moment(alert["ends_at"])
        known = None if story.seen_over else story.resolved_at
        story.resolved_at, story.seen_over = min(ended, known or ended), False


def _acknowledgement(stories: Stories, row: JournalRow) -> None:
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
