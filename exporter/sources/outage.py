"""Since when a source has answered nothing: known after its first failed request."""

from __future__ import annotations

import math
from collections.abc import Hashable

from exporter.sources.base import SourceError
from exporter.util.nan import NAN

_MOST_REQUESTS = 1000
_ANSWERED = range(2000, 5000)
"""Codes by which a source that works refuses one request."""


class Outage:
    """Remembers which requests fail. Moments are of the monotonic clock.

    A source is out when everything has failed since its last answer. A request that failed before
    that answer as well has a problem of its own: one batch that is always refused is not an outage.
    """

    def __init__(self) -> None:
        self._answered = -math.inf
        self._failing: dict[Hashable, tuple[float, float]] = {}
        """First and newest failure of each request since its own last answer."""

    def answered(self, request: Hashable, at: float) -> None:
        """That request got an answer that can be used."""
        self._answered = at
        self._failing.pop(request, None)

    def failed(self, request: Hashable, error: SourceError, at: float) -> None:
        """That request failed."""
        if error.reason == "api" and error.code in _ANSWERED:
            return
        first, _ = self._failing.pop(request, (at, at))
        self._failing[request] = first, at
        if len(self._failing) > _MOST_REQUESTS:
            del self._failing[next(iter(self._failing))]

    @property
    def since(self) -> float:
        """When it began; NaN when there is none."""
        failing = [first for first, newest in self._failing.values() if newest > self._answered]
        first = min(failing, default=NAN)
        return first if first > self._answered else NAN
