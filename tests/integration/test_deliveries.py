"""What a real Alertmanager's counters say of a channel that is a webhook, next to the posts to the
journal that it counts together with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from exporter.alerts import deliveries
from exporter.alerts.api_clients import AlertmanagerClient
from exporter.alerts.journal import Journal
from exporter.alerts.timeline import build_timeline
from exporter.metrics import Metrics
from exporter.state import State
from exporter.util.clock import SystemClock
from tests.generations import Generation, each_generation
from tests.integration.processes import Program, answers, free_port, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


class Place:
    """Our journal, and the service behind the channel, which answers `status`."""

    def __init__(self, state: State) -> None:
        self.status, self.state = 500, state
        self.journal = Journal(state, Metrics(CollectorRegistry()), SystemClock())

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes([web.post("/journal", self._post), web.post("/channel", self._channel)])
        return app

    async def _post(self, request: web.Request) -> web.Response:
        await self.journal.record("ntfy", await request.json())
        self.journal.answered("ntfy", accepted=True)
        return web.Response()

    async def _channel(self, request: web.Request) -> web.Response:
        return web.Response(status=self.status)

    async def arrived(self) -> list[bool | None]:
        """Of each message."""
        rows = await self.state.history.journal_rows(0)
        return [told["delivered"] for i in build_timeline(rows) for told in i.as_json()["told"]]


def _config(folder: Path, url: str) -> Path:
    hooks = [{"url": f"{url}/{path}", "send_resolved": False} for path in ("channel", "journal")]
    file = folder / "alertmanager.yml"
    route = {"receiver": "ntfy", "group_by": ["alertname"], "group_wait": "0s"}
    receivers = [{"name": "ntfy", "webhook_configs": hooks}]
    file.write_text(yaml.safe_dump({"route": route, "receivers": receivers}))
    return file


@each_generation
async def test_a_channel_by_webhook_is_told_from_the_journal(
    generation: Generation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it refuses, its message is not delivered, though the journal has it; then it is."""
    monkeypatch.setattr(deliveries, "SETTLED_SECONDS", 0.3)
    state, port = State.open(tmp_path / "state.db", SystemClock()), free_port()
    place = Place(state)
    async with TestServer(place.app()) as ours, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}"
        command = [
            generation.program("prometheus-alertmanager"), "--cluster.listen-address=",
            f"--config.file={_config(tmp_path, str(ours.make_url('')).rstrip('/'))}",
            f"--storage.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}",
        ]  # fmt: skip
        with Program(command, tmp_path / "alertmanager.log"):
            wait_for(lambda: answers(f"{url}/-/ready"), "Alertmanager to be ready")
            client = AlertmanagerClient(session, lambda: url)
            watch = deliveries.DeliveryWatch(client, place.journal, SystemClock())
            await watch.look()

            async def known(*wanted: bool | None) -> None:
                seen: list[list[bool | None]] = []
                for _ in range(200):
                    await watch.look()
                    seen.append(await place.arrived())
                    if seen[-1] == list(wanted):
                        return
                    await asyncio.sleep(0.1)
                raise AssertionError(f"not {wanted}: {seen[-1]}")

            now = SystemClock().now()
            await client.post_alert({"alertname": "A"}, {}, start=now, end=now + 60)
            await known(False)
            place.status = 200
            await known(True)
            await client.post_alert({"alertname": "B"}, {}, start=now, end=now + 60)
            await known(True, True)
    await state.close()
