"""What the built-in tasks need beyond what every task gets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from exporter.calendars.loader import Calendars
from exporter.config import INTERVAL_SECONDS, Config
from exporter.config.paths import reports_folder
from exporter.feeds import Feeds
from exporter.messages.message import ChannelMessage
from exporter.messages.outbox import Outbox
from exporter.sources.base import DataSource
from exporter.state import State
from exporter.strategies.tracker import Strategies
from exporter.tasks.context import Context

_LAST_MINUTES_SECONDS = 300.0
"""A symbol may have no trades so shortly before the close."""


@dataclass(frozen=True)
class Parts:
    """The running parts, as the running config has them."""

    config: Config
    state: State
    calendars: Calendars
    sources: Mapping[str, DataSource]
    feeds: Feeds
    strategies: Strategies
    outbox: Outbox

    @property
    def reports(self) -> Path:
        """Where reports are written: ``reports`` next to the state file."""
        return reports_folder(self.config)

    def report_name(self, base: str, task: str) -> str:
        """`base`; with the task's name when an earlier task of the same function has that already.

        So the reports of several exchanges do not overwrite each other.
        """
        run = self.config.tasks[task].run
        first = next(name for name, other in self.config.tasks.items() if other.run == run)
        return base if task == first else f"{base}-{task}"

    @property
    def zone(self) -> ZoneInfo:
        """The config's zone, for people."""
        return ZoneInfo(self.config.timezone)

    def symbols_of(self, exchange: str | None) -> dict[str, list[str]]:
        """Source name to the symbols of all its feeds (at one exchange), each once, in order."""
        found: dict[str, dict[str, None]] = {}
        for feed in self.config.feeds.values():
            if exchange is None or feed.exchange == exchange:
                found.setdefault(feed.source, {}).update(dict.fromkeys(feed.symbols))
        return {source: list(symbols) for source, symbols in found.items()}

    def breaks_off(self, source: str, symbol: str, close: float) -> float | None:
        """Where a feed's bars of a symbol end, when they break off before a session's `close`.

        The day's bar of a source that died in the afternoon looks like any other, with the price of
        that moment as its close; the feed knows better. None when nothing is missing or known.
        """
        now = self.feeds.now()
        ends = [
            known.from_when
            for state in self.feeds.feeds.values()
            if state.feed.source == source
            and (known := state.watched(now).get(symbol)) is not None
            and not math.isnan(known.end)
            and INTERVAL_SECONDS[state.feed.interval] < INTERVAL_SECONDS["1d"]
            and state.overdue(known, now) > 0
        ]
        return min((end for end in ends if end < close - _LAST_MINUTES_SECONDS), default=None)


def parts_of(context: Context) -> Parts:
    """The running parts. They are not for users' tasks, so a context does not show them."""
    parts: Parts = context._services.parts
    return parts


async def send_report(context: Context, message: ChannelMessage, about: str) -> None:
    """To the channels of the task's ``report_to``; `about` is what the report is of. A channel that
    has the report of a slot does not get it again when the run is repeated."""
    parts = parts_of(context)
    key = f"{context.task}|{about}|{context.run_id if context.slot is None else context.slot}"
    channels = parts.config.report_to(context.task)
    await parts.outbox.post(message, channels, source=context.task, key=key)
