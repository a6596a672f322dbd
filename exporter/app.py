"""Starts and stops every part, and applies a new config to all of them."""

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
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry, ProcessCollector

from exporter import __version__
from exporter.accounts.open_account import account_name
from exporter.config import Config, ConfigError, load
from exporter.config.paths import instance_id, ping_url_path, token_path
from exporter.feeds.complete_days import LOOK_SECONDS
from exporter.logs.fetch_totals import FetchTotals
from exporter.logs.setup import Logging
from exporter.metrics import Metrics, Sample
from exporter.redaction.known_secrets import known_secrets
from exporter.runtime import gc_tuning, malloc_tuning, preflight
from exporter.runtime.crashes import Crashes
from exporter.runtime.loop_lag import LoopWatch
from exporter.runtime.machine import LOOKS_EVERY_SECONDS, Machine
from exporter.runtime.reload import Reloading
from exporter.runtime.sd_notify import Notifier
from exporter.runtime.wiring import ExporterServices, Foundation, build, own_hosts
from exporter.sources.registry import Supply, SupplyError
from exporter.state import AlreadyRunning, State, StateError
from exporter.util.clock import Clock, SystemClock
from exporter.util.own_command import own_command
from exporter.web.alert_pages import AlertPages
from exporter.web.api import Api
from exporter.web.backtest_page import BacktestPages
from exporter.web.calendar_api import CalendarApi
from exporter.web.exposition import Exposition
from exporter.web.feeds_api import FeedsApi
from exporter.web.limits_api import LimitsApi
from exporter.web.messages_api import MessagesApi
from exporter.web.metrics_api import MetricsApi
from exporter.web.ping_api import PingApi
from exporter.web.server import Server, cannot_listen
from exporter.web.status import routes as status_routes
from exporter.web.status.build_view import ViewOf
from exporter.web.status.detail_pages import Records
from exporter.web.status.task_page import TaskPage
from exporter.web.strategies_api import StrategiesApi
from exporter.web.token import TokenFile

logger = logging.getLogger(__name__)

STRATEGY_REFRESH = 10.0
LEDGER_PURGE = 600.0
CUSTOM_FLUSH = 2.0
BACKTEST_REFRESH = 5.0
TOKEN_RETRY = 10.0
PING_URL_SECONDS = 5.0
KEY_EXPIRIES = 60.0
EXIT_SECONDS = 5.0
"""From the end of an orderly stop to the end of the process, whatever still hangs in it."""


class StartError(Exception):
    """The exporter cannot start; the message says why and what to do."""


def run(path: Path) -> int:
    """Run until SIGTERM or Ctrl-C: 0 after an orderly stop, 1 cannot start, 2 bad config."""
    try:
        config = load(path)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - before there is a log
        return 2
    malloc_tuning.give_back()
    try:
        return asyncio.run(_run_and_exit(App(path, config, SystemClock())))
    except StartError as error:
        print(f"quant-exporter cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 1


async def _run_and_exit(app: App) -> int:
    guarding = asyncio.ensure_future(app.crashes.guard())
    code = await app.run()
    guarding.cancel()
    # Everything is closed. A coroutine that ignores its cancellation, or a thread that hangs on a
    # disk, would keep the process alive forever.
    exiting = threading.Timer(EXIT_SECONDS, os._exit, [code])
    exiting.daemon = True
    exiting.start()
    return code


class App:
    """One exporter: :meth:`run` is its whole life."""

    def __init__(self, path: Path, config: Config, clock: Clock) -> None:
        self.path, self.config, self.clock = path, config, clock
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        ProcessCollector(registry=self.registry)
        self._notifier = Notifier(clock)
        self._token_file = TokenFile(token_path(config))
        self._totals = FetchTotals(metrics, clock)
        self._machine = Machine(metrics, clock, lambda: self.config)
        self.crashes = Crashes(metrics, lambda: self.config)
        self._base = Foundation(
            clock,
            metrics,
            Logging(config.logs, config.timezone, clock, metrics),
            Supply(config, metrics, clock),
            config=lambda: self.config,
            missing=lambda: self.missing,
            folder=path.parent.resolve(),
        )
        self._services: ExporterServices | None = None
        self._reloading = Reloading(
            path, clock, self._notifier, lambda: self.config, self._apply_reload
        )
        self.missing: str | None = "starting"
        self._stop = asyncio.Event()
        for reader in (self._read, self._base.supply.samples, self._reloading.samples):
            metrics.add_reader(reader)

    # --- life

    async def run(self) -> int:
        """Start, wait for a signal, stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reloading.ask)
        async with contextlib.AsyncExitStack() as stack:
            services = await self._start_unless_stopped(stack)
            if services:
                gc_tuning.settle()
            await self._stop.wait()
            self.missing = "stopping"
            self._reloading.close("the exporter is stopping")
            self._notifier.stopping()
            logger.info("stopping; a second Ctrl-C does not wait", extra={"event": "stopping"})
            if services:
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.add_signal_handler(number, services.runner.stop_now)
        return 0

    async def _start_unless_stopped(
        self, stack: contextlib.AsyncExitStack
    ) -> ExporterServices | None:
        """Building calendars may take a minute: a signal does not wait for that."""
        stopping = asyncio.ensure_future(self._stop.wait())
        async with self._reloading.lock:  # a reload that is requested meanwhile comes after
            starting = asyncio.ensure_future(self.start(stack))
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.wait({starting})
        stopping.cancel()
        return None if starting.cancelled() else starting.result()  # raises what the start did

    async def start(self, stack: contextlib.AsyncExitStack) -> ExporterServices:
        """Start every part; `stack` ends them in reverse order. Raises :class:`StartError`."""
        self._start_logs(stack)
        state = await self._open_state(stack)
        self.crashes.report()
        token = self._token_file.read_or_make()
        self._base.logging.mask.add(token)
        services = self._services = build(self._base, state, token)
        stack.push_async_callback(services.alerts.close)
        address = await self._listen(services, stack)
        stack.push_async_callback(services.supply.close)
        try:
            await services.supply.reconcile(self.config)
        except SupplyError as error:
            raise StartError(str(error)) from error
        services.closed_days.apply()
        await services.ping_keys.ensure()
        config = self.config
        await services.scheduler.apply(config, lambda: self._apply(services, config))
        await services.runner.recover()
        await self._start_work(services, stack)
        self._reloading.succeeded()
        self.missing = None
        self._say_ready(address)
        return services

    def _start_logs(self, stack: contextlib.AsyncExitStack) -> None:
        logs = self._base.logging
        logs.mask.add_all(known_secrets(self.config, os.environ))
        logs.start()
        stack.callback(logs.stop)
        stack.callback(self._totals.log_totals)

    async def _open_state(self, stack: contextlib.AsyncExitStack) -> State:
        try:
            state = await asyncio.to_thread(State.open, self.config.state, self.clock)
        except (AlreadyRunning, StateError) as error:
            raise StartError(str(error)) from error
        stack.push_async_callback(state.close)
        if state.trouble:
            logger.error("%s", state.trouble, extra={"event": "state_unhealthy"})
        return state

    async def _listen(
        self, services: ExporterServices, stack: contextlib.AsyncExitStack
    ) -> tuple[str, int]:
        def zone() -> ZoneInfo:
            return ZoneInfo(self.config.timezone)

        look = ViewOf(services)
        routes = [
            *Api(services.tasks_view, self.clock, services.guard, zone).routes(),
            *StrategiesApi(services.strategies, self.clock, zone).routes(),
            *CalendarApi(services.closed_days).routes(),
            *PingApi(services.tasks_view, services.ping_keys, self.clock).routes(),
            *MessagesApi(services.outbox).routes(),
            *BacktestPages(lambda: self.config).routes(),
            *LimitsApi(services.limits.actions.resume).routes(),
            *FeedsApi(services.feeds).routes(),
            *MetricsApi(
                services.custom_metrics, lambda: ZoneInfo(self.config.timezone)
            ).routes(),
            *status_routes(look),
            *Records(services).routes(),
            *TaskPage(services, services.guard.is_token, look.days_of).routes(),
            *AlertPages(
                services.alerts.journal, services.alerts.acks, services.state, self.clock,
                services.guard.is_token, runbook_url=lambda: self.config.alerts.runbook_url,
            ).routes(),
        ]  # fmt: skip
        server = Server(
            Exposition(self.registry), services.guard, services.missing, self._reloading.reload,
            routes=routes, state=services.state, instance=instance_id(self.config),
        )  # fmt: skip
        host, port = self.config.address
        try:
            address = await server.start(host, port)
        except OSError as error:
            raise StartError(cannot_listen(self.config.listen, error)) from error
        stack.push_async_callback(server.stop)
        return address

    async def _start_work(
        self, services: ExporterServices, stack: contextlib.AsyncExitStack
    ) -> None:
        services.follower.start()
        stack.push_async_callback(services.follower.stop)
        await services.outbox.start()
        stack.push_async_callback(services.outbox.stop)
        await services.feeds.start()
        stack.push_async_callback(services.feeds.stop)
        await services.accounts.start(self.config)
        stack.push_async_callback(services.accounts.stop)
        watchdog = asyncio.ensure_future(self._notifier.watchdog())
        stack.callback(watchdog.cancel)  # it goes on while the stop waits
        # Running tasks are waited for before anything that they use is closed.
        stack.push_async_callback(lambda: services.runner.drain(self.config.stop_timeout))
        await services.scheduler.start()
        stack.push_async_callback(services.scheduler.stop)
        self._start_background(services, stack)

    def _start_background(
        self, services: ExporterServices, stack: contextlib.AsyncExitStack
    ) -> None:
        lag = services.metrics.gauge("quant_exporter_event_loop_lag_seconds")
        work = [
            asyncio.ensure_future(coroutine)
            for coroutine in (
                LoopWatch(lag).run(),
                _every(LOOKS_EVERY_SECONDS, self._machine.look),
                _every(STRATEGY_REFRESH, services.strategies.refresh),
                _every(STRATEGY_REFRESH, services.strategies.positions_files.refresh),
                _every(LEDGER_PURGE, services.strategies.purge),
                _every(STRATEGY_REFRESH, services.textfiles.refresh),
                _every(LOOK_SECONDS, services.complete_days.look),
                _every(CUSTOM_FLUSH, services.custom_metrics.flush),
                _every(BACKTEST_REFRESH, services.backtests.refresh),
                _every(CUSTOM_FLUSH, services.limits.look),
                _every(TOKEN_RETRY, self._token_file.rescue),
                _every(PING_URL_SECONDS, self._note_ping_url),
                _every(KEY_EXPIRIES, services.supply.fetch_key_expiry),
                services.alerts.run(),
                services.runner.service_watch.watch(),
                self._totals.run(),
            )
        ]

        async def end() -> None:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

        stack.push_async_callback(end)

    async def _note_ping_url(self) -> None:
        if self._services is not None:
            await self._services.ping_keys.ensure()
            place = ping_url_path(self.config)
            with contextlib.suppress(OSError):  # state says already that the disk has trouble
                await self._services.ping_keys.note_url(place, self.config.local_url)

    def _say_ready(self, address: tuple[str, int]) -> None:
        tasks = len(self.config.tasks)
        self._notifier.ready(f"{tasks} tasks")
        host, port = address
        host = f"[{host}]" if ":" in host else host
        logger.info(
            "ready: page http://%s:%d/ and metrics http://%s:%d/metrics", host, port, host, port,
            extra={"event": "ready", "tasks": tasks, "version": __version__},
        )  # fmt: skip
        if sys.stderr.isatty():
            command = own_command()
            logger.info(
                "next: open the page, change %s, and in a second terminal `%s check` and "
                "`%s reload`; Ctrl-C stops it", self.path, command, command,
            )  # fmt: skip

    # --- config

    async def _apply_reload(self, config: Config) -> None:
        """Apply a new config to all parts. Raises :class:`SupplyError`; then to none."""
        services = self._services
        if services is None:
            raise SupplyError("the exporter is starting; reload once it is ready")
        services.logging.mask.add_all(known_secrets(config, os.environ))
        await services.supply.reconcile(config)
        await services.scheduler.apply(config, lambda: self._apply(services, config))
        await services.feeds.start()
        await services.accounts.start(config)

    def _apply(self, services: ExporterServices, config: Config) -> None:
        self.config = config
        services.logging.apply(config.logs, config.timezone)
        calendars, now = services.supply.calendars, self.clock.now()
        for note in preflight.notes(config, services.folder, calendars, now):
            logger.warning("%s: %s", note.place, note.text, extra={"event": "config_note"})
        services.guard.apply(own_hosts(config))
        services.strategies.apply(config)
        services.custom_metrics.apply(config)
        services.textfiles.apply(config)
        services.limits.apply(config)
        services.follower.apply(config.logs.follow)
        services.feeds.apply(config)
        services.outbox.apply(config)
        services.backtests.apply(config)
        services.runner.apply(config)
        services.ping_keys.apply(name for name, task in config.tasks.items() if task.external)
        accounts = (account_name(name) for name, each in config.strategies.items() if each.equity)
        source_labels = [*config.sources, *accounts]
        for label, names in (
            ("task", config.tasks), ("feed", config.feeds), ("strategy", config.strategies),
            ("source", source_labels), ("channel", config.channels),
        ):  # fmt: skip
            services.metrics.keep_only(label, names)

    def _read(self) -> Iterator[Sample]:
        python = ".".join(str(part) for part in sys.version_info[:3])
        yield "quant_exporter_build_info", (__version__, python), 1.0
        services = self._services
        yield "quant_state_healthy", (), float(services is not None and services.state.steady)


async def _every(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await work()
        except Exception:
            logger.exception("background work failed", extra={"event": "background_failed"})
        await asyncio.sleep(seconds)
