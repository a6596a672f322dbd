"""Stand-ins for Slack, PagerDuty, a mail server and a dead-man service.

They check the wire formats, keep what arrived, show it on a page, and refuse on command:
``POST /control {"sink": "slack", "status": 429, "count": 3, "retry_after": 2}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web

from exporter.demo import inbox, mail_sink, wire
from exporter.demo.inbox import Message
from exporter.util.clock import Clock

KEEP = 1000
NAMES = ("slack", "pagerduty", "email", "deadman")


@dataclass
class Refusal:
    """What a sink answers to the next `count` requests."""

    status: int
    count: int
    retry_after: float | None = None


class Sinks:
    """All four, with one memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refusals: dict[str, Refusal] = {}
        self.received: deque[Message] = deque(maxlen=KEEP)
        self.open_incidents: dict[str, str] = {}
        """PagerDuty's: dedup key to title."""
        self.beats = 0
        """How often the dead-man service was called."""

    def accepted(self, sink: str) -> list[Message]:
        """What a person would have seen, oldest first."""
        return [m for m in self.received if m.sink == sink and m.status < 300]

    def refuse(self, sink: str, status: int, count: int, retry_after: float | None = None) -> None:
        """Answer the next `count` requests with this status; 0 ends it."""
        if sink not in NAMES:
            raise ValueError(f"{sink!r} is not a sink; known: {', '.join(NAMES)}")
        self._refusals[sink] = Refusal(status, count, retry_after)

    def _refused(self, sink: str) -> Refusal | None:
        refusal = self._refusals.get(sink)
        if refusal is None or refusal.count <= 0:
            return None
        refusal.count -= 1
        return refusal

    def _keep(self, sink: str, status: int, title: str, problems: list[str], body: Any) -> None:
        self.received.append(Message(self._clock.now(), sink, status, title, problems, body))

    def app(self) -> web.Application:
        """The HTTP side."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/slack/{rest:.*}", self._slack),
                web.post("/v2/enqueue", self._pagerduty),
                web.post("/deadman", self._deadman),
                web.post("/control", self._control),
                web.get("/received", self._list),
                web.get("/", self._page),
            ]
        )
        return app

    async def _receive(self, request: web.Request, sink: str) -> tuple[Any, web.Response | None]:
        try:
            body = json.loads(await request.text())
        except ValueError:
            body = None
        refusal = self._refused(sink)
        if refusal is None:
            return body, None
        self._keep(sink, refusal.status, "", ["refused on command"], body)
        after = refusal.retry_after
        headers = {} if after is None else {"Retry-After": f"{after:g}"}
        return body, web.Response(status=refusal.status, text="rate_limited", headers=headers)

    async def _slack(self, request: web.Request) -> web.Response:
        body, refusal = await self._receive(request, "slack")
        if refusal is not None:
            return refusal
        problems = wire.slack_problems(body)
        title = "" if problems else wire.slack_title(body)
        self._keep("slack", 400 if problems else 200, title, problems, body)
        return web.Response(
            status=400 if problems else 200, text="invalid_payload" if problems else "ok"
        )

    async def _pagerduty(self, request: web.Request) -> web.Response:
        body, refusal = await self._receive(request, "pagerduty")
        if refusal is not None:
            return refusal
        problems = wire.pagerduty_problems(body)
        if problems:
            self._keep("pagerduty", 400, "", problems, body)
            answer = {"status": "invalid event", "message": "is invalid", "errors": problems}
            return web.json_response(answer, status=400)
        key = body.get("dedup_key") or f"made-{len(self.received)}"
        if body["event_action"] == "trigger":
            self.open_incidents[key] = body["payload"]["summary"]
        elif body["event_action"] == "resolve":
            self.open_incidents.pop(key, None)
        summary = (body.get("payload") or {}).get("summary", "")
        self._keep("pagerduty", 202, f"{body['event_action']}: {summary}", [], body)
        answer = {"status": "success", "message": "Event processed", "dedup_key": key}
        return web.json_response(answer, status=202)

    async def _deadman(self, request: web.Request) -> web.Response:
        _, refusal = await self._receive(request, "deadman")
        if refusal is not None:
            return refusal
        self.beats += 1
        return web.Response(text="OK")

    async def mail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One SMTP connection."""
        await mail_sink.talk(reader, writer, self._mail)

    def _mail(self, headers: dict[str, str], text: str) -> str | None:
        body = {"headers": headers, "text": text}
        refusal = self._refused("email")
        if refusal is not None:
            self._keep("email", refusal.status, "", ["refused on command"], body)
            return "451 try later"
        problems = wire.mail_problems(headers, text)
        self._keep("email", 550 if problems else 250, headers.get("Subject", ""), problems, body)
        if problems:
            return "550 " + "; ".join(problems)
        # Shown as accepted: HTTP's status numbers keep one rule for all sinks.
        self.received[-1] = Message(self._clock.now(), "email", 200, headers["Subject"], [], body)
        return None

    async def _control(self, request: web.Request) -> web.Response:
        try:
            wanted = json.loads(await request.text())
            status, count = int(wanted["status"]), int(wanted.get("count", 1))
            self.refuse(wanted["sink"], status, count, wanted.get("retry_after"))
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response({"error": f"send sink, status and count: {error}"}, status=400)
        return web.json_response({"ok": True})

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "received": [asdict(message) for message in self.received],
                "open_incidents": self.open_incidents,
                "beats": self.beats,
            }
        )

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(
            text=inbox.page(self.received, self.open_incidents.values(), self.beats),
            content_type="text/html",
        )


@contextlib.asynccontextmanager
async def running(
    sinks: Sinks, host: str = "127.0.0.1", port: int = 0, smtp_port: int = 0
) -> AsyncIterator[tuple[int, int]]:
    """Listen while the block runs; gives the HTTP and the SMTP port (0 picks free ones)."""
    runner = web.AppRunner(sinks.app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    mail = None
    try:
        await site.start()
        mail = await asyncio.start_server(sinks.mail, host, smtp_port)
        yield runner.addresses[0][1], mail.sockets[0].getsockname()[1]
    finally:
        if mail:
            mail.close()
        await runner.cleanup()


async def serve(host: str, port: int, smtp_port: int, clock: Clock) -> None:
    """Until cancelled. Raises :class:`OSError` when a port is in use."""
    async with running(Sinks(clock), host, port, smtp_port):
        await asyncio.Event().wait()
