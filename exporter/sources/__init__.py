"""Where bars come from: the interface, and the client for TickDB and the simulated feed."""

from exporter.sources.base import Answer, Bar, DataSource, SourceError, Ticker

__all__ = ["Answer", "Bar", "DataSource", "SourceError", "Ticker"]
