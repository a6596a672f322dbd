"""What the pages read of a running exporter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from exporter.alerts.service import AlertService
from exporter.backtests.published import BacktestResults
from exporter.config import Config
from exporter.custom_metrics.custom_metrics import CustomMetrics
from exporter.custom_metrics.textfiles import TextfileFolder
from exporter.feeds import Feeds
from exporter.feeds.complete_days import CompleteDays
from exporter.limits.limits_service import LimitService
from exporter.logs.tail.follow import Follower
from exporter.sources.registry import Supply
from exporter.state import State
from exporter.strategies.tracker import Strategies
from exporter.util.clock import Clock
from exporter.web.tasks_view import TasksView


class RecordParts(Protocol):
    """For pages about what has happened."""

    @property
    def config(self) -> Callable[[], Config]: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def state(self) -> State: ...
    @property
    def tasks_view(self) -> TasksView: ...


class PageParts(RecordParts, Protocol):
    """For the status page, which shows how things are now too."""

    @property
    def missing(self) -> Callable[[], str | None]: ...
    @property
    def supply(self) -> Supply: ...
    @property
    def follower(self) -> Follower: ...
    @property
    def feeds(self) -> Feeds: ...
    @property
    def complete_days(self) -> CompleteDays: ...
    @property
    def strategies(self) -> Strategies: ...
    @property
    def backtests(self) -> BacktestResults: ...
    @property
    def custom_metrics(self) -> CustomMetrics: ...
    @property
    def textfiles(self) -> TextfileFolder: ...
    @property
    def limits(self) -> LimitService: ...
    @property
    def alerts(self) -> AlertService: ...
