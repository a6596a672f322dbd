"""One message through the process that sends it, by mail and by address."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from exporter.config import Channel, Email
from exporter.config.secret_values import SecretMissingError, read_secret
from exporter.demo.mail_sink import talk
from exporter.messages.message import ChannelMessage, Chart, MessageTable
from exporter.messages.sender import Sent, by_mail
from exporter.messages.sender_process import NotSentError, send
from exporter.messages.smtp import _refused

REPORT = ChannelMessage(
    "End of day",
    ["P&L 5 <b>", MessageTable("Moves", ("Symbol", "Move"), [("NVDA.US", "+1.00%")])],
    [Chart("Moves", {"NVDA.US": [0.01]})],
)


class Hook:
    """A webhook of any program that takes what Slack's take."""

    def __init__(self) -> None:
        self.url, self.got, self.hang = "", [], 0.0
        self.seen_arguments = ""

    async def take(self, request: web.Request) -> web.Response:
        self.got.append(
            ("&".join(f"{n}={v}" for n, v in request.query.items()), await request.json())
        )
        own = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
        children = Path(own).read_text().split()
        self.seen_arguments = "".join(Path(f"/proc/{c}/cmdline").read_text() for c in children)
        await asyncio.sleep(self.hang)
        return web.Response(text="ok")


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    made = Hook()
    app = web.Application()
    app.router.add_post("/hooks/verysecret", made.take)
    async with TestServer(app) as server:
        made.url = str(server.make_url("/hooks/verysecret"))
        yield made


async def test_any_webhook_gets_slack_s_text(hook: Hook, tmp_path: Path) -> None:
    """Mattermost, Rocket.Chat and others take it. The address is in no list of processes."""
    secret = tmp_path / "chat"
    secret.write_text(f"{hook.url}?thread=a%20b&x=1\n")
    await send(REPORT, "chat", Channel(url_file=secret))
    ((query, body),) = hook.got
    assert query == "thread=a b&x=1"
    assert list(body) == ["text"]
    assert body["text"].startswith("*End of day*\nP&L 5")
    assert "NVDA.US  +1.00%" in body["text"]
    assert "exporter.messages.sender" in hook.seen_arguments
    assert "verysecret" not in hook.seen_arguments


async def test_a_server_that_hangs_ends_with_its_process(hook: Hook) -> None:
    """Within the time; nothing is left behind."""
    hook.hang = 30.0
    began = time.monotonic()
    with pytest.raises(NotSentError, match="did not answer within 2 s") as caught:
        await send(REPORT, "chat", Channel(url_env="HOOK"), {"HOOK": hook.url}, timeout=2.0)
    assert caught.value.transient
    assert time.monotonic() - began < 15
    left = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    assert not [c for c in left if b"messages.sender" in Path(f"/proc/{c}/cmdline").read_bytes()]


class Server:
    """A mail server that answers as told, then takes what comes."""

    def __init__(self) -> None:
        self.answers: list[str | None] = []
        self.took: list[tuple[dict[str, str], str]] = []

    def take(self, headers: dict[str, str], text: str) -> str | None:
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            self.took.append((headers, text))
        return answer

    async def send(self, **other: Any) -> Sent:
        """Send the report there."""
        listening = await asyncio.start_server(lambda r, w: talk(r, w, self.take), "127.0.0.1", 0)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            email = Email(
                **{"smtp": f"127.0.0.1:{port}", "sender": "a@b.c", "to": ["d@e.f"],
                   "security": "none", **other}
            )  # fmt: skip
            return await asyncio.to_thread(by_mail, REPORT, email, None)


async def test_mail_has_both_forms_and_the_picture() -> None:
    """For a phone's list of mails, and for reading."""
    server = Server()
    assert await server.send() == Sent(True)
    ((headers, text),) = server.took
    assert headers["Subject"].strip() == "End of day"
    assert headers["Content-Type"].strip().startswith("multipart/mixed")
    assert text.startswith("P&L 5 <b>")


async def test_a_server_that_puts_us_off_may_accept_later_and_one_that_rejects_will_not() -> None:
    """Greylisting answers 451; 554 is meant."""
    for answer, transient in (("451 try later", True), ("554 no spam here", False)):
        server = Server()
        server.answers = [answer]
        sent = await server.send()
        assert sent.problem.endswith(f"answered {answer[:3]}: {answer[4:]}")
        assert sent.transient is transient
    sent = await Server().send(smtp="127.0.0.1:9")
    assert "cannot be reached: ConnectionRefusedError" in sent.problem
    assert sent.transient


def test_a_rejected_recipient_is_said_and_the_others_do_not_get_it_twice() -> None:
    """Some took it: it is not sent again. All were put off: it is."""
    some = _refused({"d@e.f": (550, b"unknown user")}, everybody=False)
    assert (str(some), some.transient) == ("rejected d@e.f (550 unknown user)", False)
    assert _refused({"d@e.f": (450, b"later")}, everybody=True).transient
    assert not _refused({"d@e.f": (450, b"x"), "g@h.i": (550, b"y")}, everybody=True).transient


def test_a_secret_that_is_missing_is_said_with_its_place(tmp_path: Path) -> None:
    """Environment, file and systemd's credentials are tried; the sentence says what to do."""
    with pytest.raises(SecretMissingError, match=r"messages\.chat\.url_env: HOOK is not set; exp"):
        asyncio.run(send(REPORT, "chat", Channel(url_env="HOOK"), {}))
    (tmp_path / "HOOK").write_text("there\n")
    assert read_secret("x", "HOOK", None, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "there"
    with pytest.raises(SecretMissingError, match="cannot read"):
        read_secret("x", None, tmp_path / "none", {})
