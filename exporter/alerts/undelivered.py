"""Whom no alert reaches: what the journal says of channels that accepted nothing, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from exporter.alerts.timeline import Incident, Timeline, read_timeline
from exporter.state import State

SINCE_SECONDS = 86400.0
_MOST = 3
"""Alerts that reached nobody and are named."""
_SUBJECTS = ("strategy", "task", "feed", "source")


async def read_undelivered(state: State, now: float, zone: ZoneInfo) -> list[str]:
    """What was not delivered within a day. Raises :class:`exporter.state.StateError`."""
    return list(undelivered(await read_timeline(state, now - SINCE_SECONDS), zone))


def undelivered(timeline: Timeline, zone: ZoneInfo) -> Iterator[str]:
    """A sentence a channel whose newest message did not arrive, and an alert that reached nobody.
    What arrived later, or by another channel, is not in them."""

    def when(at: float) -> str:
        return f"{datetime.fromtimestamp(at, zone):%a %H:%M}"

    for channel, failed in _silent_channels(timeline.incidents):
        messages = "1 message" if len(failed) == 1 else f"{len(failed)} messages"
        *_, newest = (one for one in timeline.incidents if channel in one.receivers())
        if channel in newest.unconfigured:
            yield (
                f"{channel} is not configured, {messages} not delivered since {when(failed[0])}: "
                "set its secret, or take it out of the routes"
            )
            continue
        yield (
            f"{channel} accepts nothing since {when(failed[0])}, {messages} not delivered: look at "
            "its secret and address"
        )
    lost = [incident for incident in timeline.incidents if _reached_nobody(incident)]
    for incident in lost[-_MOST:]:
        labels = incident.labels
        about = next((f" {labels[name]}" for name in _SUBJECTS if labels.get(name)), "")
        yield (
            f"Nobody was notified of {labels['alertname']}{about} ({when(incident.started_at)}): "
            "no channel accepted it"
        )


def _reached_nobody(incident: Incident) -> bool:
    numbers = range(len(incident.notified))
    return bool(numbers) and all(incident.arrived.get(n) is False for n in numbers)


def _silent_channels(incidents: list[Incident]) -> Iterator[tuple[str, list[float]]]:
    """Each with the times of the messages that it has not accepted since the last that it did."""
    known: dict[str, list[tuple[float, bool]]] = {}
    for incident in incidents:
        for number, (at, channel) in enumerate(incident.notified):
            if number in incident.arrived:
                known.setdefault(channel, []).append((at, incident.arrived[number]))
    for channel, tries in sorted(known.items()):
        accepted = max((at for at, arrived in tries if arrived), default=0.0)
        failed = sorted(at for at, arrived in tries if not arrived and at > accepted)
        if failed:
            yield channel, failed
