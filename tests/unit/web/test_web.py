"""The HTTP surface over real sockets: who may do what, and what refusals say."""

from __future__ import annotations

import errno
import gzip
import json
import os
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge

from exporter.config import Config, Strategy
from exporter.config.phrases import unknown_task
from exporter.metrics import Metrics
from exporter.runner.external import Ping
from exporter.runner.results import BusyError
from exporter.scheduling.past_slots import NoSlotsError
from exporter.state import State, ledger
from exporter.strategies.tracker import Strategies
from exporter.web.api import Api
from exporter.web.exposition import Exposition
from exporter.web.guard import Guard
from exporter.web.server import Server, cannot_listen
from exporter.web.strategies_api import StrategiesApi
from exporter.web.token import TokenFile
from tests.unit.clocks import ManualClock

TOKEN = "a-token-for-tests"
AUTH = {"Authorization": f"Bearer {TOKEN}"}


class FakeTasks:
    """What the API asks of the parts that run tasks."""

    def __init__(self) -> None:
        self.kinds = {"scan": "run", "sync": "external"}
        self.calls: list[Any] = []
        self.busy = False

    def list(self) -> list[dict[str, Any]]:
        return [{"name": name, "deadline": float("nan")} for name in self.kinds]

    def kind(self, name: str) -> str | None:
        return self.kinds.get(name)

    def unknown(self, name: str) -> str:
        return unknown_task(name, self.kinds)

    async def run(
        self,
        name: str,
        slot: float | None = None,
        *,
        again: bool = False,
        params: Mapping[str, Any] | None = None,
    ) -> str:
        if self.busy:
            raise BusyError(f"{name} is running already")
        if slot == 7.0:
            raise NoSlotsError(f"{name} has no slot at 7")
        asked = (slot, again, params) if slot or again or params else ()
        self.calls.append(("run", name, *asked))
        return "id-1"

    async def slots(self, name: str, first: str, last: str) -> list[dict[str, Any]]:
        if not first:
            raise ValueError("invalid day ''")
        return [{"slot": 1.0, "run_id": None, "outcome": None, "asked": [first, last]}]

    async def find_run(self, name: str, run_id: str) -> dict[str, Any] | None:
        return {"run_id": run_id} if run_id == "id-1" else None

    async def ping(self, name: str, ping: Ping) -> str:
        self.calls.append((ping.kind, name, ping.items, ping.message, ping.rid))
        return "id-2"

    async def pause(self, name: str | None, until: float) -> None:
        self.calls.append(("pause", name, until))

    async def resume(self, name: str | None) -> None:
        self.calls.append(("resume", name))


class HttpApi:
    """A server on a free port, on a real state."""

    def __init__(self, state: State, clock: ManualClock) -> None:
        self.clock, self.tasks, self.state = clock, FakeTasks(), state
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.strategies = Strategies(state, clock, metrics)
        self.strategies.apply(Config(strategies={"m": Strategy()}))
        Gauge("quant_example", "For tests.", registry=self.registry).set(1)
        guard = Guard(TOKEN, ["trader.example"])
        zone = ZoneInfo("America/New_York")
        routes = [
            *Api(self.tasks, self.clock, guard, lambda: zone).routes(),
            *StrategiesApi(self.strategies, self.clock, lambda: zone).routes(),
        ]
        self.missing: str | None = None
        self.mistakes: list[str] = []

        async def reload(*, force: bool = False) -> list[str]:
            return self.mistakes

        self.server = Server(
            Exposition(self.registry), guard, lambda: self.missing, reload,
            routes=routes, state=state, instance="0123456789ab",
        )  # fmt: skip
        self.url = ""
        self.http: aiohttp.ClientSession

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Status, and the answer decoded."""
        async with self.http.request(method, self.url + path, **more) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else text

    async def post(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        """With the token."""
        headers = {**AUTH, **more.pop("headers", {})}
        return await self.ask("POST", path, json=body, headers=headers, **more)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[HttpApi]:
    """Started and stopped."""
    clock = ManualClock()
    state = State.open(tmp_path / "state.db", clock)
    api = HttpApi(state, clock)
    host, port = await api.server.start("127.0.0.1", 0)
    api.url = f"http://{host}:{port}"
    async with aiohttp.ClientSession(
        auto_decompress=False, headers={"Accept-Encoding": "identity"}
    ) as api.http:
        yield api
    await api.server.stop()
    await state.close()


def test_the_token_is_made_once_and_its_owner_alone_can_read_it(tmp_path: Path) -> None:
    """Mode 0600, the same after a restart."""
    path = tmp_path / "var/token"
    token = TokenFile(path).read_or_make()
    assert len(token) > 30
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert TokenFile(path).read_or_make() == token


async def test_a_token_that_no_disk_takes_is_written_once_one_does(tmp_path: Path) -> None:
    """Until then nobody can know it, so nobody can write; no restart is needed."""
    folder = tmp_path / "state"
    folder.write_text("in the way")
    file = TokenFile(folder / "token")
    token = file.read_or_make()
    await file.rescue()
    folder.unlink()
    await file.rescue()
    assert (folder / "token").read_text().strip() == token
    assert list(folder.iterdir()) == [folder / "token"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"X-Token": TOKEN},
    ],
)
async def test_a_write_without_the_token_is_refused(api: HttpApi, headers: dict[str, str]) -> None:
    """With what to do."""
    for path in ("/api/v1/tasks/scan/run", "/api/v1/pause", "/-/reload"):
        status, said = await api.ask("POST", path, headers=headers)
        assert status == 401
        assert "Authorization: Bearer" in said["error"]
    assert api.tasks.calls == []


@pytest.mark.parametrize("path", ["/metrics", "/-/healthy", "/-/ready", "/api/v1/tasks", "/"])
@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("evil.example", False), ("evil.example:10077", False), ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False), ("evil.example.", False), ("", False), ("[", False),
        ("localhost", True), ("127.0.0.1:10077", True), ("[::1]:10077", True), ("10.1.2.3", True),
        ("exporter:10077", True), ("trader.example", True), ("TRADER.example.:443", True),
    ],
)  # fmt: skip
async def test_only_names_that_no_other_site_can_have_are_answered(
    api: HttpApi, path: str, host: str, answered: bool
) -> None:
    """A page of another site can lead its own name here (DNS rebinding): scrapes and health too."""
    status, _ = await api.ask("GET", path, headers={"Host": host})
    assert (status != 403) == answered


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 202),  # a form, by Referrer-Policy
        ({"Origin": "https://proxy.example", "Sec-Fetch-Site": "same-origin"}, 202),
        ({"Host": "10.1.2.3:80", "Origin": "http://10.1.2.3"}, 202),
        ({"Origin": "http://127.0.0.1:10077"}, 202),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:10077", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "null", "Sec-Fetch-Site": "none"}, 403),
    ],
)
async def test_own_forms_may_write_behind_any_proxy(
    api: HttpApi, headers: dict[str, str], status: int
) -> None:
    """The browser says itself whether a form is of the same site; else the Origin must be ours."""
    assert (await api.post("/api/v1/tasks/scan/run", headers=headers))[0] == status


async def test_a_refusal_is_a_page_for_a_person(api: HttpApi) -> None:
    """Who looks with a browser reads why, not JSON."""
    headers = {"Host": "evil.example", "Accept": "text/html"}
    status, text = await api.ask("GET", "/", headers=headers)
    assert status == 403
    assert "<h1>Forbidden</h1>" in text
    assert "set public_url, or add it to allowed_hosts" in text
    status, said = await api.ask("GET", "/api/v1/tasks", headers=headers)
    assert (status, list(said)) == (403, ["error"])


async def test_nothing_is_known_or_taken_before_the_start_is_over(api: HttpApi) -> None:
    """503 with Retry-After: clients do not try again after a 404. Scrapes and health go on."""
    api.missing = "starting"
    for method, path in (
        ("POST", "/api/v1/tasks/sync/success"), ("GET", "/api/v1/tasks/sync/success"),
        ("POST", "/api/v1/tasks/nobody/fail"), ("POST", "/api/v1/tasks/scan/run"),
        ("GET", "/api/v1/tasks"), ("POST", "/api/v1/pause"),
        ("POST", "/api/v1/strategies/m/equity"),
    ):  # fmt: skip
        async with api.http.request(method, api.url + path, headers=AUTH) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5"), path
            assert "is starting" in await answer.text()
    assert api.tasks.calls == []
    for path in ("/metrics", "/-/healthy"):
        assert (await api.ask("GET", path))[0] == 200
    api.missing = None
    assert (await api.post("/api/v1/tasks/sync/success"))[0] == 200


async def test_nothing_is_accepted_that_would_not_survive_a_kill(
    api: HttpApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the state is not durable, and when it fails with this very write."""
    durable = [False]
    monkeypatch.setattr(State, "durable", property(lambda _: durable.pop(0) if durable else True))
    writes = (
        ("POST", "/api/v1/tasks/sync/success", None), ("GET", "/api/v1/tasks/sync/fail", None),
        ("POST", "/api/v1/pause", {"for": "1h"}),
        ("POST", "/api/v1/strategies/m/equity", {"equity": 5}),
        ("POST", "/api/v1/strategies/m/fills", {"symbol": "A", "side": "buy", "price": 1}),
    )  # fmt: skip
    for method, path, body in writes:
        for answers in ([False], [True, False]):
            durable[:] = answers
            async with api.http.request(method, api.url + path, headers=AUTH, json=body) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "5"), path
                assert "not kept, try again" in await answer.text()
    assert (await api.post("/api/v1/tasks/scan/run"))[0] == 202  # its claim answers for itself


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer \xe9\xff"},
        {"Authorization": "Bearer \u20ac"},
        {"Authorization": "Bearer"},
        {"Authorization": "\xff"},
    ],
)
async def test_odd_tokens_are_wrong_tokens(api: HttpApi, headers: dict[str, str]) -> None:
    """Bytes that are not ASCII are no error of the exporter."""
    assert (await api.ask("POST", "/api/v1/pause", headers=headers))[0] == 401


@pytest.mark.parametrize("charset", ["utf-99", "x" * 300, "\xff", "base64", "hex"])
async def test_odd_charsets_are_named(api: HttpApi, charset: str) -> None:
    """Also those that Python knows but that are not of text."""
    headers = {**AUTH, "Content-Type": f"application/json; charset={charset}"}
    status, said = await api.ask("POST", "/api/v1/pause", data=b"{}", headers=headers)
    assert status == 400
    assert "charset" in said["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/pause", '{"for": "4000000d"}'),
        ("/api/v1/pause", '{"until": 1e300}'),
        ("/api/v1/pause", '{"until": "9999-12-31T23:59:59"}'),
        ("/api/v1/pause", '{"until": 1' + "0" * 400 + "}"),
        ("/api/v1/pause", '{"for": "' + "9" * 400 + 's"}'),
        ("/api/v1/pause", '{"for": "1h", "until": {}}'),
        ("/api/v1/pause", '{"task": ["scan"], "for": "1h"}'),
        ("/api/v1/pause", '{"task": {"a": 1}, "for": "1h"}'),
        ("/api/v1/resume", '{"task": ["scan"]}'),
        ("/api/v1/tasks/sync/success", '{"items": 1' + "0" * 400 + "}"),
        ("/api/v1/tasks/sync/success", '{"items": 1' + "0" * 20 + "}"),
        ("/api/v1/tasks/sync/success", '{"items": 1e300}'),
        ("/api/v1/strategies/m/equity", '{"equity": 1' + "0" * 400 + "}"),
        ("/api/v1/strategies/m/equity", '{"equity": 5, "timestamp": 1' + "0" * 400 + "}"),
        ("/api/v1/strategies/m/equity", '{"equity": 5, "timestamp": "-0001-01-01"}'),
        ("/api/v1/strategies/m/equity", '{"equity": 5, "timestamp": "0001-01-01T00:00:00+14:00"}'),
        ("/api/v1/strategies/m/equity", '{"equity": 5, "flow": 1' + "0" * 5000 + "}"),
        ("/api/v1/strategies/m/equity", '{"equity": 5, "flow": {}}'),
        ("/api/v1/strategies/m/equity", '{"equity": 5, "equity": 6}'),
        ("/api/v1/strategies/m/equity", '{"equity": 5, "flow": false}'),
        ("/-/reload?force=yes", ""),
        (
            "/api/v1/strategies/m/fills",
            '{"symbol": "A", "side": "buy", "price": 1' + "0" * 400 + "}",
        ),
        ("/api/v1/strategies/m/fills", '{"symbol": ["A"], "side": [], "price": 1}'),
        (
            "/api/v1/strategies/m/fills",
            '{"symbol": "A", "side": "buy", "price": 1, "timestamp": {}}',
        ),
    ],
)
async def test_odd_values_are_mistakes_of_the_request(api: HttpApi, path: str, body: str) -> None:
    """400 with words; nothing of them is kept."""
    status, said = await api.ask("POST", path, data=body, headers=AUTH)
    assert (status, list(said)) == (400, ["error"])
    assert api.tasks.calls == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://trader.example.evil.example"},
    ],
)
async def test_another_site_cannot_write_even_with_the_token(
    api: HttpApi, headers: dict[str, str]
) -> None:
    """Host and Origin are checked against DNS rebinding and forged requests."""
    status, _ = await api.post("/api/v1/tasks/scan/run", headers=headers)
    assert status == 403
    assert api.tasks.calls == []


async def test_a_name_of_ours_may_write(api: HttpApi) -> None:
    """As a reverse proxy passes it on."""
    headers = {"Host": "trader.example", "Origin": "https://trader.example"}
    assert (await api.post("/api/v1/tasks/scan/run", headers=headers))[0] == 202


async def test_no_get_changes_anything_but_a_ping_with_the_token(api: HttpApi) -> None:
    """A link in a mail must not run a task."""
    for path in ("/api/v1/tasks/scan/run", "/api/v1/pause", "/api/v1/resume", "/-/reload"):
        status, _ = await api.ask("GET", path, headers=AUTH)
        assert status in (404, 405), path
    assert (await api.ask("GET", "/api/v1/tasks/sync/success"))[0] == 401
    assert api.tasks.calls == []
    status, _ = await api.ask("GET", f"/api/v1/tasks/sync/success?token={TOKEN}&items=3")
    assert status == 200
    assert api.tasks.calls == [("success", "sync", 3, None, None)]


async def test_a_ping_may_name_its_run(api: HttpApi) -> None:
    """By a UUID in body or query, in any of its spellings; anything else is refused."""
    rid = "11111111-2222-4333-8444-5555555555ff"
    for path, body in (("start", {"rid": rid.upper()}), (f"fail?rid={rid.replace('-', '')}", None)):
        answer = await api.post(f"/api/v1/tasks/sync/{path}", body)
        assert answer == (200, {"ok": True, "run_id": "id-2"})
    assert [call[-1] for call in api.tasks.calls] == [rid, rid]
    for wrong in ("7", 7, ["x"], rid + "0"):
        status, said = await api.post("/api/v1/tasks/sync/start", {"rid": wrong})
        assert (status, "rid must be a UUID" in said["error"]) == (400, True)


async def test_a_run_for_a_slot_of_the_past_is_asked_for_exactly(api: HttpApi) -> None:
    """What is not a slot, and a body that makes no sense, start nothing."""
    run = "/api/v1/tasks/scan/run"
    body = {"slot": 60, "again": True, "params": {"n": 1}}
    assert (await api.post(run, body))[0] == 202
    assert api.tasks.calls == [("run", "scan", 60.0, True, {"n": 1})]
    for wrong, why in (
        ({"slot": "today"}, "slot must be a time in Unix seconds, not 'today'"),
        ({"slot": True}, "slot must be a time in Unix seconds, not 'True'"),
        ({"again": "no"}, "again must be true or false, not 'no'"),
        ({"params": [1]}, 'params must be an object, as {"lookback": 30}'),
    ):
        assert await api.post(run, wrong) == (400, {"error": why})
    assert await api.post(run, {"slot": 7}) == (404, {"error": "scan has no slot at 7"})
    assert len(api.tasks.calls) == 1


async def test_the_slots_of_a_span_can_be_asked_for(api: HttpApi) -> None:
    """`to` is the same day unless it is given."""
    slots = "/api/v1/tasks/scan/slots"
    _, answer = await api.ask("GET", f"{slots}?from=2026-11-20")
    assert answer["slots"][0]["asked"] == ["2026-11-20", "2026-11-20"]
    _, answer = await api.ask("GET", f"{slots}?from=2026-11-20&to=2026-11-21")
    assert answer["slots"][0]["asked"] == ["2026-11-20", "2026-11-21"]
    assert await api.ask("GET", slots) == (400, {"error": "invalid day ''"})
    assert (await api.ask("GET", "/api/v1/tasks/nobody/slots?from=2026-11-20"))[0] == 404


async def test_a_run_is_started_and_can_be_asked_for(api: HttpApi) -> None:
    """And refused with a reason while it cannot start."""
    assert await api.post("/api/v1/tasks/scan/run") == (202, {"run_id": "id-1"})
    assert (await api.ask("GET", "/api/v1/tasks/scan/runs/id-1"))[1] == {"run_id": "id-1"}
    assert (await api.ask("GET", "/api/v1/tasks/scan/runs/id-2"))[0] == 404
    api.tasks.busy = True
    status, said = await api.post("/api/v1/tasks/scan/run")
    assert (status, said["error"]) == (409, "scan is running already")
    assert (await api.post("/api/v1/tasks/nothing/run"))[0] == 404
    assert (await api.post("/api/v1/tasks/sync/run"))[0] == 409
    assert (await api.post("/api/v1/tasks/scan/success"))[0] == 409


async def test_a_pause_says_until_when(api: HttpApi) -> None:
    """For a duration or until a time in the config's zone; never into the past."""
    now = api.clock.now()
    status, said = await api.post("/api/v1/pause", {"for": "2h"})
    assert (status, said["until"]) == (200, now + 7200)
    assert (await api.post("/api/v1/pause", {"task": "scan", "until": now + 60}))[0] == 200
    assert api.tasks.calls == [("pause", None, now + 7200), ("pause", "scan", now + 60)]
    for body in ({}, {"for": "soon"}, {"until": "2001-01-01T00:00"}, {"for": 5}, [1], "x"):
        assert (await api.post("/api/v1/pause", body))[0] == 400, body
    assert (await api.post("/api/v1/pause", {"task": "nothing", "for": "2h"}))[0] == 404


async def test_equity_and_fills_are_taken_and_bad_ones_named(api: HttpApi) -> None:
    """Nothing of a refused body is kept."""
    now = api.clock.now()
    status, said = await api.post("/api/v1/strategies/m/equity", {"equity": 100})
    assert (status, said["drawdown"]) == (200, 0)
    api.clock.advance(60)
    body = {"equity": 90, "timestamp": now + 30}
    assert (await api.post("/api/v1/strategies/m/equity", body))[1]["drawdown"] == 0.1
    for bad, text in (
        ({}, "equity is missing"),
        ({"equity": "many"}, "equity must be a number"),
        ({"equity": 1e400}, "finite"),
        ({"equity": 5, "timestamp": now}, "not newer"),
        ({"equity": 5, "timestamp": now + 9e5}, "future"),
        ({"equity": 5, "reset_peak": "yes"}, "reset_peak must be true or false"),
        ({"equity": 5, "currency": ""}, "currency must be a code such as USD, not ''"),
        ({"equity": 5, "flwo": -5}, "unknown key 'flwo': did you mean flow?"),
        (
            {"equity": 5, "currency": "EUR"},
            "the equity is in EUR, and the strategy's `currency` is",
        ),
    ):
        status, said = await api.post("/api/v1/strategies/m/equity", bad)
        assert status == 400, bad
        assert text in said["error"]
    assert api.strategies.curves["m"].equity == 90
    body = {"equity": 91, "timestamp": now + 40, "reset_peak": True}
    assert (await api.post("/api/v1/strategies/m/equity", body))[1]["peak"] == 91
    fill = {"symbol": "TSLA.US", "side": "BUY", "price": 241.3}
    assert (await api.post("/api/v1/strategies/m/fills", fill))[0] == 200
    for change in (
        {"side": "hold"}, {"price": "x"}, {"symbol": ""}, {"symbol": "A\nB"}, {"price": None},
        {"qty": 3}, {"fees": 1},
    ):  # fmt: skip
        assert (await api.post("/api/v1/strategies/m/fills", {**fill, **change}))[0] == 400
    labels = {"strategy": "m", "symbol": "TSLA.US", "side": "buy"}
    assert api.registry.get_sample_value("quant_strategy_last_fill_price", labels) == 241.3
    assert (await api.post("/api/v1/strategies/nothing/equity", {"equity": 1}))[0] == 404


async def test_hostile_bodies_are_refused(api: HttpApi) -> None:
    """No JSON, too large, other encodings."""
    url = "/api/v1/pause"
    half = b'{"for": "2h", "task": "\\ud800"}'
    for data in (b"<html>", b"\xff\xfe", b"{", b'{"for": "2h"', half, b"[" * 60_000):
        assert (await api.ask("POST", url, data=data, headers=AUTH))[0] == 400
    assert (await api.ask("POST", url, data=b" " * 2**21, headers=AUTH))[0] == 413


async def test_times_that_never_were_are_null(api: HttpApi) -> None:
    """JSON has no NaN."""
    _, said = await api.ask("GET", "/api/v1/tasks")
    assert said["tasks"][0] == {"name": "scan", "deadline": None}


async def test_metrics_are_negotiated(api: HttpApi) -> None:
    """Prometheus text, OpenMetrics, gzip, and a choice of names; by whatever name we are called."""
    async with api.http.get(f"{api.url}/metrics", headers={"Host": "exporter:1"}) as answer:
        plain = await answer.read()
        assert answer.status == 200
        assert answer.content_type == "text/plain"
    open_metrics = {"Accept": "application/openmetrics-text;version=1.0.0"}
    async with api.http.get(f"{api.url}/metrics", headers=open_metrics) as answer:
        assert (await answer.read()).endswith(b"# EOF\n")
        assert answer.content_type == "application/openmetrics-text"
    zipped = {"Accept-Encoding": "gzip"}
    async with api.http.get(f"{api.url}/metrics", headers=zipped) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await answer.read()) == plain
    refused = {"Accept-Encoding": "gzip;q=0, identity"}
    async with api.http.get(f"{api.url}/metrics", headers=refused) as answer:
        assert "Content-Encoding" not in answer.headers
    async with api.http.get(f"{api.url}/metrics?name[]=quant_example") as answer:
        lines = (await answer.text()).splitlines()
        assert [line for line in lines if not line.startswith("#")] == ["quant_example 1.0"]


async def test_health_readiness_and_reload(api: HttpApi) -> None:
    """Ready says what is missing; a bad file's mistakes come back."""
    assert (await api.ask("GET", "/-/healthy"))[0] == 200
    api.missing = "starting"
    assert await api.ask("GET", "/-/ready") == (503, "not ready: starting\n")
    assert (await api.post("/-/reload"))[0] == 200
    api.mistakes = ["exporter.yml: tasks.a: is missing"]
    status, said = await api.post("/-/reload")
    assert (status, said["error"]) == (400, "exporter.yml: tasks.a: is missing")


async def test_every_answer_carries_the_security_headers(api: HttpApi) -> None:
    """Refusals too."""
    for path in ("/metrics", "/api/v1/tasks", "/nowhere"):
        async with api.http.get(api.url + path) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", ["/metrics", "/-/ready", "/api/v1/tasks", "/nothing"])
async def test_every_answer_says_which_exporter_it_is_from(api: HttpApi, path: str) -> None:
    """So that a command notices another folder's."""
    async with api.http.get(api.url + path) as answer:
        assert answer.headers["X-Quant-Instance"] == "0123456789ab"


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EADDRINUSE, "another exporter or program listens there; stop it, or write another"),
        (errno.EACCES, "ports below 1024 are for root; write a higher one"),
        (errno.EADDRNOTAVAIL, "this machine does not have that address"),
        (errno.EMFILE, "Too many open files"),
    ],
)
def test_an_address_that_cannot_be_used_says_what_to_do(number: int, says: str) -> None:
    """asyncio's own words name the call that failed."""
    error = OSError(number, os.strerror(number))
    assert cannot_listen("127.0.0.1:80", error).startswith(f"cannot listen on 127.0.0.1:80: {says}")


async def test_what_is_sent_again_with_its_id_counts_once(api: HttpApi) -> None:
    """Also after newer points: a program sends again what it does not know to be accepted."""
    url, now = "/api/v1/strategies/m/", api.clock.now()
    first = {"equity": "100.10", "timestamp": now - 60, "id": "a"}
    assert (await api.post(url + "equity", first))[0] == 200
    assert (await api.post(url + "equity", {"equity": 90, "timestamp": now, "id": "b"}))[0] == 200
    assert (await api.post(url + "equity", first)) == (
        200, {"ok": True, "drawdown": pytest.approx(0.1009, abs=1e-4), "peak": 100.1})  # fmt: skip
    assert (await api.post(url + "equity", {**first, "id": "c"}))[0] == 400
    fill = {"symbol": "A.US", "side": "buy", "price": "0.10", "quantity": "3", "fee": 0.35}
    for _ in range(2):
        assert (await api.post(url + "fills", {**fill, "timestamp": now, "id": "f-1"}))[0] == 200
        assert (await api.post(url + "fills", {**fill, "timestamp": now}))[0] == 200
    kept = await api.strategies.holdings.history("m")
    assert [str(row.fill.price) for row in kept] == ["0.10", "0.10"]  # with all their digits
    assert "f-1" in {row.fill.id for row in kept}
    entries = await api.state.history.ask(lambda path: ledger.equity(path, "m", 0.0))
    assert [(str(one.equity), one.id) for one in entries] == [("100.10", "a"), ("90", "b")]


async def test_positions_are_all_that_is_held(api: HttpApi) -> None:
    """What is no longer listed is no longer held, and older positions change nothing."""
    url, now = "/api/v1/strategies/m/positions", api.clock.now()
    two = [{"symbol": "A.US", "quantity": "10"}, {"symbol": "B.US", "quantity": -2.5, "price": 4}]

    def held() -> dict[str, float | None]:
        base = {"strategy": "m", "origin": "strategy"}
        return {
            symbol: api.registry.get_sample_value(
                "quant_position_quantity", {**base, "symbol": symbol}
            )
            for symbol in ("A.US", "B.US")
        }

    assert (await api.post(url, {"positions": two, "timestamp": now}))[0] == 200
    assert held() == {"A.US": 10, "B.US": -2.5}
    assert (await api.post(url, {"positions": [], "timestamp": now - 1}))[0] == 200
    assert held() == {"A.US": 10, "B.US": -2.5}
    again = Strategies(api.state, api.clock, Metrics(CollectorRegistry()))
    again.apply(Config(strategies={"m": Strategy()}))
    assert again.holdings.positions("m") == api.strategies.holdings.positions("m")
    assert (await api.post(url, {"positions": []}))[0] == 200
    assert held() == {"A.US": None, "B.US": None}
    for bad in (
        {}, {"positions": {}}, {"positions": [1]}, {"positions": [{"symbol": "A"}]},
        {"positions": [{"symbol": "A", "quantity": "many"}]},
        {"positions": [{"symbol": "A", "quantity": 1}, {"symbol": "A", "quantity": 1}]},
        {"positions": [], "timestamp": now + 9e5},
        {"positions": [{"symbol": f"S{n}", "quantity": 1} for n in range(501)]},
    ):  # fmt: skip
        assert (await api.post(url, bad))[0] == 400, bad


@pytest.mark.parametrize("value", ["nan", "1e99", "", "1,5", True, [], "9" * 70])
async def test_only_a_number_is_a_price(api: HttpApi, value: Any) -> None:
    """As text it keeps its digits, and must be a number all the same."""
    fill = {"symbol": "A.US", "side": "buy", "price": value}
    status, said = await api.post("/api/v1/strategies/m/fills", fill)
    assert (status, "price must be a number" in said["error"]) == (400, True)
