"""Feeds: asking sources for bars while they matter, and knowing how overdue each symbol is."""

from exporter.feeds.feed import SETTLE, FeedState
from exporter.feeds.known import Known
from exporter.feeds.polling import Feeds, spread_ratio

__all__ = ["SETTLE", "FeedState", "Feeds", "Known", "spread_ratio"]
