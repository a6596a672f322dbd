"""What Alertmanager holds, whether it notified anybody or not.

For an alert under a forgotten silence, one that its source inhibits, or a warning that waits for
the morning, no receiver posts to the journal. Alertmanager itself shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from exporter.alerts.alertmanager_objects import ActiveAlert, Labels
from exporter.alerts.journal import Journal
from exporter.state import State

OBSERVED = "alert_held"
"""Kept under this kind: what was seen to fire, until it is seen to be over."""
WATCHDOG = "QuantWatchdog"
"""It always fires and is not an incident."""


class ObservedAlerts:
    """Journals start and end of every alert that is seen at Alertmanager."""

    def __init__(self, state: State, journal: Journal) -> None:
        self._state, self._journal = state, journal

    @property
    def labels(self) -> list[Labels]:
        """Of everything whose end has not been seen yet."""
        return [alert["labels"] for alert in self._state.kept(OBSERVED).values()]

    async def update(
        self, alerts: Iterable[ActiveAlert], is_over: Callable[[Labels], bool], ended_at: str
    ) -> None:
        """`alerts` as Alertmanager lists them now; `ended_at` is RFC 3339."""
        kept = dict(self._state.kept(OBSERVED))
        for alert in alerts:
            if alert.labels.get("alertname") == WATCHDOG:
                continue
            key = f"{alert.fingerprint}|{alert.starts_at}"
            before = kept.pop(key, None)
            if before is None or (alert.muted and alert.muted != before["muted"]):
                await self._journal.write("fired", alert.as_json())
                await self._state.keep(OBSERVED, key, alert.as_json())
        for key, gone in kept.items():
            if is_over(gone["labels"]):
                await self._journal.write("over", {**gone, "ends_at": ended_at})
                await self._state.forget(OBSERVED, key)
