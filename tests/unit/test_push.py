"""exporter/push.py: nothing is lost, nothing is sent twice without its id, nothing raises."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from exporter import push as module
from exporter.push import Push


class Receiver:
    """Stands in for the exporter: answers one status after the other, the last for ever."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.heard = list(statuses) or [200], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.statuses.pop(0) if len(outer.statuses) > 1 else outer.statuses[0]
                outer.heard.append((status, self.path, json.loads(text), dict(self.headers)))
                body = b'{"error": "not like this"}'
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Not on the terminal."""

        self.heard: list[tuple[int, str, dict[str, Any], dict[str, str]]]
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def accepted(self) -> list[tuple[str, dict[str, Any]]]:
        return [(path, body) for status, path, body, _ in self.heard if status == 200]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Push]]:
    made = []

    def one(url: str = "http://127.0.0.1:9", **more: Any) -> Push:
        made.append(Push(url, **{"token": "t0ken", "spool": tmp_path / "spool", **more}))
        return made[-1]

    yield one
    for each in made:
        each.close(0)


def test_everything_arrives_in_order_with_token_and_id(
    receiver: Receiver, make: Callable[..., Push]
) -> None:
    push = make(receiver.url + "/")
    moment = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)
    assert push.equity("my strategy", Decimal("100012.50"), flow=500, at=moment)
    assert push.fill("m", "AAPL.US", "buy", "181.50", 10, fee=Decimal("0.35"), order="o1", id="e1")
    assert push.positions("m", {"AAPL.US": 10, "TSLA.US": Decimal("-2")})
    assert push.gauge("signals", 3, strategy="m")
    assert push.bars("f", [{"symbol": "A", "close": 1}])
    assert push.ping("etl", "start")
    assert push.ping("etl", items=3)
    assert push.flush(10)
    heard = receiver.accepted()
    assert [path for path, _ in heard] == [
        "/api/v1/strategies/my%20strategy/equity", "/api/v1/strategies/m/fills",
        "/api/v1/strategies/m/positions", "/api/v1/metrics", "/api/v1/feeds/f/bars",
        "/api/v1/tasks/etl/start", "/api/v1/tasks/etl/success",
    ]  # fmt: skip
    equity, fill, positions, gauge, _, start, end = (body for _, body in heard)
    assert (equity["equity"], equity["flow"]) == ("100012.50", 500)
    assert equity["timestamp"] == moment.timestamp()
    assert len(equity["id"]) == 36
    assert (fill["id"], fill["price"], fill["fee"], fill["order"]) == ("e1", "181.50", "0.35", "o1")
    assert positions["positions"][1] == {"symbol": "TSLA.US", "quantity": "-2"}
    assert (gauge["name"], gauge["value"], gauge["labels"]) == ("signals", 3, {"strategy": "m"})
    assert start["rid"] == end["rid"]
    assert {"started", "ended"} <= start.keys() | end.keys()
    assert all(headers["Authorization"] == "Bearer t0ken" for *_, headers in receiver.heard)


def test_what_an_absent_exporter_missed_is_sent_later_in_order(
    receiver: Receiver, make: Callable[..., Push]
) -> None:
    """By the next process as well, each with the time at which it was pushed."""
    before = time.time()
    away = make()
    assert [away.equity("m", n) for n in range(30)] == [True] * 30
    assert away.waiting == 30
    back = make(receiver.url)
    assert back.flush(20)
    sent = [body for _, body in receiver.accepted()]
    assert [body["equity"] for body in sent] == list(range(30))
    assert all(before <= body["timestamp"] <= time.time() for body in sent)


def test_a_busy_exporter_is_asked_again_and_nothing_overtakes(make: Callable[..., Push]) -> None:
    receiver = Receiver(503, 429, 200)
    try:
        push = make(receiver.url)
        push.equity("m", 1)
        push.equity("m", 2)
        assert push.flush(20)
        assert [body["equity"] for _, body in receiver.accepted()] == [1, 2]
        assert len({body["id"] for _, _, body, _ in receiver.heard}) == 2
    finally:
        receiver.close()


def test_what_is_refused_does_not_hold_up_the_rest_and_stays(
    tmp_path: Path, make: Callable[..., Push], caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver(404, 200)
    try:
        push = make(receiver.url)
        push.equity("unknown", 1)
        push.equity("m", 2)
        assert push.flush(20)
        assert [body["equity"] for _, body in receiver.accepted()] == [2]
    finally:
        receiver.close()
    assert len(list((tmp_path / "spool").glob("*.refused"))) == 1
    assert "HTTP 404: not like this" in caplog.text


def test_a_wrong_token_loses_nothing(make: Callable[..., Push], tmp_path: Path) -> None:
    """The file may be mended while the strategy runs."""
    receiver, file = Receiver(401, 200), tmp_path / "token"
    try:
        push = make(receiver.url, token=None, token_file=file)
        push.equity("m", 1)
        time.sleep(0.05)
        file.write_text("right\n")
        assert push.flush(20)
        assert receiver.heard[-1][3]["Authorization"] == "Bearer right"
        assert len(receiver.accepted()) == 1
    finally:
        receiver.close()


@pytest.mark.parametrize(
    "call",
    [
        lambda p: p.equity("m", float("nan")),
        lambda p: p.equity("m", "many"),
        lambda p: p.equity("m", None),
        lambda p: p.equity("", 1),
        lambda p: p.equity(None, 1),
        lambda p: p.equity("m", 1, at=datetime(2026, 1, 1)),
        lambda p: p.fill("m", "A", "buy", object()),
        lambda p: p.positions("m", 5),
        lambda p: p.gauge("g", float("inf")),
        lambda p: p.bars("f", [{"x": "y" * 300_000}]),
        lambda p: p.ping("t", "maybe"),
    ],
)
def test_nothing_raises_into_the_strategy(
    make: Callable[..., Push], call: Callable[[Push], bool], caplog: pytest.LogCaptureFixture
) -> None:
    push = make()
    with caplog.at_level(logging.WARNING):
        assert call(push) is False
    assert "not pushed" in caplog.text
    assert push.waiting == 0


def test_a_folder_that_cannot_be_written_is_said_once(
    make: Callable[..., Push], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    push = make(spool=tmp_path / "file" / "spool")
    assert [push.equity("m", n) for n in range(5)] == [False] * 5
    assert caplog.text.count("nothing can be kept") == 1


def test_the_spool_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first."""
    monkeypatch.setattr(module, "_COUNT_EVERY", 5)
    said: list[str] = []
    spool = module.Spool(str(tmp_path), lambda _: None, said.append, 20, synced=False)
    for n in range(100):
        assert spool.keep(f"{n:05d}", {"n": n})
    names = spool.names()
    assert len(names) <= 25
    assert names[-1] == "00099.report"
    assert any("the oldest are dropped" in text for text in said)


def test_a_damaged_file_in_the_spool_is_passed_over(
    receiver: Receiver, make: Callable[..., Push], tmp_path: Path
) -> None:
    """As a power failure may leave one."""
    push = make(receiver.url)
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool/0000000001.000000-x.report").write_bytes(b'{"path": "/ap')
    push.equity("m", 1)
    assert push.flush(10)
    assert len(receiver.accepted()) == 1


def test_a_call_is_quick_whatever_the_exporter_does(make: Callable[..., Push]) -> None:
    """It waits for a file, never for the network: this server accepts and says nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        push = make(f"http://127.0.0.1:{silent.getsockname()[1]}")
        durations = []
        for n in range(50):
            began = time.perf_counter()
            assert push.equity("m", n)
            durations.append(time.perf_counter() - began)
    assert sorted(durations)[len(durations) // 2] < 0.01


def test_a_fork_pushes_by_a_thread_of_its_own(
    receiver: Receiver, make: Callable[..., Push]
) -> None:
    push = make(receiver.url)
    push.equity("m", 1)
    assert push.flush(10)
    child = os.fork()
    if child == 0:
        try:
            done = push.equity("m", 2) and push.flush(10)
        finally:
            os._exit(0 if done else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [body["equity"] for _, body in receiver.accepted()] == [1, 2]


def test_the_file_needs_nothing_but_the_standard_library_of_3_8() -> None:
    """So that it can be copied into any environment."""
    import ast

    text = Path(module.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, 8))
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    import sys

    assert names <= sys.stdlib_module_names
