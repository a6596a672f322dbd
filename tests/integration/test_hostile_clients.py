"""Clients without the token, or without manners: whatever they do, tasks and scrapes go on."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.integration.processes import Exporter, free_port, get, wait_for

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
code: [code]
tasks:
  tick: {{run: "mine:tick", schedule: "every 1s"}}
  sync: {{external: true, schedule: "every 1h"}}
"""
CODE = "async def tick(): return 1\n"
TICKS = 'quant_task_runs_total{task="tick"}'


def installed(folder: Path, more: str = "") -> int:
    """A config and its code; returns the port."""
    (folder / "code").mkdir()
    (folder / "code/mine.py").write_text(CODE)
    port = free_port()
    (folder / "exporter.yml").write_text(CONFIG.format(port=port) + more)
    return port


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    """Ready."""
    port = installed(tmp_path)
    with Exporter(tmp_path / "exporter.yml") as running:
        yield running.wait_ready(port)


def connect(exporter: Exporter) -> socket.socket:
    """A plain connection."""
    port = int(exporter.url.rpartition(":")[2])
    made = socket.create_connection(("127.0.0.1", port), timeout=10)
    made.settimeout(10)
    return made


def answered(exporter: Exporter, request: bytes) -> bytes:
    """All that comes back on a connection of its own."""
    got = b""
    with connect(exporter) as made, contextlib.suppress(ConnectionError, TimeoutError):
        made.sendall(request)
        while part := made.recv(65536):
            got += part
            made.settimeout(1)
    return got


SLOW = (
    b"",  # sends nothing
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",  # never ends its headers
    b"POST /ack HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n",  # nor its body
    b"POST /api/v1/alerts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n"
    + b"x" * 200_000,
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3,  # reads nothing
    b"POST /ack HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n",
)


def test_500_slow_clients_hold_up_nobody(exporter: Exporter) -> None:
    """Memory stays, handles stay, tasks and scrapes go on; and it is said, not once a client."""
    process = psutil.Process(exporter.process.pid)
    wait_for(lambda: exporter.metrics()[TICKS] >= 2, "the task to run")
    before, ticks = process.memory_info().rss, exporter.metrics()[TICKS]
    clients = []
    try:
        for number in range(500):
            made = connect(exporter)
            made.setblocking(False)
            clients.append(made)
            with contextlib.suppress(OSError):
                made.send(SLOW[number % len(SLOW)])
        for _ in range(4):
            for made in clients:
                with contextlib.suppress(OSError):
                    made.send(b"x")
            began = time.monotonic()
            now = exporter.metrics()
            assert time.monotonic() - began < 5
            time.sleep(1)
        assert now[TICKS] > ticks
        assert process.num_fds() < 400
        assert process.memory_info().rss - before < 20_000_000
    finally:
        for made in clients:
            made.close()
    assert exporter.output().count("connections are open") <= 3
    wait_for(lambda: process.num_fds() < 60, "the connections to be closed")


def test_slow_headers_and_bodies_are_cut_off(exporter: Exporter) -> None:
    """A client has ten seconds; one that sends a byte now and then has no more."""

    def kept_seconds(begun: bytes) -> float:
        with connect(exporter) as made:
            made.settimeout(0.5)
            made.sendall(begun)
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - began < 30:
                    with contextlib.suppress(TimeoutError):
                        if not made.recv(65536):
                            break
                    made.sendall(b"x")
            return time.monotonic() - began

    with ThreadPoolExecutor(2) as pool:
        kept = list(pool.map(kept_seconds, (SLOW[1], SLOW[2])))
    assert all(5 < seconds < 20 for seconds in kept), kept


def test_without_the_token_nothing_is_read(exporter: Exporter) -> None:
    """The refusal comes before the body does, and before one that is too large."""
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    for path, size, status in (
        (b"/api/v1/alerts", 900_000, b"401"), (b"/-/reload", 900_000, b"401"),
        (b"/api/v1/tasks/sync/success", 10**15, b"401"), (b"/ack", 10**9, b"413"),
        (b"/ack", 20_000, b"413"),
    ):  # fmt: skip
        with connect(exporter) as made:
            made.sendall(head % (path, size))
            assert made.recv(1000).split(b" ", 2)[1] == status, path


MALFORMED = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET //[ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /%ff%fe/%zz?a=%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: quant_ack=\xff\xc3\r\nConnection: close\r\n\r\n",
    b"GET /ack HTTP/1.1\r\nHost: localhost\r\nCookie: quant_ack=\xff\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
    b"POST /ack HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    b"POST /ack HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
    b"POST /ack HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: close\r\n\r\nzz\r\nx\r\n0\r\n\r\n",
    b"POST /ack HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n"
    b"Connection: close\r\n\r\nabc",
    b"POST /ack HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: br\r\nContent-Length: 3\r\n"
    b"Connection: close\r\n\r\nabc",
    b"BREW / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /metrics?name[]=%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: \xff;q=x\r\nConnection: close\r\n\r\n",
    b"GET /runs/%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /tasks/%ed%a0%80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /digests/%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /status/..%2f..%2fpage.py HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /api/v1/alerts?since=%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
)


def test_malformed_requests_are_mistakes_of_the_client(exporter: Exporter) -> None:
    """4xx or a closed connection; in the log no traceback, and not a line a request."""
    for request in MALFORMED:
        got = answered(exporter, request)
        status = [*got.split(b" ", 2), b"", b""][1]
        assert not status.startswith(b"5"), (request[:90], got[:300])
    assert exporter.metrics()
    time.sleep(0.2)
    output = exporter.output()
    assert "Traceback" not in output
    assert output.count("malformed request") <= 1


def test_who_comes_too_early_is_asked_to_come_again(tmp_path: Path) -> None:
    """From the first answer until the exporter is ready: 503 with Retry-After, never a 404."""
    exchanges = "".join(
        f"  t{n}: {{command: ['true'], schedule: '07:00', exchange: {name}}}\n"
        for n, name in enumerate(("XNYS", "XLON", "XTKS"))
    )
    port = installed(tmp_path, exchanges)
    url = f"http://127.0.0.1:{port}/api/v1/tasks/sync/success"
    seen: list[tuple[int, str | None]] = []
    over = threading.Event()
    with Exporter(tmp_path / "exporter.yml") as exporter:

        def ask() -> None:
            while not over.is_set() and (not seen or seen[-1][0] != 200):
                try:
                    token = (tmp_path / "var/token").read_text().strip()
                    ask = urllib.request.Request(
                        url, method="POST", headers={"Authorization": f"Bearer {token}"}
                    )
                    with urllib.request.urlopen(ask, timeout=30) as answer:
                        seen.append((answer.status, None))
                except urllib.error.HTTPError as error:
                    seen.append((error.code, error.headers["Retry-After"]))
                    with contextlib.suppress(OSError):
                        assert get(f"http://127.0.0.1:{port}/-/healthy") == b"healthy\n"
                except OSError:
                    pass
                time.sleep(0.02)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            exporter.wait_ready(port)
            asking.join(30)
        finally:
            over.set()
            asking.join()
        assert set(seen) == {(503, "5"), (200, None)}
        tasks = json.loads(get(f"{exporter.url}/api/v1/tasks"))["tasks"]
        (sync,) = (task for task in tasks if task["name"] == "sync")
        assert sync["last_success"] is not None
