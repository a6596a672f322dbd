"""`quant-exporter alerts test`: a trial alert through every receiver of Alertmanager."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import aiohttp

from exporter.alerts.api_clients import AlertmanagerClient, ServerError
from exporter.alerts.journal import OURS
from exporter.alerts.receiver_trial import NAME, ReceiverTrial, Tried
from exporter.cli.with_config import complain, with_config
from exporter.config import Config
from exporter.state import State, StateError
from exporter.util.clock import Clock

_NO_CHANNEL = "not configured: only the journal has it; set its secret or give it a channel"


def try_receivers(path: Path, clock: Clock) -> int:
    """One receiver after the other; 0 when all delivered it."""

    async def ask(config: Config) -> list[Tried]:
        async with aiohttp.ClientSession() as session:
            alertmanager = AlertmanagerClient(session, lambda: config.alertmanager_url)
            began = clock.now()
            tried = await ReceiverTrial(alertmanager, clock).run()
        journalled = await _journalled(config, clock, began)
        return [
            replace(one, problem=_NO_CHANNEL)
            if one.integrations == ("webhook",) and not one.problem and one.receiver in journalled
            else one
            for one in tried
        ]

    def call(config: Config) -> int:
        try:
            found = asyncio.run(ask(config))
        except ServerError as error:
            complain(f"{error}. Its address is `alertmanager_url` in exporter.yml")
            return 1
        for tried in found:
            ways = ", ".join(tried.integrations)
            print(f"{tried.receiver}: {tried.problem or f'sent ({ways})'}")
        return 1 if any(tried.problem for tried in found) else 0

    return with_config(path, call, tolerant=True)


async def _journalled(config: Config, clock: Clock, since: float) -> set[str]:
    """Receivers whose trial came to the exporter's journal, if that is on this machine."""
    try:
        state = State.open(config.state, clock, writer=False)
    except StateError:
        return set()
    try:
        rows = await state.history.journal_rows(since, "notification")
    except StateError:
        rows = []
    finally:
        await state.close()
    trials = [row.fields["labels"] for row in rows]
    return {trial["trial"] for trial in trials if trial["alertname"] == NAME} - {OURS}
