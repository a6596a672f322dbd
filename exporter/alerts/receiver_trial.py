"""One trial alert through each receiver of Alertmanager, and what became of it.

Alertmanager counts by integration, not by receiver, so one receiver is tried after the other: what
its integrations count meanwhile is of this trial. Webhooks to the journal are counted too; those of
other alerts that happen meanwhile only count as delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from exporter.alerts.api_clients import AlertmanagerClient
from exporter.util.clock import Clock, iso

NAME = "QuantTrial"
PATIENCE_SECONDS = 20.0
"""From the alert to the first answer of the service behind a receiver."""
LASTS_SECONDS = 60.0
"""After that the alert is over, which closes what it opened."""
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Tried:
    """One receiver. `problem` is None when every integration of it delivered the trial."""

    receiver: str
    integrations: tuple[str, ...]
    problem: str | None


class ReceiverTrial:
    """What is tried out, and how long is waited for."""

    def __init__(
        self,
        alertmanager: AlertmanagerClient,
        clock: Clock,
        *,
        patience: float = PATIENCE_SECONDS,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._alertmanager, self._clock = alertmanager, clock
        self._patience, self._sleep = patience, sleep

    async def run(self) -> list[Tried]:
        """Every receiver, in the order of Alertmanager's file. Raises
        :class:`~exporter.alerts.api_clients.ServerError`."""
        receivers = await self._alertmanager.integrations()
        return [
            Tried(name, integrations, await self._problem(name, integrations))
            for name, integrations in receivers.items()
        ]

    async def _problem(self, receiver: str, integrations: Sequence[str]) -> str | None:
        if not integrations:
            return "sends to nobody: it has no integration"
        before = await self._alertmanager.delivery_attempts()
        now = self._clock.now()
        # With the moment in it no trial is a repetition of another, which would not be sent.
        labels = {"alertname": NAME, "severity": "info", "trial": receiver, "at": iso(now)}
        notes = {
            "summary": f"A trial of {receiver}",
            "resolved": f"The trial of {receiver} is over",
            "description": "`quant-exporter alerts test` sent this. Nothing is wrong.",
        }
        await self._alertmanager.post_alert(labels, notes, start=now, end=now + LASTS_SECONDS)
        if receiver not in await self._alertmanager.receivers_of(labels):
            return (
                "no route sends a trial to it: add the route of QuantTrial from the shipped "
                "alertmanager.yml to yours"
            )
        return await self._deliveries(before, integrations)

    async def _deliveries(
        self, before: Mapping[str, tuple[float, float]], integrations: Sequence[str]
    ) -> str | None:
        """What went wrong with the first attempt of each integration since `before`."""
        end = self._clock.monotonic() + self._patience
        nothing = (0.0, 0.0)
        while True:
            after = await self._alertmanager.delivery_attempts()
            silent = []
            for name in integrations:
                (well, bad), (well_before, bad_before) = (
                    counts.get(name, nothing) for counts in (after, before)
                )
                if bad > bad_before:
                    return f"{name} was not delivered: Alertmanager's log says why"
                if well <= well_before:
                    silent.append(name)
            if not silent:
                return None
            if self._clock.monotonic() >= end:
                return f"{', '.join(silent)} did not answer within {self._patience:.0f} s"
            await self._sleep(_POLL_SECONDS)
