"""Acknowledgements, and resolved notifications that would be lost.

Alertmanager sends no resolved notification for an alert that is silenced or inhibited when it ends,
so PagerDuty's incident would stay open and swallow the next page. Hence an acknowledgement is a
short silence that is renewed while the alert fires and expired when it ends; and every channel that
was notified of an alert, and of nothing since, gets its resolved notification once nothing mutes
the alert. Should the exporter die, the short silence runs out and the alert comes back.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from exporter.alerts.alertmanager_objects import Labels, Silence
from exporter.alerts.api_clients import AlertmanagerClient, PrometheusClient, ServerError
from exporter.alerts.deliveries import DeliveryWatch
from exporter.alerts.journal import Journal
from exporter.alerts.observed import ObservedAlerts
from exporter.config import Alerts
from exporter.state import State, StateError
from exporter.util.clock import Clock, iso

logger = logging.getLogger(__name__)

ACK = "alert_ack"
BY = "quant-exporter ack"
GIVE_UP_SECONDS = 7 * 86400.0

Present = set[frozenset[tuple[str, str]]]
"""The labels of everything that fires or is pending."""


class NoSuchAlertError(Exception):
    """No alert fires with these labels; the text says what does."""


class AckReconciler:
    """Compares acknowledgements with Alertmanager and Prometheus every few seconds."""

    def __init__(
        self,
        alertmanager: AlertmanagerClient,
        prometheus: PrometheusClient,
        journal: Journal,
        state: State,
        clock: Clock,
        *,
        settings: Callable[[], Alerts] = Alerts,
    ) -> None:
        self._alertmanager, self._prometheus = alertmanager, prometheus
        self._journal, self._state, self._clock = journal, state, clock
        self._settings, self._observed = settings, ObservedAlerts(state, journal)
        self._gone_since: dict[str, float] = {}
        self._seen: dict[str, Silence] | None = None
        self._deliveries = DeliveryWatch(alertmanager, journal, clock)
        self._problem: str | None = None
        self._reached = False
        self._lock = asyncio.Lock()
        self.last_success = clock.now()
        """When everything was last compared without an error; at first the start."""

    async def run(self) -> None:
        """For ever, whatever goes wrong in between."""
        while True:
            try:
                await self.reconcile()
                self._problem, self._reached = None, True
            except (ServerError, StateError) as error:
                if str(error) != self._problem:  # once, not every 15 seconds
                    logger.log(
                        # `make run` starts no servers.
                        logging.WARNING if self._reached else logging.INFO,
                        "cannot compare acknowledgements with Alertmanager and Prometheus: %s",
                        error,
                        extra={"event": "alert_sync_failed"},
                    )  # fmt: skip
                self._problem = str(error)
            except Exception as error:
                if repr(error) != self._problem:
                    logger.exception(
                        "cannot compare acknowledgements: internal error",
                        extra={"event": "alert_sync_failed"},
                    )
                self._problem = repr(error)
            await asyncio.sleep(self._settings().check_every)

    async def acknowledge(
        self, wanted: Labels, until: float, by: str, comment: str
    ) -> list[dict[str, str]]:
        """Silence everything that fires with these labels, each alert by itself; returns their
        labels. Raises :class:`NoSuchAlertError`, :class:`ServerError`."""
        firing = [alert.labels for alert in await self._alertmanager.alerts()]
        found = [labels for labels in firing if wanted.items() <= labels.items()]
        if not found:
            names = sorted({labels.get("alertname", "") for labels in firing})
            raise NoSuchAlertError(
                f"no alert fires with {_text(wanted)}; firing: {', '.join(names) or 'none'}"
            )
        async with self._lock:
            for labels in found:
                name = secrets.token_hex(8)
                ack = {"labels": labels, "until": until, "by": by, "comment": comment}
                await self._state.keep(ACK, name, ack)
                await self._silence(name, ack)
                await self._journal.write("acknowledged", ack)
        return found

    async def _silence(self, name: str, ack: Mapping[str, Any], silence: str | None = None) -> None:
        now = self._clock.now()
        end = min(ack["until"], now + self._settings().silence)
        comment = f"{ack['by']}: {ack['comment']}".strip(": ")
        made = await self._alertmanager.create_silence(
            ack["labels"], start=now, end=end, by=BY, comment=comment, replaces=silence
        )
        await self._state.keep(ACK, name, {**ack, "silence": made, "silent_until": end})

    async def reconcile(self) -> None:
        """Compare once. Raises the first :class:`ServerError` of what could not be compared, once
        everything else was."""
        async with self._lock:
            errors: list[ServerError] = []
            silences = await self._alertmanager.silences()
            present: Present | None = None
            try:
                present = await self._present()
            except ServerError as error:
                # Without Prometheus nothing is known to be over; acknowledgements go on.
                errors.append(error)
            await self._keep_acks(present, silences, errors)
            await _collect(self._watch_silences(), errors)
            await _collect(self._deliveries.look(), errors)
            if present is not None:
                await _collect(self._observe(present), errors)
                await _collect(self._send_late_resolved(present), errors)
        if errors:
            raise errors[0]
        self.last_success = self._clock.now()

    async def _present(self) -> Present:
        there = await self._prometheus.alerts()
        there += [alert.labels for alert in await self._alertmanager.alerts()]
        return {frozenset(labels.items()) for labels in there}

    def _over(self, labels: Labels, present: Present | None) -> bool:
        key = _text(labels)
        if present is None or frozenset(labels.items()) in present:
            self._gone_since.pop(key, None)
            return False
        now = self._clock.monotonic()
        return now - self._gone_since.setdefault(key, now) >= self._settings().settle

    async def _keep_acks(
        self, present: Present | None, silences: list[Silence], errors: list[ServerError]
    ) -> None:
        active = {silence.id: silence for silence in silences}
        for name, ack in self._state.kept(ACK).items():
            silence = active.get(ack.get("silence", ""))
            await _collect(self._keep_ack(name, ack, silence, present), errors)

    async def _keep_ack(
        self, name: str, ack: Mapping[str, Any], silence: Silence | None, present: Present | None
    ) -> None:
        now = self._clock.now()
        over, ended = self._over(ack["labels"], present), now >= ack["until"]
        # Somebody ended our silence in Alertmanager: that ends the acknowledgement. One that it
        # does not know was lost when it was killed, since it saves them only now and then.
        missing = silence is None and now < ack.get("silent_until", 0.0) - 1
        lifted = missing and ack["silence"] in await self._alertmanager.ended_silences()
        if over or ended or lifted:
            if silence is not None:
                await self._alertmanager.expire_silence(silence.id)
            await self._state.forget(ACK, name)
            await self._journal.write("ack_cleared" if over else "ack_ended", ack)
        elif silence is None:
            await self._silence(name, ack)
        elif (
            silence.ends_at - now < self._settings().silence / 2
            and silence.ends_at < ack["until"] - 1
        ):
            await self._silence(name, ack, silence.id)

    async def _watch_silences(self) -> None:
        now = {silence.id: silence for silence in await self._alertmanager.silences()}
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

    async def _observe(self, present: Present) -> None:
        await self._observed.update(
            await self._alertmanager.alerts(),
            lambda labels: self._over(labels, present),
            iso(self._clock.now() - self._settings().settle),
        )

    async def _send_late_resolved(self, present: Present) -> None:
        muting = await self._alertmanager.silences()
        late = []
        now = self._clock.now()
        keys = {_text(labels) for labels in self._observed.labels}
        for key, alert in self._journal.unresolved():
            labels = alert["labels"]
            keys.add(_text(labels))
            if not self._over(labels, present):
                continue
            if any(silence.covers(labels) for silence in muting):
                continue
            gone = self._clock.monotonic() - self._gone_since[_text(labels)]
            if gone > GIVE_UP_SECONDS:
                await self._journal.forget(key)
            else:
                late.append({**alert, "ends_at": iso(math.ceil(now - gone))})
        keys |= {_text(ack["labels"]) for ack in self._state.kept(ACK).values()}
        self._gone_since = {text: since for text, since in self._gone_since.items() if text in keys}
        if late:
            # Asked again at the last moment: an alert that fires again since then is not over.
            present = await self._present()
            late = [one for one in late if frozenset(one["labels"].items()) not in present]
        errors: list[ServerError] = []
        for one in {_text(one["labels"]): one for one in late}.values():
            await _collect(self._alertmanager.post_resolved([one]), errors)
        if errors:
            raise errors[0]


async def _collect(work: Awaitable[None], errors: list[ServerError]) -> None:
    """One thing that a server refuses leaves the others alone."""
    try:
        await work
    except ServerError as error:
        errors.append(error)


def _text(labels: Labels) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()))
