"""Once a day: when each source's key expires."""

from __future__ import annotations

import logging
import math

from exporter.sources.base import SourceError
from exporter.tasks.builtin.parts import parts_of
from exporter.tasks.context import Context
from exporter.tasks.errors import Permanent
from exporter.util.clock import iso
from exporter.util.units import format_duration

WARN_BEFORE = 7 * 86400.0
"""Seconds before the expiry from which the log line is a warning."""
FAIL_BEFORE = 3 * 86400.0
"""Seconds before the expiry from which the run fails, and so alerts."""


async def key_check(context: Context) -> int:
    """Ask every source when its key expires; the answer is a metric. Returns the number of sources.

    Raises, once all were asked, :class:`Permanent` naming the keys that end within
    :data:`FAIL_BEFORE`, or the first error of a source that does not answer.
    """
    parts = parts_of(context)
    now = context.clock.now()
    failed: list[SourceError] = []
    ending: list[str] = []
    for name, source in list(parts.sources.items()):
        try:
            expiry = await source.subscription()
        except SourceError as error:
            context.log.warning(
                "%s does not say when its key expires: %s", name, error,
                extra={"event": "key_expiry_unknown", "source": name},
            )  # fmt: skip
            failed.append(error)
            continue
        if math.isnan(expiry):
            context.log.info(
                "the key of %s does not expire", name, extra={"event": "key_expiry", "source": name}
            )
            continue
        left = expiry - now
        level = logging.WARNING if left < WARN_BEFORE else logging.INFO
        state = f"expires in {format_duration(left)}" if left > 0 else "has expired"
        text = f"the key of {name} {state} ({iso(expiry)})"
        if left < FAIL_BEFORE:
            ending.append(text)
        context.log.log(
            level, "%s", text,
            extra={"event": "key_expiry", "source": name, "left_seconds": left},
        )  # fmt: skip
    if ending:
        raise Permanent("; ".join(ending))
    if failed:
        raise failed[0]
    return len(parts.sources)
