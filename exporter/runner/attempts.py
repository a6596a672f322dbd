"""One attempt: a coroutine on the loop, a plain function or a command in a process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from exporter.config import Config, Task
from exporter.config.entry_points import NotFoundError, find_kind
from exporter.config.paths import token_path
from exporter.config.references import LIMITED_COROUTINE
from exporter.config.secret_values import SecretMissingError, read_secret
from exporter.runner.coroutines import HELD_SECONDS, Loader, call
from exporter.runner.left_behind import LeftBehind
from exporter.runner.printed import taken_aside
from exporter.runner.process_outcome import ExitCodes, outcome_of, stopped_outcome, timeout_outcome
from exporter.runner.said_lines import SaidLines
from exporter.runner.worker.forkserver_client import (
    SOCKET_VARIABLE,
    WorkerError,
    Workers,
)
from exporter.runner.worker.supervisor import Answer, Patience, run_process
from exporter.scheduling.session_facts import session_facts
from exporter.tasks.base_context import About, Services
from exporter.tasks.context import Context
from exporter.tasks.fetch_relay import answer
from exporter.tasks.outcome import Outcome, of_exception
from exporter.util.clock import Clock

log = logging.getLogger(__name__)

_OURS = frozenset(
    ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "INVOCATION_ID", SOCKET_VARIABLE)
)
"""Variables that systemd sets for the exporter, not for its tasks."""


class Attempts:
    """Runs single attempts and says how each ended."""

    def __init__(
        self,
        clock: Clock,
        services: Services,
        folder: Path,
        on_lost: Callable[[int], None],
        left: LeftBehind,
    ) -> None:
        self.workers = Workers()
        self.left = left
        self.stop = asyncio.Event()
        """Set: whatever still runs is ended."""
        self.interrupt = asyncio.Event()
        """Set: what may be interrupted is ended."""
        self.hurry = asyncio.Event()
        """Set: whatever is being ended gets little time for it."""
        self.uncancellable: dict[str, asyncio.Task[Outcome]] = {}
        """Coroutines, by task, that went on after they were cancelled."""
        self._clock, self._services, self._folder = clock, services, folder
        self._on_lost = on_lost
        self._loader = Loader()
        self._code: tuple[Path, ...] = ()
        self._level = "info"
        self._secrets: frozenset[str] = frozenset()
        self._api: Mapping[str, str] = {}

    def apply(self, config: Config) -> None:
        """Apply the folders, the log level, and which variables hold secrets of ours."""
        self._code = tuple(p if p.is_absolute() else self._folder / p for p in config.code)
        self._level = config.logs.level
        self._secrets = frozenset(
            name for source in config.sources.values() for name in source.secret_variables()
        )
        hidden = self._secrets | _OURS
        self.workers.limits_memory = any(
            "memory" in task.limits.given for task in config.tasks.values()
        )
        self.workers.environment = {k: v for k, v in os.environ.items() if k not in hidden}
        self._api = {
            "QUANT_URL": config.local_url,
            "QUANT_TOKEN_FILE": str(token_path(config)),
        }

    async def run(self, task: Task, about: About, limit_seconds: float) -> Outcome:
        """One attempt within its limit. Raises only when it is cancelled from outside."""
        try:
            if task.command:
                return await self._in_process(task, about, limit_seconds)
            kind = await asyncio.to_thread(find_kind, str(task.run), self._code)
            if kind == "coroutine":
                return await self._on_loop(task, about, limit_seconds)
            return await self._in_process(task, about, limit_seconds)
        except NotFoundError as error:
            return Outcome("error", f"run: {task.run}: {error}")
        except SecretMissingError as error:
            return Outcome("error", f"secrets: {str(error).partition(': ')[2]}")
        except (WorkerError, OSError) as error:
            return Outcome("error", f"could not be started: {error}", retryable=True)

    def still_there(self, task: str) -> str | None:
        """Why the task cannot start although no run of it is under way."""
        if task in self.uncancellable:
            return f"an earlier run of {task} ignores that it was cancelled"
        if stuck := self.left.stuck(task):
            return f"an earlier run of {task} could not be ended: {', '.join(stuck)} is still there"
        return None

    def _stop_of(self, task: Task) -> asyncio.Event:
        return self.interrupt if task.may_be_interrupted else self.stop

    async def _on_loop(self, task: Task, about: About, limit: float) -> Outcome:
        if task.limits.given:
            return Outcome("error", f"limits: {LIMITED_COROUTINE}")

        async def attempt() -> Outcome:
            try:
                function = await asyncio.to_thread(self._loader.load, str(task.run), self._code)
            except Exception as error:  # noqa: BLE001  the user's module may raise anything
                return of_exception(error)
            context = Context(about, self._clock, self._services)
            with taken_aside() as printed:
                outcome = await call(function, context, ends - loop.time())
            return outcome.with_tail(printed.text())

        loop = asyncio.get_running_loop()
        ends = loop.time() + limit
        running = asyncio.create_task(attempt(), name=f"run {about.run_id}")
        stopping = asyncio.create_task(self._stop_of(task).wait())
        try:
            await asyncio.wait(
                {running, stopping}, timeout=limit, return_when=asyncio.FIRST_COMPLETED
            )
            if running.cancelled():  # not by us
                return Outcome("error", "the coroutine cancelled itself", retryable=True)
            if running.done():
                # One that blocked the loop could not be cancelled at its limit.
                late = loop.time() - ends > HELD_SECONDS
                outcome = running.result()
                return timeout_outcome(limit) if late and outcome.kind != "timeout" else outcome
            stopped = stopping.done()
            running.cancel()
            await asyncio.wait({running}, timeout=task.stop_grace)
        except BaseException:
            running.cancel()
            raise
        finally:
            stopping.cancel()
        if not running.done():
            self.uncancellable[about.task] = running
            running.add_done_callback(lambda _: self.uncancellable.pop(about.task, None))
            log.error(
                "the coroutine goes on although it was cancelled; the task starts no other run "
                "until it ends",
                extra={"event": "run_ignores_cancel"},
            )
        return stopped_outcome() if stopped else timeout_outcome(limit)

    async def _in_process(self, task: Task, about: About, limit: float) -> Outcome:
        limits = task.limits.given
        job = {
            "limits": limits,
            "env": self._environment(task, about),
            "folder": str(self._folder / (task.cwd or "")),
            "command": list(task.command) if task.command else None,
            "run": task.run,
            "code": [str(folder) for folder in self._code],
            "level": self._level,
            "about": {**asdict(about), "params": dict(about.params)},
        }
        patience = Patience(
            limit, task.stop_grace, task.may_leave_processes, self._stop_of(task), self.hurry,
            limits,
        )  # fmt: skip
        ended = await run_process(
            self.workers, job, patience, answer=self._answer(about), on_lost=self._on_lost,
            on_began=partial(self.left.began, about.task),
            on_left=partial(self.left.add, about.task),
            lines=SaidLines(self._services.set_metric) if task.json_output else None,
        )  # fmt: skip
        codes = ExitCodes(task.success_codes, task.nothing_on, task.retry_on)
        return outcome_of(ended, limit, codes if task.command else None, limits)

    def _environment(self, task: Task, about: About) -> dict[str, str]:
        facts = {**_facts(about), **self._session_facts(task, about)}
        environment = {**self.workers.environment, **self._api}
        environment |= {f"QUANT_{name}": value for name, value in facts.items()}
        environment |= task.env
        for name in task.secrets:
            environment[name] = read_secret("secrets", name, None, os.environ)
        # What a program printed before its timeout would else be lost with Python's buffer.
        environment.setdefault("PYTHONUNBUFFERED", "1")
        return environment

    def _session_facts(self, task: Task, about: About) -> Mapping[str, str]:
        if about.exchange is None:
            return {}
        at = self._clock.now() if about.slot is None else about.slot
        return session_facts(task.timetable, self._services.calendar(about.exchange), at)

    def _answer(self, about: About) -> Answer:
        """Answers what the worker process fetches; it goes through our source and its budget."""
        return partial(answer, Context(about, self._clock, self._services))


def _facts(about: About) -> Mapping[str, str]:
    """What a command may want to know about its run; the names get the prefix ``QUANT_``."""
    facts = {"TASK": about.task, "RUN_ID": about.run_id, "ATTEMPT": str(about.attempt)}
    if about.slot is not None:
        facts["SLOT"] = f"{about.slot:.0f}"
    for name, value in about.params.items():
        if name.isidentifier():
            facts[f"PARAM_{name.upper()}"] = value if isinstance(value, str) else _as_json(value)
    return facts


def _as_json(value: object) -> str:
    return json.dumps(value, default=str)
