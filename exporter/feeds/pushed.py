"""Bars that were pushed: kept on disk, then applied to their feed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exporter.feeds.feed import FeedState
from exporter.sources.push_source import PushSource, as_json
from exporter.state import State

_KIND = "pushed"


class NotPushedError(Exception):
    """The feed gets its bars in another way; the text says from where."""


async def take_pushed(state: State, feed: FeedState, rows: Sequence[Any]) -> Mapping[str, Any]:
    """Keep what can be used of `rows`, and say how many. Raises :class:`NotPushedError`, and
    :class:`~exporter.state.StateError` when they cannot be kept; then none of them counts."""
    source = feed.source
    if not isinstance(source, PushSource):
        raise NotPushedError(
            f"{feed.name} gets its bars from {source.name}, which is not of type push"
        )
    interval = feed.feed.interval
    pushed = source.read(rows, feed.feed.symbols, interval)
    old = sum(
        feed.calendar.bar_end(bar.start, interval) <= feed.known[symbol].end
        for symbol, bars in pushed.good.items()
        for bar in bars
    )
    await state.write(
        (),
        [
            (_KIND, f"{feed.name}|{symbol}", source.with_new(symbol, bars, interval))
            for symbol, bars in pushed.good.items()
        ],
    )
    source.keep(pushed, interval)
    return as_json(pushed, old)


def restore_pushed(state: State, feed: FeedState) -> None:
    """Have a source of pushed bars answer with those from before a restart."""
    if isinstance(feed.source, PushSource):
        kept = state.kept(_KIND)
        for symbol in feed.feed.symbols:
            feed.source.restore(symbol, feed.feed.interval, kept.get(f"{feed.name}|{symbol}"))
