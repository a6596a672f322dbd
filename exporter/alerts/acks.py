"""Acknowledgements, and good news that would be lost.

Alertmanager tells nobody that an alert is over when it was silenced or inhibited at that moment, so
PagerDuty's incident stays open and swallows the next page. Hence an acknowledgement is a short
silence that is renewed while the alert fires and ended when it is over; and whoever was told that
something fires, and heard nothing since, is told again once nothing mutes it. Should the exporter
die, the short silence runs out and the alert comes back.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from exporter.alerts.api_clients import Labels, ServerError, Servers, Silence
from exporter.alerts.journal import Journal
from exporter.alerts.observed import Held
from exporter.config import Alerts
from exporter.state import State, StateError
from exporter.util.clock import Clock, iso

logger = logging.getLogger(__name__)

ACK = "alert_ack"
BY = "quant-exporter ack"
GIVE_UP = 7 * 86400.0

Present = set[frozenset[tuple[str, str]]]
"""The labels of everything that fires or is pending."""


class NothingFires(Exception):  # noqa: N818 - says what is the case
    """There is no such alert to acknowledge; the text says what there is."""


class Keeper:
    """Looks at Alertmanager and Prometheus every few seconds."""

    def __init__(
        self,
        servers: Servers,
        journal: Journal,
        state: State,
        clock: Clock,
        times: Callable[[], Alerts] = Alerts,
    ) -> None:
        self._servers, self._journal, self._state, self._clock = servers, journal, state, clock
        self._times, self._held = times, Held(state, journal)
        self._gone_since: dict[str, float] = {}
        self._seen: dict[str, Silence] | None = None
        self._failed: dict[str, float] | None = None
        self._trouble: str | None = None
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.sweep()
                self._trouble = None
            except (ServerError, StateError) as error:
                if str(error) != self._trouble:  # once, not every 15 seconds
                    logger.info("alerts are not watched: %s", error, extra={"event": "keeper"})
                self._trouble = str(error)
            await asyncio.sleep(self._times().check_every)

    async def acknowledge(
        self, wanted: Labels, until: float, by: str, comment: str
    ) -> list[dict[str, str]]:
        """Silence everything that fires with these labels, each by itself; what that was.

        Raises :class:`NothingFires`, :class:`ServerError`.
        """
        firing = [a for a in await self._servers.alerts() if wanted.items() <= a.items()]
        if not firing:
            names = sorted({alert["alertname"] for alert in await self._servers.alerts()})
            raise NothingFires(
                f"nothing fires with {_text(wanted)}; firing: {', '.join(names) or 'nothing'}"
            )
        async with self._turn:
            for labels in firing:
                name = secrets.token_hex(8)
                ack = {"labels": labels, "until": until, "by": by, "comment": comment}
                await self._state.keep(ACK, name, ack)
                await self._silence(name, ack)
                await self._journal.write("acknowledged", ack)
        return firing

    async def _silence(self, name: str, ack: Mapping[str, Any], silence: str | None = None) -> None:
        now = self._clock.now()
        end = min(ack["until"], now + self._times().silence)
        comment = f"{ack['by']}: {ack['comment']}".strip(": ")
        made = await self._servers.silence(
            ack["labels"], start=now, end=end, by=BY, comment=comment, replaces=silence
        )
        await self._state.keep(ACK, name, {**ack, "silence": made, "silent_until": end})

    async def sweep(self) -> None:
        """One look. Raises :class:`ServerError`; what it did not get to, the next one does."""
        async with self._turn:
            silences = await self._servers.silences()
            try:
                present = await self._present()
            except ServerError:
                # Without Prometheus nothing is known to be over; acknowledgements go on.
                await self._keep_acks(None, silences)
                raise
            await self._keep_acks(present, silences)
            await self._watch_silences()
            await self._held.look(
                await self._servers.held(),
                lambda labels: self._over(labels, present),
                iso(self._clock.now() - self._times().settle),
            )
            await self._pass_on_good_news(present)
            await self._watch_failures()

    async def _present(self) -> Present:
        there = await self._servers.firing() + await self._servers.alerts()
        return {frozenset(labels.items()) for labels in there}

    def _over(self, labels: Labels, present: Present | None) -> bool:
        key = _text(labels)
        if present is None or frozenset(labels.items()) in present:
            self._gone_since.pop(key, None)
            return False
        now = self._clock.monotonic()
        return now - self._gone_since.setdefault(key, now) >= self._times().settle

    async def _keep_acks(self, present: Present | None, silences: list[Silence]) -> None:
        active = {silence.id: silence for silence in silences}
        now = self._clock.now()
        for name, ack in self._state.kept(ACK).items():
            silence = active.get(ack.get("silence", ""))
            over, ended = self._over(ack["labels"], present), now >= ack["until"]
            # Somebody ended our silence in Alertmanager: that ends the acknowledgement.
            lifted = silence is None and now < ack.get("silent_until", 0.0) - 1
            if over or ended or lifted:
                if silence is not None:
                    await self._servers.end_silence(silence.id)
                await self._state.forget(ACK, name)
                kind = "ack_cleared" if over else "ack_ended"
                await self._journal.write(kind, ack)
            elif silence is None or silence.ends_at - now < self._times().silence / 2:
                if silence is not None and silence.ends_at >= ack["until"] - 1:
                    continue
                await self._silence(name, ack, silence.id if silence else None)

    async def _watch_silences(self) -> None:
        now = {silence.id: silence for silence in await self._servers.silences()}
        before = self._seen
        self._seen = now
        if before is None:
            return
        for kind, one, other in (("silenced", now, before), ("silence_ended", before, now)):
            for silence in one.values():
                if silence.id not in other and silence.by != BY:
                    fields = {
                        "matchers": list(silence.matchers),
                        "by": silence.by,
                        "comment": silence.comment,
                        "until": silence.ends_at,
                    }
                    await self._journal.write(kind, fields)

    async def _pass_on_good_news(self, present: Present) -> None:
        muting = await self._servers.silences()
        late = []
        now = self._clock.now()
        keys = {_text(labels) for labels in self._held.labels}
        for key, alert in self._journal.told():
            labels = alert["labels"]
            keys.add(_text(labels))
            if not self._over(labels, present):
                continue
            if any(silence.covers(labels) for silence in muting):
                continue
            gone = self._clock.monotonic() - self._gone_since[_text(labels)]
            if gone > GIVE_UP:
                await self._journal.forget(key)
            else:
                late.append({**alert, "ends_at": iso(math.ceil(now - gone))})
        self._gone_since = {
            text: since
            for text, since in self._gone_since.items()
            if text in keys
            or any(_text(a["labels"]) == text for a in self._state.kept(ACK).values())
        }
        if late:
            # Asked anew at the last moment: what fires again since then is no good news.
            present = await self._present()
            late = [one for one in late if frozenset(one["labels"].items()) not in present]
            await self._servers.say_resolved(late)

    async def _watch_failures(self) -> None:
        now = await self._servers.failed_attempts()
        before = self._failed
        self._failed = now
        for integration, count in now.items():
            new = count - (before or {}).get(integration, 0.0)
            if before is not None and new > 0:
                await self._journal.write("failed", {"integration": integration, "attempts": new})


def _text(labels: Labels) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()))
