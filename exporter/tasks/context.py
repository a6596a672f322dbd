"""What a task gets when its function takes one argument.

Coroutines get a :class:`Context`, plain functions a :class:`BlockingContext`: the same words, one
awaited and one waiting. Market data goes through the daemon in both, so that the request budget of
a source holds for all tasks together.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from exporter.tasks.errors import NoData, Permanent, StaleData
from exporter.util.clock import Clock

if TYPE_CHECKING:
    from exporter.calendars.loader import Calendar
    from exporter.sources.base import Bar, DataSource, Ticker

__all__ = ["BlockingContext", "Context", "NoData", "Permanent", "Services", "StaleData"]


class Services(Protocol):
    """What the house offers to tasks."""

    @property
    def parts(self) -> Any:
        """What built-in tasks alone need; users do not touch it."""

    def source(self, name: str | None) -> DataSource:
        """The named source, or the only one. Raises :class:`Permanent` with what to do."""

    def calendar(self, exchange: str) -> Calendar:
        """The exchange's calendar. Raises :class:`Permanent` for one that no task or feed names."""


@dataclass(frozen=True)
class About:
    """Which attempt this is. ``slot`` is Unix seconds, None for a run started by hand."""

    task: str
    run_id: str
    slot: float | None
    attempt: int
    params: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None


def takes_context(function: Callable[..., object]) -> bool:
    """Whether it has a parameter that must or may be given by position."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in kinds for p in parameters)


class _Base:
    def __init__(self, about: About, clock: Clock) -> None:
        self.task, self.run_id = about.task, about.run_id
        self.slot, self.attempt = about.slot, about.attempt
        self.params = about.params
        self.clock = clock
        self.log = logging.getLogger(f"task.{about.task}")
        self._source = about.source


class Context(_Base):
    """For coroutines. Every fetch may raise the source's error, which ends the run with it."""

    def __init__(self, about: About, clock: Clock, services: Services) -> None:
        super().__init__(about, clock)
        self._services = services

    @property
    def parts(self) -> Any:
        """For built-in tasks."""
        return self._services.parts

    def calendar(self, exchange: str) -> Calendar:
        """Sessions of an exchange that the config names."""
        return self._services.calendar(exchange)

    async def latest(
        self,
        symbols: Sequence[str],
        interval: str,
        *,
        source: str | None = None,
        partial: bool = False,
    ) -> dict[str, list[Bar]]:
        """The newest bars of each symbol, ascending; the last one may still be forming.

        Raises the source's error when a symbol has none, unless `partial` asks for what is there.
        """
        answer = await self._services.source(source or self._source).latest(list(symbols), interval)
        return _whole(answer, partial)

    async def history(
        self, symbol: str, interval: str, start: float, end: float, *, source: str | None = None
    ) -> list[Bar]:
        """All bars that start in [start, end), Unix seconds, ascending."""
        return list(
            await self._services.source(source or self._source).history(
                symbol, interval, start, end
            )
        )

    async def tickers(
        self, symbols: Sequence[str], *, source: str | None = None, partial: bool = False
    ) -> dict[str, Ticker]:
        """Last price, bid and ask of each symbol; raises as :meth:`latest` does."""
        answer = await self._services.source(source or self._source).tickers(list(symbols))
        return _whole(answer, partial)


def _whole(answer: Any, partial: bool) -> dict[str, Any]:
    if answer.bad and not partial:
        raise next(iter(answer.bad.values()))
    return dict(answer.good)


class BlockingContext(_Base):
    """For plain functions, in the worker process: the calls wait for the daemon's answer."""

    def __init__(self, about: About, clock: Clock, call: Callable[[str, list[Any]], Any]) -> None:
        super().__init__(about, clock)
        self._call = call

    def latest(
        self,
        symbols: Sequence[str],
        interval: str,
        *,
        source: str | None = None,
        partial: bool = False,
    ) -> dict[str, list[Bar]]:
        """As :meth:`Context.latest`."""
        from exporter.sources.base import Bar

        said = self._call("latest", [list(symbols), interval, source or self._source, partial])
        return {symbol: [Bar(*bar) for bar in bars] for symbol, bars in said.items()}

    def history(
        self, symbol: str, interval: str, start: float, end: float, *, source: str | None = None
    ) -> list[Bar]:
        """As :meth:`Context.history`."""
        from exporter.sources.base import Bar

        said = self._call("history", [symbol, interval, start, end, source or self._source])
        return [Bar(*bar) for bar in said]

    def tickers(
        self, symbols: Sequence[str], *, source: str | None = None, partial: bool = False
    ) -> dict[str, Ticker]:
        """As :meth:`Context.tickers`."""
        from exporter.sources.base import Ticker

        said = self._call("tickers", [list(symbols), source or self._source, partial])
        return {symbol: Ticker(*ticker) for symbol, ticker in said.items()}
