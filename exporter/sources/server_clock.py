"""How far our clock is from that of a source, by the ``Date`` of its answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median

from exporter.util.backoff import http_date
from exporter.util.nan import NAN

_REMEMBERED, _AT_LEAST = 9, 3
_SLOW_SECONDS = 5.0
"""An answer that took longer may have been dated long before its end."""


class ServerClock:
    """Remembers the server's time of the newest answers, against a clock that nobody sets: when our
    own is set, the difference is known at once."""

    def __init__(self) -> None:
        self._ahead: deque[float] = deque(maxlen=_REMEMBERED)

    def answered(self, headers: Mapping[str, str], started: float, ended: float) -> None:
        """One answer came; both moments are of the monotonic clock."""
        at = http_date(headers.get("Date", ""))
        # A cache gives an old date again, and says how old (RFC 9111, 5.1).
        if at is None or headers.get("Age", "0").strip() != "0" or ended - started > _SLOW_SECONDS:
            return
        self._ahead.append(at - ended)

    def offset(self, now: float, monotonic: float) -> float:
        """Seconds by which our clock, which shows `now`, is ahead of the server's; NaN when too few
        answers told. The middle one of the newest counts: one odd server or cache changes nothing.
        """
        ahead = list(self._ahead)
        return now - (monotonic + median(ahead)) if len(ahead) >= _AT_LEAST else NAN
