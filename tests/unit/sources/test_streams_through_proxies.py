"""The stream behind proxies and with TLS, on real sockets: what fails says what to do, and the key,
which is part of the address, shows nowhere."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import connector

from tests.unit.sources.certificates import Authority
from tests.unit.sources.own_sources import OwnSource
from tests.unit.sources.raw_websocket import (
    KEY,
    Script,
    StreamClient,
    close_frame,
    frame,
    says,
    serving,
    speaks,
)

HOST = "tickdb.invalid"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
pytestmark = pytest.mark.filterwarnings("error::DeprecationWarning")
PASSED = base64.b64encode("me:pa ss€".encode()).decode()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One that aiohttp trusts, as it does in a process that began with SSL_CERT_FILE."""
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    monkeypatch.setattr(connector, "_SSL_CONTEXT_VERIFIED", connector._make_ssl_context(True))
    return made


@asynccontextmanager
async def tunnel(
    to: int, *, answer: str = "", wanted: str = ""
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """An HTTP proxy that connects everything to one port, or gives an `answer` of its own; and the
    heads of what it was asked. `wanted`: who may use it."""
    heads: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        said = answer
        if wanted and f"Basic {wanted}".encode() not in head:
            said = "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic"
        if said:
            path = head.split(b" ")[1].decode()
            body = f"<html>cannot reach {path}</html>"
            head_of_it = f"HTTP/1.1 {said.replace('PATH', path)}\r\nContent-Length: {len(body)}"
            writer.write(f"{head_of_it}\r\n\r\n{body}".encode())
            await writer.drain()
            return
        there, back = await asyncio.open_connection("127.0.0.1", to)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    async with serving(script) as port:
        yield port, heads


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


def noting(heads: list[bytes], script: Script) -> Script:
    """A script, and the heads of what it was asked."""

    async def noted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        again = asyncio.StreamReader()
        again.feed_data(head)
        rest = asyncio.create_task(_feed(reader, again))
        await script(again, writer)
        rest.cancel()

    return noted


async def _feed(reader: asyncio.StreamReader, other: asyncio.StreamReader) -> None:
    while data := await reader.read(65_536):
        other.feed_data(data)
    other.feed_eof()


def shows_no_key(caplog: pytest.LogCaptureFixture) -> None:
    """In no record of any logger, with all that hangs on it."""
    for record in caplog.records:
        text = f"{record.getMessage()} {record.__dict__!r} {record.exc_info!r}"
        for form in (KEY, quote(KEY), quote_plus(KEY), quote(KEY, safe="")):
            assert form not in text, record.name


async def test_a_plain_stream_goes_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With user and password, and not where NO_PROXY names the host."""
    heads: list[bytes] = []
    client = StreamClient()
    async with serving(noting(heads, speaks(client.message()))) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pa%20ss%E2%82%AC@127.0.0.1:{port}")
        async with client.listening(f"http://{HOST}/v1"):
            await client.until(lambda: len(client.ticks) >= 1)
        assert heads[0].startswith(f"GET http://{HOST}/v1/realtime?api_key=".encode())
        assert f"Proxy-Authorization: Basic {PASSED}".encode() in heads[0]
        monkeypatch.setenv("NO_PROXY", f"{HOST}:80")
        asked = len(heads)
        async with client.listening(f"http://{HOST}/v1"):
            await client.until(lambda: client.failures().get("connect", 0) >= 2)
        assert len(heads) == asked
    shows_no_key(caplog)


async def test_a_stream_with_tls_goes_through_a_tunnel(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The proxy sees the host alone, neither key nor path; the server sees no password of it."""
    caplog.set_level(logging.DEBUG)
    client, asked = StreamClient(), list[bytes]()
    async with (
        serving(noting(asked, speaks(client.message())), authority.context(HOST)) as there,
        tunnel(there, wanted=PASSED) as (port, heads),
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pa%20ss%E2%82%AC@127.0.0.1:{port}")
        async with client.listening(f"https://{HOST}/v1") as stream:
            await client.until(lambda: len(client.ticks) == 1)
            assert stream.connected
    assert client.failures() == {}
    assert heads[0].startswith(f"CONNECT {HOST}:443 HTTP/1.1".encode())
    assert b"api_key" not in b"".join(heads)
    assert b"api_key" in asked[0] and b"Proxy-Authorization" not in asked[0]
    shows_no_key(caplog)


HERE = "http://127.0.0.1:PORT"
NOBODY = "http://127.0.0.1:1"
PROXIES = {
    "no password": (
        {"wanted": PASSED}, "http://127.0.0.1:PORT",
        "from HTTPS_PROXY, refuses the connection: HTTP 407; its user and password are missing: "
        "they stand in front of the host in HTTPS_PROXY",
    ),
    "wrong password": (
        {"wanted": PASSED},
        "http://me:bad-Password9@127.0.0.1:PORT",  # secrets-check: example
        "its user and password are wrong: they stand in front of the host in HTTPS_PROXY",
    ),
    "refuses": ({"answer": "403 PATH is forbidden"}, HERE, "connection: HTTP 403"),
    "cannot": ({"answer": "502 Bad Gateway"}, HERE, "connection: HTTP 502"),
    "away": ({}, NOBODY, f"cannot reach the proxy {NOBODY}, from HTTPS_PROXY"),
    "socks": (
        {},
        "socks5://me:bad-Password9@127.0.0.1:PORT",  # secrets-check: example
        "is not an HTTP proxy (SOCKS is not",
    ),
    "no address": ({}, "http://", "(not a valid address), from HTTPS_PROXY, is not an HTTP proxy"),
}  # fmt: skip


@pytest.mark.parametrize("case", PROXIES)
@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_proxy_that_does_not_help_is_named_with_what_to_do(
    scheme: str, case: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also one that repeats the address in its answer; its own password is shown nowhere."""
    caplog.set_level(logging.DEBUG)
    how, proxy, text = PROXIES[case]
    client = StreamClient()
    variable = f"{scheme.upper()}_PROXY"
    async with tunnel(1, **how) as (port, _):
        monkeypatch.setenv(variable, proxy.replace("PORT", str(port), 1))
        async with client.listening(f"{scheme}://{HOST}/v1"):
            await client.until(lambda: sum(client.failures().values()) >= 2)
    text = text.replace("HTTPS_PROXY", variable)
    if scheme == "http" and case in ("refuses", "cannot"):  # as if it were the server itself
        text = {"refuses": "HTTP 403: the key or the plan", "cannot": "HTTP 502 instead"}[case]
    assert text in caplog.text
    assert "bad-Password9" not in caplog.text
    shows_no_key(caplog)


async def test_a_proxy_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the time for a connection."""
    client = StreamClient(connect_timeout="100ms", read_timeout="100ms")

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass

    async with serving(silent) as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        async with client.listening(f"https://{HOST}/v1"):
            await client.until(lambda: client.failures().get("timeout", 0) >= 1)


async def test_a_configured_proxy_is_used_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And what it lacks has its place in a variable."""
    monkeypatch.setenv("NO_PROXY", "*")
    async with tunnel(1, wanted=PASSED) as (port, heads):
        client = StreamClient(proxy=f"http://127.0.0.1:{port}")
        async with client.listening(f"https://{HOST}/v1"):
            await client.until(lambda: client.failures().get("connect", 0) >= 1)
    assert len(heads) >= 1
    assert "they stand in front of the host in HTTPS_PROXY instead of `proxy`" in caplog.text


def _expired(authority: Authority, _: Path) -> ssl.SSLContext:
    return authority.context("localhost", days=-2)


def _other_host(authority: Authority, _: Path) -> ssl.SSLContext:
    return authority.context("example.org")


def _other_authority(_: Authority, folder: Path) -> ssl.SSLContext:
    return Authority(folder, "stranger").context("localhost")


CERTIFICATES: dict[str, tuple[Callable[[Authority, Path], ssl.SSLContext], str]] = {
    "expired": (_expired, "has expired; or this machine's clock is wrong"),
    "another host": (_other_host, "is for another host name: correct the address"),
    "own authority": (_other_authority, "name the file of your own CA in SSL_CERT_FILE"),
}


@pytest.mark.parametrize("through_proxy", [False, True])
@pytest.mark.parametrize("case", CERTIFICATES)
async def test_a_certificate_that_is_not_valid_says_why(
    case: str,
    through_proxy: bool,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is sent to such a server."""
    caplog.set_level(logging.DEBUG)
    make, text = CERTIFICATES[case]
    client = StreamClient()
    async with (
        serving(speaks(client.message()), make(authority, tmp_path)) as there,
        tunnel(there) as (port, _),
    ):
        proxy = f"http://127.0.0.1:{port}" if through_proxy else None
        client.settings = client.settings.model_copy(update={"proxy": proxy})
        async with client.listening(f"https://localhost:{there}/v1"):
            await client.until(lambda: client.failures().get("connect", 0) >= 2)
    assert client.ticks == []
    assert text in caplog.text
    shows_no_key(caplog)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_requests_say_the_same_of_proxies(scheme: str) -> None:
    """As streams do; a request is not tried again for it."""
    async with tunnel(1, wanted=PASSED) as (port, heads):
        bench = OwnSource(
            type="http", url=f"{scheme}://{HOST}/bars?s={{symbol}}", retries=2,
            proxy=f"http://127.0.0.1:{port}",
        )  # fmt: skip
        async with bench.open() as source:
            error = (await source.latest(["A"], "1m")).bad["A"]
    assert error.reason == "connect"
    assert "HTTP 407; its user and password are missing" in error.message
    assert len(heads) == 1


@pytest.mark.parametrize("case", CERTIFICATES)
async def test_requests_say_the_same_of_certificates(
    case: str, authority: Authority, tmp_path: Path
) -> None:
    """And send nothing to such a server."""
    make, text = CERTIFICATES[case]
    async with serving(says("200 OK", "[]"), make(authority, tmp_path)) as port:
        bench = OwnSource(type="http", url=f"https://localhost:{port}/bars?s={{symbol}}")
        async with bench.open() as source:
            error = (await source.latest(["A"], "1m")).bad["A"]
    assert error.reason == "connect"
    assert text in error.message


async def test_a_server_without_tls_is_said(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """wss:// where the server speaks ws://."""
    client = StreamClient()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(plain) as port, client.listening(f"https://localhost:{port}/v1"):
        await client.until(lambda: client.failures().get("connect", 0) >= 1)
    assert "does the server speak TLS at this address?" in caplog.text
    shows_no_key(caplog)


ECHOES = [
    speaks(frame(f'{{"code": 1001, "message": "bad key {KEY}"}}')),
    speaks(frame(f'{{"error": "GET /v1/realtime?api_key={quote(KEY, safe="")}", "code": "x"}}')),
    speaks(frame(f'{{"cmd": "ticker", "data": {{"symbol": "{KEY}"}}}}')),
    speaks(close_frame(4401, f"?api_key={quote_plus(KEY)} {KEY.upper()}")),
    says(f"401 no {KEY}\r\nX-Was: {KEY}", KEY),
    says(f"302 Found\r\nLocation: /v1/other?api_key={quote(KEY)}"),
]


@pytest.mark.parametrize("script", ECHOES)
async def test_a_server_that_repeats_the_key_does_not_get_it_into_the_log(
    script: Script,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In whatever form."""
    caplog.set_level(logging.DEBUG)
    client = StreamClient()
    async with serving(script) as port, client.listening(f"http://127.0.0.1:{port}/v1"):
        bad = "quant_stream_bad_messages_total"
        await client.until(lambda: len(client.failures() | client.failures(bad)) > 0)
        await asyncio.sleep(0.02)
    assert caplog.records
    shows_no_key(caplog)
    assert KEY.upper() not in caplog.text
