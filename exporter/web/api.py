"""/api/v1: the state of tasks, and the writes of users and scripts.

Bodies are JSON objects, described in ``docs/openapi.yaml``. Errors are ``{"error": "…"}``.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from aiohttp import web

from exporter.runner.external import Ping, PingKind
from exporter.runner.results import BusyError
from exporter.scheduling.past_slots import NoSlotsError
from exporter.state import StateError
from exporter.strategies.equity_point import parse_timestamp
from exporter.util import strict_json
from exporter.util.clock import Clock
from exporter.util.nan import json_safe
from exporter.util.units import parse_duration
from exporter.web.guard import Guard, refuse
from exporter.web.real_moment import real_moment

LONGEST_PAUSE_SECONDS = 3653 * 86400.0
MOST_ITEMS = 2**53
"""A float, as metrics are, holds larger numbers only roughly."""
_PINGS: tuple[PingKind, ...] = ("start", "success", "fail")
_PING_KEYS = ("items", "message", "rid", "started", "ended")


class Tasks(Protocol):
    """What the API needs of the parts that run tasks; see exporter.web.tasks_view."""

    def list(self) -> list[dict[str, Any]]: ...
    def kind(self, name: str) -> str | None: ...
    def unknown(self, name: str) -> str: ...
    async def run(
        self, name: str, slot: float | None = None, *, again: bool = False,
        params: Mapping[str, Any] | None = None,
    ) -> str: ...  # fmt: skip
    async def slots(self, name: str, first: str, last: str) -> Sequence[dict[str, Any]]: ...
    async def find_run(self, name: str, run_id: str) -> dict[str, Any] | None: ...
    async def ping(self, name: str, ping: Ping) -> str: ...
    async def pause(self, name: str | None, until: float) -> None: ...
    async def resume(self, name: str | None) -> None: ...


@dataclass(frozen=True)
class Api:
    """The handlers of /api/v1."""

    tasks: Tasks
    clock: Clock
    guard: Guard
    zone: Callable[[], ZoneInfo]

    def routes(self) -> list[web.RouteDef]:
        """To be mounted in the application."""
        return [
            web.get("/api/v1/tasks", self.list_tasks),
            web.post("/api/v1/tasks/{name}/run", self.run),
            web.get("/api/v1/tasks/{name}/slots", self.slots),
            web.get("/api/v1/tasks/{name}/runs/{run_id}", self.one_run),
            *(
                web.route(method, f"/api/v1/tasks/{{name}}/{kind}", self._ping(kind))
                for kind in _PINGS
                for method in ("POST", "GET")
            ),
            web.post("/api/v1/pause", self.pause),
            web.post("/api/v1/resume", self.resume),
        ]

    async def list_tasks(self, request: web.Request) -> web.Response:
        """Every task with its state; times are Unix seconds or null."""
        return _json({"tasks": self.tasks.list()})

    def _known(self, request: web.Request) -> str:
        name = request.match_info["name"]
        if self.tasks.kind(name) is None:
            raise refuse(404, self.tasks.unknown(name))
        return name

    async def run(self, request: web.Request) -> web.Response:
        """Start a run now: {slot?, again?, params?}; answers immediately with its run_id."""
        name = self._known(request)
        wanted = _wanted_run(await read_object(request))
        if self.tasks.kind(name) == "external":
            raise refuse(409, f"{name} is external: start it where it runs")
        try:
            return _json({"run_id": await self.tasks.run(name, **wanted)}, status=202)
        except NoSlotsError as error:
            raise refuse(404, str(error)) from error
        except (BusyError, StateError) as error:
            raise refuse(409, str(error)) from error

    async def slots(self, request: web.Request) -> web.Response:
        """A task's slots from one day or moment to another that have come, oldest first."""
        name = self._known(request)
        first = request.query.get("from", "")
        try:
            found = await self.tasks.slots(name, first, request.query.get("to", first))
        except NoSlotsError as error:
            raise refuse(404, str(error)) from error
        except ValueError as error:
            raise refuse(400, str(error)) from error
        except StateError as error:
            raise refuse(503, str(error)) from error
        return _json({"slots": list(found)})

    async def one_run(self, request: web.Request) -> web.Response:
        """One run; its outcome is null while it is running."""
        run = await self.tasks.find_run(self._known(request), request.match_info["run_id"])
        if run is None:
            raise refuse(404, "there is no such run")
        return _json(run)

    def _ping(self, kind: PingKind) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def ping(request: web.Request) -> web.Response:
            """An external task reports that it started, succeeded or failed."""
            self.guard.require_token(request)
            name = self._known(request)
            if self.tasks.kind(name) != "external":
                raise refuse(409, f"{name} is not external: its runs are recorded already")
            body = await read_object(request)
            given = {key: body.get(key, request.query.get(key)) for key in _PING_KEYS}
            reported = Ping(
                kind, _items(given["items"]), _text(given["message"]), _rid(given["rid"]),
                started=real_moment("started", given["started"], self.clock.now()),
                ended=real_moment("ended", given["ended"], self.clock.now()),
            )  # fmt: skip
            return _json({"ok": True, "run_id": await self.tasks.ping(name, reported)})

        return ping

    async def pause(self, request: web.Request) -> web.Response:
        """Pause one task, or all, ``until`` a time or ``for`` a duration."""
        body = await read_object(request)
        task = self._task_of(body)
        try:
            until = self._until(body)
        except ValueError as error:
            raise refuse(400, f"send `for` (2h) or `until` (a time): {error}") from error
        if until <= self.clock.now():
            raise refuse(400, "`until` is in the past; nothing was paused")
        if until > self.clock.now() + LONGEST_PAUSE_SECONDS:
            raise refuse(400, "pause for ten years at most")
        try:
            await self.tasks.pause(task, until)
        except BusyError as error:
            raise refuse(409, str(error)) from error
        return _json({"ok": True, "task": task, "until": until})

    def _until(self, body: Mapping[str, Any]) -> float:
        """Both keys must make sense where both are sent; `for` takes precedence."""
        until = math.nan
        if "until" in body or "for" not in body:
            until = parse_timestamp(body.get("until"), self.zone())
        return self.clock.now() + parse_duration(body["for"]) if "for" in body else until

    async def resume(self, request: web.Request) -> web.Response:
        """End the pause of one task, or of all."""
        task = self._task_of(await read_object(request))
        try:
            await self.tasks.resume(task)
        except BusyError as error:
            raise refuse(409, str(error)) from error
        return _json({"ok": True, "task": task})

    def _task_of(self, body: Mapping[str, Any]) -> str | None:
        task = body.get("task")
        if task is None:
            return None
        if not isinstance(task, str):
            raise refuse(400, f"task must be a name, not {task!r}")
        if self.tasks.kind(task) is None:
            raise refuse(404, self.tasks.unknown(task))
        return task


async def read_object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object. Answers 400 otherwise."""
    try:
        text = await request.text()
        body = strict_json.read(text) if text.strip() else {}
    except (ValueError, LookupError) as error:
        raise refuse(400, f"the body is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise refuse(400, "the body must be a JSON object")
    return body


def _wanted_run(body: Mapping[str, Any]) -> dict[str, Any]:
    """Answers 400 for what makes no sense."""
    slot, again, params = body.get("slot"), body.get("again", False), body.get("params", {})
    if isinstance(slot, bool) or not (
        slot is None or (isinstance(slot, int | float) and math.isfinite(slot))
    ):
        raise refuse(400, f"slot must be a time in Unix seconds, not {str(slot)[:80]!r}")
    if not isinstance(again, bool):
        raise refuse(400, f"again must be true or false, not {str(again)[:80]!r}")
    if not isinstance(params, dict):
        raise refuse(400, 'params must be an object, as {"lookback": 30}')
    return {"slot": None if slot is None else float(slot), "again": again, "params": params}


def _items(value: Any) -> int | None:
    if value is None:
        return None
    try:
        items = int(value)
        if not 0 <= items <= MOST_ITEMS or isinstance(value, bool) or items != float(value):
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise refuse(400, f"items must be an integer of 0 or more, not {value!r}") from error
    return items


def _rid(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return str(UUID(str(value)))
    except ValueError as error:
        raise refuse(400, f"rid must be a UUID, not {str(value)[:80]!r}") from error


def _text(value: Any) -> str | None:
    return None if value is None else str(value)  # truncated when it is masked


def _json(data: Any, status: int = 200) -> web.Response:
    return web.json_response(json_safe(data), status=status)
