"""A task's page: schedule, next slots, limits, newest runs, and buttons to run and pause it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from exporter.config import Task
from exporter.runner.results import BusyError
from exporter.state import Run, StateError
from exporter.util.units import format_duration, format_size, parse_duration
from exporter.web.form_token import COOKIE, given_token, remember
from exporter.web.status.board_links import board_of
from exporter.web.status.page_parts import RecordParts
from exporter.web.status.rows import run_row, task_row
from exporter.web.status.templating import detail_page, nothing_there

MOST_RUNS = 200
NEXT_SLOTS = 5
PAUSES = ("1h", "4h", "1d", "1w")


class TaskPage:
    """The handlers. `is_token` decides on the token of the form."""

    def __init__(
        self,
        parts: RecordParts,
        is_token: Callable[[str], bool],
        days_of: Callable[[str], Awaitable[tuple[float, ...]]],
    ) -> None:
        self._parts, self._is_token, self._days_of = parts, is_token, days_of

    def routes(self) -> list[web.RouteDef]:
        """To be mounted in the application."""
        return [web.get("/tasks/{name}", self.show), web.post("/tasks/{name}", self.act)]

    async def show(self, request: web.Request) -> web.Response:
        """The page; it changes nothing."""
        name = request.match_info["name"]
        try:
            runs = await self._parts.state.history.runs(0.0, name, MOST_RUNS)
        except StateError as error:
            return nothing_there(self._parts, 503, str(error))
        days = await self._days_of(name)
        task = self._parts.config().tasks.get(name)
        if task is None and not runs:
            return nothing_there(self._parts, 404, f"There is no task {name}.")
        known = self._is_token(request.cookies.get(COOKIE, ""))
        return self._page(name, task, runs, days, known=known)

    def _page(
        self, name: str, task: Task | None, runs: list[Run], days: tuple[float, ...], *, known: bool
    ) -> web.Response:
        view = self._parts.tasks_view
        return detail_page(
            self._parts,
            "task.html",
            name=name,
            runs=[run_row(run) for run in runs],
            most=MOST_RUNS,
            task=task_row(view.one(name), runs, task, days) if task else None,
            facts=facts(task) if task else {},
            next_slots=view.next_slots(name, NEXT_SLOTS) if task else [],
            external=task is not None and task.external,
            can_run=task is not None and task.kind in ("run", "command"),
            pauses=PAUSES,
            board=board_of(self._parts.config().alerts, "task", name) if task else "",
            known=known,
        )

    async def act(self, request: web.Request) -> web.Response:
        """Run now, pause or resume, with the token in the form or the cookie."""
        name = request.match_info["name"]
        form = {str(n): str(v) for n, v in (await request.post()).items()}
        if not self._is_token(token := given_token(request, form)):
            return self._said(401, "Wrong token", "Nothing was changed.", name)
        if self._parts.tasks_view.kind(name) is None:
            return nothing_there(self._parts, 404, f"There is no task {name}.")
        try:
            heading, text = await self._do(name, form)
        except ValueError as error:
            return self._said(400, "Not done", str(error), name)
        except (BusyError, StateError) as error:
            return self._said(409, "Not done", str(error), name)
        done = self._said(200, heading, text, name)
        remember(request, done, token, "/tasks")
        return done

    async def _do(self, name: str, form: Mapping[str, str]) -> tuple[str, str]:
        view, action, time = self._parts.tasks_view, form.get("action"), form.get("for")
        if time not in PAUSES and (time is not None or action == "pause"):
            raise ValueError(f"invalid `for`: choose one of {', '.join(PAUSES)}")
        match action:
            case "run":
                if view.kind(name) == "external":
                    raise BusyError(f"{name} is external: start it where it runs")
                if view.kind(name) == "service":
                    raise BusyError(f"{name} is a service: start it with systemctl")
                return "Started", f"Run {await view.run(name)} of {name} has started."
            case "pause":
                await view.pause(name, self._parts.clock.now() + parse_duration(time))
                return "Paused", f"{name} runs nothing and alerts nobody for {time}."
            case "resume":
                await view.resume(name)
                return "Resumed", f"{name} runs by its schedule."
        raise ValueError("invalid `action`: run, pause or resume")

    def _said(self, status: int, heading: str, text: str, name: str) -> web.Response:
        given = {"heading": heading, "text": text, "name": name}
        return detail_page(self._parts, "task_done.html", status, **given)


def facts(task: Task) -> dict[str, str]:
    """What its section of exporter.yml says, in the words of the keys."""
    found: dict[str, Any] = {
        "Exchange": task.exchange,
        "Source": task.source,
        "Strategy": task.strategy,
        "After": ", ".join(task.after),
        "Runs": _what_runs(task),
        "Limits": ", ".join(_limits(task)),
    }
    return {name: text for name, text in found.items() if text}


def _what_runs(task: Task) -> str:
    if task.service:
        return "by systemd" if task.scope == "system" else "by the user's own systemd"
    return task.run or " ".join(task.command or ()) or "elsewhere, and reports by pings"


def _limits(task: Task) -> list[str]:
    if task.service:
        return [f"max_restarts {task.max_restarts} an hour"]
    limits = [f"timeout {format_duration(task.timeout)}"]
    if task.retries:
        limits += [
            f"{task.retries} {'retry' if task.retries == 1 else 'retries'}",
            f"max_runtime {format_duration(task.max_runtime_seconds)}",
        ]
    if task.after:
        limits.append(f"max_wait {format_duration(task.longest_wait)}")
    limits += [f"grace {format_duration(task.grace)}", f"alert_after {task.alert_after}"]
    if task.min_items is not None:
        limits.append(f"min_items {task.min_items}")
    used = task.limits
    if used.memory is not None:
        limits.append(f"memory {format_size(used.memory)}")
    if used.cpu is not None:
        limits.append(f"cpu {format_duration(used.cpu)}")
    if used.processes is not None:
        limits.append(f"processes {used.processes}")
    if used.output is not None:
        limits.append(f"output {format_size(used.output)}")
    if task.max_duration is not None:
        limits.append(f"max_duration {format_duration(task.max_duration)}")
    return limits
