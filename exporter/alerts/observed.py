"""What Alertmanager holds, whether it told anybody or not.

A silence that was forgotten, a source that mutes its feeds, a warning that waits for the morning:
nobody is told, so no receiver posts to the journal. Looking at Alertmanager itself says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from exporter.alerts.api_clients import Labels
from exporter.alerts.journal import Journal
from exporter.state import State

HELD = "alert_held"
"""Kept under this kind: what was seen to fire, until it is seen to be over."""
WATCHDOG = "QuantWatchdog"
"""It fires always, and has no story."""


class Held:
    """Journals the beginning and the end of every alert that is seen at Alertmanager."""

    def __init__(self, state: State, journal: Journal) -> None:
        self._state, self._journal = state, journal

    @property
    def labels(self) -> list[Labels]:
        """Of everything whose end has not been seen yet."""
        return [alert["labels"] for alert in self._state.kept(HELD).values()]

    async def look(
        self, alerts: Iterable[dict[str, Any]], is_over: Callable[[Labels], bool], ended_at: str
    ) -> None:
        """`alerts` as :meth:`.servers.Servers.held` gives them; `ended_at` is RFC 3339."""
        kept = dict(self._state.kept(HELD))
        for alert in alerts:
            if alert["labels"].get("alertname") == WATCHDOG:
                continue
            key = f"{alert['fingerprint']}|{alert['starts_at']}"
            before = kept.pop(key, None)
            if before is None or (alert["muted"] and alert["muted"] != before["muted"]):
                await self._journal.write("fired", alert)
                await self._state.keep(HELD, key, alert)
        for key, alert in kept.items():
            if is_over(alert["labels"]):
                await self._journal.write("over", {**alert, "ends_at": ended_at})
                await self._state.forget(HELD, key)
