"""Acknowledgements and good news, against an Alertmanager that a test holds in its hand."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from exporter.alerts.acks import Keeper, NothingFires
from exporter.alerts.api_clients import ServerError, Silence
from exporter.alerts.journal import Journal
from exporter.alerts.timeline import tell
from exporter.cli.alerts import as_text
from exporter.logs.digest.build import NOTIFIED
from exporter.metrics import Metrics
from exporter.state import State
from exporter.util.clock import iso
from exporter.web.alert_pages import routes
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


class FakeServers:
    """What :class:`exporter.alerts.api_clients.Servers` offers."""

    def __init__(self) -> None:
        self.there: list[dict[str, str]] = []
        self.at_alertmanager: list[dict[str, Any]] = []
        self.kept: dict[str, Silence] = {}
        self.resolved: list[Any] = []
        self.failures = {"slack": 0.0}
        self.answers = True
        self.prometheus_answers = True
        self.fires_again: list[list[dict[str, str]]] = []

    def _ask(self) -> None:
        if not self.answers:
            raise ServerError("it is away")

    async def firing(self) -> list[dict[str, str]]:
        self._ask()
        if not self.prometheus_answers:
            raise ServerError("Prometheus is away")
        return self.there + (self.fires_again.pop(0) if self.fires_again else [])

    async def alerts(self) -> list[dict[str, str]]:
        self._ask()
        return self.there

    async def held(self) -> list[dict[str, Any]]:
        return self.at_alertmanager

    async def silences(self) -> list[Silence]:
        return list(self.kept.values())

    async def silence(
        self, labels: Any, *, start: Any, end: Any, by: Any, comment: Any, replaces: Any
    ) -> str:
        name = replaces or f"s{len(self.kept)}"
        matchers = tuple({"name": n, "value": v, "isRegex": False} for n, v in labels.items())
        self.kept[name] = Silence(name, matchers, end, by, comment)
        return name

    async def end_silence(self, silence: str) -> None:
        del self.kept[silence]

    async def say_resolved(self, alerts: Any) -> None:
        if alerts:
            self.resolved.append([alert["labels"] for alert in alerts])
            self.ended_at = alerts[0]["ends_at"]

    async def failed_attempts(self) -> dict[str, float]:
        return dict(self.failures)


class Scene:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(now=1795485600.0)
        self.state = State.open(folder / "state.db", self.clock)
        self.metrics = Metrics(CollectorRegistry())
        self.journal = Journal(self.state, self.metrics, self.clock)
        self.servers = FakeServers()
        self.keeper = Keeper(self.servers, self.journal, self.state, self.clock)  # type: ignore[arg-type]

    async def pass_time(self, seconds: int) -> None:
        """Sweep every 15 s; silences end by themselves."""
        for _ in range(seconds // 15):
            self.clock.advance(15)
            now = self.clock.now()
            kept = self.servers.kept
            self.servers.kept = {n: s for n, s in kept.items() if s.ends_at > now}
            await self.keeper.sweep()

    async def kinds(self) -> list[str]:
        return [row.kind for row in reversed(await self.state.journal_rows(0))]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(tmp_path)
    yield made
    await made.state.close()


async def test_an_acknowledgement_is_a_short_silence_that_is_renewed(scene: Scene) -> None:
    """It never reaches further than 5 minutes ahead, has no gap, and ends on time."""
    scene.servers.there = [LABELS]
    until = scene.clock.now() + 1800
    await scene.keeper.acknowledge({"alertname": "QuantTaskFailing"}, until, "me", "on it")
    for _ in range(119):
        await scene.pass_time(15)
        (silence,) = scene.servers.kept.values()
        assert silence.covers(LABELS)
        assert silence.ends_at <= min(until, scene.clock.now() + 300)
    await scene.pass_time(30)
    assert scene.servers.kept == {}
    assert (await scene.kinds())[-1] == "ack_ended"
    await scene.pass_time(600)
    assert scene.servers.kept == {}


async def test_what_clears_while_silenced_is_told_to_all_who_heard_of_it(scene: Scene) -> None:
    """The silence ends first, then Alertmanager is told again, until the receivers report it."""
    scene.servers.there = [LABELS]
    for receiver in ("pagerduty", "slack"):
        await scene.journal.take(receiver, {"alerts": [ALERT]})
    await scene.keeper.acknowledge(LABELS, scene.clock.now() + 7200, "me", "")
    await scene.pass_time(60)
    scene.servers.there = []
    await scene.pass_time(60)
    assert scene.servers.kept  # a server that restarts forgets alerts for a while: wait
    assert not scene.servers.resolved
    await scene.pass_time(15)
    assert not scene.servers.kept
    assert scene.servers.resolved == [[LABELS, LABELS]]
    assert scene.servers.ended_at == iso(scene.clock.now() - 60)  # when it was first seen gone
    over = {**ALERT, "status": "resolved", "endsAt": iso(scene.clock.now())}
    for receiver in ("pagerduty", "slack"):
        await scene.journal.take(receiver, {"alerts": [over]})
    await scene.pass_time(60)
    assert len(scene.servers.resolved) == 1


async def test_a_silence_made_elsewhere_is_left_alone_and_journalled(scene: Scene) -> None:
    """Its end brings the good news."""
    scene.servers.there = [LABELS]
    await scene.journal.take("slack", {"alerts": [ALERT]})
    await scene.pass_time(15)
    matcher = {"name": "alertname", "value": "Quant.*", "isRegex": True, "isEqual": True}
    theirs = Silence("x", (matcher,), scene.clock.now() + 600, "amtool", "deploy")
    scene.servers.kept["x"] = theirs
    await scene.pass_time(30)
    scene.servers.there = []
    await scene.pass_time(300)
    assert scene.servers.kept == {"x": theirs}
    assert not scene.servers.resolved
    await scene.pass_time(300)
    assert scene.servers.resolved
    kinds = await scene.kinds()
    assert kinds.index("silenced") < kinds.index("silence_ended")


async def test_servers_that_are_away_end_nothing(scene: Scene) -> None:
    """No answer is no good news."""
    scene.servers.there = [LABELS]
    await scene.journal.take("slack", {"alerts": [ALERT]})
    scene.servers.answers = False
    scene.clock.advance(3600)
    with pytest.raises(ServerError):
        await scene.keeper.sweep()
    assert not scene.servers.resolved


async def test_an_acknowledgement_goes_on_without_prometheus(scene: Scene) -> None:
    """Alertmanager alone is needed for a silence, and nothing is known to be over."""
    scene.servers.there = [LABELS]
    await scene.keeper.acknowledge(LABELS, scene.clock.now() + 7200, "me", "")
    scene.servers.prometheus_answers = False
    for _ in range(60):
        scene.clock.advance(15)
        with pytest.raises(ServerError):
            await scene.keeper.sweep()
    (silence,) = scene.servers.kept.values()
    assert silence.ends_at > scene.clock.now() + 60


async def test_what_fires_again_at_the_last_moment_is_no_good_news(scene: Scene) -> None:
    """The race that can be seen is seen: between the look and the word that it is over."""
    scene.servers.there = [LABELS]
    await scene.journal.take("slack", {"alerts": [ALERT]})
    scene.servers.there = []
    await scene.pass_time(60)
    scene.servers.fires_again = [[], [LABELS]]  # the first look of a sweep, and the second one
    await scene.pass_time(15)
    assert not scene.servers.resolved
    await scene.pass_time(90)
    assert scene.servers.resolved


async def test_a_silence_that_somebody_lifts_ends_the_acknowledgement(scene: Scene) -> None:
    """Otherwise it would come back under their hands."""
    scene.servers.there = [LABELS]
    await scene.keeper.acknowledge(LABELS, scene.clock.now() + 7200, "me", "")
    await scene.pass_time(15)
    scene.servers.kept.clear()
    await scene.pass_time(60)
    assert scene.servers.kept == {}


async def test_nothing_to_acknowledge_is_said(scene: Scene) -> None:
    """With what does fire."""
    scene.servers.there = [LABELS]
    with pytest.raises(NothingFires, match="firing: QuantTaskFailing"):
        await scene.keeper.acknowledge({"alertname": "QuantDrawdown"}, 1e10, "me", "")


async def test_failed_deliveries_are_journalled(scene: Scene) -> None:
    """From Alertmanager's own counters."""
    await scene.pass_time(15)
    scene.servers.failures["slack"] = 3.0
    await scene.pass_time(30)
    (row,) = await scene.state.journal_rows(0, "failed")
    assert row.fields == {"integration": "slack", "attempts": 3.0}


async def test_a_story_says_who_was_told_and_how_long_it_took(scene: Scene) -> None:
    """One alert, two channels, an acknowledgement, an escalation, an end."""
    scene.servers.there = [LABELS]
    await scene.journal.take("slack", {"alerts": [ALERT]})
    scene.clock.advance(900)
    await scene.journal.take("email", {"alerts": [ALERT]})
    await scene.keeper.acknowledge(LABELS, scene.clock.now() + 7200, "me", "on it")
    scene.clock.advance(60)
    over = {**ALERT, "status": "resolved", "endsAt": "2026-11-24T02:20:00.123456789Z"}
    await scene.journal.take("slack", {"alerts": [over]})
    (story,) = tell(await scene.state.journal_rows(0))
    told = story.as_json()
    assert [one["receiver"] for one in told["told"]] == ["slack", "email"]
    assert told["acknowledged"][0]["by"] == "me"
    assert told["escalated_at"] == story.told[1][0]
    assert told["lasted_seconds"] == 1200


async def test_what_nobody_was_told_of_has_a_story_too(scene: Scene) -> None:
    """Silenced all night: seen at Alertmanager itself, once, from its start to its end. The same
    alert told of by a channel is the same story, whose end the channel knows better."""
    alert = {
        "labels": LABELS, "annotations": ALERT["annotations"],
        "starts_at": "2026-11-24T02:00:00.123Z", "fingerprint": "f1", "muted": "",
    }  # fmt: skip
    watchdog = {**alert, "labels": {"alertname": "QuantWatchdog"}, "fingerprint": "w"}
    scene.servers.at_alertmanager, scene.servers.there = [alert, watchdog], [LABELS]
    await scene.pass_time(30)
    scene.servers.at_alertmanager = [{**alert, "muted": "silenced"}, watchdog]
    await scene.pass_time(600)
    (story,) = tell(await scene.state.journal_rows(0))
    assert (story.told, story.muted, story.resolved_at) == ([], "silenced", None)
    scene.servers.at_alertmanager, scene.servers.there = [watchdog], []
    gone = scene.clock.now()
    await scene.pass_time(120)
    assert await scene.kinds() == ["fired", "fired", "over"]
    (story,) = tell(await scene.state.journal_rows(0))
    assert story.resolved_at is not None
    assert gone <= story.resolved_at <= gone + 15
    assert "told: nobody, silenced" in as_text(story, ZoneInfo("UTC"))

    over = {**ALERT, "status": "resolved", "endsAt": "2026-11-24T02:20:00.123456789Z"}
    await scene.journal.take("slack", {"alerts": [ALERT, over]})
    (story,) = tell(await scene.state.journal_rows(0))
    assert len(story.told) == 1
    assert story.as_json()["lasted_seconds"] == pytest.approx(1200, abs=0.01)


async def test_notifications_are_counted_by_rule(scene: Scene) -> None:
    """What the fatigue budget needs."""
    await scene.journal.take("slack", {"alerts": [ALERT, {**ALERT, "status": "resolved"}]})
    value = scene.metrics.registry.get_sample_value
    labels = {"severity": "critical", "status": "firing", "receiver": "slack"}
    assert value("quant_alert_notifications_total", labels) == 1.0
    rule = {"alertname": "QuantTaskFailing", "severity": "critical"}
    assert value("quant_alert_rule_notifications_total", rule) == 1.0
    labels = {"severity": "warning", "status": "firing", "receiver": "slack"}
    assert value("quant_alert_notifications_total", labels) == 0.0


async def test_a_notification_stands_in_the_log_as_digests_read_it(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Name, tier, state and what tells one alert from another are fields of the line."""
    with caplog.at_level("INFO"):
        await scene.journal.take("slack", {"alerts": [ALERT]})
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
        routes(scene.journal, scene.keeper, scene.state, scene.clock, lambda t: t == "secret")
    )
    async with TestClient(TestServer(app)) as made:
        yield made


async def test_the_link_asks_and_the_button_acknowledges(
    scene: Scene, client: TestClient[Any, Any]
) -> None:
    """Opening it changes nothing; without the token nothing happens; once known it is not asked."""
    scene.servers.there = [LABELS]
    page = await (await client.get("/ack", params=LABELS)).text()
    assert 'name="token"' in page
    assert "it may be over" in page
    await scene.journal.take("slack", {"alerts": [ALERT]})
    page = await (await client.get("/ack", params=LABELS)).text()
    assert "Task signals: 2 failed" in page
    assert scene.servers.kept == {}
    refused = await client.post("/ack", data={**LABELS, "for": "2h", "token": "wrong"})
    assert (refused.status, scene.servers.kept) == (401, {})
    done = await client.post("/ack", data={**LABELS, "for": "2h", "token": "secret"})
    assert "Acknowledged" in await done.text()
    assert len(scene.servers.kept) == 1
    cookie = done.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


async def test_what_stands_in_a_link_is_escaped(client: TestClient[Any, Any]) -> None:
    """Labels come from anywhere."""
    page = await (await client.get("/ack", params={"alertname": '"><script>'})).text()
    assert "<script" not in page


@pytest.mark.parametrize("body", ["[]", "{", '{"alerts": [{}]}', '{"alerts": [{"labels": 1}]}'])
async def test_what_is_no_webhook_is_refused(client: TestClient[Any, Any], body: str) -> None:
    """With a sentence, and nothing is journalled."""
    answer = await client.post("/api/v1/alerts?receiver=slack", data=body)
    assert answer.status == 400
    assert (await answer.json())["error"]


async def test_stories_over_http_and_the_runbook(
    scene: Scene, client: TestClient[Any, Any]
) -> None:
    """What the status page shows, and where runbook_url leads."""
    answer = await client.post("/api/v1/alerts?receiver=slack", json={"alerts": [ALERT]})
    assert await answer.json() == {"ok": True, "alerts": 1}
    found = await (await client.get("/api/v1/alerts?since=1d")).json()
    assert found["alerts"][0]["alertname"] == "QuantTaskFailing"
    assert 'id="quanttaskfailing"' in await (await client.get("/runbook")).text()


def test_a_silence_covers_what_its_matchers_say() -> None:
    """Equal, unequal, and patterns that are anchored, as Alertmanager's are."""
    matcher = {"name": "task", "value": "sig.*", "isRegex": True, "isEqual": True}
    silence = Silence("x", (matcher,), 0.0, "me", "")
    assert silence.covers({"task": "signals"})
    assert not silence.covers({"task": "my_signals"})
    assert not replace(silence, matchers=({**matcher, "isEqual": False},)).covers({"task": "sig"})
