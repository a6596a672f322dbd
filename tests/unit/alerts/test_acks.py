"""Acknowledgements and late resolved notifications, against servers that a test controls."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from exporter.alerts.acks import AckReconciler, NoSuchAlertError
from exporter.alerts.alertmanager_objects import Silence, parse_time
from exporter.alerts.api_clients import AlertmanagerClient, PrometheusClient, ServerError
from exporter.alerts.journal import Journal
from exporter.alerts.timeline import Incident, build_timeline
from exporter.alerts.undelivered import read_undelivered
from exporter.cli.alerts import as_text
from exporter.config import Alerts
from exporter.logs.digest.build import NOTIFIED
from exporter.metrics import Metrics
from exporter.state import State
from exporter.util.clock import iso
from exporter.web.alert_pages import AlertPages
from exporter.web.status.recent_alerts import incident_row
from tests.unit.clocks import ManualClock

LABELS = {"alertname": "QuantTaskFailing", "severity": "critical", "task": "signals"}
ALERT = {
    "labels": LABELS,
    "annotations": {"summary": "A task fails or is late", "description": "Task signals: 2 failed"},
    "status": "firing",
    "startsAt": "2026-11-24T02:00:00.123456789Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "f1",
}


RECEIVERS = """
receivers:
- name: slack
  slack_configs: [{channel: x}]
  webhook_configs: [{url: x}]
- name: email
  email_configs: [{to: x}]
- name: ntfy
  labels: {name: ntfy}
  webhook_configs: [{url: x}, {url: y}]
- name: deadman
  webhook_configs: [{url: x}]
- name: pagerduty
  webhook_configs: [{url: x}]
- name: journal
  webhook_configs: [{url: x}]
"""


def _labels_of(name: str) -> str:
    """`webhook ntfy` is what it has with its feature receiver-name-in-metrics."""
    integration, _, receiver = name.partition(" ")
    return f'integration="{integration}"' + (f',receiver_name="{receiver}"' if receiver else "")


class FakeAlertmanager(AlertmanagerClient):
    """The real client, over a server in memory."""

    def __init__(self) -> None:
        super().__init__(None, lambda: "http://alertmanager")  # type: ignore[arg-type]
        self.firing: list[dict[str, str]] = []
        self.muted: dict[str, list[str]] = {}
        self.active: dict[str, dict[str, Any]] = {}
        self.ended: dict[str, dict[str, Any]] = {}
        self.resolved: list[list[dict[str, str]]] = []
        self.ended_at = ""
        self.attempts = {"slack": (0.0, 0.0)}
        """By integration: all, and failed ones."""
        self.reachable = True
        self.odd: dict[tuple[str, str], Any] = {}

    def __str__(self) -> str:
        return "http://alertmanager"

    async def _ask(
        self, method: str, path: str, timeout_seconds: float | None = None, **what: Any
    ) -> Any:
        if not self.reachable:
            raise ServerError("connection refused")
        if (method, path) in self.odd:
            return self.odd[method, path]
        match method, path.removeprefix("/api/v2"):
            case "GET", "/alerts":
                return [self._alert(labels) for labels in self.firing]
            case "POST", "/alerts":
                self.resolved.append([alert["labels"] for alert in what["json"]])
                self.ended_at = what["json"][0]["endsAt"]
            case "GET", "/silences":
                return [*self.active.values(), *self.ended.values()]
            case "POST", "/silences":
                return {"silenceID": self.add_silence(**what["json"])}
            case "DELETE", silence:
                self.end_silence(silence.removeprefix("/silence/"))
            case "GET", "/metrics":
                return "\n".join(
                    f"alertmanager_notification_requests{kind}_total{{{_labels_of(n)}}} {v:g}"
                    for n, counts in self.attempts.items()
                    for kind, v in zip(("", "_failed"), counts, strict=True)
                )
            case "GET", "/status":
                return {"config": {"original": RECEIVERS}}
        return ""

    def _alert(self, labels: dict[str, str]) -> dict[str, Any]:
        number = {"QuantTaskFailing": "f1"}.get(labels["alertname"], labels["alertname"])
        status = {"silencedBy": [], "inhibitedBy": [], **self.muted}
        return {
            "labels": labels, "annotations": ALERT["annotations"], "status": status,
            "startsAt": "2026-11-24T02:00:00.123Z", "fingerprint": number,
        }  # fmt: skip

    def add_silence(self, **body: Any) -> str:
        """As a POST does; the id."""
        name = body.pop("id", None) or f"s{len(self.active) + len(self.ended)}"
        self.active[name] = {**body, "id": name, "status": {"state": "active"}}
        return str(name)

    def end_silence(self, name: str) -> None:
        """As a DELETE does."""
        self.ended[name] = {**self.active.pop(name), "status": {"state": "expired"}}


class FakePrometheus(PrometheusClient):
    """The real client, over a server in memory that has the same alerts as Alertmanager."""

    def __init__(self, alertmanager: FakeAlertmanager) -> None:
        super().__init__(None, lambda: "http://prometheus")  # type: ignore[arg-type]
        self._alertmanager = alertmanager
        self.reachable = True
        self.fires_again: list[list[dict[str, str]]] = []
        self.odd: Any = ...

    def __str__(self) -> str:
        return "http://prometheus"

    async def _ask(
        self, method: str, path: str, timeout_seconds: float | None = None, **what: Any
    ) -> Any:
        if not self.reachable:
            raise ServerError("connection refused")
        if self.odd is not ...:
            return self.odd
        there = self._alertmanager.firing + (self.fires_again.pop(0) if self.fires_again else [])
        return {"data": {"alerts": [{"labels": labels} for labels in there]}}


class Scene:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(now=1795485600.0)
        self.state = State.open(folder / "state.db", self.clock)
        self.metrics = Metrics(CollectorRegistry())
        self.journal = Journal(self.state, self.metrics, self.clock)
        self.alertmanager = FakeAlertmanager()
        self.prometheus = FakePrometheus(self.alertmanager)
        self.acks = AckReconciler(
            self.alertmanager, self.prometheus, self.journal, self.state, self.clock
        )

    async def pass_time(self, seconds: int) -> None:
        """Reconcile every 15 s; silences end by themselves."""
        for _ in range(seconds // 15):
            self.clock.advance(15)
            now = self.clock.now()
            active = self.alertmanager.active
            self.alertmanager.active = {
                n: s for n, s in active.items() if parse_time(s["endsAt"]) > now
            }
            await self.acks.reconcile()

    async def kinds(self) -> list[str]:
        return [row.kind for row in reversed(await self.state.history.journal_rows(0))]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(tmp_path)
    yield made
    await made.state.close()


async def test_an_acknowledgement_is_a_short_silence_that_is_renewed(scene: Scene) -> None:
    """It never reaches further than 5 minutes ahead, has no gap, and ends on time."""
    scene.alertmanager.firing = [LABELS]
    until = scene.clock.now() + 1800
    await scene.acks.acknowledge({"alertname": "QuantTaskFailing"}, until, "me", "on it")
    for _ in range(119):
        await scene.pass_time(15)
        (silence,) = await scene.alertmanager.silences()
        assert silence.covers(LABELS)
        assert silence.ends_at <= min(until, scene.clock.now() + 300)
    await scene.pass_time(30)
    assert scene.alertmanager.active == {}
    assert (await scene.kinds())[-1] == "ack_ended"
    await scene.pass_time(600)
    assert scene.alertmanager.active == {}


async def test_what_clears_while_silenced_is_told_to_all_who_heard_of_it(scene: Scene) -> None:
    """The silence ends first, then Alertmanager is told again, until the receivers report it."""
    scene.alertmanager.firing = [LABELS]
    for receiver in ("pagerduty", "slack"):
        await scene.journal.record(receiver, {"alerts": [ALERT]})
    await scene.acks.acknowledge(LABELS, scene.clock.now() + 7200, "me", "")
    await scene.pass_time(60)
    scene.alertmanager.firing = []
    await scene.pass_time(60)
    assert scene.alertmanager.active  # a server that restarts forgets alerts for a while: wait
    assert not scene.alertmanager.resolved
    await scene.pass_time(15)
    assert not scene.alertmanager.active
    assert scene.alertmanager.resolved == [[LABELS]]
    assert scene.alertmanager.ended_at == iso(scene.clock.now() - 60)  # when it was first seen gone
    over = {**ALERT, "status": "resolved", "endsAt": iso(scene.clock.now())}
    for receiver in ("pagerduty", "slack"):
        await scene.journal.record(receiver, {"alerts": [over]})
    await scene.pass_time(60)
    assert len(scene.alertmanager.resolved) == 1


async def test_a_silence_made_elsewhere_is_left_alone_and_journalled(scene: Scene) -> None:
    """Its end brings the resolved message."""
    scene.alertmanager.firing = [LABELS]
    await scene.journal.record("slack", {"alerts": [ALERT]})
    await scene.pass_time(15)
    matcher = {"name": "alertname", "value": "Quant.*", "isRegex": True, "isEqual": True}
    scene.alertmanager.add_silence(
        id="x", matchers=[matcher], endsAt=iso(scene.clock.now() + 600), createdBy="amtool",
        comment="deploy",
    )  # fmt: skip
    await scene.pass_time(30)
    scene.alertmanager.firing = []
    await scene.pass_time(300)
    assert list(scene.alertmanager.active) == ["x"]
    assert not scene.alertmanager.resolved
    await scene.pass_time(300)
    assert scene.alertmanager.resolved
    kinds = await scene.kinds()
    assert kinds.index("silenced") < kinds.index("silence_ended")


async def test_servers_that_are_away_end_nothing(scene: Scene) -> None:
    """No answer does not mean resolved."""
    scene.alertmanager.firing = [LABELS]
    await scene.journal.record("slack", {"alerts": [ALERT]})
    scene.alertmanager.reachable = False
    scene.clock.advance(3600)
    with pytest.raises(ServerError):
        await scene.acks.reconcile()
    assert not scene.alertmanager.resolved


async def test_an_acknowledgement_goes_on_without_prometheus(scene: Scene) -> None:
    """Alertmanager alone is needed for a silence, and nothing is known to be over."""
    scene.alertmanager.firing = [LABELS]
    await scene.acks.acknowledge(LABELS, scene.clock.now() + 7200, "me", "")
    scene.prometheus.reachable = False
    for _ in range(60):
        scene.clock.advance(15)
        with pytest.raises(ServerError):
            await scene.acks.reconcile()
    (silence,) = await scene.alertmanager.silences()
    assert silence.ends_at > scene.clock.now() + 60


async def test_what_fires_again_at_the_last_moment_is_not_resolved(scene: Scene) -> None:
    """The race that can be seen is seen: between the look and the word that it is over."""
    scene.alertmanager.firing = [LABELS]
    await scene.journal.record("slack", {"alerts": [ALERT]})
    scene.alertmanager.firing = []
    await scene.pass_time(60)
    scene.prometheus.fires_again = [[], [LABELS]]  # the first look of a sweep, and the second one
    await scene.pass_time(15)
    assert not scene.alertmanager.resolved
    await scene.pass_time(90)
    assert scene.alertmanager.resolved


async def test_a_silence_that_somebody_lifts_ends_the_acknowledgement(scene: Scene) -> None:
    """Otherwise it would come back under their hands."""
    scene.alertmanager.firing = [LABELS]
    await scene.acks.acknowledge(LABELS, scene.clock.now() + 7200, "me", "")
    await scene.pass_time(15)
    for name in list(scene.alertmanager.active):
        scene.alertmanager.end_silence(name)
    await scene.pass_time(60)
    assert scene.alertmanager.active == {}


async def test_a_silence_that_a_killed_alertmanager_forgot_comes_back(scene: Scene) -> None:
    """It saves silences every 15 minutes by default; what nobody lifted stays acknowledged."""
    scene.alertmanager.firing = [LABELS]
    await scene.acks.acknowledge(LABELS, scene.clock.now() + 7200, "me", "")
    await scene.pass_time(15)
    scene.alertmanager.active.clear()
    await scene.pass_time(15)
    (silence,) = await scene.alertmanager.silences()
    assert silence.covers(LABELS)
    assert "ack_ended" not in await scene.kinds()


async def test_nothing_to_acknowledge_is_said(scene: Scene) -> None:
    """With what does fire."""
    scene.alertmanager.firing = [LABELS]
    with pytest.raises(NoSuchAlertError, match="firing: QuantTaskFailing"):
        await scene.acks.acknowledge({"alertname": "QuantDrawdown"}, 1e10, "me", "")


async def test_what_arrived_and_what_did_not_is_told_apart(scene: Scene) -> None:
    """A receiver's post says that the channel was tried; Alertmanager's counters, how it went."""
    await scene.pass_time(15)
    await scene.journal.record("slack", {"alerts": [ALERT]})
    await scene.journal.record("email", {"alerts": [ALERT]})

    async def arrived() -> list[tuple[str, bool | None]]:
        (incident,) = build_timeline(await scene.state.history.journal_rows(0))
        return [(t["receiver"], t["delivered"]) for t in incident.as_json()["told"]]

    assert await arrived() == [("slack", None), ("email", None)]
    scene.alertmanager.attempts = {"slack": (3.0, 3.0), "email": (0.0, 0.0)}
    await scene.pass_time(30)
    assert await arrived() == [("slack", False), ("email", None)]
    (row,) = await scene.state.history.journal_rows(0, "failed")
    assert row.fields == {"integration": "slack", "attempts": 3.0, "receivers": ["slack"]}
    (incident,) = build_timeline(await scene.state.history.journal_rows(0))
    text = as_text(incident, ZoneInfo("UTC"))
    assert "not delivered: slack" in text
    assert "told: email" in text
    scene.alertmanager.attempts = {"slack": (4.0, 3.0), "email": (1.0, 0.0)}
    await scene.pass_time(15)
    assert await arrived() == [("slack", True), ("email", True)]
    value = scene.metrics.registry.get_sample_value
    labels = {"integration": "slack", "outcome": "failed"}
    assert value("quant_alert_deliveries_total", labels) == 3.0
    # Alertmanager starts again, and tells at once.
    scene.alertmanager.attempts = {"slack": (1.0, 0.0), "email": (0.0, 0.0)}
    await scene.pass_time(15)
    await scene.journal.record("slack", {"alerts": [ALERT]})
    assert (await arrived())[-1] == ("slack", True)


@pytest.mark.parametrize("counted", ["webhook", "webhook ntfy"])
async def test_a_channel_by_webhook_is_told_from_the_posts_to_the_journal(
    scene: Scene, counted: str
) -> None:
    """What Alertmanager counts of webhooks and did not come here went to the channel. A look while
    a post is under way waits; posts that were refused here are not the channel's failures."""

    async def post(receiver: str = "ntfy") -> None:
        await scene.journal.record(receiver, {"alerts": [ALERT]})
        scene.journal.answered(receiver, accepted=True)

    async def arrived() -> list[bool | None]:
        (incident,) = build_timeline(await scene.state.history.journal_rows(0))
        return [t["delivered"] for t in incident.as_json()["told"]]

    scene.alertmanager.attempts = {counted: (5.0, 2.0)}
    await scene.pass_time(15)
    await post()
    scene.journal.answered("ntfy", accepted=False)
    await scene.acks.reconcile()  # not counted there yet
    scene.alertmanager.attempts = {counted: (7.0, 3.0)}
    await scene.pass_time(15)
    assert await arrived() == [None], "only our own posts were counted"
    scene.alertmanager.attempts = {counted: (8.0, 4.0)}
    await scene.pass_time(15)
    assert await arrived() == [False]
    (incident,) = build_timeline(await scene.state.history.journal_rows(0))
    assert "not delivered: ntfy" in as_text(incident, ZoneInfo("UTC"))
    await post()
    scene.alertmanager.attempts = {counted: (10.0, 4.0)}
    await scene.pass_time(15)
    assert await arrived() == [True, True]
    value = scene.metrics.registry.get_sample_value
    labels = {"integration": "webhook", "outcome": "delivered"}
    assert value("quant_alert_deliveries_total", labels) == 1.0
    # Alertmanager starts again: how many of its posts were ours is not known.
    scene.clock.advance(60)
    await post()
    scene.alertmanager.attempts = {counted: (2.0, 0.0)}
    await scene.pass_time(15)
    assert (await arrived())[-1] is None
    assert value("quant_alert_deliveries_total", {**labels, "outcome": "failed"}) == 1.0


async def test_a_receiver_without_a_channel_is_unconfigured(scene: Scene) -> None:
    """As in containers without a secret: it has the post to the journal and nothing else."""
    scene.alertmanager.attempts = {"webhook": (0.0, 0.0)}
    await scene.pass_time(15)
    for receiver in ("pagerduty", "journal"):
        await scene.journal.record(receiver, {"alerts": [ALERT]})
        scene.journal.answered(receiver, accepted=True)
    scene.alertmanager.attempts = {"webhook": (2.0, 0.0)}
    await scene.pass_time(15)
    (row,) = await scene.state.history.journal_rows(0, "unconfigured")
    assert row.fields == {"receivers": ["pagerduty"]}
    (incident,) = build_timeline(await scene.state.history.journal_rows(0))
    text = as_text(incident, ZoneInfo("UTC"))
    assert "not delivered: pagerduty (not configured)" in text
    assert "told: journal" in text
    assert incident_row(incident).refused == ("pagerduty (not configured)",)
    (said,) = await read_undelivered(scene.state, scene.clock.now(), ZoneInfo("UTC"))
    assert said == (
        "pagerduty is not configured, 1 message not delivered since Tue 02:00: set its secret, or "
        "take it out of the routes"
    )
    labels = {"integration": "pagerduty", "outcome": "unconfigured"}
    value = scene.metrics.registry.get_sample_value
    assert value("quant_alert_deliveries_total", labels) == 1.0
    await scene.pass_time(30)
    assert len(await scene.state.history.journal_rows(0, "unconfigured")) == 1


async def test_what_is_not_known_to_have_arrived_is_said_so(scene: Scene) -> None:
    """While Alertmanager's counters were not seen, nobody knows; the journal itself does."""
    await scene.journal.record("slack", {"alerts": [ALERT]})
    await scene.journal.record("journal", {"alerts": [ALERT]})
    (incident,) = build_timeline(await scene.state.history.journal_rows(0))
    (told,) = (one for one in as_text(incident, ZoneInfo("UTC")).splitlines() if "told" in one)
    assert told.endswith(" (arrival unknown), journal Tue 02:00:00")
    assert incident_row(incident).told[0][0] == "slack (arrival unknown)"


async def test_one_failure_of_two_receivers_of_one_integration_is_nobodys(scene: Scene) -> None:
    """Where both have one count, a failure and a success say of neither whose it was."""
    scene.alertmanager.odd["GET", "/api/v2/status"] = {
        "config": {"original": "receivers: [{name: slack, slack_configs: [{}]},"
                               " {name: team, slack_configs: [{}]}]"}
    }  # fmt: skip
    await scene.pass_time(15)
    await scene.journal.record("slack", {"alerts": [ALERT]})
    await scene.journal.record("team", {"alerts": [ALERT]})
    scene.alertmanager.attempts = {"slack": (2.0, 1.0)}
    await scene.pass_time(15)
    (incident,) = build_timeline(await scene.state.history.journal_rows(0))
    assert incident.arrived == {}
    assert await scene.kinds() == ["notification", "notification", "delivered", "failed"]


async def test_a_story_says_who_was_told_and_how_long_it_took(scene: Scene) -> None:
    """One alert, two channels, an acknowledgement, an escalation, an end."""
    scene.alertmanager.firing = [LABELS]
    await scene.journal.record("slack", {"alerts": [ALERT]})
    scene.clock.advance(900)
    await scene.journal.record("email", {"alerts": [ALERT]})
    await scene.acks.acknowledge(LABELS, scene.clock.now() + 7200, "me", "on it")
    scene.clock.advance(60)
    over = {**ALERT, "status": "resolved", "endsAt": "2026-11-24T02:20:00.123456789Z"}
    await scene.journal.record("slack", {"alerts": [over]})
    (incident,) = build_timeline(await scene.state.history.journal_rows(0))
    told = incident.as_json()
    assert [one["receiver"] for one in told["told"]] == ["slack", "email"]
    assert told["acknowledged"][0]["by"] == "me"
    assert told["escalated_at"] == incident.notified[1][0]
    assert told["lasted_seconds"] == 1200


async def test_what_nobody_was_told_of_has_a_story_too(scene: Scene) -> None:
    """Silenced all night: seen at Alertmanager itself, once, from its start to its end. The same
    alert told of by a channel is the same story, whose end the channel knows better."""
    watchdog = {"alertname": "QuantWatchdog"}
    scene.alertmanager.firing = [LABELS, watchdog]
    await scene.pass_time(30)
    scene.alertmanager.muted = {"silencedBy": ["x"]}
    await scene.pass_time(600)
    (incident,) = build_timeline(await scene.state.history.journal_rows(0))
    assert (incident.notified, incident.muted, incident.resolved_at) == ([], "silenced", None)
    scene.alertmanager.firing = [watchdog]
    gone = scene.clock.now()
    await scene.pass_time(120)
    assert await scene.kinds() == ["fired", "fired", "over"]
    (incident,) = build_timeline(await scene.state.history.journal_rows(0))
    assert incident.resolved_at is not None
    assert gone <= incident.resolved_at <= gone + 15
    assert "told: nobody, silenced" in as_text(incident, ZoneInfo("UTC"))

    over = {**ALERT, "status": "resolved", "endsAt": "2026-11-24T02:20:00.123456789Z"}
    await scene.journal.record("slack", {"alerts": [ALERT, over]})
    (incident,) = build_timeline(await scene.state.history.journal_rows(0))
    assert len(incident.notified) == 1
    assert incident.as_json()["lasted_seconds"] == pytest.approx(1200, abs=0.01)


async def test_a_message_counts_once_however_many_alerts_are_in_it(scene: Scene) -> None:
    """By tier, status and channel, and by rule: what the budget of a day needs."""
    group = [{**ALERT, "fingerprint": f"f{n}"} for n in range(30)]
    over = {**ALERT, "status": "resolved", "endsAt": "2026-11-24T02:20:00Z"}
    await scene.journal.record("slack", {"alerts": [*group, over]})
    await scene.journal.record("slack", {"alerts": [over, over]})
    value = scene.metrics.registry.get_sample_value
    labels = {"severity": "critical", "status": "firing", "receiver": "slack"}
    assert value("quant_alert_notifications_total", labels) == 1.0
    rule = {"alertname": "QuantTaskFailing", "severity": "critical"}
    assert value("quant_alert_rule_notifications_total", rule) == 1.0
    labels = {"severity": "critical", "status": "resolved", "receiver": "slack"}
    assert value("quant_alert_notifications_total", labels) == 1.0
    labels = {"severity": "warning", "status": "firing", "receiver": "slack"}
    assert value("quant_alert_notifications_total", labels) == 0.0


async def test_a_notification_stands_in_the_log_as_digests_read_it(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Name, tier, state and what tells one alert from another are fields of the line."""
    with caplog.at_level("INFO"):
        await scene.journal.record("slack", {"alerts": [ALERT]})
    fields = vars(caplog.records[-1])
    said = {name: fields[name] for name in (*NOTIFIED.split(), "event", "message")}
    assert said == {
        "event": "alert_notification", "alertname": "QuantTaskFailing", "severity": "critical",
        "status": "firing", "fingerprint": "f1", "starts_at": "2026-11-24T02:00:00.123456789Z",
        "message": fields["message"],
    }  # fmt: skip


@pytest.fixture
async def client(scene: Scene) -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application()
    app.add_routes(
        AlertPages(
            scene.journal,
            scene.acks,
            scene.state,
            scene.clock,
            lambda t: t == "secret",
            runbook_url=lambda: None,
        ).routes()
    )
    async with TestClient(TestServer(app)) as made:
        yield made


async def test_the_link_asks_and_the_button_acknowledges(
    scene: Scene, client: TestClient[Any, Any]
) -> None:
    """Opening it changes nothing; without the token nothing happens; once known it is not asked."""
    scene.alertmanager.firing = [LABELS]
    page = await (await client.get("/ack", params=LABELS)).text()
    assert 'name="token"' in page
    assert "it may be over" in page
    await scene.journal.record("slack", {"alerts": [ALERT]})
    page = await (await client.get("/ack", params=LABELS)).text()
    assert "Task signals: 2 failed" in page
    assert scene.alertmanager.active == {}
    refused = await client.post("/ack", data={**LABELS, "for": "2h", "token": "wrong"})
    assert (refused.status, scene.alertmanager.active) == (401, {})
    done = await client.post("/ack", data={**LABELS, "for": "2h", "token": "secret"})
    assert "Acknowledged" in await done.text()
    assert len(scene.alertmanager.active) == 1
    cookie = done.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


async def test_what_stands_in_a_link_is_escaped(client: TestClient[Any, Any]) -> None:
    """Labels come from anywhere."""
    page = await (await client.get("/ack", params={"alertname": '"><script>'})).text()
    assert "<script" not in page


@pytest.mark.parametrize(
    "body",
    [
        "[]", "{", '{"alerts": [{}]}', '{"alerts": [{"labels": 1}]}',
        *(json.dumps({"alerts": [{**ALERT, "startsAt": odd}]})
          for odd in ("yesterday", "", 5, None, "2026-11-24", "2026-11-24T02:00:00", "9" * 400)),
        json.dumps({"alerts": [{**ALERT, "status": "resolved", "endsAt": "soon"}]}),
        json.dumps({"alerts": [{**ALERT, "fingerprint": {}}]}),
        json.dumps({"alerts": [{**ALERT, "annotations": {"summary": 1}}]}),
    ],
)  # fmt: skip
async def test_what_is_no_webhook_is_refused(client: TestClient[Any, Any], body: str) -> None:
    """With a sentence, and nothing is journalled."""
    answer = await client.post("/api/v1/alerts?receiver=slack", data=body)
    assert answer.status == 400
    assert (await answer.json())["error"]


async def test_incidents_over_http_and_the_runbook(
    scene: Scene, client: TestClient[Any, Any]
) -> None:
    """What programs ask for, and where messages link to."""
    answer = await client.post("/api/v1/alerts?receiver=slack", json={"alerts": [ALERT]})
    assert await answer.json() == {"ok": True, "alerts": 1}
    found = await (await client.get("/api/v1/alerts?since=1d")).json()
    assert found["alerts"][0]["alertname"] == "QuantTaskFailing"
    assert 'id="quanttaskfailing"' in await (await client.get("/runbook")).text()
    for odd in ("limit=" + "9" * 5000, "limit=x", "limit=0", "until=nan", "until=x"):
        refused = await client.get(f"/api/v1/alerts?{odd}")
        assert refused.status == 400
        assert "write Unix seconds, and 1 to 1000" in (await refused.json())["error"]


async def test_the_runbook_of_ones_own_is_one_redirect_away(scene: Scene) -> None:
    """The rules need not know where it is; a browser keeps the fragment."""
    app = web.Application()
    app.add_routes(
        AlertPages(scene.journal, scene.acks, scene.state, scene.clock, lambda t: False,
               runbook_url=lambda: "https://wiki.example/runbook").routes()
    )  # fmt: skip
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/runbook", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, "https://wiki.example/runbook")


ODD = [None, [None], [1], "<html>Sign in</html>", {}, {"error": "x"}, [{"labels": []}], [[]], 7,
       [{"id": "x", "status": {"state": "active"}}], True]  # fmt: skip


@pytest.mark.parametrize("answer", ODD, ids=str)
@pytest.mark.parametrize(
    "question",
    [("GET", "/api/v2/alerts"), ("GET", "/api/v2/silences"), ("POST", "/api/v2/silences")],
    ids=" ".join,
)
async def test_an_odd_answer_of_alertmanager_is_its_error(
    scene: Scene, question: tuple[str, str], answer: Any
) -> None:
    """And acknowledgements go on as soon as it answers as it should."""
    scene.alertmanager.firing = [LABELS]
    await scene.acks.acknowledge(LABELS, scene.clock.now() + 7200, "me", "")
    scene.alertmanager.active.clear()
    scene.clock.advance(301)
    scene.alertmanager.odd[question] = answer
    with pytest.raises(ServerError, match="http://alertmanager"):
        await scene.acks.reconcile()
    scene.alertmanager.odd.clear()
    await scene.pass_time(15)
    assert len(scene.alertmanager.active) == 1


@pytest.mark.parametrize("answer", [*ODD, {"data": None}, {"data": {"alerts": None}}], ids=str)
async def test_an_odd_answer_of_prometheus_is_its_error(scene: Scene, answer: Any) -> None:
    """Nothing is known to be over, and acknowledgements go on."""
    scene.alertmanager.firing = [LABELS]
    await scene.journal.record("slack", {"alerts": [ALERT]})
    await scene.acks.acknowledge(LABELS, scene.clock.now() + 7200, "me", "")
    scene.prometheus.odd = answer
    for _ in range(20):
        scene.clock.advance(15)
        with pytest.raises(ServerError, match="http://prometheus"):
            await scene.acks.reconcile()
    (silence,) = await scene.alertmanager.silences()
    assert silence.ends_at > scene.clock.now() + 60
    assert not scene.alertmanager.resolved


@pytest.mark.parametrize("pattern", [r"\z", "(?<a", r"a{9999999999}", "(?P<n", r"\p{Greek}", "*"])
async def test_a_silence_with_an_odd_pattern_stops_nothing(scene: Scene, pattern: str) -> None:
    """It covers none of our alerts, whether it is valid to Alertmanager or not."""
    scene.alertmanager.firing = [LABELS]
    await scene.journal.record("slack", {"alerts": [ALERT]})
    matcher = {"name": "task", "value": pattern, "isRegex": True, "isEqual": True}
    scene.alertmanager.add_silence(
        id="x", matchers=[matcher], endsAt=iso(scene.clock.now() + 9000), createdBy="amtool",
        comment="theirs",
    )  # fmt: skip
    await scene.pass_time(15)
    scene.alertmanager.firing = []
    await scene.pass_time(90)
    assert scene.alertmanager.resolved
    assert (await scene.kinds())[-1] == "over"
    build_timeline(await scene.state.history.journal_rows(0))


def test_a_silence_is_matched_as_alertmanager_does_it() -> None:
    """Its patterns are RE2's: with its syntax, and in a time that does not explode."""
    for pattern, value, covered in (
        (r"sig\w+\z", "signals", True), (r"\pL+", "signäls", True), ("[[:alpha:]]+", "abc", True),
        ("sig", "signals", False), ("(a+)+b", "a" * 5_000, False),
    ):  # fmt: skip
        matcher = {"name": "task", "value": pattern, "isRegex": True, "isEqual": True}
        assert Silence("x", (matcher,), 0.0, "", "").covers({"task": value}) is covered


async def test_one_acknowledgement_that_alertmanager_refuses_leaves_the_others_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is raised once everything else was done."""
    other = {**LABELS, "task": "other"}
    scene.alertmanager.firing = [LABELS, other]
    await scene.acks.acknowledge({"alertname": "QuantTaskFailing"}, 1e10, "me", "")
    create = scene.alertmanager.create_silence

    async def refuses_one(labels: Any, **what: Any) -> str:
        if labels == LABELS:
            raise ServerError("answered 400")
        return await create(labels, **what)

    monkeypatch.setattr(scene.alertmanager, "create_silence", refuses_one)
    scene.clock.advance(200)
    with pytest.raises(ServerError, match="400"):
        await scene.acks.reconcile()
    ends = {s.matchers[-1]["value"]: s.ends_at for s in await scene.alertmanager.silences()}
    assert ends["other"] == scene.clock.now() + 300
    assert ends["signals"] == scene.clock.now() + 100


async def test_the_loop_outlives_whatever_happens_and_says_so_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody thought of is logged with its traceback; `last_success` stays behind."""
    troubles: list[Exception] = [ServerError("away"), ServerError("away"), ZeroDivisionError("x")]
    calls = 0

    async def odd() -> None:
        nonlocal calls
        calls += 1
        if troubles:
            raise troubles.pop(0)
        raise asyncio.CancelledError

    began = scene.acks.last_success
    caplog.set_level("INFO")
    monkeypatch.setattr(scene.acks, "reconcile", odd)
    monkeypatch.setattr(scene.acks, "_settings", lambda: Alerts(check_every=0.001))
    with pytest.raises(asyncio.CancelledError):
        await scene.acks.run()
    assert calls == 4
    assert scene.acks.last_success == began
    said = [record.message for record in caplog.records]
    assert said == [
        "cannot compare acknowledgements with Alertmanager and Prometheus: away",
        "cannot compare acknowledgements: internal error",
    ]  # fmt: skip
    monkeypatch.undo()
    await scene.pass_time(15)
    assert scene.acks.last_success == scene.clock.now()


@pytest.mark.parametrize(
    ("notified", "escalated"),
    [
        ([(0.0, "slack"), (900.0, "email")], 900.0),
        ([(0.0, "pagerduty"), (0.2, "slack"), (900.0, "email")], 900.0),
        ([(900.0, "email"), (0.0, "slack")], 900.0),
        ([(0.0, "slack"), (4.9, "email")], None),
        ([(0.0, "slack"), (5.0, "email")], 5.0),
        ([(0.0, "slack"), (1.0, "email"), (3600.0, "email")], None),
        ([(0.0, "email"), (0.1, "pagerduty")], None),
        ([(7200.0, "email")], None),
        ([(0.0, "slack"), (3600.0, "slack"), (7200.0, "pagerduty")], None),
        ([], None),
    ],
)
def test_an_escalation_is_the_second_channel_later_than_the_first(
    notified: list[tuple[float, str]], escalated: float | None
) -> None:
    """Not a repeat, not the alert that a channel is broken, which goes to both at once."""
    incident = Incident({"alertname": "A"}, "", "", 0.0, notified=notified)
    assert incident.escalated_at == escalated


async def test_a_silence_by_pattern_or_by_what_does_not_match_acknowledges(scene: Scene) -> None:
    """As Alertmanager's own page makes them."""
    scene.alertmanager.firing = [LABELS]
    await scene.journal.record("slack", {"alerts": [ALERT]})
    await scene.pass_time(15)
    for name, matcher in (
        ("pattern", {"name": "task", "value": "sig.*", "isRegex": True, "isEqual": True}),
        ("unequal", {"name": "task", "value": "other", "isRegex": False, "isEqual": False}),
        ("foreign", {"name": "task", "value": "signals", "isRegex": False, "isEqual": False}),
    ):
        scene.alertmanager.add_silence(
            id=name, matchers=[matcher], endsAt=iso(scene.clock.now() + 9000), createdBy="me",
            comment=name,
        )  # fmt: skip
    await scene.pass_time(15)
    (incident,) = build_timeline(await scene.state.history.journal_rows(0))
    assert [comment for _, _, comment in incident.acknowledged] == ["pattern", "unequal"]


def test_a_silence_covers_what_its_matchers_say() -> None:
    """Equal, unequal, and patterns that are anchored, as Alertmanager's are."""
    matcher = {"name": "task", "value": "sig.*", "isRegex": True, "isEqual": True}
    silence = Silence("x", (matcher,), 0.0, "me", "")
    assert silence.covers({"task": "signals"})
    assert not silence.covers({"task": "my_signals"})
    assert not replace(silence, matchers=({**matcher, "isEqual": False},)).covers({"task": "sig"})
