"""Every part of a running exporter, built once and handed on as one frozen object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from exporter.alerts.first_notice import first_notice
from exporter.alerts.service import AlertService
from exporter.backtests.published import BacktestResults
from exporter.calendars.closed_days import ClosedDays
from exporter.config import Config, Task
from exporter.custom_metrics.custom_metrics import CustomMetrics
from exporter.custom_metrics.textfiles import TextfileFolder
from exporter.feeds import Feeds
from exporter.feeds.complete_days import CompleteDays
from exporter.limits.actions import Actions
from exporter.limits.limits_service import LimitedParts, LimitService
from exporter.logs.setup import Logging
from exporter.logs.tail.follow import Follower
from exporter.messages.outbox import Outbox
from exporter.metrics import Metrics
from exporter.runner.runner import Runner
from exporter.scheduling.scheduler import Scheduler
from exporter.sources.registry import Supply
from exporter.state import State
from exporter.strategies.account_poller import AccountPoller
from exporter.strategies.portfolio import Quote
from exporter.strategies.tracker import Strategies
from exporter.tasks.builtin.parts import Parts
from exporter.tasks.services import TaskServices
from exporter.util.clock import Clock
from exporter.web.guard import Guard
from exporter.web.ping_keys import PingKeys
from exporter.web.tasks_view import TasksView


@dataclass(frozen=True)
class Foundation:
    """What needs neither the state nor the network, so it is there before anything is opened."""

    clock: Clock
    metrics: Metrics
    logging: Logging
    supply: Supply
    config: Callable[[], Config]
    """The config that runs now; a reload replaces it."""
    missing: Callable[[], str | None]
    """Why the exporter is not ready; None once it is."""
    folder: Path
    """Where commands start."""


@dataclass(frozen=True)
class ExporterServices(Foundation):
    """Every part. A part that is not in it yet cannot be asked for."""

    state: State
    strategies: Strategies
    accounts: AccountPoller
    custom_metrics: CustomMetrics
    textfiles: TextfileFolder
    limits: LimitService
    follower: Follower
    feeds: Feeds
    complete_days: CompleteDays
    outbox: Outbox
    runner: Runner
    scheduler: Scheduler
    alerts: AlertService
    ping_keys: PingKeys
    guard: Guard
    tasks_view: TasksView
    closed_days: ClosedDays
    backtests: BacktestResults


def build(base: Foundation, state: State, token: str) -> ExporterServices:
    """Make all parts; nothing is started. Call it on the running loop."""
    clock, metrics, supply = base.clock, base.metrics, base.supply
    feeds = Feeds(state, clock, metrics, supply.sources.__getitem__, supply.calendars.get)

    def quote(feed: str, symbol: str) -> Quote | None:
        known = feeds.last_price(feed, symbol)
        return None if known is None else Quote(*known)

    strategies = Strategies(state, clock, metrics, supply.calendars.get, quote)

    custom_metrics = CustomMetrics(state, metrics, clock)
    textfiles = TextfileFolder(custom_metrics, metrics, clock)
    backtests = BacktestResults(state, metrics, clock)
    outbox = Outbox(state, metrics, clock, mask=base.logging.mask.text)

    def parts() -> Parts:
        return Parts(
            base.config(), state, supply.calendars, supply.sources, feeds, strategies, outbox
        )

    def notice(task: Task, next_slot: float) -> str:
        return first_notice(base.config(), base.folder, task, next_slot, clock.now())

    runner = Runner(
        state, metrics, clock,
        TaskServices(supply.sources, supply.calendars, outbox, custom_metrics, parts),
        mask=base.logging.mask.text, folder=base.folder,
    )  # fmt: skip
    ping_keys = PingKeys(state, base.logging.mask.add)
    scheduler = Scheduler(state, runner, supply.calendars, clock, metrics)
    runner.when_ended.append(scheduler.look_soon)
    actions = Actions(state, clock, outbox, runner, scheduler.paused_until)
    return ExporterServices(
        clock,
        metrics,
        base.logging,
        supply,
        config=base.config,
        missing=base.missing,
        folder=base.folder,
        state=state,
        strategies=strategies,
        accounts=AccountPoller(state, clock, metrics, strategies),
        custom_metrics=custom_metrics,
        textfiles=textfiles,
        limits=LimitService(
            state,
            metrics,
            clock,
            LimitedParts(custom_metrics, textfiles, strategies, supply.calendars.get, backtests),
            actions,
        ),
        follower=Follower(state, metrics),
        feeds=feeds,
        complete_days=CompleteDays(state, clock, feeds, lambda: ZoneInfo(base.config().timezone)),
        outbox=outbox,
        runner=runner,
        scheduler=scheduler,
        alerts=AlertService(state, metrics, clock, base.config, base.logging.mask),
        ping_keys=ping_keys,
        guard=Guard(token, own_hosts(base.config()), ping_keys.problem),
        tasks_view=TasksView(runner, scheduler, state, clock, notice, held=actions.holder),
        closed_days=ClosedDays(state, supply.calendars),
        backtests=backtests,
    )


def own_hosts(config: Config) -> list[str]:
    """The names under which the exporter may be asked for, besides those of loopback."""
    public = urlsplit(config.public_url).hostname
    return [*config.allowed_hosts, *([public] if public else []), config.address[0]]
