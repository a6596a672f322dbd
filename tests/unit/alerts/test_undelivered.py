"""Channels that accept nothing, and alerts that reach nobody, are said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry

from exporter.alerts.journal import Journal
from exporter.alerts.undelivered import SINCE_SECONDS, read_undelivered
from exporter.metrics import Metrics
from exporter.state import State
from tests.unit.clocks import ManualClock

NOW = 1795532400.0
"""Tuesday 2026-11-24, 10:00 in New York."""
NEW_YORK = ZoneInfo("America/New_York")
ALERT = {
    "labels": {"alertname": "QuantTaskFailing", "severity": "critical", "task": "rebalance"},
    "annotations": {}, "status": "firing", "startsAt": "2026-11-24T15:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "f1",
}  # fmt: skip
SLACK = (
    "slack accepts nothing since Tue 10:00, 1 message not delivered: look at its secret and address"
)
NOBODY = "Nobody was notified of QuantTaskFailing rebalance (Tue 10:00): no channel accepted it"


class Desk:
    """A journal, and what Alertmanager's counters say of each channel."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(NOW)
        self.state = State.open(path, self.clock)
        self.journal = Journal(self.state, Metrics(CollectorRegistry()), self.clock)

    async def notified(self, *receivers: str) -> None:
        for receiver in receivers:
            await self.journal.record(receiver, {"alerts": [ALERT]})

    async def counted(self, kind: str, integration: str) -> None:
        self.clock.advance(15)
        fields = {"integration": integration, "attempts": 1.0, "receivers": [integration]}
        await self.journal.delivery(kind, fields, counts=True)

    async def said(self) -> list[str]:
        return await read_undelivered(self.state, self.clock.now(), NEW_YORK)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path / "state.db")
    yield made
    await made.state.close()


async def test_one_channel_that_refuses_is_said_and_the_others_are_not(desk: Desk) -> None:
    """It is per channel: the pager got it, so somebody was notified."""
    await desk.notified("slack", "pagerduty")
    assert await desk.said() == []
    await desk.counted("failed", "slack")
    await desk.counted("delivered", "pagerduty")
    assert await desk.said() == [SLACK]


async def test_an_alert_that_no_channel_accepted_reached_nobody(desk: Desk) -> None:
    """That is worse than a channel that is down."""
    await desk.notified("slack", "pagerduty")
    await desk.counted("failed", "slack")
    await desk.counted("failed", "pagerduty")
    assert await desk.said() == [
        "pagerduty accepts nothing since Tue 10:00, 1 message not delivered: look at its secret "
        "and address",
        SLACK, NOBODY,
    ]  # fmt: skip


async def test_what_arrives_later_is_no_longer_missed(desk: Desk) -> None:
    """Alertmanager goes on trying; and what is older than a day is history."""
    await desk.notified("slack")
    await desk.counted("failed", "slack")
    assert await desk.said() == [SLACK, NOBODY]
    await desk.counted("delivered", "slack")
    assert await desk.said() == []
    await desk.notified("slack")
    await desk.counted("failed", "slack")
    desk.clock.advance(SINCE_SECONDS + 60)
    assert await desk.said() == []
