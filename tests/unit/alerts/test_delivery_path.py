"""What `check --online` says when nobody would hear of an alert."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from exporter.alerts.api_clients import AlertmanagerClient, PrometheusClient
from exporter.alerts.delivery_path import alertmanager_gaps, prometheus_gaps, receivers_for
from tests.alerting import ROOT

NOW = 1_795_600_000.0
SHIPPED = (ROOT / "alerting/alertmanager.yml").read_text()
TASK = {"alertname": "QuantTaskFailing", "job": "quant-exporter", "task": "scan"}


@dataclass
class Servers:
    """Both, as far as they are asked; all is well until a test says otherwise."""

    rules: list[str] = field(default_factory=lambda: ["QuantTaskFailing", "QuantDrawdown"])
    alertmanagers: list[str] = field(default_factory=lambda: ["http://a:9093/api/v2/alerts"])
    scraped: list[str] = field(default_factory=lambda: ["a:1"])
    config: str = SHIPPED
    silences: list[dict[str, Any]] = field(default_factory=list)

    def app(self) -> web.Application:
        async def rules(_: web.Request) -> web.Response:
            groups = [{"name": "quant", "rules": [{"name": name} for name in self.rules]}]
            return web.json_response({"data": {"groups": groups}})

        async def alertmanagers(_: web.Request) -> web.Response:
            active = [{"url": url} for url in self.alertmanagers]
            return web.json_response({"data": {"activeAlertmanagers": active}})

        async def query(_: web.Request) -> web.Response:
            found = [{"metric": {"instance": one}, "value": [NOW, "1"]} for one in self.scraped]
            return web.json_response({"data": {"result": found}})

        async def status(_: web.Request) -> web.Response:
            return web.json_response({"config": {"original": self.config}})

        async def silences(_: web.Request) -> web.Response:
            return web.json_response(self.silences)

        app = web.Application()
        app.router.add_get("/api/v1/rules", rules)
        app.router.add_get("/api/v1/alertmanagers", alertmanagers)
        app.router.add_post("/api/v1/query", query)
        app.router.add_get("/api/v2/status", status)
        app.router.add_get("/api/v2/silences", silences)
        return app


@dataclass
class Asked:
    """The servers, and what is said of them."""

    servers: Servers
    url: str
    session: aiohttp.ClientSession

    async def gaps(self) -> list[str]:
        prometheus = PrometheusClient(self.session, lambda: self.url)
        alertmanager = AlertmanagerClient(self.session, lambda: self.url)
        return [
            *await prometheus_gaps(prometheus, ["QuantTaskFailing", "QuantDrawdown"]),
            *await alertmanager_gaps(alertmanager, NOW),
        ]


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    servers = Servers()
    async with TestServer(servers.app()) as there, aiohttp.ClientSession() as session:
        yield Asked(servers, str(there.make_url("")).rstrip("/"), session)


async def test_of_servers_that_are_well_nothing_is_said(asked: Asked) -> None:
    """With the shipped routes."""
    assert await asked.gaps() == []


async def test_each_gap_of_prometheus_is_said(asked: Asked) -> None:
    """Rules that are not loaded, no Alertmanager, an exporter that is not scraped."""
    asked.servers.rules = ["QuantDrawdown"]
    asked.servers.alertmanagers = asked.servers.scraped = []
    rules, alertmanager, scraped = await asked.gaps()
    assert rules.startswith("Prometheus has no rule QuantTaskFailing, so nothing fires by it")
    assert alertmanager.startswith("Prometheus sends alerts to no Alertmanager")
    assert scraped.startswith("Prometheus scrapes no exporter")


async def test_a_route_that_leads_to_no_channel_is_said(asked: Asked) -> None:
    """Nor does the post to the journal count as one. Each tier by itself."""
    config = yaml.safe_load(SHIPPED)
    for receiver in config["receivers"]:
        if receiver["name"] == "slack":
            del receiver["slack_configs"]
    asked.servers.config = yaml.safe_dump(config)
    assert await asked.gaps() == [
        "Alertmanager sends a warning alert to slack, which has no channel: nobody is notified; "
        "give the receiver one"
    ]


@pytest.mark.parametrize(("days", "said"), [(7, 0), (400, 1)])
async def test_a_silence_of_a_year_is_said(asked: Asked, days: int, said: int) -> None:
    """One over a weekend is not."""
    ends = "2026-12-02T00:00:00Z" if days == 7 else "2027-12-30T00:00:00Z"
    matchers = [{"name": "alertname", "value": "Quant.*", "isRegex": True, "isEqual": True}]
    asked.servers.silences = [
        {"id": "s", "matchers": matchers, "endsAt": ends, "createdBy": "me", "comment": "",
         "status": {"state": "active"}}
    ]  # fmt: skip
    gaps = await asked.gaps()
    assert len(gaps) == said
    assert not said or gaps[0].startswith("alertname=~Quant.* is silenced until 2027-12-30, by me")


async def test_servers_that_are_away_are_said(asked: Asked) -> None:
    """Once each."""
    asked.url = "http://127.0.0.1:9"
    first, second = await asked.gaps()
    assert "no alert fires while it is away" in first
    assert "nobody is notified while it is away" in second


def test_routes_are_followed_as_alertmanager_does() -> None:
    """Nested, with `continue`, patterns and the old form of matchers."""
    route = yaml.safe_load(SHIPPED)["route"]
    critical = list(receivers_for(route, {**TASK, "severity": "critical"}))
    assert critical == ["email", "pagerduty", "slack"]
    assert list(receivers_for(route, {**TASK, "severity": "warning"})) == ["slack"]
    assert list(receivers_for(route, {**TASK, "severity": "info"})) == ["journal"]
    assert list(receivers_for(route, {"alertname": "QuantWatchdog"})) == ["deadman"]
    old = {
        "receiver": "root",
        "routes": [
            {"match": {"severity": "critical"}, "receiver": "a", "continue": True},
            {"match_re": {"severity": "crit.*"}, "routes": [{"matchers": ['task!="x"']}]},
        ],
    }
    assert list(receivers_for(old, {**TASK, "severity": "critical"})) == ["a", "root"]
    assert list(receivers_for(old, {**TASK, "severity": "warning"})) == ["root"]
