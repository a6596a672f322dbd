"""What both kinds of context have, and what the exporter offers to them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from exporter.sources.base import DataSource
from exporter.util.clock import Clock

if TYPE_CHECKING:
    from exporter.calendars.bars import Calendar


class Services(Protocol):
    """What the exporter offers to tasks."""

    @property
    def parts(self) -> Any:
        """What built-in tasks alone need."""

    def source(self, name: str | None) -> DataSource:
        """The named source, or the only one. Raises :class:`~exporter.tasks.errors.Permanent`."""

    def calendar(self, exchange: str) -> Calendar:
        """The exchange's calendar. Raises :class:`~exporter.tasks.errors.Permanent` for one that
        no task or feed names."""

    def exchanges(self, source: str | None) -> Mapping[str, str]:
        """Symbol to exchange, as the feeds of that source say."""

    def set_metric(
        self, name: str, value: float | None, labels: Mapping[str, object], *, add: bool
    ) -> str | None:
        """Set a gauge, or count a counter up; why it was refused, None when it was not."""

    async def fill(self, task: str, strategy: str | None, said: Mapping[str, Any]) -> bool:
        """Keep an execution and log it; False when it was kept before. Raises
        :class:`~exporter.tasks.errors.Permanent` for one that makes no sense."""

    async def equity(self, task: str, strategy: str | None, said: Mapping[str, Any]) -> float:
        """Add a point to a strategy's curve; its drawdown. Raises as :meth:`fill`."""

    async def notify(
        self, task: str, text: str, title: str | None, channels: Sequence[str] | None
    ) -> bool:
        """Queue a message; False when some channel has too many. Raises
        :class:`~exporter.tasks.errors.Permanent` when it is not clear where to."""


@dataclass(frozen=True)
class About:
    """Which attempt this is. ``slot`` is Unix seconds, None for a run started by hand."""

    task: str
    run_id: str
    slot: float | None
    attempt: int
    params: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    exchange: str | None = None


def takes_context(function: Callable[..., object]) -> bool:
    """Whether it has a parameter that must or may be given by position."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in kinds for p in parameters)


class BaseContext:
    """Which run it is."""

    task: str
    """The task's name in exporter.yml."""
    run_id: str
    slot: float | None
    """The moment for which this run was scheduled, Unix seconds; None when started by hand."""
    attempt: int
    """1 for the first attempt of the run, 2 for the first retry."""
    params: Mapping[str, Any]
    """The task's ``params``."""
    clock: Clock
    """``clock.now()`` is the time in Unix seconds."""
    log: logging.Logger
    """Lines that go to the exporter's log, with the task and the run."""

    def __init__(self, about: About, clock: Clock) -> None:
        self.task, self.run_id = about.task, about.run_id
        self.slot, self.attempt = about.slot, about.attempt
        self.params = about.params
        self.clock = clock
        self.log = logging.getLogger(f"task.{about.task}")
        self._about = about
