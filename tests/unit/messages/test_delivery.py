"""Digests reach the channels, and their secrets reach nobody else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from exporter.config import DigestSettings, Email, Slack
from exporter.config.secret_values import SecretMissingError, read_secret
from exporter.demo.mail_sink import talk
from exporter.logs.digest.facts import LogDigest, Request
from exporter.logs.digest.process import build_apart
from exporter.messages.delivery import NotSentError, send
from exporter.messages.smtp import _refused


def digest() -> LogDigest:
    return LogDigest("2026-03-04", "UTC", 0.0, 86400.0, 1, 0.0, 0.0, 5, 0, 0)


class Longest(random.Random):
    """No chance: always the longest pause."""

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    made = Hook()
    app = web.Application()
    app.router.add_post("/services/T1/B1/verysecret", made.take)
    async with TestServer(app) as server:
        made.url = str(server.make_url("/services/T1/B1/verysecret"))
        yield made


class Hook:
    """A Slack webhook that answers as told, then well; and how long the sender waited between."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.got: list[Any] = []
        self.waited: list[float] = []

    async def take(self, request: web.Request) -> web.Response:
        self.got.append(await request.json())
        status, headers = self.answers.pop(0) if self.answers else (200, {})
        return web.Response(status=status, headers=headers, text="no_service")

    async def send(self) -> NotSentError | None:
        """Send a digest there."""
        settings = DigestSettings(to=("slack",), slack=Slack(url_env="HOOK"))
        return (
            await send(digest(), settings, {"HOOK": self.url}, sleep=self._sleep, rng=Longest())
        )["slack"]

    async def _sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


async def test_slack_gets_the_text(hook: Hook) -> None:
    """At once when all is well."""
    assert await hook.send() is None
    assert hook.got[0]["text"].startswith("2026-03-04: quiet.")
    assert (len(hook.got), hook.waited) == (1, [])


@pytest.mark.parametrize("status", [302, 400, 403, 404, 410])
async def test_what_will_not_pass_is_said_at_once_without_the_address(
    hook: Hook, status: int
) -> None:
    """What the webhook answers is said; where it is, is not."""
    hook.answers = [(status, {"Location": "/elsewhere"})]
    error = await hook.send()
    assert str(error) == f"digest.slack: the webhook answered {status}: no_service"
    assert (len(hook.got), hook.waited) == (1, [])


async def test_a_busy_channel_is_asked_again_when_it_wants_to_be(hook: Hook) -> None:
    """Retry-After in seconds, with a fraction, as a date in the past, and longer than we wait."""
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    for asked, waits in (("30", 30.0), ("2.5", 2.5), (past, 2.0), ("86400", 60.0), ("soon", 2.0)):
        hook.got, hook.waited = [], []
        hook.answers = [(429, {"Retry-After": asked})]
        assert await hook.send() is None
        assert (len(hook.got), hook.waited) == (2, [waits])


async def test_a_channel_that_stays_broken_is_given_up(
    hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    """After four attempts; each is said, none with the address."""
    hook.answers = [(500, {}), (503, {}), (429, {}), (502, {})]
    assert "answered 502" in str(await hook.send())
    assert hook.waited == [2.0, 10.0, 40.0]
    assert next(r.message for r in caplog.records if r.levelname == "WARNING") == (
        "digest.slack: the webhook answered 500: no_service; next attempt in 2 s"
    )
    assert "verysecret" not in caplog.text


async def test_nobody_there_is_said_without_the_address(hook: Hook) -> None:
    """A name that does not exist, an address that is none."""
    hook.url = "http://127.0.0.1:9/services/verysecret"
    error = str(await hook.send())
    assert error.startswith("digest.slack: the webhook cannot be reached: Client")
    hook.url, hook.waited = "verysecret", []
    assert "verysecret" not in str(await hook.send())
    assert hook.waited == []


async def test_a_channel_that_took_it_is_left_alone(hook: Hook) -> None:
    """When a run is repeated."""
    settings = DigestSettings(to=("slack",), slack=Slack(url_env="HOOK"))
    assert await send(digest(), settings, {"HOOK": hook.url}, done=["slack"]) == {}
    assert hook.got == []


class Server:
    """A mail server that answers as told, then takes what comes."""

    def __init__(self) -> None:
        self.answers: list[str | None] = []
        self.took: list[tuple[dict[str, str], str]] = []
        self.waited: list[float] = []

    def take(self, headers: dict[str, str], text: str) -> str | None:
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            self.took.append((headers, text))
        return answer

    async def send(self, *to: str, port: int | None = None) -> NotSentError | None:
        """Send a digest there."""
        listening = await asyncio.start_server(lambda r, w: talk(r, w, self.take), "127.0.0.1", 0)
        async with listening:
            port = port or listening.sockets[0].getsockname()[1]
            email = Email(
                smtp=f"127.0.0.1:{port}", sender="a@b.c", to=to or ("d@e.f",), security="none"
            )
            settings = DigestSettings(to=("email",), email=email)
            return (await send(digest(), settings, {}, sleep=self._sleep, rng=Longest()))["email"]

    async def _sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


async def test_mail_has_the_headline_as_subject_and_both_forms() -> None:
    """For a phone's list of mails, and for reading."""
    server = Server()
    assert await server.send() is None
    ((headers, text),) = server.took
    assert headers["Subject"].strip().startswith("2026-03-04: quiet.")
    assert headers["Content-Type"].strip().startswith("multipart/alternative")
    assert text.startswith("2026-03-04: quiet.")


async def test_a_server_that_puts_us_off_is_asked_again_and_one_that_refuses_is_not() -> None:
    """Greylisting answers 451; 554 is meant."""
    server = Server()
    server.answers = ["451 try later", "421 busy"]
    assert await server.send() is None
    assert server.waited == [2.0, 10.0]
    server = Server()
    server.answers = ["554 no spam here"]
    error = str(await server.send())
    assert error.startswith("digest.email: 127.0.0.1:")
    assert error.endswith("answered 554: no spam here")
    assert (server.took, server.waited) == ([], [])


async def test_a_mail_server_that_is_away_is_tried_and_said() -> None:
    """With what the system says of it."""
    server = Server()
    assert "cannot be reached: ConnectionRefusedError" in str(await server.send(port=9))
    assert server.waited == [2.0, 10.0, 40.0]


def test_a_refused_recipient_is_said_and_the_others_are_not_asked_twice() -> None:
    """Some took it: it is not sent again. All were put off: it is."""
    some = _refused({"d@e.f": (550, b"unknown user")}, everybody=False)
    assert (str(some), some.transient) == ("rejected d@e.f (550 unknown user)", False)
    assert _refused({"d@e.f": (450, b"later")}, everybody=True).transient
    assert not _refused({"d@e.f": (450, b"x"), "g@h.i": (550, b"y")}, everybody=True).transient


def test_a_secret_that_is_missing_is_said_with_its_place(tmp_path: Path) -> None:
    """Environment, file and systemd's credentials are tried; the sentence says what to do."""
    with pytest.raises(
        SecretMissingError, match=r"digest\.slack\.url_env: HOOK is not set; export"
    ):
        read_secret("digest.slack.url", "HOOK", None, {})
    (tmp_path / "HOOK").write_text("there\n")
    assert read_secret("x", "HOOK", None, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "there"
    with pytest.raises(SecretMissingError, match="cannot read"):
        read_secret("x", None, tmp_path / "none", {})


async def test_a_digest_is_made_in_a_process_of_its_own(tmp_path: Path) -> None:
    """The same as made here, without DuckDB in this process' debt."""
    request = Request(tmp_path, "UTC", 0.0, 86400.0, "1970-01-01", tmp_path, now=5.0)
    made = await build_apart(request, 60.0)
    assert (made.title, made.made_at, made.records) == ("1970-01-01", 5.0, 0)
