"""Secrets in labels and annotations of alerts reach neither state nor log nor API."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from exporter.alerts.api_clients import AlertmanagerClient
from exporter.alerts.journal import UNRESOLVED, Journal
from exporter.alerts.timeline import KINDS, build_timeline
from exporter.metrics import Metrics
from exporter.redaction.mask import Mask
from exporter.state import State
from tests.unit.clocks import ManualClock

SECRET = "MadeUp" + "0123456789abcdef"
LABELS = {"alertname": "X", "severity": "warning", "instance": f"https://me:{SECRET}@h:1"}
MASKED_LABELS = LABELS | {"instance": "https://***@h:1"}
ALERT = {
    "labels": LABELS,
    "annotations": {"summary": "S", "description": f"GET /x?api_key={SECRET} failed"},
    "startsAt": "2026-11-24T02:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "f1",
    "status": {"silencedBy": [], "inhibitedBy": []},
}


class Alertmanager:
    """One alert, and what is posted."""

    def __init__(self) -> None:
        self.posted: list[Any] = []
        self.silences: list[Any] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/v2/alerts", lambda _: self._json([ALERT]))
        app.router.add_get("/api/v2/silences", lambda _: self._json(self.silences))
        app.router.add_post("/api/v2/{what}", self._post)
        return app

    async def _json(self, data: Any) -> web.Response:
        return web.json_response(data)

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.posted.append(body)
        if request.match_info["what"] == "silences":
            self.silences.append(body | {"id": "s1", "status": {"state": "active"}})
        return web.json_response({"silenceID": "s1"})


@pytest.fixture
async def server() -> AsyncIterator[tuple[Alertmanager, AlertmanagerClient]]:
    alertmanager = Alertmanager()
    async with TestServer(alertmanager.app()) as listening, aiohttp.ClientSession() as session:
        yield alertmanager, AlertmanagerClient(session, lambda: str(listening.make_url("")), Mask())


async def test_a_post_of_alertmanager_is_kept_without_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In the journal, in what is kept about it, and in the log."""
    clock = ManualClock()
    state = State.open(tmp_path / "state.db", clock)
    journal = Journal(state, Metrics(CollectorRegistry()), clock, Mask())
    with caplog.at_level(logging.INFO):
        assert await journal.record("slack", {"alerts": [ALERT | {"status": "firing"}]}) == 1
        await journal.write("acknowledged", {"labels": LABELS, "comment": f"token={SECRET}"})
    rows = (await state.history.journal_page(KINDS, (0.0, -1), 100)).rows
    (incident,) = build_timeline(rows)
    kept = json.dumps([dict(state.kept(UNRESOLVED)), incident.as_json(), [r.fields for r in rows]])
    await state.close()
    assert incident.labels == MASKED_LABELS
    for text in (kept, *(str(vars(record)) for record in caplog.records)):
        assert SECRET not in text


async def test_what_fires_is_read_without_secrets_and_acknowledged_with_them(
    server: tuple[Alertmanager, AlertmanagerClient],
) -> None:
    """Alertmanager knows an alert by its labels as they are."""
    alertmanager, client = server
    (alert,) = await client.alerts()
    assert (alert.labels, SECRET in str(alert)) == (MASKED_LABELS, False)
    await client.create_silence(alert.labels, start=0.0, end=60.0, by="me", comment="")
    (silence,) = await client.silences()
    assert silence.covers(alert.labels)
    resolved = {**alert.as_json(), "ends_at": "2026-11-24T03:00:00Z"}
    await client.post_resolved([resolved])
    matchers = {matcher["name"]: matcher["value"] for matcher in alertmanager.posted[0]["matchers"]}
    assert matchers == alertmanager.posted[1][0]["labels"] == LABELS
