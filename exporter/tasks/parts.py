"""What the built-in tasks need of the house, beyond what every task gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from exporter.calendars import Calendars
from exporter.config import Config
from exporter.feeds import Feeds
from exporter.sources.base import Source
from exporter.state import State
from exporter.strategies import Strategies


@dataclass(frozen=True)
class Parts:
    """The running parts, as the running config has them."""

    config: Config
    state: State
    calendars: Calendars
    sources: Mapping[str, Source]
    feeds: Feeds
    strategies: Strategies

    @property
    def reports(self) -> Path:
        """Where reports are written: ``reports`` beside the state file."""
        return self.config.state.parent / "reports"

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
