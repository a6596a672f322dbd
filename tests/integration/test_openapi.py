"""The running exporter answers what docs/openapi.yaml says, whatever it is asked."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate

from tests.integration.processes import Exporter, free_port, post, wait_for
from tests.openapi import Contract

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
alertmanager_url: http://127.0.0.1:{nobody}
code: [code]
messages: {{chat: {{url_file: chat}}}}
tasks:
  quick: {{run: "mine:quick", schedule: "00:00"}}
  slow: {{run: "mine:slow", schedule: "00:00"}}
  sync: {{external: true, schedule: "every 1h"}}
  trade: {{command: ["true"], schedule: "close", exchange: MINE}}
exchanges:
  MINE: {{timezone: UTC, days: mon-sun, hours: 00:00-23:59}}
metrics: {{held: {{}}}}
limits:
  held: {{max: {{critical: 1}}, confirmations: 1, confirm_for: 0s, on_critical: {{pause: [trade]}}}}
sources: {{mine: {{type: push}}}}
feeds:
  pushed: {{source: mine, symbols: [NVDA.US], interval: 1m, exchange: MINE}}
strategies:
  momentum: {{max_drawdown: {{warning: 5%, critical: 10%}}}}
"""
CODE = """\
import time

def quick(): return 1
def slow(): time.sleep(60)
"""
FORM = "x-www-form-urlencoded"
ALERT = {
    "status": "firing",
    "labels": {"alertname": "QuantTaskFailing", "severity": "warning", "task": "quick"},
    "annotations": {"summary": "A task fails."},
    "startsAt": "2026-11-25T03:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "0123456789abcdef",
}


class Asking:
    """Asks the exporter and holds each answer against the document."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter, self.contract = exporter, Contract()
        self.token = exporter.token

    def __call__(
        self, method: str, path: str, body: Any = None, *, kind: str = "json", **headers: str
    ) -> tuple[int, bytes]:
        """Status and body. `headers` stand in for the token's."""
        sent = headers or {"Authorization": f"Bearer {self.token}"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        request = urllib.request.Request(
            self.exporter.url + path,
            method=method,
            data=data if method == "POST" else None,
            headers={"Content-Type": f"application/{kind}", **sent},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, got, text = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            status, got, text = error.code, error.headers, error.read()
        if method != "HEAD":
            self.contract.check(method, path, status, got["Content-Type"], text)
        return status, text

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded answer."""
        return json.loads(self(method, path, body)[1])

    def unseen(self, first: str) -> set[tuple[str, str, str]]:
        """Described answers of a class, ``2`` or ``4``, that did not come; the rest of the 5xx and
        the 408 need a state or a client that fails."""
        return {
            (method, path, status)
            for method, path, status in self.contract.answers() - self.contract.seen
            if status.startswith(first) and status != "408"
        }


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """One for all of this file."""
    folder = tmp_path_factory.mktemp("openapi")
    (folder / "code").mkdir()
    (folder / "code/mine.py").write_text(CODE)
    port = free_port()
    (folder / "chat").write_text(f"http://127.0.0.1:{free_port()}/hook")
    (folder / "exporter.yml").write_text(CONFIG.format(port=port, nobody=free_port()))
    with Exporter(folder / "exporter.yml") as running:
        yield running.wait_ready(port)


@pytest.fixture
def ask(exporter: Exporter) -> Asking:
    """Remembers what one test has seen."""
    return Asking(exporter)


def test_the_document_is_valid() -> None:
    """OpenAPI 3.1, so that generators of clients take it."""
    validate(Contract().document)


def test_what_works_answers_as_described(ask: Asking) -> None:
    """Every write and every reading, once."""
    run = ask.json("POST", "/api/v1/tasks/quick/run")["run_id"]
    wait_for(lambda: ask.json("GET", f"/api/v1/tasks/quick/runs/{run}")["outcome"], "the run's end")
    assert ask("GET", "/api/v1/tasks/quick/slots?from=2026-01-01")[0] == 200
    for path in ("/", f"/runs/{run}", "/tasks/quick", "/ack?alertname=A", "/runbook"):
        assert ask("GET", path)[0] == 200
    for ping in ("start", "success", "fail"):
        assert ask("POST", f"/api/v1/tasks/sync/{ping}", {"items": 3, "message": "m"})[0] == 200
        assert ask("GET", f"/api/v1/tasks/sync/{ping}?token={ask.token}", Accept="*/*")[0] == 200
    ask("POST", "/api/v1/tasks/sync/ping-url/renew")
    ask("POST", "/api/v1/ping-key/renew")
    pings = ask.json("POST", "/api/v1/tasks/sync/ping-url")
    for ping in (pings["path"], pings["path"] + "/start", pings["key_path"] + "/3"):
        assert ask("POST", ping, b"\xff any text", kind="octet-stream") == (200, b"OK\n")
        assert ask("GET", ping, Accept="*/*") == (200, b"OK\n")
        assert ask("HEAD", ping, Accept="*/*") == (200, b"")
    assert ask("POST", "/api/v1/pause", {"task": "quick", "for": "1h"})[0] == 200
    assert ask("POST", "/api/v1/tasks/quick/run")[0] == 409
    assert ask("POST", "/api/v1/resume", {"task": "quick"})[0] == 200
    form = f"token={ask.token}&action=resume".encode()
    assert ask("POST", "/tasks/quick", form, kind=FORM)[0] == 200
    holiday = {"exchange": "MINE", "date": "2030-12-24"}
    assert ask("POST", "/api/v1/closed", holiday)[0] == 200
    assert ask("POST", "/api/v1/closed", holiday | {"undo": True})[0] == 200
    assert ask("POST", "/api/v1/messages", {"text": "hello", "to": "chat", "key": "k"})[0] == 202
    tried = ask.json("POST", "/api/v1/messages/test", {"to": ["chat"]})["channels"]
    assert "cannot be reached" in tried["chat"]
    equity = {"equity": 100.0, "timestamp": "2026-01-02T10:00:00Z", "flow": 0}
    assert ask("POST", "/api/v1/strategies/momentum/equity", equity)[0] == 200
    fill = {"symbol": "NVDA.US", "side": "buy", "price": 181.5}
    assert ask("POST", "/api/v1/strategies/momentum/fills", fill)[0] == 200
    bar = {"symbol": "NVDA.US", "time": "2026-01-02T10:00:00Z", "open": 1, "high": 2, "low": 1,
           "close": "1.5"}  # fmt: skip
    assert ask("POST", "/api/v1/feeds/pushed/bars", {"bars": [bar]})[0] == 200
    positions = {"name": "positions", "value": 3, "labels": {"strategy": "momentum"}}
    assert ask("POST", "/api/v1/metrics", positions)[0] == 200
    both = {"metrics": [positions, {"name": "quant_mine", "value": 1}]}
    assert ask.json("POST", "/api/v1/metrics", both)["refused"][0]["index"] == 1
    held = {"positions": [{"symbol": "NVDA.US", "quantity": "10"}]}
    assert ask("POST", "/api/v1/strategies/momentum/positions", held)[0] == 200
    assert ask("POST", "/api/v1/metrics", {"name": "held", "value": 2})[0] == 200
    held = "/api/v1/limits/held/resume"
    wait_for(lambda: ask("POST", held)[0] == 200, "the limit to act")
    ask("POST", "/api/v1/metrics", {"name": "held", "value": 0})
    assert ask("POST", "/api/v1/alerts?receiver=slack", {"alerts": [ALERT]})[0] == 200
    (story,) = ask.json("GET", "/api/v1/alerts?since=1h")["alerts"]
    assert story["told"][0]["receiver"] == "slack"
    assert ask("POST", "/-/reload")[0] == 200
    for path in ("/metrics", "/-/healthy", "/-/ready", "/api/v1/tasks"):
        assert ask("GET", path)[0] == 200
        assert ask("HEAD", path) == (200, b"")
    ask("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert ask.unseen("2") == {
        ("GET", "/digests/{day}", "200"),  # tests/unit/web/test_status_records.py
        ("GET", "/reviews/{day}", "200"),  # tests/unit/web/test_status_records.py
        ("GET", "/backtests", "200"),  # tests/unit/web/test_backtest_page.py
        ("GET", "/backtests/{day}", "200"),
        ("POST", "/ack", "200"),  # tests/integration/test_alerts_end_to_end.py
        ("POST", "/api/v1/ack", "200"),
    }


def test_what_is_refused_is_refused_as_described(ask: Asking) -> None:
    """Without the token, from another site, for names that are not there, with nonsense."""
    wrong = {"Authorization": "Bearer wrong"}
    foreign = {"Authorization": f"Bearer {ask.token}", "Host": "evil.example"}
    for method, template, operation in ask.contract.operations():
        path = template.replace("{name}", "nobody").replace("{run_id}", "0").replace("{day}", "x")
        is_form = (method, template) in (("POST", "/ack"), ("POST", "/tasks/{name}"))
        if "401" in operation["responses"] and not is_form:
            assert ask(method, path, {}, **wrong)[0] == 401
            assert ask(method, path, {}, Accept="*/*")[0] == 401
        if "403" in operation["responses"]:
            assert ask(method, path, {}, **foreign)[0] == 403
        if "404" in operation["responses"] and "{" in template and not is_form:
            body = {"equity": 1, "symbol": "A", "side": "buy", "price": 1}
            assert ask(method, path, body)[0] == 404
        is_ping = path.startswith("/ping/")
        if "413" in operation["responses"] and method == "POST" and not is_form and not is_ping:
            known = {"strategies": "momentum", "feeds": "pushed"}.get(
                template.split("/")[3], "sync"
            )
            path = template.replace("{name}", known)
            assert ask("POST", path, {"message": "x" * 1_100_000})[0] == 413
            assert ask("POST", path, b"no JSON")[0] == 400
    form = f"token={ask.token}&action=".encode()
    assert ask("POST", "/tasks/quick", b"token=wrong&action=run", kind=FORM)[0] == 401
    assert ask("POST", "/tasks/nobody", form + b"run", kind=FORM)[0] == 404
    assert ask("POST", "/tasks/quick", form + b"explode", kind=FORM)[0] == 400
    assert ask("POST", "/tasks/sync", form + b"run", kind=FORM)[0] == 409
    assert ask("POST", "/tasks/quick", b"for=" + b"x" * 20_000, kind=FORM)[0] == 413
    assert ask("POST", "/ack", b"token=wrong&alertname=A", kind=FORM)[0] == 401
    assert ask("POST", "/ack", b"comment=" + b"x" * 20_000, kind=FORM)[0] == 413
    right = f"token={ask.token}&alertname=A".encode()
    assert ask("POST", "/ack", right, kind=FORM)[0] == 409  # no Alertmanager there
    assert ask("POST", "/ack", b"x", **{"Content-Type": "multipart/form-data"})[0] == 400
    for ping in ("start", "success", "fail"):
        assert ask("POST", f"/api/v1/tasks/quick/{ping}")[0] == 409
        assert ask("GET", f"/api/v1/tasks/quick/{ping}")[0] == 409
        assert ask("GET", f"/api/v1/tasks/sync/{ping}?items=-1")[0] == 400
    pings = ask.json("POST", "/api/v1/tasks/sync/ping-url")
    for ping in (pings["path"], pings["path"] + "/log", pings["key_path"] + "/start"):
        assert ask("GET", ping + "?rid=1", Accept="*/*")[0] == 400
        assert ask("POST", ping + "?started=nan", b"x")[0] == 400
        assert ask("POST", ping, b"x" * 16_800_000)[0] == 413
    for more in ("", "/renew"):
        assert ask("POST", f"/api/v1/tasks/quick/ping-url{more}")[0] == 409
    assert ask("POST", "/api/v1/tasks/sync/run")[0] == 409
    assert ask("GET", "/api/v1/tasks/sync/slots?from=someday")[0] == 400
    assert ask("POST", "/api/v1/ack", {"labels": {"alertname": "A"}})[0] == 503
    assert ask("POST", "/api/v1/metrics", {"name": "held", "value": 2})[0] == 200
    hour = {"task": "trade", "for": "1h"}
    wait_for(lambda: ask("POST", "/api/v1/pause", hour)[0] == 409, "the limit to act")
    assert ask("POST", "/api/v1/resume", {"task": "trade"})[0] == 409
    assert ask("POST", "/api/v1/limits/held/resume")[0] == 200
    assert ask("POST", "/api/v1/pause", {"until": 1})[0] == 400
    assert ask("POST", "/api/v1/pause", {"task": "nobody", "for": "1h"})[0] == 404
    assert ask("POST", "/api/v1/resume", {"task": "nobody"})[0] == 404
    day = {"exchange": "MINE", "date": "2030-12-24"}
    assert ask("POST", "/api/v1/closed", day | {"undo": True})[0] == 409
    assert ask("POST", "/api/v1/closed", day | {"exchange": "XNYS"})[0] == 404
    assert ask("POST", "/api/v1/closed", day | {"date": "tomorrow"})[0] == 400
    assert ask("GET", "/api/v1/alerts?since=yesterday")[0] == 400
    for path in ("/api/v1/messages", "/api/v1/messages/test"):
        assert ask("POST", path, {"text": "x", "to": "nobody"})[0] == 404
    assert ask("POST", "/api/v1/messages", {"text": 1})[0] == 400
    while ask("POST", "/api/v1/messages", {"text": "a flood"})[0] == 202:
        pass
    assert ask("GET", "/backtests")[0] == 404
    assert ask.unseen("4") == {
        ("POST", "/-/reload", "400"),  # tests/integration/test_orderly.py
        ("POST", "/api/v1/feeds/{name}/bars", "409"),  # tests/unit/web/test_feeds_api.py
        ("POST", "/api/v1/ack", "404"),  # tests/integration/test_alerts_end_to_end.py
    }


def test_what_aiohttp_refuses_is_told_as_json_too(ask: Asking) -> None:
    """A program reads one form of error."""
    found = ask.exporter.url + "/api/v1/nothing"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(found, timeout=10)
    assert caught.value.code == 404
    assert "docs/openapi.yaml" in json.load(caught.value)["error"]
    status, answer = post(ask.exporter.url + "/api/v1/tasks", ask.token)
    assert (status, answer["error"]) == (405, "POST is not allowed here; use GET, HEAD")


WRITES = [
    "/api/v1/tasks/sync/success", "/api/v1/tasks/sync/start", "/api/v1/pause", "/api/v1/resume",
    "/api/v1/closed", "/api/v1/messages",
    "/api/v1/strategies/momentum/equity", "/api/v1/strategies/momentum/fills",
    "/api/v1/strategies/momentum/positions", "/api/v1/alerts", "/api/v1/ack",
    "/api/v1/feeds/pushed/bars",
]  # fmt: skip
KEYS = [
    "items", "message", "task", "for", "until", "equity", "timestamp", "flow", "symbol", "side",
    "price", "alerts", "labels", "status", "startsAt", "endsAt", "fingerprint", "annotations",
    "alertname", "comment", "by", "exchange", "date", "undo",
    "bars", "text", "title", "to", "key", "id", "quantity", "fee", "positions", "started", "ended",
]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["2h", "buy", "firing", "resolved", "quick", "2026-11-25T03:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize("path", WRITES)
def test_no_body_breaks_it(ask: Asking, path: str) -> None:
    """Whatever JSON is sent, the answer is one that is described, and never a 5xx of ours."""

    @settings(
        max_examples=60, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5) | VALUES)
    def send(body: Any) -> None:
        status, _ = ask("POST", path, json.dumps(body).encode())
        assert status in (200, 202, 400, 404, 429, 503), (status, body)
        assert status != 503 or path == "/api/v1/ack", body

    send()
    assert ask("POST", "/api/v1/resume", {})[0] == 200
