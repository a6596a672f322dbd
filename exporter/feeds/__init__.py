"""Feeds: asking sources for bars while they matter, and knowing how overdue each symbol is."""

from exporter.feeds.feed import SETTLE, FeedState
from exporter.feeds.poller import Feeds, spread_ratio
from exporter.feeds.symbol_state import SymbolState

__all__ = ["SETTLE", "FeedState", "Feeds", "SymbolState", "spread_ratio"]
