"""When something really was, as a program says that could not reach us then."""

from __future__ import annotations

import math
from typing import Any

from exporter.util.clock import FUTURE_TOLERANCE_SECONDS
from exporter.web.guard import refuse

_OLDEST_SECONDS = 30 * 86400.0


def real_moment(name: str, given: Any, now: float) -> float | None:
    """Unix seconds; None when nothing is given. Answers 400 for what is not a recent time."""
    if given is None:
        return None
    try:
        moment = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        moment = math.nan
    if not now - _OLDEST_SECONDS <= moment <= now + FUTURE_TOLERANCE_SECONDS:
        raise refuse(400, f"{name} must be Unix seconds within the last 30 days")
    return min(moment, now)
