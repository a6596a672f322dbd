"""Builds every part, and starts and stops them. Alone in knowing everyone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry, ProcessCollector

from exporter import __version__
from exporter.alerts.service import Desk
from exporter.config import Config, ConfigError, load
from exporter.config.paths import token_path
from exporter.feeds import Feeds
from exporter.logs.fetch_totals import FetchTotals
from exporter.logs.setup import Logging
from exporter.logs.tail.follow import Follower
from exporter.metrics import Metrics, Sample
from exporter.redaction.known_secrets import known_secrets
from exporter.runner.runner import Runner
from exporter.runtime import gc_tuning as interpreter
from exporter.runtime import preflight as checking
from exporter.runtime.loop_lag import LoopWatch
from exporter.runtime.reload import Reloading
from exporter.runtime.sd_notify import Notifier
from exporter.scheduling.scheduler import Scheduler
from exporter.sources.base import Source
from exporter.sources.registry import Supply, SupplyError
from exporter.state import AlreadyRunning, State, StateError
from exporter.strategies.tracker import Strategies
from exporter.tasks.builtin.parts import Parts
from exporter.tasks.services import TaskServices
from exporter.util.clock import Clock, SystemClock
from exporter.web.alert_pages import routes as alert_routes
from exporter.web.api import Api
from exporter.web.exposition import Exposition
from exporter.web.guard import Guard
from exporter.web.server import Server
from exporter.web.status import routes as status_routes
from exporter.web.status.build_view import ViewOf
from exporter.web.status.detail_pages import Records
from exporter.web.tasks_view import TasksView
from exporter.web.token import TokenFile

logger = logging.getLogger(__name__)

STRATEGY_REFRESH = 10.0
TOKEN_RETRY = 10.0
KEY_EXPIRIES = 60.0
LEAVE_SECONDS = 5.0
"""Between the end of an orderly stop and that of the process, whatever still goes on in it."""


class StartError(Exception):
    """The exporter cannot start; the message says why and what to do."""


def run(path: Path) -> int:
    """Run until SIGTERM or Ctrl-C: 0 after an orderly stop, 1 cannot start, 2 bad config."""
    try:
        config = load(path)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - before there is a log
        return 2
    try:
        return asyncio.run(_run_and_leave(App(path, config, SystemClock())))
    except StartError as error:
        print(f"quant-exporter cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 1


async def _run_and_leave(app: App) -> int:
    code = await app.run()
    # All is closed. A coroutine that ignores its cancellation, or a thread that hangs in a disk,
    # would keep the process from its end for ever.
    leaving = threading.Timer(LEAVE_SECONDS, os._exit, [code])
    leaving.daemon = True
    leaving.start()
    return code


class App:
    """One exporter."""

    def __init__(self, path: Path, config: Config, clock: Clock) -> None:
        self.path, self.config, self.clock = path, config, clock
        self.folder = path.parent.resolve()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        ProcessCollector(registry=self.registry)
        self.notifier = Notifier(clock)
        self.token_file = TokenFile(token_path(config))
        self.supply = Supply(config, self.metrics, clock)
        self.task_services = TaskServices(
            self.supply.sources, self.supply.calendars, lambda: self.parts
        )
        self.reloading = Reloading(path, clock, self.notifier, lambda: self.config, self._take)
        self.missing: str | None = "starting"
        self._stop = asyncio.Event()
        for reader in (self._read, self.supply.samples, self.reloading.samples):
            self.metrics.add_reader(reader)

    @property
    def sources(self) -> dict[str, Source]:
        """Where bars come from, by name."""
        return self.supply.sources

    @property
    def parts(self) -> Parts:
        """The running parts, as the running config has them: what built-in tasks ask for."""
        return Parts(
            self.config, self.state, self.supply.calendars, self.sources, self.feeds,
            self.strategies,
        )  # fmt: skip

    # --- life

    async def run(self) -> int:
        """Start, wait for a signal, stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reloading.ask)
        async with contextlib.AsyncExitStack() as stack:
            started = await self._start_unless_stopped(stack)
            if started:
                interpreter.settle()
            await self._stop.wait()
            self.missing = "stopping"
            self.reloading.close("the exporter is stopping")
            self.notifier.stopping()
            logger.info("stopping; a second Ctrl-C does not wait", extra={"event": "stopping"})
            if not started:
                return 0
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.runner.hurry)
        return 0

    async def _start_unless_stopped(self, stack: contextlib.AsyncExitStack) -> bool:
        """Building calendars may take a minute: a signal does not wait for that."""
        stopping = asyncio.ensure_future(self._stop.wait())
        async with self.reloading.lock:  # a reload that is asked for meanwhile comes after
            starting = asyncio.ensure_future(self.start(stack))
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.wait({starting})
        stopping.cancel()
        if not starting.cancelled():
            starting.result()  # raises what the start did
        return not starting.cancelled()

    async def start(self, stack: contextlib.AsyncExitStack) -> None:
        """Start every part; `stack` ends them in the reverse order. Raises :class:`StartError`."""
        config = self.config
        self._start_logs(stack)
        await self._open_state(stack)
        token = self._token()
        self.strategies = Strategies(self.state, self.clock, self.metrics)
        self.follower = Follower(self.state, self.metrics)
        self.feeds = Feeds(
            self.state,
            self.clock,
            self.metrics,
            self.sources.__getitem__,
            self.supply.calendars.get,
        )
        self.runner = Runner(
            self.state, self.metrics, self.clock, self.task_services,
            mask=self.logging.mask.text, folder=self.folder,
        )  # fmt: skip
        self.scheduler = Scheduler(
            self.state, self.runner, self.supply.calendars, self.clock, self.metrics
        )
        self.desk = Desk(self.state, self.metrics, self.clock, lambda: self.config)
        stack.push_async_callback(self.desk.close)
        await self._listen(stack, token)
        stack.push_async_callback(self.supply.close)
        try:
            await self.supply.take(config)
        except SupplyError as error:
            raise StartError(str(error)) from error
        self._apply(config)
        await self.scheduler.apply(config)
        await self.runner.recover()
        self.follower.start()
        stack.push_async_callback(self.follower.stop)
        await self.feeds.start()
        stack.push_async_callback(self.feeds.stop)
        watchdog = asyncio.ensure_future(self.notifier.watchdog())
        stack.callback(watchdog.cancel)  # it speaks while the stop waits, too
        # Running tasks are waited for before anything that they use is closed.
        stack.push_async_callback(lambda: self.runner.drain(self.config.stop_timeout))
        await self.scheduler.start()
        stack.push_async_callback(self.scheduler.stop)
        self._start_background(stack)
        self.reloading.taken()
        self.missing = None
        self.notifier.ready(f"{len(config.tasks)} tasks")
        host, port = self.address
        host = f"[{host}]" if ":" in host else host
        logger.info(
            "ready: page http://%s:%d/ and metrics http://%s:%d/metrics", host, port, host, port,
            extra={"event": "ready", "tasks": len(config.tasks), "version": __version__},
        )  # fmt: skip

    def _start_logs(self, stack: contextlib.AsyncExitStack) -> None:
        self.logging = Logging(self.config.logs, self.config.timezone, self.clock, self.metrics)
        self.logging.mask.add_all(known_secrets(self.config, os.environ))
        self.logging.start()
        stack.callback(self.logging.stop)
        self.totals = FetchTotals(self.metrics, self.clock)
        stack.callback(self.totals.say)

    async def _open_state(self, stack: contextlib.AsyncExitStack) -> None:
        try:
            self.state = await asyncio.to_thread(State.open, self.config.state, self.clock)
        except (AlreadyRunning, StateError) as error:
            raise StartError(str(error)) from error
        stack.push_async_callback(self.state.close)
        if self.state.trouble:
            logger.error("%s", self.state.trouble, extra={"event": "state_unhealthy"})

    def _token(self) -> str:
        token = self.token_file.read_or_make()
        self.logging.mask.add(token)
        return token

    async def _listen(self, stack: contextlib.AsyncExitStack, token: str) -> None:
        self.guard = Guard(token, _hosts(self.config))
        self.tasks_view = TasksView(self.runner, self.scheduler, self.state, self.clock)
        api = Api(
            self.tasks_view,
            self.strategies,
            self.clock,
            self.guard,
            lambda: ZoneInfo(self.config.timezone),
        )
        routes = [
            *api.routes(),
            *status_routes(ViewOf(self)),
            *Records(self).routes(),
            *alert_routes(
                self.desk.journal, self.desk.keeper, self.state, self.clock, self.guard.is_token
            ),
        ]
        server = Server(
            Exposition(self.registry), self.guard, lambda: self.missing, self.reloading.reload,
            routes,
        )  # fmt: skip
        host, port = self.config.address
        try:
            self.address = await server.start(host, port)
        except OSError as error:
            raise StartError(
                f"cannot listen on {self.config.listen}: {error.strerror or error}; "
                "is another exporter running? Change `listen` or stop it"
            ) from error
        stack.push_async_callback(server.stop)

    def _start_background(self, stack: contextlib.AsyncExitStack) -> None:
        watch = LoopWatch(self.metrics.gauge("quant_exporter_event_loop_lag_seconds"))
        work = [
            asyncio.ensure_future(coroutine)
            for coroutine in (
                watch.run(),
                self._every(STRATEGY_REFRESH, self.strategies.refresh),
                self._every(TOKEN_RETRY, self.token_file.rescue),
                self._every(KEY_EXPIRIES, self.supply.learn_expiries),
                self.desk.run(),
                self.totals.run(),
            )
        ]

        async def end() -> None:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

        stack.push_async_callback(end)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await work()
            except Exception:
                logger.exception("background work failed", extra={"event": "background_failed"})
            await asyncio.sleep(seconds)

    async def _take(self, config: Config) -> None:
        """Have all parts follow a new config. Raises :class:`SupplyError`; then none does."""
        self.logging.mask.add_all(known_secrets(config, os.environ))
        await self.supply.take(config)
        self._apply(config)
        await self.scheduler.apply(config)
        await self.feeds.start()

    def _apply(self, config: Config) -> None:
        self.config = config
        self.logging.apply(config.logs, config.timezone)
        calendars, now = self.supply.calendars, self.clock.now()
        for note in checking.notes(config, self.folder, calendars, now):
            logger.warning("%s: %s", note.place, note.text, extra={"event": "config_note"})
        self.guard.apply(_hosts(config))
        self.strategies.apply(config)
        self.follower.apply(config.logs.follow)
        self.feeds.apply(config)
        self.runner.apply(config)
        for label, names in (
            ("task", config.tasks), ("feed", config.feeds), ("strategy", config.strategies),
            ("source", config.sources),
        ):  # fmt: skip
            self.metrics.keep_only(label, names)

    def _read(self) -> Iterator[Sample]:
        python = ".".join(str(part) for part in sys.version_info[:3])
        yield "quant_exporter_build_info", (__version__, python), 1.0
        state: State | None = getattr(self, "state", None)
        yield "quant_state_healthy", (), float(state is not None and state.steady)


def _hosts(config: Config) -> list[str]:
    """The names under which we may be asked for, beside those of loopback."""
    public = urlsplit(config.public_url).hostname
    return [*config.allowed_hosts, *([public] if public else []), config.address[0]]
