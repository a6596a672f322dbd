"""How the feeds of one source share its request budget.

A regular poll of a feed is a request for bars and one for tickers for each fifty symbols: twenty a
minute for 500 symbols at one minute. What they ask beyond that has to leave room for tasks.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.config import Config

logger = logging.getLogger(__name__)

_FOR_FEEDS = 0.75
"""Of the budget; the rest is for tasks."""
_FOR_RETRIES = 1 / 3
_DEFAULT_BUDGET = 60
_DEFAULT_BATCH = 50


@dataclass(frozen=True)
class Share:
    """Beyond its regular polls: seconds between two looks for bars that have not come, and how many
    requests for a single symbol it may send in a minute, or a poll where that is shorter."""

    retry_pause: float
    single_requests: int


def shares(config: Config) -> Mapping[str, Share]:
    """The share of every feed. Logs a warning when the regular polls already exceed the budget."""
    found: dict[str, Share] = {}
    for source in {feed.source for feed in config.feeds.values()}:
        feeds = {name: feed for name, feed in config.feeds.items() if feed.source == source}
        settings = config.sources.get(source)
        budget = settings.requests_per_minute if settings else _DEFAULT_BUDGET
        batch = settings.symbols_per_request if settings else _DEFAULT_BATCH
        kinds = 2 if settings is None or settings.has_tickers else 1
        batches = {name: math.ceil(len(feed.symbols) / batch) for name, feed in feeds.items()}
        need = sum(kinds * batches[name] * 60.0 / feed.poll_seconds for name, feed in feeds.items())
        if need > budget:
            logger.warning(
                "the feeds of %s need %d requests a minute and it has %d: polls come late. Give "
                "them a longer `poll`, or raise sources.%s.requests_per_minute with your plan",
                source, math.ceil(need), budget, source,
                extra={"event": "feeds_over_budget", "source": source},
            )  # fmt: skip
        pause = sum(batches.values()) * 60.0 / (budget * _FOR_RETRIES)
        spare = max(0.0, budget * _FOR_FEEDS - need)
        symbols = sum(len(feed.symbols) for feed in feeds.values())
        for name, feed in feeds.items():
            part = spare * min(feed.poll_seconds, 60.0) / 60.0 * len(feed.symbols) / symbols
            found[name] = Share(pause, max(1, math.floor(part)))
    return found
