"""Whether the source of a feed can do what the feed asks of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from exporter.config.config_errors import Mistake
from exporter.config.market_data import Feed
from exporter.config.source_settings import RowsSettings, SourceSettings


def unfit_sources(
    feeds: Mapping[str, Feed], sources: Mapping[str, SourceSettings]
) -> Iterator[Mistake]:
    """Feeds that ask for what their source does not have."""
    for name, feed in feeds.items():
        source = sources.get(feed.source)
        if source is None:
            continue  # unknown, or wrong itself: that is said already
        place = f"feeds.{name}"
        if feed.max_spread and not source.has_tickers:
            yield Mistake(
                f"{place}.max_spread",
                f"{feed.source} has no bid and ask (type {source.type}): remove it",
            )
        if isinstance(source, RowsSettings) and feed.interval not in (
            source.intervals or (feed.interval,)
        ):
            yield Mistake(
                f"{place}.interval",
                f"{feed.source} has no {feed.interval}: add it to sources.{feed.source}.intervals",
            )
