"""Journal rows to incidents: what fired, who was notified or acknowledged, how long it took."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporter.alerts.alertmanager_objects import matches, parse_time
from exporter.alerts.journal import OURS
from exporter.state import JournalRow, State

KINDS = (
    "notification",
    "fired",
    "over",
    "acknowledged",
    "silenced",
    "delivered",
    "failed",
    "unconfigured",
)
"""What the journal has about alerts; what tasks did is in it too."""
PAGE_ROWS = 2_000
LIMIT = 1_000
"""Incidents in one answer."""
JUST_BEFORE_SECONDS = 2.0
"""A channel's delivery may be seen so much earlier than its post to the journal."""
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
    arrived: dict[int, bool] = field(default_factory=dict)
    """Of `notified`, by index: whether the channel accepted it; what is not known is missing."""
    unconfigured: set[str] = field(default_factory=set)
    """Receivers for which Alertmanager had no channel: nothing arrived there."""
    resolved_sent: list[tuple[float, str]] = field(default_factory=list)
    """The same for resolved notifications."""
    acknowledged: list[tuple[float, str, str]] = field(default_factory=list)
    """When, by whom, with which comment."""
    resolved_at: float | None = None
    muted: str = ""
    """Why nobody was notified, as far as Alertmanager says."""
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

    def reached(self) -> Iterator[tuple[str, float, bool | None]]:
        """Each receiver that was notified, when first, and whether that arrived: None is unknown.
        Whoever got one of several was reached."""
        first: dict[str, tuple[float, bool | None]] = {}
        for number, (at, receiver) in enumerate(self.notified):
            arrived = self.arrived.get(number)
            known = first.get(receiver)
            # What a later one says counts where the earlier one did not arrive, or is not known.
            if known is None or (known[1] is False and arrived is not False):
                first[receiver] = (at, arrived)
            elif known[1] is None and arrived:
                first[receiver] = (known[0], True)
        for receiver, (at, arrived) in first.items():
            yield receiver, at, True if receiver == OURS else arrived

    def receivers(self) -> set[str]:
        """Whoever was to be notified."""
        return {receiver for _, receiver in self.notified}

    def refused(self) -> list[str]:
        """Receivers at which nothing arrived, with the reason where it is known."""
        return [
            f"{receiver} (not configured)" if receiver in self.unconfigured else receiver
            for receiver, _, arrived in self.reached()
            if arrived is False
        ]

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
            "told": [
                {"at": at, "receiver": receiver, "delivered": self.arrived.get(n)}
                for n, (at, receiver) in enumerate(self.notified)
            ],
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


@dataclass(frozen=True)
class Timeline:
    """What was journalled about alerts since some moment."""

    incidents: list[Incident]
    """Oldest first."""
    failed: dict[str, float]
    """Failed delivery attempts, by integration."""
    older: int
    """Older incidents that were left out."""
    unreadable: int
    """Rows that make no sense, left out."""


async def read_timeline(
    state: State, since: float, until: float = math.inf, limit: int = LIMIT
) -> Timeline:
    """The newest `limit` incidents that something was journalled about since then and that started
    before `until`. Everything happens in threads, page by page: the loop goes on meanwhile.
    Raises :class:`StateError`."""
    builder = TimelineBuilder()
    after: tuple[float, int] | None = (since, -1)
    while after is not None:
        page = await state.history.journal_page(KINDS, after, PAGE_ROWS)
        builder.unreadable += page.unreadable
        await asyncio.to_thread(builder.add, page.rows)
        after = page.end
    return await asyncio.to_thread(builder.timeline, until, limit)


def build_timeline(rows: Iterable[JournalRow]) -> list[Incident]:
    """The incidents in the rows, oldest first."""
    builder = TimelineBuilder()
    builder.add(sorted(rows, key=lambda row: (row.at, row.id)))
    return builder.timeline().incidents


class TimelineBuilder:
    """Takes rows in the order in which they were journalled."""

    def __init__(self) -> None:
        self.unreadable = 0
        self._incidents: dict[tuple[str, int], Incident] = {}
        """By fingerprint and start in milliseconds."""
        self._open: dict[tuple[str, int], Incident] = {}
        self._failed: dict[str, float] = {}
        self._pending: dict[str, list[tuple[Incident, int]]] = {}
        """By receiver, notifications that are not known to have arrived."""
        self._arrived_at: dict[str, float] = {}
        self._steps: dict[str, Callable[[JournalRow], None]] = {
            "notification": self._notification,
            "fired": self._fired,
            "over": self._over,
            "acknowledged": self._acknowledgement,
            "silenced": self._acknowledgement,
            "delivered": self._delivered,
            "failed": self._failure,
            "unconfigured": self._unconfigured,
        }

    def add(self, rows: Iterable[JournalRow]) -> None:
        """A row that an older or a damaged exporter left is counted, and spoils nothing else."""
        for row in rows:
            step = self._steps.get(row.kind)
            if step is None:
                continue
            try:
                step(row)
            except (KeyError, TypeError, ValueError, AttributeError):
                self.unreadable += 1

    def timeline(self, until: float = math.inf, limit: int = LIMIT) -> Timeline:
        """What the rows so far say."""
        found = [one for one in self._incidents.values() if one.started_at < until]
        found.sort(key=lambda incident: incident.started_at)
        older = max(0, len(found) - limit)
        return Timeline(found[older:], self._failed, older, self.unreadable)

    def _incident(self, alert: Mapping[str, Any]) -> tuple[tuple[str, int], Incident]:
        labels, notes = _texts(alert["labels"]), _texts(alert["annotations"])
        if not labels.get("alertname"):
            raise ValueError("an alert has a name")
        # Posts and the API write the same moment with more digits or fewer.
        started_at = parse_time(alert["starts_at"])
        key = (str(alert["fingerprint"]), round(started_at * 1000))
        known = self._incidents.get(key)
        if known is None:
            summary, description = notes.get("summary", ""), notes.get("description", "")
            known = self._incidents[key] = Incident(labels, summary, description, started_at)
            self._open[key] = known
        return key, known

    def _fired(self, row: JournalRow) -> None:
        muted = str(row.fields["muted"])
        key, incident = self._incident(row.fields)
        incident.muted = muted
        if incident.seen_over:
            incident.resolved_at, incident.seen_over = None, False
            self._open[key] = incident

    def _over(self, row: JournalRow) -> None:
        ended = parse_time(row.fields["ends_at"])
        key, incident = self._incident(row.fields)
        if incident.resolved_at is None:
            incident.resolved_at, incident.seen_over = ended, True
            self._open.pop(key, None)

    def _notification(self, row: JournalRow) -> None:
        alert = row.fields
        receiver, status = str(alert["receiver"]), alert["status"]
        ended = None if status == "firing" else parse_time(alert["ends_at"])
        key, incident = self._incident(alert)
        if ended is None:
            incident.notified.append((row.at, receiver))
            number = len(incident.notified) - 1
            if row.at - self._arrived_at.get(receiver, -math.inf) <= JUST_BEFORE_SECONDS:
                incident.arrived[number] = True
            else:
                self._pending.setdefault(receiver, []).append((incident, number))
            return
        incident.resolved_sent.append((row.at, receiver))
        known = None if incident.seen_over else incident.resolved_at
        incident.resolved_at, incident.seen_over = min(ended, known or ended), False
        self._open.pop(key, None)

    def _acknowledgement(self, row: JournalRow) -> None:
        fields = row.fields
        by = (row.at, str(fields["by"]), str(fields["comment"]))
        for incident in self._open.values():
            if row.kind == "acknowledged":
                covered = fields["labels"] == incident.labels
            else:
                covered = all(matches(matcher, incident.labels) for matcher in fields["matchers"])
            if covered:
                incident.acknowledged.append(by)

    def _delivered(self, row: JournalRow) -> None:
        for receiver in row.fields["receivers"]:
            self._arrived_at[receiver] = row.at
            for incident, number in self._pending.pop(receiver, ()):
                incident.arrived[number] = True

    def _unconfigured(self, row: JournalRow) -> None:
        for receiver in row.fields["receivers"]:
            for incident, number in self._pending.pop(receiver, ()):
                incident.arrived[number] = False
                incident.unconfigured.add(receiver)

    def _failure(self, row: JournalRow) -> None:
        for receiver in row.fields.get("receivers", ()):
            for incident, number in self._pending.get(receiver, ()):
                incident.arrived[number] = False
        name, attempts = str(row.fields["integration"]), float(row.fields["attempts"])
        self._failed[name] = self._failed.get(name, 0.0) + attempts


def _texts(found: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in found.items()}
