"""Once a day: until when each source's key is good."""

from __future__ import annotations

import math

from exporter.clock import iso
from exporter.tasks.context import Context
from exporter.tasks.parts import Parts
from exporter.units import format_duration

WARN_BEFORE = 7 * 86400.0
"""Seconds before the expiry from which the log line is a warning."""


async def key_check(context: Context) -> int:
    """Ask every source when its key expires; the answer is a metric. Returns the number of sources.

    Raises the source's error when it does not tell.
    """
    parts: Parts = context.parts
    now = context.clock.now()
    for name, source in parts.sources.items():
        expiry = await source.subscription()
        if math.isnan(expiry):
            context.log.info("the key of %s has no end", name, extra={"event": "key_expiry"})
            continue
        left = expiry - now
        level = "warning" if left < WARN_BEFORE else "info"
        getattr(context.log, level)(
            "the key of %s is good until %s (%s)", name, iso(expiry), format_duration(left),
            extra={"event": "key_expiry", "source": name, "left_seconds": left},
        )  # fmt: skip
    return len(parts.sources)
