"""/api/v1/messages: a program sends a message; and a trial of each channel."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from exporter.messages.message import ChannelMessage
from exporter.messages.outbox import Outbox
from exporter.messages.sample import TRIAL
from exporter.web.api import read_object
from exporter.web.guard import refuse

SOURCE = "api"
"""What the hourly limit of a channel knows these by."""


@dataclass(frozen=True)
class MessagesApi:
    """The handlers."""

    outbox: Outbox

    def routes(self) -> list[web.RouteDef]:
        """To be mounted in the application."""
        return [
            web.post("/api/v1/messages", self.send),
            web.post("/api/v1/messages/test", self.test),
        ]

    async def send(self, request: web.Request) -> web.Response:
        """Queue a message: {text, title?, to?, key?}; `to` is needed where there are several."""
        body = await read_object(request)
        text, title, key = (_text(body, name) for name in ("text", "title", "key"))
        if not text.strip():
            raise refuse(400, "`text` is missing: send what the message says")
        channels = self._channels(body.get("to"))
        if len(channels) > 1 and body.get("to") is None:
            raise refuse(400, f"`to` is missing: name one or more of {', '.join(channels)}")
        message = ChannelMessage(title or "quant-exporter", [text])
        took = await self.outbox.post(message, channels, source=SOURCE, key=key and f"api|{key}")
        if took < len(channels):
            raise refuse(429, "too many messages within the hour: this one was dropped")
        return web.json_response({"ok": True, "to": channels}, status=202)

    async def test(self, request: web.Request) -> web.Response:
        """Send a trial to the channels `to`, or to all; what went wrong with each, or null."""
        channels = self._channels((await read_object(request)).get("to"))
        problems = await asyncio.gather(*(self.outbox.test(name, TRIAL) for name in channels))
        return web.json_response({"channels": dict(zip(channels, problems, strict=True))})

    def _channels(self, wanted: Any) -> Sequence[str]:
        known = self.outbox.channels
        if not known:
            raise refuse(404, "no channel is configured: add one to `messages:` in exporter.yml")
        if wanted is None:
            return known
        names = [wanted] if isinstance(wanted, str) else wanted
        if not isinstance(names, list) or not names:
            raise refuse(400, "`to` must be a channel's name, or a list of names")
        for name in names:
            if name not in known:
                raise refuse(404, f"there is no channel {name!r}: write {', '.join(known)}")
        return list(dict.fromkeys(names))


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise refuse(400, f"`{name}` must be a text")
    return value or ""
