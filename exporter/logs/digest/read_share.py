"""How much of the log files has been read so far, for a thread that shows it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import duckdb


class ReadShare:
    """Told by the scan what it does; :attr:`share` may be asked by another thread at any time."""

    def __init__(self) -> None:
        self._total = self._done = 0
        self._most = 0.0
        self._query: Callable[[], float] = lambda: 0.0

    def begin(self, total: int, connection: duckdb.DuckDBPyConnection) -> None:
        """Files of `total` bytes are read next."""
        self._total, self._done, self._most = total, 0, 0.0
        self._query = connection.query_progress

    def done(self, size: int) -> None:
        """So many bytes need no query."""
        self._done += size

    @property
    def share(self) -> float:
        """From 0 to 1. The queries that follow the reading begin at 0 again; this does not."""
        if not self._total:
            return 0.0
        percent = 0.0
        with suppress(duckdb.Error):  # it is closed
            percent = max(self._query(), 0.0)
        done = self._done / self._total
        self._most = max(self._most, min(done + (1.0 - done) * percent / 100.0, 1.0))
        return self._most
