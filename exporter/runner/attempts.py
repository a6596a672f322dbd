"""One attempt: a coroutine on the loop, a plain function or a command in a process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from exporter.config import Config, Task
from exporter.config.entry_points import NotFoundError, find_kind
from exporter.config.paths import token_path
from exporter.runner.coroutines import CANCEL_SECONDS, HELD_SECONDS, Loader, call
from exporter.runner.headline import headline
from exporter.runner.printed import taken_aside
from exporter.runner.worker.forkserver_client import SOCKET_VARIABLE, WorkerError, Workers
from exporter.runner.worker.supervisor import Answer, ProcessEnd, run_process
from exporter.tasks.context import About, Context, Services
from exporter.tasks.fetch_relay import answer
from exporter.tasks.outcome import Outcome, of_exception
from exporter.util.clock import Clock
from exporter.util.units import format_duration

log = logging.getLogger(__name__)

STOPPED = "stopped at shutdown"
_OURS = frozenset(
    ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "INVOCATION_ID", SOCKET_VARIABLE)
)
"""What systemd tells the daemon is none of its tasks' business."""


class Attempts:
    """Runs single attempts and says how each ended."""

    def __init__(
        self, clock: Clock, services: Services, folder: Path, on_lost: Callable[[int], None]
    ) -> None:
        self.workers = Workers()
        self.stop = asyncio.Event()
        """Set: whatever still runs is ended."""
        self.interrupt = asyncio.Event()
        """Set: what may be interrupted is ended."""
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
        """Take the folders, the log level, and which variables hold secrets of ours."""
        self._code = tuple(p if p.is_absolute() else self._folder / p for p in config.code)
        self._level = config.logs.level
        self._secrets = frozenset(
            source.api_key_env for source in config.sources.values() if source.api_key_env
        )
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
        except (WorkerError, OSError) as error:
            return Outcome("error", f"could not be started: {error}", retryable=True)

    def _stop_of(self, task: Task) -> asyncio.Event:
        return self.interrupt if task.may_be_interrupted else self.stop

    async def _on_loop(self, task: Task, about: About, limit: float) -> Outcome:
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
            if running.done() and not running.cancelled():
                # One that never let go of the loop could not be cancelled at its limit.
                late = loop.time() - ends > HELD_SECONDS
                outcome = running.result()
                return _timeout(limit) if late and outcome.kind != "timeout" else outcome
            stopped = stopping.done()
            running.cancel()
            await asyncio.wait({running}, timeout=CANCEL_SECONDS)
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
        return _stopped() if stopped else _timeout(limit)

    async def _in_process(self, task: Task, about: About, limit: float) -> Outcome:
        hidden = self._secrets | _OURS
        env = {name: value for name, value in os.environ.items() if name not in hidden}
        env |= {**self._api, **_facts(about)}
        job = {
            "env": env,
            "folder": str(self._folder),
            "command": list(task.command) if task.command else None,
            "run": task.run,
            "code": [str(folder) for folder in self._code],
            "level": self._level,
            "about": {**asdict(about), "params": dict(about.params)},
        }
        ended = await run_process(
            self.workers, job, limit_seconds=limit, stop=self._stop_of(task),
            answer=self._answer(about), on_lost=self._on_lost,
        )  # fmt: skip
        outcome = _of_process(ended, limit, is_command=bool(task.command))
        return outcome.with_tail(ended.tail)

    def _answer(self, about: About) -> Answer:
        """Answers what the worker process fetches; it goes through our source and its budget."""
        return partial(answer, Context(about, self._clock, self._services))


def _facts(about: About) -> Mapping[str, str]:
    """What a command may want to know of its run, as environment variables."""
    facts = {"TASK": about.task, "RUN_ID": about.run_id, "ATTEMPT": str(about.attempt)}
    if about.slot is not None:
        facts["SLOT"] = f"{about.slot:.0f}"
    return {f"QUANT_{name}": value for name, value in facts.items()}


def _stopped() -> Outcome:
    return Outcome("error", STOPPED)


def _timeout(limit: float) -> Outcome:
    return Outcome("timeout", f"did not end within {format_duration(limit)}", retryable=True)


def _of_process(ended: ProcessEnd, limit: float, *, is_command: bool) -> Outcome:
    """What became of a process: what it reported counts if it came in time."""
    match ended:
        case ProcessEnd(how="stopped"):
            outcome = _stopped()
        case ProcessEnd(how="timeout"):
            outcome = _timeout(limit)
        case ProcessEnd(report=Outcome() as report):
            outcome = report
        case ProcessEnd(status=None):
            outcome = _error("the helper that starts processes died")
        case ProcessEnd(status=int(status)) if status < 0:
            outcome = _error(f"was ended by {_signal_name(-status)}")
        case ProcessEnd(status=status) if not is_command:
            outcome = _error(f"the process ended (exit code {status}) before the function returned")
        case ProcessEnd(status=0):
            outcome = Outcome("success")
        case ProcessEnd(status=status, tail=tail):
            why = headline(tail)
            outcome = _error(f"exit code {status}" + (f": {why}" if why else ""))
    return outcome


def _error(text: str) -> Outcome:
    return Outcome("error", text, retryable=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
