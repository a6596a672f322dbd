"""What fires now, asked of Alertmanager, seldom enough that a page costs it nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import aiohttp

from exporter.util.clock import Clock
from exporter.web.status.view import AlertRow

TIMEOUT = aiohttp.ClientTimeout(total=2)
HOLDS_SECONDS = 10.0
WATCHDOG = "QuantWatchdog"
SUBJECTS = ("strategy", "task", "feed", "source", "exchange")
"""Labels that say what an alert is about, the narrowest first."""
_ORDER = {"critical": 0, "warning": 1}


class AlertsNow:
    """Asks for a page that is asked for; `seen` tells a server that is gone from one that never
    was (``make run`` starts none)."""

    def __init__(self, url: Callable[[], str], clock: Clock) -> None:
        self._url, self._clock = url, clock
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
            async with (
                aiohttp.ClientSession(timeout=TIMEOUT) as session,
                session.get(
                    f"{self._url()}/api/v2/alerts", params={"inhibited": "false"}
                ) as answer,
            ):
                answer.raise_for_status()
                rows = [_row(alert) for alert in await answer.json()]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError):
            return None
        rows = [row for row in rows if row.name != WATCHDOG]
        return tuple(sorted(rows, key=lambda row: (_ORDER.get(row.severity, 2), row.since)))


def _row(alert: Mapping[str, Any]) -> AlertRow:
    labels, notes = alert["labels"], alert["annotations"]
    return AlertRow(
        labels["alertname"],
        labels.get("severity", ""),
        notes.get("summary", ""),
        datetime.fromisoformat(alert["startsAt"]).timestamp(),
        acknowledged=bool(alert["status"]["silencedBy"]),
        description=notes.get("description", ""),
        subject=next((labels[name] for name in SUBJECTS if labels.get(name)), ""),
        runbook=_address(notes.get("runbook_url", "")),
        ack=urlencode(
            {name: labels[name] for name in ("alertname", *SUBJECTS) if labels.get(name)}
        ),
    )


def _address(text: str) -> str:
    """A web address, or nothing: a link must not run what a label brings along."""
    return text if text.startswith(("http://", "https://")) else ""
