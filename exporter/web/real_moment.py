"""When something really was, as a program says that could not reach us then."""

from __future__ import annotations

import logging
import math
from typing import Any

from exporter.util.clock import FUTURE_TOLERANCE_SECONDS
from exporter.web.guard import refuse

log = logging.getLogger(__name__)

_OLDEST_SECONDS = 30 * 86400.0
_AHEAD_SECONDS = 86400.0
"""A clock that is fast, or ours that is slow, must not cost a report; what is further ahead was
meant in another unit."""


def real_moment(name: str, given: Any, now: float) -> float | None:
    """Unix seconds; None when nothing is given; now for what lies ahead of this clock. Answers 400
    for what is not a recent time."""
    if given is None:
        return None
    try:
        moment = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        moment = math.nan
    if not now - _OLDEST_SECONDS <= moment <= now + _AHEAD_SECONDS:
        raise refuse(400, f"{name} must be Unix seconds within the last 30 days")
    if moment > now + FUTURE_TOLERANCE_SECONDS:
        log.warning(
            "a report is from %.0f s ahead of this machine's clock, and counts as of now: one of "
            "the two clocks is wrong", moment - now, extra={"event": "report_from_the_future"},
        )  # fmt: skip
    return min(moment, now)
