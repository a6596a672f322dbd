"""What arrived and what did not, from Alertmanager's own counters.

They count by integration (with its feature `receiver-name-in-metrics` by receiver, too), and a
channel that is reached by webhook shares its count with the posts to our own journal. Those are
known here, so what is left of the count is the channel's.
"""

from __future__ import annotations

from exporter.alerts.api_clients import AlertmanagerClient, Attempts, CountedChannel
from exporter.alerts.journal import OURS, Journal
from exporter.util.clock import Clock

KINDS = ("delivered", "failed")
WEBHOOK = "webhook"
SETTLED_SECONDS = 3.0
"""Alertmanager counts a post once it has our answer: soon after that both counts agree."""


class DeliveryWatch:
    """Looks every few seconds, and journals what has changed since the last look."""

    def __init__(self, alertmanager: AlertmanagerClient, journal: Journal, clock: Clock) -> None:
        self._alertmanager, self._journal, self._clock = alertmanager, journal, clock
        self._before: Attempts | None = None
        self._own_before: Attempts = {}
        self._posted_before: dict[str, tuple[float, float]] = {}

    async def look(self) -> None:
        """Compare once. Raises :class:`~exporter.alerts.api_clients.ServerError`."""
        now = await self._alertmanager.attempts_by_channel()
        posts, before = self._journal.posts, self._before
        settled = self._clock.monotonic() - posts.last_at >= SETTLED_SECONDS
        if not settled and before is not None:
            now = {c: n for c, n in now.items() if c.integration != WEBHOOK} | {
                c: n for c, n in before.items() if c.integration == WEBHOOK
            }
        if before is not None and now == before:
            self._remember_own(now, settled)
            return
        receivers = await self._alertmanager.receivers()
        if before is None:
            if not settled:
                return
            self._journal.expect(receivers)
        else:
            for channel, counts in now.items():
                await self._changed(channel, counts, before, receivers)
            if settled:
                await self._unconfigured(receivers)
        self._remember_own(now, settled)
        self._before = now

    def _remember_own(self, now: Attempts, settled: bool) -> None:
        if settled:
            self._posted_before = self._journal.posts.by_receiver()
            self._own_before = {
                c: self._journal.posts.count(c.receiver) for c in now if c.integration == WEBHOOK
            }

    async def _unconfigured(self, receivers: dict[str, list[str]]) -> None:
        """Who was to be notified and has no channel, as in containers where a secret is empty."""
        with_channel = {OURS, *(name for names in receivers.values() for name in names)}
        posted = self._journal.posts.by_receiver().items()
        for receiver, count in posted:
            if count != self._posted_before.get(receiver) and receiver not in with_channel:
                await self._journal.unconfigured(receiver)

    async def _changed(
        self, channel: CountedChannel, counts: tuple[float, float], before: Attempts,
        receivers: dict[str, list[str]],
    ) -> None:  # fmt: skip
        old = before.get(channel, (0.0, 0.0))
        restarted = sum(counts) < sum(old)
        if restarted:
            old = (0.0, 0.0)
        new = [max(0.0, count - known) for count, known in zip(counts, old, strict=True)]
        if channel.integration == WEBHOOK:
            if restarted:
                return  # it is not known how many of our own are among them
            own = self._journal.posts.count(channel.receiver)
            known = self._own_before.get(channel, (0.0, 0.0))
            new = [max(0.0, n - (a - b)) for n, a, b in zip(new, own, known, strict=True)]
        there = receivers.get(channel.integration, [])
        names = [channel.receiver] if channel.receiver in there else there
        # Whose message failed, where two share a count, is not known.
        unclear = len(names) > 1 and all(new)
        for kind, attempts in zip(KINDS, new, strict=True):
            if attempts:
                fields = {
                    "integration": channel.integration, "attempts": attempts,
                    "receivers": [] if unclear else names,
                }  # fmt: skip
                await self._journal.delivery(kind, fields, counts=bool(names))
