"""/ping: how programs on other machines report, by the API that clients of healthchecks.io speak.

``/ping/UUID`` or ``/ping/KEY/TASK`` is a success; ``/start``, ``/fail``, ``/log`` or an exit status
may follow. By GET, HEAD or POST; a body is the program's output, in any encoding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from aiohttp import web

from exporter.logs.tail.utf16 import as_utf8, utf16_of
from exporter.redaction.truncate import drop_partial_start
from exporter.runner.external import Ping
from exporter.runner.headline import headline
from exporter.runner.output_tail import rendered
from exporter.state import StateError
from exporter.util.clock import Clock
from exporter.web.bodies import end_of_body
from exporter.web.guard import PING_PATH, refuse
from exporter.web.ping_keys import PingKeys, PingTarget
from exporter.web.real_moment import real_moment

KEPT_CHARS = 10_000
"""Of a body, from its end: there it says why the program failed."""
_PREVIEWS = re.compile(
    r"Slackbot|Slack-ImgProxy|Discordbot|TelegramBot \(like|WhatsApp/|facebookexternalhit"
    r"|Twitterbot|LinkedInBot|SkypeUriPreview|Mattermost-Bot|Mastodon/|Googlebot|bingbot|Applebot"
)
"""Who looks up an address that was posted in a chat."""
_AHEAD = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
"""A browser says by these that it fetches what nobody has asked for yet."""


class PingedTasks(Protocol):
    """What is needed of :class:`exporter.web.tasks_view.TasksView`."""

    def kind(self, name: str) -> str | None: ...
    def unknown(self, name: str) -> str: ...
    async def ping(self, name: str, ping: Ping) -> str: ...


@dataclass(frozen=True)
class PingApi:
    """The handlers."""

    tasks: PingedTasks
    keys: PingKeys
    clock: Clock

    def routes(self) -> list[web.RouteDef]:
        """To be mounted in the application."""
        urls = "/api/v1/tasks/{name}/ping-url"
        return [
            web.get(PING_PATH + "{rest:.*}", self.ping),  # HEAD too
            web.post(PING_PATH + "{rest:.*}", self.ping),
            web.post(urls, self.show),
            web.post(f"{urls}/renew", self.renew),
            web.post("/api/v1/ping-key/renew", self.renew_key),
        ]

    async def ping(self, request: web.Request) -> web.Response:
        """The program started, ended, or says something."""
        if not self.keys.ready:
            raise refuse(503, "the ping addresses are not known yet; try again")
        target = self.keys.find(request.path)
        if target is None:  # the guard has looked already; a reload may have come between
            raise refuse(404, "not found")
        if _looks_ahead(request):
            raise refuse(403, "a look at the address is not a report")
        output = _output(*await end_of_body(request))
        ping = self._ping_of(target, request, output)
        run_id = await self.tasks.ping(target.task, ping)
        return web.Response(text="OK\n", headers={
            "Ping-Body-Limit": str(KEPT_CHARS), "Ping-Run": run_id})  # fmt: skip

    def _ping_of(self, target: PingTarget, request: web.Request, output: str) -> Ping:
        rid, started = _rid(request), self._moment(request, "started")
        ended = self._moment(request, "ended")
        if started is not None and ended is not None:
            started = min(started, ended)  # the clock was set back during the run
        if target.action == "start":
            return Ping("start", rid=rid, started=started)
        if target.action == "log":
            return Ping("log", rid=rid, output=output)
        if target.action != "fail" and int(target.action) == 0:
            return Ping("success", rid=rid, output=output, started=started, ended=ended)
        why = headline(output)
        if target.action != "fail":
            status = f"exit status {int(target.action)}"
            why = f"{status}: {why}" if why else status
        return Ping("fail", None, why, rid, output, started, ended)

    def _moment(self, request: web.Request, name: str) -> float | None:
        return real_moment(name, request.query.get(name), self.clock.now())

    async def show(self, request: web.Request) -> web.Response:
        """The addresses of an external task; who reads them may ping."""
        return self._paths(request.match_info["name"])

    async def renew(self, request: web.Request) -> web.Response:
        """A new UUID for the task; the old one ends."""
        self._paths(request.match_info["name"])
        await self._renew(request.match_info["name"])
        return self._paths(request.match_info["name"])

    async def renew_key(self, request: web.Request) -> web.Response:
        """A new key for all tasks; the old one ends."""
        await self._renew(None)
        return web.json_response({"ok": True})

    async def _renew(self, task: str | None) -> None:
        try:
            await self.keys.renew(task)
        except StateError as error:
            raise refuse(503, str(error)) from error

    def _paths(self, name: str) -> web.Response:
        kind = self.tasks.kind(name)
        if kind is None:
            raise refuse(404, self.tasks.unknown(name))
        if kind != "external":
            raise refuse(409, f"{name} is not external: its runs are recorded already")
        paths = self.keys.paths(name)
        if paths is None:
            raise refuse(503, "the state file cannot be written, so there is no ping address yet")
        return web.json_response({"path": paths[0], "key_path": paths[1]})


def _looks_ahead(request: web.Request) -> bool:
    if any("pre" in request.headers.get(name, "") for name in _AHEAD):
        return True
    return bool(_PREVIEWS.search(request.headers.get("User-Agent", "")))


def _output(beginning: bytes, end: bytes) -> str:
    """As a terminal would show it: without escape codes, progress bars in their last state."""
    encoding = utf16_of(beginning) or utf16_of(end)  # of Windows programs
    shown = as_utf8(end, encoding) if encoding else end
    text = rendered(shown.decode("utf-8", "replace").replace("\0", "\ufffd")).strip()
    return text if len(text) <= KEPT_CHARS else drop_partial_start(text[-KEPT_CHARS:])


def _rid(request: web.Request) -> str | None:
    given = request.query.get("rid")
    if not given:
        return None
    try:
        return str(UUID(given))
    except ValueError:
        raise refuse(400, "rid must be a UUID") from None
