"""Whether the source of a feed can do what the feed asks of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from exporter.config.config_errors import Mistake
from exporter.config.market_data import Feed
from exporter.config.source_settings import RowsSettings, SourceSettings, TickDBSettings


def unfit_sources(
    feeds: Mapping[str, Feed], sources: Mapping[str, SourceSettings]
) -> Iterator[Mistake]:
    """Feeds that ask for what their source does not have."""
    yield from _too_many_subscriptions(feeds, sources)
    for name, feed in feeds.items():
        source = sources.get(feed.source)
        if source is None:
            continue  # unknown or wrong, which has been reported already
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


def _too_many_subscriptions(
    feeds: Mapping[str, Feed], sources: Mapping[str, SourceSettings]
) -> Iterator[Mistake]:
    """Streams: a source without one, and more symbols than the plan allows."""
    wanted: dict[str, set[tuple[str, str]]] = {}
    for name, feed in feeds.items():
        source = sources.get(feed.source)
        if not feed.stream or source is None:
            continue
        if not isinstance(source, TickDBSettings):
            yield Mistake(
                f"feeds.{name}.stream",
                f"{feed.source} has no stream (type {source.type}): remove it",
            )
            continue
        before = wanted.setdefault(feed.source, set())
        before |= {(channel, symbol) for channel in feed.stream for symbol in feed.symbols}
        if len(before) > source.stream_subscriptions:
            yield Mistake(
                f"feeds.{name}.stream",
                f"{feed.source} would need {len(before)} subscriptions (one for each symbol on "
                f"each channel) and may have {source.stream_subscriptions}: stream fewer symbols, "
                "or raise "
                f"sources.{feed.source}.stream_subscriptions with your plan",
            )
