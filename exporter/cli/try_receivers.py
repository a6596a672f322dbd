"""`quant-exporter alerts test`: a trial alert through every receiver of Alertmanager."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from exporter.alerts.api_clients import AlertmanagerClient, ServerError
from exporter.alerts.receiver_trial import ReceiverTrial, Tried
from exporter.cli.with_config import complain, with_config
from exporter.config import Config
from exporter.util.clock import Clock


def try_receivers(path: Path, clock: Clock) -> int:
    """One receiver after the other; 0 when all delivered it."""

    async def ask(config: Config) -> list[Tried]:
        async with aiohttp.ClientSession() as session:
            alertmanager = AlertmanagerClient(session, lambda: config.alertmanager_url)
            return await ReceiverTrial(alertmanager, clock).run()

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
