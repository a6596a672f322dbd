"""Builds every part, starts and stops them, and applies a new config. Alone in knowing everyone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry, ProcessCollector

from exporter import __version__
from exporter import config as configuration
from exporter.alerts.desk import Desk
from exporter.calendars import Calendar, Calendars
from exporter.client import token_path
from exporter.clock import Clock, SystemClock
from exporter.config import Config, ConfigError, Mistake, load
from exporter.feeds import Feeds
from exporter.logs.follow import Follower
from exporter.logs.setup import Logging
from exporter.loopwatch import LoopWatch
from exporter.metrics import NAN, Metrics, Sample
from exporter.notify import Notifier
from exporter.runner import Runner
from exporter.schedule import Scheduler
from exporter.simulator.server import Simulator
from exporter.sources.base import Source
from exporter.sources.opening import open_source
from exporter.state import AlreadyRunning, State, StateError
from exporter.strategies import Strategies
from exporter.tasks.errors import Permanent
from exporter.tasks.parts import Parts
from exporter.web.api import Api
from exporter.web.exposition import Exposition
from exporter.web.guard import Guard, read_or_make_token
from exporter.web.server import Server
from exporter.web.status import routes as status_routes
from exporter.web.status.records import Records
from exporter.web.status.view_of import ViewOf
from exporter.web.tasks_view import TasksView

logger = logging.getLogger(__name__)

STRATEGY_REFRESH = 10.0
_NEEDS_RESTART = ("listen", "state")


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
        return asyncio.run(App(path, config, SystemClock()).run())
    except StartError as error:
        print(f"quant-exporter cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 1


class App:
    """One exporter."""

    def __init__(self, path: Path, config: Config, clock: Clock) -> None:
        self.path, self.config, self.clock = path, config, clock
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        ProcessCollector(registry=self.registry)
        self.notifier = Notifier(clock)
        self.sources: dict[str, Source] = {}
        self.calendars = Calendars(config.state.parent / "cache", config.calendar_overrides, clock)
        self.missing: str | None = "starting"
        self._reloaded_well, self._reloaded_at = 1.0, NAN
        self._reload_lock = asyncio.Lock()
        self._stop = asyncio.Event()
        self._simulators: list[Simulator] = []
        self._background: list[asyncio.Task[None]] = []
        self.metrics.add_reader(self._read)

    # --- what tasks may ask for (exporter.tasks.context.Services)

    @property
    def parts(self) -> Parts:
        """The running parts, as the running config has them."""
        return Parts(
            self.config, self.state, self.calendars, self.sources, self.feeds, self.strategies
        )

    def source(self, name: str | None) -> Source:
        """The named source, or the only one. Raises :class:`Permanent`."""
        if name is None and len(self.sources) == 1:
            return next(iter(self.sources.values()))
        if name is None or name not in self.sources:
            known = ", ".join(self.sources) or "none is configured"
            raise Permanent(
                f"say which source: {known}"
                if name is None
                else f"{name!r} is no source; known: {known}"
            )
        return self.sources[name]

    @property
    def simulated(self) -> bool:
        """Whether any source's prices are made up."""
        return any(source.simulated for source in self.sources.values())

    def calendar(self, exchange: str) -> Calendar:
        """The exchange's calendar. Raises :class:`Permanent` for one that nothing names."""
        try:
            return self.calendars.get(exchange)
        except KeyError as error:
            raise Permanent(f"no task or feed names the exchange {exchange!r}") from error

    # --- life

    async def run(self) -> int:
        """Start, wait for a signal, stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        async with contextlib.AsyncExitStack() as stack:
            await self.start(stack)
            await self._stop.wait()
            self.missing = "stopping"
            self.notifier.stopping()
            logger.info("stopping; a second Ctrl-C does not wait", extra={"event": "stopping"})
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.runner.hurry)
        return 0

    async def start(self, stack: contextlib.AsyncExitStack) -> None:
        """Start every part; `stack` ends them in the reverse order. Raises :class:`StartError`."""
        config = self.config
        self._start_logs(stack)
        await self._open_state(stack)
        token = self._token()
        self.strategies = Strategies(self.state, self.clock, self.metrics)
        self.follower = Follower(self.state, self.metrics)
        self.feeds = Feeds(
            self.state, self.clock, self.metrics, self.sources.__getitem__, self.calendar
        )
        self.runner = Runner(
            self.state, self.metrics, self.clock, self,
            mask=self.logging.mask.text, folder=self.path.parent.resolve(),
        )  # fmt: skip
        self.scheduler = Scheduler(
            self.state, self.runner, self.calendars, self.clock, self.metrics
        )
        self.desk = Desk(self.state, self.metrics, self.clock, lambda: self.config)
        stack.push_async_callback(self.desk.close)
        await self._listen(stack, token)
        await self._load(config)
        stack.push_async_callback(self._close_sources)
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
        stack.push_async_callback(self.runner.drain, config.stop_timeout)
        await self.scheduler.start()
        stack.push_async_callback(self.scheduler.stop)
        self._start_background(stack)
        self._reloaded_at = self.clock.now()
        self.missing = None
        self.notifier.ready(f"{len(config.tasks)} tasks")
        host, port = self.address
        logger.info(
            "ready: page http://%s:%d/ and metrics http://%s:%d/metrics", host, port, host, port,
            extra={"event": "ready", "tasks": len(config.tasks), "version": __version__},
        )  # fmt: skip

    def _start_logs(self, stack: contextlib.AsyncExitStack) -> None:
        self.logging = Logging(self.config.logs, self.config.timezone, self.clock, self.metrics)
        self.logging.start()
        stack.callback(self.logging.stop)

    async def _open_state(self, stack: contextlib.AsyncExitStack) -> None:
        try:
            self.state = await asyncio.to_thread(State.open, self.config.state, self.clock)
        except (AlreadyRunning, StateError) as error:
            raise StartError(str(error)) from error
        stack.push_async_callback(self.state.close)
        if self.state.trouble:
            logger.error("%s", self.state.trouble, extra={"event": "state_unhealthy"})

    def _token(self) -> str:
        path = token_path(self.config)
        try:
            token = read_or_make_token(path)
        except (OSError, UnicodeDecodeError) as error:
            # Without a file nobody can know the token: writes stay shut, /metrics stays up.
            logger.error("no write token, so nothing can be written over HTTP: %s: %s", path, error)
            import secrets

            token = secrets.token_urlsafe(32)
        self.logging.mask.add(token)
        return token

    async def _listen(self, stack: contextlib.AsyncExitStack, token: str) -> None:
        hosts = [
            *self.config.allowed_hosts,
            _host_of(self.config.public_url),
            self.config.address[0],
        ]
        self.guard = Guard(token, hosts)
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
            *self.desk.routes(self.guard.is_token),
        ]
        server = Server(
            Exposition(self.registry), self.guard, lambda: self.missing, self.reload, routes
        )
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
        work: Mapping[str, Awaitable[None]] = {
            "loop watch": watch.run(),
            "strategies": self._every(STRATEGY_REFRESH, self.strategies.refresh),
            "alerts": self.desk.run(),
        }
        self._background = [asyncio.ensure_future(coroutine) for coroutine in work.values()]

        async def end() -> None:
            for task in self._background:
                task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)

        stack.push_async_callback(end)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await work()
            except Exception:
                logger.exception("background work failed", extra={"event": "background_failed"})
            await asyncio.sleep(seconds)

    # --- config

    async def _load(self, config: Config) -> None:
        """What must be there before a config can be applied: sources and calendars."""
        opened: dict[str, Source] = {}
        try:
            await self.calendars.load(config.exchanges)
            for name, source in config.sources.items():
                if name not in self.sources or self.config.sources.get(name) != source:
                    opened[name] = await self._open_source(name, source)
        except Exception as error:
            for source_opened in opened.values():
                await source_opened.close()
            raise StartError(str(error)) from error
        old = [s for n, s in self.sources.items() if n in opened or n not in config.sources]
        self.calendars.apply(config.calendar_overrides)
        # The same dict goes on: parts hold on to it.
        for name in list(self.sources):
            if name not in config.sources:
                del self.sources[name]
        self.sources.update(opened)
        for source_old in old:
            await source_old.close()

    async def _open_source(self, name: str, settings: configuration.Source) -> Source:
        url = None
        if settings.type == "simulated" and not settings.url:
            url = await self._simulate(settings.seed)
        return open_source(name, settings, self.metrics, self.clock, simulator_url=url)

    async def _simulate(self, seed: int) -> str:
        """Embed a simulator; it speaks HTTP on loopback, so that the same code path runs."""
        calendars = Calendars(self.config.state.parent / "cache", {}, self.clock)
        simulator = Simulator(calendars, self.clock, seed=seed, requests_per_minute=1_000_000)
        self._simulators.append(simulator)
        return await simulator.start()

    def _apply(self, config: Config) -> None:
        self.config = config
        self.logging.apply(config.logs, config.timezone)
        self.strategies.apply(config)
        self.follower.apply(config.logs.follow)
        self.feeds.apply(config)
        self.runner.apply(config)
        for label, names in (
            ("task", config.tasks), ("feed", config.feeds), ("strategy", config.strategies),
            ("source", config.sources),
        ):  # fmt: skip
            self.metrics.keep_only(label, names)

    def _on_hangup(self) -> None:
        self._background.append(asyncio.ensure_future(self._reload_and_log()))

    async def _reload_and_log(self) -> None:
        await self.reload()

    async def reload(self) -> list[str]:
        """Take the config file as it is now; the mistakes that stopped it, or none."""
        async with self._reload_lock:
            self.notifier.reloading()
            mistakes = await self._try_reload()
            self._reloaded_well = 0.0 if mistakes else 1.0
            if mistakes:
                logger.error(
                    "the new config was not taken, the old one goes on: %s", "; ".join(mistakes),
                    extra={"event": "reload_failed"},
                )  # fmt: skip
            else:
                self._reloaded_at = self.clock.now()
                logger.info("the new config was taken", extra={"event": "reloaded"})
            self.notifier.ready()
            return mistakes

    async def _try_reload(self) -> list[str]:
        file = str(self.path)
        try:
            config = await asyncio.to_thread(load, self.path)
        except ConfigError as error:
            return [mistake.line(file) for mistake in error.mistakes]
        fixed = [key for key in _NEEDS_RESTART if getattr(config, key) != getattr(self.config, key)]
        if fixed:
            return [
                Mistake(key, "cannot change while running; restart").line(file) for key in fixed
            ]
        try:
            await self._load(config)
        except StartError as error:
            return [Mistake("", str(error)).line(file)]
        self._apply(config)
        await self.scheduler.apply(config)
        await self.feeds.start()
        return []

    async def _close_sources(self) -> None:
        for source in self.sources.values():
            await source.close()
        for simulator in self._simulators:
            await simulator.close()

    def _read(self) -> Iterator[Sample]:
        python = ".".join(str(part) for part in sys.version_info[:3])
        yield "quant_exporter_build_info", (__version__, python), 1.0
        yield "quant_exporter_config_last_reload_successful", (), self._reloaded_well
        name = "quant_exporter_config_last_reload_success_timestamp_seconds"
        yield name, (), self._reloaded_at
        state: State | None = getattr(self, "state", None)
        yield "quant_state_healthy", (), float(state is not None and state.healthy)
        for source in list(self.sources.values()):
            yield "quant_source_simulated", (source.name,), float(source.simulated)
            yield "quant_source_key_expiry_timestamp_seconds", (source.name,), source.key_expiry


def _host_of(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).hostname or "localhost"
